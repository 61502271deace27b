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

use super::channel::Channel;
use super::queue::{Command, Phase, queued};
use super::state::{State, StopReason};
use crate::error::Error;
use crate::pipeline::Size;
use crate::record::{AttemptError, FailureReason, Undelivered};
use crate::service::PutRecordsService;
use crate::sink::{
    DefaultService, FatalPolicy, KinesisSink, Snapshot, poll_units, yield_to_others,
};
use crate::trace::TARGET;

/// The most units of its task's budget that the driver spends on commands: half, so that the sink can always send, and
/// collect responses.
const COMMAND_UNITS: usize = 64;
/// Commands per unit.
const UNIT_COMMANDS: usize = 16;
/// As many commands in a turn as a task can send in one. Then more are likely to come.
const BURST_COMMANDS: usize = 128;

/// The commands that were carried out in a turn.
#[derive(Debug, Clone, Copy, Default)]
struct Drained {
    commands: usize,
    /// Units of the task's budget.
    units: usize,
    /// Whether more may be in the queue, without anything that will wake the driver for them.
    is_partial: bool,
}

/// Future that owns and polls the sink of a [`Producer`](crate::Producer).
///
/// [`KinesisSink::into_producer`] returns it. It is ready once the producer was closed, or its last handle dropped, and
/// every accepted record is settled or handed back.
///
/// # Panics
///
/// Panics if it is polled outside of a tokio runtime whose timer is enabled.
///
/// # Cancel safety
///
/// Dropping it before it is ready ends the producer. Receipts complete with
/// [`FailureReason::Abandoned`](crate::record::FailureReason::Abandoned), and calls of the producer return
/// [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned). Records without a receipt are kept for
/// [`Producer::take_failed`](crate::Producer::take_failed).
#[must_use = "a driver does nothing unless it is polled; spawn it"]
pub struct Driver<S = DefaultService> {
    sink: KinesisSink<S>,
    channel: Arc<Channel>,
    policy: FatalPolicy,
    /// Commands taken from the queue. Usually empty between turns; kept for its memory.
    inbox: VecDeque<Command>,
    /// Pending flushes, each with the position before which every record must be settled.
    flushes: Vec<(u64, oneshot::Sender<Result<(), Error>>)>,
    /// The records passed to the sink since its state was published.
    admitted: Size,
    /// Why the producer stops, if it does.
    stopped: Option<Arc<AttemptError>>,
    /// The number of records that were handed back because the producer stops.
    refused_records: usize,
    terminated: bool,
}

impl<S> Unpin for Driver<S> {}

impl<S> Driver<S> {
    pub(super) fn new(
        mut sink: KinesisSink<S>,
        channel: Arc<Channel>,
        policy: FatalPolicy,
    ) -> Self {
        channel.occupy(sink.core.attach_driver());
        if sink.core.is_closing() {
            channel.close(StopReason::Closed);
        }
        let snapshot = sink.core.snapshot();
        channel.set_limits(snapshot.limits, !snapshot.is_ready_to_send);
        channel.publish(&snapshot, Size::default());
        Self {
            sink,
            channel,
            policy,
            inbox: VecDeque::new(),
            flushes: Vec::new(),
            admitted: Size::default(),
            stopped: None,
            refused_records: 0,
            terminated: false,
        }
    }

    /// Carries out all commands, at the end of the producer.
    fn drain_all(&mut self) {
        while !self.inbox.is_empty() {
            self.drain_inbox(usize::MAX);
        }
        self.drain_queue(None, usize::MAX);
    }

