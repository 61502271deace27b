use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use futures::future::{Either, select};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::capacity::{Capacity, Permit};
use super::queue::{Command, Phase, Published, Queue, queued, wake};
use super::reservation::Reservation;
use super::spooling::Spooling;
use super::state::{State, StopReason};
use crate::budget::{AcquireError, Woken};
use crate::error::{Error, ErrorKind, Rejection};
use crate::limits::{DEFAULT_RECORD_BYTES, Limits};
use crate::pipeline::{Admission, BufferChange, ShareId, Size, UNROUTED};
use crate::record::{Record, Undelivered};
use crate::service::StreamCheck;
use crate::settings::Settings;
use crate::sink::{Core, Snapshot};
use crate::status::{ConditionSender, Status};
use crate::stream::StreamId;
use crate::watch::LazyWatch;

/// State shared by the handles of a producer and their driver.
///
/// User code must not run while the queue is locked, because it could use the same producer and deadlock.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) stream: StreamId,
    settings: Arc<Settings>,
    /// Record size limit in effect, which the stream description can change.
    record_bytes: AtomicUsize,
    /// `true` while the sink waits for the stream description or the shard list.
    on_hold: LazyWatch<bool>,
    pub(super) capacity: Capacity,
    /// `None` if the sink has no spool.
    pub(super) spooling: Option<Box<Spooling>>,
    /// Notified when the buffer becomes empty.
    pub(super) on_idle: OnceLock<Arc<Notify>>,
    state: LazyWatch<State>,
    condition: ConditionSender,
    check: Arc<StreamCheck>,
    queue: Mutex<Queue>,
}

pub(super) type FlushReply = oneshot::Receiver<Result<(), Error>>;

