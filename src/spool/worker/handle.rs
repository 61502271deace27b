use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::outlet::{FlushReply, Outgoing};
use super::spill::{Diversion, Spill, Spilled, SpilledSeqs};
use super::staging::WriteReply;
use super::state::{Phase, Sleep, State};
use crate::budget::{Shares, Woken};
use crate::error::Rejection;
use crate::pipeline::Size;
use crate::record::{Record, Undelivered};
use crate::spool::log::Recovered;
use crate::spool::{Spool, SpoolMode, SpoolStatus, WhenFull};

/// Bounds of the records that wait to be written, or that are being written.
pub(crate) const STAGING_BOUNDS: Size = Size { records: 8_192, bytes: 4 << 20 };

/// Handle to the thread of a spool, for a sink and the producer that it becomes.
///
/// When the handle is dropped, the thread writes what was staged and ends. Records that are not delivered stay in the
/// spool.
#[derive(Debug)]
pub(crate) struct SpoolHandle {
    pub(super) shared: Arc<Shared>,
}

/// State shared with the thread.
pub(super) struct Shared {
    pub(super) settings: Spool,
    pub(super) recovered: Recovered,
    state: Mutex<State>,
    pub(super) wake: Condvar,
    /// Whether new records are staged. Copy of the state, which is read without a lock.
    diverts: AtomicBool,
    /// Whether new records are refused, because the disk is full.
    refuses: AtomicBool,
    /// Capacity of the staging.
    staging: Arc<Shares>,
    /// Sequence numbers of records in the buffer that were written.
    spilled: Mutex<Vec<SpilledSeqs>>,
    /// Accepted records that could not be written before the spool was closed.
    unwritten: Mutex<Vec<Undelivered>>,
    pub(super) closed: watch::Sender<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Withdraws a staged record when it is dropped, unless the record is already being written.
#[derive(Debug)]
pub(crate) struct StagedGuard<'a> {
    shared: &'a Shared,
    id: u64,
    size: usize,
}

impl Drop for StagedGuard<'_> {
    fn drop(&mut self) {
        let withdrawn = self.shared.state().staging.withdraw(self.id);
        if let Some(record) = withdrawn {
            self.shared.release_staging(Size { records: 1, bytes: self.size }).wake();
            drop(record);
        }
    }
}