    /// Carries out the commands in the queue, for at most this many units of work. The rest stays in the inbox.
    fn drain_queue(&mut self, waker: Option<Waker>, max_units: usize) -> Drained {
        let mut queue = self.channel.queue();
        let takes_all = self.inbox.is_empty();
        if takes_all {
            // Until the state is published again, this is the age of what is taken.
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
        self.sink.core.set_waiter(waiter_bytes);
        // These come after the last command.
        if !drained.is_partial {
            if is_draining {
                self.sink.core.start_close();
            }
            if abort_requested {
                self.channel.queue().abort_requested = false;
                self.abort();
            }
        }
        drained
    }

    /// Hands back everything that is not settled.
    fn abort(&mut self) {
        let taken = self.sink.take_undelivered();
        let stream = self.sink.core.stream().clone();
        if let Some(last) = taken.last() {
            for (_, reply) in self.flushes.drain(..) {
                let reason = last.reason().clone();
                let _ =
                    reply.send(Err(Error::failed(taken.len(), reason).with_stream(stream.clone())));
            }
        }
        self.channel.queue().undelivered.extend(taken);
    }

    fn drain_inbox(&mut self, max_units: usize) -> Drained {
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
                Command::Record { record, accepted_at } => {
                    self.admitted.add_record(record.size());
                    units += self.sink.core.admit(record, accepted_at);
                }
                Command::Flush(reply) => {
                    // Those whose callers are gone would pile up during an outage.
                    if self.flushes.len() == self.flushes.capacity() {
                        self.flushes.retain(|(_, reply)| !reply.is_closed());
                    }
                    self.flushes.push((self.sink.core.position(), reply));
                }
                Command::TakeFailed(reply) => callers.push(reply),
            }
        }
        // Without a caller the records stay in the sink, which counts them as failed.
        callers.retain(|reply| !reply.is_closed());
        if !callers.is_empty() {
            self.collect_failed();
            for reply in callers {
                // If its caller is gone, the next one finds the records.
                let _ = reply.send(());
            }
        }
        Drained { commands, units, is_partial: false }
    }

    /// Moves the failed records from the sink to the channel. They keep their permits until a caller takes them: it may
    /// be dropped before that.
    fn collect_failed(&mut self) {
        self.return_permits();
        let failed = self.sink.core.take_failed();
        let change = self.sink.core.take_change();
        debug_assert_eq!((failed.len(), 0), (change.released.records, change.returned.records));
        self.channel.queue().collect(failed, change.released);
    }

    /// Returns the permits of the records that have left the sink.
    fn return_permits(&mut self) {
        self.channel.apply(self.sink.core.take_change());
        if cfg!(debug_assertions) {
            let mut held = self.sink.core.held();
            held += queued(&self.inbox);
            self.channel.debug_assert_permits(held);
        }
    }

    /// Returns the permits of the records that have left the sink, and publishes its state.
    fn publish(&mut self) {
        let admitted = mem::take(&mut self.admitted);
        let snapshot = self.sink.core.snapshot();
        // Before the permits: else a record that takes one is counted beside the record that has left.
        self.channel.publish(&snapshot, admitted);
        let (limits, on_hold) = (snapshot.limits, !snapshot.is_ready_to_send);
        let state = self.state(&snapshot);
        self.return_permits();
        self.channel.set_limits(limits, on_hold);
        self.channel.set_state(state);
        self.sink.core.publish_condition();
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

    /// The size of the records that a caller can take, and why the last of them failed.
    fn collected(&self) -> (Size, Option<FailureReason>) {
        let queue = self.channel.queue();
        let last = queue.undelivered.last().filter(|_| queue.collected.records > 0);
        (queue.collected, last.map(|last| last.reason().clone()))
    }

    /// Whether a refusal leaves something to retry: records, or the stream's description.
    fn keeps_retrying(&self, snapshot: &Snapshot<'_>) -> bool {
        let retries = !snapshot.is_settled || !snapshot.is_ready_to_send;
        self.policy == FatalPolicy::Retry && retries
    }

    /// Replies to the flushes whose records are settled.
    fn complete_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let settled = self.sink.core.settled_position();
        let kept = {
            let (snapshot, queue) = (self.sink.core.snapshot(), self.channel.queue());
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
            // Its caller may be gone.
            let _ = reply.send(result);
        }
    }

    /// Ends the producer if everything is settled and no more can come.
    fn try_finish(&mut self) -> bool {
        if !self.inbox.is_empty() {
            return false;
        }
        let Some(failed) = self.sink.core.try_finish() else { return false };
        let (records, stream) = (failed.len(), self.sink.core.stream().name());
        if records > 0 && !self.channel.queue().has_handles {
            warn!(
                target: TARGET,
                records,
                "the last producer for stream {stream} is gone; {records} failed records with it"
            );
        }
        let (reason, handed_back) = match self.stopped.take() {
            Some(cause) => (StopReason::Refused(cause), self.refused_records),
            None => (StopReason::Closed, records),
        };
        self.finish(failed, handed_back, reason);
        true
    }

    fn log_stop(&self, cause: &AttemptError, records: usize) {
        error!(
            target: TARGET,
            records,
            error = cause.message(),
            "error.type" = cause.code(),
            "producer for stream {} stopped: requests are refused; {records} records handed back",
            self.sink.core.stream().name()
        );
    }

    /// Hands back undelivered records without a receipt, then notifies all callers. `handed_back` also counts the
    /// records with a receipt.
    fn finish(&mut self, undelivered: Vec<Undelivered>, handed_back: usize, reason: StopReason) {
        self.terminated = true;
        let snapshot = self.sink.core.snapshot();
        let mut queue = self.channel.queue();
        queue.publish(&snapshot, mem::take(&mut self.admitted));
        queue.left = queue.undelivered.len() + handed_back;
        queue.phase = Phase::Terminated;
        queue.stop_reason = Some(reason.clone());
        queue.pending = Size::default();
        queue.pending_since = None;
        queue.undelivered.extend(undelivered);
        queue.last_reason = queue.undelivered.last().map(|last| last.reason().clone());
        let left = queue.left;
        let late = mem::take(&mut queue.commands);
        let waker = queue.driver.take();
        drop(queue);
        if let StopReason::Refused(cause) = &reason {
            self.log_stop(cause, left);
        }
        self.channel.terminate(reason);
        // Dropping the senders notifies the callers. They then read the state.
        drop((late, waker, mem::take(&mut self.flushes)));
    }
}

