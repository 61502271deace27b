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
//! `client` is an `aws_sdk_kinesis::Client`, set up [as you like](super::clients).
//!
//! # Records
//!
//! A record is data, with a key that determines its shard. It converts from anything that holds bytes, and from a tuple
//! of key and data:
//!
//! ```
//! use kinesis_sink::record::HashKey;
//! use kinesis_sink::{PartitionKey, Record};
//!
//! let spread = Record::from("no key: a random one, and any shard");
//! let keyed = Record::from(("device-7", vec![1, 2, 3]));
//! let placed = Record::from("data").with_explicit_hash_key(HashKey::new(0));
//! let unplaced = Record::from("for streams that place records themselves")
//!     .with_partition_key(PartitionKey::ServiceManaged);
//! # let _ = (spread, keyed, placed, unplaced);
//! ```
//!
//! Records with the same key go to the same shard. If you do not need that, set no key: the sink then
//! distributes records evenly, and avoids busy shards. Data and key together may have 1 MiB, a key 1 to 256 characters;
//! a record that cannot be sent is returned [in the error](super::failures).
//!
//! # Ways to send
//!
//! | call | waits for | afterwards |
//! |---|---|---|
//! | `stream.forward(&mut sink)` | the end of the stream, then until everything is settled | the sink is closed |
//! | `sink.send_all(&mut stream)` | the same | the sink stays open |
//! | `sink.feed(record)` | room | accepted, sent when a request is due |
//! | `sink.send(record)` | room, then until **everything** is settled | delivered, or an error |
//! | `sink.flush()` | until everything accepted is settled | the sink stays open |
//! | `sink.close()` | the same, and partial requests go at once | the sink is closed |
//!
//! `send` takes a round trip for each record. In a loop use `feed`, and `flush` at its end.
//!
//! When `flush` returns `Ok`, every record accepted before was confirmed by the service, was returned by its receipt,
//! or was taken by the dead-letter handler.
//!
//! # When a request is sent
//!
//! A request is sent when it is full, at 500 entries or 5 MiB. A partial request is sent when the source pauses
//! (`forward` flushes then) and nothing is in flight, or once its oldest record has waited for the
//! [linger](crate::settings::Linger), 100 ms. So an idle sink sends a single record at once, and a busy one fills its
//! requests while others are in flight.
//!
//! # Backpressure
//!
//! The buffer holds up to 10,000 records and 32 MiB, including those in flight and requeued. While it is full, the
//! source is not polled.
//!
//! The sink also yields to the other tasks of the runtime when the source is always ready: it uses tokio's
//! [cooperative budget](tokio::task::coop), a unit for each record.
//!
//! # A source that can fail
//!
//! `forward` needs the same error type of source and sink. `sink_map_err` converts the sink's error:
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
//! let source = stream::iter([Ok("one"), Ok("two"), Err(io::Error::other("the disk is gone"))]);
//!
//! let records = source.map_ok(Record::from);
//! let ended = futures::StreamExt::forward(records, (&mut sink).sink_map_err(io::Error::other)).await;
//!
//! assert_eq!(ended.unwrap_err().to_string(), "the disk is gone");
//! // An error of the source ends `forward` before the flush: what was accepted is still here.
//! sink.close().await?;
//! assert_eq!(sink.totals().delivered, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Polling
//!
//! Requests in flight are spawned and complete by themselves. Retries and lingering records are sent only while the
//! sink is polled, by `forward`, `feed`, `flush` or `close`. If a program does not poll the sink for long times, use a
//! [producer](super::producer), which has a task that polls.
//!
//! # Status
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
//! println!("{:?}", status.condition); // working, failing since, refused since, ..
//! if let Some(last) = status.last_request {
//!     println!("the last one: {} of {} delivered; {:?}", last.delivered, last.records, last.errors);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`watch`](crate::KinesisSink::watch) waits for changes of the condition in any task. A
//! [receipt](crate::Record::tracked) returns the outcome of a single record. For dashboards there are
//! [metrics], for logs `RUST_LOG=kinesis_sink=debug` and the module [`trace`](crate::trace).
//!
//! # Shutting down
//!
//! Close the sink and check the result: a sink that is dropped abandons the records in its buffer, and logs a warning
//! with their number. [`take_undelivered`](crate::KinesisSink::take_undelivered) takes the records that are left, in
//! the order of acceptance. The chapter on [failures](super::failures) has the errors.
//!
//! [`futures::Sink`]: https://docs.rs/futures/latest/futures/sink/trait.Sink.html
#![cfg_attr(feature = "metrics", doc = "[metrics]: crate::metrics")]
#![cfg_attr(not(feature = "metrics"), doc = "[metrics]: super::layers#layers-of-this-crate")]
