//! Everything that waits: open aggregates, lanes, what waits for its key's turn, bisected requests, isolated records.
//!
//! Each record is in exactly one of them.

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

pub(super) use self::key_order::OrderId;
pub(super) use self::lanes::{EntryOutcome, FALLBACK, LaneId};
pub(super) use self::repartition::Repartition;

use self::aggregator::{AggregationKey, Aggregator};
use self::bisection::Bisection;
use self::isolated::Isolated;
use self::key_order::{KeyOrder, Next, OrderingKey};
use self::lanes::Lanes;
use super::aggregation::Packing;
use super::backoff::Backoff;
use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::health::Health;
use super::ordering::RecordOrdering;
use super::samples::Samples;
use super::topology::Topology;
use super::work::Work;
use crate::limits::Limits;
use crate::record::PartitionKey;
use crate::settings::Settings;
use crate::shard::Shard;

/// The records that wait to be sent.
#[derive(Debug)]
pub(super) struct Backlog {
    packing: Packing,
    is_ordered: bool,
    aggregator: Aggregator,
    /// With ordering, what waits behind an earlier entry of its key.
    key_order: KeyOrder,
    lanes: Lanes,
    bisection: Bisection,
    /// Records that failed alone, behind all others.
    isolated: Isolated,
    /// Whether records of different keys share no aggregate: with ordering, while records are isolated, since only
    /// the key of such a record may wait for it.
    isolates_keys: bool,
    /// With ordering, whether everything has to be packed again once nothing is in flight.
    repartition_due: bool,
}

impl Backlog {
    pub(super) fn new(settings: &Settings) -> Self {
        let is_ordered = settings.ordering == RecordOrdering::PerKey;
        let backoff = Backoff::new(settings.backoff.base, settings.backoff.ceiling);
        Self {
            packing: Packing::new(settings),
            is_ordered,
            aggregator: Aggregator::new(is_ordered),
            key_order: KeyOrder::default(),
            lanes: Lanes::new(settings.limits.quota(), backoff.clone()),
            bisection: Bisection::default(),
            isolated: Isolated::new(backoff),
            isolates_keys: false,
            repartition_due: false,
        }
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.aggregator.is_empty()
            && self.key_order.records() == 0
            && self.bisection.is_empty()
            && self.isolated.is_empty()
    }

    /// The number of records.
    pub(super) fn records(&self) -> usize {
        let queued = self.lanes.records() + self.aggregator.records() + self.key_order.records();
        queued + self.bisection.records() + self.isolated.records()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        let queued = self.lanes.iter().chain(self.key_order.iter()).chain(self.aggregator.iter());
        queued.chain(self.bisection.iter()).chain(self.isolated.iter())
    }

