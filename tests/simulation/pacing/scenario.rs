//! Generates a small scenario from a seed.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::limits::Limits;
use kinesis_sink::record::{HashKey, Key};
use kinesis_sink::settings::Linger;
use kinesis_sink::shard::hash_of;
use kinesis_sink::sim::{Faults, Latency, Limiter, SimStream};
use kinesis_sink::stream::Distribution;
use kinesis_sink::{Aggregation, KinesisSink, PartitionKey, Record, RecordOrdering, SinkBuilder};

use super::events::{self, Event};
use super::load::{Keys, Load, Offered};

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    Key,
    /// By explicit hash key. Each partition key has one hash key, or four in rotation.
    Hash {
        rotates: bool,
        near_borders: bool,
    },
    Service {
        keyless: bool,
    },
}

#[derive(Debug)]
pub struct Scenario {
    pub seed: u64,
    pub shards: usize,
    /// Maximum number of records and bytes per second and shard.
    pub quota: (u32, u32),
    /// Set to `true` if the limits of the sink match the quota. Otherwise the sink uses its default limits.
    pub knows_quota: bool,
    pub burst: Duration,
    pub limiter: Limiter,
    pub latency: Latency,
    pub faults: Faults,
    /// Fraction of the quota that other producers use at the start.
    pub background_load: f64,
    pub late_writes: bool,
    pub events: Vec<(Duration, Event)>,
    pub aggregation: Aggregation,
    pub aggregate_bytes: usize,
    pub ordering: RecordOrdering,
    pub buffer_records: usize,
    pub buffer_bytes: usize,
    pub request_entries: usize,
    /// Number of partition keys, or 0 for random keys.
    pub keys: usize,
    pub record_bytes: usize,
    /// Offered records per second.
    pub rate: f64,
    pub time: Duration,
    /// Time at which `take_undelivered` is called, if it is called.
    pub withdrawn_at: Option<Duration>,
    pub routing: Routing,
    pub linger: Option<Duration>,
    pub deadline: Option<Duration>,
    pub max_attempts: Option<u32>,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let shards = rng.usize(1..=7);
        let records = rng.u32(50..=500);
        let record_bytes = one_of(rng, &[32, 100, 400, 1_024]);
        let time = ms(rng.u64(1_000..=4_000));
        let late_writes = rng.u8(..6) == 0;
        let bytes = (f64::from(records) * record_bytes as f64 * between(rng, 0.5, 3.0)) as u32;
        let buffer_bytes = if rng.bool() { record_bytes * rng.usize(1..=200) } else { 32 << 20 };
        let scenario = Self {
            seed,
            shards,
            quota: (records, bytes.max(2_000)),
            knows_quota: rng.bool(),
            burst: ms(one_of(rng, &[20, 100, 1_000, 1_000])),
            limiter: events::draw_limiter(rng),
            latency: latency(rng),
            faults: faults(rng, late_writes),
            background_load: if rng.bool() { 0.8 * rng.f64() } else { 0.0 },
            late_writes,
            events: events::draw_events(rng, time),
            aggregation: one_of(
                rng,
                &[Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard],
            ),
            aggregate_bytes: rng.usize(200..=10_000),
            ordering: one_of(
                rng,
                &[RecordOrdering::PerKey, RecordOrdering::PerKey, RecordOrdering::Unordered],
            ),
            buffer_records: one_of(rng, &[1, 20, 300, 10_000, 10_000]),
            buffer_bytes,
            request_entries: one_of(rng, &[1, 30, 200, 500]),
            keys: one_of(rng, &[0, 1, 5, 100, 1_000]),
            record_bytes,
            rate: f64::from(records) * shards as f64 * between(rng, 0.3, 4.0),
            time,
            withdrawn_at: (rng.u8(..4) == 0).then(|| time.mul_f64(rng.f64())),
            ..Self::calm(seed)
        };
        scenario.with_rare_settings(rng)
    }

    fn with_rare_settings(mut self, rng: &mut Rng) -> Self {
        self.routing = match rng.u8(..6) {
            0 => {
                // With aggregation by shard, only the records of a key within the same shard are ordered.
                let rotates = self.aggregation != Aggregation::PerShard && rng.bool();
                Routing::Hash { rotates, near_borders: rng.bool() }
            }
            // A stream with AUTO ignores the keys of aggregates, so the shards of their members cannot be checked.
            1 | 2 if self.aggregation == Aggregation::Off => {
                Routing::Service { keyless: rng.bool() }
            }
            _ => Routing::Key,
        };
        self.linger = (rng.u8(..5) == 0).then(|| ms(rng.u64(1..=300)));
        self.deadline = (rng.u8(..5) == 0).then(|| ms(rng.u64(100..=5_000)));
        self.max_attempts = (rng.u8(..5) == 0).then(|| rng.u32(1..=10));
        if rng.u8(..8) == 0 {
            let silence = Event::Silence { duration: ms(rng.u64(100..=3_000)) };
            self.events.push((self.time.mul_f64(rng.f64()), silence));
        }
        self.events.extend(events::draw_quota_changes(rng, self.quota, self.time));
        self.events.sort_by_key(|(at, _)| *at);
        self
    }

    /// Returns a scenario without faults that offers half the default quota of one shard.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            shards: 1,
            quota: (1_000, 1 << 20),
            knows_quota: false,
            burst: ms(1_000),
            limiter: Limiter::token_bucket(),
            latency: Latency::constant(ms(20)),
            faults: Faults::default(),
            background_load: 0.0,
            late_writes: false,
            events: Vec::new(),
            aggregation: Aggregation::Off,
            aggregate_bytes: 51_200,
            ordering: RecordOrdering::Unordered,
            buffer_records: 10_000,
            buffer_bytes: 32 << 20,
            request_entries: 500,
            keys: 0,
            record_bytes: 100,
            rate: 500.0,
            time: ms(10_000),
            withdrawn_at: None,
            routing: Routing::Key,
            linger: None,
            deadline: None,
            max_attempts: None,
        }
    }

    pub fn stream(&self) -> SimStream {
        let builder = SimStream::builder().with_shards(self.shards).with_seed(self.seed);
        let builder = builder.with_shard_quota(self.quota.0, self.quota.1).with_burst(self.burst);
        let builder = builder
            .with_limiter(self.limiter)
            .with_latency(self.latency)
            .with_faults(self.faults.clone());
        let builder = match self.routing {
            Routing::Service { .. } => builder.with_distribution(Distribution::Auto),
            _ => builder,
        };
        builder.with_load(self.background_load).build().expect("the settings are valid")
    }

    pub fn builder(&self, stream: &SimStream) -> SinkBuilder {
        let mut limits = Limits::default().with_request_entries(self.request_entries);
        if self.knows_quota {
            limits = limits.with_shard_records(self.quota.0 as usize);
            limits = limits.with_shard_bytes(self.quota.1.into());
        }
        let mut builder = KinesisSink::builder("example")
            .configure(|settings| settings.limits = limits)
            .with_aggregation(self.aggregation)
            .configure(|settings| settings.aggregate_bytes = self.aggregate_bytes)
            .with_ordering(self.ordering)
            .configure(|settings| {
                settings.buffer_records = Some(self.buffer_records);
                settings.buffer_bytes = self.buffer_bytes;
                settings.seed = Some(self.seed);
            });
        if let Some(linger) = self.linger {
            builder = builder.with_linger(Linger::Fixed(linger));
        }
        if let Some(deadline) = self.deadline {
            builder = builder.with_deadline(deadline);
        }
        if let Some(attempts) = self.max_attempts {
            builder = builder.configure(|settings| settings.max_attempts = Some(attempts));
        }
        match self.aggregation {
            Aggregation::PerShard => builder
                .with_stream_info(stream.clone())
                .configure(|settings| settings.describe_stream = false),
            _ => builder,
        }
    }

    pub fn load(&self) -> Load {
        let keys: Arc<[Key]> =
            (0..self.keys).map(|number| Key::from(format!("key-{number}"))).collect();
        Load {
            seed: self.seed,
            rate: self.rate,
            keys: if keys.is_empty() { Keys::Random } else { Keys::Drawn(keys) },
            without_hot: false,
            producers: 1,
            producer: 0,
            record_bytes: self.record_bytes,
        }
    }

    pub fn record(&self, offered: Offered) -> Record {
        let number = offered.number;
        let hash =
            offered.key.as_ref().map_or_else(|| hash_of(&number.to_string()), |key| hash_of(key));
        let record = offered.record();
        match self.routing {
            Routing::Hash { rotates, near_borders } => {
                let rotation = if rotates { number % 4 } else { 2 };
                let hash = HashKey::new(hash.get().rotate_left(32 * rotation as u32));
                record.with_explicit_hash_key(if near_borders {
                    events::near_border(self.shards, hash)
                } else {
                    hash
                })
            }
            Routing::Service { keyless: true } => {
                record.with_partition_key(PartitionKey::ServiceManaged)
            }
            _ => record,
        }
    }
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).expect("the choices are not empty")
}

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.f64()
}

