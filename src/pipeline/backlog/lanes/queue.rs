use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;

/// The capacity that an empty queue keeps, some 128 KiB. There is a queue for each shard, and each may have held the
/// whole buffer once.
const MAX_IDLE_CAPACITY: usize = 1_024;

/// A queue of entries in the order of acceptance: a retried entry is in front of everything that was accepted later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Entries that were pushed in order.
    fresh: VecDeque<QueuedEntry>,
    /// Entries that were pushed later than a younger one, by sequence number.
    requeued: BTreeMap<u64, QueuedEntry>,
    records: usize,
    bytes: usize,
}

impl Queue {
    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.requeued.len() + self.fresh.len()
    }

    /// The number of records.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requeued.is_empty() && self.fresh.is_empty()
    }

    /// The sum of the entries' sizes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn oldest(&self) -> Option<&QueuedEntry> {
        let requeued = self.requeued.first_key_value().map(|(_, entry)| entry);
        match (requeued, self.fresh.front()) {
            (Some(requeued), Some(fresh)) if fresh.seq() < requeued.seq() => Some(fresh),
            (requeued, fresh) => requeued.or(fresh),
        }
    }

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&BufferedRecord> {
        self.oldest().map(QueuedEntry::oldest)
    }

    /// The size of the oldest entry; 0 if there is none.
    pub(crate) fn front_bytes(&self) -> usize {
        self.oldest().map_or(0, QueuedEntry::size)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.requeued.values().chain(&self.fresh)
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, entry: QueuedEntry) {
        self.records += entry.len();
        self.bytes += entry.size();
        if self.fresh.back().is_none_or(|last| last.seq() < entry.seq()) {
            self.fresh.push_back(entry);
        } else {
            self.requeued.insert(entry.seq(), entry);
        }
    }

    /// Removes the oldest entry if `condition` is true for its oldest record and its size.
    #[inline]
    pub(crate) fn pop_if(
        &mut self,
        condition: impl FnOnce(&BufferedRecord, usize) -> bool,
    ) -> Option<QueuedEntry> {
        let oldest = self.oldest()?;
        let (seq, size, records) = (oldest.seq(), oldest.size(), oldest.len());
        if !condition(oldest.oldest(), size) {
            return None;
        }
        self.records -= records;
        self.bytes -= size;
        if self.fresh.front().is_none_or(|fresh| fresh.seq() != seq) {
            self.requeued.remove(&seq)
        } else if self.fresh.len() == 1 && self.fresh.capacity() > MAX_IDLE_CAPACITY {
            std::mem::take(&mut self.fresh).pop_front()
        } else {
            self.fresh.pop_front()
        }
    }

    /// Removes the entries for which `condition` is true.
    pub(crate) fn extract_if(
        &mut self,
        condition: impl Fn(&mut QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let mut extracted = Vec::new();
        for mut entry in self.drain() {
            if condition(&mut entry) {
                extracted.push(entry);
            } else {
                self.push(entry);
            }
        }
        extracted
    }

    /// Removes everything, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        let Self { requeued, fresh, .. } = std::mem::take(self);
        let (mut requeued, mut fresh) =
            (requeued.into_values().peekable(), fresh.into_iter().peekable());
        std::iter::from_fn(move || match (requeued.peek(), fresh.peek()) {
            (Some(before), Some(after)) if after.seq() < before.seq() => fresh.next(),
            (Some(_), _) => requeued.next(),
            _ => fresh.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::Record;

    fn record(seq: u64) -> BufferedRecord {
        let record = Record::from(("k", vec![0; 9]));
        BufferedRecord::new(record, seq, Instant::now(), &mut fastrand::Rng::with_seed(0))
    }

    fn queue(seqs: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::default();
        seqs.into_iter().for_each(|seq| queue.push(QueuedEntry::single(record(seq))));
        queue
    }

    fn seqs(queue: &mut Queue) -> Vec<u64> {
        let entries: Vec<_> = queue.drain().collect();
        let seqs = entries.iter().map(QueuedEntry::seq).collect();
        entries.into_iter().for_each(|entry| queue.push(entry));
        seqs
    }

    #[test]
    fn queue_sorts_requeued_entries() {
        let mut queue = queue([7, 8]);
        [5, 6].into_iter().for_each(|seq| queue.push(QueuedEntry::single(record(seq))));
        assert_eq!(seqs(&mut queue), [5, 6, 7, 8]);
        [4, 1].into_iter().for_each(|seq| queue.push(QueuedEntry::single(record(seq))));
        assert_eq!(seqs(&mut queue), [1, 4, 5, 6, 7, 8]);
        assert_eq!((queue.len(), queue.records(), queue.bytes()), (6, 6, 60));
        let mut next = || queue.pop_if(|oldest, size| oldest.seq < 7 && size == 10);
        let order: Vec<_> = std::iter::from_fn(&mut next).map(|entry| entry.seq()).collect();
        assert_eq!(order, [1, 4, 5, 6]);
        assert_eq!((seqs(&mut queue), queue.bytes()), (vec![7, 8], 20));
        // Between two that are there, and after all.
        [11, 9, 10].into_iter().for_each(|seq| queue.push(QueuedEntry::single(record(seq))));
        assert_eq!((queue.fresh.len(), queue.requeued.len()), (3, 2));
        let taken = queue.extract_if(|entry| entry.seq() % 2 == 0);
        assert_eq!(taken.iter().map(QueuedEntry::seq).collect::<Vec<_>>(), [8, 10]);
        assert_eq!((seqs(&mut queue), queue.records(), queue.bytes()), (vec![7, 9, 11], 3, 30));
    }

    #[test]
    fn queue_frees_memory_of_a_burst() {
        let mut queue = queue(0..100_000);
        while queue.pop_if(|_, _| true).is_some() {}
        assert!(queue.fresh.capacity() <= 1_024, "{}", queue.fresh.capacity());
        (0..500).for_each(|seq| queue.push(QueuedEntry::single(record(seq))));
        let kept = queue.fresh.capacity();
        while queue.pop_if(|_, _| true).is_some() {}
        assert_eq!(queue.fresh.capacity(), kept, "of a full request nothing is allocated anew");
    }
}
