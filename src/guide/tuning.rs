//! Tuning of throughput, latency and memory.
//!
//! The defaults suit up to some 100,000 records a second at round trips of 20 ms. Before you change
//! anything, find out what the limit is:
//!
//! | what you see | the limit | see |
//! |---|---|---|
//! | `Totals::throttled` grows | the shards | [shards](#shards) |
//! | no throttles, `in_flight` always near 500 × `max_in_flight` | round trips | [requests in flight](#requests-in-flight) |
//! | one core busy, little in flight | CPU time | [CPU](#cpu-time) |
//! | the source waits, little in flight | one hot shard, or one hot key, fills the buffer | [buffers](#buffers), [ordering](super::ordering#what-it-costs) |
//! | many requests with few records | a source that pauses, a short linger | [latency](#latency) |
//!
//! # Shards
//!
//! A shard takes 1,000 Kinesis records and 1 MiB a second, whichever comes first. So without aggregation a
//! stream needs
//!
//! ```text
//! shards = max(records per second ÷ 1,000, bytes per second ÷ 1 MiB)
//! ```
//!
//! The two meet at 1 KiB a record. Below, [aggregation](super::aggregation) uses the megabyte: of records of
//! 100 bytes a shard then takes some 10,000 a second instead of 1,000. No producer setting adds capacity;
//! the [pace](super::pacing) only keeps you from paying for what is refused.
//!
//! # Requests in flight
//!
//! ```text
//! max_in_flight = records per second ÷ 500 × round trip in seconds, rounded up, with room
//! ```
//!
//! The default of 4 moves 100,000 records a second at 20 ms, and 20,000 at 100 ms. Measured, at 20 ms and
//! 100 bytes: 23,000 with 1, 165,000 with 8, 457,000 with 24. Large records fill a request sooner: count
//! requests of 5 MiB (up to 10, see [below](#large-records)). More slots do no harm but for their memory.
//!
//! ```
//! use kinesis_sink::limits::Limits;
//! use kinesis_sink::KinesisSink;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! // 200,000 records a second at 50 ms are 20 requests; a request of 1 KiB records has 500 KiB.
//! let sink = KinesisSink::builder("example")
//!     .with_max_in_flight(24)
//!     .configure(|settings| {
//!         settings.buffer_records = Some(50_000);
//!         settings.buffer_bytes = 64 * 1024 * 1024;
//!     })
//!     .build(&client)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Buffers
//!
//! The buffer holds what waits *and* what is in flight. It must hold at least 500 records, or a request's
//! bytes, for each request in flight; beyond that it is for bursts and for hot shards. When the records of
//! one busy shard fill it, everything waits: to ride out a longer burst, give it the records of that time.
//!
//! Memory: the payloads, which `buffer_bytes` bounds, and 160 bytes beside each record, with aggregation
//! 200 to 600. While a request is in flight its body is there as well, base64 in JSON. 20 million records
//! of 100 bytes through one sink with the defaults took 12.7 MiB for the whole process, from the first
//! million to the last.
//!
//! # Latency
//!
//! On an idle sink a record goes at once, unless you aggregate. Behind requests in flight it waits for the
//! linger, 100 ms, at most, as long as a slot is free. For less waiting:
//!
//! - a shorter [linger](crate::settings::Linger): more requests, fewer records in each;
//! - with aggregation, [`Linger::Adaptive`](crate::settings::Linger::Adaptive): at once when nothing is in flight,
//!   in smaller aggregates;
//! - fewer entries in a request ([`with_request_entries`](crate::limits::Limits::with_request_entries)).
//!
//! `put` with a receipt awaited one by one is bound by round trips: keep many receipts open.
//!
//! # CPU time
//!
//! The sink costs a record about as much as a loop that calls the SDK by hand with full requests. In
//! multiples of that loop, measured on one core (`docs/performance.md` in the repository has the method):
//!
//! | | 100 B | 1 KiB | 10 KiB |
//! |---|---|---|---|
//! | sink | 1.10 | 0.99 | 0.98 |
//! | with `PutRecords::with_cbor` | 0.97 | 0.79 | 0.75 |
//! | `RecordOrdering::PerKey` | 1.73 | 1.26 | 0.90 |
//! | aggregated per shard | 1.00 | 2.00 | 2.18 |
//! | producer | 1.62 | 1.15 | 0.98 |
//! | producer, a receipt for each | 2.39 | 1.45 | 1.00 |
//!
//! - **Leave requests at 500 entries.** What the SDK does for a request, it does once.
//! - **Threads.** A sink is one task. On a multi-thread runtime its requests (serialising, signing,
//!   sending) run on other threads, and its own part is about a third of the work: 1,670,000 records of
//!   100 bytes a second instead of 1,061,000. Past that use several sinks.
//! - **Other tasks.** Sinks and producers yield after 128 records, or half a MiB of aggregates, so that they delay the
//!   other tasks and timers of a current-thread runtime by a few milliseconds at most. What a source does for a record,
//!   and what the SDK does for a request in one poll, comes on top.
//! - **CBOR** (feature `cbor`) sends a quarter fewer bytes. It is what the AWS SDKs for Java speak, and
//!   undocumented for everyone else; it was tried on emulators only.
//! - **Receipts** only if a caller awaits them.
//! - An SDK client with interceptors of its own gets the SDK's slower serialiser, see
//!   [`PutRecords`](crate::service::PutRecords#how-a-request-becomes-bytes).
//!
//! # Large records
//!
//! Streams take up to 1 MiB, or 10 after `UpdateMaxRecordSize`. A sink that has the stream described knows;
//! otherwise say so, and let requests be as large:
//!
//! ```
//! use std::time::Duration;
//! use kinesis_sink::limits::Limits;
//! use kinesis_sink::KinesisSink;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! const MIB: usize = 1024 * 1024;
//! let sink = KinesisSink::builder("example")
//!     .configure(|settings| {
//!         settings.limits = Limits::default().with_record_bytes(10 * MIB).with_request_bytes(10 * MIB);
//!         settings.buffer_bytes = 100 * MIB;
//!         settings.request_timeout = Duration::from_secs(30); // 10 MiB are 14 MB in JSON: 11 s at 10 Mbit/s
//!     })
//!     .build(&client)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Slow links
//!
//! A full request of 1 KiB records is 720 kB of JSON: 22 s at 256 kbit/s, more than the request timeout. With
//! the defaults such a request times out twice; then requests get smaller and may take longer until both fit
//! the link, and one is in flight at a time. In a simulation at 256 kbit/s, over 95 % of what the link carried in 10
//! minutes was delivered, and nothing twice. Lower
//! [`with_request_entries`](crate::limits::Limits::with_request_entries) and
//! [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight) where the link is known to be slow, so that it does
//! not begin with requests that time out.
//!
//! # Many producers, many shards
//!
//! Sinks that share a stream, in one process or in many, find equal parts of it without talking to each
//! other: ten of them together wrote 98.5 % of what the stream takes, and 3.4 % of their entries were
//! refused. If they share one machine, let them share [one stack](super::layers#one-pool-of-connections-many-streams).
//! To leave others more than an equal part, lower [`with_shard_records`](crate::limits::Limits::with_shard_records)
//! and [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes).
//!
//! A record costs more with many shards: five times as much within the sink at 4,096 as at one, twice as
//! much as at 16. With a few records for each of many shards requests stay full, but aggregates do not:
//! give them a longer linger.
//!
//! # Every setting
//!
//! | setting of `KinesisSink::builder("example")` | default | when to change |
//! |---|---|---|
//! | `limits`: entries of a request | 500 | smaller requests for lower latency |
//! | `limits`: bytes of a request | 5 MiB | large records at high throughput |
//! | `limits`: bytes of a record | 1 MiB | the stream's `MaxRecordSizeInKiB` was raised |
//! | `limits`: records and bytes of a shard in a second | 1,000; 1 MiB | a server without quotas, or leave others more |
//! | `with_max_in_flight` | 4 requests | long round trips, see above |
//! | `with_linger` | self-clocked, 100 ms; with aggregation `Fixed`, 100 ms | fewer requests, fuller aggregates, or less waiting |
//! | `with_ordering` | none | consumers rely on the [order](super::ordering) of a key's records |
//! | `with_aggregation` and its settings | `Off` | small records, see [aggregation](super::aggregation#what-to-set) |
//! | `with_stream_info` | DescribeStreamSummary with aggregation or ordering, ListShards with aggregation | custom stacks, a cache of your own, or to know the shards from the first record on |
//! | `describe_stream` | the stream is described if there is a source | no permission to describe |
//! | `buffer_records` | 10,000; with aggregation 100,000 | longer bursts, or less memory |
//! | `buffer_bytes` | 32 MiB | at least requests in flight × their bytes |
//! | `backoff` | 100 ms, at most 3 s | other recovery times |
//! | `max_attempts` | none | prefer a deadline |
//! | `with_deadline` | none | old records are worthless |
//! | `credentials_timeout` | 5 min (0 s to 7 days) | jobs that should fail sooner, or a credentials service with longer outages |
//! | `request_timeout` (default stack only) | 10 s | slow uplinks need more; duplicates follow timeouts |
//! | `max_request_timeout` (default stack only) | 30 s | less notices the end of a network failure sooner; a request of one record that takes longer over the link needs more |
//! | `with_classify` | the table of [`ErrorClass`](crate::service::ErrorClass) | errors of a layer of your own |
//! | `with_dead_letters` | none: the sink keeps failed records | failed records are stored elsewhere |
//! | `fatal_policy` (producers only) | `Stop` | the service should outlive a lapse of permissions |
//! | `metrics` (feature `metrics`) | for each shard | fewer time series |
//! | `with_seed` | drawn | repeatable tests |
//!
//! [`SinkBuilder`](crate::SinkBuilder) has the ranges.
