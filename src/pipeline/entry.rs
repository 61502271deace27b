use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fastrand::Rng;

use super::aggregation::Packing;
use super::backlog::{FALLBACK, LaneId, OrderId};
use super::buffered::BufferedRecord;
use crate::aggregate::Layout;
use crate::record::{AttemptError, HashKey, Key, PartitionKey};
use crate::service::Entry;
use crate::shard::{HashCache, Shard, hash_of};

/// What is queued, and becomes one entry of a request: a record or an aggregate. It is delivered, or retried, as a
/// whole.
#[derive(Debug)]
pub(crate) struct QueuedEntry {
    /// Set when the entry is queued.
    pub(super) route: Route,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Single(BufferedRecord),
    /// Several records, or one whose payload a reader would misread.
    Aggregate(Box<Aggregate>),
}

/// Where an entry goes: looked up once when it is queued, and used again when its request is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(super) lane: LaneId,
    /// The generation of the lane: another one means that the lane was closed since.
    pub(super) generation: u32,
    /// The ordering key, if the entry keeps an order.
    pub(super) order: Option<OrderId>,
    /// Whether it is known, and not only likely, that the lane's shard takes the entry.
    pub(super) is_certain: bool,
}

impl Route {
    /// The fallback lane, in no order.
    pub(super) const FALLBACK: Self =
        Self { lane: FALLBACK, generation: 0, order: None, is_certain: false };
}

impl QueuedEntry {
    pub(crate) fn single(record: BufferedRecord) -> Self {
        Self { route: Route::FALLBACK, content: Content::Single(record) }
    }

