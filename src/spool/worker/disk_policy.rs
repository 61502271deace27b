use super::outlet::{Accepted, OutgoingRecord};
use super::run::Worker;
use crate::guard::catch_panic;
use crate::record::{FailureReason, Undelivered};
use crate::spool::files::Files;
use crate::spool::log::SpooledRecord;

/// Maximum number and size of the records that are read at once to drop them.
const MAX_DROPPED: usize = 1_024;
const MAX_DROPPED_BYTES: usize = 1 << 20;

impl<F: Files> Worker<F> {
    /// Drops the oldest records that are not in memory, up to the end of a segment, so that its space is given back.
    /// Returns `false` if no segment is free afterwards.
    ///
    /// Records from `below` on are not dropped, because the group that contains them is still in memory. Neither are those
    /// of the newest segment, because its space would not be given back.
    pub(super) fn drop_oldest(&mut self, below: u64) -> bool {
        // Records that the handler does not take must not fill the memory.
        if !self.shared.state().outlet.has_space() && self.handler_declines {
            return false;
        }
        let first = self.shared.state().outlet.loaded();
        let Some(last) = self.log.complete_segment_end(first, below) else { return false };
        let mut dropped = 0;
        let mut is_free = false;
        while !is_free {
            let loaded = self.shared.state().outlet.loaded();
            let (read, end) = self.read(loaded, MAX_DROPPED, MAX_DROPPED_BYTES);
            let end = end.min(last);
            let mut kept = None;
            for (seq, spooled) in read.into_iter().take_while(|(seq, _)| *seq < last) {
                match self.drop_record(seq, spooled) {
                    None => {
                        dropped += 1;
                        self.log.acknowledge(seq..seq + 1);
                    }
                    returned => {
                        kept = returned;
                        break;
                    }
                }
            }
            let is_last = kept.is_some() || end == loaded || end == last;
            {
                let mut state = self.shared.state();
                self.handler_declines = kept.is_some();
                if let Some(record) = kept {
                    // The handler does not want it, so it is sent in its turn.
                    state.outlet.push(record);
                } else {
                    state.outlet.advance(end);
                }
            }
            // Errors are reported as events.
            let _ = self.log.write_acks();
            is_free = !self.log.is_full();
            if is_last {
                break;
            }
        }
        let reached = self.shared.state().outlet.loaded();
        self.fail_lost(reached);
        if dropped > 0 {
            self.reporter.report_dropped(&self.shared.settings, dropped);
        }
        is_free
    }

    /// Passes a record to its receipt or to the dead-letter handler. Returns it if neither takes it.
    fn drop_record(&mut self, seq: u64, spooled: SpooledRecord) -> Option<OutgoingRecord> {
        let SpooledRecord { record, accepted_at_ms } = spooled;
        let record = match self.receipts.remove(seq) {
            Some(tracker) => record.with_tracker(tracker),
            None => record,
        };
        let undelivered =
            Undelivered::unsent(record, self.stream.clone(), FailureReason::SpoolFull);
        let undelivered = undelivered.hand_over().err()?;
        let handler = self.dead_letters.as_ref();
        let returned = match handler {
            // If the handler panics, it has taken the record.
            Some(handler) => catch_panic(|| handler.put(undelivered)).flatten(),
            None => Some(undelivered),
        };
        let record = returned?.into_record();
        Some(OutgoingRecord { seq, record, accepted: Accepted::AtMillis(accepted_at_ms) })
    }
}
