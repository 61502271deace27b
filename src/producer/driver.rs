use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tower::{BoxError, Service};
use tracing::{error, warn};

use super::intake::Intake;
use super::queue::{LaidOut, Message, Phase};
use super::status::{End, Status};
use crate::error::SinkError;
use crate::record::{AttemptError, Reason, Undelivered};
use crate::service::{PutRecordsRequest, PutRecordsResponse};
use crate::sink::{DefaultService, FatalPolicy, KinesisSink, poll_units, yield_to_others};
use crate::trace::TARGET;

/// The most units of its task's budget that the driver takes messages in for: half, so that the sink can always go on
/// sending, and collect what was answered.
const INTAKE_UNITS: usize = 64;
/// Messages that are taken in for one of them.
const UNIT_MESSAGES: usize = 16;
/// As many messages in a turn as a task may send in one: then it is likely to go on.
const BURST_MESSAGES: usize = 128;

/// What a turn has taken from the queue.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    messages: usize,
    /// Of the task's budget.
    units: usize,
    /// More may be in the queue, and nobody wakes the driver for it.
    is_partial: bool,
}

/// The future behind a [`Producer`](crate::Producer): it owns the sink and moves it along.
///
/// It is ready once the producer was closed (or its last clone dropped) and everything accepted is
/// settled or handed back. From [`KinesisSink::pair`].
///
/// # Panics
///
/// When it is polled outside of a tokio runtime with its timer enabled.
///
/// # Cancel safety
///
/// Dropping it before it is ready ends the producer: every receipt says that the outcome is unknown, and
/// each call of the clones that the driver has ended. Records without a receipt are kept for
/// [`Producer::take_failed`](crate::Producer::take_failed).
#[must_use = "a driver does nothing unless it is polled; spawn it"]
pub struct Driver<S = DefaultService> {
    sink: KinesisSink<S>,
    intake: Arc<Intake>,
    policy: FatalPolicy,
    /// Taken from the queue. Usually empty between turns; kept for its memory.
    inbox: VecDeque<Message>,
    /// Who waits for everything before a place in the order of acceptance.
    flushes: Vec<(u64, oneshot::Sender<Result<(), SinkError>>)>,
    /// The room that the sink's records take.
    charged_records: usize,
    charged_bytes: usize,
    /// Why the producer stops, if it does.
    stopped: Option<Arc<AttemptError>>,
    /// The number of records that were handed back because the producer stops.
    refused_records: usize,
    over: bool,
}

impl<S> Unpin for Driver<S> {}

impl<S> Driver<S> {
    pub(super) fn new(mut sink: KinesisSink<S>, intake: Arc<Intake>, policy: FatalPolicy) -> Self {
        sink.is_driven = true;
        let mut driver = Self {
            sink,
            intake,
            policy,
            inbox: VecDeque::new(),
            flushes: Vec::new(),
            charged_records: 0,
            charged_bytes: 0,
            stopped: None,
            refused_records: 0,
            over: false,
        };
        driver.charge_what_the_sink_holds();
        driver
    }

    /// A sink may have been used before.
    fn charge_what_the_sink_holds(&mut self) {
        let pipeline = &self.sink.pipeline;
        self.intake.set_limits(pipeline.settings().limits, !pipeline.topology().is_ready());
        self.charged_records = pipeline.ledger().held().records;
        self.charged_bytes = self.sink.pipeline.ledger().held().bytes;
        self.intake.take_room(self.charged_records, self.charged_bytes);
        if self.sink.pipeline.is_closing() {
            self.intake.close(End::Closed);
        }
    }

    /// Takes in all that was sent, at the end of the producer.
    fn take_all_messages(&mut self) {
        while !self.inbox.is_empty() {
            self.take_in(usize::MAX);
        }
        self.take_messages(None, usize::MAX);
    }

