#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::channel::{Channel, wake_all};
use super::queue::{Command, Ended, Phase, queued};
use super::spooling::Intake;
use super::state::{State, StopReason};
use crate::error::{Error, RecordCount};
use crate::pipeline::Size;
use crate::record::{AttemptError, FailureReason, Undelivered};
use crate::service::PutRecordsService;
use crate::sink::{
    DefaultService, FatalPolicy, KinesisSink, Snapshot, poll_units, yield_to_others,
};
use crate::trace::TARGET;

/// Maximum number of budget units for commands per poll: half of a task's budget, so that the sink can use the rest.
const COMMAND_UNITS: usize = 64;
/// Number of commands that use one unit of the task's budget.
pub(super) const UNIT_COMMANDS: usize = 16;
/// Number of commands per poll after which more are expected, because their source has used up its task's budget.
const BURST_COMMANDS: usize = 128;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drained {
    pub(super) commands: usize,
    pub(super) units: usize,
    /// `true` if the queue or the inbox may contain more commands, which do not wake the driver.
    pub(super) is_partial: bool,
    /// `true` if the driver was asked to release unused memory.
    rests: bool,
    is_draining: bool,
    waiter_bytes: Option<usize>,
}

/// Future that owns and polls the sink of a [`Producer`](crate::Producer).
///
/// [`KinesisSink::into_producer`] returns the driver. After the producer has been closed or its last handle has been
/// dropped, the driver completes as soon as all accepted records are settled. It also completes after the producer has
/// [stopped](crate::ErrorKind::Stopped).
///
/// # Panics
///
/// Panics if it is polled outside of a tokio runtime or if the timer of the runtime is disabled.
///
/// # Cancel safety
///
/// Dropping the driver before it completes ends the producer: receipts of unsettled records complete with
/// [`FailureReason::Abandoned`](crate::record::FailureReason::Abandoned), and methods of the producer return
/// [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned). [`Producer::take_failed`](crate::Producer::take_failed)
/// returns the records that have no receipt.
///
/// With a spool, the unsettled records stay in the spool. Their receipts complete with
/// [`FailureReason::Spooled`](crate::record::FailureReason::Spooled).
#[must_use = "a driver does nothing unless it is polled; spawn it"]
pub struct Driver<S = DefaultService> {
    pub(super) sink: KinesisSink<S>,
    pub(super) channel: Arc<Channel>,
    policy: FatalPolicy,
    /// `None` if the sink has no spool.
    pub(super) intake: Option<Box<Intake>>,
    /// Commands taken from the queue but not executed yet. Usually empty between polls, and kept to reuse its memory.
    pub(super) inbox: VecDeque<Command>,
    /// Pending flushes. Each waits until all records before its position are settled.
    pub(super) flushes: Vec<(u64, oneshot::Sender<Result<(), Error>>)>,
    /// Size of the records passed to the sink since its state was last published.
    admitted: Size,
    stopped: Option<Arc<AttemptError>>,
    pub(super) refused_records: usize,
    /// Version of the shards that were last published.
    ring_version: u64,
    terminated: bool,
}

impl<S> Unpin for Driver<S> {}

impl<S> Driver<S> {
    pub(super) fn new(
        mut sink: KinesisSink<S>,
        channel: Arc<Channel>,
        policy: FatalPolicy,
    ) -> Self {
        let (unsettled, failed) = sink.core.attach_driver();
        channel.capacity.occupy(unsettled, failed);
        if sink.core.is_closing() {
            channel.close(StopReason::Closed);
        }
        let intake = Intake::new(&sink.core);
        let snapshot = sink.core.snapshot();
        channel.set_limits(snapshot.limits, !snapshot.is_ready_to_send);
        channel.publish(&snapshot, Size::default());
        Self {
            sink,
            channel,
            policy,
            intake,
            inbox: VecDeque::new(),
            flushes: Vec::new(),
            admitted: Size::default(),
            stopped: None,
            refused_records: 0,
            ring_version: 0,
            terminated: false,
        }
    }

    fn drain_all(&mut self) {
        while !self.inbox.is_empty() {
            self.drain_inbox(usize::MAX);
        }
        self.drain_queue(None, usize::MAX);
    }

