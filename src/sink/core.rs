//! State of a sink, independent of its services.

use std::fmt;
#[cfg(feature = "spool")]
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::runtime;
use tokio::time::{Instant, Sleep};
use tracing::warn;

use super::FatalPolicy;
use super::discovery::Discovery;
use super::drive_skip::DriveSkip;
use super::membership::Membership;
use super::requests::Requests;
use crate::budget::Member;
use crate::error::{Error, RecordCount};
use crate::limits::Limits;
#[cfg(feature = "metrics")]
use crate::metrics::SinkMetrics;
#[cfg(feature = "spool")]
use crate::pipeline::Departures;
use crate::pipeline::{Admission, BufferChange, LaneId, Pipeline, Size};
use crate::record::{AttemptError, FailureReason, Record, SharedHandler, Undelivered};
use crate::service::StreamCheck;
use crate::settings::Settings;
use crate::shard::Ring;
#[cfg(feature = "spool")]
use crate::spool::worker::SpoolHandle;
use crate::status::{Condition, ConditionSender, RequestSummary, Status, Totals};
use crate::stream::StreamId;
use crate::trace::TARGET;

pub(crate) struct Core {
    pub(super) pipeline: Pipeline,
    pub(super) requests: Requests,
    /// `None` if nothing can be looked up.
    pub(super) discovery: Option<Box<Discovery>>,
    /// Timer of the next wakeup, and the runtime that the timer belongs to.
    pub(super) timer: Option<(Pin<Box<Sleep>>, runtime::Id)>,
    pub(super) dead_letters: Option<SharedHandler>,
    pub(super) drive_skip: DriveSkip,
    pub(super) condition: ConditionSender,
    pub(crate) check: Arc<StreamCheck>,
    pub(super) membership: Option<Box<Membership>>,
    #[cfg(feature = "spool")]
    pub(super) spool: Option<Arc<SpoolHandle>>,
    pub(super) closed: bool,
    /// `true` if a producer's driver polls the sink.
    pub(super) is_driven: bool,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<Box<SinkMetrics>>,
    /// `true` if the stream shares its label value in metrics with other streams.
    #[cfg(feature = "metrics")]
    pub(super) shares_label: bool,
}

#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) limits: Limits,
    /// `true` once the sink no longer waits for the stream description or the shard list.
    pub(crate) is_ready_to_send: bool,
    pub(crate) is_settled: bool,
    pub(crate) totals: Totals,
    pub(crate) queued: Size,
    pub(crate) in_flight: Size,
    pub(crate) oldest_accepted_at: Option<std::time::Instant>,
    pub(crate) last_request: Option<&'a Arc<RequestSummary>>,
    pub(crate) failed: Size,
    pub(crate) last_failure: Option<&'a FailureReason>,
    /// Error returned by the service while it refuses every request.
    pub(crate) refusal: Option<&'a Arc<AttemptError>>,
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
            #[cfg(feature = "spool")]
            spool: self.spool.as_ref().map(|spool| spool.status()),
        }
    }

    pub(crate) fn publish_condition(&mut self) {
        if self.closed {
            return self.condition.set(Condition::Closed);
        }
        // An idle sink sends no requests, so no response can show that the fault has ended. Clear it here instead.
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
        let Some(discovery) = &mut self.discovery else { return false };
        discovery.drive(cx, &mut self.pipeline, now)
    }

    pub(super) fn failed_error(&self, reason: FailureReason) -> Error {
        Error::failed(self.failed(), reason).with_stream(self.pipeline.stream().clone())
    }

    pub(super) fn failed(&self) -> usize {
        self.pipeline.ledger().failed().records
    }

    /// Applies the change of the buffer to the shared budget, unless a driver does it.
    pub(super) fn settle_budget(&mut self) {
        if !self.is_driven
            && let Some(membership) = &self.membership
        {
            membership.apply(self.pipeline.ledger_mut().change_mut());
        }
    }

    pub(super) fn collect_ended(&mut self) {
        let now = Instant::now().into_std();
        while let Some((id, outcome)) = self.requests.try_next() {
            self.pipeline.settle(id, outcome, now);
        }
    }

    /// Takes all undelivered records and abandons the requests in flight.
    pub(super) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.collect_ended();
        self.requests.abandon();
        self.pipeline.settlement_mut().notify();
        let undelivered = self.pipeline.take_undelivered();
        self.settle_budget();
        self.measure(Instant::now().into_std());
        self.publish_condition();
        undelivered
    }
}

/// Interface for the driver of a producer.
impl Core {
    pub(crate) fn bounds(&self) -> Size {
        let settings = self.pipeline.settings();
        Size { records: settings.effective_buffer_records(), bytes: settings.buffer_bytes }
    }

    pub(crate) fn stream(&self) -> &StreamId {
        self.pipeline.stream()
    }

    pub(crate) fn refusal(&self) -> Option<&Arc<AttemptError>> {
        self.pipeline.health().fatal_error()
    }

    pub(crate) fn condition(&self) -> &ConditionSender {
        &self.condition
    }

    pub(crate) fn take_failed(&mut self) -> Vec<Undelivered> {
        self.pipeline.take_failed()
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        self.pipeline.settings()
    }

    pub(crate) fn fatal_policy(&self) -> FatalPolicy {
        self.pipeline.settings().fatal_policy
    }

    /// Returns the lanes of the shards and their version.
    pub(crate) fn ring(&self) -> (&Arc<Ring<LaneId>>, u64) {
        self.pipeline.topology().ring()
    }

    pub(crate) fn seed(&self) -> Option<u64> {
        self.pipeline.settings().seed
    }

    pub(crate) fn budget(&self) -> Option<&Arc<Member>> {
        self.membership.as_ref().map(|membership| membership.member())
    }

