use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use super::aggregation::Packing;
use super::buffered::BufferedRecord;
use super::entry::{QueuedEntry, Route};
use crate::aggregate::Layout;
use crate::record::{HashKey, Key, PartitionKey};
use crate::service::Entry;
use crate::shard::{Shard, hash_of};

/// Records sent together as one Kinesis record. They have the same hash key or the same predicted shard.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(super) members: Vec<BufferedRecord>,
    layout: Layout,
    key: Key,
    /// Partition key of the entry, if it differs from `key`.
    constant_key: Option<Key>,
    /// Predicted shard. `None` if all members have the same hash key.
    pub(super) shard: Option<Arc<Shard>>,
    /// Lowest and highest hash key of the members. Used only if a shard is predicted.
    hash_range: (HashKey, HashKey),
    pub(super) encoded: Option<Bytes>,
}

impl Aggregate {
    /// Creates an aggregate with `first` as its only member. The record must have a key.
    pub(super) fn new(first: BufferedRecord, shard: Option<Arc<Shard>>, packing: &Packing) -> Self {
        let key = first.key().unwrap_or_else(|| Key::from(""));
        let hash_key = shard.as_ref().map_or(HashKey::new(0), |_| first.hash_key());
        let mut aggregate = Self {
            members: Vec::with_capacity(2),
            layout: Layout::default(),
            key,
            constant_key: packing.constant_key.clone(),
            shard,
            hash_range: (hash_key, hash_key),
            encoded: None,
        };
        // The first record has no size limit, because it is sent alone if it is too large for an aggregate.
        aggregate.add_within(usize::MAX, &first);
        aggregate.members.push(first);
        aggregate
    }

    pub(super) fn size(&self) -> usize {
        self.layout.size() + self.outer_key().len()
    }

    fn outer_key(&self) -> &Key {
        self.constant_key.as_ref().unwrap_or(&self.key)
    }

    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        self.members.len() >= packing.max_records || self.size() >= packing.max_bytes
    }

    #[inline]
    #[expect(clippy::result_large_err, reason = "the record goes back to the caller")]
    pub(crate) fn try_push(
        &mut self,
        next: BufferedRecord,
        packing: &Packing,
    ) -> Result<(), BufferedRecord> {
        let max = packing.max_bytes.saturating_sub(self.outer_key().len());
        if self.members.len() >= packing.max_records || !self.add_within(max, &next) {
            return Err(next);
        }
        self.members.push(next);
        Ok(())
    }

    fn add_within(&mut self, max: usize, next: &BufferedRecord) -> bool {
        let record = next.record();
        let hash_key = record.explicit_hash_key();
        let data = record.data().len();
        let added = match record.partition_key() {
            PartitionKey::Explicit(key) => self.layout.add_within(max, key, hash_key, data),
            _ => self.layout.add_within(max, &self.member_key(next), hash_key, data),
        };
        if added && self.shard.is_some() {
            let hash_key = next.hash_key();
            let (first, last) = self.hash_range;
            self.hash_range = (first.min(hash_key), last.max(hash_key));
        }
        added
    }

    pub(crate) fn first_hash_key(&self) -> HashKey {
        self.hash_range.0
    }

    pub(crate) fn assign_shard(&mut self, shard: Arc<Shard>) {
        self.shard = Some(shard);
    }

    pub(crate) fn fits_shard(&self, shard: &Shard) -> bool {
        let (first, last) = self.hash_range;
        shard.range().contains(first) && shard.range().contains(last)
    }

    pub(super) fn into_members(mut self) -> Vec<BufferedRecord> {
        for member in &mut self.members {
            member.own_payload();
        }
        self.members
    }

    pub(super) fn pack_to_send(
        members: Vec<BufferedRecord>,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
        route: Route,
    ) -> Vec<QueuedEntry> {
        let packed = Self::pack(members, shard, packing).into_iter();
        packed.map(|entry| entry.close(packing).with_route(route)).collect()
    }

    /// Packs records, in the order of acceptance, into few entries. The records must share a shard or key.
    pub(crate) fn pack(
        members: Vec<BufferedRecord>,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
    ) -> Vec<QueuedEntry> {
        let mut packed = Vec::new();
        let mut open: Option<Self> = None;
        for record in members {
            let left = match &mut open {
                Some(aggregate) => aggregate.try_push(record, packing).err(),
                None => Some(record),
            };
            if let Some(record) = left {
                packed.extend(open.replace(Self::new(record, shard.cloned(), packing)));
            }
        }
        packed.extend(open);
        packed.into_iter().map(Self::into_entry).collect()
    }

    fn into_entry(mut self) -> QueuedEntry {
        match self.members.len() {
            1 => QueuedEntry::single(self.members.remove(0)),
            _ => QueuedEntry::aggregate(self),
        }
    }

    /// Returns the partition key encoded for `member`. A member without a partition key shares the key of the first
    /// member. If a shard is predicted, it uses its own random key instead.
    fn member_key(&self, member: &BufferedRecord) -> Key {
        match (member.record().partition_key(), &self.shard) {
            (PartitionKey::Explicit(key), _) => key.clone(),
            (_, None) => self.key.clone(),
            (_, Some(_)) => member.key().unwrap_or_else(|| self.key.clone()),
        }
    }

    pub(super) fn build_entry(&mut self) -> Entry {
        let data = match &self.encoded {
            Some(encoded) => encoded.clone(),
            None => self.encode(),
        };
        let explicit = self.members[0].record().explicit_hash_key();
        // The constant key does not hash to the shard of the members, so the entry needs their hash key.
        let hash_key = match self.constant_key {
            Some(_) => Some(explicit.unwrap_or_else(|| hash_of(&self.key))),
            None => explicit,
        };
        Entry::new(data, Some(self.outer_key().clone()), hash_key)
    }

    /// Encodes the aggregate. The payloads of the members become slices of the data, so each is stored only once.
    pub(super) fn encode(&mut self) -> Bytes {
        let payloads = self.members.iter().map(|member| member.record().data());
        let encoded = self.layout.encode(payloads);
        for (member, range) in self.members.iter_mut().zip(self.layout.data_ranges()) {
            member.set_payload(encoded.slice(range));
        }
        self.encoded = Some(encoded.clone());
        encoded
    }

    pub(super) fn redraw_key(&mut self, rng: &mut Rng) {
        let first = &mut self.members[0];
        if self.shard.is_none() && first.redraw_key(rng) {
            self.key = first.key().unwrap_or_else(|| self.key.clone());
            self.layout.replace_only_key(self.key.clone());
            self.encoded = None;
        }
    }
}
