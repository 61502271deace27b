use std::collections::BTreeMap;

use crate::record::Tracker;

/// Receipts of records that are only on disk, by sequence number.
#[derive(Debug)]
pub(super) struct Receipts {
    trackers: BTreeMap<u64, Tracker>,
    /// Number of receipts at which those that were dropped are removed.
    prune_at: usize,
}

/// Minimum number of receipts at which those that were dropped are removed.
const MIN_PRUNED: usize = 1_024;

impl Default for Receipts {
    fn default() -> Self {
        Self { trackers: BTreeMap::new(), prune_at: MIN_PRUNED }
    }
}

impl Receipts {
    pub(super) fn insert(&mut self, seq: u64, tracker: Tracker) {
        if tracker.is_abandoned() {
            return;
        }
        if self.trackers.len() >= self.prune_at {
            self.trackers.retain(|_, tracker| !tracker.is_abandoned());
            // The cost per receipt is constant, because half of the receipts are new the next time.
            self.prune_at = MIN_PRUNED.max(2 * self.trackers.len());
        }
        self.trackers.insert(seq, tracker);
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Tracker> {
        // Most records have no receipt, so the map is usually empty.
        if self.trackers.is_empty() { None } else { self.trackers.remove(&seq) }
    }

    /// Takes the receipts of the records below `seq`.
    pub(super) fn take_before(&mut self, seq: u64) -> BTreeMap<u64, Tracker> {
        if self.trackers.first_key_value().is_none_or(|(first, _)| *first >= seq) {
            return BTreeMap::new();
        }
        let later = self.trackers.split_off(&seq);
        std::mem::replace(&mut self.trackers, later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Receipt, Record};

    fn tracker() -> (Tracker, Receipt) {
        let (mut record, receipt) = Record::from("x").tracked();
        (record.take_tracker().unwrap(), receipt)
    }

    #[test]
    fn dropped_receipts_are_removed() {
        let mut receipts = Receipts::default();
        let mut kept = Vec::new();
        for seq in 0..10_000 {
            let (tracker, receipt) = tracker();
            if seq % 100 == 0 {
                kept.push(receipt);
                receipts.insert(seq, tracker);
            } else {
                receipts.insert(seq, tracker);
                drop(receipt);
            }
        }
        assert!(receipts.trackers.len() < MIN_PRUNED + 1, "{}", receipts.trackers.len());
        assert_eq!(kept.len(), 100);
        for seq in (0..10_000).step_by(100) {
            assert!(receipts.remove(seq).is_some());
            assert!(receipts.remove(seq).is_none());
        }
    }

    #[test]
    fn receipts_below_number_are_taken() {
        let mut receipts = Receipts::default();
        let mut kept = Vec::new();
        for seq in [3, 5, 7] {
            let (tracker, receipt) = tracker();
            kept.push(receipt);
            receipts.insert(seq, tracker);
        }
        assert!(receipts.take_before(3).is_empty());
        assert_eq!(receipts.take_before(7).into_keys().collect::<Vec<_>>(), [3, 5]);
        assert!(receipts.remove(5).is_none());
        assert!(receipts.remove(7).is_some());
    }
}
