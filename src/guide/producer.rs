//! Sending from many tasks: [`Producer`](crate::Producer).
//!
//! A sink has one owner and moves while it is polled. A producer is a handle to a sink that runs in a task
//! of its own, the driver. Clone it into as many tasks as there are:
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
//! | call | waits for room | gives |
//! |---|---|---|
//! | `put(record).await` | yes | a receipt |
//! | `send(record).await` | yes | nothing; what fails goes to the dead letters, or waits in `take_failed` |
//! | `try_put(record)`, `try_send(record)` | no: the record comes back as [`Full`](crate::ErrorKind::Full) | as `put` and `send` |
//! | `stream.forward(producer.sink())` | yes | ends when everything sent before its end is settled; closes that sink only |
//! | `producer.put_all(stream)` | yes | a stream of outcomes, each with a context such as an offset |
//! | [`tower::Service`](crate::Producer#impl-Service<Record>-for-Producer): `call(record).await` | `poll_ready` does | the delivery |
//!
//! Callers that wait are served first come, first served, so that a busy task starves nobody.
//!
//! # Receipts
//!
//! A receipt is a future. It ends with a [`Delivery`](crate::Delivery), or with the record, the reason and
//! the history of its attempts in [`Undelivered`](crate::Undelivered). It always ends, also when the
//! producer is dropped, its driver panics or the runtime shuts down.
//!
//! Wait for it where somebody waits for you: before you answer a request, commit an offset, delete a
//! message. Otherwise use `send`: a receipt costs about as much CPU time as a small record.
//!
//! [`try_outcome`](crate::Receipt::try_outcome) asks a receipt without waiting.
//!
//! # Committing offsets
//!
//! [`put_all`](crate::Producer::put_all) sends a stream of records, each with a context, and returns the outcomes in the
//! order of the records. When one is delivered, so are all before it, and the source's position can be stored:
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
//! A handler that may not wait says so to its client:
//!
//! ```
//! use kinesis_sink::{ErrorKind, Producer, Record};
//!
//! /// The status of HTTP that a request to store `body` is answered with.
//! async fn store(producer: &Producer, body: bytes::Bytes) -> u16 {
//!     let receipt = match producer.try_put(Record::from(body)) {
//!         Ok(receipt) => receipt,
//!         Err(error) if error.kind() == ErrorKind::RecordTooLarge => return 413,
//!         Err(_) => return 503, // Full, or the stream takes nothing.
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
//! An answer before the receipt has ended promises less: the record is in this process's memory, and
//! lost with it. The example `http_ingest` is such a server; `lambda` flushes before it returns, because
//! the process may be frozen then.
//!
//! # When the stream takes nothing
//!
//! No permission, no such stream, no credentials: with [`FatalPolicy::Stop`](crate::settings::FatalPolicy::Stop), the
//! default, the producer stops and everything comes back. [`Retry`](crate::settings::FatalPolicy::Retry)
//! keeps what was accepted and refuses what is new until somebody mends it. Throttles, time-outs and
//! outages are none of that: they are waited out under either policy.
//!
//! # The end
//!
//! [`close`](crate::Producer::close) accepts no more records from any handle and waits until all are
//! settled. At a shutdown that may not take for ever, give it a limit; what is left comes back:
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
//! Dropping the last handle drains as well, in the background, but nobody waits for it: a program that ends
//! then loses what is under way.
//!
//! # Where the driver runs
//!
//! [`spawn`](crate::KinesisSink::spawn) puts it on the current tokio runtime.
//! [`into_producer`](crate::KinesisSink::into_producer) returns it to you, to be spawned elsewhere or polled by hand. The
//! producer itself can be used from any runtime, or from none; only `close_within` needs tokio's timer.
