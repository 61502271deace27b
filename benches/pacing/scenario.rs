//! What a scenario is made of.

use std::time::Duration;

use kinesis_sink::SinkBuilder;
use kinesis_sink::limits::{SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND};
use kinesis_sink::sim::{Faults, Latency, SimStream};

use super::capacity::{self, Conditions};
use super::figures::{Bound, Figure, Figures};
use super::limit::{BUCKET_1S, Limit};
use super::load::{Keys, Load, RECORD_BYTES};
use super::policy::Policy;

/// Records a second that one shard takes, at [`RECORD_BYTES`] each. The bytes are not the limit.
pub const SHARD_RECORDS: u32 = SHARD_RECORDS_PER_SECOND as u32;
pub const SHARD_BYTES: u32 = SHARD_BYTES_PER_SECOND as u32;

/// When the other policies are measured that do not look for a rate, where nothing happens after the start:
/// once the shards' full buckets are used up.
const OTHERS_WINDOW: [u64; 2] = [3, 9];

/// The round trips' median, and the standard deviation of their logarithm: one in a hundred takes 40 ms.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const SIGMA: f64 = 0.3;
/// The same in words.
pub const ROUND_TRIPS: &str = "20 ms, log-normal with a sigma of 0.3";

pub fn latency() -> Latency {
    Latency::log_normal(ROUND_TRIP, SIGMA)
}

/// One cell of the bench: a scenario under a limiter and with a noise.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub limit: Limit,
    /// The share of the entries that is throttled at random all the time.
    pub noise: f64,
    /// And for a time, which the events say.
    pub passing_noise: Option<f64>,
    pub shards: usize,
    /// Records a second of each shard at the start.
    pub quota: u32,
    /// How long records are offered.
    pub seconds: u64,
    pub producers: u64,
    /// When the last producer starts, if that is later.
    pub joins_at: Option<u64>,
    /// Records a second, of all producers.
    pub offered: f64,
    pub keys: Keys,
    pub without_hot: bool,
    /// For the sink.
    pub settings: fn(SinkBuilder) -> SinkBuilder,
    /// What goes wrong all the time, beside the noise.
    pub faults: Faults,
    /// What happens, and in which second. The last of it is over before the end.
    pub events: Vec<(u64, Event)>,
    /// The goodput is the lowest of these times.
    pub windows: Vec<Window>,
    /// Records a second that a shard takes, where the quota of records does not say so.
    pub shard_records: Option<f64>,
    /// Whether only the records count that are not for the hot shard.
    pub counts_cold: bool,
    /// Whether delivery times are reported.
    pub tells_latency: bool,
    /// Whether payloads are kept whole: aggregates must be.
    pub keeps_payloads: bool,
    /// Whether the order of each key is reported.
    pub tells_order: bool,
    pub seeds: std::ops::Range<u64>,
    /// Whether it belongs into `pacing.json`, with all policies, or to the variants.
    pub is_variant: bool,
    /// A run to compare with.
    pub reference: Option<Box<Scenario>>,
    /// For the sink.
    pub bounds: Vec<Bound>,
    /// For the sink: a share of the reference's goodput.
    pub of_reference: Option<f64>,
}

/// From one second to another, while the stream has so many shards of this quota.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub to: u64,
    pub shards: usize,
    pub quota: u32,
    /// The seconds that the capacity is taken from.
    pub capacity_of: [u64; 2],
}