    /// Executes commands for up to `max_units` budget units. The remaining commands stay in the inbox.
    fn drain_queue(&mut self, waker: Option<Waker>, max_units: usize) -> Drained {
        let mut queue = self.channel.queue();
        let rests = queue.begin_rest();
        let takes_all = self.inbox.is_empty();
        if takes_all {
            // Keeps the age of the oldest record correct until the state is published again.
            let oldest = queue.published.oldest_accepted_at.or(queue.pending_since);
            queue.published.oldest_accepted_at = oldest;
            mem::swap(&mut queue.commands, &mut self.inbox);
        }
        let earlier = waker.and_then(|waker| queue.driver.replace(waker));
        let waiter_bytes = queue.take_waiter_bytes();
        queue.busy = true;
        let is_draining = queue.phase == Phase::Draining;
        let abort_requested = queue.abort_requested;
        drop(queue);
        drop(earlier);
        let mut drained = self.drain_inbox(max_units);
        drained.is_partial = !(takes_all && self.inbox.is_empty());
        drained.rests = rests;
        drained.is_draining = is_draining;
        drained.waiter_bytes = waiter_bytes;
        // The sink must receive all accepted records before it is closed or aborted.
        if !drained.is_partial {
            self.start_close_if_drained(is_draining);
            if abort_requested {
                self.channel.queue().abort_requested = false;
                self.abort();
            }
        }
        drained
    }

    /// Closes the sink if the producer is closing, unless the spool has more records for it.
    pub(super) fn start_close_if_drained(&mut self, is_draining: bool) {
        if is_draining && self.is_spool_drained() {
            self.sink.core.start_close();
        }
    }

    fn abort(&mut self) {
        if self.abort_into_spool() {
            return;
        }
        let withdrawn = self.sink.take_undelivered();
        let stream = self.sink.core.stream().clone();
        if let Some(last) = withdrawn.last() {
            for (_, reply) in self.flushes.drain(..) {
                let error = Error::failed(withdrawn.len(), last.reason().clone());
                let _ = reply.send(Err(error.with_stream(stream.clone())));
            }
        }
        self.channel.queue().undelivered.extend(withdrawn);
    }

    pub(super) fn drain_inbox(&mut self, max_units: usize) -> Drained {
        if self.inbox.is_empty() {
            return Drained::default();
        }
        let mut callers = Vec::new();
        let (mut commands, mut units) = (0, 0);
        while units < max_units {
            let Some(command) = self.inbox.pop_front() else { break };
            commands += 1;
            if commands % UNIT_COMMANDS == 0 {
                units += 1;
            }
            match command {
                Command::Record { record, admission, accepted_at } => {
                    self.admitted.add_record(record.size());
                    units += self.sink.core.admit(record, admission, accepted_at);
                }
                Command::Flush(reply) => {
                    // Removes flushes whose callers were dropped, because they would accumulate during an outage.
                    if self.flushes.len() == self.flushes.capacity() {
                        self.flushes.retain(|(_, reply)| !reply.is_closed());
                    }
                    self.flushes.push((self.sink.core.position(), reply));
                }
                Command::TakeFailed(reply) => callers.push(reply),
            }
        }
        callers.retain(|reply| !reply.is_closed());
        if !callers.is_empty() {
            self.collect_failed();
            for reply in callers {
                // If this caller was dropped, the next caller takes the records.
                let _ = reply.send(());
            }
        }
        Drained { commands, units, ..Drained::default() }
    }

    /// Moves the failed records from the sink to the channel. The records stay charged until a caller takes them.
    pub(super) fn collect_failed(&mut self) {
        self.acknowledge();
        self.release();
        let failed = self.sink.core.take_failed();
        let taken = mem::take(&mut self.sink.core.change_mut().taken);
        debug_assert_eq!(failed.len(), taken.records);
        let seqs = self.departed();
        let mut queue = self.channel.queue();
        queue.collect(failed, taken);
        // The queue is still locked, so that nobody takes the records without their numbers.
        self.channel.collect_seqs(seqs);
    }

    /// Releases the charges of the records that have left the sink.
    fn release(&mut self) {
        self.channel.apply(self.sink.core.change_mut());
        if cfg!(debug_assertions) {
            let mut buffered = self.sink.core.buffered();
            buffered += queued(&self.inbox);
            self.channel.debug_assert_charges(buffered);
        }
    }

    /// Publishes the state of the sink and releases the charges of the records that have left it.
    fn publish(&mut self) {
        let admitted = mem::take(&mut self.admitted);
        let snapshot = self.sink.core.snapshot();
        // Must precede the release, so that the status never counts more records than are charged.
        self.channel.publish(&snapshot, admitted);
        let limits = snapshot.limits;
        let on_hold = !snapshot.is_ready_to_send;
        let state = self.state(&snapshot);
        self.publish_shards();
        // Must precede the release, so that a producer without records has an empty spool.
        self.acknowledge();
        self.release();
        self.channel.set_limits(limits, on_hold);
        self.channel.set_state(state);
        self.sink.core.publish_condition();
    }

