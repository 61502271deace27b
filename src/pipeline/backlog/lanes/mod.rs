//! What waits to be sent, shard by shard.

mod fill;
mod lane;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

use self::lane::{Lane, LaneOutcomes};
use crate::limits::Limits;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::samples::Samples;
use crate::shard::{Quota, RateLimiter};

/// The number of a lane. Those of closed shards are reused.
pub(crate) type LaneId = u32;

/// The lane of entries whose shard is not known.
pub(crate) const FALLBACK: LaneId = 0;

/// A lane for each known shard, so that a busy shard delays its own records only.
///
/// A lane that waits for tokens, or backs off, is paused. All others may send.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The lanes that may send and have entries, by their oldest records.
    ready: BTreeMap<u64, LaneId>,
    /// The paused lanes that have entries, by their oldest records.
    blocked: BTreeMap<u64, LaneId>,
    /// The paused lanes by the time at which they can afford their oldest entries, then by their oldest records.
    affordable: BTreeMap<(Option<Instant>, u64), LaneId>,
    /// The paused lanes by the end of the pause.
    paused: BTreeSet<(Instant, LaneId)>,
    /// The size of all lanes.
    total: LaneSize,
    /// The size of the lanes that may send.
    sendable: LaneSize,
    /// The lanes with outcomes that were not applied yet.
    pending_outcomes: Vec<LaneId>,
    quota: Quota,
    backoff: Backoff,
    /// Lanes that requests were filled from, or were to be.
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
    /// Failed for another reason, and retried.
    Failed,
}

impl Lanes {
    pub(crate) fn new(quota: Quota, backoff: Backoff) -> Self {
        let fallback = Lane::new(RateLimiter::unknown(quota), backoff.clone());
        Self {
            lanes: vec![fallback],
            ready: BTreeMap::new(),
            blocked: BTreeMap::new(),
            affordable: BTreeMap::new(),
            paused: BTreeSet::new(),
            total: LaneSize::default(),
            sendable: LaneSize::default(),
            pending_outcomes: Vec::new(),
            quota,
            backoff,
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Opens a lane for a shard, which is empty. Its rate starts at that of the lane that it replaces, since the same
    /// producers will use the shard. `next` is the number of the next request.
    pub(crate) fn open(&mut self, id: LaneId, replaces: Option<LaneId>, next: u64, now: Instant) {
        let share = replaces.map_or(1.0, |id| self.lane(id).limiter.share());
        let limiter = RateLimiter::of_shard(self.quota, share, next, now);
        let lane = Lane::new(limiter, self.backoff.clone());
        if id as usize == self.lanes.len() {
            self.lanes.push(lane);
        } else {
            self.change(id, |unused| *unused = lane);
        }
    }

    fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id as usize]
    }

    /// The number of records.
    pub(crate) fn records(&self) -> usize {
        self.total.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total.entries == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.lanes.iter().flat_map(|lane| lane.queue.iter())
    }

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&BufferedRecord> {
        self.lane(self.oldest_lane()?).queue.front()
    }

    /// The lane of the oldest record, paused or not.
    fn oldest_lane(&self) -> Option<LaneId> {
        let heads = [self.ready.first_key_value(), self.blocked.first_key_value()];
        heads.into_iter().flatten().min().map(|(_, &id)| id)
    }

    /// The oldest record that may be sent.
    pub(crate) fn front_sendable(&self) -> Option<&BufferedRecord> {
        let (_, id) = self.ready.first_key_value()?;
        self.lane(*id).queue.front()
    }

