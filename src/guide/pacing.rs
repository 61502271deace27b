//! Pacing: the rate at which records are sent to each shard.
//!
//! A shard accepts 1,000 Kinesis records and 1 MiB per second. It throttles the rest with
//! `ProvisionedThroughputExceededException`. Throttled records use bandwidth and must be sent again, at the expense of
//! all producers of the stream. The sink limits the rate of each shard to what that shard accepts.
//!
//! # Lanes
//!
//! Records are queued in the lane of their shard. Each lane has a queue, a rate limiter and a backoff.
//!
//! ```text
//!               lane of a shard     token buckets    refill per second
//!
//!           +--> | r r r r r   |--> [########]       1,000 records, 1 MiB      ---+
//!           |                                                                     |
//! record    +--> | r           |--> [########]       1,000 records, 1 MiB      ---+
//!   |       |                                                                     |
//!   v       +--> | r r r r r r |--> [###.....]       430 records, 440 KiB      ---+---> request,
//! hash of --+                                        (lowered by throttles)       |     up to 500
//! its key   +--> | r r r r r r |--> [........]       60 records, 61 KiB           |     entries,
//!           |                                        (no tokens: paused)          |     oldest
//!           +--> | r r         |-------------------- no limit, until throttled ---+     first
//!               fallback lane,                                                            |
//!               shard not known          ^ response: each entry accepted or throttled     |
//!                                        +------------------------------------------------+
//! ```
//!
//! An entry takes one token for records and one token per byte, partition key included. A bucket holds the tokens of
//! one second at the current rate, and at most those of 0.25 s of the whole quota. A larger entry is sent
//! when the bucket is full.
//!
//! A request takes the oldest records of all lanes that may send. A lane without tokens pauses until it has tokens for
//! 5 to 60 ms of the shard's quota. Each request also takes the entries of paused lanes for which there are tokens, so
//! requests stay full while the rate is the limit.
//!
//! A busy shard does not delay records for other shards until its records fill the buffer. Then the source waits, and
//! with it the records behind them, whatever their shard: memory is bounded. So a single source that returns its
//! records one by one is limited by its hottest shard: if half of its records are for one shard of 1,000 records per
//! second, all shards together get 2,000. A larger [buffer](crate::Settings::buffer_records) absorbs bursts, but not a
//! lasting difference. Use separate sources for hot keys and other keys to avoid this. A record without a key avoids a
//! paused lane: it draws a second random key, and takes the lane with fewer entries.
//!
//! # Finding the shard of a record
//!
//! Responses name the shard of every record, and the sink learns from them which hash keys belong to which shard:
//! roughly after the first request, and precisely after several. This needs no permission and no extra call. The first
//! response from a new shard shows a reshard: the sink closes the lane of the old shard, and moves its records to the
//! new lanes, which start with the rate of the old one. Responses of streams that [place records
//! themselves](crate::stream::Distribution::Auto) do not show the shard of a key. On such streams, and before the first
//! response, all records share the fallback lane.
//!
//! A learned shard is a hint: a wrong one costs a throttle at most. Aggregation needs certainty, so the sink
//! [lists the shards](crate::SinkBuilder::with_stream_info) for it, and the lanes use that list too.
//!
//! # The rate of a shard
//!
//! The rate starts at the whole quota of the shard ([`Limits::with_shard_records`],
//! [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes)), and follows what the shard accepts and throttles:
//!
//! - **Random throttles hardly lower the rate.** A limiter throttles the *end* of a request. Entries that are throttled
//!   before accepted ones have another cause, and the same number of such throttles is expected at the ends of
//!   requests. With one entry in ten throttled at random a sink writes 98 % of the capacity, with three in ten 87 %.
//! - **Throttles beyond that lower the rate in proportion to their number**, by at most a fifth for one event, and
//!   not below 0.9 of what the shard has accepted within the last second.
//! - **After throttles the rate returns** to the last good one within 1 to 3 seconds. Then it grows, slowly at first
//!   and faster with every 1.5 seconds without throttles: a quota that has doubled is found in 6 seconds. A rate that
//!   is not used does not grow.
//! - **If a shard accepts nothing**, a few entries probe it after pauses of up to 0.15 seconds, or 1 second in an
//!   outage.
//!
//! Producers that share a stream reach equal shares of it, without communication. The rate is that of Kinesis records,
//! so with [`Aggregation`](crate::Aggregation) it counts aggregates. While no shard is known, nothing is
//! limited until something is throttled. Then the rate starts with what was sent in the last second.
//! [`docs/pacing.md`](https://docs.rs/crate/kinesis-sink/latest/source/docs/pacing.md) describes the model and its
//! sources.
//!
//! <!-- The picture is drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing_rate.svg")]
//!
//! Two shards, offered three to six times their quota, second by second. The difference between sent and written was
//! throttled.
//!
//! # Different limiters
//!
//! AWS does not document how a shard counts, and emulators, proxies and account quotas count in other ways. The table
//! has one producer, and ten together, that offer three times the quota, with the default settings:
//!
//! | limiter of a shard | one: written, share of capacity | throttled | ten: written | throttled | fairness |
//! |---|---|---|---|---|---|
//! | bucket of 1 s | 98.4 % | 0.0 % | 98.5 % | 3.4 % | 0.93 |
//! | bucket of 0.1 s | 99.9 % | 0.0 % | 100.0 % | 3.4 % | 0.96 |
//! | bucket of 20 ms | 98.3 % | 0.8 % | 98.1 % | 3.5 % | 0.94 |
//! | windows of 1 s, as in emulators | 99.3 % | 0.3 % | 96.5 % | 3.1 % | 0.97 |
//! | windows of 1 s, a phase per shard | 99.6 % | 0.2 % | 96.9 % | 3.2 % | 0.98 |
//! | sliding window of 1 s | 98.9 % | 0.9 % | 99.2 % | 3.5 % | 0.96 |
//! | four front ends with a quarter each | 95.4 % | 0.6 % | 99.3 % | 3.7 % | 0.95 |
//! | bucket of 1 s, counts 0.1 s late | 98.4 % | 0.0 % | 98.5 % | 3.1 % | 0.98 |
//! | bucket of 1 s, counts 1 s late | 98.7 % | 0.0 % | 102.6 % | 23.8 % | 0.98 |
//! | bucket of 1 s, throttles in no order | 98.4 % | 0.0 % | 98.5 % | 14.0 % | 0.83 |
//!
//! Throttles that do not depend on the rate, on a bucket of 1 s:
//!
//! | throttled at random | written at 3x | throttled | 99th percentile of delivery at 0.8x | `aimd_whole_stream`, written |
//! |---|---|---|---|---|
//! | 0.01 % | 98.4 % | 0.0 % | 0.05 s | 75.9 % |
//! | 0.1 % | 98.4 % | 0.1 % | 0.05 s | 28.4 % |
//! | 1 % | 98.3 % | 1.0 % | 0.05 s | 10.2 % |
//! | 3 % | 97.4 % | 3.1 % | 0.05 s | 5.5 % |
//! | 10 % | 97.5 % | 10.1 % | 0.07 s | 2.7 % |
//! | 30 % | 87.0 % | 30.2 % | 1.76 s | 1.1 % |
//!
//! The capacity is the best goodput of any constant rate with at most 5 % of its entries throttled.
//!
//! Three cases have more throttles:
//!
//! - If a service shuffles the throttles of a request, congestion looks like noise. The sink then sends less for a
//!   moment, to find out whether the rate causes the throttles. With ten producers the effect is too small: 14 % of
//!   their entries are throttled, although all records are delivered.
//! - With ten producers and a limiter that counts 1 s late, 24 % are throttled.
//! - If no shard is known, as on streams that place records themselves, the sink cannot distinguish noise from
//!   congestion, and noise lowers the rate.
//!
//! # Outages
//!
//! While every request fails, the sink sends one probe at a time. It waits between probes: the wait is random, from a
//! range that doubles up to 3 s. In 20 simulated outages of half a minute there were at most 31 probes. The first
//! success ends the backoff. Then two requests may be in flight, then four, and so on up to
//! [`max_in_flight`](crate::SinkBuilder::with_max_in_flight). The lanes hold at most a quarter of a second's tokens, so
//! the backlog is not sent at once.
//!
//! # Benchmark
//!
//! `cargo bench --bench pacing` runs this sink and five other policies against [the simulated stream](super::testing),
//! under ten limiters, on virtual time and with fixed seeds, so the figures are the same on every machine.
//!
//! | policy | does |
//! |---|---|
//! | `requeue_at_once` | sends failed entries again immediately, one request at a time, as a simple loop over `put_records` does |
//! | `requeue_with_backoff` | waits after each request with failures, as most loops do |
//! | `fixed_rate` | sends each shard its quota, whatever the shard throttles |
//! | `fixed_bucket` | sends each shard 150 % of its quota, as the KPL does |
//! | `aimd_whole_stream` | a textbook AIMD on one rate for the whole stream, of the kind that Flink and Vector have |
//!
//! A run takes 60 seconds, with records of 1 KiB, round trips of 20 ms (log-normal, sigma 0.3) and shards with 1 s
//! buckets. The figures of this sink are the worst of five seeds, or of 20 for outages. Those of the other policies
//! are of one seed.
//!
//! | | this sink | `requeue_at_once` | `requeue_with_backoff` | `fixed_rate` | `fixed_bucket` | `aimd_whole_stream` |
//! |---|---|---|---|---|---|---|
//! | one producer offers 3x what 4 shards accept: written, share of capacity | 98.4 % | 98.0 % | 97.7 % | 98.4 % | 98.4 % | 89.3 % |
//! | entries throttled | 0.0 % | 82.9 % | 13.1 % | 0.0 % | 33.3 % | 0.0 % |
//! | largest buffer | 9.8 MiB | 466 MiB | 9.8 MiB | 465 MiB | 465 MiB | 9.8 MiB |
//! | one producer, one entry in ten throttled at random: written | 97.5 % | 98.1 % | 40.6 % | 88.4 % | 98.4 % | 2.7 % |
//! | ten producers together, after 10 s: written | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.3 % |
//! | entries throttled | 3.4 % | 99.1 % | 62.5 % | 90.0 % | 93.3 % | 2.9 % |
//! | fairness (Jain's index) | 0.928 | 0.999 | 0.682 | 0.637 | 0.684 | 0.997 |
//! | one of 8 shards gets half of the records: 99th percentile of the others' latency, relative to that without it | 0.46x | 135x | 112x | 0.99x | 0.99x | 1.84x |
//! | 4 shards to 8 to 3: written, 10 s after each | 97.4 % | 97.2 % | 97.1 % | 97.7 % | 97.7 % | 97.5 % |
//! | the quota doubles: 95 % of it after | 6.0 s | 0.0 s | 0.2 s | 0.0 s | 0.1 s | 3.1 s |
//! | outage of 30 s: requests in it | 31 | 418 | 11 | 248 | 372 | 306 |
//! | from the end of the outage to full speed | 2.1 s | 0.0 s | 0.9 s | 0.0 s | 0.0 s | never in 20 s |
//! | one key, in order, aggregated: written | 99.9 % | 97.4 % | 94.5 % | 97.6 % | 97.8 % | 98.6 % |
//! | 10,000 keys, 1 % of entries fail: records out of order | 0 | 2 | 6 | 9 | 137 | 14 |
//!
//! <!-- The picture is drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing.svg")]
//!
//! [`Limits::with_shard_records`]: crate::limits::Limits::with_shard_records
