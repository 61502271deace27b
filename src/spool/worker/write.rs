//! Writes staged records, and passes them on.

use std::time::{Instant, SystemTime};

use super::outlet::{Accepted, OutgoingRecord};
use super::run::Worker;
use super::spill::{Diversion, Spill};
use super::staging::{Group, Staged, StagedRecord, WriteReply, size_of_records};
use super::state::State;
use crate::error::Rejection;
use crate::limits::RecordError;
use crate::record::Record;
use crate::spool::files::Files;
use crate::spool::log::{AppendError, Appended, SpooledRecord};
use crate::spool::{Sync, WhenFull};

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

impl<F: Files> Worker<F> {
    /// Writes records of the buffer, which stay there.
    pub(super) fn write_spill(&mut self, spill: Spill) {
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
        let written_before =
            records.drain(..appended.count).map(|spilled| spilled.pipeline_seq).last();
        let driver = {
            let mut state = self.shared.state();
            state.appended = self.log.next_seq();
            state.outlet.advance(appended.first + appended.count as u64);
            state.stats = self.log.stats();
            match &mut state.diversion {
                // The driver has provided the records in the buffer again, because the producer is closing.
                Diversion::Spilling(last) => last.records.retain(|spilled| {
                    written_before.is_none_or(|written| spilled.pipeline_seq > written)
                }),
                diversion if records.is_empty() || is_final => *diversion = Diversion::On,
                diversion => *diversion = Diversion::Spilling(Spill { records, is_final }),
            }
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
            if !drops || !self.drop_oldest(appended.first) {
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

    pub(super) fn refuses(&self) -> bool {
        self.shared.settings.full_policy() == WhenFull::Refuse
    }

    pub(super) fn write(&mut self, group: Group) {
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
}

fn unix_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
