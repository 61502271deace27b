//! Pacing: the rate at which records are sent to each shard.
//!
//! A shard accepts 1,000 Kinesis records and 1 MiB per second. It throttles all further entries with
//! `ProvisionedThroughputExceededException`. Throttled records must be sent again. They use bandwidth and slow down all
//! producers of the stream. Therefore the sink limits the send rate of each shard to the rate that the shard accepts.
//!
//! # Lanes
//!
//! The sink has a *lane* for each shard, with a queue, a rate limiter, and a backoff. A record is queued in the lane of
//! its shard.
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
//! Each lane has one token bucket for records and one for bytes. An entry takes one record token, and one byte token
//! for each byte of its data and partition key. A bucket holds at most the tokens of 0.25 s at the full quota, and at
//! most the tokens of 1 s at the current rate. An entry that needs more tokens than fit into a bucket is sent when the
//! bucket is full.
//!
//! A request takes the oldest records of all lanes that are not paused. A lane that runs out of tokens pauses until it
//! has the tokens of 5 to 60 ms at the shard's quota. To keep requests full when the rate is the bottleneck, each
//! request also takes entries from paused lanes if there are tokens for these entries.
//!
//! A busy shard delays only its own records as long as the buffer has capacity. Memory is bounded, so a permanent
//! overload uses up any buffer:
//!
//! - A [`Producer`](crate::Producer#backpressure) divides its buffer between the shards. A busy shard uses its
//!   share, and the rest stays free for the other shards. Only tasks that send to a busy shard wait.
//! - A source that is forwarded returns its records in order, so it waits while its next record does not fit. It is
//!   limited by its hottest shard: if half of its records are for one shard that accepts 1,000 records per second, all
//!   shards together receive 2,000. A larger [buffer](crate::Settings::buffer_records) absorbs bursts. To avoid the
//!   problem, send hot keys and other keys from separate tasks, through one producer.
//!
//! Records without a key avoid busy shards: a producer draws up to 16 random keys to find a shard whose share has
//! capacity, and a sink draws a second key if the lane of the first one is paused.
//!
//! # Finding the shard of a record
//!
//! Each response contains the shard of every delivered record. From this, the sink learns which hash keys belong to
//! which shard: approximately after the first request, and precisely after several. No permission or additional call is
//! needed. The sink detects a reshard when a response contains a new shard. It then closes the lane of the old shard,
//! and moves the records to the new lanes, which start at the old lane's rate. On streams that [choose shards
//! independently of the key](crate::stream::Distribution::Auto), responses do not show the shard of a key. On such
//! streams, and before the first response, all records use the fallback lane.
//!
//! A learned shard is only a hint. If the hint is wrong, the worst case is a throttle. Aggregation must know the shards
//! exactly, so with aggregation the sink [lists the shards](crate::SinkBuilder::with_stream_info), and the lanes use
//! that list as well.
//!
//! # The rate of a shard
//!
//! The rate starts at the full quota of the shard ([`Limits::with_shard_records`],
//! [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes)). It then changes with the entries that the shard
//! accepts and throttles:
//!
//! - **Random throttles hardly lower the rate.** A shard that is over its quota throttles the *last* entries of a
//!   request. If an entry is throttled before an accepted one, the throttle has another cause. The sink measures the
//!   share of such random throttles, expects the same share among the last entries, and ignores it there. If one entry
//!   in ten is throttled at random, a sink writes 98 % of the capacity; with three in ten, 87 %.
//! - **Additional throttles lower the rate in proportion to their number**, by at most one fifth per event, and not
//!   below 0.9 times the rate that the shard has accepted in the last second.
//! - **After throttles the rate recovers**: within 1 to 3 seconds, it returns to the last rate that the shard has
//!   sustained. Then it grows, slowly at first, and faster with every 1.5 seconds without throttles. If the quota
//!   doubles, the rate reaches the new quota in 6 seconds. The rate does not grow while the sink sends less than the
//!   rate permits.
//! - **If a shard accepts nothing**, its lane pauses, and then sends a few entries as a probe. A pause lasts up to 0.15
//!   seconds, or up to 1 second once the shard has accepted nothing for 1.5 seconds. Other lanes do not pause. The
//!   longer pauses of up to 3 seconds are those of the whole sink in an [outage](#outages).
//!
//! Producers that share a stream converge to equal shares of its capacity, without communication. The rate counts
//! Kinesis records, so with [`Aggregation`](crate::Aggregation) an aggregate counts as one. While no shard is known,
//! the rate is not limited until the first throttle. The limit then starts at the rate of the last second.
//! [`docs/pacing.md`](https://docs.rs/crate/kinesis-sink/latest/source/docs/pacing.md) describes the model and its
//! sources.
//!
//! <!-- The picture is drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing_rate.svg")]
//!
//! The charts show the entries sent and written in each second. The stream has two shards, and the producer offers
//! three to six times their quota. The difference between sent and written entries was throttled.
//!
//! # Different limiters
//!
//! AWS does not document how a shard counts entries, and emulators, proxies, and account quotas count differently. The
//! table shows the results for one producer, and for ten producers together. In both cases, three times the quota is
//! offered, and the settings are the defaults:
//!
//! | shard limiter | one: written (% of capacity) | one: throttled | ten: written (% of capacity) | ten: throttled | ten: fairness (Jain's index) |
//! |---|---|---|---|---|---|
//! | bucket of 1 s | 98.4 % | 0.0 % | 98.5 % | 3.4 % | 0.93 |
//! | bucket of 0.1 s | 99.9 % | 0.0 % | 100.0 % | 3.4 % | 0.96 |
//! | bucket of 20 ms | 98.3 % | 0.8 % | 98.1 % | 3.5 % | 0.94 |
//! | windows of 1 s, as in emulators | 99.3 % | 0.3 % | 96.5 % | 3.1 % | 0.97 |
//! | windows of 1 s, a different phase per shard | 99.6 % | 0.2 % | 96.9 % | 3.2 % | 0.98 |
//! | sliding window of 1 s | 98.9 % | 0.9 % | 99.2 % | 3.5 % | 0.96 |
//! | four front ends, each with a quarter of the quota | 95.4 % | 0.6 % | 99.3 % | 3.7 % | 0.95 |
//! | bucket of 1 s that counts 0.1 s late | 98.4 % | 0.0 % | 98.5 % | 3.1 % | 0.98 |
//! | bucket of 1 s that counts 1 s late | 98.7 % | 0.0 % | 102.6 % | 23.8 % | 0.98 |
//! | bucket of 1 s that throttles in random order | 98.4 % | 0.0 % | 98.5 % | 14.0 % | 0.83 |
//!
//! The next table shows throttles that do not depend on the rate, with a bucket of 1 s. The offered load is three times
//! the quota for the records written, and 0.8 times the quota for the delivery time:
//!
//! | throttled at random | written (% of capacity) | throttled | delivery time, 99th percentile | written with "AIMD, one rate per stream" |
//! |---|---|---|---|---|
//! | 0.01 % | 98.4 % | 0.0 % | 0.05 s | 75.9 % |
//! | 0.1 % | 98.4 % | 0.1 % | 0.05 s | 28.4 % |
//! | 1 % | 98.3 % | 1.0 % | 0.05 s | 10.2 % |
//! | 3 % | 97.4 % | 3.1 % | 0.05 s | 5.5 % |
//! | 10 % | 97.5 % | 10.1 % | 0.07 s | 2.7 % |
//! | 30 % | 87.0 % | 30.2 % | 1.76 s | 1.1 % |
//!
//! The capacity is the highest goodput of any constant rate at which at most 5 % of the entries are throttled.
//!
//! In three cases, more entries are throttled:
//!
//! - If a service throttles the entries of a request in random order, throttles caused by the rate look like random
//!   ones. The sink then lowers the rate briefly to find out whether the rate is the cause. With ten producers the
//!   effect of one producer's lower rate is too small to be detected. 14 % of their entries are throttled, although all
//!   records are delivered.
//! - With ten producers and a limiter that counts 1 s late, 24 % of the entries are throttled.
//! - If no shard is known, as on streams that choose shards independently of the key, the sink cannot distinguish
//!   random throttles from those caused by the rate, so random throttles lower the rate.
//!
//! # Outages
//!
//! While every request fails, the whole sink pauses: it sends one probe at a time, and waits for a random time between
//! probes. The maximum of this time doubles with each failure, up to 3 s. In 20 simulated outages of half a minute, the
//! sink sent at most 31 probes. The first success ends the backoff. The sink then permits two requests in flight, then
//! four, and so on up to [`max_in_flight`](crate::SinkBuilder::with_max_in_flight). Since a bucket contains the tokens
//! of at most a quarter of a second, the backlog is not sent in one burst.
//!
//! # Benchmark
//!
//! `cargo bench --bench pacing` runs this sink and five other policies against [the simulated stream](super::testing),
//! with ten limiters. Time is virtual and the seeds are fixed, so the figures are the same on every machine.
//!
//! | policy | behavior |
//! |---|---|
//! | requeue at once | sends failed entries again immediately, one request at a time, like a simple loop over `put_records` |
//! | requeue with backoff | waits after each request with failures, like most loops |
//! | fixed rate, 100 % of quota | sends at the quota of each shard, and ignores throttles |
//! | fixed rate, 150 % of quota (KPL) | sends at 150 % of the quota of each shard, and ignores throttles, like the KPL |
//! | AIMD, one rate per stream | uses additive increase and multiplicative decrease for one rate of the whole stream, similar to Flink and Vector |
//!
//! Each run simulates 60 seconds, with records of 1 KiB, round trips of 20 ms (log-normal, sigma 0.3), and shards with
//! buckets of 1 s. The figures for kinesis-sink are the worst of five seeds, or of 20 seeds for outages. The figures
//! for the other policies are from one seed. "Written" is a percentage of the capacity.
//!
//! | | kinesis-sink | requeue at once | requeue with backoff | fixed rate, 100 % of quota | fixed rate, 150 % of quota (KPL) | AIMD, one rate per stream |
//! |---|---|---|---|---|---|---|
//! | one producer offers three times the quota of 4 shards: written | 98.4 % | 98.0 % | 97.7 % | 98.4 % | 98.4 % | 89.3 % |
//! | entries throttled | 0.0 % | 82.9 % | 13.1 % | 0.0 % | 33.3 % | 0.0 % |
//! | largest buffer | 9.8 MiB | 466 MiB | 9.8 MiB | 465 MiB | 465 MiB | 9.8 MiB |
//! | one producer, and one entry in ten throttled at random: written | 97.5 % | 98.1 % | 40.6 % | 88.4 % | 98.4 % | 2.7 % |
//! | ten producers together, after the first 10 s: written | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.3 % |
//! | entries throttled | 3.4 % | 99.1 % | 62.5 % | 90.0 % | 93.3 % | 2.9 % |
//! | fairness (Jain's index) | 0.928 | 0.999 | 0.682 | 0.637 | 0.684 | 0.997 |
//! | one of 8 shards gets half of the records: 99th percentile of the other shards' latency, relative to an even load | 0.46x | 135x | 112x | 0.99x | 0.99x | 1.84x |
//! | reshard from 4 to 8 to 3 shards: written, 10 s after each reshard | 97.4 % | 97.2 % | 97.1 % | 97.7 % | 97.7 % | 97.5 % |
//! | the quota doubles: time until 95 % of the new quota is written | 6.0 s | 0.0 s | 0.2 s | 0.0 s | 0.1 s | 3.1 s |
//! | outage of 30 s: requests sent during the outage | 31 | 418 | 11 | 248 | 372 | 306 |
//! | time from the end of the outage to full speed | 2.1 s | 0.0 s | 0.9 s | 0.0 s | 0.0 s | not within 20 s |
//! | one key, ordered and aggregated: written | 99.9 % | 97.4 % | 94.5 % | 97.6 % | 97.8 % | 98.6 % |
//! | 10,000 keys, and 1 % of entries fail: records out of order | 0 | 2 | 6 | 9 | 137 | 14 |
//!
//! <!-- The picture is drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing.svg")]
//!
//! [`Limits::with_shard_records`]: crate::limits::Limits::with_shard_records
