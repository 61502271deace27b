//! Testing your own pipeline, with the feature `sim`.
//!
//! The feature has a Kinesis stream in the process: shards with quotas, latency, throttles, failures, lost
//! answers and resharding, on tokio's virtual time. A minute of it takes a moment, and the same seed gives
//! the same outcome. [`SimStream`] has every setting. Switch the feature on for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! kinesis-sink = { version = "0.1", features = ["sim"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! # A complete test
//!
//! Let the code under test take a `Client`, or a sink. The test gives it one of a simulated stream on a bad
//! day:
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
//! # // So that it runs here: what is shown is a test.
//! # mod tokio { pub use ::tokio::{main as test, runtime}; }
//! # fn main() { no_reading_is_lost_on_a_bad_day() }
//! #[tokio::test(flavor = "current_thread", start_paused = true)]
//! async fn no_reading_is_lost_on_a_bad_day() {
//!     let bad_day = Faults::default()
//!         .with_internal_failures(0.05)
//!         .with_throttles(0.05)
//!         .with_request_errors(0.05, "InternalFailure", 500)
//!         .with_lost_answers(0.02);
//!     let stream =
//!         SimStream::builder().with_name("readings").with_shards(4).with_faults(bad_day).build().unwrap();
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
//! The seed is drawn. A test that panics prints it: give it to `with_seed` to see the same again.
//!
//! # Time
//!
//! `start_paused = true` makes tokio's time virtual: when every task waits, the clock jumps to the next
//! timer. So measure with `tokio::time::Instant`, and sleep with `tokio::time::sleep`; the system's clock
//! stands still meanwhile. Keep to one thread, which is what `#[tokio::test]` gives you: on several, one
//! seed gives many outcomes.
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
//! let far_away = Latency::log_normal(Duration::from_millis(80), 0.3);
//! let example = SimStream::builder().with_shards(2).with_latency(far_away).build()?;
//! let mut sink = KinesisSink::new(&example.client(), "example")?;
//!
//! let began = Instant::now();
//! let records = (0..20_000).map(|n| Ok(Record::from(n.to_string())));
//! stream::iter(records).forward(&mut sink).await?;
//! // Two shards take 2,000 records a second, and as much at once at first.
//! assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
//! # assert!(began.elapsed() > Duration::from_secs(8), "{:?}", began.elapsed());
//! # Ok(())
//! # }
//! ```
//!
//! # Things that happen meanwhile
//!
//! A handle of the stream changes it while your code runs: `set_faults`, `set_load`,
//! `set_shard_quota`, `split`, `merge`, `update_shard_count`.
//! `Faults::with_poisoned_requests` and
//! `with_poisoned_entries` refuse records that contain a marker, and
//! `SimBuilder::with_bandwidth` limits the link.
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
//! | to see what your code does when | use |
//! |---|---|
//! | entries are throttled, or fail | `with_throttles`, `with_internal_failures` |
//! | whole requests are refused: any code, any status | `with_request_errors` |
//! | nothing works: no permission, no such stream, an outage | `with_outage("AccessDeniedException", 400)` and the like |
//! | requests or answers get lost | `with_lost_requests`, `with_lost_answers` |
//! | a request is written after it was given up | `with_late_writes` |
//! | others use the stream, too | `with_load`, `set_shard_load` |
//! | a quota is enforced with windows, by several front ends, or late | `with_limiter` |
//! | an on-demand stream scales | `set_shard_quota` |
//! | records are placed by the service (`AUTO`) | `with_distribution` |
//! | a stream is switched to `AUTO` while records are sent, or back | `set_distribution` |
//!
//! # Two ways in
//!
//! `stream.client()` is a real `aws_sdk_kinesis::Client` whose requests are answered in the process: the
//! signing, the bytes, the SDK's errors are those of production. Use it unless you test a stack of layers.
//! `stream.service()` is a `tower::Service` without the SDK: put your layers on top, and a
//! [timeout](crate::timeout::TimeoutLayer), since lost answers never come.
//!
//! For a single answer a closure does, see [`service`](crate::service).
//!
//! # Many seeds
//!
//! What is true on a bad day should be so on each of them. Draw the seed, and say it when something is
//! wrong:
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
//! This crate's own tests do that with everything drawn: `tests/proof` in the repository.
//!
//! # What it is not
//!
//! Splits take no time, readers have no limits, nothing is encrypted, nobody is denied anything.
//! Try those against the service. For a server on a socket see the example `forward`, which starts an
//! embedded one, and [`clients`](super::clients#a-server-of-your-own).
//!
#![cfg_attr(feature = "sim", doc = "[`SimStream`]: crate::sim::SimStream")]
#![cfg_attr(not(feature = "sim"), doc = "[`SimStream`]: self")]