    pub(super) fn aggregate(aggregate: Aggregate) -> Self {
        Self { route: Route::FALLBACK, content: Content::Aggregate(Box::new(aggregate)) }
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self.content, Content::Aggregate(_))
    }

    /// The aggregate, if it is one.
    pub(super) fn as_aggregate_mut(&mut self) -> Option<&mut Aggregate> {
        match &mut self.content {
            Content::Single(_) => None,
            Content::Aggregate(aggregate) => Some(aggregate),
        }
    }

    /// The record, if the entry is no aggregate.
    pub(super) fn into_single(self) -> Result<BufferedRecord, Self> {
        match self.content {
            Content::Single(record) => Ok(record),
            content => Err(Self { content, ..self }),
        }
    }

    /// The records, in the order of acceptance. At least one.
    #[inline]
    pub(crate) fn members(&self) -> &[BufferedRecord] {
        match &self.content {
            Content::Single(record) => std::slice::from_ref(record),
            Content::Aggregate(aggregate) => &aggregate.members,
        }
    }

    #[inline]
    pub(crate) fn members_mut(&mut self) -> &mut [BufferedRecord] {
        match &mut self.content {
            Content::Single(record) => std::slice::from_mut(record),
            Content::Aggregate(aggregate) => &mut aggregate.members,
        }
    }

    pub(crate) fn into_members(self) -> Vec<BufferedRecord> {
        match self.content {
            Content::Single(record) => vec![record],
            Content::Aggregate(aggregate) => aggregate.into_members(),
        }
    }

    /// The record that was accepted first.
    #[inline]
    pub(crate) fn oldest(&self) -> &BufferedRecord {
        match &self.content {
            Content::Single(record) => record,
            Content::Aggregate(aggregate) => &aggregate.members[0],
        }
    }

    /// The sequence number of its oldest record.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.oldest().seq
    }

    /// Computes the hash key of its oldest record, unless it is known.
    pub(crate) fn ensure_hash_key(&mut self, cache: &mut HashCache) {
        self.members_mut()[0].ensure_hash_key(cache);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.content {
            Content::Single(_) => 1,
            Content::Aggregate(aggregate) => aggregate.members.len(),
        }
    }

    /// Bytes of the entry: data and partition key.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Single(record) => record.size(),
            Content::Aggregate(aggregate) => aggregate.size(),
        }
    }

    /// Whether no other record fits.
    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        match &self.content {
            Content::Single(record) => {
                packing.max_records <= 1 || record.size() >= packing.max_bytes
            }
            Content::Aggregate(aggregate) => aggregate.is_full(packing),
        }
    }

    /// The entry of a request.
    pub(crate) fn to_entry(&mut self) -> Entry {
        match &mut self.content {
            Content::Single(record) => record.to_entry(),
            Content::Aggregate(aggregate) => aggregate.to_entry(),
        }
    }

    /// Encodes an aggregate ahead of [`to_entry`](Self::to_entry). Returns the bytes that were encoded.
    pub(crate) fn encode(&mut self) -> usize {
        match &mut self.content {
            Content::Aggregate(aggregate) if aggregate.encoded.is_none() => {
                aggregate.encode().len()
            }
            _ => 0,
        }
    }

    /// Draws another random partition key, if its records have none of their own, so that the entry may leave a
    /// busy shard.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) {
        match &mut self.content {
            Content::Single(record) => {
                record.redraw_key(rng);
            }
            Content::Aggregate(aggregate) => aggregate.redraw_key(rng),
        }
    }

    /// The aggregate with the shard that is predicted for it, if it has members of several keys.
    pub(crate) fn predicted(&self) -> Option<(&Aggregate, &Arc<Shard>)> {
        match &self.content {
            Content::Single(_) => None,
            Content::Aggregate(aggregate) => Some((aggregate, aggregate.shard.as_ref()?)),
        }
    }

    /// Its records, each as an entry of its own.
    pub(super) fn into_singles(self, packing: &Packing) -> Vec<Self> {
        let singles = self.into_members().into_iter();
        singles.map(|record| Self::single(record).close(packing)).collect()
    }

    /// Records the end of a request that was sent at `sent_at`.
    pub(super) fn record_flight(&mut self, sent_at: Instant, now: Instant) {
        for record in self.members_mut() {
            record.record_flight(sent_at, now);
        }
    }

    /// Records the error of an attempt.
    pub(super) fn record_error(&mut self, error: &Arc<AttemptError>, now: Instant) {
        for record in self.members_mut() {
            record.record_error(error.clone(), now);
        }
    }

    /// Records an attempt after which the records may have been written.
    pub(super) fn set_outcome_unknown(&mut self) {
        for record in self.members_mut() {
            record.may_be_written = true;
        }
    }

    pub(super) fn count_attempt(&mut self) {
        for record in self.members_mut() {
            record.attempts += 1;
        }
    }

    /// The latest attempt does not count.
    pub(super) fn revoke_attempt(&mut self) {
        for record in self.members_mut() {
            record.attempts -= 1;
        }
    }

    /// Counts a failure of an unknown cause.
    pub(super) fn count_failure(&mut self) {
        for record in self.members_mut() {
            record.count_failure();
        }
    }

    /// Whether the latest attempt of a record has failed for an unknown cause.
    pub(super) fn has_failed(&self) -> bool {
        self.members().iter().any(|member| member.failures() > 0)
    }

    /// Removes the records for which `removes` is true, and packs the others again if there were any.
    pub(crate) fn without(
        self,
        packing: &Packing,
        removes: impl Fn(&BufferedRecord) -> bool,
    ) -> (Vec<Self>, Vec<BufferedRecord>) {
        if !self.members().iter().any(&removes) {
            return (vec![self], Vec::new());
        }
        let shard = self.predicted().map(|(_, shard)| shard.clone());
        let route = self.route;
        let (removed, left) = self.into_members().into_iter().partition(removes);
        (Aggregate::pack_to_send(left, shard.as_ref(), packing, route), removed)
    }

    /// Closes an entry that no other record joins. A payload that readers may take for an aggregate is sent as an
    /// aggregate of one, so that all readers find it unchanged, unless that is larger than a record may be.
    pub(crate) fn close(self, packing: &Packing) -> Self {
        let route = self.route;
        match self.content {
            Content::Single(record) if packing.is_on() && record.resembles_an_aggregate() => {
                let mut aggregate = Aggregate::new(record, None, packing);
                let content = if aggregate.size() <= packing.max_record_bytes {
                    Content::Aggregate(Box::new(aggregate))
                } else {
                    Content::Single(aggregate.members.remove(0))
                };
                Self { route, content }
            }
            content => Self { route, content },
        }
    }

    /// Halves an aggregate. A single record is returned as it is.
    pub(crate) fn halve(self, packing: &Packing) -> ControlFlow<BufferedRecord, [Vec<Self>; 2]> {
        let shard = self.predicted().map(|(_, shard)| shard.clone());
        let route = self.route;
        let mut first = self.into_members();
        if first.len() == 1 {
            return ControlFlow::Break(first.remove(0));
        }
        let second = first.split_off(first.len() / 2);
        let pack = |half| Aggregate::pack_to_send(half, shard.as_ref(), packing, route);
        ControlFlow::Continue([pack(first), pack(second)])
    }
}

/// Records that are sent as one Kinesis record.
///
/// All of them have the same hash key, or are predicted to belong to one shard.
#[derive(Debug)]
pub(crate) struct Aggregate {
    members: Vec<BufferedRecord>,
    layout: Layout,
    /// The partition key of the first member, as it is sent.
    key: Key,
    /// The entry's partition key, if it is another one.
    constant_key: Option<Key>,
    /// The predicted shard. `None` if all members have the same hash key.
    shard: Option<Arc<Shard>>,
    /// The lowest and the highest hash key, where a shard is predicted.
    hash_range: (HashKey, HashKey),
    encoded: Option<Bytes>,
}

impl Aggregate {
    /// Creates an aggregate of `first`, which has a key.
    fn new(first: BufferedRecord, shard: Option<Arc<Shard>>, packing: &Packing) -> Self {
        let key = first.key().unwrap_or_else(|| Key::from(""));
        let hash_key = shard.as_ref().map_or(HashKey::new(0), |_| first.hash_key());
        let mut aggregate = Self {
            // With many keys there are many of two.
            members: Vec::with_capacity(2),
            layout: Layout::default(),
            key,
            constant_key: packing.constant_key.clone(),
            shard,
            hash_range: (hash_key, hash_key),
            encoded: None,
        };
        // Without a bound: a record that is too large for an aggregate is sent alone.
        aggregate.add_within(usize::MAX, &first);
        aggregate.members.push(first);
        aggregate
    }

