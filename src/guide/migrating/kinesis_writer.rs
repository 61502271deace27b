//! Migrating from the Python class `KinesisWriter`.
//!
//! This crate is based on `KinesisWriter` from Keith Gregory's repository `aws-misc` (`python/kinesis`). That class
//! batches messages, calls `put_records()`, and requeues the failed messages of a partially failed request.
//! `tests/sink/kinesis_writer.rs` contains a test for each of its behaviors.
//!
//! # Side by side
//!
//! ```python
//! writer = KinesisWriter(boto3.client("kinesis"), "example", log_batches=True)
//! writer.enqueue("a message", "a key")
//! writer.enqueue({"no": "key"})
//! while writer.flush():
//!     time.sleep(0.25)
//! ```
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use futures::SinkExt;
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let mut writer = KinesisSink::new(&client, "example")?;
//! writer.feed(Record::from(("a key", "a message"))).await?;
//! writer.feed(Record::from(serde_json::json!({"no": "key"}).to_string())).await?;
//! writer.flush().await?;
//! # assert_eq!(writer.totals().delivered, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Calls and properties
//!
//! | `KinesisWriter` | this crate |
//! |---|---|
//! | `KinesisWriter(client, stream)`, name or ARN | `KinesisSink::new(&client, stream)`; an ARN of another region is an error |
//! | `log_batches=True` | `RUST_LOG=kinesis_sink=debug` and a `tracing` subscriber: logs a line before and after each request |
//! | `enqueue(message, key)` | `feed(Record::from((key, message)))`; waits while the buffer is full |
//! | `enqueue(message)`: the key is `str(time.time())` | `Record::from(message)`: the key is random, so records are distributed evenly, and is redrawn after a throttle |
//! | `bytes`, `str` | any type that contains bytes |
//! | other values, as JSON | `Record::from(serde_json::to_vec(&value)?)` |
//! | `ValueError`: message or key too large | an [`Error`](crate::Error) that contains the record; the maximum key length is 256 *characters*, as in the service |
//! | a batch is sent at 500 messages or 5 MiB | same limits; the next batch is filled while a request is in flight |
//! | `flush()` in a loop, with a sleep | a single `flush().await`, which returns when all records are settled |
//! | failed messages are sent first in the next batch, in order | same behavior, [unless requests are concurrent](#differences) |
//! | an exception from `put_records` leaves the queue unchanged | errors are retried with backoff; if retries cannot succeed, the sink returns [`ErrorKind::Refused`](crate::ErrorKind::Refused) and keeps the records |
//! | `last_batch_size`, `last_batch_success_count` | [`status().last_request`](crate::status::Status::last_request): `records`, `delivered` |
//! | `last_batch_failure_messages` | `last_request`: `errors`, with code, message and count |
//! | the queue is unbounded | the buffer is limited in [records and bytes](crate::Settings::buffer_records) |
//!
//! # Differences
//!
//! - **Concurrent requests.** The class sends one request at a time, and the sink sends up to four. To send one at a
//!   time, use `KinesisSink::builder("example").with_max_in_flight(1)`. To preserve the order of records with the same
//!   key even when some are retried, use [`RecordOrdering::PerKey`](super::super::ordering).
//! - **No sleeps.** The sink waits between attempts, increases the waiting time after each failure, and limits the send
//!   rate per shard.
//! - **`feed` can wait.** The class's `enqueue` returns immediately, or after one call to the service. `feed` waits
//!   while the buffer is full. If you must not wait, use `try_send` of a [`Producer`](super::super::producer).
//! - **A dropped sink logs a warning.** Messages that remain in a `KinesisWriter` at the end of the program are lost
//!   silently.
