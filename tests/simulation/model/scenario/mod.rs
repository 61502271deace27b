//! Generates scenarios from seeds.

mod faults;
mod settings;

use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::sim::{Latency, Limiter, SimStream};
use kinesis_sink::stream::Distribution;

pub use self::faults::FaultPlan;
pub use self::settings::{DeadLetters, Settings};
use super::events::{self, Event};
use super::records::Records;
use super::stack::Stack;

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).expect("the choices are not empty")
}

/// Returns `true` for one in `times` calls on average.
pub fn rarely(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}

#[derive(Debug)]
pub struct Scenario {
    pub seed: u64,
    pub shards: usize,
    /// Maximum number of records and bytes per second and shard.
    quota: (u32, u32),
    burst: Duration,
    pub limiter: Limiter,
    latency: Latency,
    load: f64,
    pub distribution: Distribution,
    pub faults: FaultPlan,
    pub events: Vec<(Duration, Event)>,
    /// Duration of a credentials outage that starts after all other faults.
    pub credentials_outage: Option<Duration>,
    pub switches_distribution: bool,
    pub stack: Stack,
    pub settings: Settings,
    pub records: Records,
    /// Duration of the phase in which records are offered and faults occur.
    pub time: Duration,
    /// Maximum number of offered records.
    pub offered: u64,
    /// Maximum pause between two calls.
    pub idle: Duration,
    pub burst_records: u64,
    pub caller: Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Owner(OwnerEnd),
    Tasks { count: u64, end: TasksEnd },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerEnd {
    Close,
    /// Closes the sink through [`SinkExt::buffer`](futures::SinkExt::buffer) while this buffer contains records.
    CloseThroughBuffer,
    Flush,
    Withdraw,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TasksEnd {
    Close,
    CloseWithin(Duration),
    DropAll,
    AbortDriver,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let reshards_often = rarely(rng, 10);
        let settings = Settings::new(rng);
        let settings =
            if reshards_often { settings.with_ordered_aggregates(rng) } else { settings };
        let time = ms(rng.u64(200..=3_000));
        // A sink that describes the stream and relies on partition keys rejects a stream with AUTO.
        let is_auto = !settings.aggregates() && rarely(rng, 5) && !settings.refuses_auto();
        let distribution =
            if is_auto { Distribution::Auto } else { Distribution::UserPartitionKey };
        let records = Records::new(rng, &settings, distribution);
        let max_record_bytes = records.max_record_bytes() as u64;
        // Offers about 4 MiB at most, so that a run takes milliseconds.
        let offered = rng.u64(1..=400).min(1 + (4 << 20) / max_record_bytes);
        let records_per_s = rng.u32(20..=1_000);
        let quota = (records_per_s, records_per_s * rng.u32(100..=4_000));
        let mut events = events::draw_events(rng, time);
        if rarely(rng, 6) {
            let silence = Event::Silence { duration: ms(rng.u64(100..=3_000)) };
            events.push((time.mul_f64(rng.f64()), silence));
        }
        events.extend(events::draw_quota_changes(rng, quota, time));
        events.sort_by_key(|(at, _)| *at);
        let scenario = Self {
            seed,
            shards: rng.usize(1..=7),
            quota,
            burst: ms(one_of(rng, &[0, 20, 100, 1_000])),
            limiter: events::draw_limiter(rng),
            latency: latency(rng),
            load: if rng.bool() { 0.8 * rng.f64() } else { 0.0 },
            distribution,
            faults: {
                let faults = FaultPlan::new(rng);
                if records.include_poison() { faults.with_poison(rng) } else { faults }
            },
            events,
            credentials_outage: credentials_outage(seed, &settings),
            switches_distribution: false,
            stack: Stack::new(rng),
            settings,
            records,
            time,
            offered,
            idle: ms(rng.u64(0..=400)),
            burst_records: rng.u64(1..=60),
            caller: caller(rng),
        };
        let scenario = if reshards_often {
            scenario.with_frequent_reshards(rng)
        } else if rarely(rng, 6) {
            scenario.with_distribution_switch(rng)
        } else {
            scenario
        };
        if near_borders(seed) { scenario.with_hash_keys_near_borders() } else { scenario }
    }

    fn with_hash_keys_near_borders(mut self) -> Self {
        self.records = self.records.with_hash_keys_near_borders(self.shards);
        self
    }

    fn with_distribution_switch(mut self, rng: &mut Rng) -> Self {
        let at = self.time.mul_f64(rng.f64());
        self.events.push((at, Event::Distribution(Distribution::Auto)));
        if rng.bool() {
            let back = at + (self.time - at).mul_f64(rng.f64());
            self.events.push((back, Event::Distribution(Distribution::UserPartitionKey)));
        }
        self.events.sort_by_key(|(at, _)| *at);
        // Removes outages, because a shard listing fails during an outage.
        self.events.retain(|(_, event)| !matches!(event, Event::Outage { .. }));
        // A misplaced record requires at least two shards.
        self.shards = self.shards.max(2);
        self.settings = self.settings.with_shard_listing();
        self.switches_distribution = true;
        self
    }

    fn with_frequent_reshards(self, rng: &mut Rng) -> Self {
        let event = |rng: &mut Rng| match rng.u8(..4) {
            0 => Event::Merge,
            1 => Event::ShardCount(rng.usize(2..=6)),
            _ => Event::Split,
        };
        let mut events: Vec<_> =
            (0..rng.usize(2..=10)).map(|_| (self.time.mul_f64(rng.f64()), event(rng))).collect();
        events.sort_by_key(|(at, _)| *at);
        Self {
            shards: rng.usize(2..=7),
            quota: (1_000, 1 << 20),
            faults: {
                let faults = FaultPlan::failed_entries(rng);
                if self.records.include_poison() { faults.with_poison(rng) } else { faults }
            },
            events,
            idle: ms(rng.u64(0..=30)),
            caller: Caller::Owner(OwnerEnd::Close),
            ..self
        }
    }

    /// Returns `true` if poison records fail until all other records are delivered.
    pub fn checks_progress(&self) -> bool {
        use OwnerEnd::{Close, CloseThroughBuffer, Flush};
        let is_settled = matches!(self.caller, Caller::Owner(Close | CloseThroughBuffer | Flush));
        self.records.include_poison() && is_settled
    }

    pub fn stream(&self) -> SimStream {
        let builder = SimStream::builder()
            .with_shards(self.shards)
            .with_seed(self.seed)
            .with_shard_quota(self.quota.0, self.quota.1)
            .with_burst(self.burst)
            .with_limiter(self.limiter)
            .with_byte_burst(self.records.max_record_bytes().max(self.quota.1 as usize))
            .with_latency(self.latency)
            .with_faults(self.faults.stream.clone())
            .with_load(self.load)
            .with_distribution(self.distribution);
        builder.build().expect("the settings are valid")
    }

    /// The last record, or with a producer the last two, can exceed the buffer limit.
    pub fn max_buffer_bytes(&self) -> usize {
        let excess = if matches!(self.caller, Caller::Owner(_)) { 1 } else { 2 };
        self.settings.buffer_bytes + excess * self.settings.limits.record_bytes()
    }

    pub fn may_fail(&self) -> bool {
        let settings = &self.settings;
        self.faults.invalid
            || settings.deadline.is_some()
            || settings.max_attempts.is_some()
            || ((self.faults.fatal || self.switches_distribution)
                && matches!(self.caller, Caller::Tasks { .. }))
    }
}

fn latency(rng: &mut Rng) -> Latency {
    let median = ms(rng.u64(0..=80));
    match rng.u8(..3) {
        0 => Latency::constant(median),
        1 => Latency::uniform(Duration::ZERO..=2 * median),
        _ => Latency::log_normal(median, 0.1 + 0.5 * rng.f64()),
    }
}

fn caller(rng: &mut Rng) -> Caller {
    use OwnerEnd::{Close, CloseThroughBuffer, Drop, Flush, Withdraw};
    if rng.u8(..5) < 3 {
        return Caller::Owner(one_of(
            rng,
            &[Close, Close, CloseThroughBuffer, Flush, Withdraw, Drop],
        ));
    }
    let within = TasksEnd::CloseWithin(ms(rng.u64(0..=5_000)));
    let ends = [TasksEnd::Close, TasksEnd::Close, within, TasksEnd::DropAll, TasksEnd::AbortDriver];
    Caller::Tasks { count: rng.u64(1..=8), end: one_of(rng, &ends) }
}

fn near_borders(seed: u64) -> bool {
    // A separate generator keeps the other random values of a seed unchanged.
    Rng::with_seed(seed ^ 0xb02d).bool()
}

/// Draws a credentials outage that lasts up to 300 attempts and ends before the credentials timeout.
fn credentials_outage(seed: u64, settings: &Settings) -> Option<Duration> {
    let mut rng = Rng::with_seed(seed ^ 0xc4ed);
    let longest = (settings.backoff.1 * 300).clamp(ms(1_000), ms(280_000));
    rarely(&mut rng, 6).then(|| longest.mul_f64(rng.f64()))
}
