use std::mem;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::time::Instant;

use super::buffered::{BufferedRecord, FAILED, ShareId};
use super::departures::Departures;
use super::entry::QueuedEntry;
use super::flush::FlushReason;
use super::samples::{MetricsGranularity, Samples};
use crate::record::{FailureReason, Undelivered};
use crate::settings::Settings;
use crate::status::{RequestSummary, Totals};

/// Counters of records and requests. At any time, `accepted = delivered + failed + withdrawn + unsettled`.
#[derive(Debug)]
pub(crate) struct Ledger {
    next_seq: u64,
    totals: Totals,
    unsettled_bytes: usize,
    failed: Size,
    change: BufferChange,
    /// `None` unless the sink has a spool.
    departures: Option<Box<Departures>>,
    last_request: Option<Arc<RequestSummary>>,
    granularity: MetricsGranularity,
    /// `None` if there are no samples.
    samples: Option<Box<Samples>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Change of the buffer since it was last applied.
#[derive(Debug, Default)]
pub(crate) struct BufferChange {
    /// Settled records by the share to which they were charged.
    settled: Vec<Size>,
    /// Shares with settled records.
    touched: Vec<ShareId>,
    /// Records that have failed, and failed records that the dead-letter handler has returned to the buffer. They are
    /// charged to the share [`FAILED`].
    pub(crate) failed: Size,
    /// Failed records that have left the buffer.
    pub(crate) taken: Size,
}

impl BufferChange {
    fn settle(&mut self, record: &BufferedRecord) {
        let index = record.share as usize;
        if index >= self.settled.len() {
            self.settled.resize(index + 1, Size::default());
        }
        let share = &mut self.settled[index];
        if share.records == 0 {
            self.touched.push(record.share);
        }
        share.add_record(record.size());
    }

