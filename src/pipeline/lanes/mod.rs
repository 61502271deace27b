//! What waits to be sent, shard by shard.

mod lane;
mod queue;
mod request;
mod shards;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

pub(crate) use self::shards::{Lesson, Surprise};

use self::lane::{Lane, Tally};
use super::backoff::Backoff;
use super::pending::Pending;
use super::samples::Samples;
use super::unit::Unit;
use crate::limits::Limits;
use crate::shard::{Quota, RateLimiter, Ring};

/// A lane's number. Those of closed shards are used again.
type LaneId = usize;

/// The lane of everything whose shard is not known.
const COMMON: LaneId = 0;

/// A lane for each shard, as far as shards are known, so that a busy one holds up nobody else's records.
///
/// A lane that has used up its pace, or backs off, is paused; all others may send.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    unused: Vec<LaneId>,
    by_shard: HashMap<SmolStr, LaneId>,
    ring: Ring<LaneId>,
    /// Shards that a reshard has closed, each with the number of the first request that cannot have reached it.
    retired: HashMap<SmolStr, u64>,
    /// The lanes that may send and have something, by their oldest records.
    ready: BTreeMap<u64, LaneId>,
    /// The paused ones that have something.
    held_up: BTreeMap<u64, LaneId>,
    /// The same lanes by the time at which they can afford their oldest entries, then by their oldest records.
    affordable: BTreeMap<(Option<Instant>, u64), LaneId>,
    /// Those that are paused, by the end of it.
    paused: BTreeSet<(Instant, LaneId)>,
    /// In all lanes.
    total: Load,
    /// In those that may send.
    sendable: Load,
    /// Lanes in which something may wait that belongs elsewhere by now.
    doubtful: BTreeSet<LaneId>,
    /// Lanes with a tally.
    tallied: Vec<LaneId>,
    quota: Quota,
    backoff: Backoff,
    /// Lanes that requests were taken from, or were to be.
    #[cfg(test)]
    visits: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    entries: usize,
    records: usize,
    bytes: usize,
}

/// What came of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Throttled,
    /// To be sent again for another reason.
    Failed,
}

impl Lanes {
    pub(crate) fn new(quota: Quota, backoff: Backoff) -> Self {
        let common = Lane::new(None, 0, RateLimiter::unknown(quota), backoff.clone());
        Self {
            lanes: vec![common],
            unused: Vec::new(),
            by_shard: HashMap::new(),
            ring: Ring::default(),
            retired: HashMap::new(),
            ready: BTreeMap::new(),
            held_up: BTreeMap::new(),
            affordable: BTreeMap::new(),
            paused: BTreeSet::new(),
            total: Load::default(),
            sendable: Load::default(),
            doubtful: BTreeSet::new(),
            tallied: Vec::new(),
            quota,
            backoff,
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Records that wait.
    pub(crate) fn records(&self) -> usize {
        self.total.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total.entries == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.lanes.iter().flat_map(|lane| lane.queue.iter())
    }

    /// The oldest record.
    pub(crate) fn front(&self) -> Option<&Pending> {
        self.lanes[self.oldest_lane()?].queue.front()
    }

    /// The lane of the oldest record, paused or not.
    fn oldest_lane(&self) -> Option<LaneId> {
        let heads = [self.ready.first_key_value(), self.held_up.first_key_value()];
        heads.into_iter().flatten().min().map(|(_, &id)| id)
    }

    /// The oldest record that may be sent.
    pub(crate) fn front_sendable(&self) -> Option<&Pending> {
        let (_, id) = self.ready.first_key_value()?;
        self.lanes[*id].queue.front()
    }

    /// Whether no request could carry what may be sent and one entry more.
    pub(crate) fn fills_request(&self, limits: &Limits) -> bool {
        self.sendable.fills(limits)
    }

    /// Whether what waits would fill a request, if it might be sent.
    pub(crate) fn holds_request(&self, limits: &Limits) -> bool {
        self.total.fills(limits)
    }

    /// Puts an entry where it belongs in the order.
    pub(crate) fn insert(&mut self, unit: Unit) {
        let id = self.route(unit.oldest());
        let lane = &mut self.lanes[id];
        if lane.head().is_none_or(|head| unit.seq() < head) {
            return self.change(id, |lane| lane.queue.insert(unit));
        }
        // The lane's front, and so all that depends on it, stays as it is.
        let load = Load { entries: 1, records: unit.len(), bytes: unit.size() };
        let is_paused = lane.paused_until.is_some();
        lane.queue.insert(unit);
        self.total.add(load);
        if !is_paused {
            self.sendable.add(load);
        }
    }

    /// Takes the entry with the oldest record if `condition` holds for that record.
    pub(crate) fn pop_oldest_if(&mut self, condition: impl Fn(&Pending) -> bool) -> Option<Unit> {
        let id = self.oldest_lane()?;
        self.change(id, |lane| lane.queue.pop_if(|oldest, _| condition(oldest)))
    }

    /// Takes the aggregates for which `condition` holds.
    pub(crate) fn extract_if(&mut self, condition: impl Fn(&mut Unit) -> bool) -> Vec<Unit> {
        let ids = 0..self.lanes.len();
        let lanes = ids.map(|id| self.change(id, |lane| lane.queue.extract_if(&condition)));
        lanes.flatten().collect()
    }

    /// Takes everything, in no order.
    pub(crate) fn take_all(&mut self) -> Vec<Unit> {
        let ids = 0..self.lanes.len();
        ids.flat_map(|id| self.change(id, |lane| lane.queue.take_all())).collect()
    }

    /// Lets the lanes go on whose pause is over.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.paused.first() {
            if until > now {
                return;
            }
            self.change(id, |lane| {
                lane.limiter.refill(now);
                lane.pause(now);
            });
        }
    }

