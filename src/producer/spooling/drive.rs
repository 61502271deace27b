use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::intake::Next;
use crate::error::Error;
use crate::pipeline::UNROUTED;
use crate::producer::channel::wake_all;
use crate::producer::driver::{Drained, Driver, UNIT_COMMANDS};
use crate::record::{AttemptError, FailureReason, Undelivered};

impl<S> Driver<S> {
    /// Takes written records from the spool. Must precede [`drain_queue`](Self::drain_queue), because a record in the
    /// queue precedes the records that were diverted after it. Returns `true` if there may be more.
    pub(in crate::producer) fn take_spooled(&mut self, waker: &Waker) -> bool {
        self.intake.as_mut().is_some_and(|intake| intake.take(waker))
    }

    /// Passes records from the spool to the sink, while the buffer has capacity. All earlier records in the queue must
    /// have been passed.
    pub(in crate::producer) fn admit_spooled(
        &mut self,
        cx: &mut Context<'_>,
        max_units: usize,
    ) -> Drained {
        let mut drained = Drained::default();
        let Some(intake) = &mut self.intake else { return drained };
        // The limits are not known before, and a record must not be sent to a stream that cannot be used.
        if !self.sink.core.snapshot().is_ready_to_send {
            return drained;
        }
        loop {
            if drained.units >= max_units {
                drained.is_partial = true;
                break;
            }
            let Poll::Ready(Some(next)) = intake.poll_next(cx, &self.channel) else { break };
            drained.commands += 1;
            if drained.commands % UNIT_COMMANDS == 0 {
                drained.units += 1;
            }
            match next {
                Next::Flush(reply) => self.flushes.push((self.sink.core.position(), reply)),
                Next::Record { seq, record, accepted_at, permit } => {
                    wake_all(self.channel.capacity.commit(permit, UNROUTED, record.size()));
                    intake.admitted(self.sink.core.position(), seq);
                    drained.units += self.sink.core.admit_spooled(record, accepted_at);
                }
            }
        }
        drained
    }

    /// Returns `true` if there are records from the spool that wait neither for capacity nor for the sink.
    pub(in crate::producer) fn can_admit_spooled(&self) -> bool {
        let can_continue = self.intake.as_ref().is_some_and(|intake| intake.can_continue());
        can_continue && self.sink.core.snapshot().is_ready_to_send
    }

    /// Returns the size of the spooled record that waits for capacity, if one does.
    pub(in crate::producer) fn waiting_spooled(&self) -> Option<usize> {
        let bytes = self.intake.as_ref()?.waiting_bytes()?;
        Some(self.channel.capacity.permit_bytes(bytes))
    }

    /// Advances the diversion of records to the spool, which depends on the records in the buffer.
    pub(in crate::producer) fn drive_diversion(&mut self) {
        let Some(intake) = &mut self.intake else { return };
        if intake.can_leave() {
            return self.leave_aborted();
        }
        if !intake.is_overflow() {
            return;
        }
        if intake.wants_spill() {
            return self.spill(false);
        }
        if !intake.diverts() {
            return;
        }
        let mut queue = self.channel.queue();
        if intake.try_end_diversion() {
            queue.diverts = false;
        }
    }

    /// Fails the flushes if failed records that nobody takes use up the buffer, because no record of the spool can be
    /// delivered. If the producer is closing, the records stay in the spool.
    pub(in crate::producer) fn return_if_blocked(&mut self) {
        let Some(size) = self.intake.as_ref().and_then(|intake| intake.waiting_bytes()) else {
            return;
        };
        let (collected, collected_reason) = self.collected();
        let snapshot = self.sink.core.snapshot();
        let mut failed = snapshot.failed;
        failed += collected;
        let Some(reason) = snapshot.last_failure.cloned().or(collected_reason) else { return };
        if !self.channel.capacity.is_blocked_by(failed, UNROUTED, size) {
            return;
        }
        if self.channel.is_closing() {
            return self.leave_aborted();
        }
        self.take_spooled_flushes();
        for (_, reply) in self.flushes.drain(..) {
            let error = Error::failed(failed.records, reason.clone());
            let _ = reply.send(Err(error.with_stream(self.sink.core.stream().clone())));
        }
    }

    /// Writes the records in the buffer to the spool, before those that are diverted from now on.
    fn spill(&mut self, is_final: bool) {
        {
            let mut queue = self.channel.queue();
            queue.diverts = true;
            self.inbox.append(&mut queue.commands);
        }
        while !self.inbox.is_empty() {
            self.drain_inbox(usize::MAX);
        }
        if let Some(intake) = &mut self.intake {
            intake.spill(self.sink.core.unsettled_records(), is_final);
        }
    }

