//! Backlog of buffered records that are not in flight. Each record is in exactly one of five places: an open aggregate,
//! a lane, the queue of its ordering key, a part of a bisected request, or the queue of isolated records.

mod aggregator;
mod batch;
mod bisection;
mod isolated;
mod key_order;
mod lanes;
mod repartition;

use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

pub(super) use self::batch::BatchParams;
pub(super) use self::key_order::OrderId;
pub(crate) use self::lanes::LaneId;
pub(super) use self::lanes::{EntryOutcome, FALLBACK};
pub(super) use self::repartition::Repartition;

use self::aggregator::{AggregationKey, Aggregator};
use self::bisection::Bisection;
use self::isolated::Isolated;
use self::key_order::{KeyOrder, Next, OrderingKey};
use self::lanes::Lanes;
use super::aggregation::Packing;
use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::health::Health;
use super::in_flight::Completion;
use super::ordering::RecordOrdering;
use super::samples::Samples;
use super::topology::Topology;
use super::work::Work;
use crate::limits::Limits;
use crate::record::PartitionKey;
use crate::settings::Settings;
use crate::shard::Shard;

#[derive(Debug)]
pub(super) struct Backlog {
    packing: Packing,
    is_ordered: bool,
    /// `None` without aggregation.
    aggregator: Option<Box<Aggregator>>,
    /// Entries that wait for an earlier entry of their ordering key. `None` without ordering.
    key_order: Option<Box<KeyOrder>>,
    lanes: Lanes,
    bisection: Bisection,
    isolated: Isolated,
    /// With ordering, aggregates are formed by key while records are isolated, so that no other keys are delayed.
    isolates_keys: bool,
    /// Set to `true` with ordering if the backlog must be repacked before the next request is sent.
    repartition_due: bool,
}

impl Backlog {
    pub(super) fn new(settings: &Settings) -> Self {
        let is_ordered = settings.ordering == RecordOrdering::PerKey;
        let aggregator = || Box::new(Aggregator::new(is_ordered));
        Self {
            packing: Packing::new(settings),
            is_ordered,
            aggregator: settings.is_aggregating().then(aggregator),
            key_order: is_ordered.then(Box::default),
            lanes: Lanes::new(settings.limits.quota(), settings.backoff),
            bisection: Bisection::default(),
            isolated: Isolated::new(settings.backoff),
            isolates_keys: false,
            repartition_due: false,
        }
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.aggregator.as_ref().is_none_or(|aggregator| aggregator.is_empty())
            && self.key_order.as_ref().is_none_or(|order| order.records() == 0)
            && self.bisection.is_empty()
            && self.isolated.is_empty()
    }

    pub(super) fn records(&self) -> usize {
        let open = self.aggregator.as_ref().map_or(0, |aggregator| aggregator.records());
        let ordered = self.key_order.as_ref().map_or(0, |order| order.records());
        self.lanes.records() + open + ordered + self.bisection.records() + self.isolated.records()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        let ordered = self.key_order.iter().flat_map(|order| order.iter());
        let open = self.aggregator.iter().flat_map(|aggregator| aggregator.iter());
        self.lanes
            .iter()
            .chain(ordered)
            .chain(open)
            .chain(self.bisection.iter())
            .chain(self.isolated.iter())
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        self.unisolated_heads().chain(self.isolated.oldest())
    }

