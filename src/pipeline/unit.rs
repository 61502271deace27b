use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use super::aggregation::Packing;
use super::pending::Pending;
use crate::aggregate::Layout;
use crate::record::{HashKey, Key, PartitionKey};
use crate::service::Entry;
use crate::shard::{HashMemo, Shard, ShardMap, hash_of};

/// What one entry of a request carries. It is delivered, or sent again, as a whole.
#[derive(Debug)]
pub(crate) enum Unit {
    Single(Pending),
    /// An aggregate of several records, or of one whose payload a reader would misread.
    Aggregate(Box<Aggregate>),
}

impl Unit {
    /// The records, in the order of acceptance. At least one.
    pub(crate) fn members(&self) -> &[Pending] {
        match self {
            Self::Single(pending) => std::slice::from_ref(pending),
            Self::Aggregate(aggregate) => &aggregate.members,
        }
    }

    pub(crate) fn members_mut(&mut self) -> &mut [Pending] {
        match self {
            Self::Single(pending) => std::slice::from_mut(pending),
            Self::Aggregate(aggregate) => &mut aggregate.members,
        }
    }

    pub(crate) fn into_members(self) -> Vec<Pending> {
        match self {
            Self::Single(pending) => vec![pending],
            Self::Aggregate(aggregate) => aggregate.into_members(),
        }
    }

    /// The record that was accepted first.
    #[inline]
    pub(crate) fn oldest(&self) -> &Pending {
        match self {
            Self::Single(pending) => pending,
            Self::Aggregate(aggregate) => &aggregate.members[0],
        }
    }

    /// Its place in the order of acceptance: that of its oldest record.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.oldest().seq
    }

    /// Looks for its place on the hash ring, that of its oldest record.
    pub(crate) fn find_place(&mut self, memo: &mut HashMemo) {
        self.members_mut()[0].find_place(memo);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Aggregate(aggregate) => aggregate.members.len(),
        }
    }

    /// Bytes of its entry: data and partition key.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Single(pending) => pending.size(),
            Self::Aggregate(aggregate) => aggregate.size(),
        }
    }

    /// Whether nothing more could join.
    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        match self {
            Self::Single(pending) => {
                packing.max_records <= 1 || pending.size() >= packing.max_bytes
            }
            Self::Aggregate(aggregate) => aggregate.is_full(packing),
        }
    }

    /// What a request carries of it.
    pub(crate) fn entry(&mut self) -> Entry {
        match self {
            Self::Single(pending) => pending.entry(),
            Self::Aggregate(aggregate) => aggregate.entry(),
        }
    }

    /// Encodes an aggregate ahead of its [entry](Self::entry). Returns the bytes that this took.
    pub(crate) fn encode(&mut self) -> usize {
        match self {
            Self::Aggregate(aggregate) if aggregate.encoded.is_none() => aggregate.encode().len(),
            _ => 0,
        }
    }

    /// Moves it elsewhere on the ring, away from a busy shard, if its records have random keys.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) {
        match self {
            Self::Single(pending) => {
                pending.redraw_key(rng);
            }
            Self::Aggregate(aggregate) => aggregate.redraw_key(rng),
        }
    }

    /// The aggregate, if it needs a prediction to be in one shard.
    pub(crate) fn predicted(&self) -> Option<(&Aggregate, &Arc<Shard>)> {
        match self {
            Self::Single(_) => None,
            Self::Aggregate(aggregate) => Some((aggregate, aggregate.shard.as_ref()?)),
        }
    }

    /// The same, to predict another one.
    pub(crate) fn as_predicted_mut(&mut self) -> Option<&mut Aggregate> {
        match self {
            Self::Aggregate(aggregate) if aggregate.shard.is_some() => Some(aggregate),
            _ => None,
        }
    }

    /// Takes the records out that `goes` says, and packs the others anew if there were any.
    pub(crate) fn without(
        self,
        packing: &Packing,
        goes: impl Fn(&Pending) -> bool,
    ) -> (Vec<Self>, Vec<Pending>) {
        if !self.members().iter().any(&goes) {
            return (vec![self], Vec::new());
        }
        let shard = self.predicted().map(|(_, shard)| shard.clone());
        let (gone, left) = self.into_members().into_iter().partition(goes);
        (Aggregate::pack_to_send(left, shard.as_ref(), packing), gone)
    }

    /// Closes an entry that no record joins any more. A payload that readers may take for an aggregate is
    /// sent as an aggregate of one, so that all readers find it unchanged, unless that is larger than a record
    /// may be.
    pub(crate) fn closed(self, packing: &Packing) -> Self {
        match self {
            Self::Single(pending) if packing.is_on() && pending.resembles_an_aggregate() => {
                let mut aggregate = Aggregate::new(pending, None, packing);
                match aggregate.size() <= packing.max_record_bytes {
                    true => Self::Aggregate(Box::new(aggregate)),
                    false => Self::Single(aggregate.members.remove(0)),
                }
            }
            other => other,
        }
    }

    /// Halves an aggregate. A single record is returned as it is.
    pub(crate) fn halve(self, packing: &Packing) -> ControlFlow<Pending, [Vec<Self>; 2]> {
        let shard = self.predicted().map(|(_, shard)| shard.clone());
        match self {
            Self::Single(pending) => ControlFlow::Break(pending),
            Self::Aggregate(aggregate) => {
                let mut first = aggregate.into_members();
                if first.len() == 1 {
                    return ControlFlow::Break(first.remove(0));
                }
                let second = first.split_off(first.len() / 2);
                let pack = |half| Aggregate::pack_to_send(half, shard.as_ref(), packing);
                ControlFlow::Continue([pack(first), pack(second)])
            }
        }
    }
}

