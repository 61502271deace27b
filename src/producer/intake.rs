use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::future::{Either, join, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::queue::{Message, Phase, Queue, wake};
use super::status::{End, Status};
use crate::error::{NotAccepted, NotAcceptedReason, SinkError};
use crate::limits::{DEFAULT_RECORD_BYTES, Limits};
use crate::record::{Record, Undelivered};
use crate::stream::StreamId;

/// State shared by the clones of a producer and their driver.
///
/// Room is given out by two semaphores, which serve who waits longest; it comes back when the driver
/// sees records leave the sink. Accepted records are in the queue until the driver's next turn. A record
/// is accepted if it was queued while the queue was open: both are decided under one lock, under which no
/// code of the user's runs.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) stream: StreamId,
    limits: Limits,
    /// The limit for a record as it is now: the stream's description may change it.
    record_bytes: AtomicUsize,
    /// The sink sends nothing before the stream was described.
    on_hold: watch::Sender<bool>,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Held while a caller enters the queues of both semaphores, so that their order is the same.
    line: Mutex<()>,
    /// Bytes of the largest record so far; 0 before the first one.
    largest: AtomicUsize,
    /// Bytes that were accepted beyond the bound. Records that leave reduce them before they release permits.
    debt: AtomicUsize,
    /// The permits of each while nothing is held.
    max_records: usize,
    max_bytes: usize,
    status: watch::Sender<Status>,
    queue: Mutex<Queue>,
}

/// The driver's answer to a flush.
pub(super) type Answer = oneshot::Receiver<Result<(), SinkError>>;

/// Room for one record. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    record: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

/// A caller that waits for room, for as long as this lives.
struct Waiting<'a>(&'a Intake);

impl<'a> Waiting<'a> {
    fn begin(intake: &'a Intake, bytes: usize) -> Self {
        let mut queue = intake.queue();
        if queue.begin_waiting(bytes) {
            wake(queue);
        }
        Self(intake)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue().end_waiting();
    }
}

