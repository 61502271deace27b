//! What the sink tells: receipts, dead-letter handlers, logs, the recorder of metrics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{info, warn};

use super::KinesisSink;
use crate::error::SinkError;
use crate::trace::TARGET;

impl<S> KinesisSink<S> {
    /// Tells what became of records, and says what stops the whole stream.
    pub(super) fn report(&mut self) -> Result<(), SinkError> {
        self.tell();
        self.take_fatal().map_or(Ok(()), Err)
    }

    /// Tells receipts, and hands failed records to the dead-letter handler.
    pub(crate) fn tell(&mut self) {
        self.pipeline.tell_delivered();
        let warned = self.pipeline.untold().is_some();
        self.pipeline.offer_failed(self.dead_letters.as_mut());
        if let Some(reason) = self.pipeline.untold().filter(|_| !warned) {
            let stream = self.stream().name();
            warn!(target: TARGET, %reason, "a record for stream {stream} failed for good");
        }
    }

    /// What stops the whole stream, once. Afterwards requests are sent again.
    pub(crate) fn take_fatal(&mut self) -> Option<SinkError> {
        let source = self.pipeline.take_fatal()?;
        let kept = self.pipeline.waiting() + self.pipeline.in_flight();
        Some(SinkError::Request { stream: self.stream().clone(), kept, source })
    }

    /// Tells the recorder of metrics how things stand.
    #[cfg(feature = "metrics")]
    pub(super) fn measure(&mut self, now: std::time::Instant) {
        if let Some(metrics) = &mut self.metrics {
            metrics.report(&mut self.pipeline, now);
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn measure_if_due(&mut self, now: std::time::Instant) {
        if self.metrics.as_ref().is_some_and(|metrics| metrics.is_due(&mut self.pipeline, now)) {
            self.measure(now);
        }
    }

    #[cfg(not(feature = "metrics"))]
    pub(super) fn measure(&mut self, _: std::time::Instant) {}

    #[cfg(not(feature = "metrics"))]
    pub(super) fn measure_if_due(&mut self, _: std::time::Instant) {}

    /// The last time that anything is told.
    pub(crate) fn wind_up(&mut self) {
        // While the thread unwinds, no code of the user's is called.
        if !std::thread::panicking() {
            self.collect_ended();
            let Self { pipeline, dead_letters, .. } = self;
            let mut offer = || pipeline.offer_failed(dead_letters.as_mut());
            // Each panic costs the record in the handler's hands, so this comes to an end.
            while catch_unwind(AssertUnwindSafe(&mut offer)).is_err() {}
        }
        self.pipeline.tell_delivered();
    }

    /// Says once that requests fail, and once that they work again: retrying is silent otherwise.
    pub(super) fn log_outage(&mut self) {
        let stream = self.pipeline.stream().name();
        match (self.outage_logged, self.pipeline.outage()) {
            (false, Some(error)) => {
                warn!(
                    target: TARGET,
                    error = error.message(),
                    "error.type" = error.code(),
                    "requests to stream {stream} fail; trying again with back-off"
                );
                self.outage_logged = true;
            }
            (true, None) => {
                info!(target: TARGET, "requests to stream {stream} succeed again");
                self.outage_logged = false;
            }
            _ => {}
        }
    }
}
