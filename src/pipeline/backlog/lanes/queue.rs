use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;

/// Maximum number of entries for which an empty queue keeps memory, about 128 KiB. Larger queues free their memory,
/// because there is one queue per shard, and a burst can fill all of them.
const MAX_IDLE_CAPACITY: usize = 1_024;

/// Queue of entries in the order of acceptance. A retried entry precedes all entries that were accepted later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    fresh: VecDeque<QueuedEntry>,
    /// Entries that were pushed after a later entry, by sequence number.
    requeued: BTreeMap<u64, QueuedEntry>,
    records: usize,
    bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.requeued.len() + self.fresh.len()
    }

    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requeued.is_empty() && self.fresh.is_empty()
    }

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

    pub(crate) fn front(&self) -> Option<&BufferedRecord> {
        self.oldest().map(QueuedEntry::oldest)
    }

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

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        let Self { requeued, fresh, .. } = std::mem::take(self);
        let mut requeued = requeued.into_values().peekable();
        let mut fresh = fresh.into_iter().peekable();
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
    use crate::pipeline::Admission;
    use crate::record::Record;

    fn record(seq: u64) -> BufferedRecord {
        let record = Record::from(("k", vec![0; 9]));
        BufferedRecord::new(
            record,
            seq,
            Admission::default(),
            Instant::now(),
            &mut fastrand::Rng::with_seed(0),
        )
    }

    fn queue(seqs: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::default();
        push(&mut queue, seqs);
        queue
    }

    fn push(queue: &mut Queue, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            queue.push(QueuedEntry::single(record(seq)));
        }
    }

    fn seqs(queue: &mut Queue) -> Vec<u64> {
        let entries: Vec<_> = queue.drain().collect();
        let seqs = entries.iter().map(QueuedEntry::seq).collect();
        for entry in entries {
            queue.push(entry);
        }
        seqs
    }

    #[test]
    fn queue_sorts_requeued_entries() {
        let mut queue = queue([7, 8]);
        push(&mut queue, [5, 6]);
        assert_eq!(seqs(&mut queue), [5, 6, 7, 8]);
        push(&mut queue, [4, 1]);
        assert_eq!(seqs(&mut queue), [1, 4, 5, 6, 7, 8]);
        assert_eq!((queue.len(), queue.records(), queue.bytes()), (6, 6, 60));
        let mut next = || queue.pop_if(|oldest, size| oldest.seq < 7 && size == 10);
        let order: Vec<_> = std::iter::from_fn(&mut next).map(|entry| entry.seq()).collect();
        assert_eq!(order, [1, 4, 5, 6]);
        assert_eq!((seqs(&mut queue), queue.bytes()), (vec![7, 8], 20));
        push(&mut queue, [11, 9, 10]);
        assert_eq!((queue.fresh.len(), queue.requeued.len()), (3, 2));
        let taken = queue.extract_if(|entry| entry.seq() % 2 == 0);
        assert_eq!(taken.iter().map(QueuedEntry::seq).collect::<Vec<_>>(), [8, 10]);
        assert_eq!((seqs(&mut queue), queue.records(), queue.bytes()), (vec![7, 9, 11], 3, 30));
    }

    #[test]
    fn empty_queue_frees_burst_capacity() {
        let mut queue = queue(0..100_000);
        while queue.pop_if(|_, _| true).is_some() {}
        assert!(queue.fresh.capacity() <= 1_024, "{}", queue.fresh.capacity());
        push(&mut queue, 0..500);
        let kept = queue.fresh.capacity();
        while queue.pop_if(|_, _| true).is_some() {}
        assert_eq!(queue.fresh.capacity(), kept, "capacity for a full request is kept");
    }
}
