//! Repacks, reroutes, expires, and drains the backlog.

use std::time::Instant;

use super::{Backlog, aggregation_key};
use crate::pipeline::aggregation::Packing;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::topology::{OpenedLane, Topology};
use crate::settings::Settings;

/// Reason for repacking the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Repartition {
    /// The predicted shards have changed.
    Shards,
    /// The maximum size of aggregates has changed.
    Limits,
}

impl Backlog {
    pub(in crate::pipeline) fn open_lanes(
        &mut self,
        opened: Vec<OpenedLane>,
        next: u64,
        now: Instant,
    ) {
        for OpenedLane { id, replaces } in opened {
            self.lanes.open(id, replaces, next, now);
        }
    }

    /// Moves the entries of stale lanes to the lanes of their current shards.
    pub(in crate::pipeline) fn reroute(&mut self, topology: &mut Topology) {
        let stale = topology.take_stale_lanes();
        let mut entries = self.lanes.drain_lanes(stale.iter().copied());
        for entry in &mut entries {
            topology.route(entry);
        }
        self.lanes.push_all(entries);
        let apart = self.bisection.iter_mut().chain(self.isolated.iter_mut());
        for entry in apart.filter(|entry| stale.contains(&entry.route.lane)) {
            topology.route(entry);
        }
    }

    pub(in crate::pipeline) fn update_packing(&mut self, settings: &Settings) {
        self.packing = Packing::new(settings);
    }

    /// Repacks the backlog. With ordering, this is postponed to [`repartition_in_order`](Self::repartition_in_order).
    pub(in crate::pipeline) fn repartition(
        &mut self,
        reason: Repartition,
        topology: &mut Topology,
    ) {
        if self.is_ordered {
            self.repartition_due = true;
            return;
        }
        let mut records = match reason {
            Repartition::Limits => self.lanes.drain(),
            Repartition::Shards => self.drain_split(topology),
        };
        records.extend(self.drain_open());
        let records = records.into_iter().flat_map(QueuedEntry::into_members).collect();
        self.push_sorted(records, topology);
    }

    /// Removes and returns aggregates whose records can no longer share an aggregate.
    fn drain_split(&mut self, topology: &Topology) -> Vec<QueuedEntry> {
        let isolates_keys = self.isolates_keys;
        let is_split = |entry: &mut QueuedEntry| {
            entry.predicted().is_some() && (isolates_keys || !topology.reassign_shard(entry))
        };
        let mut split = self.lanes.extract_if(is_split);
        split.extend(self.bisection.extract_if(is_split));
        split
    }

    /// Blocks requests until the backlog has been repacked. Has no effect without ordering.
    pub(in crate::pipeline) fn require_repartition(&mut self) {
        self.repartition_due |= self.is_ordered;
    }

    pub(in crate::pipeline) fn is_repartition_due(&self) -> bool {
        self.repartition_due
    }

    /// Repacks the backlog in order. Only isolated records may be in flight, because any other record could be retried
    /// and would then have to precede all later records, regardless of their shard.
    pub(in crate::pipeline) fn repartition_in_order<'a>(
        &mut self,
        isolated_in_flight: impl Iterator<Item = &'a mut QueuedEntry>,
        topology: &mut Topology,
    ) {
        self.repartition_due = false;
        let ordered = self.drain_ordered();
        let queued = self.lanes.drain().into_iter().chain(ordered);
        let entries = queued.chain(self.bisection.drain()).chain(self.drain_open());
        let records: Vec<_> = entries.flat_map(QueuedEntry::into_members).collect();
        self.mark_isolated_keys(isolated_in_flight, topology);
        self.push_sorted(records, topology);
    }

    /// Marks the ordering keys of isolated records as busy, so that later records do not overtake them.
    fn mark_isolated_keys<'a>(
        &mut self,
        in_flight: impl Iterator<Item = &'a mut QueuedEntry>,
        topology: &Topology,
    ) {
        let Self { isolated, key_order, isolates_keys, .. } = self;
        let mut mark = |entry: &mut QueuedEntry| {
            let key = aggregation_key(entry.oldest(), *isolates_keys, topology);
            let key = key.and_then(|(key, _)| key.into_ordering_key());
            let key_order = key_order.as_mut();
            entry.route.order = key_order.zip(key).map(|(order, key)| order.mark_released(key));
        };
        for entry in isolated.iter_mut() {
            mark(entry);
        }
        for entry in in_flight {
            mark(entry);
        }
    }

    pub(in crate::pipeline) fn expire(
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
        while let Some(key_order) = &mut self.key_order
            && let Some((order, entry)) = key_order.pop_oldest_if(&is_expired)
        {
            let (left, removed) = entry.without(&self.packing, &is_expired);
            expired.extend(removed);
            for left in left {
                self.push_behind(order, left, topology);
            }
        }
        while let Some(aggregator) = &mut self.aggregator
            && let Some(entry) = aggregator.pop_any_oldest_if(&is_expired)
        {
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
        if self.bisection.heads().any(&is_expired) {
            let mut bisection = std::mem::take(&mut self.bisection);
            bisection
                .replace_each(|entry| self.expire_in(entry, &is_expired, topology, &mut expired));
            self.bisection = bisection;
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

    fn drain_open(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        self.aggregator.as_mut().map(|aggregator| aggregator.drain()).into_iter().flatten()
    }

    fn drain_ordered(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        self.key_order.as_mut().map(|order| order.drain()).into_iter().flatten()
    }

    /// Removes and returns all entries. Isolated records in flight are not included.
    pub(in crate::pipeline) fn drain(&mut self) -> Vec<QueuedEntry> {
        let mut drained = self.lanes.drain();
        drained.extend(self.drain_ordered());
        drained.extend(self.bisection.drain());
        drained.extend(self.isolated.drain());
        drained.extend(self.drain_open());
        self.isolated.set_idle();
        self.isolated.reset_if_empty();
        self.isolates_keys = false;
        self.repartition_due = false;
        drained
    }
}