    /// Whether what may be sent fills a request.
    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.sendable.fills(limits)
    }

    /// Whether everything queued, paused lanes included, would fill a request.
    pub(crate) fn holds_request(&self, limits: &Limits) -> bool {
        self.total.fills(limits)
    }

    /// Queues an entry in the lane of its route, in the order of acceptance.
    #[inline]
    pub(crate) fn push(&mut self, entry: QueuedEntry) {
        let id = entry.route.lane;
        let lane = &mut self.lanes[id as usize];
        let size = LaneSize { entries: 1, records: entry.len(), bytes: entry.size() };
        let changes_front = lane.head().is_none_or(|head| entry.seq() < head);
        let before = changes_front.then(|| LaneKeys::of(lane));
        // In one place, since each move of an entry costs.
        lane.queue.push(entry);
        if let Some(before) = before {
            return self.reindex(id, before);
        }
        // What else the indexes depend on is the front of the lane.
        self.total.add(size);
        if lane.paused_until.is_none() {
            self.sendable.add(size);
        }
    }

    /// Removes the entry with the oldest record if `condition` is true for that record.
    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
    ) -> Option<QueuedEntry> {
        let id = self.oldest_lane()?;
        self.change(id, |lane| lane.queue.pop_if(|oldest, _| condition(oldest)))
    }

    /// Removes the entries for which `condition` is true.
    pub(crate) fn extract_if(
        &mut self,
        condition: impl Fn(&mut QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let ids = 0..self.lanes.len() as LaneId;
        let lanes = ids.map(|id| self.change(id, |lane| lane.queue.extract_if(&condition)));
        lanes.flatten().collect()
    }

    /// Removes everything, in no order.
    pub(crate) fn drain(&mut self) -> Vec<QueuedEntry> {
        self.drain_lanes(0..self.lanes.len() as LaneId)
    }

    /// Removes everything from some lanes.
    pub(crate) fn drain_lanes(
        &mut self,
        ids: impl IntoIterator<Item = LaneId>,
    ) -> Vec<QueuedEntry> {
        let lanes = ids.into_iter().map(|id| self.change(id, |lane| lane.queue.drain()));
        lanes.flatten().collect()
    }

    /// Queues entries that are routed anew, lane by lane.
    pub(crate) fn push_all(&mut self, mut entries: Vec<QueuedEntry>) {
        entries.sort_by_key(|entry| entry.route.lane);
        while let Some(last) = entries.last() {
            let id = last.route.lane;
            let others = entries.partition_point(|entry| entry.route.lane < id);
            let of_lane = entries.split_off(others);
            self.change(id, |lane| {
                for entry in of_lane {
                    lane.queue.push(entry);
                }
            });
        }
    }

    /// Resumes the lanes whose pause is over.
    pub(crate) fn resume(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.paused.first() {
            if until > now {
                return;
            }
            self.change(id, |lane| {
                lane.limiter.refill(now);
                lane.update_pause(now);
            });
        }
    }

    /// The end of a lane's backoff.
    pub(crate) fn backs_off_until(&self, id: LaneId, now: Instant) -> Option<Instant> {
        self.lane(id).backs_off_until(now)
    }

    pub(crate) fn is_paused(&self, id: LaneId) -> bool {
        self.lane(id).paused_until.is_some()
    }

    /// The number of entries in a lane.
    pub(crate) fn queued(&self, id: LaneId) -> usize {
        self.lane(id).queue.len()
    }

    /// Refunds the tokens of an entry that was not sent after all.
    pub(crate) fn refund(&mut self, id: LaneId, bytes: usize, now: Instant) {
        self.change(id, |lane| {
            lane.refund(bytes);
            lane.update_pause(now);
        });
    }

    /// When an entry of so many bytes may be sent that is not queued in the lane. `None` if it may be sent now.
    pub(crate) fn sends_at(&self, id: LaneId, bytes: usize, now: Instant) -> Option<Instant> {
        self.lane(id).sends_at(bytes, now)
    }

    /// Takes the tokens for an entry that is not queued in the lane.
    pub(crate) fn charge(&mut self, id: LaneId, bytes: usize, now: Instant) {
        self.change(id, |lane| {
            lane.charge(bytes, now);
            lane.update_pause(now);
        });
    }

    /// The end of the next pause of a lane that has entries.
    pub(crate) fn wakeup(&self) -> Option<Instant> {
        let mut paused = self.paused.iter();
        paused.find(|(_, id)| !self.lane(*id).queue.is_empty()).map(|(until, _)| *until)
    }

    /// Records the outcome of an entry. Entries of a response are recorded in the order of the request.
    pub(crate) fn record(&mut self, id: LaneId, bytes: usize, outcome: EntryOutcome) {
        let lane = &mut self.lanes[id as usize];
        if lane.outcomes == LaneOutcomes::default() {
            self.pending_outcomes.push(id);
        }
        let cost = lane.limiter.cost(bytes);
        match outcome {
            EntryOutcome::Delivered => lane.outcomes.answer.accept(cost),
            EntryOutcome::Throttled => lane.outcomes.answer.refuse(cost),
            EntryOutcome::Failed => lane.outcomes.failed += 1,
        }
    }

    /// Whether no recorded entry was delivered or throttled, and at least one has failed.
    pub(crate) fn all_failed(&self) -> bool {
        let outcomes = || self.pending_outcomes.iter().map(|&id| self.lane(id).outcomes);
        outcomes().any(|one| one.failed > 0) && outcomes().all(|one| one.answer.entries == 0)
    }

    /// Whether outcomes were recorded that are not applied yet.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.pending_outcomes.is_empty()
    }

    /// Forgets the recorded outcomes.
    pub(crate) fn clear_outcomes(&mut self) {
        for id in std::mem::take(&mut self.pending_outcomes) {
            self.lanes[id as usize].outcomes = LaneOutcomes::default();
        }
    }

    /// Applies the recorded outcomes of the request with the number `request` to the rate limiters and backoffs.
    /// `next` is the number of the next request. Pushes samples with the names that `shard_id` returns.
    pub(crate) fn apply_outcomes(
        &mut self,
        request: u64,
        next: u64,
        now: Instant,
        rng: &mut Rng,
        mut samples: Option<&mut Samples>,
        shard_id: impl Fn(LaneId) -> Option<SmolStr>,
    ) {
        for id in std::mem::take(&mut self.pending_outcomes) {
            let outcomes = self.lane(id).outcomes;
            self.change(id, |lane| {
                lane.apply_outcomes(request, next, now, rng);
                lane.update_pause(now);
            });
            if let Some(samples) = &mut samples {
                samples.shards.push(self.lane(id).sample(shard_id(id), outcomes));
            }
        }
    }

    /// The number of lanes, those of closed shards included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The number of lanes that were visited to fill requests since the last call.
    #[cfg(test)]
    pub(crate) fn take_visits(&mut self) -> usize {
        std::mem::take(&mut self.visits)
    }

    /// Checks the invariants.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let (mut total, mut sendable) = (LaneSize::default(), LaneSize::default());
        let [mut ready, mut blocked] = [BTreeMap::new(), BTreeMap::new()];
        let (mut affordable, mut paused) = (BTreeMap::new(), BTreeSet::new());
        for (id, lane) in (0..).zip(&self.lanes) {
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
                entry.members().iter().for_each(BufferedRecord::check_hash_key);
            }
        }
        assert_eq!((total, sendable), (self.total, self.sendable));
        assert_eq!((&ready, &blocked, &paused), (&self.ready, &self.blocked, &self.paused));
        assert_eq!(affordable, self.affordable);
    }

    /// Changes a lane, and updates the indexes if its keys have changed.
    fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> T {
        let lane = &mut self.lanes[id as usize];
        let before = LaneKeys::of(lane);
        let changed = change(lane);
        self.reindex(id, before);
        changed
    }

    /// Updates the indexes after a lane has changed.
    fn reindex(&mut self, id: LaneId, before: LaneKeys) {
        let lane = &mut self.lanes[id as usize];
        lane.update_front();
        let after = LaneKeys::of(lane);
        if before != after {
            self.remove(id, before);
            self.add(id, after);
        }
    }

    /// Removes a lane from the indexes before it changes.
    fn detach(&mut self, id: LaneId) {
        #[cfg(test)]
        {
            self.visits += 1;
        }
        self.remove(id, LaneKeys::of(self.lane(id)));
    }

    /// Adds a lane to the indexes after it has changed.
    fn attach(&mut self, id: LaneId) {
        self.lanes[id as usize].update_front();
        self.add(id, LaneKeys::of(self.lane(id)));
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

/// The keys of a lane in the indexes.
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