impl<S> Driver<S>
where
    S: PutRecordsService,
{
    /// Drives the sink until it waits for something.
    fn drive(&mut self, cx: &mut Context<'_>, flush: bool) {
        loop {
            self.sink.drive_and_flush(cx, flush);
            // Before receipts are completed: a caller that hears that its record is settled finds room.
            self.publish();
            self.sink.core.notify();
            // An error that was reported to the former owner of the sink is not reported again.
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

    /// Accepts no more records, waits for the requests in flight, and hands everything back. The sink sends nothing
    /// until its error is taken.
    fn stop(&mut self, cause: Arc<AttemptError>) {
        self.channel.close(StopReason::Refused(cause.clone()));
        self.stopped = Some(cause.clone());
        self.drain_all();
        if let Some(records) = self.sink.core.refuse(&cause) {
            self.refused_records = records;
        }
    }

    /// Replies to pending flushes that the stream takes no requests at present.
    fn refuse_flushes(&mut self, error: Error) {
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
        let drained = this.drain_queue(Some(cx.waker().clone()), COMMAND_UNITS);
        // The sink is driven with whatever is left of the budget, and yields if it has to stop early.
        let _ = poll_units(cx, drained.units.min(COMMAND_UNITS));
        // A source that has used up its budget continues after this turn: its records fill the request.
        let expects_more = drained.is_partial || drained.commands >= BURST_COMMANDS;
        this.drive(cx, !expects_more);
        this.publish();
        this.complete_flushes();
        if this.try_finish() {
            return Poll::Ready(());
        }
        if expects_more {
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
        // Closed first, so that no record is accepted after the last one was handled.
        self.channel.close(StopReason::Abandoned);
        self.drain_all();
        let (records, undelivered) = self.sink.core.abandon();
        self.finish(undelivered, records, StopReason::Abandoned);
        if let Some(cause) = &self.stopped {
            self.log_stop(cause, records);
        } else if records > 0 {
            warn!(
                target: TARGET,
                records,
                "the driver of a producer for stream {} ended with {records} records undelivered",
                self.sink.core.stream().name()
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
