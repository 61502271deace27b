//! Tuning of throughput, latency and memory.
//!
//! The defaults suit up to some 100,000 records per second at round trips of 20 ms. Find the bottleneck before you
//! change a setting:
//!
//! | symptom | bottleneck | see |
//! |---|---|---|
//! | `Totals::throttled` grows | the shards | [shards](#shards) |
//! | no throttles, `in_flight` always near 500 × `max_in_flight` | round trips | [requests in flight](#requests-in-flight) |
//! | one busy core, few records in flight | CPU time | [CPU](#cpu-time) |
//! | the source waits, few records in flight | one hot shard, or one hot key, fills the buffer | [buffers](#buffers), [ordering](super::ordering#cost) |
//! | many requests with few records | a source that pauses, a short linger | [latency](#latency) |
//!
//! # Shards
//!
//! A shard accepts 1,000 Kinesis records and 1 MiB per second, whichever comes first. So without aggregation a
//! stream needs
//!
//! ```text
//! shards = max(records per second ÷ 1,000, bytes per second ÷ 1 MiB)
//! ```
//!
//! Both limits are equal at 1 KiB per record. For smaller records, [aggregation](super::aggregation) makes use of the
//! megabyte: a shard then accepts some 10,000 records of 100 bytes per second instead of 1,000. No producer setting
//! adds capacity. [Rate limiting](super::pacing) only avoids sending records that would be throttled.
//!
//! # Requests in flight
//!
//! ```text
//! max_in_flight = records per second ÷ 500 × round trip in seconds, rounded up, plus a reserve
//! ```
//!
//! The default of 4 sends 100,000 records per second at 20 ms, and 20,000 at 100 ms. Measured, at 20 ms and
//! 100 bytes: 23,000 with 1, 165,000 with 8, 457,000 with 24. Large records fill a request sooner: divide by requests
//! of 5 MiB (up to 10, see [below](#large-records)). More slots cost nothing but memory.
//!
//! ```
//! use kinesis_sink::limits::Limits;
//! use kinesis_sink::KinesisSink;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! // 200,000 records per second at 50 ms need 20 requests; a request of 1 KiB records has 500 KiB.
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
//! The buffer contains queued records *and* those in flight. It must hold at least 500 records, or the bytes of a
//! request, for each request in flight. The rest is for bursts and for hot shards. If the records of one busy shard
//! fill it, all records wait. To absorb a longer burst, make it large enough for the records of that burst.
//!
//! Memory: the payloads, which `buffer_bytes` limits, and 160 bytes for each record, or 200 to 600 with aggregation.
//! While a request is in flight its body is in memory as well, in base64 if it is JSON. A process that sent 20 million
//! records of 100 bytes through one sink with the defaults used 12.7 MiB, from the first million to the last.
//!
//! # Latency
//!
//! An idle sink sends a record immediately, unless you aggregate. While requests are in flight, a record waits for at
//! most the linger, 100 ms, as long as a slot is free. To reduce the wait, use
//!
//! - a shorter [linger](crate::settings::Linger): more requests, with fewer records in each;
//! - with aggregation, [`Linger::Adaptive`](crate::settings::Linger::Adaptive): records are sent as soon as no request
//!   is in flight, in smaller aggregates;
//! - fewer entries in a request ([`with_request_entries`](crate::limits::Limits::with_request_entries)).
//!
//! A task that awaits the receipt of each `put` sends one record per round trip: keep many receipts open.
//!
//! # CPU time
//!
//! A record costs the sink about as much CPU time as a loop that calls the SDK by hand with full requests. The table
//! has multiples of the loop's CPU time, measured on one core. Between runs the figures for small
//! records vary by up to 0.3. `docs/performance.md` in the repository has the method and more sizes.
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
//! - **Leave requests at 500 entries.** The work of the SDK per request is then shared by 500 records.
//! - **Threads.** A sink is one task. On a multi-thread runtime its requests (serializing, signing,
//!   sending) run on other threads, and the task of the sink does about a third of the work: 1,670,000 records of
//!   100 bytes per second instead of 1,061,000. Use several sinks for more.
//! - **Other tasks.** Sinks and producers yield after 128 records, or half a MiB of aggregates, so that they delay
//!   other tasks and timers of a current-thread runtime by a few milliseconds at most. The work of the source per
//!   record, and of the SDK per poll of a request, is not included.
//! - **CBOR** (feature `cbor`, `PutRecords::with_cbor`) sends a quarter fewer bytes. The AWS SDKs for Java use this
//!   protocol, but AWS does not document it, and this crate was tested with emulators only.
//! - **Receipts**: use them only if a caller awaits them.
//! - An SDK client with custom interceptors uses the SDK's slower serializer, see
//!   [`PutRecords`](crate::service::PutRecords#serialization).
//!
//! # Large records
//!
//! Streams accept records of up to 1 MiB, or 10 MiB after `UpdateMaxRecordSize`. A sink that describes the stream reads
//! the limit. Otherwise set it, and allow requests of that size:
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
//!         settings.request_timeout = Duration::from_secs(30); // 10 MiB are 14 MB of JSON: 11 s at 10 Mbit/s
//!     })
//!     .build(&client)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Slow links
//!
//! A full request of 1 KiB records is 720 kB of JSON. It takes 22 s at 256 kbit/s, more than the request timeout. With
//! the defaults such a request times out twice. Then [requests get smaller and may take
//! longer](super::failures#requests-that-fail-repeatedly) until both fit the link, and one is in flight at a time. In a
//! simulation at 256 kbit/s, over 95 % of the link's capacity in 10 minutes was delivered, and no record twice. Lower
//! [`with_request_entries`](crate::limits::Limits::with_request_entries) and
//! [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight) if the link is known to be slow, to avoid the
//! timeouts at the start.
//!
//! # Many producers, many shards
//!
//! Sinks that share a stream, in one process or in many, reach [equal shares](super::pacing#the-rate-of-a-shard) of it
//! without communication. If they run on one machine, let them share
//! [one stack](super::layers#one-connection-pool-many-streams). To leave others more than an equal share, lower
//! [`with_shard_records`](crate::limits::Limits::with_shard_records)
//! and [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes).
//!
//! A record costs more CPU time with many shards: at 4,096 shards five times as much within the sink as at one, and
//! twice as much as at 16. With a few records for each of many shards requests stay full, but aggregates do not:
//! set a longer linger.
//!
//! # All settings
//!
//! | setting of `KinesisSink::builder("example")` | default | when to change |
//! |---|---|---|
//! | `limits`: entries of a request | 500 | smaller requests for lower latency |
//! | `limits`: bytes of a request | 5 MiB | large records at high throughput |
//! | `limits`: bytes of a record | 1 MiB | the stream's `MaxRecordSizeInKiB` was raised |
//! | `limits`: records and bytes of a shard per second | 1,000; 1 MiB | a server without quotas, or to leave others more |
//! | `with_max_in_flight` | 4 requests | long round trips, see [above](#requests-in-flight) |
//! | `with_linger` | `Auto`, 100 ms: `Adaptive`, or `Fixed` with aggregation | fewer requests, fuller aggregates, or lower latency |
//! | `with_ordering` | none | consumers rely on the [order](super::ordering) of a key's records |
//! | `with_aggregation` and its settings | `Off` | small records, see [aggregation](super::aggregation#settings) |
//! | `with_stream_info` | DescribeStreamSummary with aggregation or ordering, ListShards with aggregation | custom stacks, a custom cache, or to know the shards from the first record on |
//! | `describe_stream` | the stream is described if there is a source | no permission to describe |
//! | `buffer_records` | 10,000; with aggregation 100,000 | longer bursts, or less memory |
//! | `buffer_bytes` | 32 MiB | at least requests in flight × their bytes |
//! | `backoff` | 100 ms, at most 3 s | other recovery times |
//! | `max_attempts` | none | prefer a deadline |
//! | `with_deadline` | none | old records are worthless |
//! | `credentials_timeout` | 5 min (0 s to 7 days) | jobs that should fail sooner, or a credentials service with longer outages |
//! | `request_timeout` (default stack only) | 10 s | slow uplinks need more; timeouts cause duplicates |
//! | `max_request_timeout` (default stack only) | 30 s | a shorter one detects the end of a network failure sooner; a request of one record that takes longer over the link needs more |
//! | `with_classify` | the table of [`ErrorClass`](crate::service::ErrorClass) | errors of custom layers |
//! | `with_dead_letters` | none: the sink keeps failed records | failed records are stored elsewhere |
//! | `fatal_policy` (producers only) | `Stop` | the producer should survive a temporary lack of permissions |
//! | `metrics` (feature `metrics`) | for each shard | fewer time series |
//! | `seed` | random | repeatable tests |
//!
//! [`SinkBuilder`](crate::SinkBuilder) has the ranges. [`Settings`](crate::Settings#configuration-files) can be read
//! from a configuration file.