    fn publish_shards(&mut self) {
        // Records of a spool keep their order, so that the buffer cannot be divided between the shards.
        if self.intake.is_some() {
            return;
        }
        let (ring, version) = self.sink.core.ring();
        if mem::replace(&mut self.ring_version, version) != version {
            self.channel.capacity.set_shards(ring);
        }
    }

    fn state(&self, snapshot: &Snapshot<'_>) -> State {
        if let Some(cause) = snapshot.refusal.filter(|_| self.keeps_retrying(snapshot)) {
            return State::Refused(cause.clone());
        }
        let (collected, collected_reason) = self.collected();
        let reason = snapshot.last_failure.cloned().or(collected_reason);
        let Some(reason) = reason else { return State::Open };
        let mut failed = snapshot.failed;
        failed += collected;
        State::Keeping { failed, reason }
    }

    pub(super) fn collected(&self) -> (Size, Option<FailureReason>) {
        let queue = self.channel.queue();
        let last = queue.undelivered.last().filter(|_| queue.collected.records > 0);
        (queue.collected, last.map(|last| last.reason().clone()))
    }

    fn keeps_retrying(&self, snapshot: &Snapshot<'_>) -> bool {
        let retries = !snapshot.is_settled || !snapshot.is_ready_to_send;
        self.policy == FatalPolicy::Retry && retries
    }

    fn complete_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let settled = self.sink.core.settled_position();
        let kept = {
            let snapshot = self.sink.core.snapshot();
            let queue = self.channel.queue();
            let collected = queue.undelivered.last().map(Undelivered::reason);
            let count = snapshot.failed.records + queue.undelivered.len();
            snapshot.last_failure.or(collected).map(|reason| (count, reason.clone()))
        };
        for (_, reply) in self.flushes.extract_if(.., |(position, _)| *position <= settled) {
            let result = match (&self.stopped, kept.clone()) {
                (Some(cause), _) => {
                    StopReason::Refused(cause.clone()).flush_result(self.sink.core.stream())
                }
                (None, Some((count, reason))) => {
                    Err(Error::failed(count, reason).with_stream(self.sink.core.stream().clone()))
                }
                (None, None) => Ok(()),
            };
            let _ = reply.send(result);
        }
    }

    /// Releases unused memory if all records are settled.
    fn rest(&mut self) {
        if !self.sink.core.is_settled() {
            return;
        }
        self.sink.core.rest();
        self.publish_shards();
        self.channel.rest();
        self.inbox.shrink_to_fit();
        self.flushes.shrink_to_fit();
    }

    fn try_finish(&mut self) -> bool {
        if !self.inbox.is_empty() || !self.is_spool_drained() {
            return false;
        }
        self.acknowledge();
        let Some(failed) = self.sink.core.try_finish() else { return false };
        let records = failed.len();
        let stream = self.sink.core.stream().name();
        if records > 0 && !self.channel.queue().has_handles {
            warn!(
                target: TARGET,
                records,
                "last producer handle for stream {stream} dropped with {records} failed record{}",
                if records == 1 { "" } else { "s" }
            );
        }
        let (reason, returned) = match self.stopped.take() {
            Some(cause) => (StopReason::Refused(cause), self.refused_records),
            None => (StopReason::Closed, records),
        };
        self.finish(failed, returned, reason);
        true
    }

    fn log_stop(&self, cause: &AttemptError, records: usize) {
        error!(
            target: TARGET,
            records,
            error = cause.message(),
            "error.type" = cause.code(),
            "producer for stream {} stopped: requests are refused; {} returned",
            self.sink.core.stream().name(),
            RecordCount(records)
        );
    }

    /// Ends the producer. `undelivered` has the records without a receipt, and `returned` also counts the others.
    fn finish(&mut self, undelivered: Vec<Undelivered>, returned: usize, reason: StopReason) {
        self.terminated = true;
        let departed = self.end_spool();
        self.release();
        let snapshot = self.sink.core.snapshot();
        let mut queue = self.channel.queue();
        queue.publish(&snapshot, mem::take(&mut self.admitted));
        queue.phase = Phase::Terminated;
        queue.pending = Size::default();
        queue.pending_since = None;
        let records = queue.undelivered.len() + returned;
        queue.undelivered.extend(undelivered);
        self.channel.collect_seqs(departed);
        let last_failure = queue.undelivered.last().map(|last| last.reason().clone());
        queue.ended = Some(Box::new(Ended { reason: reason.clone(), left: records, last_failure }));
        let late = mem::take(&mut queue.commands);
        let waker = queue.driver.take();
        // These records count towards a shared budget until a caller takes them.
        let left = Size::of(&queue.undelivered);
        let mut uncharged = left;
        uncharged -= mem::replace(&mut queue.collected, left);
        let woken = self.channel.capacity.charge_failed(uncharged);
        drop(queue);
        wake_all(woken);
        if let StopReason::Refused(cause) = &reason {
            self.log_stop(cause, records);
        }
        self.channel.terminate(reason);
        // Dropping the senders notifies the callers, which then read the published state.
        drop((late, waker, mem::take(&mut self.flushes)));
    }
}

