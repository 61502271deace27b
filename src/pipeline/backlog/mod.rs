//! Everything that waits: open aggregates, lanes, what waits for its key's turn, bisected requests, isolated records.
//!
//! Each record is in exactly one of them.

mod aggregator;
mod isolated;
mod key_order;
mod lanes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use smol_str::SmolStr;

pub(super) use self::key_order::OrderId;
pub(super) use self::lanes::{EntryOutcome, FALLBACK, LaneId};

use self::aggregator::{AggregationKey, Aggregator};
use self::isolated::Isolated;
use self::key_order::{KeyOrder, Next, OrderingKey};
use self::lanes::Lanes;
use super::aggregation::Packing;
use super::backoff::Backoff;
use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::flush::{Flush, FlushReason};
use super::health::Health;
use super::metrics::Samples;
use super::ordering::Ordering;
use super::settings::Settings;
use super::topology::{OpenedLane, Topology};
use super::work::Work;
use crate::limits::Limits;
use crate::record::PartitionKey;
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
    /// Parts of requests that were refused as invalid, each sent alone to find the poison record.
    bisected: VecDeque<Vec<QueuedEntry>>,
    /// Records that failed alone, behind all others.
    isolated: Isolated,
    /// Whether records of different keys share no aggregate: with ordering, while records are isolated, since only
    /// the key of such a record may wait for it.
    isolates_keys: bool,
    /// With ordering, whether everything has to be packed again once nothing is in flight.
    repartition_due: bool,
}

/// Why what waits is packed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repartition {
    /// The predicted shards have changed.
    Shards,
    /// An aggregate may have another size.
    Limits,
}

impl Backlog {
    pub(super) fn new(settings: &Settings) -> Self {
        let is_ordered = settings.ordering == Ordering::PerKey;
        let backoff = Backoff::new(settings.backoff_base, settings.backoff_ceiling);
        Self {
            packing: settings.packing.clone(),
            is_ordered,
            aggregator: Aggregator::new(is_ordered),
            key_order: KeyOrder::default(),
            lanes: Lanes::new(settings.limits.quota(), backoff.clone()),
            bisected: VecDeque::new(),
            isolated: Isolated::new(backoff),
            isolates_keys: false,
            repartition_due: false,
        }
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    // What is queued.

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.aggregator.is_empty()
            && self.key_order.records() == 0
            && self.bisected.is_empty()
            && self.isolated.is_empty()
    }

    /// The number of records.
    pub(super) fn records(&self) -> usize {
        let bisected: usize = self.bisected.iter().flatten().map(QueuedEntry::len).sum();
        let queued = self.lanes.records() + self.aggregator.records() + self.key_order.records();
        queued + bisected + self.isolated.records()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        let queued = self.lanes.iter().chain(self.key_order.iter()).chain(self.aggregator.iter());
        queued.chain(self.bisected.iter().flatten()).chain(self.isolated.iter())
    }