    /// Acknowledges the records that have left the sink.
    pub(in crate::producer) fn acknowledge(&mut self) {
        if let Some(intake) = &mut self.intake {
            intake.acknowledge(self.sink.core.take_departures());
        }
    }

    /// Returns the numbers in the spool of the records that left the sink last.
    pub(in crate::producer) fn departed(&mut self) -> Vec<Range<u64>> {
        let Some(intake) = &mut self.intake else { return Vec::new() };
        intake.departed(self.sink.core.take_departures())
    }

    /// Returns `true` if no record is left in the spool that must be passed to the sink.
    pub(in crate::producer) fn is_spool_drained(&self) -> bool {
        self.intake.as_ref().is_none_or(|intake| intake.is_drained())
    }

    /// Leaves the unsettled records in the spool instead of withdrawing them. Returns `false` if there is no spool.
    pub(in crate::producer) fn abort_into_spool(&mut self) -> bool {
        let Some(intake) = &self.intake else { return false };
        if intake.is_overflow() {
            self.spill(true);
        } else {
            self.leave_aborted();
        }
        true
    }

    fn leave_aborted(&mut self) {
        let (left, mut others) = self.leave(|last| FailureReason::Withdrawn { last });
        for undelivered in &mut others {
            undelivered.complete_receipt();
        }
        let stream = self.sink.core.stream().clone();
        for (_, reply) in self.flushes.drain(..) {
            let error = Error::failed(left + others.len(), FailureReason::Spooled { last: None });
            let _ = reply.send(Err(error.with_stream(stream.clone())));
        }
        self.channel.queue().undelivered.extend(others);
        self.start_close_if_drained(true);
    }

    /// Takes the failed records, and leaves the unsettled ones in the spool. Returns the number of those, and the records
    /// that are not in the spool.
    fn leave(
        &mut self,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
    ) -> (usize, Vec<Undelivered>) {
        self.sink.core.shutdown();
        self.acknowledge();
        self.collect_failed();
        self.take_spooled_flushes();
        self.sink.release_service();
        let Some(intake) = &mut self.intake else { return (0, Vec::new()) };
        let left = self.sink.core.leave_in_spool(|position| intake.contains(position), reason);
        intake.leave(self.sink.core.stream());
        left
    }

    /// Leaves the records in the spool after a fatal error, once the requests in flight have completed. Returns `false`
    /// if there is no spool.
    pub(in crate::producer) fn stop_into_spool(&mut self, cause: &Arc<AttemptError>) -> bool {
        if self.intake.is_none() {
            return false;
        }
        if self.sink.core.snapshot().in_flight.records > 0 {
            return true;
        }
        let records = self.sink.core.buffered().records;
        let (_, others) = self.leave(|_| FailureReason::Refused(cause.clone()));
        let others = others.into_iter().filter_map(|undelivered| undelivered.hand_over().err());
        self.channel.queue().undelivered.extend(others);
        self.refused_records = records;
        // Ends the fatal error. Nothing is left to be failed.
        self.sink.core.refuse(cause);
        self.start_close_if_drained(true);
        true
    }

    /// Leaves the records in the spool when the driver is dropped. Returns the number of unsettled records, and those
    /// without a receipt that are not in the spool. Returns `None` if there is no spool.
    pub(in crate::producer) fn abandon_into_spool(&mut self) -> Option<(usize, Vec<Undelivered>)> {
        self.intake.as_ref()?;
        let (left, others) = self.leave(|last| FailureReason::Abandoned { last });
        let records = left + others.len();
        let others = others.into_iter().filter_map(|undelivered| undelivered.hand_over().err());
        Some((records, others.collect()))
    }

    /// Takes the flushes that have not reached the sink.
    pub(in crate::producer) fn take_spooled_flushes(&mut self) {
        let flushes = self.intake.as_mut().map(|intake| intake.take_flushes()).unwrap_or_default();
        let position = self.sink.core.position();
        self.flushes.extend(flushes.into_iter().map(|reply| (position, reply)));
    }

    /// Ends the use of the spool, which stays open so that failed records can be taken. Returns the numbers in the spool of
    /// the records that have left the sink last.
    pub(in crate::producer) fn end_spool(&mut self) -> Vec<Range<u64>> {
        self.take_spooled_flushes();
        let Some(mut intake) = self.intake.take() else { return Vec::new() };
        let departed = intake.departed(self.sink.core.take_departures());
        intake.leave(self.sink.core.stream());
        departed
    }
}
