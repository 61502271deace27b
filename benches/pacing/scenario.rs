//! What a scenario is made of.

use std::time::Duration;

use kinesis_sink::sim::{Faults, Latency, SimBuilder, SimStream};
use kinesis_sink::{SHARD_RECORDS_PER_SECOND, SinkBuilder};

use super::figures::{Bound, Figures};
use super::load::{Keys, Load, RECORD_BYTES};

/// Records a second that one shard takes, at [`RECORD_BYTES`] each. The bytes are not the limit.
pub const SHARD_RECORDS: f64 = SHARD_RECORDS_PER_SECOND as f64;

/// The round trips' median, and the standard deviation of their logarithm: one in a hundred takes 40 ms.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const SIGMA: f64 = 0.3;
/// The same in words.
pub const ROUND_TRIPS: &str = "20 ms, log-normal with a sigma of 0.3";

#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub shards: usize,
    /// How long records are offered.
    pub seconds: u64,
    pub producers: u64,
    /// Records a second, of all producers.
    pub offered: f64,
    pub keys: Keys,
    pub without_hot: bool,
    /// For the sink.
    pub settings: fn(SinkBuilder) -> SinkBuilder,
    pub stream: fn(SimBuilder) -> SimBuilder,
    /// What happens, and in which second. The last of it is over before the end.
    pub events: Vec<(u64, Event)>,
    /// The goodput is the lowest of these times.
    pub windows: Vec<Window>,
    /// Entries a second that a shard takes.
    pub shard_records: f64,
    /// Whether payloads are kept whole: aggregates must be.
    pub keeps_payloads: bool,
    /// Whether the order of each key is told.
    pub tells_order: bool,
    pub seeds: std::ops::Range<u64>,
    /// A run to compare with.
    pub reference: Option<Box<Scenario>>,
    /// For the sink, given the figures of the reference.
    pub bounds: fn(&Figures) -> Vec<Bound>,
}

/// From one second to another, while the stream has so many shards.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub to: u64,
    pub shards: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Shards(usize),
    OutageBegins,
    OutageEnds,
}

impl Event {
    pub fn happen(self, stream: &SimStream) {
        match self {
            Self::Shards(count) => {
                stream.update_shard_count(count).expect("the number is in range");
            }
            Self::OutageBegins => {
                stream.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
            }
            Self::OutageEnds => stream.set_faults(Faults::default()),
        }
    }
}

impl Scenario {
    /// One producer for a minute, without faults. The first second, in which the shards' full
    /// buckets are used up, does not count.
    pub fn new(name: &'static str, shards: usize, offered: f64, keys: Keys) -> Self {
        Self {
            name,
            shards,
            seconds: 60,
            producers: 1,
            offered,
            keys,
            without_hot: false,
            settings: |builder| builder,
            stream: |builder| builder,
            events: Vec::new(),
            windows: vec![Window { from: 1, to: 60, shards }],
            shard_records: SHARD_RECORDS,
            keeps_payloads: false,
            tells_order: false,
            seeds: 1..2,
            reference: None,
            bounds: |_| Vec::new(),
        }
    }

    /// From the begin of the first window to the end of the last one.
    pub fn window(&self) -> (u64, u64) {
        let from = self.windows.iter().map(|window| window.from).min();
        let to = self.windows.iter().map(|window| window.to).max();
        from.zip(to).expect("there is at least one")
    }

    pub fn capacity(&self, window: &Window) -> f64 {
        self.shard_records * window.shards as f64
    }

    pub fn stream(&self, seed: u64) -> SimStream {
        let builder = SimStream::builder()
            .with_shards(self.shards)
            .with_latency(Latency::log_normal(ROUND_TRIP, SIGMA))
            .with_seed(seed);
        // The number of a record is all that is read of it.
        let builder = if self.keeps_payloads { builder } else { builder.with_kept_bytes(8) };
        (self.stream)(builder).build().expect("the settings are valid")
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
