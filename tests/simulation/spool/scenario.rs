//! The random settings of a scenario.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::limits::Limits;
use kinesis_sink::spool::{Spool, SpoolMode, Sync, WhenFull};
use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering, SinkBuilder};

use super::ledger::is_rejected;

const KIB: u64 = 1024;

/// Settings that stay the same over all restarts.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub mode: SpoolMode,
    pub sync: Sync,
    pub when_full: WhenFull,
    pub max_bytes: u64,
    pub segment_bytes: u64,
    pub is_ordered: bool,
    pub aggregates: bool,
    pub max_attempts: Option<u32>,
    pub deadline: Option<Duration>,
    pub buffer_records: usize,
    pub max_in_flight: usize,
    pub has_dead_letters: bool,
    /// Largest payload in bytes.
    pub max_payload: usize,
    /// Probability of each fault.
    pub fault: f64,
    /// Number of processes, one after the other.
    pub lives: u32,
    pub tasks: u64,
    pub calls: u32,
    pub is_multi_threaded: bool,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// `close`, which delivers everything.
    Close,
    /// `close_within(Duration::ZERO)`.
    CloseNow,
    CloseWithin(Duration),
    /// The driver is aborted while records are sent.
    AbortDriver,
    /// All handles are dropped, and then the driver.
    Drop,
}

impl Scenario {
    pub fn draw(rng: &mut Rng) -> Self {
        let mode = if rng.u32(..10) < 7 { SpoolMode::WriteAhead } else { SpoolMode::Overflow };
        let interval = Duration::from_millis(rng.u64(1..=200));
        let sync = [Sync::Always, Sync::Interval(interval), Sync::Never][rng.usize(..3)];
        let when_full = [WhenFull::Wait, WhenFull::Refuse, WhenFull::DropOldest][rng.usize(..3)];
        let is_ordered = rng.bool();
        // Only a minority may fill the disk, because waiting for space hides most other behavior.
        let is_tight = rng.u32(..4) == 0;
        Self {
            mode,
            sync,
            when_full,
            max_bytes: if is_tight { KIB * KIB } else { 16 * KIB * KIB },
            segment_bytes: KIB * rng.u64(64..=512),
            is_ordered,
            aggregates: rng.u32(..4) == 0,
            max_attempts: (rng.u32(..4) == 0).then(|| rng.u32(2..8)),
            deadline: (rng.u32(..6) == 0).then(|| Duration::from_millis(rng.u64(20..500))),
            buffer_records: if rng.bool() { rng.usize(1..50) } else { 5_000 },
            max_in_flight: rng.usize(1..=4),
            has_dead_letters: when_full == WhenFull::DropOldest || rng.bool(),
            max_payload: if is_tight { 30_000 } else { 2_000 },
            fault: if rng.bool() { rng.f64() * 0.3 } else { 0.0 },
            lives: rng.u32(2..=4),
            tasks: rng.u64(1..=4),
            calls: rng.u32(10..150),
            is_multi_threaded: rng.bool(),
        }
    }

    pub fn draw_end(&self, rng: &mut Rng) -> End {
        match rng.u32(..5) {
            0 => End::Close,
            1 => End::CloseWithin(Duration::from_millis(rng.u64(1..50))),
            // Records in the buffer of an overflow spool do not survive these ends.
            2 if self.mode == SpoolMode::WriteAhead => End::AbortDriver,
            3 if self.mode == SpoolMode::WriteAhead => End::Drop,
            _ => End::CloseNow,
        }
    }

    /// Returns `true` if a record may fail instead of being delivered.
    pub fn can_fail(&self, number: u64) -> bool {
        is_rejected(number)
            || self.max_attempts.is_some()
            || self.deadline.is_some()
            || self.when_full != WhenFull::Wait
    }

    pub fn spool(&self, directory: &Path) -> Spool {
        Spool::at(directory)
            .with_mode(self.mode)
            .with_sync(self.sync)
            .when_full(self.when_full)
            .with_max_bytes(self.max_bytes)
            .with_segment_bytes(self.segment_bytes)
    }

    pub fn builder(&self, directory: &Path, seed: u64) -> SinkBuilder {
        let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
        KinesisSink::builder("example").with_spool(self.spool(directory)).configure(|settings| {
            settings.limits = limits;
            settings.max_in_flight = self.max_in_flight;
            settings.buffer_records = Some(self.buffer_records);
            settings.max_attempts = self.max_attempts;
            settings.deadline = self.deadline;
            settings.backoff.base = Duration::from_millis(2);
            settings.backoff.ceiling = Duration::from_millis(50);
            settings.seed = Some(seed);
            if self.is_ordered {
                settings.ordering = RecordOrdering::PerKey;
            }
            if self.aggregates {
                settings.aggregation = Aggregation::PerKey;
            }
        })
    }
}