    /// Takes the released sizes by share, including the failed records that have left the buffer.
    pub(crate) fn take_released(&mut self) -> impl Iterator<Item = (ShareId, Size)> {
        let taken = Some((FAILED, mem::take(&mut self.taken))).filter(|(_, size)| size.records > 0);
        let Self { settled, touched, .. } = self;
        let released =
            touched.drain(..).map(|share| (share, mem::take(&mut settled[share as usize])));
        released.chain(taken)
    }
}

impl Size {
    pub(crate) fn add_record(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    pub(crate) fn of(undelivered: &[Undelivered]) -> Self {
        let mut size = Self::default();
        for undelivered in undelivered {
            size.add_record(undelivered.record().size());
        }
        size
    }

    fn subtract_record(&mut self, bytes: usize) {
        self.records -= 1;
        self.bytes -= bytes;
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Size {
    fn sub_assign(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }
}

impl Ledger {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            next_seq: 0,
            totals: Totals::default(),
            unsettled_bytes: 0,
            failed: Size::default(),
            change: BufferChange::default(),
            departures: None,
            last_request: None,
            granularity: MetricsGranularity::of(settings),
            samples: None,
        }
    }

    pub(super) fn count_accepted(&mut self, bytes: usize) -> u64 {
        self.totals.accepted += 1;
        self.unsettled_bytes += bytes;
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// Counts a request. Must be called before the attempts of its records are incremented.
    pub(super) fn count_request(
        &mut self,
        reason: FlushReason,
        entries: &[QueuedEntry],
        now: Instant,
    ) {
        self.totals.requests += 1;
        if let Some(samples) = self.samples_mut() {
            samples.record_request(reason, entries, now);
        }
    }

    /// Counts a delivered entry, but not [its records](Self::count_delivered).
    pub(super) fn count_entry(&mut self, bytes: usize) {
        self.totals.entries += 1;
        self.totals.entry_bytes += bytes as u64;
    }

    pub(super) fn count_delivered(&mut self, record: &BufferedRecord, now: Instant) {
        let bytes = record.size();
        self.totals.delivered += 1;
        self.totals.delivered_bytes += bytes as u64;
        self.unsettled_bytes -= bytes;
        self.change.settle(record);
        self.count_departed(record.seq);
        if let Some(samples) = self.samples_mut() {
            samples.record_delivered(record, now);
        }
    }

    /// Counts a failed record. The record stays in the buffer until it is [taken](Self::count_taken).
    pub(super) fn count_failed(&mut self, record: &BufferedRecord, reason: &FailureReason) {
        let bytes = record.size();
        self.totals.failed += 1;
        self.unsettled_bytes -= bytes;
        self.failed.add_record(bytes);
        self.change.settle(record);
        self.change.failed.add_record(bytes);
        if let Some(samples) = self.samples_mut() {
            samples.record_failed(record, reason);
        }
    }

    pub(super) fn count_taken(&mut self, bytes: usize) {
        self.failed.subtract_record(bytes);
        self.change.taken.add_record(bytes);
    }

    /// Counts a taken record that was returned to the buffer, possibly as a different record of another size.
    pub(super) fn count_kept(&mut self, bytes: usize) {
        self.failed.add_record(bytes);
        self.change.failed.add_record(bytes);
    }

    /// Counts a record that has left the pipeline for good, if the departures are recorded.
    #[inline]
    pub(super) fn count_departed(&mut self, seq: u64) {
        if let Some(departures) = &mut self.departures {
            departures.add(seq);
        }
    }

    /// Begins to record which records leave the pipeline.
    #[cfg(any(feature = "spool", test))]
    pub(crate) fn record_departures(&mut self) {
        self.departures.get_or_insert_default();
    }

    /// Returns the records that have left the pipeline, if they are recorded.
    #[cfg(any(feature = "spool", test))]
    pub(crate) fn departures_mut(&mut self) -> Option<&mut Departures> {
        self.departures.as_deref_mut()
    }

    pub(super) fn count_withdrawn(&mut self, record: &BufferedRecord) {
        self.totals.withdrawn += 1;
        self.unsettled_bytes -= record.size();
        self.change.settle(record);
    }

    pub(super) fn count_requeued(&mut self, entries: &[QueuedEntry]) {
        self.totals.requeued += entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
    }

    pub(super) fn count_misplaced(&mut self) {
        self.totals.misplaced += 1;
    }

    pub(super) fn count_throttled(&mut self) {
        self.totals.throttled += 1;
    }

    pub(super) fn set_last_request(&mut self, summary: RequestSummary) {
        self.last_request = Some(Arc::new(summary));
    }

    pub(crate) fn unsettled(&self) -> Size {
        Size { records: self.totals.unsettled(), bytes: self.unsettled_bytes }
    }

    pub(crate) fn failed(&self) -> Size {
        self.failed
    }

    /// Returns the size of the records in the buffer: the unsettled ones, and the failed ones not yet taken.
    pub(crate) fn buffered(&self) -> Size {
        let Size { records, bytes } = self.unsettled();
        Size { records: records + self.failed.records, bytes: bytes + self.failed.bytes }
    }

    pub(crate) fn change_mut(&mut self) -> &mut BufferChange {
        &mut self.change
    }

    /// Releases unused memory.
    pub(super) fn rest(&mut self) {
        if self.change.touched.is_empty() {
            self.change.settled = Vec::new();
            self.change.touched = Vec::new();
        }
        self.samples.take_if(|samples| samples.is_empty());
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn last_request(&self) -> Option<&Arc<RequestSummary>> {
        self.last_request.as_ref()
    }

    /// Returns the samples to which others can be added, unless metrics are off.
    #[inline]
    pub(super) fn samples_mut(&mut self) -> Option<&mut Samples> {
        if self.samples.is_none() && self.granularity != MetricsGranularity::Off {
            self.begin_samples();
        }
        self.samples.as_deref_mut()
    }

    #[cold]
    fn begin_samples(&mut self) {
        self.samples = Samples::new(self.granularity).map(Box::new);
    }

    /// Returns the samples that have not been reported.
    #[cfg(feature = "metrics")]
    pub(crate) fn unreported_mut(&mut self) -> Option<&mut Samples> {
        self.samples.as_deref_mut().filter(|samples| !samples.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::buffered::Admission;
    use super::*;
    use crate::record::Record;

    fn record(bytes: usize, share: ShareId) -> BufferedRecord {
        let record = Record::from(vec![0; bytes]);
        let admission = Admission { share, ..Admission::default() };
        BufferedRecord::new(record, 0, admission, Instant::now(), &mut Rng::with_seed(0))
    }

    #[test]
    fn ledger_balances_after_random_operations() {
        let mut rng = Rng::with_seed(7);
        let mut ledger = Ledger::new(&Settings::default());
        let mut unsettled = Vec::new();
        let mut failed = Vec::new();
        let mut charged = [Size::default(); 6];
        let mut accepted = 0;
        for _ in 0..10_000 {
            match rng.u8(..6) {
                0 | 1 => {
                    let record = record(rng.usize(1..50), rng.u16(..6));
                    assert_eq!(ledger.count_accepted(record.size()), accepted);
                    accepted += 1;
                    charged[record.share as usize].add_record(record.size());
                    unsettled.push(record);
                }
                2 if !unsettled.is_empty() => {
                    ledger.count_delivered(&unsettled.swap_remove(0), Instant::now());
                }
                3 if !unsettled.is_empty() => {
                    let record = unsettled.swap_remove(0);
                    ledger.count_failed(&record, &FailureReason::Dropped);
                    failed.push(record.size());
                }
                4 if !failed.is_empty() => {
                    ledger.count_taken(failed.swap_remove(0));
                    if rng.bool() {
                        failed.push(rng.usize(1..50));
                        ledger.count_kept(failed[failed.len() - 1]);
                    }
                }
                5 if !unsettled.is_empty() => {
                    ledger.count_withdrawn(&unsettled.swap_remove(0));
                }
                _ => {}
            }
            if rng.bool() {
                let change = ledger.change_mut();
                charged[FAILED as usize] += mem::take(&mut change.failed);
                for (share, size) in change.take_released() {
                    charged[share as usize] -= size;
                }
                let mut buffered = Size::default();
                for share in &charged {
                    buffered += *share;
                }
                assert_eq!(buffered, ledger.buffered());
            }
            assert_eq!(ledger.unsettled().records, unsettled.len());
            assert_eq!(ledger.failed().bytes, failed.iter().sum::<usize>());
        }
    }
}
