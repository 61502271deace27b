//! What lies between the clones of a producer and their driver.

use std::collections::VecDeque;
use std::sync::MutexGuard;
use std::task::Waker;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::status::End;
use crate::error::SinkError;
use crate::record::{Reason, Record, Undelivered};
use crate::summary::Totals;

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) phase: Phase,
    /// How it ended, once it is over.
    pub(super) end: Option<End>,
    pub(super) messages: VecDeque<Message>,
    /// The driver, while it sleeps.
    pub(super) driver: Option<Waker>,
    /// Clones that can still send.
    pub(super) producers: usize,
    /// Callers that stand in line for room, or have got it and not looked.
    waiting: usize,
    /// The most bytes that one of them has asked for.
    waiting_for: usize,
    /// The bytes that a caller asked for who found no room and did not wait, since the driver's latest
    /// turn.
    pub(super) turned_away: Option<usize>,
    /// The driver is at work: what it has settled is not told yet.
    pub(super) busy: bool,
    /// What is not settled is to be handed back.
    pub(super) give_up: bool,
    pub(super) totals: Totals,
    /// Records that were not delivered, until someone takes them.
    pub(super) undelivered: Vec<Undelivered>,
    /// The size of the failed records that the driver has laid out and no caller has taken.
    pub(super) laid_out: LaidOut,
    /// The number of records handed back at the end: to receipts, to a handler, or in `undelivered`.
    pub(super) left: usize,
    /// The reason of the latest record in `undelivered`.
    pub(super) last_reason: Option<Reason>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaidOut {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// No more records; the driver settles those that it has.
    Draining,
    /// The driver has ended.
    Over,
}

#[derive(Debug)]
pub(super) enum Message {
    /// An accepted record, with the bytes that were taken for it from the semaphore.
    Record { record: Record, charge: usize, accepted_at: Instant },
    /// Answer when everything before this is settled.
    Flush(oneshot::Sender<Result<(), SinkError>>),
    /// Lay out the records that failed for good, then answer.
    LayOutFailed(oneshot::Sender<()>),
}

/// Wakes the driver, outside of the lock.
pub(super) fn wake(mut queue: MutexGuard<'_, Queue>) {
    let driver = queue.driver.take();
    drop(queue);
    if let Some(driver) = driver {
        driver.wake();
    }
}

impl Queue {
    /// That of a producer without clones.
    pub(super) fn new() -> Self {
        Self { producers: 1, ..Self::default() }
    }

    /// The most bytes that somebody wants who waits for room, or was turned away.
    pub(super) fn take_wanted(&mut self) -> Option<usize> {
        let waiting = (self.waiting > 0).then_some(self.waiting_for);
        self.turned_away.take().max(waiting)
    }

    /// Lays out failed records for the next caller of `take_failed`.
    pub(super) fn lay_out(&mut self, failed: Vec<Undelivered>) {
        self.laid_out.records += failed.len();
        self.laid_out.bytes += failed.iter().map(|one| one.record().size()).sum::<usize>();
        self.undelivered.extend(failed);
    }

    /// Notes a caller that stands in line for room. True if the driver has to look: for less than others
    /// wait for, it has looked already.
    pub(super) fn begin_waiting(&mut self, bytes: usize) -> bool {
        let first = self.waiting == 0;
        let more = first || bytes > self.waiting_for;
        self.waiting_for = if first { bytes } else { bytes.max(self.waiting_for) };
        self.waiting += 1;
        more
    }

    pub(super) fn end_waiting(&mut self) {
        self.waiting -= 1;
    }
}