impl Shared {
    /// Creates the state of a log that continues with the record `appended`, whose oldest unacknowledged record is `first`.
    pub(super) fn new(settings: Spool, recovered: Recovered, first: u64, appended: u64) -> Self {
        let diversion = match settings.mode() {
            SpoolMode::Overflow if recovered.records == 0 => Diversion::Off,
            SpoolMode::Overflow | SpoolMode::WriteAhead => Diversion::On,
        };
        let staging = Shares::of_buffer(STAGING_BOUNDS);
        // A sink that does not become a producer has no other members.
        staging.set_members(1, false);
        Self {
            diverts: AtomicBool::new(diversion.is_on()),
            refuses: AtomicBool::new(false),
            state: Mutex::new(State::new(first, appended, diversion)),
            wake: Condvar::new(),
            staging: Arc::new(staging),
            spilled: Mutex::default(),
            unwritten: Mutex::default(),
            closed: watch::Sender::new(false),
            settings,
            recovered,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is ignored, because no user code runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn release_staging(&self, size: Size) -> Woken {
        self.staging.exchange((0, Size::default()), [(0, size)])
    }

    /// Rejects the callers that wait for capacity of the staging.
    pub(super) fn close_permits(&self) -> Woken {
        self.staging.close()
    }

    /// Wakes the thread if it sleeps in one of the states.
    fn wake_from(&self, mut state: MutexGuard<'_, State>, sleeps: &[Sleep]) {
        if sleeps.contains(&state.sleep) {
            state.sleep = Sleep::Awake;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Publishes whether the disk is full.
    pub(super) fn set_full(&self, state: &mut State, is_full: bool) {
        state.is_full = is_full;
        let refuses = is_full && self.settings.full_policy() == WhenFull::Refuse;
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Accepts records again, to find out whether the disk is still full.
    pub(super) fn accept_again(&self) {
        self.refuses.store(false, Ordering::Relaxed);
    }

    pub(super) fn add_unwritten(&self, unwritten: Vec<Undelivered>) {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).extend(unwritten);
    }

    pub(super) fn add_spilled(&self, spilled: Vec<SpilledSeqs>) {
        self.spilled.lock().unwrap_or_else(PoisonError::into_inner).extend(spilled);
    }
}

/// Interface for the handles of a producer.
impl SpoolHandle {
    pub(crate) fn settings(&self) -> &Spool {
        &self.shared.settings
    }

    /// Returns the number of records that were found when the spool was opened.
    pub(crate) fn recovered(&self) -> u64 {
        self.shared.recovered.records
    }

    /// Returns the capacity of the staging, which new records must have acquired.
    pub(crate) fn staging(&self) -> &Arc<Shares> {
        &self.shared.staging
    }

    /// Returns `true` if new records are staged instead of passed to the driver.
    #[inline]
    pub(crate) fn diverts(&self) -> bool {
        self.shared.diverts.load(Ordering::Acquire)
    }

    /// Returns `true` if new records are refused because the disk is full.
    pub(crate) fn refuses(&self) -> bool {
        self.shared.refuses.load(Ordering::Relaxed)
    }

    /// Stages a record. Returns the record if the spool was closed.
    pub(crate) fn stage(&self, record: Record, accepted_at: Instant) -> Result<(), Record> {
        self.push(record, accepted_at, None).map(drop)
    }

    /// Stages a record, and waits until it is written. Dropping the future withdraws the record, unless it is being
    /// written.
    pub(crate) async fn write(
        &self,
        record: Record,
        accepted_at: Instant,
    ) -> Result<(), (Option<Record>, Rejection)> {
        let size = record.size();
        let (reply, written) = oneshot::channel();
        let id = self
            .push(record, accepted_at, Some(reply))
            .map_err(|record| (Some(record), Rejection::Closed))?;
        let guard = StagedGuard { shared: &self.shared, id, size };
        let result = written.await;
        // The thread has taken the record.
        std::mem::forget(guard);
        match result {
            Ok(result) => result.map_err(|(record, rejection)| (Some(record), rejection)),
            // The thread has ended while it wrote the record.
            Err(_) => Err((None, Rejection::Abandoned)),
        }
    }

    fn push(
        &self,
        record: Record,
        accepted_at: Instant,
        reply: Option<WriteReply>,
    ) -> Result<u64, Record> {
        let size = record.size();
        let mut state = self.shared.state();
        let id = match state.staging.push(record, accepted_at, reply) {
            Ok(id) => id,
            Err(record) => {
                drop(state);
                self.shared.release_staging(Size { records: 1, bytes: size }).wake();
                return Err(record);
            }
        };
        if !state.diversion.is_on() {
            state.diversion = Diversion::Wanted;
            self.shared.diverts.store(true, Ordering::Release);
            if let Some(driver) = state.take_driver() {
                drop(state);
                driver.wake();
            }
            return Ok(id);
        }
        self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick]);
        Ok(id)
    }

    /// Requests a reply once all records that were staged earlier are settled.
    pub(crate) fn flush(&self, reply: FlushReply) {
        let mut state = self.shared.state();
        if state.phase == Phase::Open {
            state.staging.push_flush(reply);
            self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick]);
        }
    }

    /// Accepts no more records. Records that were staged are still written.
    pub(crate) fn close_staging(&self) {
        self.shared.state().staging.close();
        self.shared.close_permits().wake();
    }

    /// Returns the number of records in the spool.
    pub(crate) fn records(&self) -> u64 {
        self.shared.state().records()
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let state = self.shared.state();
        let records = state.records();
        let oldest = state.stats.oldest_accepted_at_ms.filter(|_| records > 0);
        let age = oldest.map(|oldest| {
            let accepted_at = SystemTime::UNIX_EPOCH + Duration::from_millis(oldest);
            SystemTime::now().duration_since(accepted_at).unwrap_or_default()
        });
        SpoolStatus {
            records,
            next_sequence: state.appended,
            disk_bytes: state.stats.disk_bytes,
            oldest_age: age,
            recovered: self.recovered(),
            damaged_frames: state.stats.damaged_frames,
            is_full: state.is_full,
            last_error: state.last_error.clone(),
        }
    }