    /// Takes in what was sent, for so many units of work. The rest is left in the inbox.
    fn take_messages(&mut self, waker: Option<Waker>, most_units: usize) -> Taken {
        let mut queue = self.intake.queue();
        let takes_all = self.inbox.is_empty();
        if takes_all {
            mem::swap(&mut queue.messages, &mut self.inbox);
        }
        let earlier = waker.and_then(|waker| queue.driver.replace(waker));
        let wanted = queue.take_wanted();
        queue.busy = true;
        let draining = queue.phase == Phase::Draining;
        let give_up = queue.give_up;
        drop(queue);
        drop(earlier);
        let mut taken = self.take_in(most_units);
        taken.is_partial = !(takes_all && self.inbox.is_empty());
        self.sink.pipeline.set_waiter(wanted);
        // What comes after the last message.
        if !taken.is_partial {
            if draining {
                self.sink.pipeline.close();
            }
            if give_up {
                self.intake.queue().give_up = false;
                self.hand_back();
            }
        }
        taken
    }

    /// Whether messages are left that need no other event to be taken in.
    fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Gives up what is not settled.
    fn hand_back(&mut self) {
        let taken = self.sink.take_undelivered();
        if let Some(last) = taken.last() {
            for (_, reply) in self.flushes.drain(..) {
                let reason = last.reason().clone();
                let _ = reply.send(Err(SinkError::Undelivered { count: taken.len(), reason }));
            }
        }
        self.intake.queue().undelivered.extend(taken);
    }

    fn take_in(&mut self, most_units: usize) -> Taken {
        if self.inbox.is_empty() {
            return Taken::default();
        }
        let mut lay_out = Vec::new();
        let (mut messages, mut units) = (0, 0);
        while units < most_units {
            let Some(message) = self.inbox.pop_front() else { break };
            messages += 1;
            if messages % UNIT_MESSAGES == 0 {
                units += 1;
            }
            match message {
                Message::Record { record, charge, accepted_at } => {
                    self.charged_records += 1;
                    self.charged_bytes += record.size();
                    self.intake.owe(record.size() - charge);
                    self.sink.pipeline.admit(record, accepted_at.into_std());
                    units += self.sink.pipeline.take_work();
                }
                Message::Flush(reply) => {
                    // Those whose callers have gone would pile up during an outage.
                    if self.flushes.len() == self.flushes.capacity() {
                        self.flushes.retain(|(_, reply)| !reply.is_closed());
                    }
                    self.flushes.push((self.sink.pipeline.ledger().next_seq(), reply));
                }
                Message::LayOutFailed(reply) => lay_out.push(reply),
            }
        }
        // Without a caller they stay in the sink, which counts them as failed.
        lay_out.retain(|reply| !reply.is_closed());
        if !lay_out.is_empty() {
            self.release();
            let failed = self.sink.pipeline.take_failed();
            // They count until they are taken, since the caller may be dropped before that.
            self.charged_records = self.sink.pipeline.ledger().held().records;
            self.charged_bytes = self.sink.pipeline.ledger().held().bytes;
            self.intake.queue().lay_out(failed);
            for reply in lay_out {
                // Should its caller have gone, the next one finds them.
                let _ = reply.send(());
            }
        }
        Taken { messages, units, is_partial: false }
    }

    /// Gives back the room of the records that have left the sink, and says how things stand.
    fn release(&mut self) {
        let pipeline = &self.sink.pipeline;
        let (records, bytes) = (pipeline.ledger().held().records, pipeline.ledger().held().bytes);
        let fewer_records = self.charged_records.saturating_sub(records);
        let fewer_bytes = self.charged_bytes.saturating_sub(bytes);
        // A dead-letter handler may hand back another record than it was given.
        self.intake.take_room(
            records.saturating_sub(self.charged_records),
            bytes.saturating_sub(self.charged_bytes),
        );
        (self.charged_records, self.charged_bytes) = (records, bytes);
        self.intake.release(fewer_records, fewer_bytes);

        self.intake.queue().totals = *pipeline.ledger().totals();
        self.intake.set_limits(pipeline.settings().limits, !pipeline.topology().is_ready());
        self.intake.set_status(self.status());
    }

