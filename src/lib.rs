//! Forwards any async stream of records into Amazon Kinesis Data Streams: a [`futures::Sink`] over a
//! [`tower::Service`].
//!
//! Requests are full, failed entries are sent again, memory is bounded, each shard is sent no more than its quota, and
//! every record is accounted for: delivered, or handed back with the reason.
//!
//! # Quick start
//!
//! ```sh
//! cargo add kinesis-sink futures
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! With a region and credentials in the environment, and a stream named `example`:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! # mod five_minutes {
//! use futures::{StreamExt, stream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut sink = KinesisSink::from_env("example").await?;
//!     let lines = stream::iter(["one line", "another line"]);
//!     lines.map(Record::from).map(Ok).forward(&mut sink).await?;
//!     println!("{} delivered", sink.totals().delivered);
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! `from_env` checks the stream first: it reports a misspelt name, a closed port or missing credentials in one
//! sentence. When `forward` returns `Ok`, the service has confirmed both lines. The source can be any stream: the lines
//! of a file, the messages of a socket, a channel. It is polled only while the buffer has room.
//!
//! A [`Producer`] is shared by many tasks, and returns the outcome of each record:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! # mod five_minutes {
//! use kinesis_sink::{KinesisSink, Record};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let producer = KinesisSink::from_env("example").await?.spawn();
//!     // Each task has a clone. Records with the same key go to the same shard.
//!     let receipt = producer.clone().put(Record::from(("device-7", "21.5"))).await?;
//!     match receipt.await {
//!         Ok(delivery) => println!("in {} as {}", delivery.shard_id(), delivery.sequence_number()),
//!         Err(undelivered) => println!("{}", undelivered.reason()),
//!     }
//!     producer.close().await?;
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! The feature `sim` simulates a stream in the process, so that a test needs no AWS account:
//!
//! ```
//! use futures::SinkExt;
//! use kinesis_sink::sim::SimStream;
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # // So that it runs here: what is shown is a test.
//! # mod tokio { pub use ::tokio::{main as test, runtime}; }
//! # fn main() { record_is_written_to_stream() }
//! #[tokio::test(flavor = "current_thread", start_paused = true)]
//! async fn record_is_written_to_stream() {
//!     let stream = SimStream::new(4);
//!     let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
//!     sink.send(Record::from("a record")).await.unwrap();
//!     assert_eq!(stream.written()[0].data(), "a record");
//! }
//! ```
//!
//! # What to read next
//!
//! The [`guide`] has a chapter for each question:
//!
//! - [sending a stream](guide::sink), [sending from many tasks](guide::producer);
//! - [what can fail, and what to do](guide::failures): errors, dead letters, deadlines, duplicates, shutdown;
//! - [layers](guide::layers) around each request: timeouts, limits, metrics, your own;
//! - [aggregation](guide::aggregation), for small records; [pacing](guide::pacing), for full shards;
//!   [order](guide::ordering), for consumers that rely on it;
//! - [testing](guide::testing) your own pipeline, and [tuning](guide::tuning) it;
//! - [clients](guide::clients): credentials, TLS, proxies, endpoints;
//! - [migrating](guide::migrating) from `KinesisWriter`, a loop of your own, or the KPL.
//!
//! [`SinkBuilder`] and [`Settings`] document the settings. In the repository, `docs/guarantees.md` lists each promise
//! with the tests that show it, `docs/performance.md` has benchmarks, and `examples/` has complete programs.
//!
//! # Promises
//!
//! - **Nothing is lost.** An accepted record is at every moment queued, in flight, delivered, failed, or handed back.
//!   By default a record is retried indefinitely: there is no deadline and no limit of attempts.
//! - **Delivery is at least once.** A record whose request has an unknown outcome is sent again, and may be written
//!   twice.
//! - **Memory is bounded**, by records and by bytes. While the buffer is full, the source waits.
//! - **Order is kept on request**, for each partition key, with [`RecordOrdering::PerKey`].
//! - **Nothing leaks**: no payload, key or credential is in a log line, error, metric or `Debug` output.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-config` | yes | `KinesisSink::from_env`, through `aws-config` with its one TLS stack |
//! | `metrics` | yes | the module `metrics`: metrics of sinks and of `MetricsLayer`, for any recorder of the `metrics` facade |
//! | `cbor` | no | Kinesis CBOR: `PutRecords::with_cbor`, and `KinesisCbor` for every operation of a `Client` |
//! | `serde` | no | `Serialize` and `Deserialize` for [`Settings`], for configuration files, and for records, for dead-letter files |
//! | `sim` | no | the module `sim`: a simulated stream for tests, as a service and behind a real `Client` |
//!
//! Without default features the crate has no TLS stack: the `Client` that you build has its own. The minimum Rust
//! version is that of the AWS SDK, 1.94.1.
//!
//! [`futures::Sink`]: https://docs.rs/futures/latest/futures/sink/trait.Sink.html
//! [`tower::Service`]: https://docs.rs/tower/latest/tower/trait.Service.html

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

#[macro_use]
mod macros;

mod build_error;
mod guard;
mod parse_error;
mod pipeline;
mod service_ext;
mod sink;

pub mod aggregate;
pub mod error;
pub mod guide;
pub mod limits;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod producer;
pub mod record;
pub mod service;
pub mod settings;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod status;
pub mod stream;
pub mod timeout;
pub mod trace;

pub use error::{BuildError, Error, ErrorKind};
pub use producer::Producer;
pub use record::{Delivery, PartitionKey, Receipt, Record, Undelivered};
pub use settings::{Aggregation, RecordOrdering, Settings};
pub use sink::{KinesisSink, SinkBuilder};
pub use stream::StreamId;

/// Its code is compiled with the other documentation's.
#[cfg(all(doctest, feature = "aws-config", feature = "metrics"))]
#[doc = include_str!("../README.md")]
struct Readme;
