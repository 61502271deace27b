use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use super::aggregate::Aggregate;
use super::aggregation::Packing;
use super::backlog::{FALLBACK, LaneId, OrderId};
use super::buffered::BufferedRecord;
use crate::record::AttemptError;
use crate::service::Entry;
use crate::shard::{HashCache, Shard};

/// A queued record or aggregate, which is sent as one entry of a request.
#[derive(Debug)]
pub(crate) struct QueuedEntry {
    pub(super) route: Route,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Single(BufferedRecord),
    /// Several records, or a single record whose payload resembles an aggregate.
    Aggregate(Box<Aggregate>),
}

/// Lane and ordering key of an entry, determined when the entry is queued and used again when its request is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(super) lane: LaneId,
    /// Generation of the lane when the entry was routed. A lane with another generation is no longer current.
    pub(super) generation: u32,
    pub(super) order: Option<OrderId>,
    /// Set to `true` if the shard of the lane certainly, and not only probably, owns the hash key of the entry.
    pub(super) is_certain: bool,
}

impl Route {
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

    pub(super) fn with_route(self, route: Route) -> Self {
        Self { route, ..self }
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self.content, Content::Aggregate(_))
    }

    pub(super) fn as_aggregate_mut(&mut self) -> Option<&mut Aggregate> {
        match &mut self.content {
            Content::Single(_) => None,
            Content::Aggregate(aggregate) => Some(aggregate),
        }
    }

    #[expect(clippy::result_large_err, reason = "the entry goes back to the caller")]
    pub(super) fn into_single(self) -> Result<BufferedRecord, Self> {
        match self.content {
            Content::Single(record) => Ok(record),
            content => Err(Self { content, ..self }),
        }
    }

    /// Returns the records in the order of acceptance. The slice is never empty.
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

    #[inline]
    pub(crate) fn oldest(&self) -> &BufferedRecord {
        match &self.content {
            Content::Single(record) => record,
            Content::Aggregate(aggregate) => &aggregate.members[0],
        }
    }

    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.oldest().seq
    }

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

    pub(super) fn record_bytes(&self) -> usize {
        self.members().iter().map(BufferedRecord::size).sum()
    }

    /// Returns the size of the data and partition key of the entry.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Single(record) => record.size(),
            Content::Aggregate(aggregate) => aggregate.size(),
        }
    }

    pub(crate) fn is_full(&self, packing: &Packing) -> bool {
        match &self.content {
            Content::Single(record) => {
                packing.max_records <= 1 || record.size() >= packing.max_bytes
            }
            Content::Aggregate(aggregate) => aggregate.is_full(packing),
        }
    }

    pub(crate) fn build_entry(&mut self) -> Entry {
        match &mut self.content {
            Content::Single(record) => record.build_entry(),
            Content::Aggregate(aggregate) => aggregate.build_entry(),
        }
    }

    /// Encodes the entry if it is an aggregate that has not been encoded yet. Returns the number of encoded bytes.
    pub(crate) fn encode(&mut self) -> usize {
        match &mut self.content {
            Content::Aggregate(aggregate) if aggregate.encoded.is_none() => {
                aggregate.encode().len()
            }
            _ => 0,
        }
    }

    /// Draws a new random key for records without a partition key, so that the entry can be routed to another shard.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) {
        match &mut self.content {
            Content::Single(record) => {
                record.redraw_key(rng);
            }
            Content::Aggregate(aggregate) => aggregate.redraw_key(rng),
        }
    }

    /// Returns the aggregate and its predicted shard, or `None` if no shard is predicted.
    pub(crate) fn predicted(&self) -> Option<(&Aggregate, &Arc<Shard>)> {
        match &self.content {
            Content::Single(_) => None,
            Content::Aggregate(aggregate) => Some((aggregate, aggregate.shard.as_ref()?)),
        }
    }

    pub(super) fn into_singles(self, packing: &Packing) -> Vec<Self> {
        let singles = self.into_members().into_iter();
        singles.map(|record| Self::single(record).close(packing)).collect()
    }

    pub(super) fn record_flight(&mut self, sent_at: Instant, now: Instant) {
        for record in self.members_mut() {
            record.record_flight(sent_at, now);
        }
    }

    pub(super) fn record_error(&mut self, error: &Arc<AttemptError>, now: Instant) {
        for record in self.members_mut() {
            record.record_error(error.clone(), now);
        }
    }

    pub(super) fn set_outcome_unknown(&mut self) {
        for record in self.members_mut() {
            record.set_may_have_been_written();
        }
    }

    pub(super) fn count_attempt(&mut self) {
        for record in self.members_mut() {
            record.attempts += 1;
        }
    }

    pub(super) fn revoke_attempt(&mut self) {
        for record in self.members_mut() {
            record.attempts -= 1;
        }
    }

    pub(super) fn count_failure(&mut self) {
        for record in self.members_mut() {
            record.count_failure();
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.members().iter().any(|member| member.failures() > 0)
    }

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

    /// Closes the entry, so that no more records are added. A single record that resembles an aggregate is packed, so
    /// that consumers receive it unchanged, unless the aggregate would be too large or aggregation is off.
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

    /// Splits an aggregate into two halves. Returns a single record unchanged.
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