    fn unisolated_heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        let ordered = self.key_order.as_ref().and_then(|order| order.oldest());
        let open = self.aggregator.as_ref().and_then(|aggregator| aggregator.oldest());
        let queues = [self.lanes.front(), ordered, open];
        queues.into_iter().flatten().chain(self.bisection.heads())
    }

    pub(super) fn has_unisolated(&self) -> bool {
        self.unisolated_heads().next().is_some()
    }

    /// Returns the oldest record that can be sent, except isolated records and those in bisected requests.
    pub(super) fn oldest_sendable(&self) -> Option<&BufferedRecord> {
        let open = self.aggregator.as_ref().and_then(|aggregator| aggregator.oldest_ready());
        match (self.lanes.front_sendable(), open) {
            (Some(queued), Some(open)) if open.seq < queued.seq => Some(open),
            (queued, open) => queued.or(open),
        }
    }

    pub(super) fn oldest_closed(&self) -> Option<&BufferedRecord> {
        self.lanes.front_sendable()
    }

    pub(super) fn fills_request(&self, limits: &Limits) -> bool {
        self.lanes.fills_request(limits)
    }

    pub(super) fn push(
        &mut self,
        mut record: BufferedRecord,
        topology: &mut Topology,
        rng: &mut Rng,
        work: &mut Work,
    ) {
        topology.ensure_hash_key(&mut record);
        self.avoid_paused_lane(&mut record, topology, rng);
        if self.aggregator.is_none() {
            return self.release(QueuedEntry::single(record), topology);
        }
        for entry in self.pack(record, topology).into_iter().flatten() {
            // Encode each full aggregate here. Encoding all those of a request together would block the task.
            self.release_encoded(entry, topology, work);
        }
    }

    /// Draws a second random key for a record whose lane is paused, and keeps the key whose lane has fewer entries.
    ///
    /// See Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    fn avoid_paused_lane(&self, record: &mut BufferedRecord, topology: &Topology, rng: &mut Rng) {
        if !topology.has_multiple_shards()
            || *record.record().partition_key() != PartitionKey::Random
        {
            return;
        }
        let lane = topology.lane_of_record(record);
        if self.lanes.is_paused(lane) {
            let queued = self.lanes.queued(lane);
            record.redraw_key_if(rng, |redrawn| {
                self.lanes.queued(topology.lane_of_record(redrawn)) < queued
            });
        }
    }

    /// Adds a record to the open aggregate of its key. Returns the completed entries in order.
    fn pack(&mut self, record: BufferedRecord, topology: &Topology) -> [Option<QueuedEntry>; 3] {
        let key = aggregation_key(&record, self.isolates_keys, topology);
        let Some((aggregator, (key, shard))) = self.aggregator.as_mut().zip(key) else {
            return [Some(QueuedEntry::single(record)), None, None];
        };
        let earlier = if self.is_ordered { aggregator.remove_other(&key) } else { None };
        if shard.is_none() && topology.is_sent_alone(&record) {
            return [earlier, aggregator.remove(&key), Some(QueuedEntry::single(record))];
        }
        let [first, second] = aggregator.push(record, key, shard, &self.packing);
        [earlier, first, second]
    }

    fn ordering_key(&self, record: &BufferedRecord, topology: &Topology) -> Option<OrderingKey> {
        if !self.is_ordered {
            return None;
        }
        aggregation_key(record, self.isolates_keys, topology)?.0.into_ordering_key()
    }

    /// Queues a closed entry in its lane, or behind an earlier entry of its ordering key.
    #[inline]
    fn release(&mut self, entry: QueuedEntry, topology: &mut Topology) {
        if self.key_order.is_none() {
            return self.push_to_lane(entry, topology);
        }
        let released =
            match self.ordering_key(entry.oldest(), topology).zip(self.key_order.as_mut()) {
                Some((key, key_order)) => key_order.push(key, entry),
                None => Some(entry),
            };
        if let Some(entry) = released {
            self.push_to_lane(entry, topology);
        }
    }

    fn release_encoded(&mut self, entry: QueuedEntry, topology: &mut Topology, work: &mut Work) {
        let mut entry = entry.close(&self.packing);
        work.add_bytes(entry.encode());
        self.release(entry, topology);
    }

    #[inline(always)]
    fn push_to_lane(&mut self, mut entry: QueuedEntry, topology: &mut Topology) {
        topology.route(&mut entry);
        self.lanes.push(entry);
    }

    /// Requeues entries that have been sent. Aggregates whose records can no longer share an aggregate are repacked.
    pub(super) fn push_front(&mut self, entries: Vec<QueuedEntry>, topology: &mut Topology) {
        let mut split = Vec::new();
        for mut entry in entries {
            if self.may_stay_aggregated(&mut entry, topology) {
                self.push_to_lane(entry, topology);
            } else if self.is_ordered {
                self.repartition_due = true;
                self.push_to_lane(entry, topology);
            } else {
                split.extend(entry.into_members());
            }
        }
        if !split.is_empty() {
            self.repack(split, topology);
        }
    }

    fn may_stay_aggregated(&self, entry: &mut QueuedEntry, topology: &Topology) -> bool {
        entry.predicted().is_none() || (!self.isolates_keys && topology.reassign_shard(entry))
    }

    /// Repacks records, together with the records in the open aggregates of their keys.
    fn repack(&mut self, mut records: Vec<BufferedRecord>, topology: &mut Topology) {
        let mut open = Vec::new();
        for record in &records {
            let key = aggregation_key(record, self.isolates_keys, topology).map(|(key, _)| key);
            let aggregator = self.aggregator.as_mut();
            let entry = aggregator.zip(key).and_then(|(aggregator, key)| aggregator.remove(&key));
            open.extend(entry.into_iter().flat_map(QueuedEntry::into_members));
        }
        records.extend(open);
        self.push_sorted(records, topology);
    }

    fn push_sorted(&mut self, mut records: Vec<BufferedRecord>, topology: &mut Topology) {
        records.sort_unstable_by_key(|record| record.seq);
        for record in records {
            if self.aggregator.is_some() {
                for entry in self.pack(record, topology).into_iter().flatten() {
                    self.release(entry.close(&self.packing), topology);
                }
            } else {
                self.release(QueuedEntry::single(record), topology);
            }
        }
    }

    /// Replaces a released entry with its remaining entries, `left`. Returns the entries that can be sent now. With
    /// ordering, only the first of `left` is released or, if none is left, the next entry of the ordering key.
    pub(super) fn release_next(
        &mut self,
        order: Option<OrderId>,
        mut left: Vec<QueuedEntry>,
        topology: &mut Topology,
    ) -> Vec<QueuedEntry> {
        let Some(order) = order else { return left };
        if !left.is_empty() {
            for later in left.split_off(1) {
                self.push_behind(order, later, topology);
            }
            left[0].route.order = Some(order);
            return left;
        }
        match self.key_order.as_mut().and_then(|key_order| key_order.release_next(order)) {
            Some(Next::Entry(next)) => self.push_to_lane(next, topology),
            Some(Next::Free(key)) => {
                if let Some(aggregator) = &mut self.aggregator {
                    aggregator.unblock(&key);
                }
            }
            None => {}
        }
        left
    }

    fn push_behind(&mut self, order: OrderId, entry: QueuedEntry, topology: &mut Topology) {
        let entry = match &mut self.key_order {
            Some(key_order) => key_order.push_behind(order, entry),
            None => Some(entry),
        };
        if let Some(entry) = entry {
            self.push_to_lane(entry, topology);
        }
    }

    /// Queues a part of a bisected request. Aggregates that must be repacked return to the lanes.
    pub(super) fn bisect(&mut self, part: Vec<QueuedEntry>, topology: &mut Topology) {
        let mut kept = Vec::with_capacity(part.len());
        let mut split = Vec::new();
        for mut entry in part {
            if self.may_stay_aggregated(&mut entry, topology) {
                topology.route(&mut entry);
                kept.push(entry);
            } else {
                split.push(entry);
            }
        }
        self.bisection.push_front(kept);
        self.push_front(split, topology);
    }

    pub(super) fn isolate(
        &mut self,
        mut entry: QueuedEntry,
        health: &Health,
        topology: &mut Topology,
    ) {
        topology.route(&mut entry);
        self.isolated.push(entry, health.backoff());
        self.update_key_isolation(topology);
    }

    fn update_key_isolation(&mut self, topology: &Topology) {
        let isolates = self.is_ordered && topology.may_predict() && !self.isolated.is_empty();
        if std::mem::replace(&mut self.isolates_keys, isolates) != isolates {
            self.repartition_due = true;
        }
    }

    pub(super) fn record_outcome(&mut self, lane: LaneId, bytes: usize, outcome: EntryOutcome) {
        self.lanes.record(lane, bytes, outcome);
    }

    /// Returns `true` if entries have failed, and none was delivered or throttled.
    pub(super) fn all_failed(&self) -> bool {
        self.lanes.all_failed()
    }

    pub(super) fn has_outcomes(&self) -> bool {
        self.lanes.has_outcomes()
    }

    /// Discards the outcomes of a failure of the whole stream, so that it does not count against single shards.
    pub(super) fn clear_outcomes(&mut self) {
        self.lanes.clear_outcomes();
    }

    pub(super) fn apply_outcomes(
        &mut self,
        completion: Completion,
        rng: &mut Rng,
        samples: Option<&mut Samples>,
        shard_id: impl Fn(LaneId) -> Option<SmolStr>,
    ) {
        self.lanes.apply_outcomes(completion, rng, samples, shard_id);
    }

    /// Refunds the tokens of an entry that was not sent, or whose retries must not delay other records.
    pub(super) fn refund(&mut self, lane: LaneId, bytes: usize, now: Instant) {
        self.lanes.refund(lane, bytes, now);
    }

    pub(super) fn isolated_mut(&mut self) -> &mut Isolated {
        &mut self.isolated
    }

    /// Releases the memory of empty queues. No request may be in flight.
    pub(super) fn rest(&mut self) {
        if !self.is_empty() {
            return;
        }
        self.lanes.rest();
        self.bisection = Bisection::default();
        if let Some(aggregator) = &mut self.aggregator {
            **aggregator = Aggregator::new(self.is_ordered);
        }
        if let Some(key_order) = &mut self.key_order {
            key_order.rest();
        }
    }

    pub(super) fn update_isolation(&mut self, topology: &Topology) {
        self.isolated.reset_if_empty();
        self.update_key_isolation(topology);
    }
}

