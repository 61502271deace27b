//! All that a run depends on, drawn from its seed.

mod faults;
mod settings;

use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::sim::{Latency, Limiter, SimStream};
use kinesis_sink::stream::Distribution;

pub use self::faults::Trouble;
pub use self::settings::{DeadLetters, Settings};
use super::events::{self, Event};
use super::records::Records;
use super::stack::Stack;

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).expect("there are some")
}

/// True once in so many times.
pub fn rarely(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}

#[derive(Debug)]
pub struct Drawn {
    pub seed: u64,
    pub shards: usize,
    /// Records and bytes a second, of each shard.
    quota: (u32, u32),
    burst: Duration,
    pub limiter: Limiter,
    latency: Latency,
    load: f64,
    pub distribution: Distribution,
    pub trouble: Trouble,
    pub events: Vec<(Duration, Event)>,
    /// How long all credentials are refused when everything else works again.
    pub refuses_credentials: Option<Duration>,
    /// The stream is switched to AUTO among other events, and perhaps back.
    pub switches: bool,
    pub stack: Stack,
    pub settings: Settings,
    pub records: Records,
    /// How long records are offered and things go wrong.
    pub time: Duration,
    /// At most so many records are offered.
    pub offered: u64,
    /// How long nothing is offered, at most, between bursts.
    pub idle: Duration,
    pub burst_records: u64,
    pub caller: Caller,
}

/// Who has the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Owner(OwnersEnd),
    Tasks { count: u64, end: TasksEnd },
}

/// How the owner of a sink is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnersEnd {
    Closes,
    /// The sink is closed through futures' `buffer`, which still holds records.
    ClosesThroughBuffer,
    Flushes,
    TakesBack,
    Drops,
}

/// How the tasks are done with their producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TasksEnd {
    Close,
    CloseWithin(Duration),
    DropAll,
    /// The driver's task is ended while they are at work.
    AbortDriver,
}

