//! Testing code that uses this crate, with the feature `sim`.
//!
//! The feature `sim` provides a simulated Kinesis stream that runs in the test process. The simulation includes shard
//! quotas, latency, throttles, failures, lost responses, and resharding. It runs on tokio's virtual time, so a
//! simulated minute takes a fraction of a second, and a seed determines the outcome. All settings are documented on
//! [`SimStream`]. Enable the feature for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! kinesis-sink = { version = "0.1", features = ["sim"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! # A complete test
//!
//! Write your code so that it accepts a `Client` or a sink as an argument. The test then passes the client of a
//! simulated stream that injects faults:
//!
//! ```
//! use std::collections::HashSet;
//!
//! use aws_sdk_kinesis::Client;
//! use futures::{StreamExt, stream};
//! use kinesis_sink::sim::{Faults, SimStream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! /// Sends the readings of a day. This is the code under test.
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
//! By default, the seed is random. If a test panics, it prints the seed. Pass this seed to `with_seed` to replay the
//! run.
//!
//! # Virtual time
//!
//! With `start_paused = true`, tokio's time is virtual: when all tasks are waiting, the clock advances to the next
//! timer. Use `tokio::time::Instant` to measure time and `tokio::time::sleep` to sleep, because the system clock does
//! not advance in the same way. Use a single thread, as `#[tokio::test]` does by default. With several threads, the
//! seed does not determine the outcome.
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
//! While your code runs, you can change the stream through a `SimStream` handle: `set_faults`, `set_load`,
//! `set_shard_quota`, `split`, `merge`, `update_shard_count`, `delete`. With `Faults::with_poisoned_requests` and
//! `with_poisoned_entries`, the stream rejects records that contain a marker. `SimBuilder::with_bandwidth` limits the
//! bandwidth of the link.
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
//! | throttled or failed entries | `with_throttles`, `with_internal_failures` |
//! | whole requests that fail, with any error code and HTTP status | `with_request_errors` |
//! | an outage, such as a missing permission, a missing stream, or an unavailable service | `with_outage`, for example `with_outage("AccessDeniedException", 400)` |
//! | a missing permission for PutRecords only | `with_request_errors(1.0, "AccessDeniedException", 400)` |
//! | a stream that is deleted while it is used | `SimStream::delete` |
//! | several streams, and streams that do not exist | [`SimRegion`] |
//! | lost requests or responses | `with_lost_requests`, `with_lost_answers` |
//! | a request that is written after its timeout | `with_late_writes` |
//! | other producers of the stream | `with_load`, `set_shard_load` |
//! | a quota that is enforced with time windows, by several front ends, or with a delay | `with_limiter` |
//! | an on-demand stream that scales | `set_shard_quota` |
//! | a stream that ignores partition keys (`AUTO`) | `with_distribution` |
//! | a stream that is switched to `AUTO` or back while records are sent | `set_distribution` |
//!
//! # Client or service
//!
//! `stream.client()` returns a real `aws_sdk_kinesis::Client` whose requests are handled in the process. Signatures,
//! request bodies, and SDK errors are the same as in production. Use the client unless you test a stack of layers.
//! `stream.service()` returns a `tower::Service` that does not use the SDK. Put your layers around this service, and
//! add a [timeout](crate::timeout::TimeoutLayer), because a lost response never arrives.
//!
//! To test the handling of a single response, you can use a closure as the service, see [`service`](crate::service).
//!
//! # Many seeds
//!
//! Run tests that inject faults with many seeds, and print the seed when a test fails:
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
//! The simulation tests of this crate also choose the settings, sources, and faults at random from the seed. They are
//! described in `docs/guarantees.md` in the repository.
//!
//! # Limitations
//!
//! In the simulation, splits take no time, readers have no limits, data is not encrypted, and permissions are not
//! checked. Test these aspects with the real service. If you need a server on a socket, see the example `forward`,
//! which starts an embedded server, or use a [local server](super::clients#local-servers).
//!
#![cfg_attr(feature = "sim", doc = "[`SimRegion`]: crate::sim::SimRegion")]
#![cfg_attr(feature = "sim", doc = "[`SimStream`]: crate::sim::SimStream")]
#![cfg_attr(not(feature = "sim"), doc = "[`SimRegion`]: self")]
#![cfg_attr(not(feature = "sim"), doc = "[`SimStream`]: self")]