fn latency(rng: &mut Rng) -> Latency {
    let median = ms(rng.u64(0..=80));
    match rng.u8(..3) {
        0 => Latency::constant(median),
        1 => Latency::uniform(Duration::ZERO..=2 * median),
        _ => Latency::log_normal(median, between(rng, 0.1, 0.6)),
    }
}

fn throttles(rng: &mut Rng) -> f64 {
    if rng.bool() { 0.5 * 5_000.0_f64.powf(-rng.f64()) } else { 0.0 }
}

fn faults(rng: &mut Rng, late_writes: bool) -> Faults {
    let mut faults = Faults::default();
    let some = |rng: &mut Rng, most: f64| {
        if rng.bool() { most * rng.f64() } else { 0.0 }
    };
    faults = faults.with_internal_failures(some(rng, 0.3)).with_throttles(throttles(rng));
    faults = faults.with_request_errors(some(rng, 0.2), "InternalFailure", 500);
    faults = faults.with_request_errors(some(rng, 0.1), "KMSThrottlingException", 400);
    faults = faults.with_lost_requests(some(rng, 0.1)).with_lost_answers(some(rng, 0.1));
    if late_writes {
        faults = faults.with_late_writes(0.1 * rng.f64(), ms(rng.u64(100..=4_000)));
    }
    faults
}
