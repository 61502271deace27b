//! Sending from many tasks: [`Producer`](crate::Producer).
//!
//! A [`KinesisSink`](crate::KinesisSink) makes progress only while its owner polls it. A producer is a handle to a sink
//! that a task of its own, the driver, polls. Give each task a clone:
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
//! The tasks share requests: the hundred records above go out in a few, not in a hundred.
//!
//! # Ways to send
//!
//! | call | waits for room | returns |
//! |---|---|---|
//! | `put(record).await` | yes | a receipt |
//! | `send(record).await` | yes | nothing; a failed record goes to the dead-letter handler, or to `take_failed` |
//! | `try_put(record)`, `try_send(record)` | no: the record comes back as [`Full`](crate::ErrorKind::Full) | as `put` and `send` |
//! | `stream.forward(producer.sink())` | yes | `()`, once every record sent before is settled; closes that sink only |
//! | `producer.put_all(stream)` | yes | a stream of outcomes, each with a context such as an offset |
//! | [`tower::Service`](crate::Producer#impl-Service<Record>-for-Producer): `call(record).await` | `poll_ready` does | the delivery |
//!
//! Waiting callers are served in order of arrival, so that a busy task does not starve others.
//!
//! # Receipts
//!
//! A receipt is a future. It returns a [`Delivery`](crate::Delivery), or an [`Undelivered`](crate::Undelivered) with
//! the record, the reason and the history of attempts. It always completes, also when the producer is dropped, its
//! driver panics or the runtime shuts down.
//!
//! Await a receipt before you respond to a request, commit an offset or delete a message. Otherwise use `send`: a
//! receipt costs about as much CPU time as a small record.
//!
//! [`try_outcome`](crate::Receipt::try_outcome) queries a receipt without waiting.
//!
//! # Committing offsets
//!
//! [`put_all`](crate::Producer::put_all) sends a stream of records, each with a context, and returns the outcomes in
//! the order of the records. When one is delivered, so are all before it, and the source's position can be stored:
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
//!     stored = offset + 1; // Everything below is delivered: a good moment to commit.
//! }
//! assert_eq!(stored, 5_000);
//! # Ok(())
//! # }
//! ```
//!
//! The examples `checkpoint` and `offsets` are whole programs of this kind.
//!
//! # In a server
//!
//! A request handler that must not wait for room uses `try_put`, and returns 503 while the buffer is full:
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
//! A response before the receipt completes promises less: the record is only in the memory of the process. The example
//! `http_ingest` is such a server. The example `lambda` flushes before it returns, because the process may be frozen
//! afterwards.
//!
//! # When the service refuses every request
//!
//! Without permission, stream or credentials, [`FatalPolicy`](crate::settings::FatalPolicy) decides. With
//! [`Stop`](crate::settings::FatalPolicy::Stop), the default, the producer stops and hands its records back. With
//! [`Retry`](crate::settings::FatalPolicy::Retry) it retries the accepted records, and accepts no new ones until a
//! request succeeds. Throttles, timeouts and outages are retried under either policy.
//!
//! # Shutting down
//!
//! [`close`](crate::Producer::close) closes the producer for all handles and waits until every record is settled.
//! [`close_within`](crate::Producer::close_within) limits the wait, and hands back the records that are left:
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
//!     // Store them elsewhere. Some may be in the stream all the same.
//!     println!("{}, may be written: {}", undelivered.reason(), undelivered.may_have_been_written());
//! #   assert!(undelivered.may_have_been_written());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Dropping the last handle also drains the producer, in the background: a program that ends before the drain loses
//! records.
//!
//! # Where the driver runs
//!
//! [`spawn`](crate::KinesisSink::spawn) spawns it onto the current tokio runtime.
//! [`into_producer`](crate::KinesisSink::into_producer) returns it, to be spawned elsewhere or polled by hand. The
//! producer can be used from any runtime, or from none; only `close_within` needs tokio's timer.
