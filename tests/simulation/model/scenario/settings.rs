use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::limits::Limits;
use kinesis_sink::settings::{AggregateKey, FatalPolicy, Linger};
use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering, SinkBuilder};

use super::super::lookups::Lookups;
use super::{ms, one_of, rarely};

#[derive(Debug)]
pub struct Settings {
    seed: u64,
    pub limits: Limits,
    pub max_in_flight: usize,
    linger: Option<Linger>,
    pub aggregation: Aggregation,
    aggregate_bytes: usize,
    aggregate_records: usize,
    kpl_key: bool,
    pub ordering: RecordOrdering,
    pub buffer_records: usize,
    pub buffer_bytes: usize,
    pub backoff: (Duration, Duration),
    pub max_attempts: Option<u32>,
    pub deadline: Option<Duration>,
    lists_shards: bool,
    describes: bool,
    pub fatal_policy: FatalPolicy,
    pub dead_letters: DeadLetters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetters {
    None,
    TakesAll,
    DeclinesThird,
}

impl Settings {
    pub fn new(rng: &mut Rng) -> Self {
        use Aggregation::{Off, PerKey, PerShard};
        let record_bytes = match rng.u8(..100) {
            0 => 1 << 20,
            1..=20 => rng.usize(5_000..=60_000),
            _ => rng.usize(300..=3_000),
        };
        let request_bytes = record_bytes * rng.usize(1..=8);
        let limits = Limits::default()
            .with_request_entries(one_of(rng, &[1, 2, 10, 50, 500]))
            .with_request_bytes(request_bytes)
            .with_record_bytes(record_bytes)
            .with_shard_records(one_of(rng, &[100, 1_000, 1_000_000]))
            .with_shard_bytes(one_of(rng, &[100_000, 1 << 20, 1 << 30]));
        let backoff = ms(rng.u64(1..=200));
        let max_deadline = one_of(rng, &[100, 4_000]);
        Self {
            seed: rng.u64(..),
            limits,
            max_in_flight: rng.usize(1..=6),
            linger: linger(rng),
            aggregation: one_of(rng, &[Off, Off, PerKey, PerShard]),
            aggregate_bytes: rng.usize(100..=20_000),
            aggregate_records: one_of(rng, &[1, 2, 10, 4_294_967_295]),
            kpl_key: rarely(rng, 5),
            ordering: one_of(rng, &[RecordOrdering::PerKey, RecordOrdering::Unordered]),
            buffer_records: one_of(rng, &[1, 2, 20, 100, 10_000]),
            buffer_bytes: match rng.u8(..3) {
                0 => rng.usize(1..=2 * record_bytes),
                1 => record_bytes * rng.usize(1..=50),
                _ => 32 << 20,
            },
            backoff: (backoff, backoff * rng.u32(1..=20)),
            max_attempts: rarely(rng, 5).then(|| rng.u32(1..=8)),
            deadline: rarely(rng, 5).then(|| ms(rng.u64(1..=max_deadline))),
            lists_shards: rng.bool(),
            describes: rarely(rng, 4),
            fatal_policy: one_of(rng, &[FatalPolicy::Stop, FatalPolicy::Retry]),
            dead_letters: one_of(
                rng,
                &[DeadLetters::None, DeadLetters::TakesAll, DeadLetters::DeclinesThird],
            ),
        }
    }

    pub fn with_ordered_aggregates(self, rng: &mut Rng) -> Self {
        Self {
            limits: self.limits.with_request_entries(one_of(rng, &[2, 10, 500])),
            max_in_flight: rng.usize(2..=6),
            aggregation: Aggregation::PerShard,
            aggregate_records: rng.usize(2..=10),
            ordering: RecordOrdering::PerKey,
            buffer_records: 10_000,
            buffer_bytes: 32 << 20,
            max_attempts: None,
            deadline: None,
            ..self
        }
    }

    pub fn with_shard_listing(self) -> Self {
        Self { lists_shards: true, ..self }
    }

    pub fn refuses_auto(&self) -> bool {
        self.describes && (self.aggregates() || self.ordering == RecordOrdering::PerKey)
    }

    pub fn lists_shards(&self) -> bool {
        self.lists_shards || self.aggregation == Aggregation::PerShard
    }

    pub fn describes(&self) -> bool {
        self.describes
    }

    pub fn aggregates(&self) -> bool {
        self.aggregation != Aggregation::Off
    }

    /// Returns `true` if the sink checks the shards of aggregates against a shard listing.
    pub fn verifies_aggregates(&self) -> bool {
        match self.aggregation {
            Aggregation::Off => false,
            Aggregation::PerShard => true,
            _ => self.lists_shards,
        }
    }

    pub fn builder(&self, lookups: &Lookups) -> SinkBuilder {
        let mut builder = KinesisSink::builder("example")
            .configure(|settings| {
                settings.seed = Some(self.seed);
                settings.limits = self.limits;
            })
            .with_max_in_flight(self.max_in_flight)
            .with_aggregation(self.aggregation)
            .configure(|settings| {
                settings.aggregate_bytes = self.aggregate_bytes;
                settings.aggregate_records = self.aggregate_records;
            })
            .with_ordering(self.ordering)
            .configure(|settings| {
                settings.buffer_records = Some(self.buffer_records);
                settings.buffer_bytes = self.buffer_bytes;
                settings.backoff.base = self.backoff.0;
                settings.backoff.ceiling = self.backoff.1;
                settings.fatal_policy = self.fatal_policy;
            });
        if self.kpl_key {
            builder = builder.configure(|settings| settings.aggregate_key = AggregateKey::Kpl);
        }
        if let Some(linger) = self.linger {
            builder = builder.with_linger(linger);
        }
        if let Some(attempts) = self.max_attempts {
            builder = builder.configure(|settings| settings.max_attempts = Some(attempts));
        }
        if let Some(deadline) = self.deadline {
            builder = builder.with_deadline(deadline);
        }
        if self.lists_shards() || self.describes {
            builder = builder.with_stream_info(lookups.clone());
        }
        builder
    }
}

fn linger(rng: &mut Rng) -> Option<Linger> {
    match rng.u8(..6) {
        0 | 1 => Some(Linger::Adaptive(ms(rng.u64(0..=200)))),
        2 => Some(Linger::Fixed(ms(rng.u64(0..=500)))),
        _ => None,
    }
}
