//! Samples for metrics: what totals and sizes do not say.

use std::ops::Range;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::flush::FlushReason;
use crate::record::FailureReason;
use crate::settings::Settings;

/// What a sink measures of itself, see [`Settings::metrics`](crate::Settings::metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[cfg_attr(not(feature = "metrics"), allow(unreachable_pub, reason = "it is no setting then"))]
pub enum MetricsGranularity {
    /// Nothing.
    Off,
    /// Everything but what has the label `shard`.
    Stream,
    /// Everything, with a label per shard. At most 1,000 shards are told apart: later ones, after reshards, have the label `other`.
    Shard,
}

/// Times closer than this are not told apart.
const FINEST: Duration = Duration::from_micros(100);

/// Gathered until the caller drains it.
#[derive(Debug)]
pub(crate) struct Samples {
    of_shards: bool,
    pub(crate) flush_reasons: RunLengths<FlushReason>,
    pub(crate) records_per_request: RunLengths<u32>,
    pub(crate) records_per_entry: RunLengths<u32>,
    /// From acceptance to the first request that carried the record.
    pub(crate) buffering: AgeRuns,
    /// From acceptance to the answer that delivered the record.
    pub(crate) delivery: AgeRuns,
    /// Of records that were delivered or given up.
    pub(crate) retries: RunLengths<u32>,
    /// Records that were given up, by [`FailureReason::code`](crate::record::FailureReason::code).
    pub(crate) failures: RunLengths<&'static str>,
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
    pub(crate) fn new(settings: &Settings) -> Option<Box<Self>> {
        #[cfg(feature = "metrics")]
        let granularity = settings.metrics;
        #[cfg(not(feature = "metrics"))]
        let granularity = {
            let _ = settings;
            MetricsGranularity::Off
        };
        let of_shards = match granularity {
            MetricsGranularity::Off => return None,
            MetricsGranularity::Stream => false,
            MetricsGranularity::Shard => true,
        };
        Some(Box::new(Self {
            of_shards,
            flush_reasons: RunLengths::default(),
            records_per_request: RunLengths::default(),
            records_per_entry: RunLengths::default(),
            buffering: AgeRuns::default(),
            delivery: AgeRuns::default(),
            retries: RunLengths::default(),
            failures: RunLengths::default(),
            shards: Vec::new(),
        }))
    }

    /// Records a request that is sent, before its records count the attempt.
    pub(crate) fn record_request(
        &mut self,
        reason: FlushReason,
        entries: &[QueuedEntry],
        now: Instant,
    ) {
        self.flush_reasons.push(reason);
        self.records_per_request.push(count(entries.iter().map(QueuedEntry::len).sum()));
        for entry in entries {
            self.records_per_entry.push(count(entry.len()));
            for record in entry.members().iter().filter(|record| record.is_unsent()) {
                self.buffering.push(record, now);
            }
        }
    }

    pub(crate) fn record_delivered(&mut self, record: &BufferedRecord, now: Instant) {
        self.delivery.push(record, now);
        self.retries.push(record.retries());
    }

    pub(crate) fn record_failed(&mut self, record: &BufferedRecord, reason: &FailureReason) {
        self.failures.push(reason.code());
        self.retries.push(record.retries());
    }

    pub(crate) fn is_empty(&self) -> bool {
        // Whatever happens to a record begins or ends with one of these.
        self.flush_reasons.is_empty() && self.retries.is_empty() && self.shards.is_empty()
    }

    pub(crate) fn wants_shards(&self) -> bool {
        self.of_shards
    }
}

/// A number of records as it is kept: no buffer holds more than 10⁸ of them.
fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// Values in the order in which they came, equal neighbours together: those of a request's records mostly
/// are equal.
#[derive(Debug)]
pub(crate) struct RunLengths<T>(Vec<(T, usize)>);

impl<T> Default for RunLengths<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> RunLengths<T> {
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

/// How old records were at some moments. Those that were accepted within a tenth of a millisecond count as equally
/// old.
#[derive(Debug, Default)]
pub(crate) struct AgeRuns {
    runs: Vec<(Duration, usize)>,
    /// When the records of the latest run were accepted, and the moment.
    latest: Option<(Range<Instant>, Instant)>,
}

impl AgeRuns {
    pub(crate) fn push(&mut self, record: &BufferedRecord, now: Instant) {
        let accepted_at = record.accepted_at;
        if let Some((run, at)) = &self.latest
            && *at == now
            && run.contains(&accepted_at)
            && let Some((_, times)) = self.runs.last_mut()
        {
            *times += 1;
            return;
        }
        self.runs.push((record.age(now), 1));
        self.latest = Some((accepted_at..accepted_at + FINEST, now));
    }

    /// Takes all ages, each with the number of records.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Duration, usize)> {
        self.runs.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::record::Record;

    #[test]
    fn equal_neighbours_are_one_run() {
        let mut runs = RunLengths::default();
        [1, 1, 2, 1].into_iter().for_each(|value| runs.push(value));
        assert!(runs.drain().eq([(1, 2), (2, 1), (1, 1)]));
        assert!(runs.is_empty());
    }

    #[test]
    fn ages_differ_where_a_tenth_of_a_millisecond_lies_between_or_the_moment_does() {
        let begin = Instant::now();
        let at = |micros| begin + Duration::from_micros(micros);
        let mut rng = Rng::with_seed(1);
        let mut record = |micros| BufferedRecord::new(Record::from("x"), 0, at(micros), &mut rng);
        let mut ages = AgeRuns::default();
        for (accepted, now) in [(0, 500), (99, 500), (100, 500), (100, 501), (50, 501)] {
            ages.push(&record(accepted), at(now));
        }
        let micros = [(500, 2), (400, 1), (401, 1), (451, 1)];
        let expected = micros.map(|(age, times)| (Duration::from_micros(age), times));
        assert!(ages.drain().eq(expected));
        ages.push(&record(50), at(501));
        assert_eq!(ages.drain().count(), 1, "what was taken is no run any more");
    }
}
