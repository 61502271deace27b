//! Testing your own pipeline, with the feature `sim`.
//!
//! The feature has a simulated Kinesis stream in the process: shards with quotas, latency, throttles, failures, lost
//! responses and resharding, on tokio's virtual time. A simulated minute takes a moment, and a seed determines
//! the outcome. [`SimStream`] documents every setting. Enable the feature for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! kinesis-sink = { version = "0.1", features = ["sim"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! # A complete test
//!
//! Let the code under test take a `Client`, or a sink. The test passes the client of a simulated stream with faults:
//!
//! ```
//! use std::collections::HashSet;
//!
//! use aws_sdk_kinesis::Client;
//! use futures::{StreamExt, stream};
//! use kinesis_sink::sim::{Faults, SimStream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! /// The code under test: sends the readings of a day.
//! async fn upload(client: &Client, readings: Vec<String>) -> anyhow::Result<u64> {
//!     let mut sink = KinesisSink::new(client, "readings")?;
//!     let records = stream::iter(readings).map(|reading| Ok(Record::from(reading)));
//!     records.forward(&mut sink).await?;
//!     Ok(sink.totals().delivered)
//! }
//!
//! # // The doc test calls the test function.
//! # mod tokio { pub use ::tokio::{main as test, runtime}; }
//! # fn main() { upload_loses_no_reading_under_faults() }
//! #[tokio::test(flavor = "current_thread", start_paused = true)]
//! async fn upload_loses_no_reading_under_faults() {
//!     let faults = Faults::default()
//!         .with_internal_failures(0.05)
//!         .with_throttles(0.05)
//!         .with_request_errors(0.05, "InternalFailure", 500)
//!         .with_lost_answers(0.02);
//!     let stream =
//!         SimStream::builder().with_name("readings").with_shards(4).with_faults(faults).build().unwrap();
//!
//!     let readings: Vec<_> = (0..20_000).map(|n| format!("reading {n}")).collect();
//!     let delivered = upload(&stream.client(), readings).await.unwrap();
//!
//!     let written = stream.written();
//!     let distinct: HashSet<_> = written.iter().map(|record| record.data().clone()).collect();
//!     assert_eq!(delivered, 20_000);
//!     assert_eq!(distinct.len(), 20_000, "{stream:?}");
//!     println!("{} duplicates, {:?}", written.len() - distinct.len(), stream.stats());
//! }
//! ```
//!
//! The seed is random by default. A test that panics prints it: pass it to `with_seed` to replay the run.
//!
//! # Virtual time
//!
//! `start_paused = true` makes tokio's time virtual: when every task waits, the clock advances to the next
//! timer. So measure with `tokio::time::Instant`, and sleep with `tokio::time::sleep`; the system's clock
//! does not advance with it. Use one thread, as `#[tokio::test]` does by default: on several threads, a seed does not
//! determine the outcome.
//!
//! ```
//! use std::time::Duration;
//!
//! use futures::{StreamExt, stream};
//! use kinesis_sink::sim::{Latency, SimStream};
//! use kinesis_sink::{KinesisSink, Record};
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let latency = Latency::log_normal(Duration::from_millis(80), 0.3);
//! let example = SimStream::builder().with_shards(2).with_latency(latency).build()?;
//! let mut sink = KinesisSink::new(&example.client(), "example")?;
//!
//! let start = Instant::now();
//! let records = (0..20_000).map(|n| Ok(Record::from(n.to_string())));
//! stream::iter(records).forward(&mut sink).await?;
//! // Two shards accept 2,000 records per second, and a burst of 2,000 at the start.
//! assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
//! # assert!(start.elapsed() > Duration::from_secs(8), "{:?}", start.elapsed());
//! # Ok(())
//! # }
//! ```
//!
//! # Changes during a test
//!
//! A handle of the stream changes it while your code runs: `set_faults`, `set_load`, `set_shard_quota`, `split`,
//! `merge`, `update_shard_count`. `Faults::with_poisoned_requests` and `with_poisoned_entries` refuse records that
//! contain a marker, and `SimBuilder::with_bandwidth` limits the link.
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_sink::sim::{Faults, SimStream};
//! use kinesis_sink::{Aggregation, KinesisSink, Record};
//! use kinesis_sink::aggregate::deaggregate;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let example = SimStream::new(4);
//! let producer = KinesisSink::builder("example")
//!     .with_aggregation(Aggregation::PerShard)
//!     .build(&example.client())?
//!     .spawn();
//!
//! let second = Duration::from_secs(1);
//! let operator = async {
//!     tokio::time::sleep(second).await;
//!     example.split("shardId-000000000000").unwrap();
//!     tokio::time::sleep(second).await;
//!     example.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
//!     tokio::time::sleep(10 * second).await;
//!     example.set_faults(Faults::default());
//! };
//! let sensor = async {
//!     for n in 0..5_000 {
//!         producer.send(Record::from((format!("key {}", n % 100), n.to_string()))).await.unwrap();
//!         tokio::time::sleep(Duration::from_millis(1)).await;
//!     }
//!     producer.close().await.unwrap();
//! };
//! tokio::join!(operator, sensor);
//!
//! let members: usize = example.written().iter().map(|record| deaggregate(record.data()).count()).sum();
//! assert!(members >= 5_000);
//! # Ok(())
//! # }
//! ```
//!
//! # Faults
//!
//! | to test | use |
//! |---|---|
//! | entries that are throttled, or fail | `with_throttles`, `with_internal_failures` |
//! | whole requests that are refused, with any code and status | `with_request_errors` |
//! | an outage: no permission, no such stream, an unavailable service | `with_outage("AccessDeniedException", 400)` and the like |
//! | lost requests or responses | `with_lost_requests`, `with_lost_answers` |
//! | a request that is written after its timeout | `with_late_writes` |
//! | other producers of the stream | `with_load`, `set_shard_load` |
//! | a quota that is enforced with windows, by several front ends, or late | `with_limiter` |
//! | an on-demand stream that scales | `set_shard_quota` |
//! | records that the service places (`AUTO`) | `with_distribution` |
//! | a stream that is switched to `AUTO` while records are sent, or back | `set_distribution` |
//!
//! # Client or service
//!
//! `stream.client()` is a real `aws_sdk_kinesis::Client` whose requests are answered in the process: the signature, the
//! bytes and the SDK's errors are those of production. Use it unless you test a stack of layers.
//! `stream.service()` is a `tower::Service` without the SDK. Put your layers around it, and a
//! [timeout](crate::timeout::TimeoutLayer), since lost responses never arrive.
//!
//! A test of a single response can use a closure, see [`service`](crate::service).
//!
//! # Many seeds
//!
//! Run a test of faults with many seeds, and print the seed of a failure:
//!
//! ```
//! # use futures::{StreamExt, stream};
//! # use kinesis_sink::sim::{Faults, SimStream};
//! # use kinesis_sink::{KinesisSink, Record};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! for seed in 0..20 {
//!     let faults = Faults::default().with_throttles(0.2).with_lost_requests(0.1);
//!     let example = SimStream::builder().with_seed(seed).with_faults(faults).build()?;
//!     let builder = KinesisSink::builder("example").configure(|settings| settings.seed = Some(seed));
//!     let mut sink = builder.build(&example.client())?;
//!     let records = (0..1_000).map(|n| Ok(Record::from(n.to_string())));
//!     stream::iter(records).forward(&mut sink).await?;
//!     assert_eq!(sink.totals().delivered, 1_000, "seed {seed}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The simulation tests of this crate also draw the settings, sources and faults from the seed. In the repository,
//! `docs/guarantees.md` describes them.
//!
//! # Limitations
//!
//! In the simulation, splits take no time, readers have no limits, data is not encrypted, and permissions are not
//! checked. Test these with the service. For a server on a socket see the example `forward`, which starts an
//! embedded one, and [local servers](super::clients#local-servers).
//!
#![cfg_attr(feature = "sim", doc = "[`SimStream`]: crate::sim::SimStream")]
#![cfg_attr(not(feature = "sim"), doc = "[`SimStream`]: self")]
