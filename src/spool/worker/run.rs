use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::Owner;
use super::handle::Shared;
use super::receipts::Receipts;
use super::report::Reporter;
use super::spill::Spill;
use super::staging::{Group, Staged, StagedRecord, WriteReply, size_of_records};
use super::state::{Phase, Sleep};
use super::timers::Timers;
use crate::error::{RecordCount, Rejection};
use crate::guard::catch_panic;
use crate::pipeline::Size;
use crate::record::{FailureReason, Record, SharedHandler, Undelivered};
use crate::spool::files::Files;
use crate::spool::log::{Cursor, Log, LogError, LogEvent, Opened};
use crate::spool::{Spool, SpoolError};
use crate::stream::StreamId;
use crate::trace::TARGET;

/// Thread that owns the log of a spool.
pub(super) struct Worker<F: Files> {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: StreamId,
    pub(super) dead_letters: Option<SharedHandler>,
    pub(super) log: Log<F>,
    pub(super) receipts: Receipts,
    /// Position of the last read.
    pub(super) cursor: Option<Cursor>,
    pub(super) timers: Timers,
    /// With [`Sync::Always`], callers whose records are written but not synced.
    pub(super) unconfirmed: VecDeque<(u64, WriteReply)>,
    /// Reason why the last write stopped, unless it was repeated since.
    pub(super) is_stopped: bool,
    /// Set to `true` if the dead-letter handler has not taken the last record.
    pub(super) handler_declines: bool,
    pub(super) reporter: Reporter,
}

/// Work for one round of the thread.
struct Work {
    group: Group,
    spill: Option<Spill>,
    acknowledged: Vec<Range<u64>>,
    must_leave: bool,
    is_closing: bool,
}

/// Marks the spool as closed when the thread ends, even by a panic.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let (group, flushes, driver) = {
            let mut state = self.0.state();
            state.phase = Phase::Closed;
            state.staging.close();
            (state.staging.take(), state.outlet.take_flushes(), state.take_driver())
        };
        self.0.release_staging(size_of_records(&group)).wake();
        self.0.close_permits().wake();
        drop((group, flushes));
        if let Some(driver) = driver {
            driver.wake();
        }
        self.0.closed.send_replace(true);
    }
}

