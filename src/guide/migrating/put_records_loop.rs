//! Migrating from a loop around `put_records`.
//!
//! Such a loop is written in an hour, and works until the first throttle. A common one is:
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
//! This crate replaces it:
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
//! | bug | effect | this crate |
//! |---|---|---|
//! | `FailedRecordCount` is ignored | the call returns `Ok`, and some records are lost | matches each result with its record, and retries failed entries |
//! | the whole request is sent again after a partial failure | delivered entries are duplicated | retries only failed entries |
//! | failed entries are sent again immediately | a throttled shard is overloaded: 83 % of the entries are throttled at three times the capacity | uses [backoff with jitter, and a rate limiter per shard](super::super::pacing) |
//! | the SDK retries as well | up to three times the requests, unnoticed | [disables the SDK's retries](super::super::clients#retries) |
//! | 500 records per request, whatever their size | the service refuses the whole request | limits a request to 500 entries *and* 5 MiB |
//! | one record is too large | the service refuses the request, and the other 499 are never sent | returns the record when it is sent; bisects a request that only the service can refuse |
//! | the length of a key is counted in bytes | valid keys are rejected | counts 256 characters |
//! | the time of day is the partition key | records of a burst have equal keys and go to one shard | draws random keys, and redraws them after a throttle |
//! | one request at a time | 25,000 records per second at 20 ms, for any number of shards | sends four at once, or [more](super::super::tuning#requests-in-flight) |
//! | an unbounded queue before the loop | memory grows while the service is slow | has a bounded buffer; the source waits |
//! | a flush at each pause of the source | thousands of requests with one record | sends a partial request when none is in flight |
//! | a timeout counts as a failure | the caller sends the records again, or reports an error for records that were written | retries `OutcomeUnknown`, and [reports it](crate::Undelivered::may_have_been_written) if the record is returned |
//! | a response has fewer results than entries | the wrong records count as delivered | treats the outcome of such a request as unknown |
//! | access denied is retried indefinitely | the program hangs silently | reports it immediately and keeps the records |
//! | the queue is not sent at the end | records are lost | `close` waits for it; dropping the sink logs a warning |
//!
//! # Step by step
//!
//! 1. Replace the loop by the `forward` above, or the queue before it by a [producer](super::super::producer).
//! 2. Delete the retries, the sleeps and the chunking. Keep the SDK client.
//! 3. Decide how your program uses outcomes: by `flush`, a [receipt](super::super::producer#receipts), or
//!    [dead letters](super::super::failures#dead-letters).
//! 4. Check your limit of attempts, if you had one. By default the sink retries indefinitely. A
//!    [deadline](crate::SinkBuilder::with_deadline) limits the time.
//! 5. If consumers rely on an order, which the loop did not keep, set [`RecordOrdering`](super::super::ordering).
//!
//! # Keeping the loop
//!
//! Your own requests can use the same service, with its errors and layers:
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
