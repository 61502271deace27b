use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::future::{Either, join, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::queue::{Command, Phase, Published, Queue, queued, wake};
use super::reservation::Reservation;
use super::state::{State, StopReason};
use crate::error::{Error, ErrorKind, Rejection};
use crate::limits::{DEFAULT_RECORD_BYTES, Limits};
use crate::pipeline::Size;
use crate::record::{Record, Undelivered};
use crate::service::StreamCheck;
use crate::sink::{BufferChange, Core, Snapshot};
use crate::status::{ConditionSender, Status};
use crate::stream::StreamId;

/// State shared by the handles of a producer and their driver.
///
/// A record needs a [`Permit`] of two semaphores, which serve the first waiter first. It keeps the permits as long as
/// it counts towards the bounds: in the queue, in the sink by the sink's own ledger, and then until a caller takes the
/// failed records that the driver has collected.
///
/// A record is accepted if it was queued while the queue was open. Both are decided under one lock, under which no user
/// code runs.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) stream: StreamId,
    limits: Limits,
    /// The size limit of a record at present: the stream's description may change it.
    record_bytes: AtomicUsize,
    /// Whether the sink sends nothing because the stream was not described yet.
    on_hold: watch::Sender<bool>,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Held while a caller enters the queues of both semaphores, so that their order is the same.
    acquire_lock: Mutex<()>,
    /// The size of the largest record so far. 0 before the first one.
    largest_record: AtomicUsize,
    /// The bytes that are held without permits: a semaphore cannot go below zero, but the buffer can exceed its bound,
    /// by a record of more than half of it or larger than its permit, or by what the sink held before it had a driver.
    deficit: AtomicUsize,
    /// The permits of each semaphore while nothing is held.
    max_records: usize,
    max_bytes: usize,
    state: watch::Sender<State>,
    condition: ConditionSender,
    check: StreamCheck,
    queue: Mutex<Queue>,
}

/// The driver's reply to a flush.
pub(super) type FlushReply = oneshot::Receiver<Result<(), Error>>;

/// Permission to send one record. Dropping it returns the permits.
#[derive(Debug)]
pub(super) struct Permit {
    record: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

/// Counts a caller that waits for a permit, until it is dropped.
struct WaiterGuard<'a>(&'a Channel);

impl<'a> WaiterGuard<'a> {
    fn new(channel: &'a Channel, bytes: usize) -> Self {
        let mut queue = channel.queue();
        if queue.add_waiter(bytes) {
            wake(queue);
        }
        Self(channel)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.queue().remove_waiter();
    }
}