impl<F: Files> Worker<F> {
    /// Opens the log. Takes the metrics of the owner if this succeeds.
    pub(super) fn open(files: F, spool: &Spool, owner: &mut Owner) -> Result<Self, SpoolError> {
        let opened = Log::open(files, spool.log_settings());
        let Opened { log, recovered } =
            opened.map_err(|error| SpoolError::new(spool.path(), &error))?;
        let timers = Timers::new(spool.sync());
        let reporter = Reporter::new(owner);
        reporter.report_recovered(spool, &recovered);
        let first = log.cursor().seq();
        let shared = Shared::new(spool.clone(), recovered, first, log.next_seq());
        shared.state().stats = log.stats();
        Ok(Self {
            shared: Arc::new(shared),
            stream: owner.stream.clone(),
            dead_letters: owner.dead_letters.clone(),
            log,
            receipts: Receipts::default(),
            cursor: None,
            timers,
            unconfirmed: VecDeque::new(),
            is_stopped: false,
            handler_declines: false,
            reporter,
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs until the spool is closed.
    pub(super) fn run(mut self) {
        let _end = EndGuard(self.shared.clone());
        while !self.round() {}
        self.close();
    }

    /// Waits for work, and does it. Returns `true` if the spool is closing.
    pub(super) fn round(&mut self) -> bool {
        let work = self.wait();
        self.acknowledge(work.acknowledged);
        if let Some(spill) = work.spill {
            self.write_spill(spill);
        }
        self.write(work.group);
        if work.must_leave || work.is_closing {
            self.leave();
        }
        self.load();
        self.tick(Instant::now());
        if work.is_closing {
            // Callers that wait for a sync are about to be rejected.
            self.sync_all(Instant::now());
        }
        self.publish();
        // One round writes what was staged, unless records of the buffer had to be written first.
        work.is_closing && (self.is_stopped || !self.shared.state().wants_write())
    }

    fn wait(&mut self) -> Work {
        let shared = self.shared.clone();
        let mut state = shared.state();
        loop {
            let now = Instant::now();
            let is_closing = state.phase != Phase::Open;
            if is_closing {
                state.end_diversion();
            }
            let delays_write = self.timers.delays_write(now) && !is_closing;
            let writes = state.wants_write() && !delays_write;
            let acknowledges = !state.acknowledged.is_empty()
                && (self.is_stopped || !self.timers.has_acknowledgements());
            let retries = state.wants_write() || (self.is_stopped && self.refuses());
            let next = self.timers.next(retries, state.wants_load());
            let is_due = next.is_some_and(|next| next <= now);
            let loads = state.wants_load() && !self.timers.delays_load(now);
            let must_leave = std::mem::take(&mut state.must_leave);
            if must_leave || is_closing || writes || acknowledges || is_due || loads {
                let acknowledged = std::mem::take(&mut state.acknowledged);
                let spill = if writes { state.diversion.take_spill() } else { None };
                let group = if writes { state.take_group() } else { Group::new() };
                return Work { group, spill, acknowledged, must_leave, is_closing };
            }
            state.sleep = match next {
                None => Sleep::Idle,
                // Without records to write, a new record or flush must wake the thread.
                Some(_) if self.is_stopped && state.wants_write() => Sleep::Full,
                Some(_) => Sleep::UntilTick,
            };
            let timeout = next.map_or(Duration::MAX, |next| next - now);
            state = match next {
                None => shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(_) => {
                    let waited = shared.wake.wait_timeout(state, timeout);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleep = Sleep::Awake;
        }
    }

    /// Returns `true` if there is something to do at a later time.
    #[cfg(test)]
    pub(super) fn has_work(&self) -> bool {
        self.timers.next(true, true).is_some()
    }

    fn acknowledge(&mut self, acknowledged: Vec<Range<u64>>) {
        if acknowledged.is_empty() {
            return;
        }
        for range in acknowledged {
            self.log.acknowledge(range);
        }
        self.timers.acknowledged(Instant::now());
        if self.is_stopped {
            // The space is needed now.
            self.write_acknowledgements();
            if !self.log.is_full() {
                self.timers.write_now();
            }
        }
    }

    fn write_acknowledgements(&mut self) {
        // The log reports errors as events, and writes the acknowledgements again with the next call.
        let written = self.log.write_acks();
        let now = Instant::now();
        if written.is_err() {
            self.timers.acknowledged(now);
        }
        self.timers.wrote_acknowledgements(now);
    }

    fn tick(&mut self, now: Instant) {
        if self.timers.take_acknowledgements(now) {
            self.write_acknowledgements();
        }
        if self.timers.take_sync(now) || self.log.sync_is_due() {
            self.sync_all(now);
        }
    }

    /// Makes records durable for callers that wait for it.
    pub(super) fn sync_now(&mut self) {
        let started = Instant::now();
        let synced = self.log.sync_records();
        self.after_sync(synced, started);
    }

    fn sync_all(&mut self, now: Instant) {
        let synced = self.log.sync();
        if synced.is_ok() {
            self.timers.synced();
        }
        self.after_sync(synced, now);
    }

    fn after_sync(&mut self, synced: Result<(), LogError>, started: Instant) {
        let now = Instant::now();
        self.reporter.record_sync(now.saturating_duration_since(started));
        if let Err(error) = synced {
            self.reporter.report_error(&error);
            self.shared.state().last_error = Some(error.to_string());
            self.timers.retry_sync(now);
        }
        let confirmed = self.log.synced_seq();
        while let Some((_, reply)) = self.unconfirmed.pop_front_if(|(seq, _)| *seq < confirmed) {
            let _ = reply.send(Ok(()));
        }
    }

    fn publish(&mut self) {
        let events = self.log.take_events();
        let mut last_error = None;
        for event in &events {
            self.reporter.report_event(event);
            last_error = error_of(event).or(last_error);
        }
        let stats = self.log.stats();
        self.reporter.record_stats(&stats);
        let mut state = self.shared.state();
        state.stats = stats;
        if last_error.is_some() {
            state.last_error = last_error;
        }
    }

    /// Leaves the records that the driver has not taken in the spool.
    fn leave(&mut self) {
        if self.is_stopped {
            self.reject_waiting();
        }
        let outgoing = self.shared.state().outlet.take_records();
        for record in outgoing {
            self.leave_record(record);
        }
        for tracker in self.receipts.take_before(u64::MAX).into_values() {
            self.complete(tracker, FailureReason::Spooled { last: None });
        }
    }

    /// Returns the staged records whose callers wait, because no record is delivered that would make space on the disk.
    fn reject_waiting(&self) {
        let waiting = self.shared.state().staging.take_waiting();
        let mut size = Size::default();
        for StagedRecord { record, reply, .. } in waiting {
            size.add_record(record.size());
            if let Some(reply) = reply {
                // The caller may have been dropped.
                let _ = reply.send(Err((record, Rejection::Closed)));
            }
        }
        self.shared.release_staging(size).wake();
    }

    pub(super) fn leave_record(&self, mut record: Record) {
        if let Some(tracker) = record.take_tracker() {
            tracker.fail(record, self.stream.clone(), FailureReason::Spooled { last: None });
        }
    }

    /// Returns the records that could not be written to their callers, their receipts, or the dead-letter handler. The
    /// others are left to the producer. Returns their number.
    fn return_unwritten(&self) -> usize {
        let group = self.shared.state().staging.take();
        self.shared.release_staging(size_of_records(&group)).wake();
        let mut left = Vec::new();
        for staged in group {
            let Staged::Record(StagedRecord { record, reply, .. }) = staged else { continue };
            if let Some(reply) = reply {
                // The caller may have been dropped.
                let _ = reply.send(Err((record, Rejection::Closed)));
                continue;
            }
            let undelivered =
                Undelivered::unsent(record, self.stream.clone(), FailureReason::SpoolFull);
            let Err(undelivered) = undelivered.hand_over() else { continue };
            let returned = match &self.dead_letters {
                // If the handler panics, it has taken the record.
                Some(handler) => catch_panic(|| handler.put(undelivered)).flatten(),
                None => Some(undelivered),
            };
            left.extend(returned);
        }
        let records = left.len();
        self.shared.add_unwritten(left);
        records
    }

    fn close(self) {
        let unwritten = self.return_unwritten();
        if unwritten > 0 {
            error!(
                target: TARGET,
                records = unwritten,
                "{} for stream {} could not be written to spool {}",
                RecordCount(unwritten),
                self.stream.name(),
                self.shared.settings.path().display()
            );
        }
        if let Err(error) = self.log.close() {
            warn!(target: TARGET, %error, "spool {} was not closed properly", self.shared.settings.path().display());
        }
    }
}

fn error_of(event: &LogEvent) -> Option<String> {
    match event {
        LogEvent::SyncFailed { error, .. }
        | LogEvent::SegmentAbandoned { error, .. }
        | LogEvent::SealFailed { error, .. }
        | LogEvent::ReadFailed { error, .. }
        | LogEvent::AckWriteFailed { error, .. }
        | LogEvent::RemoveFailed { error, .. } => Some(error.to_string()),
        LogEvent::Damage(_) => None,
    }
}