    /// Until when the record's lane backs off.
    pub(crate) fn backs_off_until(&self, pending: &Pending, now: Instant) -> Option<Instant> {
        self.lanes[self.route(pending)].backs_off_until(now)
    }

    /// Whether the record's lane may not send now.
    pub(crate) fn is_paused(&self, pending: &Pending) -> bool {
        self.lanes[self.route(pending)].paused_until.is_some()
    }

    /// Entries that wait for the same shard as the record would.
    pub(crate) fn queued(&self, pending: &Pending) -> usize {
        self.lanes[self.route(pending)].queue.len()
    }

    /// Takes back the payment for an entry that was not sent after all.
    pub(crate) fn give_back(&mut self, unit: &Unit, now: Instant) {
        let id = self.route(unit.oldest());
        self.change(id, |lane| {
            lane.give_back(unit);
            lane.pause(now);
        });
    }

    /// When the entry may be sent as far as its lane is concerned; none if it may be now. Its place in the
    /// lane does not matter.
    pub(crate) fn sends_at(&self, unit: &Unit, now: Instant) -> Option<Instant> {
        self.lanes[self.route(unit.oldest())].sends_at(unit.size(), now)
    }

    /// Pays for an entry that is sent without having waited here.
    pub(crate) fn charge(&mut self, unit: &Unit, now: Instant) {
        let id = self.route(unit.oldest());
        self.change(id, |lane| {
            lane.charge(unit, now);
            lane.pause(now);
        });
    }

    /// When the next pause of a lane ends that has something to send.
    pub(crate) fn wakeup(&self) -> Option<Instant> {
        let mut paused = self.paused.iter();
        paused.find(|(_, id)| !self.lanes[*id].queue.is_empty()).map(|(until, _)| *until)
    }

    /// Notes what came of an entry. The entries of an answer are noted in the order of the request.
    pub(crate) fn note(&mut self, unit: &Unit, fate: Fate) {
        self.note_in(self.route(unit.oldest()), unit.size(), fate);
    }

    fn note_in(&mut self, id: LaneId, bytes: usize, fate: Fate) {
        let lane = &mut self.lanes[id];
        if lane.tally == Tally::default() {
            self.tallied.push(id);
        }
        let cost = lane.limiter.cost(bytes);
        match fate {
            Fate::Delivered => lane.tally.answer.accept(cost),
            Fate::Throttled => lane.tally.answer.refuse(cost),
            Fate::Failed => lane.tally.failed += 1,
        }
    }

    /// Whether by what was noted nothing was delivered, and not because it was too much.
    pub(crate) fn nothing_works(&self) -> bool {
        let tallies = || self.tallied.iter().map(|&id| self.lanes[id].tally);
        tallies().any(|tally| tally.failed > 0) && tallies().all(|tally| tally.answer.entries == 0)
    }

    /// Whether nothing was noted.
    pub(crate) fn were_not_noted(&self) -> bool {
        self.tallied.is_empty()
    }

    /// Forgets what was noted.
    pub(crate) fn forget_notes(&mut self) {
        for id in std::mem::take(&mut self.tallied) {
            self.lanes[id].tally = Default::default();
        }
    }

