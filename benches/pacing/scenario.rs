use std::time::Duration;

use kinesis_sink::SinkBuilder;
use kinesis_sink::limits::{SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND};
use kinesis_sink::sim::{Faults, Latency, SimStream};

use super::capacity::{self, Conditions};
use super::figures::{Bound, Figure, Figures};
use super::limit::{BUCKET_1S, Limit};
use super::load::{Keys, Load, RECORD_BYTES};
use super::policy::Policy;

/// Quota of a shard in records per second. Records of [`RECORD_BYTES`] reach it before the byte quota.
pub const SHARD_RECORDS: u32 = SHARD_RECORDS_PER_SECOND as u32;
pub const SHARD_BYTES: u32 = SHARD_BYTES_PER_SECOND as u32;

/// Seconds in which policies with a constant rate are measured. By then, the token buckets are no longer full.
const CONSTANT_RATE_WINDOW: [u64; 2] = [3, 9];

/// Median round-trip time. The standard deviation of the logarithm is [`SIGMA`], so 1 % take 40 ms or more.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const SIGMA: f64 = 0.3;
pub const ROUND_TRIPS: &str = "20 ms, log-normal with a sigma of 0.3";

pub fn latency() -> Latency {
    Latency::log_normal(ROUND_TRIP, SIGMA)
}

/// The load and the stream of a run, with one limiter and one level of noise.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub limit: Limit,
    /// Fraction of the entries that are throttled at random during the whole run.
    pub noise: f64,
    /// Fraction of the entries that are throttled at random between two events.
    pub temporary_noise: Option<f64>,
    pub shards: usize,
    /// Initial quota of each shard, in records per second.
    pub quota: u32,
    /// Number of seconds during which records are offered.
    pub seconds: u64,
    pub producers: u64,
    /// Second in which the last producer starts, if it starts after the others.
    pub joins_at: Option<u64>,
    /// Records per second offered to all producers together.
    pub offered: f64,
    pub keys: Keys,
    pub without_hot: bool,
    pub settings: fn(SinkBuilder) -> SinkBuilder,
    /// Faults during the whole run, in addition to the noise.
    pub faults: Faults,
    /// Events with their times in seconds. All faults end before the run does.
    pub events: Vec<(u64, Event)>,
    /// Periods of measurement. The goodput of the run is the lowest of all periods.
    pub windows: Vec<Window>,
    /// Number of records per second accepted by a shard. Set if the byte quota is the limit.
    pub shard_records: Option<f64>,
    /// Set to `true` if only the records outside the hot shard count.
    pub counts_cold: bool,
    pub measures_latency: bool,
    /// Set to `true` if the stream keeps whole payloads. Aggregates require this.
    pub keeps_payloads: bool,
    pub checks_order: bool,
    pub seeds: std::ops::Range<u64>,
    /// Set to `true` for a variant. Variants are run with the sink only and are not in `pacing.json`.
    pub is_variant: bool,
    /// Scenario with which this one is compared.
    pub reference: Option<Box<Scenario>>,
    pub bounds: Vec<Bound>,
    /// Minimum goodput of the sink, relative to that of the reference.
    pub of_reference: Option<f64>,
}

/// A period of measurement in seconds, with the number of shards and their quota.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub to: u64,
    pub shards: usize,
    pub quota: u32,
    pub capacity_window: [u64; 2],
}

