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

/// Key shared by all records of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AggregationKey {
    /// Partition key and explicit hash key.
    Key(Key, Option<HashKey>),
    /// Explicit hash key of records without a partition key. The aggregate gets a random partition key.
    Random(Option<HashKey>),
    /// Start of the range of the predicted shard. Records with and without explicit hash keys do not share an
    /// aggregate, because the Python library of AWS assigns the hash key of one record to later records that have none.
    Shard { start: HashKey, is_explicit: bool },
}

impl AggregationKey {
    /// Returns the ordering key of the records, or `None` if their order is not preserved.
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

/// Open aggregates by key. A key with only one record has no aggregate yet, which saves memory if there are many keys.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    open: HashMap<AggregationKey, QueuedEntry, RandomState>,
    /// Keys whose entries can be closed, by the sequence number of the oldest record.
    ready: BTreeMap<u64, AggregationKey>,
    /// Keys whose ordering key is busy, by the sequence number of the oldest record. Records can still be added to
    /// their entries.
    blocked: BTreeMap<u64, AggregationKey>,
    is_ordered: bool,
    /// Aggregation key of the open entry of each ordering key. Used only with ordering.
    by_ordering_key: HashMap<OrderingKey, AggregationKey, RandomState>,
    records: usize,
}

impl Aggregator {
    pub(crate) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, ..Self::default() }
    }

    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn has_no_state(&self) -> bool {
        let keys =
            self.ready.is_empty() && self.blocked.is_empty() && self.by_ordering_key.is_empty();
        self.open.is_empty() && keys && self.records == 0
    }

    pub(crate) fn oldest(&self) -> Option<&BufferedRecord> {
        self.open.get(self.oldest_key()?).map(QueuedEntry::oldest)
    }

    fn oldest_key(&self) -> Option<&AggregationKey> {
        let heads = [self.ready.first_key_value(), self.blocked.first_key_value()];
        heads.into_iter().flatten().min_by_key(|(seq, _)| **seq).map(|(_, key)| key)
    }

    pub(crate) fn oldest_ready(&self) -> Option<&BufferedRecord> {
        let (_, key) = self.ready.first_key_value()?;
        self.open.get(key).map(QueuedEntry::oldest)
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.open.values()
    }

    /// Adds the latest record of a key to its open entry. Returns the completed entries: the open entry if the record
    /// did not fit into it, and the entry of the record if it is now full.
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
        self.ready.insert(open.seq(), key.clone());
        if self.is_ordered
            && let Some(ordering_key) = key.ordering_key()
        {
            self.by_ordering_key.insert(ordering_key, key.clone());
        }
        self.open.insert(key, open);
        [complete, None]
    }

    /// Removes the open entry with the same ordering key and a different aggregation key. Later records of the ordering
    /// key must neither be added to this entry nor overtake it.
    pub(crate) fn remove_other(&mut self, key: &AggregationKey) -> Option<QueuedEntry> {
        let ordering_key = key.ordering_key()?;
        let other = self.by_ordering_key.get(&ordering_key).filter(|other| *other != key)?.clone();
        self.remove(&other)
    }

    pub(crate) fn remove(&mut self, key: &AggregationKey) -> Option<QueuedEntry> {
        let removed = self.open.remove(key)?;
        self.records -= removed.len();
        let seq = removed.seq();
        if self.ready.remove(&seq).is_none() {
            self.blocked.remove(&seq);
        }
        if self.is_ordered
            && let Some(ordering_key) = key.ordering_key()
        {
            self.by_ordering_key.remove(&ordering_key);
        }
        Some(removed)
    }

    /// Removes the unblocked entry with the oldest record if that record meets `condition`. Entries with a busy
    /// ordering key are skipped, and stay blocked until [`unblock`](Self::unblock) is called.
    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
        is_busy: impl Fn(&OrderingKey) -> bool,
    ) -> Option<QueuedEntry> {
        loop {
            if !condition(self.oldest_ready()?) {
                return None;
            }
            let (seq, key) = self.ready.pop_first()?;
            if self.is_ordered && key.ordering_key().is_some_and(|key| is_busy(&key)) {
                self.blocked.insert(seq, key);
                continue;
            }
            self.ready.insert(seq, key.clone());
            return self.remove(&key);
        }
    }

    /// Removes the entry with the oldest record if that record meets `condition`, even if the entry is blocked.
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

    /// Unblocks the entry of an ordering key that is no longer busy.
    pub(crate) fn unblock(&mut self, ordering_key: &OrderingKey) {
        let key = self.by_ordering_key.get(ordering_key);
        let Some(seq) = key.and_then(|key| self.open.get(key)).map(QueuedEntry::seq) else {
            return;
        };
        if let Some(key) = self.blocked.remove(&seq) {
            self.ready.insert(seq, key);
        }
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        let Self { open, .. } = std::mem::replace(self, Self::new(self.is_ordered));
        open.into_values()
    }
}
