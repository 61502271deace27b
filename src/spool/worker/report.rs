use std::time::Duration;

use tracing::{info, warn};

use super::Owner;
use crate::error::RecordCount;
#[cfg(feature = "metrics")]
use crate::metrics::{SpoolMetrics, SpoolSample};
use crate::spool::Spool;
use crate::spool::log::{AppendError, Damage, LogError, LogEvent, LogStats, Recovered};
use crate::stream::StreamId;
use crate::trace::TARGET;

/// Logs and metrics of a spool. They contain neither payloads nor keys.
pub(super) struct Reporter {
    stream: StreamId,
    /// `None` if metrics are off.
    #[cfg(feature = "metrics")]
    metrics: Option<SpoolMetrics>,
}

impl Reporter {
    pub(super) fn new(owner: &mut Owner) -> Self {
        Self {
            stream: owner.stream.clone(),
            #[cfg(feature = "metrics")]
            metrics: owner.metrics.take(),
        }
    }

    pub(super) fn report_recovered(&self, spool: &Spool, recovered: &Recovered) {
        let path = spool.path().display();
        let Recovered { records, torn_bytes, damage, .. } = recovered;
        if *records > 0 {
            let stream = self.stream.name();
            let count = RecordCount(*records);
            info!(target: TARGET, records, torn_bytes, "{count} for stream {stream} found in spool {path}");
        }
        for damage in damage {
            self.report_damage(damage);
        }
    }

    fn report_damage(&self, damage: &Damage) {
        let Damage { file, offset, bytes, records, cause, .. } = damage;
        let file = file.display();
        warn!(
            target: TARGET,
            offset,
            bytes,
            records,
            "spool file {file} is damaged ({cause}); {} lost, the other records are kept",
            RecordCount(*records)
        );
    }

    pub(super) fn report_event(&self, event: &LogEvent) {
        match event {
            LogEvent::Damage(damage) => self.report_damage(damage),
            LogEvent::SyncFailed { path, error, moved, unprotected } => warn!(
                target: TARGET,
                %error,
                moved,
                unprotected,
                "sync of spool file {} failed; its records are written to a new segment",
                path.display()
            ),
            LogEvent::SegmentAbandoned { path, error } => warn!(
                target: TARGET,
                %error,
                "writing spool file {} failed; continuing in a new segment",
                path.display()
            ),
            LogEvent::SealFailed { path, error } => warn!(
                target: TARGET,
                %error,
                "spool file {} could not be completed; its records are kept",
                path.display()
            ),
            LogEvent::ReadFailed { path, error } => warn!(
                target: TARGET,
                %error,
                "spool file {} cannot be opened; retrying",
                path.display()
            ),
            LogEvent::AckWriteFailed { path, error } => warn!(
                target: TARGET,
                %error,
                "writing acknowledgements to spool file {} failed; retrying",
                path.display()
            ),
            LogEvent::RemoveFailed { path, error } => warn!(
                target: TARGET,
                %error,
                "spool file {} could not be removed; retrying",
                path.display()
            ),
        }
    }

    /// Reports that records can no longer be written, or that they can be written again.
    pub(super) fn report_stop(&self, spool: &Spool, stopped: Option<&AppendError>) {
        let (path, stream) = (spool.path().display(), self.stream.name());
        match stopped {
            Some(AppendError::Full) => warn!(
                target: TARGET,
                "spool {path} of stream {stream} is full; its policy is {:?}",
                spool.full_policy()
            ),
            Some(AppendError::Io(error)) => warn!(
                target: TARGET,
                %error,
                "records for stream {stream} cannot be written to spool {path}; retrying"
            ),
            Some(AppendError::TooLarge) | None => {
                info!(target: TARGET, "spool {path} of stream {stream} has space again");
            }
        }
    }

    pub(super) fn report_error(&self, error: &LogError) {
        let stream = self.stream.name();
        warn!(target: TARGET, %error, "records for stream {stream} cannot be synced; retrying");
    }

    pub(super) fn report_dropped(&self, spool: &Spool, records: u64) {
        let (path, stream) = (spool.path().display(), self.stream.name());
        let count = RecordCount(records);
        warn!(target: TARGET, records, "{count} for stream {stream} dropped, because spool {path} is full");
    }

    #[cfg(feature = "metrics")]
    pub(super) fn record_sync(&self, duration: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.record_sync(duration);
        }
    }

    #[cfg(not(feature = "metrics"))]
    pub(super) fn record_sync(&self, _: Duration) {}

    #[cfg(feature = "metrics")]
    pub(super) fn record_stats(&mut self, stats: &LogStats) {
        if let Some(metrics) = &mut self.metrics {
            metrics.record(SpoolSample {
                bytes: stats.disk_bytes,
                records: stats.records,
                damaged_frames: stats.damaged_frames,
                oldest_accepted_at: stats.oldest_accepted_at_ms.filter(|_| stats.records > 0),
            });
        }
    }

    #[cfg(not(feature = "metrics"))]
    pub(super) fn record_stats(&mut self, _: &LogStats) {}
}
