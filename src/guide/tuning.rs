//! Tuning throughput, latency, and memory use.
//!
//! The defaults are suitable for up to about 100,000 records per second at round trips of 20 ms. Find the bottleneck
//! before you change a setting:
//!
//! | symptom | bottleneck | see |
//! |---|---|---|
//! | `Totals::throttled` grows | the shards | [shards](#shards) |
//! | no throttles, and `in_flight` is always near 500 × `max_in_flight` | the round-trip time | [requests in flight](#requests-in-flight) |
//! | one core is busy, and few records are in flight | CPU time | [CPU](#cpu-time) |
//! | the source waits, and few records are in flight | a hot shard, or a hot key, uses up the buffer or its share | [buffers](#buffers), [ordering](super::ordering#cost) |
//! | many requests with few records | the source pauses often, or the linger is short | [latency](#latency) |
//!
//! # Shards
//!
//! A shard accepts 1,000 Kinesis records per second or 1 MiB per second, whichever is reached first. Without
//! aggregation, a stream therefore needs
//!
//! ```text
//! shards = max(records per second ÷ 1,000, bytes per second ÷ 1 MiB)
//! ```
//!
//! With 1 KiB per record, both limits are reached at the same rate. With smaller records,
//! [aggregation](super::aggregation) is needed to use the full 1 MiB: a shard then accepts about 10,000 records of 100
//! bytes per second instead of 1,000. No other setting adds capacity. [Rate limiting](super::pacing) only avoids
//! sending records that would be throttled.
//!
//! # Requests in flight
//!
//! ```text
//! max_in_flight = records per second ÷ 500 × round trip in seconds, rounded up, plus a reserve
//! ```
//!
//! With the default of 4, a sink sends 100,000 records per second at 20 ms, and 20,000 at 100 ms. With records of 100
//! bytes and 20 ms, the measured rates are 23,000 records per second with 1 request in flight, 165,000 with 8, and
//! 457,000 with 24. Large records fill a request before it has 500 entries. For these, divide the bytes per second by
//! the request size of 5 MiB (up to 10 MiB, see [below](#large-records)) instead. More requests in flight only cost
//! memory.
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
//! The buffer contains queued records *and* records in flight. It must have capacity for at least 500 records, or the
//! bytes of a request, for each request in flight. The remaining capacity absorbs bursts and hot shards. If one busy
//! shard's records fill the buffer of a sink, all records wait. A producer keeps [part of its
//! buffer](crate::Producer#backpressure) free for the other shards, so a burst for one shard can use at least a quarter
//! of it. To absorb a longer burst, make the buffer large enough for all records of the burst, and for a producer four
//! times as large.
//!
//! The buffer uses memory for the payloads, which `buffer_bytes` limits, and 160 bytes for each record, or 200 to 600
//! bytes with aggregation. While a request is in flight, its body is also in memory, encoded in base64 if the protocol
//! is JSON. A process that sent 20 million records of 100 bytes through one sink with the default settings used 12.7
//! MiB, from the first million to the last.
//!
//! # Latency
//!
//! Without aggregation, an idle sink sends a record immediately. While requests are in flight, a record waits for at
//! most the linger, 100 ms by default, if another request is permitted. To reduce this time, use
//!
//! - a shorter [linger](crate::settings::Linger), which results in more requests with fewer records each;
//! - with aggregation, [`Linger::Adaptive`](crate::settings::Linger::Adaptive), which sends records as soon as no
//!   request is in flight, in smaller aggregates;
//! - fewer entries per request ([`with_request_entries`](crate::limits::Limits::with_request_entries)).
//!
//! A task that awaits each receipt before the next `put` sends only one record per round trip. Call `put` for many
//! records before you await their receipts.
//!
//! # CPU time
//!
//! Per record, the sink uses about as much CPU time as a loop that sends full requests through the SDK. The table shows
//! multiples of the loop's CPU time, measured on one core. Figures for small records vary by up to 0.3 between runs.
//! `docs/performance.md` in the repository describes the method and contains more sizes.
//!
//! | | 100 B | 1 KiB | 10 KiB |
//! |---|---|---|---|
//! | sink | 1.10 | 0.99 | 0.98 |
//! | with `PutRecords::with_cbor` | 0.97 | 0.79 | 0.75 |
//! | `RecordOrdering::PerKey` | 1.73 | 1.26 | 0.90 |
//! | aggregated per shard | 1.00 | 2.00 | 2.18 |
//! | producer | 1.62 | 1.15 | 0.98 |
//! | producer, receipt per record | 2.39 | 1.45 | 1.00 |
//!
//! - **Keep 500 entries per request.** The SDK's fixed work per request is then divided among 500 records.
//! - **Threads.** A sink is one task. On a multi-thread runtime, its requests (serializing, signing, sending) run on
//!   other threads, and the sink's task does about a third of the work. This increases the throughput with records of
//!   100 bytes from 1,061,000 to 1,670,000 per second. If that is not enough, use several sinks.
//! - **Other tasks.** Sinks and producers yield after 128 records, or half a MiB of aggregates. On a current-thread
//!   runtime, they therefore delay other tasks and timers by at most a few milliseconds. This does not include the
//!   source's work per record, and the SDK's work each time a request is polled.
//! - **CBOR** (feature `cbor`, `PutRecords::with_cbor`) makes requests a quarter smaller. The AWS SDKs for Java use
//!   this protocol, but AWS does not document it, and this crate has been tested only with emulators.
//! - **Receipts** cost CPU time. Use them only if a caller awaits them.
//! - **Interceptors.** An SDK client with custom interceptors uses the SDK's slower serializer, see
//!   [`PutRecords`](crate::service::PutRecords#serialization).
//!
//! # Large records
//!
//! Streams accept records of up to 1 MiB, or up to 10 MiB after `UpdateMaxRecordSize`. A sink that describes the stream
//! knows its limit. Otherwise, set the limit, and increase the request size as well:
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
//! A full request of 1 KiB records is 720 kB of JSON. At 256 kbit/s it takes 22 s, which is longer than the request
//! timeout. With the default settings, such a request times out twice. Then the sink [reduces the request size and
//! increases the timeout](super::failures#requests-that-fail-repeatedly) until requests complete in time, and sends one
//! request at a time. In a simulation of 10 minutes at 256 kbit/s, the sink used over 95 % of the link's capacity, and
//! sent no record twice. If you know that the link is slow, lower
//! [`with_request_entries`](crate::limits::Limits::with_request_entries) and
//! [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight) to avoid the initial timeouts.
//!
//! # Many producers, many shards
//!
//! Sinks that share a stream, in one process or in several, converge to [equal
//! shares](super::pacing#the-rate-of-a-shard) of its capacity without communication. If they run in one process, let
//! them share [one stack](super::layers#one-connection-pool-many-streams). To leave more than an equal share to other
//! producers, lower [`with_shard_records`](crate::limits::Limits::with_shard_records) and
//! [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes).
//!
//! With many shards, the sink needs more CPU time per record: with 4,096 shards, five times as much as with one, and
//! twice as much as with 16. This does not include the SDK's CPU time. If each of many shards gets only a few records,
//! requests are still full, but aggregates are not. In this case, set a longer linger.
//!
//! # All settings
//!
//! | setting of `KinesisSink::builder("example")` | default | when to change |
//! |---|---|---|
//! | `limits`: entries per request | 500 | lower latency with smaller requests |
//! | `limits`: bytes per request | 5 MiB | large records at high throughput |
//! | `limits`: bytes per record | 1 MiB | the stream's `MaxRecordSizeInKiB` was raised |
//! | `limits`: records and bytes per shard and second | 1,000; 1 MiB | a server without quotas, or to leave more capacity to other producers |
//! | `with_max_in_flight` | 4 requests | long round trips, see [above](#requests-in-flight) |
//! | `with_linger` | `Auto`, 100 ms (`Fixed` with aggregation, otherwise `Adaptive`) | fewer requests, fuller aggregates, or lower latency |
//! | `with_ordering` | none | consumers rely on the [order](super::ordering) of records with the same key |
//! | `with_aggregation` and its settings | `Off` | small records, see [aggregation](super::aggregation#settings) |
//! | `with_stream_info` | DescribeStreamSummary with aggregation or ordering, ListShards with aggregation | custom stacks, a custom cache, or to know the shards before the first record is sent |
//! | `describe_stream` | the stream is described if there is a source of stream information | no permission to describe the stream |
//! | `buffer_records` | 10,000; with aggregation 100,000 | longer bursts, or less memory |
//! | `buffer_bytes` | 32 MiB | must be at least requests in flight × bytes per request |
//! | `with_budget` | none | several sinks and producers share [bounds](crate::budget), as the streams of a [router](super::router) do |
//! | `backoff` | 100 ms, doubles up to 3 s | faster or slower retries |
//! | `max_attempts` | none | rarely: prefer a deadline |
//! | `with_deadline` | none | old records are worthless |
//! | `credentials_timeout` | 5 min (0 s to 7 days) | jobs that should fail sooner, or a credentials service with longer outages |
//! | `request_timeout` (default stack only) | 10 s | slow uplinks need a longer timeout; timeouts cause duplicates |
//! | `max_request_timeout` (default stack only) | 30 s | a shorter timeout detects the end of a network failure sooner; a longer one is needed if a single record takes longer than 30 s to send |
//! | `with_classify` | the table of [`ErrorClass`](crate::service::ErrorClass) | custom layers return other error types |
//! | `with_dead_letters` | none: the sink keeps failed records | failed records should be stored elsewhere |
//! | `fatal_policy` (producers only) | `Stop` | the producer should survive a temporary lack of permissions |
//! | `metrics` (feature `metrics`) | metrics per shard | fewer time series |
//! | `seed` | random | reproducible tests |
//!
//! The documentation of [`SinkBuilder`](crate::SinkBuilder) contains the range of each setting.
//! [`Settings`](crate::Settings#configuration-files) can be read from a configuration file.
