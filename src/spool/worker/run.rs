use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, warn};

use super::Owner;
use super::handle::Shared;
use super::outlet::{Accepted, OutgoingRecord};
use super::receipts::Receipts;
use super::report::Reporter;
use super::spill::{Diversion, Spill};
use super::staging::{Group, Staged, StagedRecord, WriteReply, size_of_records};
use super::state::{Phase, Sleep, State};
use super::timers::Timers;
use crate::error::{RecordCount, Rejection};
use crate::limits::RecordError;
use crate::record::{FailureReason, Record, SharedHandler, Tracker};
use crate::spool::files::Files;
use crate::spool::log::{
    AppendError, Appended, Cursor, Log, LogError, LogEvent, Opened, SpooledRecord,
};
use crate::spool::{Spool, SpoolError, Sync, WhenFull};
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
    cursor: Option<Cursor>,
    timers: Timers,
    /// With [`Sync::Always`], callers whose records are written but not synced.
    unconfirmed: VecDeque<(u64, WriteReply)>,
    /// Reason why the last write stopped, unless it was repeated since.
    is_stopped: bool,
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

/// Effects of a round, which can run code of the caller, and are therefore applied without a lock.
#[derive(Default)]
struct Effects {
    accepted: Vec<WriteReply>,
    rejected: Vec<(WriteReply, Record, Rejection)>,
    unwanted: Vec<Record>,
    left: Vec<Record>,
    /// Records that are only on disk from now on.
    unloaded: Vec<(u64, Record)>,
}

impl Effects {
    /// Leaves a record in the spool, because there is no driver to deliver it.
    fn leave(&mut self, record: Record) {
        self.left.push(record);
    }

    fn unload(&mut self, seq: u64, record: Record) {
        self.unloaded.push((seq, record));
    }

    fn reject(&mut self, staged: StagedRecord, rejection: Rejection) {
        match staged.reply {
            Some(reply) => self.rejected.push((reply, staged.record, rejection)),
            // The record's receipt completes when it is dropped.
            None => self.unwanted.push(staged.record),
        }
    }

