use std::collections::{BTreeMap, VecDeque};

use super::backoff::Backoff;
use super::pending::Pending;
use super::unit::Unit;
use crate::limits::Limits;

/// A queue of entries to be that share a fate: they are throttled together and wait together.
///
/// Always in the order of acceptance: what comes back from a failed request goes in front of everything
/// that was accepted after it.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What came back, and aggregates.
    placed: BTreeMap<u64, Unit>,
    fresh: VecDeque<Pending>,
    records: usize,
    bytes: usize,
    /// After throttles and transient failures of single entries.
    pub(crate) backoff: Backoff,
}

impl Lane {
    pub(crate) fn new(backoff: Backoff) -> Self {
        let (placed, fresh) = (BTreeMap::new(), VecDeque::new());
        Self { placed, fresh, records: 0, bytes: 0, backoff }
    }

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

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&Pending> {
        let placed = self.placed.first_key_value().map(|(_, unit)| unit.oldest());
        match (placed, self.fresh.front()) {
            (Some(placed), Some(fresh)) if fresh.seq < placed.seq => Some(fresh),
            (placed, fresh) => placed.or(fresh),
        }
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

    pub(crate) fn extend(&mut self, units: impl IntoIterator<Item = Unit>) {
        units.into_iter().for_each(|unit| self.insert(unit));
    }

    /// Whether no request could carry what is here and one entry more.
    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.len() >= limits.request_entries() || self.bytes >= limits.request_bytes()
    }

    /// Takes the oldest entries that fit into one request: at least one, if there is any.
    pub(crate) fn take_request(&mut self, limits: &Limits) -> Vec<Unit> {
        let mut taken = Vec::with_capacity(self.len().min(limits.request_entries()));
        let mut bytes = 0;
        while taken.len() < limits.request_entries() {
            let fits = |size: usize| taken.is_empty() || bytes + size <= limits.request_bytes();
            let Some(unit) = self.pop_if(|_, size| fits(size)) else { break };
            bytes += unit.size();
            taken.push(unit);
        }
        taken
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
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        (self.records, self.bytes) = (0, 0);
        let placed = std::mem::take(&mut self.placed).into_values().flat_map(Unit::into_members);
        placed.chain(std::mem::take(&mut self.fresh))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::record::Record;

    fn pending(seq: u64) -> Pending {
        let record = Record::from(("k", vec![0; 9]));
        Pending::new(record, seq, Instant::now(), &mut fastrand::Rng::with_seed(0))
    }

    fn lane(seqs: impl IntoIterator<Item = u64>) -> Lane {
        let mut lane = Lane::new(Backoff::new(Duration::ZERO, Duration::ZERO));
        seqs.into_iter().for_each(|seq| lane.push(pending(seq)));
        lane
    }

    fn seqs(lane: &Lane) -> Vec<u64> {
        lane.iter().map(|pending| pending.seq).collect()
    }

    #[test]
    fn what_returns_goes_to_its_place() {
        let mut lane = lane([7, 8]);
        [5, 6].into_iter().for_each(|seq| lane.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&lane), [5, 6, 7, 8]);
        [4, 1].into_iter().for_each(|seq| lane.insert(Unit::Single(pending(seq))));
        assert_eq!(seqs(&lane), [1, 4, 5, 6, 7, 8]);
        assert_eq!((lane.len(), lane.records(), lane.bytes), (6, 6, 60));
        let taken = lane.take_request(&Limits::default().with_request_entries(5));
        let order = taken.iter().map(Unit::seq);
        assert_eq!(order.collect::<Vec<_>>(), [1, 4, 5, 6, 7]);
        assert_eq!((seqs(&lane), lane.bytes), (vec![8], 10));
    }

    #[test]
    fn a_request_is_cut_at_the_byte_and_at_the_record_limit() {
        let limits = Limits::default().with_record_bytes(10).with_request_bytes(39);
        let mut lane = lane(0..10);
        assert!(lane.fills_request(&limits));
        assert_eq!(lane.take_request(&limits).len(), 3, "a fourth would make 40 bytes");
        assert_eq!(lane.take_request(&limits.with_request_bytes(40)).len(), 4);
        assert!(!lane.fills_request(&limits), "30 of 39 bytes");
        assert!(lane.fills_request(&limits.with_request_entries(3)));
        assert_eq!(lane.take_request(&limits.with_request_entries(2)).len(), 2);
        assert_eq!((lane.len(), lane.bytes), (1, 10));
    }
}