    fn status(&self) -> Status {
        let pipeline = &self.sink.pipeline;
        if let Some(cause) = pipeline.health().refusal().filter(|_| self.goes_on_refused()) {
            return Status::Refused(cause.clone());
        }
        let (laid_out, laid_out_reason) = self.laid_out();
        let reason = pipeline.settlement().last_failure().cloned().or(laid_out_reason);
        let Some(reason) = reason else { return Status::Open };
        Status::Keeping {
            count: pipeline.ledger().failed().records + laid_out.records,
            bytes: pipeline.ledger().failed().bytes + laid_out.bytes,
            reason,
        }
    }

    /// The size of the records that are ready to be taken, and why the latest of them failed.
    fn laid_out(&self) -> (LaidOut, Option<Reason>) {
        let queue = self.intake.queue();
        let latest = queue.undelivered.last().filter(|_| queue.laid_out.records > 0);
        (queue.laid_out, latest.map(|latest| latest.reason().clone()))
    }

    /// Whether a refusal leaves something to try again with: records, or the stream's description.
    fn goes_on_refused(&self) -> bool {
        let pipeline = &self.sink.pipeline;
        let tries = !pipeline.is_settled() || !pipeline.topology().is_ready();
        self.policy == FatalPolicy::KeepTrying && tries
    }

    fn answer_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let pipeline = &self.sink.pipeline;
        let settled_before = pipeline.oldest_unsettled();
        let kept = {
            let queue = self.intake.queue();
            let laid_out = queue.undelivered.last().map(Undelivered::reason);
            let latest = pipeline.settlement().last_failure().or(laid_out);
            let count = pipeline.ledger().failed().records + queue.undelivered.len();
            latest.map(|reason| (count, reason.clone()))
        };
        for (_, reply) in self.flushes.extract_if(.., |(before, _)| *before <= settled_before) {
            let answer = match (&self.stopped, kept.clone()) {
                (Some(cause), _) => End::Refused(cause.clone()).flushed(self.sink.stream()),
                (None, Some((count, reason))) => Err(SinkError::Undelivered { count, reason }),
                (None, None) => Ok(()),
            };
            // Its caller may have gone.
            let _ = reply.send(answer);
        }
    }

    /// Ends the producer if everything is settled and no more can come.
    fn try_finish(&mut self) -> bool {
        let is_settled = self.sink.pipeline.is_settled() && !self.has_messages();
        if !self.sink.pipeline.is_closing() || !is_settled {
            return false;
        }
        let failed = self.sink.pipeline.take_failed();
        self.sink.log_last_report();
        let (records, stream) = (failed.len(), self.sink.stream().name());
        if records > 0 && self.intake.queue().producers == 0 {
            warn!(
                target: TARGET,
                records,
                "the last producer for stream {stream} is gone; {records} failed records with it"
            );
        }
        let (end, handed_back) = match self.stopped.take() {
            Some(cause) => (End::Refused(cause), self.refused_records),
            None => (End::Closed, records),
        };
        self.finish(failed, handed_back, end);
        true
    }

    fn log_stop(&self, cause: &AttemptError, records: usize) {
        error!(
            target: TARGET,
            records,
            error = cause.message(),
            "error.type" = cause.code(),
            "producer for stream {} stopped: requests are refused; {records} records handed back",
            self.sink.stream().name()
        );
    }

    /// Hands back undelivered records without a receipt, then notifies all callers. `handed_back` also counts the
    /// records with a receipt.
    fn finish(&mut self, undelivered: Vec<Undelivered>, handed_back: usize, end: End) {
        self.over = true;
        let mut queue = self.intake.queue();
        queue.left = queue.undelivered.len() + handed_back;
        queue.phase = Phase::Over;
        queue.end = Some(end.clone());
        queue.totals = *self.sink.pipeline.ledger().totals();
        queue.undelivered.extend(undelivered);
        queue.last_reason = queue.undelivered.last().map(|last| last.reason().clone());
        let left = queue.left;
        let late = mem::take(&mut queue.messages);
        let waker = queue.driver.take();
        drop(queue);
        if let End::Refused(cause) = &end {
            self.log_stop(cause, left);
        }
        self.intake.set_status(Status::Over(end));
        // Their senders tell the callers, who then look at the status.
        drop((late, waker, mem::take(&mut self.flushes)));
    }
}

