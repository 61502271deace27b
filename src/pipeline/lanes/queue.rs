use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::pending::Pending;
use crate::pipeline::unit::Unit;

/// An empty queue keeps room for so many entries at most, some 128 KiB: there is one for each shard, and
/// each may have held the whole buffer once.
const MOST_KEPT: usize = 1_024;

/// A queue of entries to be.
///
/// Always in the order of acceptance: what comes back from a failed request goes in front of everything
/// that was accepted after it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// What came after all others.
    fresh: VecDeque<Unit>,
    /// What came before one of those, by its place in the order.
    placed: BTreeMap<u64, Unit>,
    records: usize,
    bytes: usize,
}

impl Queue {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.placed.len() + self.fresh.len()
    }

    /// Records in those.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.placed.is_empty() && self.fresh.is_empty()
    }

    /// Bytes of those.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn oldest(&self) -> Option<&Unit> {
        let placed = self.placed.first_key_value().map(|(_, unit)| unit);
        match (placed, self.fresh.front()) {
            (Some(placed), Some(fresh)) if fresh.seq() < placed.seq() => Some(fresh),
            (placed, fresh) => placed.or(fresh),
        }
    }

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&Pending> {
        self.oldest().map(Unit::oldest)
    }

    /// Bytes of the oldest entry; none if there is no entry.
    pub(crate) fn front_bytes(&self) -> usize {
        self.oldest().map_or(0, Unit::size)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.placed.values().chain(&self.fresh).flat_map(Unit::members)
    }

    /// Puts an entry where it belongs in the order.
    pub(crate) fn insert(&mut self, unit: Unit) {
        self.records += unit.len();
        self.bytes += unit.size();
        if self.fresh.back().is_none_or(|last| last.seq() < unit.seq()) {
            self.fresh.push_back(unit);
        } else {
            self.placed.insert(unit.seq(), unit);
        }
    }

    /// Takes the oldest entry if `condition` holds for its oldest record and its size.
    #[inline]
    pub(crate) fn pop_if(
        &mut self,
        condition: impl FnOnce(&Pending, usize) -> bool,
    ) -> Option<Unit> {
        let oldest = self.oldest()?;
        let (seq, size) = (oldest.seq(), oldest.size());
        if !condition(oldest.oldest(), size) {
            return None;
        }
        let popped = match self.fresh.front() {
            Some(fresh) if fresh.seq() == seq => self.fresh.pop_front(),
            _ => self.placed.remove(&seq),
        }?;
        if self.fresh.is_empty() && self.fresh.capacity() > MOST_KEPT {
            self.fresh = VecDeque::new();
        }
        self.records -= popped.len();
        self.bytes -= size;
        Some(popped)
    }

    /// Takes the aggregates for which `condition` holds.
    pub(crate) fn extract_if(&mut self, condition: impl Fn(&mut Unit) -> bool) -> Vec<Unit> {
        let mut extracted = Vec::new();
        for mut unit in self.take_all() {
            if condition(&mut unit) {
                extracted.push(unit);
            } else {
                self.insert(unit);
            }
        }
        extracted
    }

    /// Takes everything, in order.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Unit> + use<> {
        let Self { placed, fresh, .. } = std::mem::take(self);
        let (mut placed, mut fresh) =
            (placed.into_values().peekable(), fresh.into_iter().peekable());
        std::iter::from_fn(move || match (placed.peek(), fresh.peek()) {
            (Some(before), Some(after)) if after.seq() < before.seq() => fresh.next(),
            (Some(_), _) => placed.next(),
            _ => fresh.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::Record;

    fn pending(seq: u64) -> Pending {
        let record = Record::from(("k", vec![0; 9]));
        Pending::new(record, seq, Instant::now(), &mut fastrand::Rng::with_seed(0))
    }

    fn queue(seqs: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::default();
        seqs.into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        queue
    }

    fn seqs(queue: &mut Queue) -> Vec<u64> {
        let units: Vec<_> = queue.take_all().collect();
        let seqs = units.iter().map(Unit::seq).collect();
        units.into_iter().for_each(|unit| queue.insert(unit));
        seqs
    }

    #[test]
    fn what_returns_goes_to_its_place() {
        let mut queue = queue([7, 8]);
        [5, 6].into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&mut queue), [5, 6, 7, 8]);
        [4, 1].into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&mut queue), [1, 4, 5, 6, 7, 8]);
        assert_eq!((queue.len(), queue.records(), queue.bytes()), (6, 6, 60));
        let mut next = || queue.pop_if(|oldest, size| oldest.seq < 7 && size == 10);
        let order: Vec<_> = std::iter::from_fn(&mut next).map(|unit| unit.seq()).collect();
        assert_eq!(order, [1, 4, 5, 6]);
        assert_eq!((seqs(&mut queue), queue.bytes()), (vec![7, 8], 20));
        // Between two that are there, and after all.
        [11, 9, 10].into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        assert_eq!((queue.fresh.len(), queue.placed.len()), (3, 2));
        let taken = queue.extract_if(|unit| unit.seq() % 2 == 0);
        assert_eq!(taken.iter().map(Unit::seq).collect::<Vec<_>>(), [8, 10]);
        assert_eq!((seqs(&mut queue), queue.records(), queue.bytes()), (vec![7, 9, 11], 3, 30));
    }

    #[test]
    fn a_burst_leaves_no_memory_behind_and_a_request_keeps_its_own() {
        let mut queue = queue(0..100_000);
        while queue.pop_if(|_, _| true).is_some() {}
        assert!(queue.fresh.capacity() <= 1_024, "{}", queue.fresh.capacity());
        (0..500).for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        let kept = queue.fresh.capacity();
        while queue.pop_if(|_, _| true).is_some() {}
        assert_eq!(queue.fresh.capacity(), kept, "of a full request nothing is allocated anew");
    }
}
