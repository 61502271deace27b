//! Samples for metrics that cannot be computed from counters and sizes.

use std::ops::Range;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::flush::FlushReason;
use crate::record::FailureReason;
use crate::settings::Settings;

/// Granularity of the metrics of a sink. See [`Settings::metrics`](crate::Settings::metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[cfg_attr(not(feature = "metrics"), allow(unreachable_pub, reason = "it is no setting then"))]
pub enum MetricsGranularity {
    /// No metrics.
    Off,
    /// All metrics without a `shard` label.
    Stream,
    /// All metrics, including those with a `shard` label. At most 1,000 shards have separate labels. Shards created by
    /// later reshards share the label `other`.
    Shard,
}

/// Resolution of the ages of records. Records accepted within this duration are counted with the same age.
const AGE_RESOLUTION: Duration = Duration::from_micros(100);

/// Samples collected since the last drain.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    per_shard: bool,
    pub(crate) flush_reasons: RunLengths<FlushReason>,
    pub(crate) records_per_request: RunLengths<u32>,
    pub(crate) records_per_entry: RunLengths<u32>,
    /// Time from acceptance to the first request that contains the record.
    pub(crate) buffering: AgeRuns,
    /// Time from acceptance to the response that delivers the record.
    pub(crate) delivery: AgeRuns,
    pub(crate) retries: RunLengths<u32>,
    /// Failed records by [`FailureReason::code`](crate::record::FailureReason::code).
    pub(crate) failures: RunLengths<&'static str>,
    pub(crate) shards: Vec<ShardSample>,
}

/// Result of one response for one shard. `shard` is `None` if the shard is unknown.
#[derive(Debug)]
pub(crate) struct ShardSample {
    pub(crate) shard: Option<SmolStr>,
    pub(crate) delivered: usize,
    pub(crate) throttled: usize,
    /// Kinesis records per second.
    pub(crate) rate_limit: Option<f64>,
}

impl MetricsGranularity {
    pub(super) fn of(settings: &Settings) -> Self {
        #[cfg(feature = "metrics")]
        return settings.metrics;
        #[cfg(not(feature = "metrics"))]
        {
            let _ = settings;
            Self::Off
        }
    }
}

impl Samples {
    /// Creates an empty collection. Returns `None` if nothing is sampled.
    pub(super) fn new(granularity: MetricsGranularity) -> Option<Self> {
        let per_shard = match granularity {
            MetricsGranularity::Off => return None,
            MetricsGranularity::Stream => false,
            MetricsGranularity::Shard => true,
        };
        Some(Self { per_shard, ..Self::default() })
    }

    /// Must be called before the attempts of the records are incremented, because only unsent records are sampled.
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
        // All other samples are recorded together with one of these.
        self.flush_reasons.is_empty() && self.retries.is_empty() && self.shards.is_empty()
    }

    pub(crate) fn records_shards(&self) -> bool {
        self.per_shard
    }
}

/// Converts a number of records. It always fits, because at most 10⁸ records are buffered.
fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// Run-length encoded values. The encoding is compact, because most records of a request have equal values.
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

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (T, usize)> {
        self.0.drain(..)
    }
}

/// Run-length encoded ages of records. Records accepted within [`AGE_RESOLUTION`] share an age.
#[derive(Debug, Default)]
pub(crate) struct AgeRuns {
    runs: Vec<(Duration, usize)>,
    /// Acceptance times covered by the last run, and the time at which the run was sampled.
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
        self.latest = Some((accepted_at..accepted_at + AGE_RESOLUTION, now));
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Duration, usize)> {
        self.runs.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::pipeline::Admission;
    use crate::record::Record;

    #[test]
    fn run_lengths_merge_equal_neighbours() {
        let mut runs = RunLengths::default();
        for value in [1, 1, 2, 1] {
            runs.push(value);
        }
        assert!(runs.drain().eq([(1, 2), (2, 1), (1, 1)]));
        assert!(runs.is_empty());
    }

    #[test]
    fn age_runs_merge_ages_within_resolution() {
        let begin = Instant::now();
        let at = |micros| begin + Duration::from_micros(micros);
        let mut rng = Rng::with_seed(1);
        let mut record = |micros| {
            BufferedRecord::new(Record::from("x"), 0, Admission::default(), at(micros), &mut rng)
        };
        let mut ages = AgeRuns::default();
        for (accepted, now) in [(0, 500), (99, 500), (100, 500), (100, 501), (50, 501)] {
            ages.push(&record(accepted), at(now));
        }
        let micros = [(500, 2), (400, 1), (401, 1), (451, 1)];
        let expected = micros.map(|(age, times)| (Duration::from_micros(age), times));
        assert!(ages.drain().eq(expected));
        ages.push(&record(50), at(501));
        assert_eq!(ages.drain().count(), 1, "a drained run is not continued");
    }
}
