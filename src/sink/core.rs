//! The state of a sink, whatever services are below it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::runtime;
use tokio::time::{Instant, Sleep};
use tracing::warn;

use super::FatalPolicy;
use super::discovery::Discovery;
use super::drive_skip::DriveSkip;
use super::requests::Requests;
use crate::error::Error;
use crate::limits::Limits;
#[cfg(feature = "metrics")]
use crate::metrics::SinkMetrics;
use crate::pipeline::{Pipeline, Size};
use crate::record::{AttemptError, FailureReason, Record, SharedHandler, Undelivered};
use crate::service::StreamCheck;
use crate::status::{Condition, ConditionSender, RequestSummary, Status, Totals};
use crate::stream::StreamId;
use crate::trace::TARGET;

/// Everything of a sink but its services.
pub(crate) struct Core {
    pub(super) pipeline: Pipeline,
    pub(super) requests: Requests,
    pub(super) discovery: Discovery,
    /// For the next wake-up, with the runtime that it belongs to.
    pub(super) timer: Option<(Pin<Box<Sleep>>, runtime::Id)>,
    pub(super) dead_letters: Option<SharedHandler>,
    pub(super) drive_skip: DriveSkip,
    pub(super) condition: ConditionSender,
    pub(crate) check: StreamCheck,
    /// Whether `poll_close` has returned `Ok`.
    pub(super) closed: bool,
    /// Whether a producer's driver owns the sink, so that no caller sees its errors.
    pub(super) is_driven: bool,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<SinkMetrics>,
}

/// The state of a sink for its status, and for its producer: whether it accepts records, and what a flush returns.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    /// The limits of one record, as the stream's description has left them.
    pub(crate) limits: Limits,
    /// Whether everything is known that must be before anything is sent.
    pub(crate) is_ready_to_send: bool,
    pub(crate) is_settled: bool,
    pub(crate) totals: Totals,
    pub(crate) queued: Size,
    pub(crate) in_flight: Size,
    /// When the oldest record that is not settled was accepted.
    pub(crate) oldest_accepted_at: Option<std::time::Instant>,
    pub(crate) last_request: Option<&'a Arc<RequestSummary>>,
    /// The size of the failed records that are kept.
    pub(crate) failed: Size,
    /// Why the latest of the failed records failed.
    pub(crate) last_failure: Option<&'a FailureReason>,
    /// The error with which the service refuses every request at present.
    pub(crate) refusal: Option<&'a Arc<AttemptError>>,
}

/// The change of the buffer between two calls of [`Core::take_change`], accepted records aside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BufferChange {
    /// The records that have left the buffer.
    pub(crate) released: Size,
    /// The records among them that a dead-letter handler has returned, or has replaced by other ones.
    pub(crate) returned: Size,
}

impl Core {
    pub(super) fn status(&self) -> Status {
        let now = Instant::now().into_std();
        let snapshot = self.snapshot();
        Status {
            stream: self.stream().clone(),
            condition: self.condition.current(),
            queued: snapshot.queued.into(),
            in_flight: snapshot.in_flight.into(),
            failed: snapshot.failed.into(),
            oldest_age: snapshot
                .oldest_accepted_at
                .map(|accepted_at| now.saturating_duration_since(accepted_at)),
            totals: snapshot.totals,
            last_request: snapshot.last_request.map(|summary| (**summary).clone()),
            capacity: self.bounds().into(),
        }
    }

    /// Publishes the condition, if it has changed.
    pub(crate) fn publish_condition(&mut self) {
        if self.closed {
            return self.condition.set(Condition::Closed);
        }
        // With nothing left to retry, nothing would show that the fault is over.
        let is_idle = self.pipeline.is_settled() && self.pipeline.topology().is_ready();
        if is_idle {
            self.pipeline.health_mut().clear_failing();
        }
        let fault = self.pipeline.health().fault().filter(|_| !is_idle);
        self.condition.report(fault, self.pipeline.is_closing());
    }

    pub(super) fn drive_discovery(
        &mut self,
        cx: &mut Context<'_>,
        now: std::time::Instant,
    ) -> bool {
        self.discovery.drive(cx, &mut self.pipeline, now)
    }

    /// The error for failed records that are kept, the latest of them for `reason`.
    pub(super) fn failed_error(&self, reason: FailureReason) -> Error {
        Error::failed(self.failed(), reason).with_stream(self.pipeline.stream().clone())
    }

    /// The number of records that failed for good and are kept.
    pub(super) fn failed(&self) -> usize {
        self.pipeline.ledger().failed().records
    }

    /// Settles what has been answered, without waiting for the rest.
    pub(super) fn collect_ended(&mut self) {
        let now = Instant::now().into_std();
        while let Some((id, outcome)) = self.requests.try_next() {
            self.pipeline.settle(id, outcome, now);
        }
    }

    /// Takes out every record, except for those whose requests have ended with a delivery.
    pub(super) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.collect_ended();
        self.requests.abandon();
        self.pipeline.settlement_mut().notify();
        let undelivered = self.pipeline.take_undelivered();
        self.measure(Instant::now().into_std());
        self.publish_condition();
        undelivered
    }
}