impl Intake {
    /// For a sink with these bounds, which is empty.
    pub(super) fn new(
        stream: StreamId,
        limits: Limits,
        max_records: usize,
        max_bytes: usize,
    ) -> Self {
        let max_records = max_records.min(Semaphore::MAX_PERMITS);
        let max_bytes = max_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            stream,
            limits,
            record_bytes: AtomicUsize::new(limits.record_bytes()),
            on_hold: watch::Sender::new(false),
            records: Arc::new(Semaphore::new(max_records)),
            bytes: Arc::new(Semaphore::new(max_bytes)),
            line: Mutex::new(()),
            largest: AtomicUsize::new(0),
            debt: AtomicUsize::new(0),
            max_records,
            max_bytes,
            status: watch::Sender::new(Status::Open),
            queue: Mutex::new(Queue::new()),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under the lock, and a panic would leave the queue consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Sets the status, and notifies waiting callers if it changes. An end is final, and keeps its first
    /// reason.
    pub(super) fn set_status(&self, status: Status) {
        let modify = |now: &mut Status| {
            let goes_on = now.stage() == 0 || now.stage() < status.stage();
            let news = goes_on && *now != status;
            if news {
                *now = status;
            }
            news
        };
        self.status.send_if_modified(modify);
    }

    /// What one record may hold. Before the stream was described that is no more than what every stream
    /// takes.
    pub(super) fn limits(&self) -> Limits {
        match self.is_on_hold() {
            true => self.limits.for_any_stream(),
            false => self.described_limits(),
        }
    }

    fn described_limits(&self) -> Limits {
        self.limits.with_record_bytes(self.record_bytes.load(Ordering::Relaxed))
    }

    /// Says how large a record may be, and whether that can change yet.
    pub(super) fn set_limits(&self, limits: Limits, on_hold: bool) {
        self.record_bytes.store(limits.record_bytes(), Ordering::Relaxed);
        let modify = |now: &mut bool| std::mem::replace(now, on_hold) != on_hold;
        self.on_hold.send_if_modified(modify);
    }

    pub(super) fn is_on_hold(&self) -> bool {
        *self.on_hold.borrow()
    }

    /// Waits until the limits are the stream's, or no record is accepted.
    async fn described(&self) {
        if !self.is_on_hold() {
            return;
        }
        let (mut on_hold, mut status) = (self.on_hold.subscribe(), self.watch());
        let described = pin!(on_hold.wait_for(|on_hold| !on_hold));
        let refused = pin!(status.wait_for(|status| status.refusal().is_some()));
        select(described, refused).await;
    }

    /// Checks a record. One that may be too large waits for what the stream's description says.
    pub(super) async fn check(&self, record: Record) -> Result<Record, NotAccepted> {
        match self.check_now(record) {
            Err(early) if *early.reason() == NotAcceptedReason::Full => {
                self.described().await;
                let record = early.into_record();
                match self.refusal() {
                    Some(reason) => Err(NotAccepted::new(record, reason)),
                    None => self.check_now(record),
                }
            }
            checked => checked,
        }
    }

    /// Checks a record. For one that may be too large there is no room before the stream was described.
    pub(super) fn check_now(&self, record: Record) -> Result<Record, NotAccepted> {
        let on_hold = self.is_on_hold();
        let limits = match on_hold {
            true => self.limits.for_most_lenient_stream(),
            false => self.described_limits(),
        };
        if let Err(error) = limits.check(&record) {
            return Err(NotAccepted::new(record, error));
        }
        if on_hold && record.size() > self.limits.for_any_stream().record_bytes() {
            let reason = self.refusal().unwrap_or(NotAcceptedReason::Full);
            return Err(NotAccepted::new(record, reason));
        }
        Ok(record)
    }

    /// Waits for room for a record that has not come yet.
    pub(super) async fn room_for_any(self: Arc<Self>) -> Result<Room, NotAcceptedReason> {
        self.described().await;
        let bytes = self.expected_bytes();
        self.room(bytes).await
    }

    /// Why no record is accepted at present, if none is.
    pub(super) fn refusal(&self) -> Option<NotAcceptedReason> {
        self.status.borrow().refusal()
    }

    /// Why a record that finds no room need not wait for it: the records that failed and are kept leave
    /// too little, whatever else goes.
    fn in_vain(&self, status: &Status, size: usize) -> Option<NotAcceptedReason> {
        let Status::Keeping { count, bytes, reason } = status else { return None };
        let fits =
            *count < self.max_records && bytes + self.permits(size) as usize <= self.max_bytes;
        (!fits).then(|| NotAcceptedReason::Undelivered { count: *count, reason: reason.clone() })
    }

    /// Why no record is accepted, where it is known that none is.
    fn why_not(&self) -> NotAcceptedReason {
        self.refusal().unwrap_or(NotAcceptedReason::Closed)
    }

    /// Returns the byte permits that a record of `size` bytes needs: half of all at most, so that a large record
    /// need not wait until all other records are settled.
    fn permits(&self, size: usize) -> u32 {
        u32::try_from(size.min(self.max_bytes.div_ceil(2))).unwrap_or(u32::MAX)
    }

    /// What to expect of a record that has not come yet: as much as the largest so far had.
    pub(super) fn expected_bytes(&self) -> usize {
        match self.largest.load(Ordering::Relaxed) {
            0 => self.record_bytes.load(Ordering::Relaxed).min(DEFAULT_RECORD_BYTES),
            largest => largest,
        }
    }

    fn line(&self) -> MutexGuard<'_, ()> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns room for a record of `size` bytes, if there is some and no caller waits for it.
    pub(super) fn try_room(&self, size: usize) -> Result<Room, NotAcceptedReason> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        let room = || {
            let _line = self.line();
            let record = self.records.clone().try_acquire_owned()?;
            let bytes = self.bytes.clone().try_acquire_many_owned(self.permits(size))?;
            Ok(Room { record, bytes })
        };
        room().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                self.in_vain(&self.status.borrow(), size).unwrap_or(NotAcceptedReason::Full)
            }
            TryAcquireError::Closed => self.why_not(),
        })
    }

    /// Like [`try_room`](Self::try_room), for a caller that does not wait. Notifies the driver if there is no room.
    pub(super) fn try_room_or_leave(&self, size: usize) -> Result<Room, NotAcceptedReason> {
        let room = self.try_room(size);
        if let Err(NotAcceptedReason::Full) = room {
            let mut queue = self.queue();
            if queue.turned_away.replace(self.permits(size) as usize).is_none() {
                wake(queue);
            }
        }
        room
    }

    /// Waits for room for a record of `size` bytes; first come, first served. Dropping the future
    /// gives up the place.
    pub(super) async fn room(self: Arc<Self>, size: usize) -> Result<Room, NotAcceptedReason> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        let record = self.records.clone().acquire_owned();
        let bytes = self.bytes.clone().acquire_many_owned(self.permits(size));
        // Both at once, and not held up by the task's budget: with a place before one of them only, two
        // callers could wait for each other.
        let mut acquire = pin!(unconstrained(async {
            let (record, bytes) = join(record, bytes).await;
            Some(Room { record: record.ok()?, bytes: bytes.ok()? })
        }));
        let first = poll_fn(|cx| {
            let _line = self.line();
            Poll::Ready(acquire.as_mut().poll(cx))
        });
        if let Poll::Ready(room) = first.await {
            return room.ok_or_else(|| self.why_not());
        }
        // Only now: the driver checks for waiting callers.
        let _waiting = Waiting::begin(&self, self.permits(size) as usize);
        let mut status = self.watch();
        let why_not = |status: &Status| status.refusal().or_else(|| self.in_vain(status, size));
        let refused = pin!(async {
            let refusing = status.wait_for(|status| why_not(status).is_some()).await;
            why_not(&*refusing.ok()?)
        });
        match select(acquire, refused).await {
            Either::Left((room, _)) => room.ok_or_else(|| self.why_not()),
            Either::Right((reason, _)) => Err(reason.unwrap_or_else(|| self.why_not())),
        }
    }

    /// Accepts a record into its room, which may have been made for one of another size.
    pub(super) fn push(&self, record: Record, mut room: Room) -> Result<(), NotAccepted> {
        let (size, accepted_at) = (record.size(), Instant::now());
        self.largest.fetch_max(size, Ordering::Relaxed);
        let surplus = room.bytes.num_permits().saturating_sub(size);
        drop(room.bytes.split(surplus));
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            drop(queue);
            return Err(NotAccepted::new(record, self.why_not()));
        }
        let charge = room.bytes.num_permits();
        let charge = charge + self.bytes.forget_permits(self.permits(size) as usize - charge);
        let record = record.accepted();
        queue.messages.push_back(Message::Record { record, charge, accepted_at });
        room.record.forget();
        room.bytes.forget();
        wake(queue);
        Ok(())
    }

    /// Sends something else than a record; false if the driver has ended.
    fn post(&self, message: Message) -> bool {
        let mut queue = self.queue();
        if queue.phase == Phase::Over {
            // Dropping the message may run code of the user's, so not under the lock.
            drop(queue);
            return false;
        }
        queue.messages.push_back(message);
        wake(queue);
        true
    }

    /// Asks the driver to answer when everything accepted so far is settled. At once if nothing is held.
    pub(super) fn flush(&self) -> Result<Option<Answer>, SinkError> {
        {
            let queue = self.queue();
            let idle = !queue.busy && queue.messages.is_empty() && queue.phase != Phase::Over;
            if idle && self.records.available_permits() == self.max_records {
                return Ok(None);
            }
        }
        let (sender, receiver) = oneshot::channel();
        if self.post(Message::Flush(sender)) {
            return Ok(Some(receiver));
        }
        self.flushed_at_the_end().map(|()| None)
    }

    /// Returns the result of a flush that the driver has ended without answering.
    pub(super) fn flushed_at_the_end(&self) -> Result<(), SinkError> {
        let queue = self.queue();
        queue.end.as_ref().unwrap_or(&End::Abandoned).flushed(&self.stream)?;
        match &queue.last_reason {
            Some(reason) => {
                Err(SinkError::Undelivered { count: queue.left, reason: reason.clone() })
            }
            None => Ok(()),
        }
    }

    /// Asks the driver to lay out the failed records. `None` if it has ended, with all of them laid out.
    pub(super) fn lay_out_failed(&self) -> Option<oneshot::Receiver<()>> {
        let (sender, receiver) = oneshot::channel();
        self.post(Message::LayOutFailed(sender)).then_some(receiver)
    }

    /// Takes the failed records that the driver has laid out, and releases their room.
    pub(super) fn take_laid_out(&self) -> Vec<Undelivered> {
        let (taken, room) = {
            let mut queue = self.queue();
            let taken = std::mem::take(&mut queue.undelivered);
            let room = std::mem::take(&mut queue.laid_out);
            if room.records > 0 {
                // The driver's last status may still count these records.
                wake(queue);
            }
            (taken, room)
        };
        let fewer = |status: &mut Status| status.keep_fewer(room.records, room.bytes);
        self.status.send_if_modified(fewer);
        self.release(room.records, room.bytes);
        taken
    }

    /// Takes room for records that are already held. Bytes beyond the bound become a debt.
    pub(super) fn take_room(&self, records: usize, bytes: usize) {
        self.records.forget_permits(records);
        self.owe(bytes - self.bytes.forget_permits(bytes));
    }

    /// Adds bytes that exceed the bound to the debt.
    pub(super) fn owe(&self, bytes: usize) {
        self.debt.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Releases room, after it has paid the debt.
    pub(super) fn release(&self, records: usize, bytes: usize) {
        let pay = |debt: usize| Some(debt.saturating_sub(bytes));
        let paid = self.debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        let paid = paid.map_or(0, |debt| debt.min(bytes));
        self.records.add_permits(records);
        self.bytes.add_permits(bytes - paid);
    }

    /// Takes no more records. The driver settles those that there are.
    pub(super) fn close(&self, end: End) {
        // First the reason: a caller that finds the queue closed reads it.
        self.set_status(Status::Ending(end));
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            return;
        }
        queue.phase = Phase::Draining;
        wake(queue);
        self.records.close();
        self.bytes.close();
    }

    /// Has everything handed back that is not settled.
    pub(super) fn give_up(&self) {
        let mut queue = self.queue();
        queue.give_up = true;
        wake(queue);
    }

    /// One more clone.
    pub(super) fn join(&self) {
        self.queue().producers += 1;
    }

    /// One clone less; the last one closes.
    pub(super) fn leave(&self) {
        let last = {
            let mut queue = self.queue();
            queue.producers -= 1;
            queue.producers == 0
        };
        if last {
            self.close(End::Closed);
        }
    }
}
