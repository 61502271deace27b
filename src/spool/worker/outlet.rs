use std::collections::VecDeque;
use std::task::Waker;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::pipeline::Size;
use crate::record::Record;

/// Caller that waits for a flush.
pub(crate) type FlushReply = oneshot::Sender<Result<(), Error>>;

/// Bounds of the records in the outlet. A group of records that is being written can exceed them.
pub(super) const BOUNDS: Size = Size { records: 8_192, bytes: 4 << 20 };

/// Records that were written and wait for the driver, in the order of their sequence numbers.
///
/// A record that does not fit stays only on disk, and so do all later records, until the outlet has reached them by
/// reading.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    queue: VecDeque<Outgoing>,
    size: Size,
    /// All records with lower sequence numbers were added, or need not be delivered.
    loaded: u64,
    /// Flushes that wait until the outlet has reached a sequence number, in order.
    flushes: VecDeque<(u64, FlushReply)>,
    /// Waker of the driver, until it is woken.
    driver: Option<Waker>,
}

/// Item for the driver.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Record(OutgoingRecord),
    /// Flush of all earlier records.
    Flush(FlushReply),
}

#[derive(Debug)]
pub(crate) struct OutgoingRecord {
    pub(crate) seq: u64,
    pub(crate) record: Record,
    pub(crate) accepted: Accepted,
}

/// Time at which a record was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Accepted {
    At(Instant),
    /// Milliseconds since the Unix epoch, for a record that was read from the disk.
    AtMillis(u64),
}

impl Outlet {
    pub(super) fn new(first: u64) -> Self {
        Self { loaded: first, ..Self::default() }
    }

    /// Returns the sequence number of the next record that the outlet needs.
    pub(super) fn loaded(&self) -> u64 {
        self.loaded
    }

    pub(super) fn has_space(&self) -> bool {
        self.size.records < BOUNDS.records && self.size.bytes < BOUNDS.bytes
    }

    /// Returns the space for records to read, once more than half of it is free.
    pub(super) fn free_space(&self) -> Option<Size> {
        let is_low = self.size.records < BOUNDS.records / 2 && self.size.bytes < BOUNDS.bytes / 2;
        let mut free = BOUNDS;
        is_low.then(|| {
            free -= self.size;
            free
        })
    }

    /// Adds a record, which must be the next one.
    pub(super) fn push(&mut self, record: OutgoingRecord) {
        debug_assert!(record.seq >= self.loaded, "records are added in order");
        self.advance(record.seq);
        self.loaded = record.seq + 1;
        self.size.add_record(record.record.size());
        self.queue.push_back(Outgoing::Record(record));
        self.advance(self.loaded);
    }

    /// Notes that all records with lower sequence numbers were added, or need not be delivered.
    pub(super) fn advance(&mut self, seq: u64) {
        self.loaded = self.loaded.max(seq);
        while let Some((_, reply)) = self.flushes.pop_front_if(|(end, _)| *end <= self.loaded) {
            self.queue.push_back(Outgoing::Flush(reply));
        }
    }

    /// Adds a flush of all records with sequence numbers below `end`.
    pub(super) fn push_flush(&mut self, end: u64, reply: FlushReply) {
        self.flushes.push_back((end, reply));
        self.advance(self.loaded);
    }

    /// Moves up to `max` items to the driver, and stores the driver's waker.
    pub(super) fn take(&mut self, max: usize, waker: &Waker, taken: &mut VecDeque<Outgoing>) {
        let count = max.min(self.queue.len());
        for outgoing in self.queue.drain(..count) {
            if let Outgoing::Record(OutgoingRecord { record, .. }) = &outgoing {
                self.size -= Size { records: 1, bytes: record.size() };
            }
            taken.push_back(outgoing);
        }
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.driver.take()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the flushes out of the outlet.
    pub(super) fn take_flushes(&mut self) -> Vec<FlushReply> {
        let mut flushes: Vec<_> = self.flushes.drain(..).map(|(_, reply)| reply).collect();
        for outgoing in std::mem::take(&mut self.queue) {
            match outgoing {
                Outgoing::Flush(reply) => flushes.push(reply),
                record @ Outgoing::Record(_) => self.queue.push_back(record),
            }
        }
        flushes
    }

    /// Takes all records, which are not delivered. Keeps the flushes, which fail when the driver takes them.
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        self.size = Size::default();
        let mut records = Vec::new();
        for outgoing in std::mem::take(&mut self.queue) {
            match outgoing {
                Outgoing::Record(outgoing) => records.push(outgoing.record),
                flush @ Outgoing::Flush(_) => self.queue.push_back(flush),
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, bytes: usize) -> OutgoingRecord {
        let record = Record::from(vec![0; bytes]);
        OutgoingRecord { seq, record, accepted: Accepted::At(Instant::now()) }
    }

    /// Takes everything. A number is a record, and `None` is a flush.
    fn taken(outlet: &mut Outlet) -> Vec<Option<u64>> {
        let mut taken = VecDeque::new();
        outlet.take(usize::MAX, Waker::noop(), &mut taken);
        let seq = |outgoing| match outgoing {
            Outgoing::Record(record) => Some(record.seq),
            Outgoing::Flush(_) => None,
        };
        taken.into_iter().map(seq).collect()
    }

    #[test]
    fn flush_follows_records_that_it_covers() {
        let mut outlet = Outlet::new(5);
        outlet.push_flush(5, oneshot::channel().0);
        outlet.push(record(5, 1));
        outlet.push_flush(8, oneshot::channel().0);
        outlet.push(record(6, 1));
        assert_eq!(taken(&mut outlet), [None, Some(5), Some(6)]);
        outlet.push(record(9, 1));
        assert_eq!(taken(&mut outlet), [None, Some(9)], "7 and 8 need not be delivered");
        outlet.push_flush(12, oneshot::channel().0);
        outlet.advance(12);
        assert_eq!(taken(&mut outlet), [None]);
    }

    #[test]
    fn space_is_free_again_below_half() {
        let mut outlet = Outlet::new(0);
        let quarter = BOUNDS.bytes / 4;
        for seq in 0..4 {
            assert!(outlet.has_space());
            outlet.push(record(seq, quarter - 8));
        }
        assert!(!outlet.has_space());
        let mut driver = VecDeque::new();
        outlet.take(2, Waker::noop(), &mut driver);
        assert_eq!((outlet.has_space(), outlet.free_space()), (true, None));
        outlet.take(1, Waker::noop(), &mut driver);
        let free = Size { records: BOUNDS.records - 1, bytes: 3 * quarter };
        assert_eq!(outlet.free_space(), Some(free));
    }

    #[test]
    fn flushes_and_records_are_taken_separately() {
        let mut outlet = Outlet::new(0);
        outlet.push(record(0, 1));
        outlet.push_flush(1, oneshot::channel().0);
        outlet.push_flush(7, oneshot::channel().0);
        assert_eq!(outlet.take_flushes().len(), 2);
        assert_eq!(outlet.take_records().len(), 1);
        assert!(outlet.is_empty());
        assert_eq!(outlet.free_space(), Some(BOUNDS));
    }
}
