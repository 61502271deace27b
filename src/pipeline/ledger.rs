use std::time::Instant;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::flush::FlushReason;
use super::metrics::Samples;
use super::settings::Settings;
use crate::record::Reason;
use crate::summary::{RequestSummary, Totals};

/// Counts records. At every moment `accepted = delivered + failed + withdrawn + unsettled`.
#[derive(Debug)]
pub(crate) struct Ledger {
    next_seq: u64,
    totals: Totals,
    unsettled_bytes: usize,
    /// The records that failed and that nobody has taken.
    failed: Size,
    /// What has left the buffer since this was last taken.
    released: Size,
    /// What has returned to the buffer since this was last taken: records that a dead-letter handler left.
    returned: Size,
    last_request: Option<RequestSummary>,
    /// `None` if nothing is measured.
    samples: Option<Box<Samples>>,
}

/// A number of records and the sum of their sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Size {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, bytes: usize) {
        self.records -= 1;
        self.bytes -= bytes;
    }
}

impl Ledger {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            next_seq: 0,
            totals: Totals::default(),
            unsettled_bytes: 0,
            failed: Size::default(),
            released: Size::default(),
            returned: Size::default(),
            last_request: None,
            samples: Samples::new(settings.metrics),
        }
    }

    /// Counts an accepted record. Returns its sequence number.
    pub(super) fn accept(&mut self, bytes: usize) -> u64 {
        self.totals.accepted += 1;
        self.unsettled_bytes += bytes;
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// Counts a request that is sent, before its records count the attempt.
    pub(super) fn send(&mut self, reason: FlushReason, entries: &[QueuedEntry], now: Instant) {
        self.totals.requests += 1;
        if let Some(samples) = &mut self.samples {
            samples.record_request(reason, entries, now);
        }
    }

    /// Counts a delivered entry. Its records are [counted](Self::deliver) one by one.
    pub(super) fn deliver_entry(&mut self, bytes: usize) {
        self.totals.entries += 1;
        self.totals.entry_bytes += bytes as u64;
    }

    pub(super) fn deliver(&mut self, record: &BufferedRecord, now: Instant) {
        let bytes = record.size();
        self.totals.delivered += 1;
        self.totals.delivered_bytes += bytes as u64;
        self.unsettled_bytes -= bytes;
        self.released.add(bytes);
        if let Some(samples) = &mut self.samples {
            samples.record_delivered(record, now);
        }
    }

    /// Counts a record that has failed for good. It stays in the buffer until somebody [takes](Self::take_failed) it.
    pub(super) fn fail(&mut self, record: &BufferedRecord, reason: &Reason) {
        let bytes = record.size();
        self.totals.failed += 1;
        self.unsettled_bytes -= bytes;
        self.failed.add(bytes);
        if let Some(samples) = &mut self.samples {
            samples.record_failed(record, reason);
        }
    }

    /// Counts a failed record that leaves the buffer.
    pub(super) fn take_failed(&mut self, bytes: usize) {
        self.failed.subtract(bytes);
        self.released.add(bytes);
    }

    /// Counts a failed record that nobody has taken after all. The dead-letter handler may return another record than
    /// it was given.
    pub(super) fn keep_failed(&mut self, bytes: usize) {
        self.failed.add(bytes);
        self.returned.add(bytes);
    }

    /// Counts a record that is withdrawn before it is settled.
    pub(super) fn withdraw(&mut self, bytes: usize) {
        self.totals.taken_back += 1;
        self.unsettled_bytes -= bytes;
        self.released.add(bytes);
    }

    /// Counts records that are queued again after an attempt.
    pub(super) fn requeue(&mut self, entries: &[QueuedEntry]) {
        self.totals.requeued += entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
    }

    pub(super) fn misplace(&mut self) {
        self.totals.misplaced += 1;
    }

    pub(super) fn throttle(&mut self) {
        self.totals.throttled += 1;
    }

    pub(super) fn set_last_request(&mut self, summary: RequestSummary) {
        self.last_request = Some(summary);
    }

    /// What is accepted and not settled.
    pub(crate) fn unsettled(&self) -> Size {
        Size { records: self.totals.unsettled(), bytes: self.unsettled_bytes }
    }

    /// The records that failed and that nobody has taken.
    pub(crate) fn failed(&self) -> Size {
        self.failed
    }

    /// Everything that counts towards the bounds: not settled, or failed and not taken.
    pub(crate) fn held(&self) -> Size {
        let Size { records, bytes } = self.unsettled();
        Size { records: records + self.failed.records, bytes: bytes + self.failed.bytes }
    }

    /// What has left the buffer since the last call.
    pub(crate) fn take_released(&mut self) -> Size {
        std::mem::take(&mut self.released)
    }

    /// What has returned to the buffer since the last call, after it had [left](Self::take_released).
    pub(crate) fn take_returned(&mut self) -> Size {
        std::mem::take(&mut self.returned)
    }

    /// The sequence number of the next record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn last_request(&self) -> Option<&RequestSummary> {
        self.last_request.as_ref()
    }

    /// What was measured since the caller drained it.
    pub(crate) fn samples_mut(&mut self) -> Option<&mut Samples> {
        self.samples.as_deref_mut()
    }
}
