//! Reads records from the disk for the driver.

use std::time::Instant;

use super::outlet::{Accepted, OutgoingRecord};
use super::run::Worker;
use crate::record::{FailureReason, Record, Tracker};
use crate::spool::files::Files;
use crate::spool::log::SpooledRecord;

impl<F: Files> Worker<F> {
    /// Reads records from the disk if the outlet is low.
    pub(super) fn load(&mut self) {
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
    pub(super) fn complete(&self, tracker: Tracker, reason: FailureReason) {
        tracker.fail(Record::new(Vec::new()), self.stream.clone(), reason);
    }
}
