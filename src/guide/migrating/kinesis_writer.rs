//! Migrating from the Python class `KinesisWriter`.
//!
//! This crate is derived from that class, which batched messages, called `put_records()` and requeued the
//! records of a partial failure. It is in Keith Gregory's repository `aws-misc`, under `python/kinesis`.
//! `tests/sink/kinesis_writer.rs` has a test for each of its behaviors.
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
//! | `KinesisWriter(client, stream)`, name or ARN | `KinesisSink::new(&client, stream)`; an ARN of another region is refused |
//! | `log_batches=True` | `RUST_LOG=kinesis_sink=debug` and a `tracing` subscriber: a line before and after each request |
//! | `enqueue(message, key)` | `feed(Record::from((key, message)))`; waits while the buffer is full |
//! | `enqueue(message)`: the key is `str(time.time())` | `Record::from(message)`: a random key, evenly distributed, drawn again after a throttle |
//! | `bytes`, `str` | any type that holds bytes |
//! | other values, as JSON | `Record::from(serde_json::to_vec(&value)?)` |
//! | `ValueError`: message or key too large | an [`Error`](crate::Error) with the record; a key may have 256 *characters*, as the service counts |
//! | a batch is sent at 500 messages or 5 MiB | the same limits, and the next batch fills while a request is in flight |
//! | `flush()` in a loop, with a sleep | one `flush().await`: it returns when all records are settled |
//! | failed messages are sent first in the next batch, in order | the same, [unless requests are concurrent](#differences) |
//! | an exception of `put_records` leaves the queue unchanged | [`ErrorKind::Refused`](crate::ErrorKind::Refused) if retries do not help; other errors are retried with backoff |
//! | `last_batch_size`, `last_batch_success_count` | [`status().last_request`](crate::status::Status::last_request): `records`, `delivered` |
//! | `last_batch_failure_messages` | `last_request`: `errors`, with code, message and count |
//! | the queue is not bounded | bounded, by [records and bytes](crate::Settings::buffer_records) |
//!
//! # Differences
//!
//! - **Concurrent requests.** The class sends one request at a time, the sink up to four. For one at a time:
//!   `KinesisSink::builder("example").with_max_in_flight(1)`. To keep the order of a key's records, also through
//!   retries, use [`RecordOrdering::PerKey`](super::super::ordering).
//! - **No sleeps.** The sink waits between attempts, longer after each failure, and limits the rate of each shard.
//! - **`feed` can wait.** In the class, `enqueue` returned immediately, or after one call of the service. A
//!   [`Producer`](super::super::producer) has `try_send`, which never waits.
//! - **A dropped sink logs a warning.** Messages that were left in a writer at the end of a program were lost silently.