impl Channel {
    /// Creates the channel of an empty sink.
    pub(super) fn new(sink: &Core, limits: Limits) -> Self {
        let bounds = sink.bounds();
        let max_records = bounds.records.min(Semaphore::MAX_PERMITS);
        let max_bytes = bounds.bytes.min(Semaphore::MAX_PERMITS);
        Self {
            stream: sink.stream().clone(),
            limits,
            record_bytes: AtomicUsize::new(limits.record_bytes()),
            on_hold: watch::Sender::new(false),
            records: Arc::new(Semaphore::new(max_records)),
            bytes: Arc::new(Semaphore::new(max_bytes)),
            acquire_lock: Mutex::new(()),
            largest_record: AtomicUsize::new(0),
            deficit: AtomicUsize::new(0),
            max_records,
            max_bytes,
            state: watch::Sender::new(State::Open),
            condition: sink.condition().clone(),
            check: sink.check.clone(),
            queue: Mutex::new(Queue::new()),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under the lock, and a panic would leave the queue consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sets the state, and notifies waiting callers if it changes. A stop is final, and keeps its first reason.
    pub(super) fn set_state(&self, state: State) {
        let modify = |current: &mut State| {
            let is_later = current.stage() == 0 || current.stage() < state.stage();
            let changes = is_later && *current != state;
            if changes {
                *current = state;
            }
            changes
        };
        self.state.send_if_modified(modify);
    }

    /// The limits of one record. Before the stream was described these are the limits that every stream has.
    pub(super) fn limits(&self) -> Limits {
        if self.is_on_hold() { self.limits.for_any_stream() } else { self.described_limits() }
    }

    fn described_limits(&self) -> Limits {
        self.limits.with_record_bytes(self.record_bytes.load(Ordering::Relaxed))
    }

    /// Sets the size limit of a record, and whether a description can still change it.
    pub(super) fn set_limits(&self, limits: Limits, on_hold: bool) {
        self.record_bytes.store(limits.record_bytes(), Ordering::Relaxed);
        let modify = |current: &mut bool| std::mem::replace(current, on_hold) != on_hold;
        self.on_hold.send_if_modified(modify);
    }

    /// The records that the buffer holds at most.
    pub(super) fn max_records(&self) -> usize {
        self.max_records
    }

    pub(super) fn is_on_hold(&self) -> bool {
        *self.on_hold.borrow()
    }

    /// Waits until the stream was described, or no record is accepted.
    async fn described(&self) {
        if !self.is_on_hold() {
            return;
        }
        let (mut on_hold, mut state) = (self.on_hold.subscribe(), self.watch());
        let described = pin!(on_hold.wait_for(|on_hold| !on_hold));
        let refused = pin!(state.wait_for(|state| state.refusal().is_some()));
        select(described, refused).await;
    }

    /// Checks a record. One that may be too large waits for the stream's description.
    pub(super) async fn check(&self, record: Record) -> Result<Record, Error> {
        match self.check_now(record) {
            Err(early) if early.kind() == ErrorKind::Full => {
                self.described().await;
                let Some(record) = early.into_record() else { unreachable!("it was checked") };
                match self.refusal() {
                    Some(rejection) => Err(self.rejected(record, rejection)),
                    None => self.check_now(record),
                }
            }
            checked => checked,
        }
    }

    /// Checks a record. One that may be too large is rejected as [`Full`](Rejection::Full) until the stream was
    /// described.
    pub(super) fn check_now(&self, record: Record) -> Result<Record, Error> {
        let on_hold = self.is_on_hold();
        let limits =
            if on_hold { self.limits.for_most_lenient_stream() } else { self.described_limits() };
        if let Err(error) = limits.check(&record) {
            return Err(self.rejected(record, error));
        }
        if on_hold && record.size() > self.limits.for_any_stream().record_bytes() {
            let reason = self.refusal().unwrap_or(Rejection::Full);
            return Err(self.rejected(record, reason));
        }
        Ok(record)
    }

    /// The error of a record that is not accepted.
    pub(super) fn rejected(&self, record: Record, rejection: impl Into<Rejection>) -> Error {
        Error::rejected(record, rejection).with_stream(self.stream.clone())
    }

    /// Waits until the service no longer refuses every request.
    pub(super) async fn recovered(self: Arc<Self>) {
        // The sender is in `self`, so there is a state.
        let _ = self.watch().wait_for(|state| !state.is_refused()).await;
    }

    /// Waits for the permit of a record whose size is not known yet.
    pub(super) async fn reserve_any(self: Arc<Self>) -> Result<Permit, Rejection> {
        self.described().await;
        let bytes = self.expected_bytes();
        self.reserve(bytes).await
    }

    /// Why no record is accepted at present, if none is.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        self.state.borrow().refusal()
    }

    /// Why waiting cannot help a record: the failed records that are kept leave too little room for it.
    fn cannot_fit(&self, state: &State, size: usize) -> Option<Rejection> {
        let State::Keeping { failed, reason } = state else { return None };
        let fits = failed.records < self.max_records
            && failed.bytes + self.byte_permits(size) as usize <= self.max_bytes;
        let count = failed.records;
        (!fits).then(|| Rejection::Undelivered { count, reason: reason.clone() })
    }

    /// Why the channel accepts no record, once it is closed.
    fn rejection(&self) -> Rejection {
        self.refusal().unwrap_or(Rejection::Closed)
    }

    /// The byte permits that a record of `size` bytes needs: half of all at most, so that a large record need not wait
    /// until all other records are settled.
    fn byte_permits(&self, size: usize) -> u32 {
        u32::try_from(size.min(self.max_bytes.div_ceil(2))).unwrap_or(u32::MAX)
    }

    /// The expected size of the next record: that of the largest so far.
    pub(super) fn expected_bytes(&self) -> usize {
        match self.largest_record.load(Ordering::Relaxed) {
            0 => self.record_bytes.load(Ordering::Relaxed).min(DEFAULT_RECORD_BYTES),
            largest => largest,
        }
    }

    fn lock_acquire(&self) -> MutexGuard<'_, ()> {
        self.acquire_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the permit of a record of `size` bytes, if there is room and no caller waits for it.
    pub(super) fn try_reserve(&self, size: usize) -> Result<Permit, Rejection> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        let permit = || {
            let _lock = self.lock_acquire();
            let record = self.records.clone().try_acquire_owned()?;
            let bytes = self.bytes.clone().try_acquire_many_owned(self.byte_permits(size))?;
            Ok(Permit { record, bytes })
        };
        permit().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                self.cannot_fit(&self.state.borrow(), size).unwrap_or(Rejection::Full)
            }
            TryAcquireError::Closed => self.rejection(),
        })
    }

    /// Like [`try_reserve`](Self::try_reserve), for a caller that does not wait. Notifies the driver if there is no
    /// room.
    pub(super) fn try_reserve_or_notify(&self, size: usize) -> Result<Permit, Rejection> {
        let permit = self.try_reserve(size);
        if let Err(Rejection::Full) = permit {
            let mut queue = self.queue();
            if queue.rejected_bytes.replace(self.byte_permits(size) as usize).is_none() {
                wake(queue);
            }
        }
        permit
    }

    /// Waits for the permit of a record of `size` bytes; first come, first served. Dropping the future gives up the
    /// place.
    pub(super) async fn reserve(self: Arc<Self>, size: usize) -> Result<Permit, Rejection> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        let record = self.records.clone().acquire_owned();
        let bytes = self.bytes.clone().acquire_many_owned(self.byte_permits(size));
        // Both in one poll, whatever the task's budget is: with a place in one queue only, two callers could wait for
        // each other.
        let mut acquire = pin!(unconstrained(async {
            let (record, bytes) = join(record, bytes).await;
            Some(Permit { record: record.ok()?, bytes: bytes.ok()? })
        }));
        let first = poll_fn(|cx| {
            let _lock = self.lock_acquire();
            Poll::Ready(acquire.as_mut().poll(cx))
        });
        if let Poll::Ready(permit) = first.await {
            return permit.ok_or_else(|| self.rejection());
        }
        // Only now: the driver checks for waiting callers.
        let _waiter = WaiterGuard::new(&self, self.byte_permits(size) as usize);
        let mut state = self.watch();
        let rejection = |state: &State| state.refusal().or_else(|| self.cannot_fit(state, size));
        let rejected = pin!(async {
            let rejecting = state.wait_for(|state| rejection(state).is_some()).await;
            rejection(&*rejecting.ok()?)
        });
        match select(acquire, rejected).await {
            Either::Left((permit, _)) => permit.ok_or_else(|| self.rejection()),
            Either::Right((reason, _)) => Err(reason.unwrap_or_else(|| self.rejection())),
        }
    }

    /// Accepts a record with its permit, which may have been reserved for another size.
    pub(super) fn push(&self, record: Record, mut permit: Permit) -> Result<(), Error> {
        let (size, accepted_at) = (record.size(), Instant::now());
        self.largest_record.fetch_max(size, Ordering::Relaxed);
        let surplus = permit.bytes.num_permits().saturating_sub(size);
        drop(permit.bytes.split(surplus));
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            drop(queue);
            return Err(self.rejected(record, self.rejection()));
        }
        let bytes = permit.bytes.num_permits();
        permit.record.forget();
        permit.bytes.forget();
        self.take_bytes(self.byte_permits(size) as usize - bytes, size - bytes);
        let record = record.accepted(&self.stream);
        queue.commands.push_back(Command::Record { record, accepted_at });
        queue.pending.add_record(size);
        queue.pending_since.get_or_insert(accepted_at.into_std());
        wake(queue);
        Ok(())
    }

    /// Checks and accepts a record of a handle that has asked for room before, or takes what room there is.
    pub(super) fn accept_reserved(
        &self,
        record: Record,
        reservation: &mut Reservation,
    ) -> Result<(), Error> {
        let record = self.check_now(record)?;
        let permit = match reservation.take() {
            Some(permit) => permit,
            None => match self.try_reserve_or_notify(record.size()) {
                Ok(permit) => permit,
                Err(rejection) => return Err(self.rejected(record, rejection)),
            },
        };
        self.push(record, permit)
    }

    /// Sends a command that is not a record. Returns false if the driver has ended.
    fn post(&self, command: Command) -> bool {
        let mut queue = self.queue();
        if queue.phase == Phase::Terminated {
            // Dropping the command may run code of the user's, so not under the lock.
            drop(queue);
            return false;
        }
        queue.commands.push_back(command);
        wake(queue);
        true
    }

    /// Asks the driver to reply when everything accepted so far is settled. `None` if nothing is held.
    pub(super) fn flush(&self) -> Result<Option<FlushReply>, Error> {
        {
            let queue = self.queue();
            let is_idle =
                !queue.busy && queue.commands.is_empty() && queue.phase != Phase::Terminated;
            if is_idle && self.records.available_permits() == self.max_records {
                return Ok(None);
            }
        }
        let (sender, receiver) = oneshot::channel();
        if self.post(Command::Flush(sender)) {
            return Ok(Some(receiver));
        }
        self.final_flush_result().map(|()| None)
    }

    /// The result of a flush to which the driver has not replied before it ended.
    pub(super) fn final_flush_result(&self) -> Result<(), Error> {
        let queue = self.queue();
        queue.stop_reason.as_ref().unwrap_or(&StopReason::Abandoned).flush_result(&self.stream)?;
        match &queue.last_reason {
            Some(reason) => {
                Err(Error::failed(queue.left, reason.clone()).with_stream(self.stream.clone()))
            }
            None => Ok(()),
        }
    }

    /// Has the driver collect the failed records. Once it has ended, they are all collected.
    pub(super) async fn collect_failed(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.post(Command::TakeFailed(sender)) {
            // Without a reply the driver has ended meanwhile.
            let _ = receiver.await;
        }
    }

    /// Takes the failed records that the driver has collected, and returns their permits.
    pub(super) fn take_collected(&self) -> Vec<Undelivered> {
        let (taken, size, _reserved) = {
            let mut queue = self.queue();
            let taken = std::mem::take(&mut queue.undelivered);
            let size = std::mem::take(&mut queue.collected);
            queue.takes += u64::from(!taken.is_empty());
            // As long as the permits are not returned they count as reserved.
            let reserved = self.records.clone();
            if size.records > 0 {
                // The driver's last state may still count these records.
                wake(queue);
            }
            (taken, size, reserved)
        };
        let fewer = |state: &mut State| state.remove_failed(size);
        self.state.send_if_modified(fewer);
        self.release(size.records, size.bytes);
        taken
    }

    /// How often failed records have been taken.
    pub(super) fn takes(&self) -> u64 {
        self.queue().takes
    }

    /// Takes the permits of records that the sink held before it had a driver.
    pub(super) fn occupy(&self, held: Size) {
        self.records.forget_permits(held.records);
        self.take_bytes(held.bytes, held.bytes);
    }

    /// Returns the permits of what has left the sink, less what has returned to it.
    pub(super) fn apply(&self, change: BufferChange) {
        let BufferChange { released, returned } = change;
        // A dead-letter handler may return a larger record than it was given.
        let growth = returned.bytes.saturating_sub(released.bytes);
        self.take_bytes(growth, growth);
        self.release(
            released.records - returned.records,
            released.bytes.saturating_sub(returned.bytes),
        );
    }

    /// Takes up to `permits` for `bytes` that are already held, and adds the rest to the deficit.
    fn take_bytes(&self, permits: usize, bytes: usize) {
        let taken = self.bytes.forget_permits(permits);
        self.deficit.fetch_add(bytes - taken, Ordering::Relaxed);
    }

    /// Returns permits, after the bytes have paid the deficit.
    fn release(&self, records: usize, bytes: usize) {
        let pay = |deficit: usize| Some(deficit.saturating_sub(bytes));
        let paid = self.deficit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        let paid = paid.map_or(0, |deficit| deficit.min(bytes));
        self.records.add_permits(records);
        self.bytes.add_permits(bytes - paid);
    }

    /// Asserts that the permits and the ledger of the sink agree, at a moment when both are exact. `held` is what the
    /// sink and the driver hold. Used in the driver's turn, since only the driver changes that.
    pub(super) fn debug_assert_permits(&self, mut held: Size) {
        if !cfg!(debug_assertions) {
            return;
        }
        let queue = self.queue();
        held += queued(&queue.commands);
        held += queue.collected;
        // Under the lock nothing is accepted, and reservations can only add to what is occupied.
        if let Some(occupied) = self.occupied() {
            assert_eq!(occupied, held, "permits and ledger differ");
        }
    }

    /// The size of the records that have permits, including the deficit. `None` while a caller reserves permits, or waits
    /// for them.
    pub(super) fn occupied(&self) -> Option<Size> {
        // No new reservation. Earlier ones, and callers that wait, hold a clone of each semaphore until they have
        // returned what they have of it.
        let _lock = self.acquire_lock.try_lock().ok()?;
        if Arc::strong_count(&self.records) > 1 || Arc::strong_count(&self.bytes) > 1 {
            return None;
        }
        fence(Ordering::Acquire);
        let deficit = self.deficit.load(Ordering::Relaxed);
        Some(Size {
            records: self.max_records - self.records.available_permits(),
            bytes: self.max_bytes - self.bytes.available_permits() + deficit,
        })
    }

    /// Accepts no more records. The driver settles those that it has.
    pub(super) fn close(&self, reason: StopReason) {
        // First the reason: a caller that finds the queue closed reads it.
        self.condition.set(reason.condition(false));
        self.set_state(State::Draining(reason));
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            return;
        }
        queue.phase = Phase::Draining;
        wake(queue);
        self.records.close();
        self.bytes.close();
    }

    /// Has the driver hand back everything that is not settled.
    pub(super) fn abort(&self) {
        let mut queue = self.queue();
        queue.abort_requested = true;
        wake(queue);
    }

    /// Closes the channel when its last handle is dropped.
    pub(super) fn drop_handles(&self) {
        self.queue().has_handles = false;
        self.close(StopReason::Closed);
    }

    /// The driver has ended.
    pub(super) fn terminate(&self, reason: StopReason) {
        self.condition.set(reason.condition(true));
        self.set_state(State::Terminated(reason));
    }

    /// Publishes the state of the sink. `admitted` are the records that were passed to it since.
    pub(super) fn publish(&self, snapshot: &Snapshot<'_>, admitted: Size) {
        self.queue().publish(snapshot, admitted);
    }

    /// Checks that the stream can be reached and accepts records.
    pub(super) async fn check_stream(&self) -> Result<(), Error> {
        self.check.run().await.map_err(Error::from)
    }

    pub(super) fn condition(&self) -> &ConditionSender {
        &self.condition
    }

    /// The status, as of the latest turn of the driver, with the records that were accepted since.
    pub(super) fn status(&self) -> Status {
        let now = Instant::now().into_std();
        let queue = self.queue();
        let Published { totals, queued, in_flight, failed, oldest_accepted_at, .. } =
            queue.published;
        let mut status = Status {
            stream: self.stream.clone(),
            condition: self.condition.current(),
            queued: queued.into(),
            in_flight: in_flight.into(),
            failed: failed.into(),
            oldest_age: oldest_accepted_at
                .or(queue.pending_since)
                .map(|accepted_at| now.saturating_duration_since(accepted_at)),
            totals,
            last_request: queue.published.last_request.as_ref().map(|summary| (**summary).clone()),
            capacity: Size { records: self.max_records, bytes: self.max_bytes }.into(),
        };
        status.queued.records += queue.pending.records;
        status.queued.bytes += queue.pending.bytes;
        status.totals.accepted += queue.pending.records as u64;
        status.failed.records += queue.collected.records;
        status.failed.bytes += queue.collected.bytes;
        if queue.phase == Phase::Terminated {
            // What was left then, until a caller takes it.
            status.failed = Size::of(&queue.undelivered).into();
        }
        status
    }
}
