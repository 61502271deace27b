use std::time::{Duration, SystemTime};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::names::{
    OTHER_STREAMS, SPOOL_BYTES, SPOOL_DAMAGED_FRAMES, SPOOL_OLDEST_AGE, SPOOL_RECORDS,
    SPOOL_SYNC_DURATION, STREAM, describe_spool,
};
use super::streams::StreamLabel;
use crate::stream::StreamId;

/// Metrics of a spool. Adds its changes to the gauges of sizes, because several sinks can share them.
pub(crate) struct SpoolMetrics {
    bytes: Gauge,
    records: Gauge,
    oldest_age: Gauge,
    sync_duration: Histogram,
    damaged_frames: Counter,
    last: SpoolSample,
}

/// State of a spool.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpoolSample {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) damaged_frames: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) oldest_accepted_at: Option<u64>,
}

impl SpoolMetrics {
    /// Registers the metrics with the recorder of the current thread.
    pub(crate) fn new(stream: &StreamId, label: &StreamLabel) -> Self {
        describe_spool();
        let stream = match label {
            StreamLabel::Name => stream.name(),
            StreamLabel::Shared(_) => OTHER_STREAMS,
        };
        let stream = || stream.to_owned();
        Self {
            bytes: gauge!(SPOOL_BYTES, STREAM => stream()),
            records: gauge!(SPOOL_RECORDS, STREAM => stream()),
            oldest_age: gauge!(SPOOL_OLDEST_AGE, STREAM => stream()),
            sync_duration: histogram!(SPOOL_SYNC_DURATION, STREAM => stream()),
            damaged_frames: counter!(SPOOL_DAMAGED_FRAMES, STREAM => stream()),
            last: SpoolSample::default(),
        }
    }

    pub(crate) fn record_sync(&self, duration: Duration) {
        self.sync_duration.record(duration);
    }

    pub(crate) fn record(&mut self, sample: SpoolSample) {
        let last = std::mem::replace(&mut self.last, sample);
        move_gauge(&self.bytes, last.bytes, sample.bytes);
        move_gauge(&self.records, last.records, sample.records);
        self.damaged_frames.increment(sample.damaged_frames.saturating_sub(last.damaged_frames));
        let age = sample.oldest_accepted_at.map(|oldest| {
            let accepted_at = SystemTime::UNIX_EPOCH + Duration::from_millis(oldest);
            SystemTime::now().duration_since(accepted_at).unwrap_or_default()
        });
        self.oldest_age.set(age.unwrap_or_default());
    }
}

impl Drop for SpoolMetrics {
    /// Removes the closed spool from the gauges.
    fn drop(&mut self) {
        let damaged_frames = self.last.damaged_frames;
        self.record(SpoolSample { damaged_frames, ..SpoolSample::default() });
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
fn move_gauge(gauge: &Gauge, from: u64, to: u64) {
    if to >= from {
        gauge.increment((to - from) as f64);
    } else {
        gauge.decrement((from - to) as f64);
    }
}
