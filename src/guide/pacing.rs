//! How fast records go.
//!
//! A shard takes 1,000 Kinesis records and 1 MiB a second; what is more comes back as
//! `ProvisionedThroughputExceededException`, has cost its way there, and is sent again. A producer that
//! sends it again at once makes it worse, for itself and for everyone else on the stream. This sink sends
//! each shard what that shard takes, and no more.
//!
//! # A lane for each shard
//!
//! What waits, waits in the lane of the shard that it is for. Each lane has a queue, a pace and a back-off of
//! its own, so that a busy shard holds up nobody else's records. A request takes the oldest records of all
//! lanes that may send. A lane that has used its pace up waits until as much has come in for it as the
//! whole quota brings in a twentieth of a second, or its own pace in a tenth; and every request takes along
//! what the other lanes have: so requests stay full where the pace is the limit. With four shards that is
//! 20 requests a second, of 200 entries each.
//!
//! When records for a busy shard fill the whole buffer, the source waits, and with it the records behind
//! them, whatever shard these are for: memory is bounded. A larger
//! [buffer](crate::SinkBuilder::with_buffer_records) rides out longer bursts. Records without a key go around
//! a busy shard: of two places on the ring they take the one where less waits.
//!
//! # Which shard a record is for
//!
//! The sink learns that from the answers, which name the shard of every record: after the first request
//! it knows roughly, after some it knows the borders. No permission and no call is needed for that. A
//! reshard shows in the first answer from a new shard: the old one is forgotten, and what waits is put into
//! the new lanes, which begin with the old one's share. Streams that
//! [place records themselves](crate::Distribution::ByService) teach nothing; there, and before the first
//! answer, all records share one lane.
//!
//! A learned shard is a hint: a wrong one costs a throttle at most. Aggregation needs certainty, so the sink
//! [lists the shards](crate::SinkBuilder::with_list_shards), and the lanes use that list too.
//!
//! # The pace of a lane
//!
//! A lane has tokens, in records and in bytes, that come in at a share of the shard's quota, and are kept
//! for a second, but no more than the whole quota brings in in a quarter of one. An entry that is larger than
//! that goes when all of it is there, and leaves the debt to those after it. The share is found by additive
//! increase and multiplicative decrease:
//!
//! - it begins at the whole quota, which it never exceeds ([`Limits::with_shard_records`], and
//!   [`with_shard_bytes`](crate::Limits::with_shard_bytes), say what the quota is);
//! - an answer with a throttle makes it 0.7 of what it was, and the lane waits for a moment drawn from
//!   0 to 100 ms; throttles of requests that were under way at that time change nothing more. Where
//!   nothing of a lane came through, the wait doubles up to the [ceiling](crate::SinkBuilder::with_backoff);
//! - where more would have gone, each answer without a throttle lets it grow, by 0.015 of the quota in a
//!   second. So a producer alone on its stream is back at full speed 20 s after a throttle, and neither an
//!   idle hour nor an outage makes it grow.
//!
//! Producers that share a stream and know nothing of each other arrive at equal parts of it in this way.
//! The pace is that of Kinesis records: with [`Aggregation`](crate::Aggregation) a shard takes as many
//! aggregates. The lane of unknown shards has no quota; it is unpaced until something is throttled. Then it
//! begins with what was sent in the last second, and doubles in each second until the next throttle; from
//! then on it grows by a tenth of itself.
//!
//! What limits it: where a shard's bucket holds a tenth of a second only, which nobody documents, and round
//! trips vary by a factor of three, requests arrive in clumps that no pace can avoid, and a producer alone
//! gets some 75 to 80 % of its shards, with 0.1 % rejected; with round trips of 100 ms that vary as much, half.
//! Raise [`max_in_flight`](crate::SinkBuilder::with_max_in_flight) where round trips are long: each request in
//! flight carries no more than 500 entries.
//!
//! # Without service
//!
//! While every request fails, one at a time probes: after waits drawn from ranges that double up to 3 s,
//! some 28 times in an outage of half a minute. The first success ends the waits; from then on two requests
//! may be under way, then four, and so on up to [`max_in_flight`](crate::SinkBuilder::with_max_in_flight),
//! and the lanes hold no more than a quarter of a second's tokens: no storm follows.
//!
//! # Order
//!
//! With [`Ordering::PerKey`](crate::Ordering::PerKey) one Kinesis record of each key is under way at a
//! time. [`Ordering`](crate::Ordering) says what consumers find, and what it costs.
//!
//! # Measured
//!
//! `cargo bench --bench pacing` runs this policy and three others against [the simulated
//! stream](super::testing), on virtual time, with fixed seeds: the same figures come out
//! everywhere. `requeue_at_once` sends what failed again at once, one request at a time, as a simple loop
//! over `put_records` does; `fixed_bucket` sends each shard 150 % of its quota whatever the shard says, as the
//! KPL does; `aimd_whole_stream` is a textbook AIMD on one rate for the whole stream, of the kind that Flink
//! and Vector have. 60 seconds, records of 1 KiB, round
//! trips of 20 ms (log-normal, sigma 0.3), shards with buckets of a second.
//!
//! | | this sink | `requeue_at_once` | `fixed_bucket` | `aimd_whole_stream` |
//! |---|---|---|---|---|
//! | one producer offers 3x what 4 shards take: written, share of capacity | 100.0 % | 99.9 % | 100.0 % | 91.0 % |
//! | of the entries sent, rejected | 0.0 % | 82.8 % | 33.3 % | 0.0 % |
//! | held at most | 9.8 MiB | 465 MiB | 465 MiB | 9.8 MiB |
//! | ten producers together, after 10 s: written | 100.0 % | 100.0 % | 100.0 % | 99.9 % |
//! | rejected | 1.3 % | 98.3 % | 93.3 % | 0.9 % |
//! | fairness (Jain's index) | 0.988 | 0.999 | 0.868 | 0.994 |
//! | one of 8 shards gets half of the records: 99th percentile of the others' latency, against without it | 1.00x | 910x | 0.99x | 9.4x |
//! | 4 shards to 8 to 3: written, 10 s after each | 100.0 % | 99.5 % | 99.8 % | 99.8 % |
//! | 30 s without service: requests in it | 28 | 423 | 372 | 307 |
//! | from its end to full speed | 2.0 s | 0.0 s | 0.0 s | never in 20 s |
//! | one key, in order, aggregated: written | 100.0 % | 97.7 % | 97.8 % | 98.6 % |
//! | 10,000 keys, 1 % of entries fail: records out of order | 0 | 13 | 819 | 14 |
//!
//! In the first ten seconds, in which ten producers find their shares, 8.0 % of their entries are rejected.
//! With shards whose buckets hold a tenth of a second the ten get 100.0 % with 1.4 % rejected. With the
//! default buffer of 10,000 records the hot shard fills it, and then the source waits: 26.7 % of the stream
//! is used. The other policies hold more than they are told to, or slow every shard down for one.
//!
//! <!-- The picture, as drawn by `cargo bench --bench pacing -- --draw`. -->
#![doc = include_str!("../../docs/pacing.svg")]
//!
//! [`Limits::with_shard_records`]: crate::Limits::with_shard_records
