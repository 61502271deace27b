//! Pacing: how fast records are sent.
//!
//! A shard accepts 1,000 Kinesis records and 1 MiB per second. It throttles the rest with
//! `ProvisionedThroughputExceededException`; those records use bandwidth and must be sent again, at the expense of
//! everyone on the stream. The sink limits the rate for each shard to what that shard accepts.
//!
//! # A lane for each shard
//!
//! Records wait in the lane of the shard that they are for. Each lane has a queue, a rate limiter and a backoff of its
//! own, so a busy shard does not hold up records for others. A request takes the oldest records of all lanes that may
//! send. A lane without tokens waits until there are enough for 5 to 60 ms of the shard's quota, and every request
//! takes along what the other lanes have tokens for, so requests stay full where the rate is the limit.
//!
//! When records for a busy shard fill the whole buffer, the source waits, and with it the records behind
//! them, whatever shard these are for: memory is bounded. A single source that hands out its records one after the
//! other is then as slow as its hottest shard allows: if half of its records are for one shard of 1,000 records per
//! second, all of them together reach 2,000. A larger [buffer](crate::Settings::buffer_records) absorbs bursts, but no
//! buffer absorbs a lasting difference. Separate sources for the hot and the other keys avoid it. Records without a key
//! go around a busy shard: of two places on the ring they take the one where fewer wait.
//!
//! # Which shard a record is for
//!
//! The sink learns that from the answers, which name the shard of every record: after the first request
//! it knows roughly, after some it knows the borders. No permission and no call is needed for that. A
//! reshard shows in the first answer from a new shard: the old one is forgotten, and what waits is put into
//! the new lanes, which begin with the old one's share. Streams that
//! [place records themselves](crate::stream::Distribution::Auto) teach nothing; there, and before the first
//! answer, all records share one lane.
//!
//! A learned shard is a hint: a wrong one costs a throttle at most. Aggregation needs certainty, so the sink
//! [lists the shards](crate::SinkBuilder::with_stream_info), and the lanes use that list too.
//!
//! # The rate of a shard
//!
//! The rate begins at the shard's whole quota ([`Limits::with_shard_records`],
//! [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes)), and follows what the shard accepts and refuses:
//!
//! - **Random refusals hardly lower the rate.** A limiter refuses the *end* of a request; entries that are
//!   refused before accepted ones have another cause, and the same number of refusals is expected at the ends of
//!   requests. With one entry in ten refused at random a sink writes 98 % of the capacity, with three in ten 87 %.
//! - **Refusals beyond that lower the rate in proportion to their number**, to 0.8 of what it was for one event, and
//!   not below 0.9 of what the shard has accepted within the last second.
//! - **After refusals the rate returns** to the last good one within 1 to 3 seconds, and then grows slowly at first and
//!   faster with every 1.5 seconds without refusals: a quota that has doubled is found in 6 seconds. A rate that is not
//!   used does not grow.
//! - **Where nothing is accepted**, a few entries probe after pauses of up to 0.15 seconds, or 1 second in an outage.
//!
//! Producers that share a stream and know nothing of each other reach equal parts of it. The rate is that of Kinesis
//! records: with [`Aggregation`](crate::Aggregation) a shard accepts as many aggregates. Before the first answer, and
//! on streams that place records themselves, no shard is known and nothing is limited until something is throttled;
//! then the rate begins with what was sent in the last second. The model and its sources are in
//! [`docs/pacing.md`](https://docs.rs/crate/kinesis-sink/latest/source/docs/pacing.md).
//!
//! <!-- The picture, as drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing_rate.svg")]
//!
//! Two shards, offered three to six times their quota, second by second. What is sent beyond what is written was
//! refused.
//!
//! # Under different limiters
//!
//! How a shard counts is not documented, and emulators, proxies and quotas of accounts count in other ways. One
//! producer, or ten together, that offer three times the quota, with the defaults:
//!
//! | the shard | one: written, share of capacity | refused | ten: written | refused | fairness |
//! |---|---|---|---|---|---|
//! | bucket of 1 s | 98.4 % | 0.0 % | 98.5 % | 3.4 % | 0.93 |
//! | bucket of 0.1 s | 99.9 % | 0.0 % | 100.0 % | 3.4 % | 0.96 |
//! | bucket of 20 ms | 98.3 % | 0.8 % | 98.1 % | 3.5 % | 0.94 |
//! | windows of 1 s, as emulators have | 99.3 % | 0.3 % | 96.5 % | 3.1 % | 0.97 |
//! | windows of 1 s, a phase per shard | 99.6 % | 0.2 % | 96.9 % | 3.2 % | 0.98 |
//! | sliding window of 1 s | 98.9 % | 0.9 % | 99.2 % | 3.5 % | 0.96 |
//! | four front ends with a quarter each | 95.4 % | 0.6 % | 99.3 % | 3.7 % | 0.95 |
//! | bucket of 1 s, counts 0.1 s late | 98.4 % | 0.0 % | 98.5 % | 3.1 % | 0.98 |
//! | bucket of 1 s, counts 1 s late | 98.7 % | 0.0 % | 102.6 % | 23.8 % | 0.98 |
//! | bucket of 1 s, refusals in no order | 98.4 % | 0.0 % | 98.5 % | 14.0 % | 0.83 |
//!
//! Refusals that have nothing to do with the rate, on a bucket of 1 s:
//!
//! | refused at random | written at 3x | refused | 99th percentile of delivery at 0.8x | `aimd_whole_stream`, written |
//! |---|---|---|---|---|
//! | 0.01 % | 98.4 % | 0.0 % | 0.05 s | 75.9 % |
//! | 0.1 % | 98.4 % | 0.1 % | 0.05 s | 28.4 % |
//! | 1 % | 98.3 % | 1.0 % | 0.05 s | 10.2 % |
//! | 3 % | 97.4 % | 3.1 % | 0.05 s | 5.5 % |
//! | 10 % | 97.5 % | 10.1 % | 0.07 s | 2.7 % |
//! | 30 % | 87.0 % | 30.2 % | 1.76 s | 1.1 % |
//!
//! The capacity is the best goodput of any constant rate with at most 5 % of its entries refused.
//! Where a service shuffles the refusals of a request, congestion looks like noise. The sink then sends less for a
//! moment, and what that changes tells them apart. With ten producers it changes too little: 14 % of their entries are
//! refused, though everything arrives. So it is with a limiter that counts 1 s late and ten producers: 24 %. Where no
//! shard is known, as on streams that place records themselves, noise cannot be told from congestion, and lowers the
//! rate.
//!
//! # Without service
//!
//! While every request fails, one at a time probes: after waits drawn from ranges that double up to 3 s,
//! at most 31 times in 20 simulated outages of half a minute. The first success ends the waits; from then on two
//! requests may be in flight, then four, and so on up to [`max_in_flight`](crate::SinkBuilder::with_max_in_flight), and
//! the lanes hold no more than a quarter of a second's tokens, so the backlog is not sent at once.
//!
//! # Order
//!
//! With [`RecordOrdering::PerKey`](crate::RecordOrdering::PerKey) one Kinesis record of each key is in flight at a
//! time. [`RecordOrdering`](crate::RecordOrdering) says what consumers find, and what it costs.
//!
//! # Measured
//!
//! `cargo bench --bench pacing` runs this sink and five other policies against [the simulated stream](super::testing),
//! under ten limiters, on virtual time with fixed seeds: the same figures come out everywhere. `requeue_at_once` sends
//! what failed again at once, one request at a time, as a simple loop over `put_records` does; `requeue_with_backoff`
//! waits after each request with failures, as most loops do; `fixed_rate` sends each shard its quota, and
//! `fixed_bucket` 150 % of it as the KPL does, whatever the shard says; `aimd_whole_stream` is a textbook AIMD on one
//! rate for the whole stream, of the kind that Flink and Vector have. 60 seconds, records of 1 KiB, round trips of 20
//! ms (log-normal, sigma 0.3), shards with buckets of a second. The figures of this sink are the worst of five seeds,
//! of 20 for outages; those of the other policies are of one.
//!
//! | | this sink | `requeue_at_once` | `requeue_with_backoff` | `fixed_rate` | `fixed_bucket` | `aimd_whole_stream` |
//! |---|---|---|---|---|---|---|
//! | one producer offers 3x what 4 shards take: written, share of capacity | 98.4 % | 98.0 % | 97.7 % | 98.4 % | 98.4 % | 89.3 % |
//! | of the entries sent, refused | 0.0 % | 82.9 % | 13.1 % | 0.0 % | 33.3 % | 0.0 % |
//! | held at most | 9.8 MiB | 466 MiB | 9.8 MiB | 465 MiB | 465 MiB | 9.8 MiB |
//! | the same, one entry in ten refused at random: written | 97.5 % | 98.1 % | 40.6 % | 88.4 % | 98.4 % | 2.7 % |
//! | ten producers together, after 10 s: written | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.5 % | 98.3 % |
//! | refused | 3.4 % | 99.1 % | 62.5 % | 90.0 % | 93.3 % | 2.9 % |
//! | fairness (Jain's index) | 0.928 | 0.999 | 0.682 | 0.637 | 0.684 | 0.997 |
//! | one of 8 shards gets half of the records: 99th percentile of the others' latency, against without it | 0.46x | 135x | 112x | 0.99x | 0.99x | 1.84x |
//! | 4 shards to 8 to 3: written, 10 s after each | 97.4 % | 97.2 % | 97.1 % | 97.7 % | 97.7 % | 97.5 % |
//! | the quota doubles: 95 % of it after | 6.0 s | 0.0 s | 0.2 s | 0.0 s | 0.1 s | 3.1 s |
//! | 30 s without service: requests in it | 31 | 418 | 11 | 248 | 372 | 306 |
//! | from its end to full speed | 2.1 s | 0.0 s | 0.9 s | 0.0 s | 0.0 s | never in 20 s |
//! | one key, in order, aggregated: written | 99.9 % | 97.4 % | 94.5 % | 97.6 % | 97.8 % | 98.6 % |
//! | 10,000 keys, 1 % of entries fail: records out of order | 0 | 2 | 6 | 9 | 137 | 14 |
//!
//! <!-- The picture, as drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing.svg")]
//!
//! [`Limits::with_shard_records`]: crate::limits::Limits::with_shard_records