/// Counts a caller as waiting, which makes the driver send partial requests.
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
    pub(super) fn new(sink: &Core) -> Self {
        let settings = sink.settings().clone();
        let capacity = Capacity::new(sink.bounds(), sink.budget().cloned(), sink.seed());
        Self {
            stream: sink.stream().clone(),
            record_bytes: AtomicUsize::new(settings.limits.record_bytes()),
            settings,
            on_hold: LazyWatch::new(|| false),
            capacity,
            spooling: Spooling::new(sink),
            on_idle: OnceLock::new(),
            state: LazyWatch::new(|| State::Open),
            condition: sink.condition().clone(),
            check: sink.check.clone(),
            queue: Mutex::new(Queue::new()),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // A poisoned lock is ignored, because the queue is consistent even after a panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sets the state. Once the producer has stopped, the state can change only to a later stage.
    pub(super) fn set_state(&self, state: State) {
        let modify = |current: &mut State| {
            let is_later = current.stage() == 0 || current.stage() < state.stage();
            let changes = is_later && *current != state;
            if changes {
                *current = state.clone();
            }
            changes
        };
        self.state.send_if_modified(modify);
    }

    pub(super) fn limits(&self) -> Limits {
        if self.is_on_hold() {
            self.settings.limits.with_default_record_limit()
        } else {
            self.described_limits()
        }
    }

    fn described_limits(&self) -> Limits {
        self.settings.limits.with_record_bytes(self.record_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn set_limits(&self, limits: Limits, on_hold: bool) {
        self.record_bytes.store(limits.record_bytes(), Ordering::Relaxed);
        let modify = |current: &mut bool| std::mem::replace(current, on_hold) != on_hold;
        self.on_hold.send_if_modified(modify);
    }

    pub(super) fn max_records(&self) -> usize {
        self.capacity.bounds().records
    }

    pub(super) fn is_on_hold(&self) -> bool {
        self.on_hold.read(|on_hold| *on_hold)
    }

    async fn described(&self) {
        if !self.is_on_hold() {
            return;
        }
        let (mut on_hold, mut state) = (self.on_hold.subscribe(), self.watch());
        let described = pin!(on_hold.wait_for(|on_hold| !on_hold));
        let refused = pin!(state.wait_for(|state| state.refusal().is_some()));
        select(described, refused).await;
    }

    /// Checks a record against the limits. If the record might be too large, waits for the stream description.
    pub(super) async fn check(&self, record: Record) -> Result<Record, Error> {
        match self.check_now(record) {
            Err(error) if error.kind() == ErrorKind::Full => {
                self.described().await;
                let Some(record) = error.into_record() else {
                    unreachable!("`Full` errors contain the record")
                };
                match self.refusal() {
                    Some(rejection) => Err(self.rejected(record, rejection)),
                    None => self.check_now(record),
                }
            }
            checked => checked,
        }
    }

    /// Checks a record. Returns [`Full`](Rejection::Full) if it might fit once the stream description is known.
    pub(super) fn check_now(&self, record: Record) -> Result<Record, Error> {
        let on_hold = self.is_on_hold();
        let limits = if on_hold {
            self.settings.limits.with_max_record_limit()
        } else {
            self.described_limits()
        };
        if let Err(error) = limits.check(&record) {
            return Err(self.rejected(record, error));
        }
        if let Some(Err(error)) = self.spooling.as_ref().map(|spooling| spooling.check(&record)) {
            return Err(self.rejected(record, error));
        }
        if on_hold
            && record.size() > self.settings.limits.with_default_record_limit().record_bytes()
        {
            let reason = self.refusal().unwrap_or(Rejection::Full);
            return Err(self.rejected(record, reason));
        }
        Ok(record)
    }

    pub(super) fn rejected(&self, record: Record, rejection: impl Into<Rejection>) -> Error {
        Error::rejected(record, rejection).with_stream(self.stream.clone())
    }

    pub(super) async fn recovered(self: Arc<Self>) {
        // `wait_for` cannot fail, because `self` owns the sender.
        let _ = self.watch().wait_for(|state| !state.is_refused()).await;
    }

    pub(super) async fn reserve_any(self: Arc<Self>, share: ShareId) -> Result<Permit, Rejection> {
        self.described().await;
        let bytes = self.expected_bytes();
        self.wait(share, bytes).await
    }

    pub(super) fn refusal(&self) -> Option<Rejection> {
        let rejection = self.state.read(State::refusal);
        // A spool accepts records until the service accepts requests again.
        rejection.filter(|rejection| {
            self.spooling.is_none() || !matches!(rejection, Rejection::Refused(_))
        })
    }

    /// Returns the spool if new records are written to it.
    fn diverting(&self) -> Option<&Spooling> {
        self.spooling.as_deref().filter(|spooling| spooling.diverts())
    }

    /// Returns a rejection if a record of `size` bytes cannot be accepted until failed records are taken.
    fn cannot_fit(&self, state: &State, share: ShareId, size: usize) -> Option<Rejection> {
        let State::Keeping { failed, reason } = state else { return None };
        let is_blocked = self.capacity.is_blocked_by(*failed, share, size);
        let count = failed.records;
        is_blocked.then(|| Rejection::Undelivered { count, reason: reason.clone() })
    }

    pub(super) fn closed_rejection(&self) -> Rejection {
        self.refusal().unwrap_or(Rejection::Closed)
    }

    /// Returns the expected size of the next record, which is the size of the largest record so far.
    pub(super) fn expected_bytes(&self) -> usize {
        let default = || self.record_bytes.load(Ordering::Relaxed).min(DEFAULT_RECORD_BYTES);
        let staged = self.spooling.as_ref().and_then(|spooling| spooling.largest_record());
        self.capacity.largest_record().max(staged).unwrap_or_else(default)
    }

    /// Reserves a permit for a record without waiting.
    pub(super) fn try_reserve(
        &self,
        admission: &mut Admission,
        size: usize,
    ) -> Result<Permit, Rejection> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        if let Some(spooling) = self.diverting() {
            return self.try_reserve_staged(spooling, size);
        }
        let permit = self.capacity.try_acquire(admission, size);
        permit.or_else(|error| self.reserve_elsewhere(error, admission.share, size))
    }

    /// Reserves a permit of a share for a record that is not known yet, without waiting.
    pub(super) fn try_reserve_any(&self, share: ShareId) -> Result<Permit, Rejection> {
        let size = self.expected_bytes();
        if let Some(spooling) = self.diverting() {
            return self.try_reserve_staged(spooling, size);
        }
        let permit = self.capacity.try_acquire_share(share, size);
        permit.or_else(|error| self.reserve_elsewhere(error, share, size))
    }

    /// Reserves a permit in the spool, if there is one, because the buffer has no capacity.
    fn reserve_elsewhere(
        &self,
        error: AcquireError,
        share: ShareId,
        size: usize,
    ) -> Result<Permit, Rejection> {
        match &self.spooling {
            Some(spooling) => self.try_reserve_staged(spooling, size),
            None => Err(self.no_permit(error, share, size)),
        }
    }

    fn no_permit(&self, error: AcquireError, share: ShareId, size: usize) -> Rejection {
        match error {
            AcquireError::Full | AcquireError::Share => {
                let rejection = self.state.read(|state| self.cannot_fit(state, share, size));
                rejection.unwrap_or(Rejection::Full)
            }
            AcquireError::Closed => self.closed_rejection(),
        }
    }

    pub(super) fn try_reserve_or_notify(
        &self,
        admission: &mut Admission,
        size: usize,
    ) -> Result<Permit, Rejection> {
        let permit = self.try_reserve(admission, size);
        if let Err(Rejection::Full) = permit {
            let mut queue = self.queue();
            let bytes = self.capacity.permit_bytes(size);
            if queue.rejected_bytes.replace(bytes).is_none() {
                wake(queue);
            }
        }
        permit
    }

    /// Waits for a permit for a record of `size` bytes. Dropping the future loses the place in the queue.
    pub(super) async fn reserve(
        &self,
        admission: &mut Admission,
        size: usize,
    ) -> Result<Permit, Rejection> {
        match self.try_reserve(admission, size) {
            Err(Rejection::Full) => self.wait(admission.share, size).await,
            reserved => reserved,
        }
    }

    /// Waits for a permit of a share.
    async fn wait(&self, share: ShareId, size: usize) -> Result<Permit, Rejection> {
        if let Some(reason) = self.refusal() {
            return Err(reason);
        }
        if let Some(spooling) = &self.spooling {
            return spooling.acquire(size).await.ok_or_else(|| self.closed_rejection());
        }
        let wake_driver = || wake(self.queue());
        let mut acquire = pin!(self.capacity.acquire(share, size, wake_driver));
        let first = poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx)));
        if let Poll::Ready(permit) = first.await {
            return permit.ok_or_else(|| self.closed_rejection());
        }
        // Must follow the first poll, because the driver is woken only for callers that wait.
        let _waiter = WaiterGuard::new(self, self.capacity.permit_bytes(size));
        let mut state = self.watch();
        let rejection =
            |state: &State| state.refusal().or_else(|| self.cannot_fit(state, share, size));
        let rejected = pin!(async {
            let rejecting = state.wait_for(|state| rejection(state).is_some()).await;
            rejection(&*rejecting.ok()?)
        });
        match select(acquire, rejected).await {
            Either::Left((permit, _)) => permit.ok_or_else(|| self.closed_rejection()),
            Either::Right((reason, _)) => Err(reason.unwrap_or_else(|| self.closed_rejection())),
        }
    }

    /// Accepts a record that has a permit. The permit may have been reserved for another record.
    pub(super) fn push(
        &self,
        record: Record,
        admission: Admission,
        permit: Permit,
    ) -> Result<(), Error> {
        if let Some(spooling) = self.spooling.as_ref().filter(|_| permit.is_staged()) {
            return self.stage(spooling, record, permit);
        }
        self.enqueue(record, admission, |size| self.capacity.commit(permit, admission.share, size))
    }

    /// Accepts a record like [`push`](Self::push). If it goes through a spool, waits until it is written.
    pub(super) async fn push_written(
        &self,
        record: Record,
        admission: Admission,
        permit: Permit,
    ) -> Result<(), Error> {
        match self.spooling.as_ref().filter(|_| permit.is_staged()) {
            Some(spooling) => self.write(spooling, record, permit).await,
            None => self.push(record, admission, permit),
        }
    }

    /// Accepts a record that has no permit, although the buffer can be full. Returns the share of the record.
    pub(super) fn push_beyond(&self, record: Record) -> Result<ShareId, Error> {
        if let Some(spooling) = self.diverting() {
            self.stage_beyond(spooling, record)?;
            return Ok(UNROUTED);
        }
        let admission = self.capacity.admission(&record);
        self.enqueue(record, admission, |size| self.capacity.charge(admission.share, size))?;
        Ok(admission.share)
    }

    fn enqueue(
        &self,
        record: Record,
        admission: Admission,
        charge: impl FnOnce(usize) -> [Woken; 2],
    ) -> Result<(), Error> {
        let size = record.size();
        let accepted_at = Instant::now();
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            drop(queue);
            return Err(self.rejected(record, self.closed_rejection()));
        }
        if let Some(spooling) = self.spooling.as_ref().filter(|_| queue.diverts) {
            drop(queue);
            return self.stage_beyond(spooling, record);
        }
        let woken = charge(size);
        let record = record.accepted(&self.stream);
        queue.commands.push_back(Command::Record { record, admission, accepted_at });
        queue.pending.add_record(size);
        queue.pending_since.get_or_insert(accepted_at.into_std());
        wake(queue);
        wake_all(woken);
        Ok(())
    }

    /// Checks and accepts a record. Uses the permit of the reservation, or a new permit if none is reserved.
    pub(super) fn accept_reserved(
        &self,
        record: Record,
        reservation: &mut Reservation,
    ) -> Result<(), Error> {
        let record = self.check_now(record)?;
        let mut admission = self.capacity.admission(&record);
        let permit = match reservation.take() {
            Some(permit) => permit,
            None => match self.try_reserve_or_notify(&mut admission, record.size()) {
                Ok(permit) => permit,
                Err(rejection) => return Err(self.rejected(record, rejection)),
            },
        };
        reservation.set_share(admission.share);
        self.push(record, admission, permit)
    }

    /// Checks and accepts a record like [`accept_reserved`](Self::accept_reserved), but does not exceed the share of its
    /// shard. Returns [`Full`](ErrorKind::Full) if that share has no capacity.
    pub(super) fn accept_within_share(
        &self,
        record: Record,
        permit: Permit,
        reservation: &mut Reservation,
    ) -> Result<(), Error> {
        let record = self.check_now(record)?;
        let mut admission = self.capacity.admission(&record);
        // If this record waits, the next one must wait behind it.
        reservation.set_share(admission.share);
        let permit = if permit.share() == admission.share {
            permit
        } else {
            // The permit is released first, so that both are never needed at the same time.
            drop(permit);
            match self.try_reserve_or_notify(&mut admission, record.size()) {
                Ok(permit) => permit,
                Err(rejection) => return Err(self.rejected(record, rejection)),
            }
        };
        self.push(record, admission, permit)
    }

    fn post(&self, command: Command) -> bool {
        let mut queue = self.queue();
        if queue.phase == Phase::Terminated {
            // Dropping `command` can run user code, so the lock is released first.
            drop(queue);
            return false;
        }
        queue.commands.push_back(command);
        wake(queue);
        true
    }

    /// Asks the driver to reply once all accepted records are settled. Returns `None` if the buffer is empty.
    pub(super) fn flush(&self) -> Result<Option<FlushReply>, Error> {
        {
            let queue = self.queue();
            let is_idle =
                !queue.busy && queue.commands.is_empty() && queue.phase != Phase::Terminated;
            let is_spool_empty = self.spooling.as_ref().is_none_or(|spooling| spooling.is_empty());
            if is_idle && is_spool_empty && self.capacity.is_empty() {
                return Ok(None);
            }
            if let Some(spooling) = self.diverting().filter(|_| queue.phase != Phase::Terminated) {
                // The queue stays locked, so that the driver does not end in between.
                return Ok(Some(spooling.flush()));
            }
        }
        let (sender, receiver) = oneshot::channel();
        if self.post(Command::Flush(sender)) {
            return Ok(Some(receiver));
        }
        self.final_flush_result().map(|()| None)
    }

    /// Returns the result of a flush to which the driver did not reply because it has ended.
    pub(super) fn final_flush_result(&self) -> Result<(), Error> {
        let queue = self.queue();
        let Some(ended) = &queue.ended else {
            return StopReason::Abandoned.flush_result(&self.stream);
        };
        ended.reason.flush_result(&self.stream)?;
        match &ended.last_failure {
            Some(reason) => {
                Err(Error::failed(ended.left, reason.clone()).with_stream(self.stream.clone()))
            }
            None => Ok(()),
        }
    }

    pub(super) async fn collect_failed(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.post(Command::TakeFailed(sender)) {
            // An error means that the driver has ended. It has then already moved all failed records to the queue.
            let _ = receiver.await;
        }
    }

    pub(super) fn take_collected(&self) -> Vec<Undelivered> {
        let (taken, size, woken) = {
            let mut queue = self.queue();
            let taken = std::mem::take(&mut queue.undelivered);
            let size = std::mem::take(&mut queue.collected);
            queue.takes += u64::from(!taken.is_empty());
            let woken = self.capacity.release_failed(size);
            self.acknowledge_collected();
            if size.records > 0 {
                // The driver must publish its state again, because the published state can still count these records.
                wake(queue);
            }
            (taken, size, woken)
        };
        let fewer = |state: &mut State| state.remove_failed(size);
        self.state.send_if_modified(fewer);
        wake_all(woken);
        self.notify_if_idle();
        taken
    }

    /// Acknowledges the failed records that a caller takes from the queue. The queue must be locked, so that the spool is
    /// not closed in between.
    pub(super) fn acknowledge_collected(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.acknowledge_collected();
        }
    }

    pub(super) fn takes(&self) -> u64 {
        self.queue().takes
    }

    /// Applies the change of the buffer that the driver has caused.
    pub(super) fn apply(&self, change: &mut BufferChange) {
        wake_all(self.capacity.apply(change));
        self.notify_if_idle();
        // A waiter can now be blocked by failed records although their number has not changed.
        let is_blocked = |state: &mut State| match state {
            State::Keeping { failed, .. } => self.capacity.has_only(*failed),
            _ => false,
        };
        self.state.send_if_modified(is_blocked);
    }

    fn notify_if_idle(&self) {
        if let Some(on_idle) = self.on_idle.get()
            && self.capacity.is_empty()
        {
            on_idle.notify_one();
        }
    }

    /// Asserts in debug builds that the charges match the buffered records. `buffered` is the size of the records in
    /// the sink and the driver, and must not change during the call.
    pub(super) fn debug_assert_charges(&self, mut buffered: Size) {
        if !cfg!(debug_assertions) {
            return;
        }
        let queue = self.queue();
        buffered += queued(&queue.commands);
        buffered += queue.collected;
        if let Some(charged) = self.capacity.committed() {
            assert_eq!(charged, buffered, "charges differ from the buffered records");
        }
    }

    pub(super) fn close(&self, reason: StopReason) {
        // Must precede the change of the phase, because a caller that finds the queue closed reads the reason.
        self.condition.set(reason.condition(false));
        self.set_state(State::Draining(reason));
        let mut queue = self.queue();
        if queue.phase != Phase::Open {
            return;
        }
        queue.phase = Phase::Draining;
        wake(queue);
        match &self.spooling {
            // The driver needs the capacity for the records that are in the spool.
            Some(spooling) => spooling.close(),
            None => self.capacity.close().wake(),
        }
    }

    /// Returns `true` if no record is buffered or spooled and no command is queued.
    pub(super) fn is_empty(&self, queue: &Queue) -> bool {
        let is_spool_empty = self.spooling.as_ref().is_none_or(|spooling| spooling.is_empty());
        self.capacity.is_empty() && queue.commands.is_empty() && is_spool_empty
    }

    /// Releases unused memory.
    pub(super) fn rest(&self) {
        self.capacity.rest();
        let mut queue = self.queue();
        if queue.commands.is_empty() {
            queue.commands = VecDeque::new();
        }
    }

    pub(super) fn abort(&self) {
        let mut queue = self.queue();
        queue.abort_requested = true;
        wake(queue);
    }

    pub(super) fn drop_handles(&self) {
        self.queue().has_handles = false;
        self.close(StopReason::Closed);
        if let Some(spooling) = self.spooling.as_ref().filter(|spooling| spooling.is_empty()) {
            // Does not wait for the driver, so that the directory can be opened again soon.
            spooling.request_release();
        }
    }

    pub(super) fn terminate(&self, reason: StopReason) {
        self.condition.set(reason.condition(true));
        self.set_state(State::Terminated(reason));
    }

    pub(super) fn publish(&self, snapshot: &Snapshot<'_>, admitted: Size) {
        self.queue().publish(snapshot, admitted);
    }

    pub(super) async fn check_stream(&self) -> Result<(), Error> {
        self.check.run().await.map_err(Error::from)
    }

    pub(super) fn condition(&self) -> &ConditionSender {
        &self.condition
    }

    /// Returns the status after the last poll of the driver, including the records accepted since then.
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
            capacity: self.capacity.bounds().into(),
            #[cfg(feature = "spool")]
            spool: self.spooling.as_ref().map(|spooling| spooling.status()),
        };
        status.queued.records += queue.pending.records;
        status.queued.bytes += queue.pending.bytes;
        status.totals.accepted += queue.pending.records as u64;
        status.failed.records += queue.collected.records;
        status.failed.bytes += queue.collected.bytes;
        if queue.phase == Phase::Terminated {
            status.failed = Size::of(&queue.undelivered).into();
        }
        status
    }
}

pub(super) fn wake_all(woken: [Woken; 2]) {
    for woken in woken {
        woken.wake();
    }
}
