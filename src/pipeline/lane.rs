use std::collections::{BTreeMap, VecDeque};

use super::backoff::Backoff;
use super::pending::Pending;
use crate::limits::Limits;

/// A queue of waiting records that share a fate: they are throttled together and wait together.
///
/// Always in the order of acceptance: what comes back from a failed request goes in front of everything
/// that was accepted after it.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What came back. Requests take the oldest first, so all of it is older than what never left.
    returned: BTreeMap<u64, Pending>,
    fresh: VecDeque<Pending>,
    bytes: usize,
    /// After throttles and transient failures of single entries.
    pub(crate) backoff: Backoff,
}

impl Lane {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { returned: BTreeMap::new(), fresh: VecDeque::new(), bytes: 0, backoff }
    }

    pub(crate) fn len(&self) -> usize {
        self.returned.len() + self.fresh.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.fresh.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Pending> {
        self.returned.first_key_value().map(|(_, pending)| pending).or(self.fresh.front())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.returned.values().chain(&self.fresh)
    }

    /// Adds a record that was accepted after all others.
    pub(crate) fn push(&mut self, pending: Pending) {
        self.bytes += pending.size();
        self.fresh.push_back(pending);
    }

    /// Puts records that were taken back where they belong in the order.
    pub(crate) fn requeue(&mut self, returned: Vec<Pending>) {
        self.bytes += returned.iter().map(Pending::size).sum::<usize>();
        self.returned.extend(returned.into_iter().map(|pending| (pending.seq, pending)));
    }

    /// Whether a request cut now would have no room for one more record.
    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.len() >= limits.request_entries() || self.bytes >= limits.request_bytes()
    }

    /// Takes the oldest records that fit into one request: at least one, if there is any.
    pub(crate) fn take_request(&mut self, limits: &Limits) -> Vec<Pending> {
        let mut taken = Vec::with_capacity(self.len().min(limits.request_entries()));
        let mut bytes = 0;
        while taken.len() < limits.request_entries() {
            let fits = |next: &Pending| bytes == 0 || bytes + next.size() <= limits.request_bytes();
            let Some(pending) = self.pop_if(fits) else { break };
            bytes += pending.size();
            taken.push(pending);
        }
        taken
    }

    /// Takes the oldest record if `condition` holds for it.
    pub(crate) fn pop_if(&mut self, condition: impl FnOnce(&Pending) -> bool) -> Option<Pending> {
        if !condition(self.front()?) {
            return None;
        }
        let returned = self.returned.pop_first().map(|(_, pending)| pending);
        let pending = returned.or_else(|| self.fresh.pop_front())?;
        self.bytes -= pending.size();
        Some(pending)
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> {
        self.bytes = 0;
        let returned = std::mem::take(&mut self.returned).into_values();
        returned.chain(std::mem::take(&mut self.fresh))
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
        lane.requeue(vec![pending(5), pending(6)]);
        assert_eq!(seqs(&lane), [5, 6, 7, 8]);
        lane.requeue(vec![pending(1), pending(4)]);
        assert_eq!(seqs(&lane), [1, 4, 5, 6, 7, 8]);
        lane.requeue(vec![]);
        assert_eq!((lane.len(), lane.bytes), (6, 60));
        let taken = lane.take_request(&Limits::default().with_request_entries(5));
        let order = taken.iter().map(|pending| pending.seq);
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
