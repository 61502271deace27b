//! Queues of entries that are ready to be sent, with one queue per shard.

mod fill;
mod lane;
mod queue;
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

use self::lane::{Lane, LaneOutcomes};
use self::slots::Slots;
use crate::limits::Limits;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::in_flight::Completion;
use crate::pipeline::samples::Samples;
use crate::settings::BackoffSettings;
use crate::shard::{Quota, RateLimiter};

/// Number of a lane. The numbers of closed shards are reused.
pub(crate) type LaneId = u32;

/// Lane for entries whose shard the sink does not know.
pub(crate) const FALLBACK: LaneId = 0;

/// Lanes of all known shards. Each shard has a lane, so that a throttled shard delays only its own records.
///
/// A lane is paused while it waits for tokens or backs off.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Slots,
    /// Lanes with entries that are not paused, by their oldest record.
    ready: BTreeMap<u64, LaneId>,
    /// Paused lanes with entries, by their oldest record.
    blocked: BTreeMap<u64, LaneId>,
    /// Paused lanes with entries, by the time at which they can afford their oldest entry, then by oldest record.
    affordable: BTreeMap<(Option<Instant>, u64), LaneId>,
    /// Paused lanes by the end of the pause.
    paused: BTreeSet<(Instant, LaneId)>,
    total: LaneSize,
    sendable: LaneSize,
    pending_outcomes: Vec<LaneId>,
    #[cfg(test)]
    visits: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct LaneSize {
    entries: usize,
    records: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryOutcome {
    Delivered,
    Throttled,
    /// Failed for a reason other than throttling, and is retried.
    Failed,
}

impl Lanes {
    pub(crate) fn new(quota: Quota, backoff: BackoffSettings) -> Self {
        Self {
            lanes: Slots::new(quota, backoff),
            ready: BTreeMap::new(),
            blocked: BTreeMap::new(),
            affordable: BTreeMap::new(),
            paused: BTreeSet::new(),
            total: LaneSize::default(),
            sendable: LaneSize::default(),
            pending_outcomes: Vec::new(),
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Opens an empty lane at the rate of the replaced lane, because other producers probably keep their share.
    pub(crate) fn open(&mut self, id: LaneId, replaces: Option<LaneId>, next: u64, now: Instant) {
        let share = replaces.map_or(1.0, |id| self.lanes.limiter(id).share());
        let limiter = RateLimiter::of_shard(self.lanes.quota(), share, next, now);
        if self.lanes.ids().contains(&id)
            && let Some(unused) = self.lanes.active(id)
        {
            self.remove(id, LaneKeys::of(unused));
        }
        self.lanes.open(id, limiter);
        self.attach(id);
    }

    pub(crate) fn records(&self) -> usize {
        self.total.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total.entries == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.lanes.iter().flat_map(|(_, lane)| lane.queue.iter())
    }

    pub(crate) fn front(&self) -> Option<&BufferedRecord> {
        self.lanes.active(self.oldest_lane()?)?.queue.front()
    }

    fn oldest_lane(&self) -> Option<LaneId> {
        let heads = [self.ready.first_key_value(), self.blocked.first_key_value()];
        heads.into_iter().flatten().min().map(|(_, &id)| id)
    }

    pub(crate) fn front_sendable(&self) -> Option<&BufferedRecord> {
        let (_, id) = self.ready.first_key_value()?;
        self.lanes.active(*id)?.queue.front()
    }

    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.sendable.fills(limits)
    }

    /// Returns `true` if the entries of all lanes, including paused ones, fill a request.
    pub(crate) fn would_fill_request(&self, limits: &Limits) -> bool {
        self.total.fills(limits)
    }

    /// Queues an entry in the lane of its route, in the order of acceptance.
    #[inline]
    pub(crate) fn push(&mut self, entry: QueuedEntry) {
        let id = entry.route.lane;
        let lane = self.lanes.activate(id);
        let size = LaneSize { entries: 1, records: entry.len(), bytes: entry.size() };
        let changes_front = lane.head().is_none_or(|head| entry.seq() < head);
        let before = changes_front.then(|| LaneKeys::of(lane));
        // The entry is moved only here, because moves are expensive.
        lane.queue.push(entry);
        if let Some(before) = before {
            return self.reindex(id, before);
        }
        // The front of the lane is unchanged, so the indexes are as well.
        self.total.add(size);
        if lane.paused_until.is_none() {
            self.sendable.add(size);
        }
    }

    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
    ) -> Option<QueuedEntry> {
        let id = self.oldest_lane()?;
        self.update(id, |lane| lane.queue.pop_if(|oldest, _| condition(oldest)))
    }

    pub(crate) fn extract_if(
        &mut self,
        condition: impl Fn(&mut QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let ids = self.lanes.ids();
        let lanes =
            ids.filter_map(|id| self.update_active(id, |lane| lane.queue.extract_if(&condition)));
        lanes.flatten().collect()
    }

    pub(crate) fn drain(&mut self) -> Vec<QueuedEntry> {
        self.drain_lanes(self.lanes.ids())
    }

    pub(crate) fn drain_lanes(
        &mut self,
        ids: impl IntoIterator<Item = LaneId>,
    ) -> Vec<QueuedEntry> {
        let ids = ids.into_iter();
        let lanes = ids.filter_map(|id| self.update_active(id, |lane| lane.queue.drain()));
        lanes.flatten().collect()
    }

    pub(crate) fn push_all(&mut self, mut entries: Vec<QueuedEntry>) {
        entries.sort_by_key(|entry| entry.route.lane);
        while let Some(last) = entries.last() {
            let id = last.route.lane;
            let others = entries.partition_point(|entry| entry.route.lane < id);
            let of_lane = entries.split_off(others);
            self.update(id, |lane| {
                for entry in of_lane {
                    lane.queue.push(entry);
                }
            });
        }
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.paused.first() {
            if until > now {
                return;
            }
            self.update(id, |lane| {
                lane.limiter.refill(now);
                lane.update_pause(now);
            });
        }
    }

    pub(crate) fn backs_off_until(&self, id: LaneId, now: Instant) -> Option<Instant> {
        self.lanes.active(id)?.backs_off_until(now)
    }

    pub(crate) fn is_paused(&self, id: LaneId) -> bool {
        self.lanes.active(id).is_some_and(|lane| lane.paused_until.is_some())
    }

    pub(crate) fn queued(&self, id: LaneId) -> usize {
        self.lanes.active(id).map_or(0, |lane| lane.queue.len())
    }

    pub(crate) fn refund(&mut self, id: LaneId, bytes: usize, now: Instant) {
        self.update(id, |lane| {
            lane.refund(bytes);
            lane.update_pause(now);
        });
    }

    /// Returns the time at which the lane can send an entry that is not in its queue, or `None` if it can now.
    pub(crate) fn sends_at(&self, id: LaneId, bytes: usize, now: Instant) -> Option<Instant> {
        let backs_off_until = self.backs_off_until(id, now);
        self.lanes.limiter(id).sends_at(bytes, now).max(backs_off_until)
    }

    pub(crate) fn charge(&mut self, id: LaneId, bytes: usize, now: Instant) {
        self.update(id, |lane| {
            lane.charge(bytes, now);
            lane.update_pause(now);
        });
    }

    pub(crate) fn wakeup(&self) -> Option<Instant> {
        let mut paused = self.paused.iter();
        paused.find(|(_, id)| self.queued(*id) > 0).map(|(until, _)| *until)
    }

    /// Records the outcome of an entry. Must be called in the order of the entries in the request.
    pub(crate) fn record(&mut self, id: LaneId, bytes: usize, outcome: EntryOutcome) {
        let lane = self.lanes.activate(id);
        if lane.outcomes == LaneOutcomes::default() {
            self.pending_outcomes.push(id);
        }
        let cost = lane.limiter.cost(bytes);
        match outcome {
            EntryOutcome::Delivered => lane.outcomes.shard.accept(cost),
            EntryOutcome::Throttled => lane.outcomes.shard.throttle(cost),
            EntryOutcome::Failed => lane.outcomes.failed += 1,
        }
    }

    pub(crate) fn all_failed(&self) -> bool {
        let outcomes = || {
            let lanes = self.pending_outcomes.iter().filter_map(|&id| self.lanes.active(id));
            lanes.map(|lane| lane.outcomes)
        };
        outcomes().any(|one| one.failed > 0) && outcomes().all(|one| one.shard.entries == 0)
    }

    pub(crate) fn has_outcomes(&self) -> bool {
        !self.pending_outcomes.is_empty()
    }

    pub(crate) fn clear_outcomes(&mut self) {
        for id in std::mem::take(&mut self.pending_outcomes) {
            self.lanes.activate(id).outcomes = LaneOutcomes::default();
        }
    }

    pub(crate) fn apply_outcomes(
        &mut self,
        completion: Completion,
        rng: &mut Rng,
        mut samples: Option<&mut Samples>,
        shard_id: impl Fn(LaneId) -> Option<SmolStr>,
    ) {
        for id in std::mem::take(&mut self.pending_outcomes) {
            let sample = self.update(id, |lane| {
                let outcomes = lane.outcomes;
                lane.apply_outcomes(completion, rng);
                lane.update_pause(completion.now);
                samples.is_some().then(|| lane.sample(shard_id(id), outcomes))
            });
            if let Some(samples) = &mut samples {
                samples.shards.extend(sample);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lanes.ids().len()
    }

    #[cfg(test)]
    pub(crate) fn take_visits(&mut self) -> usize {
        std::mem::take(&mut self.visits)
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut total = LaneSize::default();
        let mut sendable = LaneSize::default();
        let mut ready = BTreeMap::new();
        let mut blocked = BTreeMap::new();
        let mut affordable = BTreeMap::new();
        let mut paused = BTreeSet::new();
        for (id, lane) in self.lanes.iter() {
            total.add(LaneSize::of(lane));
            match lane.paused_until {
                Some(until) => {
                    paused.insert((until, id));
                    blocked.extend(lane.head().map(|head| (head, id)));
                    let affordable_at = lane.affords_front_at();
                    affordable.extend(lane.head().map(|head| ((affordable_at, head), id)));
                }
                None => {
                    sendable.add(LaneSize::of(lane));
                    ready.extend(lane.head().map(|head| (head, id)));
                    assert!(lane.has_tokens());
                }
            }
            assert_eq!(lane.outcomes, LaneOutcomes::default());
            for entry in lane.queue.iter() {
                assert_eq!(entry.route.lane, id);
                for record in entry.members() {
                    record.check_hash_key();
                }
            }
        }
        assert_eq!((total, sendable), (self.total, self.sendable));
        assert_eq!((&ready, &blocked, &paused), (&self.ready, &self.blocked, &self.paused));
        assert_eq!(affordable, self.affordable);
    }

    /// Releases the memory of lanes without entries. No request may be in flight.
    pub(crate) fn rest(&mut self) {
        for id in self.lanes.ids() {
            if let Some(lane) = self.lanes.rest(id) {
                self.remove(id, LaneKeys::of(&lane));
            }
        }
        self.lanes.shrink();
        // An empty map keeps a node.
        if self.is_empty() {
            (self.ready, self.blocked) = (BTreeMap::new(), BTreeMap::new());
            self.affordable = BTreeMap::new();
        }
        if self.paused.is_empty() {
            self.paused = BTreeSet::new();
        }
    }

    /// Changes a lane and updates the indexes.
    fn update<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> T {
        let lane = self.lanes.activate(id);
        let before = LaneKeys::of(lane);
        let changed = change(lane);
        self.reindex(id, before);
        changed
    }

    /// Changes a lane unless it rests.
    fn update_active<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.lanes.active(id)?;
        Some(self.update(id, change))
    }

    fn reindex(&mut self, id: LaneId, before: LaneKeys) {
        let lane = self.lanes.activate(id);
        lane.update_front();
        let after = LaneKeys::of(lane);
        if before != after {
            self.remove(id, before);
            self.add(id, after);
        }
    }

    fn detach(&mut self, id: LaneId) {
        #[cfg(test)]
        {
            self.visits += 1;
        }
        let keys = LaneKeys::of(self.lanes.activate(id));
        self.remove(id, keys);
    }

    fn attach(&mut self, id: LaneId) {
        let lane = self.lanes.activate(id);
        lane.update_front();
        let keys = LaneKeys::of(lane);
        self.add(id, keys);
    }

    fn remove(&mut self, id: LaneId, keys: LaneKeys) {
        let LaneKeys { size, head, paused_until, affordable_at } = keys;
        self.total.subtract(size);
        let Some(until) = paused_until else {
            self.sendable.subtract(size);
            if let Some(head) = head {
                self.ready.remove(&head);
            }
            return;
        };
        self.paused.remove(&(until, id));
        if let Some(head) = head {
            self.blocked.remove(&head);
            self.affordable.remove(&(affordable_at, head));
        }
    }

    fn add(&mut self, id: LaneId, keys: LaneKeys) {
        let LaneKeys { size, head, paused_until, affordable_at } = keys;
        self.total.add(size);
        let Some(until) = paused_until else {
            self.sendable.add(size);
            if let Some(head) = head {
                self.ready.insert(head, id);
            }
            return;
        };
        self.paused.insert((until, id));
        if let Some(head) = head {
            self.blocked.insert(head, id);
            self.affordable.insert((affordable_at, head), id);
        }
    }
}

/// Keys of a lane in the indexes of [`Lanes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LaneKeys {
    size: LaneSize,
    head: Option<u64>,
    paused_until: Option<Instant>,
    affordable_at: Option<Instant>,
}

impl LaneKeys {
    fn of(lane: &Lane) -> Self {
        let Lane { paused_until, affordable_at, .. } = *lane;
        Self { size: LaneSize::of(lane), head: lane.head(), paused_until, affordable_at }
    }
}

impl LaneSize {
    fn of(lane: &Lane) -> Self {
        let queue = &lane.queue;
        Self { entries: queue.len(), records: queue.records(), bytes: queue.bytes() }
    }

    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.entries -= other.entries;
        self.records -= other.records;
        self.bytes -= other.bytes;
    }

    fn fills(&self, limits: &Limits) -> bool {
        self.entries >= limits.request_entries() || self.bytes >= limits.request_bytes()
    }
}
