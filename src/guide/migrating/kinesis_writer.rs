//! From the Python class `KinesisWriter`.
//!
//! This crate descends from that class, which batched messages, called `put_records()` and requeued the
//! records of a partial failure. It is in Keith Gregory's repository `aws-misc`, under `python/kinesis`.
//! `tests/sink/kinesis_writer.rs` has a test for each of its behaviours.
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
//! # Piece by piece
//!
//! | `KinesisWriter` | here |
//! |---|---|
//! | `KinesisWriter(client, stream)`, name or ARN | `KinesisSink::new(&client, stream)`; an ARN of another region is refused |
//! | `log_batches=True` | `RUST_LOG=kinesis_sink=debug` and a `tracing` subscriber: a line before and after each request |
//! | `enqueue(message, key)` | `feed(Record::from((key, message)))`; waits while the buffer is full |
//! | `enqueue(message)`: key is `str(time.time())` | `Record::from(message)`: a random key, spread evenly, drawn again when throttled |
//! | `bytes`, `str` | anything that holds bytes |
//! | other values, as JSON | `Record::from(serde_json::to_vec(&value)?)` |
//! | `ValueError`: message or key too large | an [`Error`](crate::Error) with the record inside; a key may have 256 *characters*, as the service counts |
//! | a batch goes at 500 messages or 5 MiB | the same, and while it is in flight the next one fills |
//! | `flush()` in a loop, with a sleep | `flush().await`, once: it returns when everything is settled |
//! | failed messages go first in the next batch, in order | the same, see below |
//! | an exception of `put_records` empties nothing | [`ErrorKind::Refused`](crate::ErrorKind::Refused) for what trying again does not mend; the rest is tried again with backoff |
//! | `last_batch_size`, `last_batch_success_count` | [`status().last_request`](crate::status::Status::last_request): `records`, `delivered` |
//! | `last_batch_failure_messages` | `last_request`: `errors`, with code, message and count |
//! | the queue grows without bound | bounded, by [records and bytes](crate::Settings::buffer_records) |
//!
//! # What is different
//!
//! - **Several requests at once.** The class had one; here there are up to four. For one at a time:
//!   `KinesisSink::builder("example").with_max_in_flight(1)`. To keep the order of a key's records, through retries as
//!   well, use [`RecordOrdering::PerKey`](super::super::ordering).
//! - **Sleeps are gone.** Between attempts the sink waits by itself, longer after each failure, and sends each
//!   shard no more than it takes.
//! - **`feed` can wait.** In the class `enqueue` returned at once, or after one call of the service. A
//!   [`Producer`](super::super::producer) has `try_send`, which never waits.
//! - **A dropped sink warns.** What was left in a writer at the end of a program was gone without a word.
