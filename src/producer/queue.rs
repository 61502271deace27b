use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::StopReason;
use crate::error::Error;
use crate::pipeline::{Admission, Size};
use crate::record::{FailureReason, Record, Undelivered};
use crate::sink::Snapshot;
use crate::status::{RequestSummary, Totals};

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) phase: Phase,
    pub(super) commands: VecDeque<Command>,
    /// Waker of the driver, while the driver is idle.
    pub(super) driver: Option<Waker>,
    /// Size of the records that the driver has not passed to the sink yet.
    pub(super) pending: Size,
    /// Lower bound for the acceptance time of the oldest pending record.
    pub(super) pending_since: Option<std::time::Instant>,
    pub(super) has_handles: bool,
    waiters: usize,
    waiter_bytes: usize,
    /// Bytes of the last record that was rejected because the buffer was full, since the driver was last polled.
    pub(super) rejected_bytes: Option<usize>,
    /// `true` while the driver is being polled. It may then have settled records without publishing its state.
    pub(super) busy: bool,
    pub(super) abort_requested: bool,
    pub(super) published: Published,
    /// Undelivered records that a caller can take.
    pub(super) undelivered: Vec<Undelivered>,
    /// Size of the failed records in `undelivered`. These records keep their permits until a caller takes them.
    pub(super) collected: Size,
    /// Number of calls that have taken at least one record from `undelivered`.
    pub(super) takes: u64,
    /// `None` until the driver ends.
    pub(super) ended: Option<Box<Ended>>,
}

/// State of a queue whose driver has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reason: StopReason,
    /// Number of undelivered records, including those that are not in [`Queue::undelivered`].
    pub(super) left: usize,
    /// Failure reason of the last record in [`Queue::undelivered`].
    pub(super) last_failure: Option<FailureReason>,
}

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
    /// No more records are accepted, and the driver settles the accepted records.
    Draining,
    Terminated,
}

#[derive(Debug)]
pub(super) enum Command {
    Record {
        record: Record,
        admission: Admission,
        accepted_at: Instant,
    },
    /// Requests a reply once all records that were queued earlier are settled.
    Flush(oneshot::Sender<Result<(), Error>>),
    /// Requests a reply once the failed records have been moved to [`Queue::undelivered`].
    TakeFailed(oneshot::Sender<()>),
}

pub(super) fn wake(mut queue: MutexGuard<'_, Queue>) {
    let driver = queue.driver.take();
    drop(queue);
    if let Some(driver) = driver {
        driver.wake();
    }
}

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
    pub(super) fn new() -> Self {
        Self { has_handles: true, ..Self::default() }
    }

    /// Publishes the state of the sink. `admitted` is the size of the records passed to the sink since the last call.
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

    /// Returns the largest number of bytes that a waiting or rejected caller needs, and resets `rejected_bytes`.
    pub(super) fn take_waiter_bytes(&mut self) -> Option<usize> {
        let waiting = (self.waiters > 0).then_some(self.waiter_bytes);
        self.rejected_bytes.take().max(waiting)
    }

    /// Adds failed records for a caller to take. `size` is the size of their permits.
    pub(super) fn collect(&mut self, failed: Vec<Undelivered>, size: Size) {
        // From now on, `collected` counts these records.
        self.published.failed = Size::default();
        self.collected += size;
        self.undelivered.extend(failed);
    }

    /// Adds a caller that waits for `bytes` bytes. Returns `true` if the driver must be woken.
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