impl Window {
    pub fn new(from: u64, to: u64, shards: usize) -> Self {
        Self { from, to, shards, quota: SHARD_RECORDS, capacity_of: [from, to] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    Shards(usize),
    /// Records a second of each shard.
    Quota(u32),
    OutageBegins,
    /// This share of the entries is throttled at random.
    NoiseBegins(f64),
    /// Of an outage or a noise.
    Ends,
}

impl Scenario {
    /// One producer for a minute under the default limiter, without faults. The first second, in which the
    /// shards' full buckets are used up, does not count.
    pub fn new(name: &'static str, shards: usize, offered: f64, keys: Keys) -> Self {
        Self {
            name,
            limit: BUCKET_1S,
            noise: 0.0,
            passing_noise: None,
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
            tells_latency: false,
            keeps_payloads: false,
            tells_order: false,
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

    /// The same with entries that are throttled at random all the time.
    pub fn with_noise(mut self, share: f64) -> Self {
        self.noise = share;
        self.faults = self.faults.with_throttles(share);
        self
    }

    pub fn with_bounds(mut self, bounds: impl IntoIterator<Item = (Figure, f64)>) -> Self {
        self.bounds = bounds.into_iter().map(|(figure, limit)| Bound::new(figure, limit)).collect();
        self
    }

    /// As it is run with a policy. All seeds and the whole time are for the sink, and for the pictures.
    pub fn for_policy(mut self, policy: Policy, draws: bool) -> Self {
        if policy == Policy::KinesisSink || draws {
            return self;
        }
        self.seeds.end = self.seeds.start + 1;
        if self.events.is_empty() && !policy.converges() {
            let [from, to] = OTHERS_WINDOW;
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

    /// The bounds of the sink, given the figures of the reference.
    pub fn bounds(&self, reference: &Figures) -> Vec<Bound> {
        let of_reference = self.of_reference.map(|share| {
            Bound::new(Figure::Goodput, share * reference.goodput.unwrap_or(f64::INFINITY))
        });
        self.bounds.iter().copied().chain(of_reference).collect()
    }

    /// From the begin of the first window to the end of the last one.
    pub fn window(&self) -> (u64, u64) {
        let from = self.windows.iter().map(|window| window.from).min();
        let to = self.windows.iter().map(|window| window.to).max();
        from.zip(to).expect("there is at least one")
    }

    /// Records a second that the shards of a window take.
    pub fn capacity(&self, window: &Window) -> f64 {
        let Self { limit, noise, .. } = *self;
        let conditions = Conditions { limit, noise, quota: window.quota };
        let of_a_shard = match self.shard_records {
            Some(records) => records,
            None => capacity::of(conditions, window.capacity_of),
        };
        of_a_shard * window.shards as f64
    }

    /// What is offered, as a multiple of the quota at the start.
    pub fn offered_share(&self) -> f64 {
        let quota = self.shard_records.unwrap_or(f64::from(self.quota));
        self.offered / (quota * self.shards as f64)
    }

    /// Whether it is shown what a producer could reach that knows everything.
    pub fn has_reference_policy(&self) -> bool {
        !self.is_variant && ["shared", "scaling"].contains(&self.name)
    }

    /// 98 % of each producer's equal part of a shard, from when on: for a policy that knows it.
    pub fn parts(&self) -> Vec<(Duration, f64)> {
        let part =
            |quota: u32| 0.98 * f64::from(quota) / f64::from(SHARD_RECORDS) / self.producers as f64;
        let change = |(second, event): &(u64, Event)| match event {
            Event::Quota(quota) => Some((Duration::from_secs(*second), part(*quota))),
            _ => None,
        };
        let start = (Duration::ZERO, part(self.quota));
        std::iter::once(start).chain(self.events.iter().filter_map(change)).collect()
    }

    pub fn stream(&self, seed: u64) -> SimStream {
        let builder = SimStream::builder()
            .with_shards(self.shards)
            .with_shard_quota(self.quota, SHARD_BYTES)
            .with_faults(self.faults.clone())
            .with_latency(latency())
            .with_seed(seed);
        // The number of a record is all that is read of it.
        let builder = if self.keeps_payloads { builder } else { builder.with_kept_bytes(8) };
        self.limit.set(builder).build().expect("the settings are valid")
    }

    pub fn happen(&self, event: Event, stream: &SimStream) {
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
            Event::Ends => stream.set_faults(self.faults.clone()),
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
