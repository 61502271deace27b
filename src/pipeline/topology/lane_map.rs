use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::limits::MAX_LEARNED_SHARDS;
use crate::pipeline::backlog::{FALLBACK, LaneId};
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::{QueuedEntry, Route};
use crate::pipeline::in_flight::Completion;
use crate::shard::{Ring, ShardMap};

/// Maps positions of the hash ring to lanes. The map is built from listed and learned shards. It must not be used to
/// prove a placement, because learned shards can be wrong.
#[derive(Debug)]
pub(super) struct LaneMap {
    ring: Arc<Ring<LaneId>>,
    /// Incremented each time that the ring may have changed.
    version: u64,
    lanes: Vec<LaneSlot>,
    /// Lanes of open shards, sorted by the ids of the shards.
    by_shard: Vec<LaneId>,
    unused: Vec<LaneId>,
    stale: BTreeSet<LaneId>,
    /// Closed shards, each with the number of the first request sent after the sink learned that the shard is closed.
    closed: BTreeMap<SmolStr, u64>,
}

#[derive(Debug, Default)]
struct LaneSlot {
    shard: Option<SmolStr>,
    /// Number of the first request sent after the sink learned of the shard.
    since: u64,
    /// Incremented when the shard is closed or a shard list is applied, so that older routes are no longer current.
    generation: u32,
}

/// Lane opened for a new shard.
#[derive(Debug)]
pub(crate) struct OpenedLane {
    pub(crate) id: LaneId,
    pub(crate) replaces: Option<LaneId>,
}

/// Effect of an observed shard on the map. Later variants take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RingUpdate {
    /// The position is in the known range of the shard, or next to it.
    Extent,
    NewShard,
    /// The position was in the range of another shard, so the other shard must be closed.
    Contradiction,
}

impl Default for LaneMap {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            version: 0,
            lanes: vec![LaneSlot::default()],
            by_shard: Vec::new(),
            unused: Vec::new(),
            stale: BTreeSet::new(),
            closed: BTreeMap::new(),
        }
    }
}

impl LaneMap {
    pub(super) fn ring(&self) -> (&Arc<Ring<LaneId>>, u64) {
        (&self.ring, self.version)
    }

    pub(super) fn shards(&self) -> usize {
        self.by_shard.len()
    }

    /// Returns the lane of a shard.
    fn lane_of(&self, shard_id: &str) -> Option<LaneId> {
        self.place_of(shard_id).ok().map(|place| self.by_shard[place])
    }

    fn place_of(&self, shard_id: &str) -> Result<usize, usize> {
        self.by_shard.binary_search_by(|lane| {
            let shard = self.shard_of(*lane).map_or("", SmolStr::as_str);
            shard.cmp(shard_id)
        })
    }

    /// Releases unused capacity.
    pub(super) fn shrink(&mut self) {
        if self.ring.has_unused_capacity() {
            // A clone has no unused capacity. The ring can be shared, so that it must be published again.
            self.ring = Arc::new(Ring::clone(&self.ring));
            self.version += 1;
        }
        self.lanes.shrink_to_fit();
        self.by_shard.shrink_to_fit();
        self.unused.shrink_to_fit();
    }

    /// Returns `true` if there are several shards, so that the lane of a record depends on its hash key.
    pub(super) fn has_multiple_shards(&self) -> bool {
        self.ring.has_multiple_owners()
    }

    pub(super) fn shard_of(&self, lane: LaneId) -> Option<&SmolStr> {
        self.lanes[lane as usize].shard.as_ref()
    }

    /// Returns a route without an ordering key. If there are [several shards](Self::has_multiple_shards), the caller
    /// must compute the hash key first.
    #[inline]
    pub(super) fn route(&self, record: &BufferedRecord) -> Route {
        let located = if self.has_multiple_shards() {
            record.position().and_then(|position| self.ring.locate(position))
        } else {
            self.ring.only().filter(|_| record.has_hash_key()).map(|lane| (lane, true))
        };
        let (lane, is_certain) = located.unwrap_or((FALLBACK, false));
        Route { lane, generation: self.lanes[lane as usize].generation, order: None, is_certain }
    }

    pub(super) fn is_current(&self, route: Route) -> bool {
        self.lanes[route.lane as usize].generation == route.generation
    }

    pub(super) fn is_elsewhere(&self, record: &BufferedRecord, shard_id: &str) -> bool {
        let located = record.position().and_then(|position| self.ring.locate(position));
        located.is_some_and(|(lane, is_certain)| {
            is_certain && self.shard_of(lane).is_none_or(|shard| shard != shard_id)
        })
    }