/// Returns the aggregation key and predicted shard of a record, or `None` if it must not be aggregated.
fn aggregation_key<'a>(
    record: &BufferedRecord,
    isolates_keys: bool,
    topology: &'a Topology,
) -> Option<(AggregationKey, Option<&'a Arc<Shard>>)> {
    let explicit = record.record().explicit_hash_key();
    let key = record.record().partition_key();
    let is_placed = match key {
        PartitionKey::Explicit(_) => true,
        PartitionKey::Random => explicit.is_some(),
        PartitionKey::ServiceManaged => false,
    };
    if is_placed
        && !isolates_keys
        && let Some(shard) = topology.predict(record)
    {
        let start = shard.range().start();
        let key = AggregationKey::Shard { start, is_explicit: explicit.is_some() };
        return Some((key, Some(shard)));
    }
    match key {
        PartitionKey::Explicit(key) => Some((AggregationKey::Key(key.clone(), explicit), None)),
        PartitionKey::Random => Some((AggregationKey::Random(explicit), None)),
        PartitionKey::ServiceManaged => None,
    }
}

#[cfg(test)]
impl Backlog {
    pub(super) fn lanes(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    pub(super) fn bisected(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.bisection.iter()
    }

    pub(super) fn packing_mut(&mut self) -> &mut Packing {
        &mut self.packing
    }

    pub(super) fn isolated_records(&self) -> usize {
        self.isolated.records()
    }

    pub(super) fn check(&self, topology: &Topology) {
        self.lanes.check();
        for entry in self.bisection.iter().chain(self.isolated.iter()) {
            assert!(topology.is_current(entry.route), "route to a closed lane: {entry:?}");
        }
    }

    pub(super) fn has_no_state(&self) -> bool {
        let is_idle = self.is_empty() && !self.repartition_due && !self.isolates_keys;
        is_idle
            && self.key_order.as_ref().is_none_or(|order| order.is_empty())
            && self.aggregator.as_ref().is_none_or(|aggregator| aggregator.has_no_state())
    }
}
