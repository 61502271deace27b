use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::pending::Pending;
use crate::pipeline::unit::Unit;

/// A queue of entries to be.
///
/// Always in the order of acceptance: what comes back from a failed request goes in front of everything
/// that was accepted after it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// What came back, and aggregates.
    placed: BTreeMap<u64, Unit>,
    fresh: VecDeque<Pending>,
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

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&Pending> {
        let placed = self.placed.first_key_value().map(|(_, unit)| unit.oldest());
        match (placed, self.fresh.front()) {
            (Some(placed), Some(fresh)) if fresh.seq < placed.seq => Some(fresh),
            (placed, fresh) => placed.or(fresh),
        }
    }

    /// Bytes of the oldest entry; none if there is no entry.
    pub(crate) fn front_bytes(&self) -> usize {
        let placed = self.placed.first_key_value().map(|(seq, unit)| (*seq, unit.size()));
        let fresh = self.fresh.front().map(|pending| (pending.seq, pending.size()));
        placed.into_iter().chain(fresh).min().map_or(0, |(_, bytes)| bytes)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.placed.values().flat_map(Unit::members).chain(&self.fresh)
    }

    /// Adds a record that was accepted after all others.
    pub(crate) fn push(&mut self, pending: Pending) {
        self.records += 1;
        self.bytes += pending.size();
        self.fresh.push_back(pending);
    }

    /// Puts an entry where it belongs in the order.
    pub(crate) fn insert(&mut self, unit: Unit) {
        self.records += unit.len();
        self.bytes += unit.size();
        self.placed.insert(unit.seq(), unit);
    }

    /// Takes the oldest entry if `condition` holds for its oldest record and its size.
    pub(crate) fn pop_if(
        &mut self,
        condition: impl FnOnce(&Pending, usize) -> bool,
    ) -> Option<Unit> {
        let placed = self.placed.first_entry();
        let fresh = self.fresh.front();
        let popped = match (placed, fresh) {
            (Some(placed), fresh) if fresh.is_none_or(|fresh| placed.get().seq() < fresh.seq) => {
                let unit = placed.get();
                condition(unit.oldest(), unit.size()).then(|| placed.remove())
            }
            (_, Some(fresh)) => condition(fresh, fresh.size())
                .then(|| self.fresh.pop_front().map(Unit::Single))
                .flatten(),
            _ => None,
        };
        if let Some(unit) = &popped {
            self.records -= unit.len();
            self.bytes -= unit.size();
        }
        popped
    }

    /// Takes the aggregates for which `condition` holds.
    pub(crate) fn extract_if(&mut self, condition: impl Fn(&mut Unit) -> bool) -> Vec<Unit> {
        let meeting =
            self.placed.iter_mut().filter_map(|(seq, unit)| condition(unit).then_some(*seq));
        let seqs: Vec<_> = meeting.collect();
        let extracted: Vec<_> = seqs.iter().filter_map(|seq| self.placed.remove(seq)).collect();
        for unit in &extracted {
            self.records -= unit.len();
            self.bytes -= unit.size();
        }
        extracted
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Unit> + use<> {
        let Self { placed, fresh, .. } = std::mem::take(self);
        placed.into_values().chain(fresh.into_iter().map(Unit::Single))
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
        seqs.into_iter().for_each(|seq| queue.push(pending(seq)));
        queue
    }

    fn seqs(queue: &Queue) -> Vec<u64> {
        queue.iter().map(|pending| pending.seq).collect()
    }

    #[test]
    fn what_returns_goes_to_its_place() {
        let mut queue = queue([7, 8]);
        [5, 6].into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&queue), [5, 6, 7, 8]);
        [4, 1].into_iter().for_each(|seq| queue.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&queue), [1, 4, 5, 6, 7, 8]);
        assert_eq!((queue.len(), queue.records(), queue.bytes()), (6, 6, 60));
        let mut next = || queue.pop_if(|oldest, size| oldest.seq < 7 && size == 10);
        let order: Vec<_> = std::iter::from_fn(&mut next).map(|unit| unit.seq()).collect();
        assert_eq!(order, [1, 4, 5, 6]);
        assert_eq!((seqs(&queue), queue.bytes()), (vec![7, 8], 20));
    }
}