    /// Lets the thread end, after it has written what was staged.
    pub(crate) fn request_close(&self) {
        let mut state = self.shared.state();
        state.staging.close();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick, Sleep::Full]);
        self.shared.close_permits().wake();
    }

    /// Takes the accepted records that could not be written before the spool was [closed](Self::closed).
    pub(crate) fn take_unwritten(&self) -> Vec<Undelivered> {
        std::mem::take(&mut *self.shared.unwritten.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the thread has ended and released the directory.
    pub(crate) async fn closed(&self) {
        // `wait_for` cannot fail, because `self` owns the sender.
        let _ = self.shared.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

/// Interface for the driver of a producer.
impl SpoolHandle {
    /// Moves up to `max` items to `taken`, and registers the waker for later items.
    pub(crate) fn take(&self, max: usize, waker: &Waker, taken: &mut VecDeque<Outgoing>) {
        let mut state = self.shared.state();
        state.outlet.take(max, waker, taken);
        if state.wants_load() {
            self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick, Sleep::Full]);
        }
    }

    /// Returns `true` if all records in the spool have been taken by the driver.
    pub(crate) fn is_drained(&self) -> bool {
        self.shared.state().is_drained()
    }

    /// Acknowledges records that are not needed anymore.
    pub(crate) fn acknowledge(&self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let mut state = self.shared.state();
        let before = state.acknowledged.len();
        state.acknowledged.extend(ranges);
        if state.acknowledged.len() > before {
            self.shared.wake_from(state, &[Sleep::Idle, Sleep::Full]);
        }
    }

    /// Takes the flushes that have not reached the driver.
    pub(crate) fn take_flushes(&self) -> Vec<FlushReply> {
        let mut state = self.shared.state();
        let mut flushes = state.outlet.take_flushes();
        flushes.extend(state.staging.take_flushes());
        flushes
    }

    /// Returns `true` if the records in the buffer must be [spilled](Self::spill).
    pub(crate) fn wants_spill(&self) -> bool {
        self.settings().mode() == SpoolMode::Overflow
            && matches!(self.shared.state().diversion, Diversion::Wanted)
    }

    /// Writes records in the buffer before any staged record. `is_final` is `true` if the producer is closing.
    pub(crate) fn spill(&self, records: Vec<Spilled>, is_final: bool) {
        let mut state = self.shared.state();
        state.diversion = Diversion::Spilling(Spill { records, is_final });
        self.shared.diverts.store(true, Ordering::Release);
        self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick, Sleep::Full]);
    }

    /// Returns `true` if records are still to be spilled.
    pub(crate) fn is_spilling(&self) -> bool {
        let state = self.shared.state();
        state.phase != Phase::Closed && state.diversion.is_spilling()
    }

    /// Returns the sequence numbers of the records that were spilled since the last call.
    pub(crate) fn take_spilled(&self) -> Vec<SpilledSeqs> {
        std::mem::take(&mut *self.shared.spilled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the diversion of new records if the driver has taken all records. Returns `true` if it has ended.
    pub(crate) fn try_end_diversion(&self) -> bool {
        let mut state = self.shared.state();
        let ends = self.settings().mode() == SpoolMode::Overflow
            && matches!(state.diversion, Diversion::On)
            && state.phase == Phase::Open
            && state.is_drained();
        if ends {
            state.diversion = Diversion::Off;
            self.shared.diverts.store(false, Ordering::Release);
        }
        ends
    }

    /// Leaves the records that the driver has not taken in the spool, and completes their receipts.
    pub(crate) fn end_driver(&self) {
        let mut state = self.shared.state();
        state.driver_ended = true;
        state.must_leave = true;
        self.shared.wake_from(state, &[Sleep::Idle, Sleep::UntilTick, Sleep::Full]);
    }
}

impl Drop for SpoolHandle {
    fn drop(&mut self) {
        self.request_close();
    }
}