    /// The oldest record of each queue.
    pub(super) fn heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        self.unisolated_heads().chain(self.isolated.oldest())
    }

    fn unisolated_heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        let bisected = self.bisected.iter().filter_map(|part| part.first());
        let queues = [self.lanes.front(), self.key_order.oldest(), self.aggregator.oldest()];
        queues.into_iter().flatten().chain(bisected.map(QueuedEntry::oldest))
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

    // Queueing.

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
            // Now, since the aggregates of a request are too much to encode at once.
            self.release_encoded(entry, topology, work);
        }
    }

    /// If a record without a key would have to wait, it draws another one, and takes the lane with fewer entries.
    ///
    /// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    fn avoid_paused_lane(
        &self,
        record: &mut BufferedRecord,
        topology: &Topology,
        rng: &mut Rng,
    ) {
        if !topology.has_multiple_shards() || *record.record().partition_key() != PartitionKey::Random
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
    fn release(&mut self, entry: QueuedEntry, topology: &mut Topology) {
        let entry = match self.ordering_key(entry.oldest(), topology) {
            Some(key) => self.key_order.enter(key, entry),
            None => Some(entry),
        };
        if let Some(entry) = entry {
            self.push_to_lane(entry, topology);
        }
    }

    fn release_encoded(&mut self, entry: QueuedEntry, topology: &mut Topology, work: &mut Work) {
        let mut entry = entry.closed(&self.packing);
        work.add_bytes(entry.encode());
        self.release(entry, topology);
    }

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
        entry.predicted().is_none() || (!self.isolates_keys && topology.predict_again(entry))
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
                    self.release(entry.closed(&self.packing), topology);
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
            for later in left.drain(1..) {
                self.key_order.wait(order, later);
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
        // An entry that has lost its oldest record comes later.
        kept.sort_by_key(QueuedEntry::seq);
        if !kept.is_empty() {
            self.bisected.push_front(kept);
        }
        self.push_front(parted, topology);
    }

    /// Queues the record of an entry behind all others.
    pub(super) fn isolate(&mut self, mut entry: QueuedEntry, health: &Health, topology: &mut Topology) {
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

    // Sending.

    /// Resumes the lanes whose pause is over.
    pub(super) fn resume_lanes(&mut self, now: Instant) {
        self.lanes.resume(now);
    }

    /// When the next lane or bisected request may send, or the oldest record has waited for the linger.
    pub(super) fn wakeup(&self, flush: &Flush, now: Instant) -> Option<Instant> {
        let lingers = self.oldest_sendable().map(|oldest| flush.lingers_until(oldest));
        let bisected = self.bisected.iter().filter_map(|part| self.part_waits_until(part, now));
        let wakeups = [lingers, self.lanes.wakeup()].into_iter().flatten().chain(bisected);
        wakeups.filter(|at| *at > now).min()
    }

    /// Whether a part of a bisected request may be sent.
    pub(super) fn has_bisected(&self, now: Instant) -> bool {
        self.next_bisected(now).is_some()
    }

    /// A part waits while one of its lanes backs off. Its tokens were taken with the request that was refused.
    fn next_bisected(&self, now: Instant) -> Option<usize> {
        self.bisected.iter().position(|part| self.part_waits_until(part, now).is_none())
    }

    fn part_waits_until(&self, part: &[QueuedEntry], now: Instant) -> Option<Instant> {
        part.iter().filter_map(|entry| self.lanes.backs_off_until(entry.route.lane, now)).max()
    }

    /// When the next isolated record may be sent, now or later, if nothing else has to happen before.
    pub(super) fn isolated_at(
        &self,
        health: &Health,
        is_idle: bool,
        now: Instant,
    ) -> Option<Instant> {
        let next = self.isolated.front()?;
        // While the stream fails, other records are better probes.
        let has_better_probe = health.is_failing()
            && (!is_idle || self.oldest_sendable().is_some() || !self.bisected.is_empty());
        if self.isolated.is_in_flight() || has_better_probe {
            return None;
        }
        let stream = health.retry_at(now).filter(|_| health.is_failing());
        let lane = self.lanes.sends_at(next.route.lane, next.size(), now);
        let waits = [stream, self.isolated.backs_off_until(now), lane];
        Some(waits.into_iter().flatten().fold(now, Instant::max))
    }

    pub(super) fn has_isolated_in_flight(&self) -> bool {
        self.isolated.is_in_flight()
    }

    /// Removes the entries of a request that is sent for `reason`, the oldest first. Aggregates are closed for it,
    /// but not many at once: see [`Work::is_unfinished`]. Empty if what was closed has to wait.
    pub(super) fn next_batch(
        &mut self,
        reason: FlushReason,
        flush: &Flush,
        limits: &Limits,
        topology: &mut Topology,
        work: &mut Work,
        now: Instant,
    ) -> Vec<QueuedEntry> {
        match reason {
            FlushReason::Split => {
                let next = self.next_bisected(now).and_then(|next| self.bisected.remove(next));
                next.unwrap_or_default()
            }
            FlushReason::Isolated => self.next_isolated(limits, now),
            _ => {
                self.close_aggregates(reason, flush, limits, topology, work, now);
                if work.is_unfinished() {
                    return Vec::new();
                }
                self.lanes.resume(now);
                self.lanes.next_batch(limits, now)
            }
        }
    }

    fn next_isolated(&mut self, limits: &Limits, now: Instant) -> Vec<QueuedEntry> {
        let Self { isolated, lanes, .. } = self;
        isolated.next_batch(limits.request_entries(), limits.request_bytes(), |next| {
            let (lane, bytes) = (next.route.lane, next.size());
            let may_be_sent = lanes.sends_at(lane, bytes, now).is_none();
            if may_be_sent {
                lanes.charge(lane, bytes, now);
            }
            may_be_sent
        })
    }

    /// Closes as many aggregates as fit into the request, the oldest first.
    fn close_aggregates(
        &mut self,
        reason: FlushReason,
        flush: &Flush,
        limits: &Limits,
        topology: &mut Topology,
        work: &mut Work,
        now: Instant,
    ) {
        for _ in 0..limits.request_entries() {
            if !work.may_continue() {
                return;
            }
            let is_overdue = |oldest: &BufferedRecord| flush.is_overdue(oldest, now);
            let Some(entry) = self.pop_aggregate_if(is_overdue) else { break };
            self.release_encoded(entry, topology, work);
        }
        while !self.lanes.holds_request(limits) {
            if !work.may_continue() {
                return;
            }
            let joins = |oldest: &BufferedRecord| flush.joins(reason, oldest, now);
            let Some(entry) = self.pop_aggregate_if(joins) else { break };
            self.release_encoded(entry, topology, work);
        }
    }

    fn pop_aggregate_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
    ) -> Option<QueuedEntry> {
        let Self { aggregator, key_order, .. } = self;
        aggregator.pop_oldest_if(condition, |key| key_order.is_busy(key))
    }

    /// The number of open aggregates that may be closed.
    pub(super) fn open_aggregates(&self) -> usize {
        self.aggregator.free_len()
    }

    // Responses.

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

    /// Records the end of the request of isolated records.
    pub(super) fn land_isolated(&mut self) {
        self.isolated.land();
    }

    /// Retries isolated records without a further wait: the stream takes requests again.
    pub(super) fn retry_isolated(&mut self) {
        self.isolated.retry_now();
    }

    /// Queues isolated records again of which nothing new is known.
    pub(super) fn return_isolated(&mut self, entries: Vec<QueuedEntry>) {
        self.isolated.push_front(entries);
    }

    /// Queues isolated records again whose request has failed as a whole after `took`.
    pub(super) fn fail_isolated(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        request: u64,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        self.isolated.fail(entries, took, request, next, now, rng);
    }

    /// Queues isolated records again that have failed in a request of which others were delivered.
    pub(super) fn fail_some_isolated(
        &mut self,
        sent: usize,
        failed: Vec<QueuedEntry>,
        took: Duration,
        timeout: Option<Duration>,
        limit: usize,
    ) {
        self.isolated.succeed(sent, failed, took, timeout, limit);
    }

    /// Updates what depends on whether there are isolated records, after some have left.
    pub(super) fn update_isolation(&mut self, topology: &Topology) {
        self.isolated.reset_if_empty();
        self.update_key_isolation(topology);
    }

    // Changes of the shards and limits.

    /// Opens lanes for shards that were not known before. `next` is the number of the next request.
    pub(super) fn open_lanes(&mut self, opened: Vec<OpenedLane>, next: u64, now: Instant) {
        for OpenedLane { id, replaces } in opened {
            self.lanes.open(id, replaces, next, now);
        }
    }

    /// Queues what is in stale lanes in the lanes where it belongs now.
    pub(super) fn reroute(&mut self, topology: &mut Topology) {
        let stale = topology.take_stale_lanes();
        let mut entries = self.lanes.drain_lanes(stale.iter().copied());
        for entry in &mut entries {
            topology.route(entry);
        }
        self.lanes.push_all(entries);
        let apart = self.bisected.iter_mut().flatten().chain(self.isolated.iter_mut());
        for entry in apart.filter(|entry| stale.contains(&entry.route.lane)) {
            topology.route(entry);
        }
    }

    /// Takes limits that have changed.
    pub(super) fn set_packing(&mut self, packing: Packing) {
        self.packing = packing;
    }

    /// Packs what waits again. With ordering this waits for
    /// [`repartition_in_order`](Self::repartition_in_order).
    pub(super) fn repartition(&mut self, reason: Repartition, topology: &mut Topology) {
        if self.is_ordered {
            self.repartition_due = true;
            return;
        }
        let mut records = match reason {
            Repartition::Limits => self.lanes.drain(),
            Repartition::Shards => self.drain_parted(topology),
        };
        records.extend(self.aggregator.drain());
        let records = records.into_iter().flat_map(QueuedEntry::into_members).collect();
        self.push_sorted(records, topology);
    }

    /// Removes the entries whose records no longer belong together.
    fn drain_parted(&mut self, topology: &Topology) -> Vec<QueuedEntry> {
        let isolates_keys = self.isolates_keys;
        let is_parted = |entry: &mut QueuedEntry| {
            entry.predicted().is_some() && (isolates_keys || !topology.predict_again(entry))
        };
        let mut parted = self.lanes.extract_if(is_parted);
        for part in &mut self.bisected {
            parted.extend(part.extract_if(.., |entry| is_parted(entry)));
        }
        self.bisected.retain(|part| !part.is_empty());
        parted
    }

    /// With ordering, requires that everything is packed again before anything else is sent.
    pub(super) fn require_repartition(&mut self) {
        self.repartition_due |= self.is_ordered;
    }

    /// Whether nothing may be sent before everything is packed again, in order.
    pub(super) fn is_repartition_due(&self) -> bool {
        self.repartition_due
    }

    /// Packs what waits again, in order. Nothing may be in flight but isolated records: what returns is sent before what
    /// was accepted later, whatever shard it is for.
    pub(super) fn repartition_in_order<'a>(
        &mut self,
        isolated_in_flight: impl Iterator<Item = &'a mut QueuedEntry>,
        topology: &mut Topology,
    ) {
        self.repartition_due = false;
        let bisected = std::mem::take(&mut self.bisected).into_iter().flatten();
        let queued = self.lanes.drain().into_iter().chain(self.key_order.drain());
        let entries = queued.chain(bisected).chain(self.aggregator.drain());
        let records: Vec<_> = entries.flat_map(QueuedEntry::into_members).collect();
        self.occupy_isolated_keys(isolated_in_flight, topology);
        self.push_sorted(records, topology);
    }

    /// Marks the keys of isolated records as busy: none of their later records may be sent before.
    fn occupy_isolated_keys<'a>(
        &mut self,
        in_flight: impl Iterator<Item = &'a mut QueuedEntry>,
        topology: &Topology,
    ) {
        let Self { isolated, key_order, isolates_keys, .. } = self;
        let mut occupy = |entry: &mut QueuedEntry| {
            let key = aggregation_key(entry.oldest(), *isolates_keys, topology);
            let key = key.and_then(|(key, _)| key.into_ordering_key());
            entry.route.order = key.map(|key| key_order.occupy(key).0);
        };
        isolated.iter_mut().for_each(&mut occupy);
        in_flight.for_each(occupy);
    }

    // Ways out.

    /// Removes the expired records.
    pub(super) fn expire(
        &mut self,
        is_expired: impl Fn(&BufferedRecord) -> bool,
        topology: &mut Topology,
    ) -> Vec<BufferedRecord> {
        let mut expired = Vec::new();
        while let Some(entry) = self.lanes.pop_oldest_if(&is_expired) {
            for left in self.expire_in(entry, &is_expired, topology, &mut expired) {
                self.push_to_lane(left, topology);
            }
        }
        while let Some((order, entry)) = self.key_order.pop_oldest_if(&is_expired) {
            let (left, removed) = entry.without(&self.packing, &is_expired);
            expired.extend(removed);
            for left in left {
                self.key_order.wait(order, left);
            }
        }
        while let Some(entry) = self.aggregator.pop_any_oldest_if(&is_expired) {
            let (removed, left): (Vec<_>, Vec<_>) =
                entry.into_members().into_iter().partition(&is_expired);
            expired.extend(removed);
            self.push_sorted(left, topology);
        }
        for entry in self.isolated.drain() {
            let left = self.expire_in(entry, &is_expired, topology, &mut expired);
            self.isolated.extend(left);
        }
        self.update_isolation(topology);
        if self.bisected.iter().any(|part| is_expired(part[0].oldest())) {
            for part in std::mem::take(&mut self.bisected) {
                let mut left = Vec::new();
                for entry in part {
                    left.extend(self.expire_in(entry, &is_expired, topology, &mut expired));
                }
                // An entry that has lost its oldest record comes later.
                left.sort_by_key(QueuedEntry::seq);
                if !left.is_empty() {
                    self.bisected.push_back(left);
                }
            }
        }
        expired
    }

    fn expire_in(
        &mut self,
        entry: QueuedEntry,
        is_expired: impl Fn(&BufferedRecord) -> bool,
        topology: &mut Topology,
        expired: &mut Vec<BufferedRecord>,
    ) -> Vec<QueuedEntry> {
        let order = entry.route.order;
        let (left, removed) = entry.without(&self.packing, is_expired);
        expired.extend(removed);
        self.release_next(order, left, topology)
    }

    /// Removes everything. Requests in flight are forgotten.
    pub(super) fn drain(&mut self) -> Vec<QueuedEntry> {
        let mut drained = self.lanes.drain();
        drained.extend(self.key_order.drain());
        drained.extend(std::mem::take(&mut self.bisected).into_iter().flatten());
        drained.extend(self.isolated.drain());
        drained.extend(self.aggregator.drain());
        self.isolated.land();
        self.isolated.reset_if_empty();
        (self.isolates_keys, self.repartition_due) = (false, false);
        drained
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

    pub(super) fn bisected(&self) -> &VecDeque<Vec<QueuedEntry>> {
        &self.bisected
    }

    pub(super) fn isolated_records(&self) -> usize {
        self.isolated.records()
    }

    pub(super) fn check(&self) {
        self.lanes.check();
    }

    pub(super) fn holds_no_state(&self) -> bool {
        let is_idle = self.is_empty() && !self.repartition_due && !self.isolates_keys;
        is_idle && self.key_order.is_empty() && self.aggregator.holds_no_state()
    }
}