/// Records that go out as one Kinesis record.
///
/// All of them hash to one place, or are predicted to lie in one shard.
#[derive(Debug)]
pub(crate) struct Aggregate {
    members: Vec<Pending>,
    layout: Layout,
    /// The partition key of the first member, as it is sent.
    key: Key,
    /// The entry's partition key, if it is another one.
    constant_key: Option<Key>,
    /// The shard that is predicted for them. Members that hash to one place need none.
    shard: Option<Arc<Shard>>,
    /// The lowest and the highest hash key, where a shard is predicted.
    span: (HashKey, HashKey),
    encoded: Option<Bytes>,
}

impl Aggregate {
    /// Begins with `first`, which has a key.
    fn new(first: Pending, shard: Option<Arc<Shard>>, packing: &Packing) -> Self {
        let key = first.key().unwrap_or_else(|| Key::from(""));
        let place = shard.as_ref().map_or(HashKey::new(0), |_| first.hash_key());
        let mut aggregate = Self {
            // With many keys there are many of two.
            members: Vec::with_capacity(2),
            layout: Layout::default(),
            key,
            constant_key: packing.constant_key.clone(),
            shard,
            span: (place, place),
            encoded: None,
        };
        // However large it is: it goes alone then.
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

    /// Whether nothing more could join.
    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        self.members.len() >= packing.max_records || self.size() >= packing.max_bytes
    }

    /// Makes room for a record that is [pushed](Self::push) next. False if there is none, by count or by
    /// bytes.
    pub(crate) fn makes_room(&mut self, next: &Pending, packing: &Packing) -> bool {
        let most = packing.max_bytes.saturating_sub(self.outer_key().len());
        self.members.len() < packing.max_records && self.add_within(most, next)
    }

    pub(crate) fn push(&mut self, next: Pending) {
        self.members.push(next);
    }

    fn add_within(&mut self, most: usize, next: &Pending) -> bool {
        let record = next.record();
        let (hash_key, data) = (record.explicit_hash_key(), record.data().len());
        let added = match record.partition_key() {
            PartitionKey::Explicit(key) => self.layout.add_within(most, key, hash_key, data),
            _ => self.layout.add_within(most, &self.member_key(next), hash_key, data),
        };
        if added && self.shard.is_some() {
            let place = next.hash_key();
            self.span = (self.span.0.min(place), self.span.1.max(place));
        }
        added
    }

    pub(crate) fn members(&self) -> &[Pending] {
        &self.members
    }

    /// Predicts the shard that `map` has for the members. False if they lie in more than one.
    pub(crate) fn predict(&mut self, map: &ShardMap) -> bool {
        let shard = map.find(self.span.0).filter(|shard| self.lies_in(shard));
        if let Some(shard) = shard {
            self.shard = Some(shard.clone());
        }
        shard.is_some()
    }

    /// Whether all members lie in `shard`.
    pub(crate) fn lies_in(&self, shard: &Shard) -> bool {
        shard.range().contains(self.span.0) && shard.range().contains(self.span.1)
    }

    /// Takes the aggregate apart into its records.
    fn into_members(mut self) -> Vec<Pending> {
        self.members.iter_mut().for_each(Pending::own_payload);
        self.members
    }

    /// [Packs](Self::pack) records into units that no other record joins.
    fn pack_to_send(
        members: Vec<Pending>,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
    ) -> Vec<Unit> {
        let packed = Self::pack(members, shard, packing).into_iter();
        packed.map(|unit| unit.closed(packing)).collect()
    }

    /// Packs records that belong together, in the order of acceptance, into as few as their sizes allow.
    pub(crate) fn pack(
        members: Vec<Pending>,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
    ) -> Vec<Unit> {
        let mut packed = Vec::new();
        let mut open: Option<Self> = None;
        for pending in members {
            if let Some(aggregate) = &mut open
                && aggregate.makes_room(&pending, packing)
            {
                aggregate.push(pending);
            } else {
                packed.extend(open.replace(Self::new(pending, shard.cloned(), packing)));
            }
        }
        packed.extend(open);
        packed.into_iter().map(Self::seal).collect()
    }

    /// One record alone goes out plain.
    fn seal(mut self) -> Unit {
        match self.members.len() {
            1 => Unit::Single(self.members.remove(0)),
            _ => Unit::Aggregate(Box::new(self)),
        }
    }

    /// Members without a key of their own share the first one's, unless they have hash keys of their own.
    fn member_key(&self, member: &Pending) -> Key {
        match (member.record().partition_key(), &self.shard) {
            (PartitionKey::Explicit(key), _) => key.clone(),
            (_, None) => self.key.clone(),
            (_, Some(_)) => member.key().unwrap_or_else(|| self.key.clone()),
        }
    }

    fn entry(&mut self) -> Entry {
        let data = match &self.encoded {
            Some(encoded) => encoded.clone(),
            None => self.encode(),
        };
        let explicit = self.members[0].record().explicit_hash_key();
        // A key that is not the members' own leads elsewhere, unless the place is given, too.
        let place = match self.constant_key {
            Some(_) => Some(explicit.unwrap_or_else(|| hash_of(&self.key))),
            None => explicit,
        };
        Entry::new(data, Some(self.outer_key().clone()), place)
    }

    /// Writes the aggregate. From then on the members' payloads are parts of it, so that they are not in
    /// memory twice.
    fn encode(&mut self) -> Bytes {
        let payloads = self.members.iter().map(|member| member.record().data());
        let encoded = self.layout.encode(payloads);
        for (member, place) in self.members.iter_mut().zip(self.layout.data_ranges()) {
            member.share_payload(encoded.slice(place));
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
