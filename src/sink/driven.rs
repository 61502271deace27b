//! The interface of the sink for the driver of a producer.

use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::{FatalPolicy, KinesisSink};
use crate::limits::Limits;
use crate::pipeline::Size;
use crate::record::{AttemptError, FailureReason, Record, Undelivered};
use crate::service::PutRecordsService;
use crate::summary::Totals;

/// The state of a sink that decides whether its producer accepts records, and what a flush returns.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    /// The limits of one record, as the stream's description has left them.
    pub(crate) limits: Limits,
    /// Whether everything is known that must be before anything is sent.
    pub(crate) is_ready_to_send: bool,
    pub(crate) is_settled: bool,
    pub(crate) totals: Totals,
    /// The size of the failed records that are kept.
    pub(crate) failed: Size,
    /// Why the latest of the failed records failed.
    pub(crate) last_failure: Option<&'a FailureReason>,
    /// The error with which the service refuses every request at present.
    pub(crate) refusal: Option<&'a Arc<AttemptError>>,
}

/// The change of the buffer between two calls of [`KinesisSink::take_change`], accepted records aside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BufferChange {
    /// The records that have left the buffer.
    pub(crate) released: Size,
    /// The records among them that a dead-letter handler has returned, or has replaced by other ones.
    pub(crate) returned: Size,
}

impl<S> KinesisSink<S> {
    /// The bounds of the buffer.
    pub(crate) fn bounds(&self) -> Size {
        let settings = self.pipeline.settings();
        Size { records: settings.buffer_records(), bytes: settings.buffer_bytes }
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
        Snapshot {
            limits: self.pipeline.settings().limits,
            is_ready_to_send: self.pipeline.topology().is_ready(),
            is_settled: self.pipeline.is_settled(),
            totals: *ledger.totals(),
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

impl<S> KinesisSink<S>
where
    S: PutRecordsService,
{
    /// [Drives](Self::drive) the sink, without waiting for full requests if `flush` is set.
    pub(crate) fn drive_and_flush(&mut self, cx: &mut Context<'_>, flush: bool) {
        if flush {
            self.pipeline.flush();
        }
        self.drive(cx);
    }
}