    pub(super) fn mark_stale(&mut self, lane: LaneId) {
        self.stale.insert(lane);
    }

    /// Records that a response names `shard_id` as the owner of `position`. Closes the contradicted shards.
    pub(super) fn learn(
        &mut self,
        position: u128,
        shard_id: &str,
        completion: Completion,
        opened: &mut Vec<OpenedLane>,
    ) -> RingUpdate {
        let Completion { request, next, .. } = completion;
        let known = self.lane_of(shard_id);
        let lane = known.unwrap_or_else(|| self.open(shard_id, position, next, opened));
        let contradicted = Arc::make_mut(&mut self.ring).learn(position, lane);
        self.version += 1;
        for &lane in &contradicted {
            self.record_closed(lane, request, next);
            self.close(lane);
        }
        if !contradicted.is_empty() {
            RingUpdate::Contradiction
        } else if known.is_none() {
            RingUpdate::NewShard
        } else {
            RingUpdate::Extent
        }
    }

    /// Replaces the map with a shard list. `next` is the number of the next request. Marks all lanes as stale.
    pub(super) fn apply_list(&mut self, list: &ShardMap, next: u64, opened: &mut Vec<OpenedLane>) {
        let mut gone: BTreeSet<_> = self.by_shard.iter().copied().collect();
        let mut pieces = Vec::new();
        for shard in list.iter() {
            let first = shard.range().start().get();
            let last = shard.range().end().get();
            let known = self.lane_of(shard.id());
            let lane = known.unwrap_or_else(|| self.open(shard.id(), first, next, opened));
            gone.remove(&lane);
            pieces.push((first, last, lane));
        }
        for lane in gone {
            self.close(lane);
        }
        self.ring = Arc::new(Ring::new(pieces));
        self.version += 1;
        for slot in &mut self.lanes {
            slot.generation = slot.generation.wrapping_add(1);
        }
        self.stale.extend(0..self.lanes.len() as LaneId);
        for lane in &self.unused {
            self.stale.remove(lane);
        }
    }

    pub(super) fn forget(&mut self) {
        self.closed.clear();
        for lane in std::mem::take(&mut self.by_shard) {
            self.close(lane);
        }
        self.ring = Arc::default();
        self.version += 1;
    }

    /// Takes the stale lanes. The caller must empty them, because the lanes of closed shards are reused.
    pub(super) fn take_stale(&mut self) -> BTreeSet<LaneId> {
        let stale = std::mem::take(&mut self.stale);
        let is_closed = |lane: &&LaneId| **lane != FALLBACK && self.shard_of(**lane).is_none();
        let closed: Vec<_> = stale.iter().filter(is_closed).copied().collect();
        self.unused.extend(closed);
        stale
    }

    /// Records that a shard is closed, unless `request` was sent before the sink learned of the shard. The response can
    /// then name the parent of the shard, which does not prove that the shard is closed.
    fn record_closed(&mut self, lane: LaneId, request: u64, next: u64) {
        let slot = &self.lanes[lane as usize];
        let Some(shard) = slot.shard.as_ref().filter(|_| slot.since <= request) else { return };
        if self.closed.len() >= MAX_LEARNED_SHARDS {
            self.closed.clear();
        }
        self.closed.insert(shard.clone(), next);
    }

    /// Returns `true` if the shard was closed before `request` was sent, so it cannot have accepted the request.
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
        slot.since = next;
        if let Err(place) = self.place_of(&shard) {
            self.by_shard.insert(place, id);
        }
        self.lanes[id as usize].shard = Some(shard);
        opened.push(OpenedLane { id, replaces });
        id
    }

    fn close(&mut self, lane: LaneId) {
        if let Some(shard) = self.shard_of(lane)
            && let Ok(place) = self.place_of(shard)
        {
            self.by_shard.remove(place);
        }
        let slot = &mut self.lanes[lane as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.shard = None;
        self.stale.insert(lane);
    }

    /// Returns `true` if the response confirms the certain route of an entry, so there is nothing to learn.
    #[inline]
    pub(super) fn confirms(&self, entry: &QueuedEntry, shard_id: &str) -> bool {
        let route = entry.route;
        route.is_certain
            && self.is_current(route)
            && self.shard_of(route.lane).is_some_and(|shard| shard == shard_id)
    }
}
