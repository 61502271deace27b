//! Sends any async stream of records to Amazon Kinesis Data Streams: a [`futures::Sink`] over a [`tower::Service`].
//!
//! The crate batches records into full `PutRecords` requests, retries failed entries, applies backpressure while its
//! buffer is full, limits the rate of each shard to its quota, and reports the outcome of every record.
//!
//! # Quick start
//!
//! ```sh
//! cargo add kinesis-sink futures
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! This program needs a region and credentials in the environment, and a stream named `example`:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! # mod quick_start {
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
//! `from_env` checks the stream first, and reports a misspelt name, a closed port or missing credentials in one
//! sentence. When `forward` returns `Ok`, the service has confirmed both records. The source can be any stream: the
//! lines of a file, the messages of a socket, a channel. It is polled only while the buffer has capacity.
//!
//! Many tasks can share a [`Producer`], which returns the outcome of each record:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! # mod quick_start {
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
//! With the feature `sim`, tests send to a simulated stream in the process and need no AWS account:
//!
//! ```
//! use futures::SinkExt;
//! use kinesis_sink::sim::SimStream;
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # // The doc test calls the test function.
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
//! # Architecture
//!
//! ```text
//!    one stream of records            many tasks
//!             | forward, feed              | put, send, put_all
//!             v                            v
//!     +---------------+ polled by   +-------------+         to the caller:
//!     |  KinesisSink  |<------------|   Producer  |         receipts, dead letters,
//!     +---------------+ driver task +-------------+         totals, errors
//!             |                                                   ^
//!             | accepted records                                  | delivered, or failed for good
//!             v                                                   |
//!   +-------------------------------------------------------------+--------------------------+
//!   |  pipeline: a state machine without I/O                      |                          |
//!   |                                                             |                          |
//!   |  backlog   records to send, one lane per shard  <-- retry --+                          |
//!   |  topology  the shard of each record                         |                          |
//!   |  health    backoff, request slots, fatal errors      settle each entry                 |
//!   |  ledger    number and size of the records                   ^                          |
//!   |                                                             |                          |
//!   +---------+---------------------------------------------------+--------------------------+
//!             | PutRecordsRequest,                                | PutRecordsResponse, with a
//!             | at most 500 entries                               | result per entry, or an error
//!             v                                                   |
//!   +-------------------------------------------------------------+--------------------------+
//!   |  tower layers   tracing, metrics, timeout, custom layers                               |
//!   +----------------------------------------------------------------------------------------+
//!   |  PutRecords     serializes the request, reads the response                             |
//!   +----------------------------------------------------------------------------------------+
//!   |  AWS SDK        credentials, signature, retries disabled, HTTP                         |
//!   +---------+---------------------------------------------------+--------------------------+
//!             |                                                   ^
//!             v                                                   |
//!   +-------------------------------------------------------------+--------------------------+
//!   |                                Kinesis Data Streams                                    |
//!   +----------------------------------------------------------------------------------------+
//! ```
//!
//! The sink accepts records and spawns requests. The pipeline decides when a request is sent, which records it has, and
//! what its outcome means for each of them. It does no I/O. The service below the sink is any [`tower::Service`] of
//! `PutRecords` requests, so [layers](guide::layers) of tower, of this crate or of your application can be added.
//!
//! # Guide
//!
//! The [`guide`] has a chapter for each topic:
//!
//! - [sending a stream](guide::sink) and [sending from many tasks](guide::producer);
//! - [failures](guide::failures): errors, dead letters, deadlines, duplicates, shutdown;
//! - [layers](guide::layers) around each request: timeouts, limits, metrics, custom layers;
//! - [aggregation](guide::aggregation) of small records, [rate limiting](guide::pacing) of shards, and
//!   [ordering](guide::ordering) of the records of a key;
//! - [testing](guide::testing) and [tuning](guide::tuning);
//! - [clients](guide::clients): credentials, TLS, proxies, endpoints;
//! - [migrating](guide::migrating) from `KinesisWriter`, a `put_records` loop, or the KPL.
//!
//! [`SinkBuilder`] and [`Settings`] document the settings. In the repository, `docs/guarantees.md` lists each guarantee
//! with the tests that check it, `docs/performance.md` has the benchmarks, and `examples/` has
//! [complete programs](guide#examples).
//!
//! # Guarantees
//!
//! - **No accepted record is lost.** It is always queued, in flight, delivered, failed, or returned to the caller. By
//!   default records are retried indefinitely: there is no deadline and no limit of attempts.
//! - **Delivery is at least once.** If the outcome of a request is unknown, its records are sent again, and may be
//!   written twice.
//! - **Memory is bounded** by the number and size of the buffered records. While the buffer is full, the source waits.
//! - **Requests are full without added latency**, except with aggregation, which waits up to 100 ms by default.
//! - **The rate of each shard is limited** to its quota, or to what the shard accepts. A busy shard delays only its own
//!   records, until they fill the buffer.
//! - **Order is kept on request**, for each partition key, with [`RecordOrdering::PerKey`].
//! - **Every receipt completes**, with the shard and sequence number, or with the record and the reason. This holds if
//!   the sink is dropped, its driver panics, or the runtime shuts down.
//! - **Payloads, keys and credentials do not leak** into log lines, errors, metrics or `Debug` output of this crate.
//!   `SECURITY.md` in the repository describes what the SDK logs at TRACE.
//!
//! Records live in memory: a process that is killed loses those that were accepted and not delivered. A dropped
//! [`KinesisSink`] abandons its records and logs a warning, so call `close().await` first.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-config` | yes | `KinesisSink::from_env`, through `aws-config` with its TLS stack |
//! | `metrics` | yes | the module `metrics`: metrics of sinks and of `MetricsLayer`, for any recorder of the `metrics` facade |
//! | `cbor` | no | Kinesis CBOR: `PutRecords::with_cbor`, and `KinesisCbor` for every operation of a `Client` |
//! | `serde` | no | `Serialize` and `Deserialize` for [`Settings`], for configuration files, and for records, for dead-letter files |
//! | `sim` | no | the module `sim`: a simulated stream for tests, as a service and behind a real `Client` |
//!
//! Without default features the crate has no TLS stack, and the `Client` that you build [brings
//! one](guide::clients::http). The minimum Rust version is that of the AWS SDK, 1.94.1.
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

// Compiles the examples of the README as doc tests.
#[cfg(all(doctest, feature = "aws-config", feature = "metrics"))]
#[doc = include_str!("../README.md")]
struct Readme;