impl Drawn {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let is_stormy = rarely(rng, 10);
        let settings = match is_stormy {
            true => Settings::new(rng).in_order_by_shard(rng),
            false => Settings::new(rng),
        };
        let time = ms(rng.u64(200..=3_000));
        let distribution = match settings.aggregates() || !rarely(rng, 5) {
            true => Distribution::UserPartitionKey,
            false => Distribution::Auto,
        };
        // A sink that relies on partition keys refuses such a stream, if it is described.
        let distribution = match settings.refuses_auto() {
            true => Distribution::UserPartitionKey,
            false => distribution,
        };
        let records = Records::new(rng, &settings, distribution);
        let largest = records.largest() as u64;
        // Large records are few, so that a run takes milliseconds.
        let offered = rng.u64(1..=400).min(1 + (4 << 20) / largest);
        let records_per_s = rng.u32(20..=1_000);
        let quota = (records_per_s, records_per_s * rng.u32(100..=4_000));
        let mut events = events::draw_events(rng, time);
        if rarely(rng, 6) {
            let silence = Event::Silence { duration: ms(rng.u64(100..=3_000)) };
            events.push((time.mul_f64(rng.f64()), silence));
        }
        events.extend(events::draw_quota_changes(rng, quota, time));
        events.sort_by_key(|(at, _)| *at);
        let drawn = Self {
            seed,
            shards: rng.usize(1..=7),
            quota,
            burst: ms(one_of(rng, &[0, 20, 100, 1_000])),
            limiter: events::draw_limiter(rng),
            latency: latency(rng),
            load: if rng.bool() { 0.8 * rng.f64() } else { 0.0 },
            distribution,
            trouble: match records.are_poisoned() {
                true => Trouble::new(rng).with_poison(rng),
                false => Trouble::new(rng),
            },
            events,
            refuses_credentials: refuses_credentials(seed, &settings),
            switches: false,
            stack: Stack::new(rng),
            settings,
            records,
            time,
            offered,
            idle: ms(rng.u64(0..=400)),
            burst_records: rng.u64(1..=60),
            caller: caller(rng),
        };
        let drawn = match is_stormy {
            true => drawn.in_a_storm(rng),
            false if rarely(rng, 6) => drawn.with_a_switch(rng),
            false => drawn,
        };
        match near_borders(seed) {
            true => drawn.with_hash_keys_near_borders(),
            false => drawn,
        }
    }

    fn with_hash_keys_near_borders(mut self) -> Self {
        self.records = self.records.with_hash_keys_near_borders(self.shards);
        self
    }

    /// The stream is switched to AUTO while records are sent, and perhaps back before the end.
    fn with_a_switch(mut self, rng: &mut Rng) -> Self {
        let at = self.time.mul_f64(rng.f64());
        self.events.push((at, Event::Distribution(Distribution::Auto)));
        if rng.bool() {
            let back = at + (self.time - at).mul_f64(rng.f64());
            self.events.push((back, Event::Distribution(Distribution::UserPartitionKey)));
        }
        self.events.sort_by_key(|(at, _)| *at);
        // An outage fails the listings, too.
        self.events.retain(|(_, event)| !matches!(event, Event::Outage { .. }));
        // With a single shard no record can be misplaced.
        self.shards = self.shards.max(2);
        self.settings = self.settings.with_a_list_of_shards();
        self.switches = true;
        self
    }

    /// The shards change all the time, and entries fail meanwhile.
    fn in_a_storm(self, rng: &mut Rng) -> Self {
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
            trouble: match self.records.are_poisoned() {
                true => Trouble::of_entries(rng).with_poison(rng),
                false => Trouble::of_entries(rng),
            },
            events,
            idle: ms(rng.u64(0..=30)),
            caller: Caller::Owner(OwnersEnd::Closes),
            ..self
        }
    }

    /// Whether some records are refused until all others are delivered.
    pub fn checks_progress(&self) -> bool {
        use OwnersEnd::{Closes, ClosesThroughBuffer, Flushes};
        let is_settled =
            matches!(self.caller, Caller::Owner(Closes | ClosesThroughBuffer | Flushes));
        self.records.are_poisoned() && is_settled
    }

    pub fn stream(&self) -> SimStream {
        let builder = SimStream::builder()
            .with_shards(self.shards)
            .with_seed(self.seed)
            .with_shard_quota(self.quota.0, self.quota.1)
            .with_burst(self.burst)
            .with_limiter(self.limiter)
            .with_byte_burst(self.records.largest().max(self.quota.1 as usize))
            .with_latency(self.latency)
            .with_faults(self.trouble.faults.clone())
            .with_load(self.load)
            .with_distribution(self.distribution);
        builder.build().expect("the settings are valid")
    }

    /// The most bytes that may be accepted and not settled. The last record crosses the bound; of a producer
    /// two records can, if they are larger than half of it.
    pub fn most_bytes(&self) -> usize {
        let across = if matches!(self.caller, Caller::Owner(_)) { 1 } else { 2 };
        self.settings.buffer_bytes + across * self.settings.limits.record_bytes()
    }

    /// Whether a record may fail for good.
    pub fn may_fail(&self) -> bool {
        let settings = &self.settings;
        self.trouble.invalid
            || settings.deadline.is_some()
            || settings.max_attempts.is_some()
            || ((self.trouble.fatal || self.switches)
                && matches!(self.caller, Caller::Tasks { .. }))
    }
}

fn latency(rng: &mut Rng) -> Latency {
    let median = ms(rng.u64(0..=80));
    match rng.u8(..3) {
        0 => Latency::constant(median),
        1 => Latency::uniform(Duration::ZERO..=2 * median),
        // The longest draw is under the time-out of a second.
        _ => Latency::log_normal(median, 0.1 + 0.5 * rng.f64()),
    }
}

fn caller(rng: &mut Rng) -> Caller {
    use OwnersEnd::{Closes, ClosesThroughBuffer, Drops, Flushes, TakesBack};
    if rng.u8(..5) < 3 {
        return Caller::Owner(one_of(
            rng,
            &[Closes, Closes, ClosesThroughBuffer, Flushes, TakesBack, Drops],
        ));
    }
    let within = TasksEnd::CloseWithin(ms(rng.u64(0..=5_000)));
    let ends = [TasksEnd::Close, TasksEnd::Close, within, TasksEnd::DropAll, TasksEnd::AbortDriver];
    Caller::Tasks { count: rng.u64(1..=8), end: one_of(rng, &ends) }
}

/// Draws whether explicit hash keys lie near the borders of shards.
fn near_borders(seed: u64) -> bool {
    // A separate sequence leaves all other draws of a seed unchanged.
    Rng::with_seed(seed ^ 0xb02d).bool()
}

/// Draws an outage of credentials of seconds to minutes: shorter than the credentials timeout, and a few hundred
/// attempts long.
fn refuses_credentials(seed: u64, settings: &Settings) -> Option<Duration> {
    // A separate sequence leaves all other draws of a seed unchanged.
    let mut rng = Rng::with_seed(seed ^ 0xc4ed);
    let longest = (settings.backoff.1 * 300).clamp(ms(1_000), ms(280_000));
    rarely(&mut rng, 6).then(|| longest.mul_f64(rng.f64()))
}
