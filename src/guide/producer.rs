//! Sending from many tasks: [`Producer`](crate::Producer).
//!
//! A producer is a handle to a [`KinesisSink`](crate::KinesisSink). A spawned task, the *driver*, polls the sink. Give
//! each sending task a clone of the producer:
//!
//! ```
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let producer = KinesisSink::new(&client, "example")?.spawn();
//!
//! let tasks = (0..100).map(|device| {
//!     let producer = producer.clone();
//!     tokio::spawn(async move {
//!         let receipt = producer.put(Record::from((format!("device-{device}"), "21.5"))).await?;
//!         let delivery = receipt.await?;
//!         println!("in {} as {}", delivery.shard_id(), delivery.sequence_number());
//!         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//!     })
//! });
//! for task in tasks.collect::<Vec<_>>() {
//!     task.await?.map_err(|error| error.to_string())?;
//! }
//! producer.close().await?;
//! # assert_eq!(example.written().len(), 100);
//! # Ok(())
//! # }
//! ```
//!
//! The tasks share requests: the 100 records above are sent in a few requests instead of 100.
//!
//! # Ways to send
//!
//! | call | waits while the share of the record's shard is used up | returns |
//! |---|---|---|
//! | `put(record).await` | yes | a receipt |
//! | `send(record).await` | yes | nothing; a failed record goes to the dead-letter handler, or to `take_failed` |
//! | `try_put(record)`, `try_send(record)` | no: returns [`Full`](crate::ErrorKind::Full) with the record | as `put` and `send` |
//! | `stream.forward(producer.sink())` | yes | `()`, once every record sent before is settled; closes only that sink, not the producer |
//! | `producer.put_all(stream)` | yes | a stream of outcomes, each with a context such as an offset |
//! | [`tower::Service`](crate::Producer#impl-Service<Record>-for-Producer): `call(record).await` | in `poll_ready`, or in the response future | the delivery |
//!
//! The buffer is divided between the shards: while the shard of a record has used up its
//! [share](crate::Producer#backpressure), the calls for this shard wait, and the others do not. Calls that wait for the
//! same shard are served in the order of arrival, so a busy task cannot starve the others. To send to several streams,
//! use a [router](super::router).
//!
//! # Receipts
//!
//! A receipt is a future that returns either a [`Delivery`](crate::Delivery), or an [`Undelivered`](crate::Undelivered)
//! with the record, the reason, and the attempt history. Every receipt completes, even if the producer is dropped, the
//! driver panics, or the runtime shuts down. [`try_outcome`](crate::Receipt::try_outcome) returns the outcome without
//! waiting.
//!
//! Await a receipt before you respond to a request, commit an offset, or delete a message. If you do not need the
//! outcome, use `send`: a receipt costs about as much CPU time as sending a small record.
//!
//! # Committing offsets
//!
//! [`put_all`](crate::Producer::put_all) sends a stream of records, each with a context such as an offset. It returns
//! the outcomes in the order of the records. When you receive an outcome, you have already received the outcomes of all
//! earlier records. If all of these were delivered, you can store the position in the source:
//!
//! ```
//! use futures::{StreamExt, stream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let producer = KinesisSink::new(&client, "example")?.spawn();
//! let messages = stream::iter((0_u64..5_000).map(|offset| (offset, format!("message {offset}"))));
//!
//! let records = messages.map(|(offset, text)| (Record::from(text), offset));
//! let mut outcomes = producer.put_all(records);
//! let mut stored = 0;
//! while let Some((offset, outcome)) = outcomes.next().await {
//!     outcome?;
//!     stored = offset + 1; // Everything below is delivered and can be committed.
//! }
//! assert_eq!(stored, 5_000);
//! # Ok(())
//! # }
//! ```
//!
//! The examples `checkpoint` and `offsets` are complete programs of this kind.
//!
//! # In a server
//!
//! A request handler that must not wait for buffer capacity can use `try_put`, and return 503 while the buffer is full:
//!
//! ```
//! use kinesis_sink::{ErrorKind, Producer, Record};
//!
//! /// Stores `body`, and returns the HTTP status of the response.
//! async fn store(producer: &Producer, body: bytes::Bytes) -> u16 {
//!     let receipt = match producer.try_put(Record::from(body)) {
//!         Ok(receipt) => receipt,
//!         Err(error) if error.kind() == ErrorKind::RecordTooLarge => return 413,
//!         Err(_) => return 503, // Full, or the producer has stopped.
//!     };
//!     match receipt.await {
//!         Ok(_) => 204,
//!         Err(_) => 502,
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(1);
//! # let producer = kinesis_sink::KinesisSink::new(&example.client(), "example")?.spawn();
//! # assert_eq!(store(&producer, bytes::Bytes::from_static(b"data")).await, 204);
//! # assert_eq!(store(&producer, vec![0; 2 << 20].into()).await, 413);
//! # Ok(())
//! # }
//! ```
//!
//! A server can also respond as soon as the record is accepted. Such a response guarantees less, because at that time
//! the record exists only in the memory of the process. The example `http_ingest` shows both. The example `lambda`
//! flushes before it returns, because the process can be frozen afterwards.
//!
//! For a health endpoint, [`status`](crate::Producer::status) and [`watch`](crate::Producer::watch) report whether
//! records are being delivered.
//!
//! # When the service rejects every request
//!
//! The service can reject every request, for example because a permission, the stream, or valid credentials are
//! missing. [`FatalPolicy`](crate::settings::FatalPolicy) determines what the producer does then. With
//! [`Stop`](crate::settings::FatalPolicy::Stop), the default, the producer stops and returns its records through
//! receipts and `close`. With [`Retry`](crate::settings::FatalPolicy::Retry), the producer retries the accepted
//! records, and accepts no new ones until a request succeeds. Throttles, timeouts, and outages are retried under either
//! policy.
//!
//! # Shutting down
//!
//! [`close`](crate::Producer::close) closes the producer for all handles and waits until every record is settled.
//! [`close_within`](crate::Producer::close_within) limits the waiting time, and returns the remaining records:
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let outage = kinesis_sink::sim::Faults::default().with_outage("ServiceUnavailable", 503);
//! # let example = kinesis_sink::sim::SimStream::builder().with_faults(outage).build()?;
//! # let client = example.client();
//! let producer = KinesisSink::new(&client, "example")?.spawn();
//! producer.send(Record::from("sent during an outage")).await?;
//!
//! let Err(error) = producer.close_within(Duration::from_secs(10)).await else { return Ok(()) };
//! for undelivered in error.into_undelivered() {
//!     // Store the records elsewhere. Some of them might be in the stream.
//!     println!("{}, may be written: {}", undelivered.reason(), undelivered.may_have_been_written());
//! #   assert!(undelivered.may_have_been_written());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! When the last handle is dropped, the producer is drained in the background. If the program exits before the producer
//! is drained, the remaining records are lost.
//!
//! # Running the driver
//!
//! [`spawn`](crate::KinesisSink::spawn) spawns the driver onto the current tokio runtime.
//! [`into_producer`](crate::KinesisSink::into_producer) returns the driver, so that you can spawn it elsewhere or poll
//! it yourself. You can use the producer from any runtime, or without one. Only `close_within` needs tokio's timer.
