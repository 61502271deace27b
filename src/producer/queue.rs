//! The queue between the handles of a producer and their driver.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::StopReason;
use crate::error::Error;
use crate::pipeline::Size;
use crate::record::{FailureReason, Record, Undelivered};
use crate::sink::Snapshot;
use crate::status::{RequestSummary, Totals};

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) phase: Phase,
    /// Why the driver has ended, once it has.
    pub(super) stop_reason: Option<StopReason>,
    pub(super) commands: VecDeque<Command>,
    /// The waker of the driver while it is idle.
    pub(super) driver: Option<Waker>,
    /// The records in `commands`, and those of them that the driver has taken and not passed to the sink.
    pub(super) pending: Size,
    /// When the first of them was accepted, or an earlier one.
    pub(super) pending_since: Option<std::time::Instant>,
    /// Whether there are handles that can still send.
    pub(super) has_handles: bool,
    /// The number of callers that wait for a permit, or have got one and were not polled since.
    waiters: usize,
    /// The most bytes that one of them has asked for.
    waiter_bytes: usize,
    /// The most recent number of bytes that a caller asked for who does not wait, since the driver's latest turn.
    pub(super) rejected_bytes: Option<usize>,
    /// Whether the driver is in a turn, with records settled that are not reported yet.
    pub(super) busy: bool,
    /// Whether everything that is not settled shall be handed back.
    pub(super) abort_requested: bool,
    pub(super) published: Published,
    /// Records that were not delivered, until a caller takes them.
    pub(super) undelivered: Vec<Undelivered>,
    /// The failed records of `undelivered` that the driver has collected. They keep their permits until a caller takes
    /// them.
    pub(super) collected: Size,
    /// How often a caller has taken records of `undelivered`.
    pub(super) takes: u64,
    /// The number of records that were handed back at the end: to receipts, to a handler, or in `undelivered`.
    pub(super) left: usize,
    /// The reason of the last record in `undelivered` at the end.
    pub(super) last_reason: Option<FailureReason>,
}

/// What the driver says of the sink at the end of each turn.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) totals: Totals,
    pub(super) queued: Size,
    pub(super) in_flight: Size,
    pub(super) failed: Size,
    pub(super) oldest_accepted_at: Option<std::time::Instant>,
    pub(super) last_request: Option<Arc<RequestSummary>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// No more records are accepted. The driver settles those that it has.
    Draining,
    /// The driver has ended.
    Terminated,
}

#[derive(Debug)]
pub(super) enum Command {
    /// Sends an accepted record.
    Record { record: Record, accepted_at: Instant },
    /// Replies when everything that was accepted before is settled.
    Flush(oneshot::Sender<Result<(), Error>>),
    /// Collects the failed records, then replies.
    TakeFailed(oneshot::Sender<()>),
}

/// Wakes the driver, outside of the lock.
pub(super) fn wake(mut queue: MutexGuard<'_, Queue>) {
    let driver = queue.driver.take();
    drop(queue);
    if let Some(driver) = driver {
        driver.wake();
    }
}

/// The size of the records in `commands`.
pub(super) fn queued<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Size {
    let mut size = Size::default();
    for command in commands {
        if let Command::Record { record, .. } = command {
            size.add_record(record.size());
        }
    }
    size
}

impl Queue {
    /// The queue of a producer with a handle.
    pub(super) fn new() -> Self {
        Self { has_handles: true, ..Self::default() }
    }

    /// Publishes the state of the sink. `admitted` are the records that were passed to it since.
    pub(super) fn publish(&mut self, snapshot: &Snapshot<'_>, admitted: Size) {
        self.pending -= admitted;
        if self.pending.records == 0 {
            self.pending_since = None;
        }
        let published = &mut self.published;
        published.totals = snapshot.totals;
        published.queued = snapshot.queued;
        published.in_flight = snapshot.in_flight;
        published.failed = snapshot.failed;
        published.oldest_accepted_at = snapshot.oldest_accepted_at;
        let is_same = |last: &Arc<RequestSummary>| {
            snapshot.last_request.is_some_and(|request| Arc::ptr_eq(last, request))
        };
        if !published.last_request.as_ref().is_some_and(is_same) {
            published.last_request = snapshot.last_request.cloned();
        }
    }

    /// Returns the most bytes that a caller wants, and forgets those callers that do not wait.
    pub(super) fn take_waiter_bytes(&mut self) -> Option<usize> {
        let waiting = (self.waiters > 0).then_some(self.waiter_bytes);
        self.rejected_bytes.take().max(waiting)
    }

    /// Adds failed records for the next caller that takes them, with the `size` of their permits.
    pub(super) fn collect(&mut self, failed: Vec<Undelivered>, size: Size) {
        // The driver has taken all failed records: from now on they count as collected.
        self.published.failed = Size::default();
        self.collected += size;
        self.undelivered.extend(failed);
    }

    /// Adds a caller that waits for a permit. Returns whether the driver has to be woken: it knows of those that wait
    /// for as many bytes.
    pub(super) fn add_waiter(&mut self, bytes: usize) -> bool {
        let is_first = self.waiters == 0;
        let is_larger = is_first || bytes > self.waiter_bytes;
        self.waiter_bytes = if is_first { bytes } else { bytes.max(self.waiter_bytes) };
        self.waiters += 1;
        is_larger
    }

    pub(super) fn remove_waiter(&mut self) {
        self.waiters -= 1;
    }
}
