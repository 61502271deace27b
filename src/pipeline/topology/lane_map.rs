use std::collections::{BTreeSet, HashMap};

use smol_str::SmolStr;

use crate::limits::MAX_LEARNED_SHARDS;
use crate::pipeline::backlog::{FALLBACK, LaneId};
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::{QueuedEntry, Route};
use crate::record::HashKey;
use crate::shard::{Ring, ShardMap};

/// Which lane is for which shard, listed or learned from responses. A hint for pacing, never a proof.
#[derive(Debug)]
pub(super) struct LaneMap {
    ring: Ring<LaneId>,
    by_shard: HashMap<SmolStr, LaneId>,
    lanes: Vec<LaneSlot>,
    unused: Vec<LaneId>,
    /// Lanes with entries that may belong to another lane by now.
    stale: BTreeSet<LaneId>,
    /// Shards that a reshard has closed, each with the number of the first request that cannot have reached it.
    closed: HashMap<SmolStr, u64>,
}

#[derive(Debug, Default)]
struct LaneSlot {
    /// `None` for the fallback lane and for closed shards.
    shard: Option<SmolStr>,
    /// The number of the first request after the shard was known.
    since: u64,
    /// Incremented when the shard is closed, and when shards are listed.
    generation: u32,
}

/// A lane for a shard that was not known before.
#[derive(Debug)]
pub(crate) struct OpenedLane {
    pub(crate) id: LaneId,
    /// The lane that the positions of the shard were in until now.
    pub(crate) replaces: Option<LaneId>,
}

/// What a response has shown about a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RingUpdate {
    /// How far it extends.
    Extent,
    /// That it exists.
    NewShard,
    /// That another shard is closed.
    Contradiction,
}

impl Default for LaneMap {
    fn default() -> Self {
        Self {
            ring: Ring::default(),
            by_shard: HashMap::new(),
            lanes: vec![LaneSlot::default()],
            unused: Vec::new(),
            stale: BTreeSet::new(),
            closed: HashMap::new(),
        }
    }
}

impl LaneMap {
    /// The number of known shards.
    pub(super) fn shards(&self) -> usize {
        self.by_shard.len()
    }

    /// Whether more than one shard is known, so that the lane of a record depends on its hash key.
    pub(super) fn has_multiple_shards(&self) -> bool {
        self.ring.has_multiple_owners()
    }

    /// The shard of a lane.
    pub(super) fn shard_of(&self, lane: LaneId) -> Option<&SmolStr> {
        self.lanes[lane as usize].shard.as_ref()
    }

    /// The route of a record, without an ordering key. The hash key is computed before if it
    /// [is needed](Self::has_multiple_shards).
    pub(super) fn route(&self, record: &BufferedRecord) -> Route {
        let located = if self.has_multiple_shards() {
            record.position().and_then(|position| self.ring.locate(position))
        } else {
            self.ring.only().filter(|_| record.has_hash_key()).map(|lane| (lane, true))
        };
        let (lane, is_certain) = located.unwrap_or((FALLBACK, false));
        Route { lane, generation: self.lanes[lane as usize].generation, order: None, is_certain }
    }

    /// Whether the lane of a route is still that of the same shard.
    pub(super) fn is_current(&self, route: Route) -> bool {
        self.lanes[route.lane as usize].generation == route.generation
    }

    /// Whether the shard of the record is known to be another one than this one.
    pub(super) fn is_elsewhere(&self, record: &BufferedRecord, shard_id: &str) -> bool {
        let located = record.position().and_then(|position| self.ring.locate(position));
        located.is_some_and(|(lane, is_certain)| {
            is_certain && self.shard_of(lane).is_none_or(|shard| shard != shard_id)
        })
    }

    /// Marks a lane whose entries may belong to another one.
    pub(super) fn mark_stale(&mut self, lane: LaneId) {
        self.stale.insert(lane);
    }

    /// Learns from the response to `request` that `position` belongs to this shard. `next` is the number of the next
    /// request. Shards that this contradicts are closed.
    pub(super) fn learn(
        &mut self,
        position: u128,
        shard_id: &str,
        request: u64,
        next: u64,
        opened: &mut Vec<OpenedLane>,
    ) -> RingUpdate {
        let known = self.by_shard.get(shard_id).copied();
        let lane = known.unwrap_or_else(|| self.open(shard_id, position, next, opened));
        let contradicted = self.ring.learn(position, lane);
        for &lane in &contradicted {
            self.record_closed(lane, request, next);
            self.close(lane);
        }
        match (known, contradicted.is_empty()) {
            (_, false) => RingUpdate::Contradiction,
            (None, true) => RingUpdate::NewShard,
            (Some(_), true) => RingUpdate::Extent,
        }
    }

