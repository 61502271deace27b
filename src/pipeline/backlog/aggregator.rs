use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::key_order::OrderingKey;
use crate::pipeline::aggregate::Aggregate;
use crate::pipeline::aggregation::Packing;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::record::{HashKey, Key};
use crate::shard::Shard;

/// Records with the same key may share an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AggregationKey {
    /// The partition key and the explicit hash key.
    Key(Key, Option<HashKey>),
    /// The explicit hash key of records without a partition key. They get a random one together.
    Random(Option<HashKey>),
    /// The start of the predicted shard's range, and whether the records have explicit hash keys. AWS's Python
    /// library reads a hash key into members that have none, if another member has one.
    Shard { start: HashKey, is_explicit: bool },
}

impl AggregationKey {
    /// What its records keep their order with, if they have an order.
    pub(crate) fn into_ordering_key(self) -> Option<OrderingKey> {
        match self {
            Self::Key(key, _) => Some(OrderingKey::Key(key)),
            Self::Random(_) => None,
            Self::Shard { start, .. } => Some(OrderingKey::Shard(start)),
        }
    }

    fn ordering_key(&self) -> Option<OrderingKey> {
        self.clone().into_ordering_key()
    }
}

/// The open aggregates, one for each key. An entry is an aggregate only from its second record on, so that many keys
/// with a record each take little memory.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    open: HashMap<AggregationKey, QueuedEntry, RandomState>,
    /// The keys by the sequence number of their oldest record.
    free: BTreeMap<u64, AggregationKey>,
    /// Keys whose ordering key is busy. Their aggregates go on filling.
    held: BTreeMap<u64, AggregationKey>,
    is_ordered: bool,
    /// With ordering, the one open aggregate of each ordering key.
    by_ordering_key: HashMap<OrderingKey, AggregationKey, RandomState>,
    records: usize,
}

impl Aggregator {
    pub(crate) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, ..Self::default() }
    }

    /// The number of records in open entries.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn holds_no_state(&self) -> bool {
        let keys = self.free.is_empty() && self.held.is_empty() && self.by_ordering_key.is_empty();
        self.open.is_empty() && keys && self.records == 0
    }

    /// The oldest record.
    pub(crate) fn oldest(&self) -> Option<&BufferedRecord> {
        self.open.get(self.oldest_key()?).map(QueuedEntry::oldest)
    }

    fn oldest_key(&self) -> Option<&AggregationKey> {
        let heads = [self.free.first_key_value(), self.held.first_key_value()];
        heads.into_iter().flatten().min_by_key(|(seq, _)| **seq).map(|(_, key)| key)
    }

    /// The oldest record that is not held.
    pub(crate) fn oldest_free(&self) -> Option<&BufferedRecord> {
        let (_, key) = self.free.first_key_value()?;
        self.open.get(key).map(QueuedEntry::oldest)
    }

    /// The number of entries that are not held.
    pub(crate) fn free_len(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.open.values()
    }

    /// Adds a record that was accepted after all others of its key. Returns what is complete: the entry that the
    /// record does not fit into, and the one that it fills.
    pub(crate) fn push(
        &mut self,
        mut record: BufferedRecord,
        key: AggregationKey,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
    ) -> [Option<QueuedEntry>; 2] {
        if let Some(open) = self.open.get_mut(&key)
            && let Some(aggregate) = open.as_aggregate_mut()
        {
            match aggregate.try_push(record, packing) {
                Ok(()) => {
                    self.records += 1;
                    let is_full = open.is_full(packing);
                    return [if is_full { self.remove(&key) } else { None }, None];
                }
                Err(rejected) => record = rejected,
            }
        }
        let (complete, open) = match self.remove(&key).map(QueuedEntry::into_single) {
            None => (None, QueuedEntry::single(record)),
            Some(Err(full)) => (Some(full), QueuedEntry::single(record)),
            Some(Ok(first)) => {
                let mut packed = Aggregate::pack(vec![first, record], shard, packing);
                match (packed.pop(), packed.pop()) {
                    (Some(last), before) => (before, last),
                    (None, _) => return [None, None],
                }
            }
        };
        if open.is_full(packing) {
            return [complete, Some(open)];
        }
        self.records += open.len();
        self.free.insert(open.seq(), key.clone());
        if self.is_ordered
            && let Some(ordering_key) = key.ordering_key()
        {
            self.by_ordering_key.insert(ordering_key, key.clone());
        }
        self.open.insert(key, open);
        [complete, None]
    }

    /// Removes the open entry with the same ordering key as `key`, and another key: later records must neither join
    /// it nor overtake it.
    pub(crate) fn remove_other(&mut self, key: &AggregationKey) -> Option<QueuedEntry> {
        let ordering_key = key.ordering_key()?;
        let other = self.by_ordering_key.get(&ordering_key).filter(|other| *other != key)?.clone();
        self.remove(&other)
    }

    /// Removes the open entry of a key.
    pub(crate) fn remove(&mut self, key: &AggregationKey) -> Option<QueuedEntry> {
        let removed = self.open.remove(key)?;
        self.records -= removed.len();
        let seq = removed.seq();
        if self.free.remove(&seq).is_none() {
            self.held.remove(&seq);
        }
        if self.is_ordered
            && let Some(ordering_key) = key.ordering_key()
        {
            self.by_ordering_key.remove(&ordering_key);
        }
        Some(removed)
    }

    /// Removes the entry with the oldest record if `condition` is true for that record. Entries whose ordering key
    /// `is_busy` are held until it is [free](Self::release).
    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
        is_busy: impl Fn(&OrderingKey) -> bool,
    ) -> Option<QueuedEntry> {
        loop {
            if !condition(self.oldest_free()?) {
                return None;
            }
            let (seq, key) = self.free.pop_first()?;
            if self.is_ordered && key.ordering_key().is_some_and(|key| is_busy(&key)) {
                self.held.insert(seq, key);
                continue;
            }
            self.free.insert(seq, key.clone());
            return self.remove(&key);
        }
    }

    /// Removes the entry with the oldest record, held or not, if `condition` is true for that record.
    pub(crate) fn pop_any_oldest_if(
        &mut self,
        condition: impl FnOnce(&BufferedRecord) -> bool,
    ) -> Option<QueuedEntry> {
        if !condition(self.oldest()?) {
            return None;
        }
        let key = self.oldest_key()?.clone();
        self.remove(&key)
    }

    /// Releases the entry that was held because of this ordering key.
    pub(crate) fn release(&mut self, ordering_key: &OrderingKey) {
        let key = self.by_ordering_key.get(ordering_key);
        let Some(seq) = key.and_then(|key| self.open.get(key)).map(QueuedEntry::seq) else {
            return;
        };
        if let Some(key) = self.held.remove(&seq) {
            self.free.insert(seq, key);
        }
    }

    /// Removes everything.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        let Self { open, .. } = std::mem::replace(self, Self::new(self.is_ordered));
        open.into_values()
    }
}