    /// Attaches a driver. Returns the size of the unsettled and of the failed records, which can be nonzero if the sink
    /// was used before.
    pub(crate) fn attach_driver(&mut self) -> (Size, Size) {
        self.settle_budget();
        self.is_driven = true;
        if let Some(membership) = &mut self.membership {
            membership.release_capacity();
        }
        *self.change_mut() = BufferChange::default();
        let ledger = self.pipeline.ledger();
        (ledger.unsettled(), ledger.failed())
    }

    /// Returns the size of all records that count towards the buffer bounds.
    pub(crate) fn buffered(&self) -> Size {
        self.pipeline.ledger().buffered()
    }

    /// Accepts a record without checking limits and bounds. Returns the work in units of a task's budget.
    pub(crate) fn admit(
        &mut self,
        record: Record,
        admission: Admission,
        accepted_at: Instant,
    ) -> usize {
        self.pipeline.admit(record, admission, accepted_at.into_std());
        self.pipeline.take_work()
    }

    /// Sets the size of the largest record that is waiting for buffer capacity, and whether a record waits for a shared
    /// budget.
    pub(crate) fn set_waiter(&mut self, bytes: Option<usize>, waits_for_budget: bool) {
        self.pipeline.set_waiter(bytes);
        self.pipeline.set_waits_for_budget(waits_for_budget);
    }

    pub(crate) fn start_close(&mut self) {
        self.pipeline.close();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.pipeline.is_settled()
    }

    /// Releases the memory that is not needed while no record is queued or in flight.
    pub(crate) fn rest(&mut self) {
        // Must precede the others, because it can leave an empty buffer of samples.
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &mut self.metrics {
            metrics.rest(&mut self.pipeline, tokio::time::Instant::now().into_std());
        }
        self.pipeline.rest();
        self.requests.rest();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.pipeline.is_closing()
    }

    /// Returns the position of the next record in the order of acceptance.
    pub(crate) fn position(&self) -> u64 {
        self.pipeline.ledger().next_seq()
    }

    /// Returns the [position](Self::position) before which every record is settled.
    pub(crate) fn settled_position(&self) -> u64 {
        self.pipeline.oldest_unsettled()
    }

    /// Returns the change of the buffer since it was last applied.
    pub(crate) fn change_mut(&mut self) -> &mut BufferChange {
        self.pipeline.ledger_mut().change_mut()
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
            refusal: self.pipeline.health().fatal_error(),
        }
    }

    /// Returns the fatal error that keeps the sink from sending, until [`take_fatal`](Self::take_fatal) takes it.
    pub(crate) fn fatal(&self) -> Option<&Arc<AttemptError>> {
        self.pipeline.health().unreported_fatal()
    }

    #[cfg(feature = "spool")]
    pub(crate) fn spool(&self) -> Option<&Arc<SpoolHandle>> {
        self.spool.as_ref()
    }

    /// Returns the records that have left the sink for good since the last call.
    #[cfg(feature = "spool")]
    pub(crate) fn take_departures(&mut self) -> Vec<Range<u64>> {
        self.pipeline.ledger_mut().departures_mut().map(Departures::take).unwrap_or_default()
    }

    /// Accepts a record that was read from the spool, which fails if it exceeds the limits. Returns the work in units of
    /// a task's budget.
    #[cfg(feature = "spool")]
    pub(crate) fn admit_spooled(&mut self, record: Record, accepted_at: Instant) -> usize {
        match self.pipeline.settings().limits.check(&record) {
            Ok(()) => self.admit(record, Admission::default(), accepted_at),
            Err(error) => {
                let (code, message) = ("Unsendable".to_owned(), error.to_string());
                let error = AttemptError { code, message };
                let accepted_at = accepted_at.into_std();
                self.pipeline.admit_unsendable(record, Admission::default(), accepted_at, error);
                0
            }
        }
    }

    /// Returns copies of the unsettled records with their [positions](Self::position).
    #[cfg(feature = "spool")]
    pub(crate) fn unsettled_records(&self) -> Vec<(u64, Record, std::time::Instant)> {
        self.pipeline.unsettled_records()
    }

    /// Abandons the requests in flight and withdraws all unsettled records. See [`Pipeline::leave_in_spool`].
    #[cfg(feature = "spool")]
    pub(crate) fn leave_in_spool(
        &mut self,
        is_spooled: impl Fn(u64) -> bool,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
    ) -> (usize, Vec<Undelivered>) {
        self.requests.abandon();
        self.pipeline.leave_in_spool(is_spooled, reason)
    }

    /// Fails all unsettled records and returns the number of buffered records, unless requests are in flight.
    pub(crate) fn refuse(&mut self, cause: &Arc<AttemptError>) -> Option<usize> {
        if self.pipeline.in_flight() > 0 {
            return None;
        }
        let records = self.buffered().records;
        self.pipeline.fail_unsettled(cause);
        self.notify();
        Some(records)
    }

    pub(crate) fn try_finish(&mut self) -> Option<Vec<Undelivered>> {
        if !self.pipeline.is_closing() || !self.pipeline.is_settled() {
            return None;
        }
        let failed = self.pipeline.take_failed();
        self.log_last_report();
        Some(failed)
    }

    /// Abandons all records. Returns their number, and the records without a receipt.
    pub(crate) fn abandon(&mut self) -> (usize, Vec<Undelivered>) {
        self.shutdown();
        let records = self.buffered().records;
        (records, self.pipeline.abandon())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shutdown();
        let queued = self.pipeline.queued();
        let in_flight = self.pipeline.in_flight();
        let records = self.buffered().records;
        let failed = self.failed();
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
                "sink for stream {} dropped with {} undelivered",
                self.pipeline.stream().name(),
                RecordCount(records)
            );
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
