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
    /// Set to `true` while new records are diverted to a spool, so that they do not overtake earlier ones.
    pub(super) diverts: bool,
    pub(super) published: Published,
    /// Undelivered records that a caller can take.
    pub(super) undelivered: Vec<Undelivered>,
    /// Size of the failed records in `undelivered`. These records keep their permits until a caller takes them.
    pub(super) collected: Size,
    /// Number of calls that have taken at least one record from `undelivered`.
    pub(super) takes: u64,
    pub(super) rest: Rest,
    /// `None` until the driver ends.
    pub(super) ended: Option<Box<Ended>>,
}

/// Progress of an idle producer towards the release of its unused memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Rest {
    /// The producer was used since it was last examined.
    #[default]
    Active,
    /// The producer was idle when it was last examined.
    Idle,
    /// The driver must release unused memory.
    Requested,
    /// The driver has released unused memory. Lasts until the next command, so that an idle driver is not woken again.
    Resting,
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

    /// Asks the driver to release unused memory if the producer was idle since the previous call. Returns the waker of the
    /// driver, which the caller must wake.
    pub(super) fn request_rest(&mut self, is_idle: bool) -> Option<Waker> {
        match self.rest {
            _ if !is_idle => self.rest = Rest::Active,
            Rest::Active => self.rest = Rest::Idle,
            Rest::Idle => {
                self.rest = Rest::Requested;
                return self.driver.take();
            }
            Rest::Requested | Rest::Resting => {}
        }
        None
    }

    /// Returns `true` if the driver must release unused memory now. A command that arrived after the request cancels it.
    pub(super) fn begin_rest(&mut self) -> bool {
        if !self.commands.is_empty() {
            self.rest = Rest::Active;
        }
        let is_requested = self.rest == Rest::Requested;
        if is_requested {
            self.rest = Rest::Resting;
        }
        is_requested
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

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Queue {
        Queue { driver: Some(Waker::noop().clone()), ..Queue::new() }
    }

    #[test]
    fn idle_producer_rests_once() {
        let mut queue = idle();
        assert!(queue.request_rest(true).is_none(), "it can have been used just before");
        assert!(!queue.begin_rest());
        assert!(queue.request_rest(true).is_some());
        assert!(queue.begin_rest());
        queue.driver = Some(Waker::noop().clone());
        for _ in 0..3 {
            assert!(queue.request_rest(true).is_none());
            assert!(!queue.begin_rest());
        }
    }

    #[test]
    fn used_producer_does_not_rest() {
        let mut queue = idle();
        for _ in 0..3 {
            assert!(queue.request_rest(true).is_none());
            queue.commands.push_back(Command::Flush(oneshot::channel().0));
            assert!(!queue.begin_rest());
            queue.commands.clear();
        }
        for is_idle in [true, false, true] {
            assert!(queue.request_rest(is_idle).is_none());
        }
    }

    #[test]
    fn command_cancels_rest() {
        let mut queue = idle();
        assert!(queue.request_rest(true).is_none());
        assert!(queue.request_rest(true).is_some());
        queue.commands.push_back(Command::Flush(oneshot::channel().0));
        assert!(!queue.begin_rest());
        queue.commands.clear();
        assert!(!queue.begin_rest());
    }
}
