//! Sends any async stream of records to Amazon Kinesis Data Streams: a [`futures::Sink`] over a [`tower::Service`].
//!
//! The crate batches records into full `PutRecords` requests, retries failed entries, applies backpressure while its
//! buffer is full, limits the send rate per shard to the shard's quota, and reports the outcome of every record.
//!
//! # Quick start
//!
//! ```sh
//! cargo add kinesis-sink futures
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! To run this program, set a region and credentials in the environment, and create a stream named `example`:
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
//! `from_env` first checks that the stream can be used. If the stream name is misspelt, the port is closed, or
//! credentials are missing, it returns an error that describes the problem in one sentence. When `forward` returns
//! `Ok`, the service has confirmed both records. Any stream can be the source: lines of a file, messages from a socket,
//! or a channel. The sink polls the source only while its buffer has capacity.
//!
//! To send from many tasks, share a [`Producer`]. Each record gets a receipt, a future that returns the record's
//! outcome:
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
//! To send to many streams, for example one per tenant, use a [`Router`]. It opens streams on first use:
//!
//! ```no_run
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::{Record, Router};
//! let router = Router::builder().spawn(&client)?;
//! router.send_to("clicks", Record::from("a click")).await?;
//! router.send_to("orders", Record::from("an order")).await?;
//! router.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `sim`, tests send to a simulated stream that runs in the test process. No AWS account is needed:
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
//!             | accepted records                                  | delivered, failed, or withdrawn
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
//!   |  PutRecords     serializes the request, parses the response                            |
//!   +----------------------------------------------------------------------------------------+
//!   |  AWS SDK        credentials, signature, HTTP (retries disabled)                        |
//!   +---------+---------------------------------------------------+--------------------------+
//!             |                                                   ^
//!             v                                                   |
//!   +-------------------------------------------------------------+--------------------------+
//!   |                                Kinesis Data Streams                                    |
//!   +----------------------------------------------------------------------------------------+
//! ```
//!
//! The sink accepts records and spawns requests. The pipeline decides when to send a request and which records to
//! include. When a request completes, the pipeline updates the state of each of these records. The pipeline performs no
//! I/O. The service below the sink can be any [`tower::Service`] that accepts `PutRecords` requests, so you can add
//! [layers](guide::layers) from tower, from this crate, or your own.
//!
//! # Guide
//!
//! The [`guide`] has a chapter for each topic:
//!
//! - [sending a stream](guide::sink), [sending from many tasks](guide::producer), and [sending to many
//!   streams](guide::router);
//! - [failures](guide::failures): errors, dead letters, deadlines, duplicates, shutdown;
//! - [layers](guide::layers) around each request: timeouts, limits, metrics, custom layers;
//! - [aggregation](guide::aggregation) of small records, [rate limiting](guide::pacing) per shard, and
//!   [ordering](guide::ordering) of records with the same key;
//! - [testing](guide::testing) and [tuning](guide::tuning);
//! - [clients](guide::clients): credentials, TLS, proxies, endpoints;
//! - [migrating](guide::migrating) from `KinesisWriter`, a `put_records` loop, or the KPL.
//!
//! All settings are documented on [`SinkBuilder`] and [`Settings`]. In the repository, `docs/guarantees.md` lists each
//! guarantee with the tests that check it, `docs/performance.md` contains the benchmarks, and `examples/` contains
//! [complete programs](guide#examples).
//!
//! # Guarantees
//!
//! - **No accepted record is lost.** An accepted record is queued, in flight, delivered, failed, or withdrawn (returned
//!   to the caller). By default, records are retried indefinitely, without a deadline or an attempt limit.
//! - **Delivery is at least once.** If the outcome of a request is unknown, its records are sent again, so the stream
//!   can contain them twice.
//! - **Memory is bounded.** The buffer has a maximum number of records and a maximum size in bytes. While the buffer is
//!   full, the sink does not poll the source.
//! - **Requests are full, and latency is bounded.** An idle sink sends a record immediately. While a request is in
//!   flight, a partial request waits for its response, but at most 100 ms by default. With aggregation, a record waits
//!   up to 100 ms for its aggregate to fill.
//! - **The send rate per shard is limited** to the shard's quota, or to a lower rate if the shard throttles. A busy
//!   shard delays only its own records: a [producer](Producer#backpressure) divides its buffer between the shards. A
//!   [`KinesisSink`] has one source, which waits if the records of a busy shard fill the buffer.
//! - **A stream does not affect others.** A [`Router`] opens streams on first use, and divides a
//!   [budget](budget::Budget) between them. A stream that is throttled, missing, or denied delays only its own records.
//! - **Order is optional.** With [`RecordOrdering::PerKey`], records with the same partition key keep their order.
//! - **Every receipt completes**, either with the shard and sequence number, or with the record and the reason why it
//!   was not delivered. This holds even if the sink is dropped, the driver panics, or the runtime shuts down.
//! - **Payloads, keys, and credentials do not leak** into log lines, errors, metrics, or `Debug` output of this crate.
//!   `SECURITY.md` in the repository describes what the SDK logs at TRACE.
//!
//! Records are buffered in memory, unless the sink has a durable spool (feature `spool`). If the process is killed, records that were accepted but not delivered are lost. A
//! [`KinesisSink`] that is dropped abandons its buffered records and logs a warning, so call `close().await` first.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-config` | yes | `KinesisSink::from_env`, through `aws-config` with its TLS stack |
//! | `metrics` | yes | the module `metrics`: metrics of sinks and `MetricsLayer`, for any recorder of the `metrics` facade |
//! | `cbor` | no | the CBOR protocol of Kinesis: `PutRecords::with_cbor`, and `KinesisCbor` for all operations of a `Client` |
//! | `serde` | no | `Serialize` and `Deserialize` for [`Settings`] (configuration files) and for records (dead-letter files) |
//! | `spool` | no | the module `spool`: a durable spool on disk for records that are not delivered yet |
//! | `sim` | no | the module `sim`: a simulated stream for tests, used as a service or through a real `Client` |
//!
//! Without default features, this crate includes no TLS stack, so you [choose one](guide::clients::http) when you build
//! the `Client`. The minimum supported Rust version is 1.94.1, the same as for the AWS SDK.
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
mod watch;

pub mod aggregate;
pub mod budget;
pub mod error;
pub mod guide;
pub mod limits;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod producer;
pub mod record;
pub mod router;
pub mod service;
pub mod settings;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "spool")]
pub mod spool;
pub mod status;
pub mod stream;
pub mod timeout;
pub mod trace;

pub use error::{BuildError, Error, ErrorKind};
pub use producer::Producer;
pub use record::{Delivery, PartitionKey, Receipt, Record, Undelivered};
pub use router::Router;
pub use settings::{Aggregation, RecordOrdering, Settings};
pub use sink::{KinesisSink, SinkBuilder};
pub use stream::StreamId;

// Compiles the examples of the README as doc tests.
#[cfg(all(doctest, feature = "aws-config", feature = "metrics"))]
#[doc = include_str!("../README.md")]
struct Readme;