    /// Draws the consequences of what was noted of the request with the number `request`, of those below
    /// `next`.
    pub(crate) fn conclude(
        &mut self,
        request: u64,
        next: u64,
        now: Instant,
        rng: &mut Rng,
        samples: Option<&mut Samples>,
    ) {
        let mut samples = samples.filter(|samples| samples.wants_shards());
        for id in std::mem::take(&mut self.tallied) {
            let tally = self.lanes[id].tally;
            self.change(id, |lane| {
                lane.conclude(request, next, now, rng);
                lane.pause(now);
            });
            if let Some(samples) = &mut samples {
                samples.shards.push(self.lanes[id].sample(tally));
            }
        }
    }

    /// Shards that are known.
    pub(crate) fn shards(&self) -> usize {
        self.by_shard.len()
    }

    /// Lanes, those of closed shards included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Lanes that were visited to fill requests since this was last asked.
    #[cfg(test)]
    pub(crate) fn take_visits(&mut self) -> usize {
        std::mem::take(&mut self.visits)
    }

    /// Everything that must be true at any time.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let (mut total, mut sendable) = (Load::default(), Load::default());
        let [mut ready, mut held_up] = [BTreeMap::new(), BTreeMap::new()];
        let (mut affordable, mut paused) = (BTreeMap::new(), BTreeSet::new());
        for (id, lane) in self.lanes.iter().enumerate() {
            total.add(Load::of(lane));
            match lane.paused_until {
                Some(until) => {
                    paused.insert((until, id));
                    held_up.extend(lane.head().map(|head| (head, id)));
                    let affordable_at = lane.affords_front_at();
                    affordable.extend(lane.head().map(|head| ((affordable_at, head), id)));
                }
                None => {
                    sendable.add(Load::of(lane));
                    ready.extend(lane.head().map(|head| (head, id)));
                    assert!(lane.may_go());
                }
            }
            assert_eq!(lane.tally, Default::default());
            lane.queue.iter().for_each(Pending::check_place);
        }
        assert_eq!((total, sendable), (self.total, self.sendable));
        assert_eq!((&ready, &held_up, &paused), (&self.ready, &self.held_up, &self.paused));
        assert_eq!(affordable, self.affordable);
    }

    /// Changes a lane, and all that is kept of it elsewhere: at most of what has changed, for where there
    /// are many lanes, most changes concern none of it.
    fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> T {
        let before = Face::of(&self.lanes[id]);
        let changed = change(&mut self.lanes[id]);
        self.lanes[id].look_at_front();
        let after = Face::of(&self.lanes[id]);
        if before != after {
            self.remove(id, before);
            self.add(id, after);
        }
        changed
    }

    /// Takes a lane out of all that is kept of it elsewhere, before it changes.
    fn detach(&mut self, id: LaneId) {
        #[cfg(test)]
        {
            self.visits += 1;
        }
        self.remove(id, Face::of(&self.lanes[id]));
    }

    /// The reverse of [`detach`](Self::detach).
    fn attach(&mut self, id: LaneId) {
        self.lanes[id].look_at_front();
        self.add(id, Face::of(&self.lanes[id]));
    }

    fn remove(&mut self, id: LaneId, face: Face) {
        let Face { load, head, paused_until, affordable_at } = face;
        self.total.subtract(load);
        let Some(until) = paused_until else {
            self.sendable.subtract(load);
            if let Some(head) = head {
                self.ready.remove(&head);
            }
            return;
        };
        self.paused.remove(&(until, id));
        if let Some(head) = head {
            self.held_up.remove(&head);
            self.affordable.remove(&(affordable_at, head));
        }
    }

    fn add(&mut self, id: LaneId, face: Face) {
        let Face { load, head, paused_until, affordable_at } = face;
        self.total.add(load);
        let Some(until) = paused_until else {
            self.sendable.add(load);
            if let Some(head) = head {
                self.ready.insert(head, id);
            }
            return;
        };
        self.paused.insert((until, id));
        if let Some(head) = head {
            self.held_up.insert(head, id);
            self.affordable.insert((affordable_at, head), id);
        }
    }
}

/// What is kept of a lane elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Face {
    load: Load,
    head: Option<u64>,
    paused_until: Option<Instant>,
    affordable_at: Option<Instant>,
}

impl Face {
    fn of(lane: &Lane) -> Self {
        let Lane { paused_until, affordable_at, .. } = *lane;
        Self { load: Load::of(lane), head: lane.head(), paused_until, affordable_at }
    }
}

impl Load {
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