impl<S> Driver<S>
where
    S: PutRecordsService,
{
    fn drive(&mut self, cx: &mut Context<'_>, flush: bool) {
        loop {
            self.sink.drive_and_flush(cx, flush);
            // Must precede `notify`, so that the capacity is free when a caller learns that its record is settled.
            self.publish();
            self.sink.core.notify();
            let Some(cause) = self.sink.core.fatal().cloned() else { return };
            match self.policy {
                FatalPolicy::Stop => return self.stop(cause),
                FatalPolicy::Retry => {
                    let Some(error) = self.sink.core.take_fatal() else { return };
                    self.refuse_flushes(error);
                }
            }
        }
    }

    /// Closes the channel, and fails all records once the requests in flight have completed. The sink sends no more
    /// requests until its fatal error is taken.
    fn stop(&mut self, cause: Arc<AttemptError>) {
        self.channel.close(StopReason::Refused(cause.clone()));
        self.stopped = Some(cause.clone());
        self.drain_all();
        if self.stop_into_spool(&cause) {
            return;
        }
        if let Some(records) = self.sink.core.refuse(&cause) {
            self.refused_records = records;
        }
    }

    fn refuse_flushes(&mut self, error: Error) {
        self.take_spooled_flushes();
        let kept = error.count();
        let Some(cause) = self.sink.core.refusal().cloned() else { return };
        for (_, reply) in self.flushes.drain(..) {
            let stream = self.sink.core.stream().clone();
            let _ = reply.send(Err(Error::refused(
                stream,
                kept,
                Box::new(AttemptError::clone(&cause)),
            )));
        }
    }
}

impl<S> Future for Driver<S>
where
    S: PutRecordsService,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.terminated {
            return Poll::Ready(());
        }
        let more_spooled = this.take_spooled(cx.waker());
        let mut drained = this.drain_queue(Some(cx.waker().clone()), COMMAND_UNITS);
        if !drained.is_partial {
            let admitted = this.admit_spooled(cx, COMMAND_UNITS.saturating_sub(drained.units));
            drained.commands += admitted.commands;
            drained.units += admitted.units;
            drained.is_partial =
                admitted.is_partial || (more_spooled && this.waiting_spooled().is_none());
            this.drive_diversion();
            this.start_close_if_drained(drained.is_draining);
        }
        let waiter_bytes = drained.waiter_bytes.max(this.waiting_spooled());
        this.sink.core.set_waiter(waiter_bytes, this.channel.capacity.waits_for_budget());
        // Leaves the rest of the budget to the sink, which yields when the budget is used up.
        let _ = poll_units(cx, drained.units.min(COMMAND_UNITS));
        // A source that has used up its budget sends more later, so a flush now would send a partial request.
        let expects_more = drained.is_partial || drained.commands >= BURST_COMMANDS;
        this.drive(cx, !expects_more);
        this.publish();
        this.return_if_blocked();
        this.complete_flushes();
        if this.try_finish() {
            return Poll::Ready(());
        }
        if drained.rests {
            this.rest();
        }
        // The sink may have become ready for the records of a spool only now.
        if expects_more || this.can_admit_spooled() {
            yield_to_others(cx);
        }
        this.channel.queue().busy = false;
        Poll::Pending
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if self.terminated {
            return;
        }
        // Must precede `drain_all`, so that no record is accepted after the queue has been drained.
        self.channel.close(StopReason::Abandoned);
        self.drain_all();
        let (records, undelivered) = match self.abandon_into_spool() {
            Some(left) => left,
            None => self.sink.core.abandon(),
        };
        self.finish(undelivered, records, StopReason::Abandoned);
        if let Some(cause) = &self.stopped {
            self.log_stop(cause, records);
        } else if records > 0 {
            warn!(
                target: TARGET,
                records,
                "the driver of a producer for stream {} ended with {} undelivered",
                self.sink.core.stream().name(),
                RecordCount(records)
            );
        }
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("sink", &self.sink)
            .field("policy", &self.policy)
            .field("flushes", &self.flushes.len())
            .finish_non_exhaustive()
    }
}
