//! What single records and requests went through, for whoever measures.

use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::cutting::CutReason;
use super::pending::Pending;
use super::unit::Unit;
use crate::record::Reason;

/// What a sink measures of itself, see [`SinkBuilder::with_metrics`](crate::SinkBuilder::with_metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "metrics"), allow(unreachable_pub, reason = "it is no setting then"))]
pub enum MetricsGranularity {
    /// Nothing.
    Off,
    /// Everything but what has the label `shard`.
    Stream,
    /// That, too. At most 1,000 shards are told apart: later ones, after reshards, have the label `other`.
    Shard,
}

/// Gathered since it was last [taken](super::Pipeline::samples_mut): what totals and sizes do not tell.
#[derive(Debug)]
pub(crate) struct Samples {
    of_shards: bool,
    pub(crate) cuts: Runs<CutReason>,
    pub(crate) records_per_request: Runs<usize>,
    pub(crate) records_per_entry: Runs<usize>,
    /// From acceptance to the first request that carried the record.
    pub(crate) buffering: Runs<Ticks>,
    /// From acceptance to the answer that delivered the record.
    pub(crate) delivery: Runs<Ticks>,
    /// Of records that were delivered or given up.
    pub(crate) retries: Runs<u32>,
    /// Records that were given up, by [`Reason::code`](crate::Reason::code).
    pub(crate) failures: Runs<&'static str>,
    pub(crate) shards: Vec<ShardSample>,
}

/// What one answer meant for one shard; none as long as nobody knows which one it was.
#[derive(Debug)]
pub(crate) struct ShardSample {
    pub(crate) shard: Option<SmolStr>,
    pub(crate) delivered: usize,
    pub(crate) throttled: usize,
    /// Kinesis records a second that it is sent from now on, at most.
    pub(crate) pace: Option<f64>,
}

impl Samples {
    /// None if nobody wants any.
    pub(crate) fn new(granularity: MetricsGranularity) -> Option<Box<Self>> {
        let of_shards = match granularity {
            MetricsGranularity::Off => return None,
            MetricsGranularity::Stream => false,
            MetricsGranularity::Shard => true,
        };
        Some(Box::new(Self {
            of_shards,
            cuts: Runs::default(),
            records_per_request: Runs::default(),
            records_per_entry: Runs::default(),
            buffering: Runs::default(),
            delivery: Runs::default(),
            retries: Runs::default(),
            failures: Runs::default(),
            shards: Vec::new(),
        }))
    }

    /// Takes note of a request that is cut, before its records count the attempt.
    pub(crate) fn note_cut(&mut self, reason: CutReason, units: &[Unit], now: Instant) {
        self.cuts.push(reason);
        self.records_per_request.push(units.iter().map(Unit::len).sum());
        for unit in units {
            self.records_per_entry.push(unit.len());
            for pending in unit.members().iter().filter(|pending| pending.attempts == 0) {
                self.buffering.push(pending.age(now).into());
            }
        }
    }

    pub(crate) fn note_delivered(&mut self, pending: &Pending, now: Instant) {
        self.delivery.push(pending.age(now).into());
        self.retries.push(pending.retries());
    }

    pub(crate) fn note_failed(&mut self, pending: &Pending, reason: &Reason) {
        self.failures.push(reason.code());
        self.retries.push(pending.retries());
    }

    pub(crate) fn is_empty(&self) -> bool {
        // Whatever happens to a record begins or ends with one of these.
        self.cuts.is_empty() && self.retries.is_empty() && self.shards.is_empty()
    }

    pub(crate) fn wants_shards(&self) -> bool {
        self.of_shards
    }
}

/// Values in the order in which they came, equal neighbours together: those of a request's records mostly
/// are equal.
#[derive(Debug)]
pub(crate) struct Runs<T>(Vec<(T, usize)>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Runs<T> {
    pub(crate) fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((last, times)) if *last == value => *times += 1,
            _ => self.0.push((value, 1)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all values, each with the times that it came in a row.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (T, usize)> {
        self.0.drain(..)
    }
}

/// Tenths of a millisecond, rounded down: finer times would make no runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks(u64);

impl From<Duration> for Ticks {
    fn from(time: Duration) -> Self {
        Self(time.as_secs() * 10_000 + u64::from(time.subsec_micros() / 100))
    }
}

impl Ticks {
    pub(crate) fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 10_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_run() {
        let mut runs = Runs::default();
        [1, 1, 2, 1].into_iter().for_each(|value| runs.push(value));
        assert!(runs.drain().eq([(1, 2), (2, 1), (1, 1)]));
        assert!(runs.is_empty());
    }

    #[test]
    fn ticks_are_tenths_of_a_millisecond() {
        let seconds = |time| Ticks::from(time).as_secs_f64();
        assert_eq!(seconds(Duration::from_micros(2_003_999)), 2.0039);
        assert_eq!(seconds(Duration::from_micros(99)), 0.0);
    }
}
