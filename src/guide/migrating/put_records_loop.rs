//! From a loop of your own around `put_records`.
//!
//! Such a loop is written in an hour, and works until the first throttle. This is a common one:
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
//! And this does what it was meant to do:
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
//! # What goes wrong in loops
//!
//! | bug | what comes of it | here |
//! |---|---|---|
//! | `FailedRecordCount` is not looked at | the call says `Ok`, some records are gone | each entry is matched with its record; what failed is sent again |
//! | the whole request is sent again after a partial failure | the delivered entries are there twice | only what failed goes again |
//! | failed entries are sent again at once | a throttled shard is hammered: of the entries sent, 83 % rejected at three times the capacity | [backoff with jitter, a pace for each shard](super::super::pacing) |
//! | the SDK's retries, on top of your own | up to three times the requests, unseen | the SDK's are off |
//! | 500 records, whatever their size | the service refuses the whole request | requests end at 500 entries *or* 5 MiB |
//! | one record that is too large | the same: the other 499 are never sent | it comes back when you hand it in; what only the service refuses is found by halving |
//! | the key counted in bytes | keys that the service takes are refused | 256 characters |
//! | the time of day as partition key | equal keys in a burst, which lie in one shard | random keys, drawn again when throttled |
//! | one request at a time | 25,000 records a second at 20 ms, whatever the number of shards | four at once, or [as many as it takes](super::super::tuning#requests-in-flight) |
//! | unbounded queue in front | memory grows while the service is slow | bounded; the source waits |
//! | a flush at each pause of the source | thousands of requests with one record | a partial request goes when nothing is in flight |
//! | a timeout is taken for a failure | the caller sends again, or tells its user that it failed | `OutcomeUnknown`: sent again, and [said so](crate::Undelivered::may_have_been_written) if it comes back |
//! | results that are fewer than the entries | the wrong records count as delivered | such an answer settles nothing |
//! | access denied is retried indefinitely | the program hangs in silence | reported at once, the records stay |
//! | the rest of the queue at the end | lost | `close` waits for it; a drop warns |
//!
//! # Step by step
//!
//! 1. Replace the loop by the `forward` above, or the queue in front of it by a
//!    [producer](super::super::producer).
//! 2. Delete the retry, the sleep and the chunking. Keep the SDK client as it is.
//! 3. Decide what a record's end means to you: `flush`, a [receipt](super::super::producer#receipts), or
//!    [dead letters](super::super::failures#dead-letters).
//! 4. If you gave up after some attempts, decide again. The default here is to wait. A
//!    [deadline](crate::SinkBuilder::with_deadline) says for how long.
//! 5. If an order was relied on that the loop never kept, ask for [it](super::super::ordering).
//!
//! # Keeping the loop
//!
//! A request that you build yourself can go through the same service, with its errors and its layers:
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