    /// Bytes of its entry: data and partition key.
    fn size(&self) -> usize {
        self.layout.size() + self.outer_key().len()
    }

    /// The entry's partition key.
    fn outer_key(&self) -> &Key {
        self.constant_key.as_ref().unwrap_or(&self.key)
    }

    /// Whether no other record fits.
    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        self.members.len() >= packing.max_records || self.size() >= packing.max_bytes
    }

    /// Adds a record if it fits, by count and by bytes. Returns the record if it does not.
    #[inline]
    pub(crate) fn try_push(
        &mut self,
        next: BufferedRecord,
        packing: &Packing,
    ) -> Result<(), BufferedRecord> {
        let most = packing.max_bytes.saturating_sub(self.outer_key().len());
        if self.members.len() >= packing.max_records || !self.add_within(most, &next) {
            return Err(next);
        }
        self.members.push(next);
        Ok(())
    }

    fn add_within(&mut self, most: usize, next: &BufferedRecord) -> bool {
        let record = next.record();
        let (hash_key, data) = (record.explicit_hash_key(), record.data().len());
        let added = match record.partition_key() {
            PartitionKey::Explicit(key) => self.layout.add_within(most, key, hash_key, data),
            _ => self.layout.add_within(most, &self.member_key(next), hash_key, data),
        };
        if added && self.shard.is_some() {
            let (hash_key, (first, last)) = (next.hash_key(), self.hash_range);
            self.hash_range = (first.min(hash_key), last.max(hash_key));
        }
        added
    }

    /// The lowest hash key of the members, where a shard is predicted.
    pub(crate) fn first_hash_key(&self) -> HashKey {
        self.hash_range.0
    }

    /// Predicts another shard for the members.
    pub(crate) fn assign_shard(&mut self, shard: Arc<Shard>) {
        self.shard = Some(shard);
    }

    /// Whether all members belong to `shard`.
    pub(crate) fn fits_shard(&self, shard: &Shard) -> bool {
        let (first, last) = self.hash_range;
        shard.range().contains(first) && shard.range().contains(last)
    }

    fn into_members(mut self) -> Vec<BufferedRecord> {
        for member in &mut self.members {
            member.own_payload();
        }
        self.members
    }

    /// [Packs](Self::pack) records into closed entries with the route of the entry that they were in.
    fn pack_to_send(
        members: Vec<BufferedRecord>,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
        route: Route,
    ) -> Vec<QueuedEntry> {
        let packed = Self::pack(members, shard, packing).into_iter();
        packed.map(|entry| QueuedEntry { route, ..entry.close(packing) }).collect()
    }

    /// Packs records that belong together, in the order of acceptance, into as few as their sizes allow.
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

    /// One record alone is sent plain.
    fn into_entry(mut self) -> QueuedEntry {
        match self.members.len() {
            1 => QueuedEntry::single(self.members.remove(0)),
            _ => QueuedEntry::aggregate(self),
        }
    }

    /// Members without a key of their own share the first one's, unless they have hash keys of their own.
    fn member_key(&self, member: &BufferedRecord) -> Key {
        match (member.record().partition_key(), &self.shard) {
            (PartitionKey::Explicit(key), _) => key.clone(),
            (_, None) => self.key.clone(),
            (_, Some(_)) => member.key().unwrap_or_else(|| self.key.clone()),
        }
    }

    fn to_entry(&mut self) -> Entry {
        let data = match &self.encoded {
            Some(encoded) => encoded.clone(),
            None => self.encode(),
        };
        let explicit = self.members[0].record().explicit_hash_key();
        // A key that is not the members' own needs their hash key beside it.
        let hash_key = match self.constant_key {
            Some(_) => Some(explicit.unwrap_or_else(|| hash_of(&self.key))),
            None => explicit,
        };
        Entry::new(data, Some(self.outer_key().clone()), hash_key)
    }

    /// Encodes the aggregate. The members' payloads become slices of it, so that they are not in memory twice.
    fn encode(&mut self) -> Bytes {
        let payloads = self.members.iter().map(|member| member.record().data());
        let encoded = self.layout.encode(payloads);
        for (member, range) in self.members.iter_mut().zip(self.layout.data_ranges()) {
            member.set_payload(encoded.slice(range));
        }
        self.encoded = Some(encoded.clone());
        encoded
    }

    fn redraw_key(&mut self, rng: &mut Rng) {
        let first = &mut self.members[0];
        if self.shard.is_none() && first.redraw_key(rng) {
            self.key = first.key().unwrap_or_else(|| self.key.clone());
            self.layout.replace_only_key(self.key.clone());
            self.encoded = None;
        }
    }
}
