use std::collections::VecDeque;

use super::backoff::Backoff;
use super::pending::Pending;
use crate::limits::Limits;

/// A queue of waiting records that share a fate: they are throttled together and wait together.
///
/// Always in the order of acceptance: what comes back from a failed request goes in front of everything
/// that was accepted after it.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: VecDeque<Pending>,
    bytes: usize,
    /// After throttles and transient failures of single entries.
    pub(crate) backoff: Backoff,
}

impl Lane {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, backoff }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Pending> {
        self.queue.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    /// Adds a record that was accepted after all others.
    pub(crate) fn push(&mut self, pending: Pending) {
        self.bytes += pending.size();
        self.queue.push_back(pending);
    }

    /// Puts records back where they belong in the order. They must be in order themselves.
    ///
    /// Costs as much as there are older records to merge with; those are at most what other failed
    /// requests returned before, never the whole queue.
    pub(crate) fn requeue(&mut self, mut returned: Vec<Pending>) {
        let Some(newest) = returned.last().map(|pending| pending.seq) else { return };
        self.bytes += returned.iter().map(Pending::size).sum::<usize>();
        let older = self.queue.iter().take_while(|pending| pending.seq < newest).count();
        let mut older: Vec<_> = self.queue.drain(..older).collect();
        loop {
            let next = match (returned.last(), older.last()) {
                (Some(a), Some(b)) if a.seq < b.seq => older.pop(),
                (None, _) => older.pop(),
                _ => returned.pop(),
            };
            match next {
                Some(pending) => self.queue.push_front(pending),
                None => return,
            }
        }
    }

    /// Whether a request cut now would have no room for one more record.
    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.queue.len() >= limits.request_entries() || self.bytes >= limits.request_bytes()
    }

    /// Takes the oldest records that fit into one request: at least one, if there is any.
    pub(crate) fn take_request(&mut self, limits: &Limits) -> Vec<Pending> {
        let mut bytes = 0;
        let fitting = self.queue.iter().take(limits.request_entries()).take_while(|pending| {
            bytes += pending.size();
            bytes <= limits.request_bytes()
        });
        let count = fitting.count().max(1).min(self.queue.len());
        let taken: Vec<_> = self.queue.drain(..count).collect();
        self.bytes -= taken.iter().map(Pending::size).sum::<usize>();
        taken
    }

    /// Takes the oldest record if `condition` holds for it.
    pub(crate) fn pop_if(&mut self, condition: impl FnOnce(&Pending) -> bool) -> Option<Pending> {
        if !condition(self.queue.front()?) {
            return None;
        }
        let pending = self.queue.pop_front()?;
        self.bytes -= pending.size();
        Some(pending)
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> {
        self.bytes = 0;
        std::mem::take(&mut self.queue).into_iter()
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
        let mut lane = lane([3, 7, 8]);
        lane.requeue(vec![pending(5), pending(6)]);
        assert_eq!(seqs(&lane), [3, 5, 6, 7, 8]);
        lane.requeue(vec![pending(1), pending(4)]);
        assert_eq!(seqs(&lane), [1, 3, 4, 5, 6, 7, 8]);
        lane.requeue(vec![]);
        assert_eq!(lane.bytes, 70);
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
