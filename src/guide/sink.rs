//! Sending a stream of records: [`KinesisSink`](crate::KinesisSink).
//!
//! The sink is a [`futures::Sink`] of [`Record`](crate::Record)s. Any stream of records can be forwarded into it:
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
//! `client` is an `aws_sdk_kinesis::Client`. The chapter on [clients](super::clients) describes its setup.
//!
//! # Records
//!
//! A record consists of data and a key that determines its shard. It converts from any type that holds bytes, and from
//! a tuple of key and data:
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
//! Records with the same key go to the same shard. If you do not need that, set no key: the sink then distributes
//! records evenly over the shards and avoids busy ones. Data and key together may have up to 1 MiB, and a key
//! has 1 to 256 characters. [Failures](super::failures#errors-of-sinks-and-producers) describes the error for a record
//! that cannot be sent.
//!
//! # Ways to send
//!
//! | call | waits | afterwards |
//! |---|---|---|
//! | `stream.forward(&mut sink)` | for the end of the stream, then until all records are settled | the sink is closed |
//! | `sink.send_all(&mut stream)` | for the end of the stream, then until all records are settled | the sink is open |
//! | `sink.feed(record)` | while the buffer is full | the record is accepted |
//! | `sink.send(record)` | while the buffer is full, then until **all** records are settled | the record is delivered, or an error is returned |
//! | `sink.flush()` | until all accepted records are settled | the sink is open |
//! | `sink.close()` | until all accepted records are settled; partial requests are sent at once | the sink is closed |
//!
//! `send` takes a round trip for each record. In a loop use `feed`, and `flush` after the loop.
//!
//! When `flush` returns `Ok`, the service has confirmed every record accepted before, or its receipt or the dead-letter
//! handler has received it.
//!
//! # When a request is sent
//!
//! A full request, with 500 entries or 5 MiB, is sent immediately. A partial request is sent when the source pauses
//! (`forward` flushes then) and no request is in flight, or when its oldest record has waited for the
//! [linger](crate::settings::Linger), 100 ms by default. So an idle sink sends a single record immediately, and a busy
//! one fills its next request while others are in flight. A source that pauses after every record costs one request per
//! round trip, or one per 100 ms if round trips are longer, and not one per record.
//!
//! # Backpressure
//!
//! The buffer holds up to 10,000 records and 32 MiB, including records that are in flight or requeued. While it is
//! full, the source is not polled. [`Settings`](crate::Settings::buffer_records) has both bounds.
//!
//! The sink also yields to the other tasks of the runtime if the source is always ready: each record takes one unit of
//! tokio's [cooperative budget](tokio::task::coop).
//!
//! # A source that can fail
//!
//! `forward` requires the same error type of source and sink. `sink_map_err` converts the sink's error:
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
//! // `forward` does not flush after an error of the source. The accepted records are still in the sink.
//! sink.close().await?;
//! assert_eq!(sink.totals().delivered, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Polling
//!
//! Requests in flight are spawned and complete without being polled. Retries and lingering records are sent only while
//! the sink is polled, by `forward`, `feed`, `flush` or `close`. If a program does not poll the sink for long periods,
//! use a [producer](super::producer), whose driver task polls it.
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
//! - [`watch`](crate::KinesisSink::watch) waits for changes of the condition in any task, for example in a health
//!   endpoint. A [receipt](crate::Record::tracked) returns the outcome of a single record.
//! - [Metrics] count and time records, requests, errors, retries and shards, through the `metrics` facade.
//!   `docs/grafana.json` in the repository is a dashboard. The example `observe` exposes the metrics to Prometheus,
//!   sends the spans of requests to a collector (`-- --otlp URL`), and drew `docs/observe.svg`.
//! - The module [`trace`](crate::trace) has spans of requests. `RUST_LOG=kinesis_sink=debug` shows a line before and
//!   after each request. The chapter on failures has the [lines at INFO and above](super::failures#log-lines).
//!
//! # Shutting down
//!
//! Close the sink and check the result: a sink that is dropped abandons the records in its buffer, and logs a warning
//! with their number. [`take_undelivered`](crate::KinesisSink::take_undelivered) returns the records that are left, in
//! the order of acceptance, at any time. [Failures](super::failures#shutting-down) has a table of the cases.
//!
//! [`futures::Sink`]: https://docs.rs/futures/latest/futures/sink/trait.Sink.html
#![cfg_attr(feature = "metrics", doc = "[Metrics]: crate::metrics")]
#![cfg_attr(not(feature = "metrics"), doc = "[Metrics]: super::layers#layers-of-this-crate")]