impl Window {
    pub fn new(from: u64, to: u64, shards: usize) -> Self {
        Self { from, to, shards, quota: SHARD_RECORDS, capacity_window: [from, to] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    Shards(usize),
    /// New quota of each shard, in records per second.
    Quota(u32),
    OutageBegins,
    /// Starts to throttle this fraction of the entries at random.
    NoiseBegins(f64),
    FaultEnds,
}

impl Scenario {
    /// Creates a scenario of one minute. The first second is not measured, because the token buckets are full at first.
    pub fn new(name: &'static str, shards: usize, offered: f64, keys: Keys) -> Self {
        Self {
            name,
            limit: BUCKET_1S,
            noise: 0.0,
            temporary_noise: None,
            shards,
            quota: SHARD_RECORDS,
            seconds: 60,
            producers: 1,
            joins_at: None,
            offered,
            keys,
            without_hot: false,
            settings: |builder| builder,
            faults: Faults::default(),
            events: Vec::new(),
            windows: vec![Window::new(1, 60, shards)],
            shard_records: None,
            counts_cold: false,
            measures_latency: false,
            keeps_payloads: false,
            checks_order: false,
            seeds: 1..6,
            is_variant: false,
            reference: None,
            bounds: Vec::new(),
            of_reference: None,
        }
    }

    pub fn under(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    pub fn with_noise(mut self, share: f64) -> Self {
        self.noise = share;
        self.faults = self.faults.with_throttles(share);
        self
    }

    pub fn with_bounds(mut self, bounds: impl IntoIterator<Item = (Figure, f64)>) -> Self {
        self.bounds = bounds.into_iter().map(|(figure, limit)| Bound::new(figure, limit)).collect();
        self
    }

    /// Reduces the scenario to one seed and, unless it is drawn, a part of the time, for policies other than the sink.
    pub fn for_policy(mut self, policy: Policy, draws: bool) -> Self {
        if policy == Policy::KinesisSink {
            return self;
        }
        self.seeds.end = self.seeds.start + 1;
        if !draws && self.events.is_empty() && !policy.adapts() {
            let [from, to] = CONSTANT_RATE_WINDOW;
            self.seconds = to;
            for window in &mut self.windows {
                (window.from, window.to) = (from, to);
            }
        }
        if !self.counts_cold {
            self.reference = None;
        }
        if let Some(reference) = self.reference.take() {
            self.reference = Some(Box::new(reference.for_policy(policy, draws)));
        }
        self
    }

    /// Returns the bounds for the sink. `reference` contains the figures of the reference scenario.
    pub fn bounds(&self, reference: &Figures) -> Vec<Bound> {
        let of_reference = self.of_reference.map(|share| {
            Bound::new(Figure::Goodput, share * reference.goodput.unwrap_or(f64::INFINITY))
        });
        self.bounds.iter().copied().chain(of_reference).collect()
    }

    /// Returns the start of the first and the end of the last period of measurement.
    pub fn window(&self) -> (u64, u64) {
        let from = self.windows.iter().map(|window| window.from).min();
        let to = self.windows.iter().map(|window| window.to).max();
        from.zip(to).expect("a scenario has windows")
    }

    /// Returns the number of records per second that the shards accept during `window`.
    pub fn capacity(&self, window: &Window) -> f64 {
        let Self { limit, noise, .. } = *self;
        let conditions = Conditions { limit, noise, quota: window.quota };
        let per_shard = match self.shard_records {
            Some(records) => records,
            None => capacity::of(conditions, window.capacity_window),
        };
        per_shard * window.shards as f64
    }

    /// Returns the offered records as a multiple of the initial quota.
    pub fn offered_share(&self) -> f64 {
        let quota = self.shard_records.unwrap_or(f64::from(self.quota));
        self.offered / (quota * self.shards as f64)
    }

    /// Returns `true` if the scenario is also run with [`Policy::Omniscient`].
    pub fn has_reference_policy(&self) -> bool {
        !self.is_variant && ["shared", "scaling"].contains(&self.name)
    }

    /// Returns 98 % of an equal share of the shard quota over time. Used by [`Policy::Omniscient`].
    pub fn fair_shares(&self) -> Vec<(Duration, f64)> {
        let share =
            |quota: u32| 0.98 * f64::from(quota) / f64::from(SHARD_RECORDS) / self.producers as f64;
        let change = |(second, event): &(u64, Event)| match event {
            Event::Quota(quota) => Some((Duration::from_secs(*second), share(*quota))),
            _ => None,
        };
        let start = (Duration::ZERO, share(self.quota));
        std::iter::once(start).chain(self.events.iter().filter_map(change)).collect()
    }

    pub fn stream(&self, seed: u64) -> SimStream {
        let builder = SimStream::builder()
            .with_shards(self.shards)
            .with_shard_quota(self.quota, SHARD_BYTES)
            .with_faults(self.faults.clone())
            .with_latency(latency())
            .with_seed(seed);
        // The number of a record is in the first bytes of its payload.
        let builder = if self.keeps_payloads { builder } else { builder.with_kept_bytes(8) };
        self.limit.apply_to(builder).build().expect("the settings are valid")
    }

    pub fn apply(&self, event: Event, stream: &SimStream) {
        match event {
            Event::Shards(count) => {
                stream.update_shard_count(count).expect("the number is in range");
            }
            Event::Quota(records) => stream.set_shard_quota(records, SHARD_BYTES),
            Event::OutageBegins => {
                stream.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
            }
            Event::NoiseBegins(share) => {
                stream.set_faults(self.faults.clone().with_throttles(share));
            }
            Event::FaultEnds => stream.set_faults(self.faults.clone()),
        }
    }

    pub fn load(&self, producer: u64, seed: u64) -> Load {
        Load {
            seed,
            rate: self.offered / self.producers as f64,
            keys: self.keys.clone(),
            without_hot: self.without_hot,
            producers: self.producers,
            producer,
            record_bytes: RECORD_BYTES,
        }
    }
}