    /// The oldest record of each queue.
    pub(super) fn heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        self.unisolated_heads().chain(self.isolated.oldest())
    }

    fn unisolated_heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        let queues = [self.lanes.front(), self.key_order.oldest(), self.aggregator.oldest()];
        queues.into_iter().flatten().chain(self.bisection.heads())
    }

    /// Whether there are records that are not isolated.
    pub(super) fn has_unisolated(&self) -> bool {
        self.unisolated_heads().next().is_some()
    }

    /// The oldest record that may be sent, bisected requests aside.
    pub(super) fn oldest_sendable(&self) -> Option<&BufferedRecord> {
        match (self.lanes.front_sendable(), self.aggregator.oldest_free()) {
            (Some(queued), Some(open)) if open.seq < queued.seq => Some(open),
            (queued, open) => queued.or(open),
        }
    }

    /// The oldest record of a closed entry that may be sent.
    pub(super) fn oldest_closed(&self) -> Option<&BufferedRecord> {
        self.lanes.front_sendable()
    }

    /// Whether what may be sent fills a request.
    pub(super) fn fills_request(&self, limits: &Limits) -> bool {
        self.lanes.fills_request(limits)
    }

    /// Queues a record that was accepted after all others.
    pub(super) fn push(
        &mut self,
        mut record: BufferedRecord,
        topology: &mut Topology,
        rng: &mut Rng,
        work: &mut Work,
    ) {
        topology.ensure_hash_key(&mut record);
        self.avoid_paused_lane(&mut record, topology, rng);
        if !self.packing.is_on() {
            return self.release(QueuedEntry::single(record), topology);
        }
        for entry in self.pack(record, topology).into_iter().flatten() {
            // Encoded now, since the aggregates of a request are too much to encode at once.
            self.release_encoded(entry, topology, work);
        }
    }

    /// If a record without a key would have to wait, it draws another one, and takes the lane with fewer entries.
    ///
    /// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
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

    /// Adds a record to its aggregate, or makes it one entry. Returns what is complete, in order.
    fn pack(&mut self, record: BufferedRecord, topology: &Topology) -> [Option<QueuedEntry>; 3] {
        let Some((key, shard)) = aggregation_key(&record, self.isolates_keys, topology) else {
            return [Some(QueuedEntry::single(record)), None, None];
        };
        let earlier = if self.is_ordered { self.aggregator.remove_other(&key) } else { None };
        if shard.is_none() && topology.is_sent_alone(&record) {
            return [earlier, self.aggregator.remove(&key), Some(QueuedEntry::single(record))];
        }
        let [first, second] = self.aggregator.push(record, key, shard, &self.packing);
        [earlier, first, second]
    }

    /// What the record keeps its order with, if it has an order.
    fn ordering_key(&self, record: &BufferedRecord, topology: &Topology) -> Option<OrderingKey> {
        if !self.is_ordered {
            return None;
        }
        aggregation_key(record, self.isolates_keys, topology)?.0.into_ordering_key()
    }

    /// Queues a closed entry: in its lane, or behind an earlier entry of its key.
    #[inline]
    fn release(&mut self, entry: QueuedEntry, topology: &mut Topology) {
        let Some(key) = self.ordering_key(entry.oldest(), topology) else {
            return self.push_to_lane(entry, topology);
        };
        if let Some(entry) = self.key_order.enter(key, entry) {
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

    /// Queues entries again that were sent: as they are, unless their records no longer belong together.
    pub(super) fn push_front(&mut self, entries: Vec<QueuedEntry>, topology: &mut Topology) {
        let mut parted = Vec::new();
        for mut entry in entries {
            if self.keeps_together(&mut entry, topology) {
                self.push_to_lane(entry, topology);
            } else if self.is_ordered {
                self.repartition_due = true;
                self.push_to_lane(entry, topology);
            } else {
                parted.extend(entry.into_members());
            }
        }
        if !parted.is_empty() {
            self.pack_again(parted, topology);
        }
    }

    /// Whether the records of an entry may share an aggregate, in the shard that is predicted now.
    fn keeps_together(&self, entry: &mut QueuedEntry, topology: &Topology) -> bool {
        entry.predicted().is_none() || (!self.isolates_keys && topology.reassign_shard(entry))
    }

    /// Packs records together with those that they may share an aggregate with, in the order of acceptance.
    fn pack_again(&mut self, mut records: Vec<BufferedRecord>, topology: &mut Topology) {
        let mut open = Vec::new();
        for record in &records {
            let key = aggregation_key(record, self.isolates_keys, topology).map(|(key, _)| key);
            let entry = key.and_then(|key| self.aggregator.remove(&key));
            open.extend(entry.into_iter().flat_map(QueuedEntry::into_members));
        }
        records.extend(open);
        self.push_sorted(records, topology);
    }

    fn push_sorted(&mut self, mut records: Vec<BufferedRecord>, topology: &mut Topology) {
        records.sort_unstable_by_key(|record| record.seq);
        for record in records {
            if self.packing.is_on() {
                for entry in self.pack(record, topology).into_iter().flatten() {
                    self.release(entry.close(&self.packing), topology);
                }
            } else {
                self.release(QueuedEntry::single(record), topology);
            }
        }
    }

    /// Takes what is left of a released entry, and returns what may be sent of it. If nothing is left, the next entry of
    /// its key is released. Of several, the first one stays released.
    pub(super) fn release_next(
        &mut self,
        order: Option<OrderId>,
        mut left: Vec<QueuedEntry>,
        topology: &mut Topology,
    ) -> Vec<QueuedEntry> {
        let Some(order) = order else { return left };
        if !left.is_empty() {
            for later in left.split_off(1) {
                self.wait(order, later, topology);
            }
            left[0].route.order = Some(order);
            return left;
        }
        match self.key_order.leave(order) {
            Some(Next::Entry(next)) => self.push_to_lane(next, topology),
            Some(Next::Free(key)) => self.aggregator.release(&key),
            None => {}
        }
        left
    }

    fn wait(&mut self, order: OrderId, entry: QueuedEntry, topology: &mut Topology) {
        if let Some(entry) = self.key_order.wait(order, entry) {
            self.push_to_lane(entry, topology);
        }
    }

    /// Queues a part of a refused request, to be sent alone before anything else. What no longer belongs together
    /// returns to its lane.
    pub(super) fn bisect(&mut self, part: Vec<QueuedEntry>, topology: &mut Topology) {
        let mut kept = Vec::with_capacity(part.len());
        let mut parted = Vec::new();
        for mut entry in part {
            if self.keeps_together(&mut entry, topology) {
                topology.route(&mut entry);
                kept.push(entry);
            } else {
                parted.push(entry);
            }
        }
        self.bisection.push_front(kept);
        self.push_front(parted, topology);
    }

    /// Queues the record of an entry behind all others.
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

    /// Records the outcome of an entry for the rate limiter of its lane.
    pub(super) fn record_outcome(&mut self, lane: LaneId, bytes: usize, outcome: EntryOutcome) {
        self.lanes.record(lane, bytes, outcome);
    }

    /// Whether every recorded entry has failed, and not because it was too much for its shard.
    pub(super) fn all_failed(&self) -> bool {
        self.lanes.all_failed()
    }

    pub(super) fn has_outcomes(&self) -> bool {
        self.lanes.has_outcomes()
    }

    /// Forgets the recorded outcomes: the whole stream has failed, and no shard.
    pub(super) fn clear_outcomes(&mut self) {
        self.lanes.clear_outcomes();
    }

    /// Applies the recorded outcomes of `request` to the lanes.
    pub(super) fn apply_outcomes(
        &mut self,
        request: u64,
        next: u64,
        now: Instant,
        rng: &mut Rng,
        samples: Option<&mut Samples>,
        shard_id: impl Fn(LaneId) -> Option<SmolStr>,
    ) {
        self.lanes.apply_outcomes(request, next, now, rng, samples, shard_id);
    }

    /// Refunds the tokens of an entry that was not sent, or that must not use up those of others.
    pub(super) fn refund(&mut self, lane: LaneId, bytes: usize, now: Instant) {
        self.lanes.refund(lane, bytes, now);
    }

    /// The isolated records, for the outcomes of their requests.
    pub(super) fn isolated_mut(&mut self) -> &mut Isolated {
        &mut self.isolated
    }

    /// Updates what depends on whether there are isolated records, after some have left.
    pub(super) fn update_isolation(&mut self, topology: &Topology) {
        self.isolated.reset_if_empty();
        self.update_key_isolation(topology);
    }
}

/// The key of the aggregate that the record may join, and its shard if it is predicted. `None` for a record that is
/// never aggregated.
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
        let (start, is_explicit) = (shard.range().start(), explicit.is_some());
        return Some((AggregationKey::Shard { start, is_explicit }, Some(shard)));
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
            assert!(topology.is_current(entry.route), "its lane was closed: {entry:?}");
        }
    }

    pub(super) fn holds_no_state(&self) -> bool {
        let is_idle = self.is_empty() && !self.repartition_due && !self.isolates_keys;
        is_idle && self.key_order.is_empty() && self.aggregator.holds_no_state()
    }
}
