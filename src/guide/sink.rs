//! Sending a stream of records: [`KinesisSink`](crate::KinesisSink).
//!
//! The sink implements [`futures::Sink`] for [`Record`](crate::Record). You can forward any stream of records into the
//! sink:
//!
//! ```
//! use futures::{StreamExt, stream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let mut sink = KinesisSink::new(&client, "example")?;
//! let lines = stream::iter(["one line", "another line"]);
//! lines.map(Record::from).map(Ok).forward(&mut sink).await?;
//! assert_eq!(sink.totals().delivered, 2);
//! # assert_eq!(example.written().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! `client` is an `aws_sdk_kinesis::Client`. The chapter on [clients](super::clients) describes how to create one.
//!
//! # Records
//!
//! A record consists of data and a partition key, which determines the shard. You can convert any type that contains
//! bytes, or a tuple of key and data, into a record:
//!
//! ```
//! use kinesis_sink::record::HashKey;
//! use kinesis_sink::{PartitionKey, Record};
//!
//! let spread = Record::from("no key: a random one, and any shard");
//! let keyed = Record::from(("device-7", vec![1, 2, 3]));
//! let json = Record::from(serde_json::json!({"temperature": 21.5}).to_string());
//! let placed = Record::from("data").with_explicit_hash_key(HashKey::new(0));
//! let unplaced = Record::from("for streams that place records themselves")
//!     .with_partition_key(PartitionKey::ServiceManaged);
//! # let _ = (spread, keyed, json, placed, unplaced);
//! ```
//!
//! Records with the same key go to the same shard. If you do not need that, do not set a key: the sink then distributes
//! records evenly and avoids busy shards. By default, data and key together are limited to 1 MiB. A
//! stream with a [higher record limit](super::tuning#large-records) accepts up to 10 MiB. A key has 1 to 256
//! characters. The chapter on [failures](super::failures#errors-of-sinks-and-producers) describes the error for a
//! record that cannot be sent.
//!
//! # Ways to send
//!
//! | call | waits until | afterwards |
//! |---|---|---|
//! | `stream.forward(&mut sink)` | the stream has ended and all records are settled | the sink is closed |
//! | `sink.send_all(&mut stream)` | the stream has ended and all records are settled | the sink is open |
//! | `sink.feed(record)` | the buffer has capacity | the record is accepted |
//! | `sink.send(record)` | the buffer has capacity, then until **all** accepted records are settled | the record is delivered, or an error is returned |
//! | `sink.flush()` | all accepted records are settled | the sink is open |
//! | `sink.close()` | all accepted records are settled; partial requests are sent immediately | the sink is closed |
//!
//! `send` takes one round trip per record. In a loop, call `feed` for each record, and call `flush` after the loop.
//!
//! When `flush` returns `Ok`, every record that was accepted before has either been confirmed by the service, or has
//! failed and was returned through its receipt or passed to the dead-letter handler.
//!
//! # When a request is sent
//!
//! A full request has 500 entries or 5 MiB, and is sent immediately. A partial request is sent in two cases: when the
//! source pauses (`forward` then flushes) and no request is in flight, or when the oldest record has waited for the
//! [linger](crate::settings::Linger), 100 ms by default. Therefore an idle sink sends a single record immediately, and
//! a busy sink fills the next request while others are in flight. If the source pauses after every record, the sink
//! does not send one request per record. It sends one request per round trip, or one per 100 ms if round trips are
//! longer.
//!
//! # Backpressure
//!
//! The buffer holds up to 10,000 records and 32 MiB, including records that are in flight or requeued. While the buffer
//! is full, `poll_ready` returns `Pending`, so `forward` does not poll the source. Both limits are fields of
//! [`Settings`](crate::Settings::buffer_records).
//!
//! If the source is always ready, the sink still yields to other tasks: each record consumes one unit of tokio's
//! [cooperative budget](tokio::task::coop).
//!
//! # A source that can fail
//!
//! `forward` requires that source and sink have the same error type. `sink_map_err` converts the error of the sink:
//!
//! ```
//! use std::io;
//!
//! use futures::{SinkExt, TryStreamExt, stream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let mut sink = KinesisSink::new(&client, "example")?;
//! let source = stream::iter([Ok("one"), Ok("two"), Err(io::Error::other("disk failure"))]);
//!
//! let records = source.map_ok(Record::from);
//! let result = futures::StreamExt::forward(records, (&mut sink).sink_map_err(io::Error::other)).await;
//!
//! assert_eq!(result.unwrap_err().to_string(), "disk failure");
//! // `forward` does not flush after a source error. The accepted records are still in the sink.
//! sink.close().await?;
//! assert_eq!(sink.totals().delivered, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Polling
//!
//! Requests in flight run in spawned tasks, so they complete even if the sink is not polled. New requests, including
//! retries and partial requests, are sent only while the sink is polled by `forward`, `feed`, `flush`, or `close`. If
//! your program does not poll the sink for long periods, use a [producer](super::producer), whose driver task polls the
//! sink.
//!
//! # Status, metrics and logs
//!
//! ```
//! # use futures::{StreamExt, stream};
//! # use kinesis_sink::{KinesisSink, Record};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let mut sink = KinesisSink::new(&example.client(), "example")?;
//! # stream::iter(["one"]).map(Record::from).map(Ok).forward(&mut sink).await?;
//! let totals = sink.totals();
//! println!("{} delivered in {} requests", totals.delivered, totals.requests);
//! println!("{} requeued, {} throttles", totals.requeued, totals.throttled);
//! let status = sink.status();
//! println!("{} queued, {} in flight", status.queued.records, status.in_flight.records);
//! println!("{:?}", status.condition); // working, failing or refused since .., closed
//! if let Some(last) = status.last_request {
//!     println!("last request: {} of {} delivered; {:?}", last.delivered, last.records, last.errors);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`watch`](crate::KinesisSink::watch) returns a handle that waits for condition changes in any task, for example in
//!   a health endpoint. A [receipt](crate::Record::tracked) returns the outcome of a single record.
//! - [Metrics] count and time records, requests, errors, retries and shards, through the `metrics` facade.
//!   `docs/grafana.json` in the repository is a Grafana dashboard. The example `observe` exposes the metrics to
//!   Prometheus, and exports request spans to a collector (`-- --otlp URL`). `docs/observe.svg` shows its output.
//! - The module [`trace`](crate::trace) creates a span for each request. `RUST_LOG=kinesis_sink=debug` logs a line
//!   before and after each request. The chapter on failures lists the [log lines at INFO and
//!   above](super::failures#log-lines).
//!
//! # Shutting down
//!
//! Close the sink and check the result. If you drop the sink without closing it, it abandons the records in its
//! buffer, and logs a warning with their number. At any time,
//! [`take_undelivered`](crate::KinesisSink::take_undelivered) returns the remaining records in the order in which they
//! were accepted. The chapter on [failures](super::failures#shutting-down) has a table of all cases.
//!
//! [`futures::Sink`]: https://docs.rs/futures/latest/futures/sink/trait.Sink.html
#![cfg_attr(feature = "metrics", doc = "[Metrics]: crate::metrics")]
#![cfg_attr(not(feature = "metrics"), doc = "[Metrics]: super::layers#layers-of-this-crate")]