/// The interface for the driver of a producer.
impl Core {
    /// The bounds of the buffer.
    pub(crate) fn bounds(&self) -> Size {
        let settings = self.pipeline.settings();
        Size { records: settings.buffer_records(), bytes: settings.buffer_bytes }
    }

    pub(crate) fn stream(&self) -> &StreamId {
        self.pipeline.stream()
    }

    /// The error with which the service refuses every request at present.
    pub(crate) fn refusal(&self) -> Option<&Arc<AttemptError>> {
        self.pipeline.health().refusal()
    }

    pub(crate) fn condition(&self) -> &ConditionSender {
        &self.condition
    }

    pub(crate) fn take_failed(&mut self) -> Vec<Undelivered> {
        self.pipeline.take_failed()
    }

    pub(crate) fn fatal_policy(&self) -> FatalPolicy {
        self.pipeline.settings().fatal_policy
    }

    /// Passes the sink to a driver. Returns what it holds: it may have been used before.
    pub(crate) fn attach_driver(&mut self) -> Size {
        self.is_driven = true;
        // The driver counts from here.
        self.take_change();
        self.held()
    }

    /// Everything that counts towards the bounds.
    pub(crate) fn held(&self) -> Size {
        self.pipeline.ledger().held()
    }

    /// Accepts a record that was checked against the limits and the bounds at `accepted_at`. Returns the work that
    /// was done, in units of a task's budget.
    pub(crate) fn admit(&mut self, record: Record, accepted_at: Instant) -> usize {
        self.pipeline.admit(record, accepted_at.into_std());
        self.pipeline.take_work()
    }

    /// Sets the size of the largest record that waits for room, if any does.
    pub(crate) fn set_waiter(&mut self, bytes: Option<usize>) {
        self.pipeline.set_waiter(bytes);
    }

    /// Accepts no more records, and sends everything without waiting for full requests.
    pub(crate) fn start_close(&mut self) {
        self.pipeline.close();
    }

    /// Whether [`start_close`](Self::start_close) was called, or the sink was closed before it had a driver.
    pub(crate) fn is_closing(&self) -> bool {
        self.pipeline.is_closing()
    }

    /// The position of the next record in the order of acceptance.
    pub(crate) fn position(&self) -> u64 {
        self.pipeline.ledger().next_seq()
    }

    /// The [position](Self::position) before which every record is settled.
    pub(crate) fn settled_position(&self) -> u64 {
        self.pipeline.oldest_unsettled()
    }

    /// Takes the change of the buffer since the last call.
    pub(crate) fn take_change(&mut self) -> BufferChange {
        let ledger = self.pipeline.ledger_mut();
        BufferChange { released: ledger.take_released(), returned: ledger.take_returned() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        let ledger = self.pipeline.ledger();
        let in_flight = self.pipeline.in_flight_size();
        let mut queued = ledger.unsettled();
        queued -= in_flight;
        Snapshot {
            limits: self.pipeline.settings().limits,
            is_ready_to_send: self.pipeline.topology().is_ready(),
            is_settled: self.pipeline.is_settled(),
            totals: *ledger.totals(),
            queued,
            in_flight,
            oldest_accepted_at: self.pipeline.oldest_accepted_at(),
            last_request: ledger.last_request(),
            failed: ledger.failed(),
            last_failure: self.pipeline.settlement().last_failure(),
            refusal: self.pipeline.health().refusal(),
        }
    }

    /// The error that stops everything, until [`take_fatal`](Self::take_fatal) takes it.
    pub(crate) fn fatal(&self) -> Option<&Arc<AttemptError>> {
        self.pipeline.health().unreported_fatal()
    }

    /// Fails everything that is not settled, and notifies receipts and the dead-letter handler. Does nothing while
    /// requests are in flight. Returns the number of records that the sink held.
    pub(crate) fn refuse(&mut self, cause: &Arc<AttemptError>) -> Option<usize> {
        if self.pipeline.in_flight() > 0 {
            return None;
        }
        let records = self.held().records;
        self.pipeline.fail_refused(cause);
        self.notify();
        Some(records)
    }

    /// Returns the failed records once the sink is closing and everything is settled.
    pub(crate) fn try_finish(&mut self) -> Option<Vec<Undelivered>> {
        if !self.pipeline.is_closing() || !self.pipeline.is_settled() {
            return None;
        }
        let failed = self.pipeline.take_failed();
        self.log_last_report();
        Some(failed)
    }

    /// Abandons everything that is held, and completes its receipts. Returns the number of records, and those that
    /// have no receipt.
    pub(crate) fn abandon(&mut self) -> (usize, Vec<Undelivered>) {
        self.shutdown();
        let records = self.held().records;
        (records, self.pipeline.abandon())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shutdown();
        let (queued, in_flight) = (self.pipeline.queued(), self.pipeline.in_flight());
        let (records, failed) = (self.held().records, self.failed());
        drop(self.pipeline.abandon());
        self.log_last_report();
        self.measure(Instant::now().into_std());
        if !self.is_driven {
            let condition = if records > 0 { Condition::Abandoned } else { Condition::Closed };
            self.condition.set(condition);
        }
        if records > 0 {
            warn!(
                target: TARGET,
                records,
                queued,
                in_flight,
                failed,
                "sink for stream {} dropped with {records} records undelivered",
                self.pipeline.stream().name()
            );
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
