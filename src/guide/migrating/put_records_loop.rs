//! Migrating from a loop around `put_records`.
//!
//! A loop around `put_records` is written quickly, and works until the first throttle. A typical loop is:
//!
//! ```no_run
//! # use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};
//! # async fn run(client: Client, mut lines: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
//! for chunk in lines.chunks(500) {
//!     let entries = chunk.iter().map(|line| {
//!         PutRecordsRequestEntry::builder()
//!             .data(Blob::new(line.as_bytes()))
//!             .partition_key(format!("{:?}", std::time::SystemTime::now()))
//!             .build()
//!             .expect("data is set")
//!     });
//!     client.put_records().stream_name("example").set_records(Some(entries.collect())).send().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! With this crate, the loop becomes:
//!
//! ```
//! use futures::{StreamExt, stream};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let (client, lines) = (example.client(), vec![String::from("one"); 1_000]);
//! let mut sink = KinesisSink::new(&client, "example")?;
//! stream::iter(lines).map(Record::from).map(Ok).forward(&mut sink).await?;
//! # assert_eq!(example.written().len(), 1_000);
//! # Ok(())
//! # }
//! ```
//!
//! # Common bugs of such loops
//!
//! | bug | effect | what this crate does |
//! |---|---|---|
//! | `FailedRecordCount` is ignored | the call returns `Ok`, and some records are lost | matches each result with its record, and retries failed entries |
//! | the whole request is sent again after a partial failure | delivered entries are duplicated | retries only failed entries |
//! | failed entries are sent again immediately | a throttled shard is overloaded: 83 % of the entries are throttled at three times the capacity | uses [backoff with jitter, and a rate limiter per shard](super::super::pacing) |
//! | the SDK retries as well | up to three times as many requests are sent, unnoticed | [disables the SDK's retries](super::super::clients#retries) |
//! | requests of 500 records, regardless of their size | the service rejects the whole request | limits a request to 500 entries *and* 5 MiB |
//! | one record is too large | the service rejects the request, and the other 499 records are never sent | checks each record before it is accepted, and returns invalid ones; bisects a request that the service rejects nevertheless |
//! | the length of a key is counted in bytes | valid keys are rejected | counts 256 characters |
//! | the current time is the partition key | all records of a burst can have the same key, and go to one shard | draws random keys, and redraws them after a throttle |
//! | one request at a time | at most 25,000 records per second at 20 ms, for any number of shards | sends four requests concurrently, or [more](super::super::tuning#requests-in-flight) |
//! | an unbounded queue in front of the loop | memory use grows while the service is slow | has a bounded buffer, and makes the source wait |
//! | a flush whenever the source pauses | thousands of requests with one record each | sends a partial request only when no other request is in flight, or after the linger |
//! | a timeout counts as a failure | the caller sends the records again, or reports an error for records that were written | retries `OutcomeUnknown`, and [reports it](crate::Undelivered::may_have_been_written) if the record is returned |
//! | a response with fewer results than entries is accepted | the wrong records count as delivered | treats the outcome of such a request as unknown |
//! | an access-denied error is retried indefinitely | the program hangs silently | reports the error immediately, and keeps the records |
//! | queued records are not sent when the program ends | records are lost | `close` waits until all records are settled; dropping the sink logs a warning |
//!
//! # Step by step
//!
//! 1. Replace the loop with the call to `forward` above. If several tasks send to the loop through a queue, replace the
//!    queue with a [producer](super::super::producer).
//! 2. Delete the code for retries, sleeps, and chunking. Keep the SDK client.
//! 3. Decide how your program gets the outcome of records: from `flush`, [receipts](super::super::producer#receipts),
//!    or [dead letters](super::super::failures#dead-letters).
//! 4. If your loop had an attempt limit, decide whether you still need a limit. By default, the sink retries
//!    indefinitely. Set a [deadline](crate::SinkBuilder::with_deadline) to limit the time.
//! 5. If consumers rely on the order of records, set [`RecordOrdering`](super::super::ordering). The loop does not
//!    preserve the order when entries fail.
//!
//! # Keeping the loop
//!
//! If you keep your own loop, you can still send requests through this crate's service, with its errors and layers:
//!
//! ```
//! use kinesis_sink::record::Key;
//! use kinesis_sink::service::{Entry, PutRecords, PutRecordsRequest, ServiceBuilderExt};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let mut service = ServiceBuilder::new().trace_put_records().service(PutRecords::new(&client));
//! let entries = vec![Entry::new("data".into(), Some(Key::from("key")), None)];
//! let request = PutRecordsRequest::new("example".parse()?, entries);
//! let response = service.ready().await?.call(request).await?;
//! for result in response.results() {
//!     match result {
//!         Ok(placement) => println!("in {}", placement.shard_id()),
//!         Err(error) => println!("{}: {}", error.code(), error.message()),
//!     }
//! }
//! # assert_eq!(response.delivered(), 1);
//! # Ok(())
//! # }
//! ```