    /// Replaces everything by a list, made before the request with the number `next`. All lanes are stale.
    pub(super) fn apply_list(&mut self, list: &ShardMap, next: u64, opened: &mut Vec<OpenedLane>) {
        let mut gone: BTreeSet<_> = self.by_shard.values().copied().collect();
        let mut pieces = Vec::new();
        for shard in list.iter() {
            let [first, last] = [shard.range().start(), shard.range().end()].map(HashKey::get);
            let known = self.by_shard.get(shard.id()).copied();
            let lane = known.unwrap_or_else(|| self.open(shard.id(), first, next, opened));
            gone.remove(&lane);
            pieces.push((first, last, lane));
        }
        for lane in gone {
            self.close(lane);
        }
        self.ring = Ring::new(pieces);
        for slot in &mut self.lanes {
            slot.generation = slot.generation.wrapping_add(1);
        }
        self.stale.extend(0..self.lanes.len() as LaneId);
        for lane in &self.unused {
            self.stale.remove(lane);
        }
    }

    /// Forgets all shards.
    pub(super) fn forget(&mut self) {
        self.closed.clear();
        let known: Vec<_> = self.by_shard.values().copied().collect();
        for lane in known {
            self.close(lane);
        }
        self.ring = Ring::default();
    }

    /// Takes the lanes whose entries have to be routed again. Those of closed shards may be reused as soon as they are
    /// empty, so the caller empties them.
    pub(super) fn take_stale(&mut self) -> BTreeSet<LaneId> {
        let stale = std::mem::take(&mut self.stale);
        let is_closed = |lane: &&LaneId| **lane != FALLBACK && self.shard_of(**lane).is_none();
        let closed: Vec<_> = stale.iter().filter(is_closed).copied().collect();
        self.unused.extend(closed);
        stale
    }

    /// Records that a lane's shard is closed, if the response to `request` proves it. The response to an older request
    /// can name the parent of an open shard.
    fn record_closed(&mut self, lane: LaneId, request: u64, next: u64) {
        let slot = &self.lanes[lane as usize];
        let Some(shard) = slot.shard.as_ref().filter(|_| slot.since <= request) else { return };
        if self.closed.len() >= MAX_LEARNED_SHARDS {
            self.closed.clear();
        }
        self.closed.insert(shard.clone(), next);
    }

    /// Whether the response to `request` cannot name this shard: it was closed before the request was sent, and a
    /// closed shard takes no records.
    pub(super) fn was_closed(&self, shard_id: &str, request: u64) -> bool {
        self.closed.get(shard_id).is_some_and(|&from| from <= request)
    }

    pub(super) fn forget_closed(&mut self) {
        self.closed.clear();
    }

    fn open(
        &mut self,
        shard_id: &str,
        position: u128,
        next: u64,
        opened: &mut Vec<OpenedLane>,
    ) -> LaneId {
        let shard = SmolStr::new(shard_id);
        let replaces = self.ring.find(position);
        let id = self.unused.pop().unwrap_or_else(|| {
            self.lanes.push(LaneSlot::default());
            (self.lanes.len() - 1) as LaneId
        });
        let slot = &mut self.lanes[id as usize];
        slot.shard = Some(shard.clone());
        slot.since = next;
        self.by_shard.insert(shard, id);
        opened.push(OpenedLane { id, replaces });
        id
    }

    fn close(&mut self, lane: LaneId) {
        let slot = &mut self.lanes[lane as usize];
        slot.generation = slot.generation.wrapping_add(1);
        if let Some(shard) = slot.shard.take() {
            self.by_shard.remove(&shard);
        }
        self.stale.insert(lane);
    }

    /// Whether an entry was known to go to the shard that it was written to, so that there is nothing to learn.
    #[inline]
    pub(super) fn confirms(&self, entry: &QueuedEntry, shard_id: &str) -> bool {
        let route = entry.route;
        route.is_certain
            && self.is_current(route)
            && self.shard_of(route.lane).is_some_and(|shard| shard == shard_id)
    }
}