impl<S> Driver<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    /// Moves the sink along until it waits for something.
    fn drive(&mut self, cx: &mut Context<'_>, flushes: bool) {
        loop {
            // Nobody else asks for it: what waits shall go as soon as the linger allows.
            if flushes {
                self.sink.pipeline.flush();
            }
            self.sink.drive(cx);
            // Before anybody is told: who hears that a record is settled finds its room free.
            self.release();
            self.sink.tell();
            // One that the sink's former owner was told of is no news.
            let Some(cause) = self.sink.pipeline.health().unreported_fatal().cloned() else {
                return;
            };
            match self.policy {
                FatalPolicy::Stop => return self.stop(cause),
                FatalPolicy::KeepTrying => {
                    let Some(error) = self.sink.take_fatal() else { return };
                    self.refuse_flushes(error);
                }
            }
        }
    }

    /// Takes no more records, waits for the requests in flight, and hands everything back. Until the
    /// sink's error is taken it sends nothing.
    fn stop(&mut self, cause: Arc<AttemptError>) {
        self.intake.close(End::Refused(cause.clone()));
        self.stopped = Some(cause.clone());
        self.take_all_messages();
        if self.sink.pipeline.in_flight() == 0 {
            self.refused_records = self.sink.pipeline.ledger().held().records;
            self.sink.pipeline.fail_refused(&cause);
            self.sink.tell();
        }
    }

    /// Tells those who wait for a flush that the stream takes nothing at present.
    fn refuse_flushes(&mut self, error: SinkError) {
        let SinkError::Request { stream, kept, source } = error else { return };
        let source: Arc<dyn std::error::Error + Send + Sync> = source.into();
        for (_, reply) in self.flushes.drain(..) {
            let source = Box::new(source.clone());
            let stream = stream.clone();
            let _ = reply.send(Err(SinkError::Request { stream, kept, source }));
        }
    }
}

impl<S> Future for Driver<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(());
        }
        let taken = this.take_messages(Some(cx.waker().clone()), INTAKE_UNITS);
        // Whatever is left of the budget, the sink goes on, and yields if it has to stop early.
        let _ = poll_units(cx, taken.units.min(INTAKE_UNITS));
        // A source that has used up its budget goes on after this turn: its records fill the request.
        let more_come = taken.is_partial || taken.messages >= BURST_MESSAGES;
        this.drive(cx, !more_come);
        this.release();
        this.answer_flushes();
        if this.try_finish() {
            return Poll::Ready(());
        }
        if more_come {
            yield_to_others(cx);
        }
        this.intake.queue().busy = false;
        Poll::Pending
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // In this order nothing is accepted that nobody would ever look at.
        self.intake.close(End::Abandoned);
        self.take_all_messages();
        self.sink.wind_up();
        let records = self.sink.pipeline.ledger().held().records;
        let undelivered = self.sink.pipeline.abandon();
        self.finish(undelivered, records, End::Abandoned);
        if let Some(cause) = &self.stopped {
            self.log_stop(cause, records);
        } else if records > 0 {
            warn!(
                target: TARGET,
                records,
                "the driver of a producer for stream {} ended with {records} records undelivered",
                self.sink.stream().name()
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