    fn apply(self) {
        for reply in self.accepted {
            // The caller may have been dropped.
            let _ = reply.send(Ok(()));
        }
        for (reply, record, rejection) in self.rejected {
            let _ = reply.send(Err((record, rejection)));
        }
    }
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
        self.publish();
        work.is_closing
    }

    fn wait(&mut self) -> Work {
        let shared = self.shared.clone();
        let mut state = shared.state();
        loop {
            let now = Instant::now();
            let is_closing = state.phase != Phase::Open;
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
                Some(_) if self.is_stopped => Sleep::Full,
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

    /// Writes records of the buffer, which stay there.
    fn write_spill(&mut self, spill: Spill) {
        let Spill { mut records, is_final } = spill;
        let spooled: Vec<_> = records
            .iter()
            .map(|spilled| SpooledRecord {
                record: spilled.record.clone(),
                accepted_at_ms: spilled.accepted_at_ms,
            })
            .collect();
        let appended = self.append(&spooled);
        self.sync_now();
        let seqs = (appended.first..).zip(&records).take(appended.count);
        self.shared.add_spilled(seqs.map(|(seq, spilled)| (spilled.pipeline_seq, seq)).collect());
        records.drain(..appended.count);
        let driver = {
            let mut state = self.shared.state();
            state.appended = self.log.next_seq();
            state.outlet.advance(appended.first + appended.count as u64);
            state.stats = self.log.stats();
            state.diversion = if records.is_empty() || is_final {
                Diversion::On
            } else {
                Diversion::Spilling(Spill { records, is_final })
            };
            state.take_driver()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Appends records, and makes space for them if the policy allows it.
    fn append(&mut self, records: &[SpooledRecord]) -> Appended {
        let mut appended = self.log.append(records);
        while let Some(AppendError::Full) = appended.stopped {
            let drops = self.shared.settings.full_policy() == WhenFull::DropOldest;
            if !drops || !self.drop_oldest() {
                break;
            }
            let more = self.log.append(&records[appended.count..]);
            debug_assert_eq!(more.first, appended.first + appended.count as u64);
            appended.count += more.count;
            appended.stopped = more.stopped;
        }
        self.note_stop(appended.stopped.as_ref());
        if appended.count > 0 {
            self.timers.wrote_records(Instant::now());
        }
        appended
    }

    fn note_stop(&mut self, stopped: Option<&AppendError>) {
        let is_stopped = matches!(stopped, Some(AppendError::Full | AppendError::Io(_)));
        if is_stopped {
            self.timers.retry_write(Instant::now());
        } else {
            self.timers.write_now();
        }
        if is_stopped != self.is_stopped {
            self.is_stopped = is_stopped;
            self.reporter.report_stop(&self.shared.settings, stopped);
        }
        let mut state = self.shared.state();
        if let Some(AppendError::Io(error)) = stopped {
            state.last_error = Some(error.to_string());
        }
        self.shared.set_full(&mut state, is_stopped);
    }

    /// Lets new records find out whether there is space again.
    fn probe(&mut self) {
        if !self.is_stopped || self.timers.delays_write(Instant::now()) {
            return;
        }
        if !self.log.is_full() {
            self.note_stop(None);
        } else if self.refuses() {
            self.timers.write_now();
            self.shared.accept_again();
        }
    }

    fn refuses(&self) -> bool {
        self.shared.settings.full_policy() == WhenFull::Refuse
    }

    fn write(&mut self, group: Group) {
        if group.is_empty() {
            self.probe();
            return;
        }
        let size_before = size_of_records(&group);
        let now = unix_millis();
        let spooled: Vec<_> = group
            .iter()
            .filter_map(Staged::as_record)
            .map(|staged| SpooledRecord { record: staged.record.clone(), accepted_at_ms: now })
            .collect();
        let appended = self.append(&spooled);
        drop(spooled);
        if self.shared.settings.sync() == Sync::Always && appended.count > 0 {
            self.sync_now();
        }
        let written = Written { next: appended.first, left: appended.count };
        let mut effects = Effects::default();
        let mut rest = group;
        let driver = {
            let shared = self.shared.clone();
            let mut state = shared.state();
            state.appended = self.log.next_seq();
            state.in_hand = 0;
            state.stats = self.log.stats();
            self.place(&mut state, &mut rest, written, &mut effects);
            self.refuse(&mut rest, appended.stopped.as_ref(), &mut effects);
            let mut size = size_before;
            size -= size_of_records(&rest);
            state.staging.restore(rest);
            let woken = shared.release_staging(size);
            let driver = state.take_driver();
            drop(state);
            woken.wake();
            driver
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        self.keep_receipts_of(&mut effects);
        for record in std::mem::take(&mut effects.left) {
            self.leave_record(record);
        }
        effects.apply();
    }

    /// Passes the written records on, each with its sequence number.
    fn place(
        &mut self,
        state: &mut State,
        rest: &mut Group,
        mut written: Written,
        effects: &mut Effects,
    ) {
        let confirmed = self.log.synced_seq();
        let is_durable = |seq| self.shared.settings.sync() != Sync::Always || seq < confirmed;
        while let Some(staged) = rest.pop_front_if(|staged| written.left > 0 || staged.is_flush()) {
            let StagedRecord { record, accepted_at, reply, .. } = match staged {
                Staged::Flush(reply) => {
                    state.outlet.push_flush(written.next, reply);
                    continue;
                }
                Staged::Record(staged) => staged,
            };
            let seq = written.take();
            match reply {
                Some(reply) if is_durable(seq) => effects.accepted.push(reply),
                Some(reply) => self.unconfirmed.push_back((seq, reply)),
                None => {}
            }
            if state.driver_ended {
                effects.leave(record);
            } else if state.outlet.loaded() == seq && state.outlet.has_space() {
                let accepted = Accepted::At(accepted_at);
                state.outlet.push(OutgoingRecord { seq, record, accepted });
            } else {
                effects.unload(seq, record);
            }
        }
    }

    /// Rejects the rest of a group as far as the callers wait and the policy demands it.
    fn refuse(&self, rest: &mut Group, stopped: Option<&AppendError>, effects: &mut Effects) {
        let refuses = match stopped {
            Some(AppendError::TooLarge) => {
                let first = rest.iter().position(|staged| staged.as_record().is_some());
                if let Some(Staged::Record(staged)) = first.and_then(|first| rest.remove(first)) {
                    let (bytes, limit) =
                        (staged.record.size(), self.shared.settings.max_record_bytes());
                    let rejection = RecordError::ExceedsSegment { bytes, limit };
                    effects.reject(staged, rejection.into());
                }
                false
            }
            Some(_) => self.refuses(),
            None => false,
        };
        if !refuses {
            return;
        }
        // A record without a waiting caller was accepted already, so it waits.
        let (refused, kept) = std::mem::take(rest).into_iter().partition::<Group, _>(|staged| {
            staged.as_record().is_some_and(|one| one.reply.is_some())
        });
        *rest = kept;
        for staged in refused {
            if let Staged::Record(staged) = staged {
                effects.reject(staged, Rejection::SpoolFull);
            }
        }
    }

    fn keep_receipts_of(&mut self, effects: &mut Effects) {
        for (seq, mut record) in effects.unloaded.drain(..) {
            if let Some(tracker) = record.take_tracker() {
                self.receipts.insert(seq, tracker);
            }
        }
    }

    /// Reads records from the disk if the outlet is low.
    fn load(&mut self) {
        let (free, loaded) = {
            let state = self.shared.state();
            if !state.wants_load() || self.timers.delays_load(Instant::now()) {
                return;
            }
            (state.outlet.free_space().unwrap_or_default(), state.outlet.loaded())
        };
        let (read, end) = self.read(loaded, free.records, free.bytes);
        let outgoing: Vec<_> = read
            .into_iter()
            .map(|(seq, SpooledRecord { record, accepted_at_ms })| {
                let record = match self.receipts.remove(seq) {
                    Some(tracker) => record.with_tracker(tracker),
                    None => record,
                };
                OutgoingRecord { seq, record, accepted: Accepted::AtMillis(accepted_at_ms) }
            })
            .collect();
        let driver = {
            let mut state = self.shared.state();
            for record in outgoing {
                state.outlet.push(record);
            }
            state.outlet.advance(end);
            state.take_driver()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        if end == loaded {
            // The segment cannot be opened now.
            self.timers.retry_load(Instant::now());
        }
        self.fail_lost(end);
    }

    /// Reads records from `loaded` on. Returns them, and the sequence number of the next read.
    pub(super) fn read(
        &mut self,
        loaded: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> (Vec<(u64, SpooledRecord)>, u64) {
        let cursor = self.cursor.take().filter(|cursor| cursor.seq() == loaded);
        let mut cursor = cursor.unwrap_or_else(|| self.log.cursor_at(loaded));
        let read = self.log.read(&mut cursor, max_records, max_bytes);
        let end = cursor.seq().max(loaded);
        self.cursor = Some(cursor);
        (read, end)
    }

    /// Completes the receipts of records that could not be read.
    pub(super) fn fail_lost(&mut self, end: u64) {
        for tracker in self.receipts.take_before(end).into_values() {
            self.complete(tracker, FailureReason::SpoolDamaged);
        }
    }

    /// Completes the receipt of a record that is not in memory.
    fn complete(&self, tracker: Tracker, reason: FailureReason) {
        tracker.fail(Record::new(Vec::new()), self.stream.clone(), reason);
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
    fn sync_now(&mut self) {
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
        let outgoing = self.shared.state().outlet.take_records();
        for record in outgoing {
            self.leave_record(record);
        }
        for tracker in self.receipts.take_before(u64::MAX).into_values() {
            self.complete(tracker, FailureReason::Spooled { last: None });
        }
    }

    fn leave_record(&self, mut record: Record) {
        if let Some(tracker) = record.take_tracker() {
            tracker.fail(record, self.stream.clone(), FailureReason::Spooled { last: None });
        }
    }

    fn close(self) {
        let unwritten = self.shared.state().staging.records();
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

/// Written records of a group that have not been passed on.
#[derive(Clone, Copy)]
struct Written {
    next: u64,
    left: usize,
}

impl Written {
    fn take(&mut self) -> u64 {
        self.left -= 1;
        self.next += 1;
        self.next - 1
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

pub(super) fn unix_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
