use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::FatalPolicy;
use super::core::Core;
use crate::error::{Error, RecordCount};
use crate::guard::catch_panic;
use crate::pipeline::{OutageKind, Report, Stage};
use crate::trace::TARGET;

impl Core {
    /// Notifies receipts and handlers of settled records. Returns the fatal error if it has not been reported yet.
    pub(super) fn report(&mut self) -> Result<(), Error> {
        self.notify();
        self.settle_budget();
        self.take_fatal().map_or(Ok(()), Err)
    }

    /// Completes receipts, and passes failed records to the dead-letter handler.
    pub(crate) fn notify(&mut self) {
        self.pipeline.settlement_mut().notify();
        self.pipeline.offer_failed(self.dead_letters.as_ref());
        if self.pipeline.ledger().failed().records > 0 {
            self.log_failed_records(tokio::time::Instant::now().into_std());
        }
    }

    /// Takes the fatal error that keeps the sink from sending. Afterwards the sink sends requests again.
    pub(crate) fn take_fatal(&mut self) -> Option<Error> {
        let source = self.pipeline.health_mut().take_fatal()?;
        let kept = self.pipeline.queued() + self.pipeline.in_flight();
        Some(Error::refused(self.stream().clone(), kept, source))
    }

    #[cfg(feature = "metrics")]
    pub(super) fn measure(&mut self, now: std::time::Instant) {
        if let Some(metrics) = &mut self.metrics {
            metrics.report(&mut self.pipeline, now);
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn measure_if_due(&mut self, now: std::time::Instant) {
        if self
            .metrics
            .as_ref()
            .is_some_and(|metrics| metrics.should_report(&mut self.pipeline, now))
        {
            self.measure(now);
        }
    }

    #[cfg(not(feature = "metrics"))]
    pub(super) fn measure(&mut self, _: std::time::Instant) {}

    #[cfg(not(feature = "metrics"))]
    pub(super) fn measure_if_due(&mut self, _: std::time::Instant) {}

    pub(crate) fn shutdown(&mut self) {
        // Dead-letter handlers are not called during a panic.
        if !std::thread::panicking() {
            self.collect_ended();
            let Self { pipeline, dead_letters, .. } = self;
            let mut offer = || pipeline.offer_failed(dead_letters.as_ref());
            // The loop terminates, because the handler consumes a record each time it panics.
            while catch_panic(&mut offer).is_none() {}
        }
        self.pipeline.settlement_mut().notify();
    }

    /// Logs outages, the fallback to aggregation by partition key, and failed records. Does not log individual retries.
    pub(super) fn log_reports(&mut self, now: Instant) {
        while let Some(report) = self.pipeline.take_report(now) {
            self.log_report(&report, now);
        }
        if self.pipeline.topology_mut().take_fallback() {
            warn!(
                target: TARGET,
                "records of stream {} are not written to the shards that were listed; aggregating by partition key \
                 until the list changes",
                self.stream().name()
            );
        }
        self.log_failed_records(now);
    }

    /// Logs the end of an outage immediately, because the sink is not polled again.
    pub(super) fn log_last_report(&mut self) {
        let now = tokio::time::Instant::now().into_std();
        while let Some(report) = self.pipeline.health_mut().take_last_report() {
            self.log_report(&report, now);
        }
    }

    fn log_failed_records(&mut self, now: Instant) {
        if let Some((records, reason)) = self.pipeline.health_mut().take_failed_records(now) {
            let stream = self.stream().name();
            let count = RecordCount(records);
            warn!(target: TARGET, records, %reason, "{count} for stream {stream} failed permanently");
        }
    }

    fn log_report(&self, report: &Report, now: Instant) {
        let Report { kind, stage, total, failed, throttled, error, .. } = report;
        let (duration, oldest) = (tenths(report.duration), tenths(self.pipeline.oldest_age(now)));
        let stream = self.stream().name();
        if *stage == Stage::Ends {
            match kind {
                OutageKind::RequestsFailing | OutageKind::Fatal => info!(
                    target: TARGET,
                    ?duration,
                    failed,
                    requests = total,
                    "requests to stream {stream} succeed again"
                ),
                OutageKind::EntriesFailing => info!(
                    target: TARGET,
                    ?duration,
                    throttled,
                    failed,
                    entries = total,
                    "stream {stream} accepts all entries again"
                ),
            }
            return;
        }
        let (queued, in_flight) = (self.pipeline.queued(), self.pipeline.in_flight());
        if *kind == OutageKind::EntriesFailing {
            let share = 100.0 * (throttled + failed) as f64 / (*total).max(1) as f64;
            warn!(
                target: TARGET,
                ?duration,
                throttled,
                failed,
                entries = total,
                queued,
                in_flight,
                ?oldest,
                error = error.message(),
                "error.type" = error.code(),
                "stream {stream} throttles or fails {share:.1} % of entries; retrying at a lower rate"
            );
            return;
        }
        let still = if *stage == Stage::Lasts { "still " } else { "" };
        let state = match (kind, self.is_driven, self.pipeline.settings().fatal_policy) {
            (OutageKind::Fatal, false, _) => {
                format!(
                    "are {still}refused; the sink keeps the records and returns the error to its owner"
                )
            }
            (OutageKind::Fatal, true, FatalPolicy::Stop) => return, // logged by the driver
            (OutageKind::Fatal, true, FatalPolicy::Retry) => {
                format!(
                    "are {still}refused; the producer accepts no records and retries with backoff"
                )
            }
            _ => format!("{still}fail; retrying with backoff"),
        };
        warn!(
            target: TARGET,
            ?duration,
            failed,
            requests = total,
            queued,
            in_flight,
            ?oldest,
            error = error.message(),
            "error.type" = error.code(),
            "requests to stream {stream} {state}"
        );
    }
}

fn tenths(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64 / 100 * 100)
}
