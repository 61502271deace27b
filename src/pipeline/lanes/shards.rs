//! Which lane is for which shard: learned from the answers, or listed.

use std::collections::BTreeSet;
use std::time::Instant;

use smol_str::SmolStr;

use super::{COMMON, Fate, Lane, LaneId, Lanes};
use crate::limits::MOST_LEARNED_SHARDS;
use crate::pipeline::pending::Pending;
use crate::pipeline::unit::Unit;
use crate::record::HashKey;
use crate::shard::{HashMemo, RateLimiter, Ring, ShardMap};

/// What an entry says of the shards by the place that it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surprise {
    /// Nothing new.
    No,
    /// It was likely to lie there. Now that is certain.
    Detail,
    /// It was thought to belong to another shard.
    Astray,
}

/// What an answer said of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lesson {
    /// How far it reaches.
    Detail,
    /// That it exists.
    NewShard,
    /// That another one is closed.
    Contradiction,
}

impl Lanes {
    /// Whether more than one shard is known, so that it takes a record's place to find its lane.
    pub(crate) fn tell_apart(&self) -> bool {
        self.ring.tells_apart()
    }

    /// Notes that an entry was delivered to this shard, and says what that
    /// means for what is known of the shards.
    ///
    /// As long as one shard is all that is known, it matters only whether this is that one.
    pub(crate) fn note_delivered(&mut self, unit: &Unit, shard_id: &str) -> Surprise {
        let oldest = unit.oldest();
        let known = match self.ring.only() {
            Some(only) => oldest.has_place().then_some((only, true)),
            None if self.tell_apart() => oldest.place().and_then(|place| self.ring.locate(place)),
            None => None,
        };
        let (id, is_certain) = known.unwrap_or((COMMON, false));
        self.note_in(id, unit.size(), Fate::Delivered);
        if !oldest.has_place() {
            return Surprise::No;
        }
        if self.lanes[id].shard.as_deref() == Some(shard_id) {
            return if is_certain { Surprise::No } else { Surprise::Detail };
        }
        self.doubtful.insert(id);
        Surprise::Astray
    }

    /// Learns from the answer to `request` that `place` belongs to this shard. `next` is the number of the next
    /// request. Shards that this contradicts are closed.
    pub(crate) fn learn(
        &mut self,
        place: u128,
        shard_id: &str,
        request: u64,
        next: u64,
        now: Instant,
    ) -> Lesson {
        let known = self.by_shard.get(shard_id).copied();
        let id = known.unwrap_or_else(|| self.open(shard_id, place, next, now));
        let closed = self.ring.learn(place, id);
        for &id in &closed {
            self.retire(id, request, next);
            self.close(id);
        }
        match (known, closed.is_empty()) {
            (_, false) => Lesson::Contradiction,
            (None, true) => Lesson::NewShard,
            (Some(_), true) => Lesson::Detail,
        }
    }

    /// Takes the stream's shards as they were listed, before the request with the number `next`.
    pub(crate) fn set_shards(
        &mut self,
        map: &ShardMap,
        hashes: &mut HashMemo,
        next: u64,
        now: Instant,
    ) {
        let mut gone: BTreeSet<_> = self.by_shard.values().copied().collect();
        let mut pieces = Vec::new();
        for shard in map.iter() {
            let [first, last] = [shard.range().start(), shard.range().end()].map(HashKey::get);
            let known = self.by_shard.get(shard.id()).copied();
            let id = known.unwrap_or_else(|| self.open(shard.id(), first, next, now));
            gone.remove(&id);
            pieces.push((first, last, id));
        }
        gone.into_iter().for_each(|id| self.close(id));
        self.ring = Ring::new(pieces);
        self.doubtful.extend(0..self.lanes.len());
        for id in &self.unused {
            self.doubtful.remove(id);
        }
        self.route_anew(hashes);
    }

    /// Notes that a lane's shard is closed, if the answer to `request` proves it. The answer to an older request
    /// can name the parent of an open shard.
    fn retire(&mut self, id: LaneId, request: u64, next: u64) {
        let lane = &self.lanes[id];
        let Some(shard) = lane.shard.as_ref().filter(|_| lane.since <= request) else { return };
        if self.retired.len() >= MOST_LEARNED_SHARDS {
            self.retired.clear();
        }
        self.retired.insert(shard.clone(), next);
    }

    /// Whether the answer to `request` cannot name this shard: it was closed before the request was cut,
    /// and a closed shard takes no records.
    pub(crate) fn is_retired(&self, shard_id: &str, request: u64) -> bool {
        self.retired.get(shard_id).is_some_and(|&from| from <= request)
    }

    /// Forgets which shards were closed.
    pub(crate) fn forget_retired(&mut self) {
        self.retired.clear();
    }

    /// Whether the record's place is known to belong to another shard than this one.
    pub(crate) fn is_elsewhere(&self, oldest: &Pending, shard_id: &str) -> bool {
        let known = oldest.place().and_then(|place| self.ring.locate(place));
        known.is_some_and(|(id, is_certain)| {
            is_certain && self.lanes[id].shard.as_deref() != Some(shard_id)
        })
    }

    /// Forgets all shards.
    pub(crate) fn forget_shards(&mut self, hashes: &mut HashMemo) {
        self.retired.clear();
        let known: Vec<_> = self.by_shard.values().copied().collect();
        known.into_iter().for_each(|id| self.close(id));
        self.ring = Ring::default();
        self.route_anew(hashes);
    }

    /// Puts what waits where it belongs by what is known now, as far as that has changed.
    pub(crate) fn route_anew(&mut self, hashes: &mut HashMemo) {
        let doubtful = std::mem::take(&mut self.doubtful);
        let mut units: Vec<_> =
            doubtful.iter().flat_map(|&id| self.change(id, |lane| lane.queue.take_all())).collect();
        for id in doubtful {
            if id != COMMON && self.lanes[id].shard.is_none() {
                self.unused.push(id);
            }
        }
        if self.tell_apart() {
            units.iter_mut().for_each(|unit| unit.find_place(hashes));
        }
        units.sort_by_cached_key(|unit| self.route(unit.oldest()));
        while let Some(last) = units.last() {
            let id = self.route(last.oldest());
            let others = units.partition_point(|unit| self.route(unit.oldest()) < id);
            let of_this = units.split_off(others);
            self.change(id, |lane| of_this.into_iter().for_each(|unit| lane.queue.insert(unit)));
        }
    }

    pub(super) fn route(&self, pending: &Pending) -> LaneId {
        let owner = match self.tell_apart() {
            true => pending.place().and_then(|place| self.ring.find(place)),
            false => self.ring.only().filter(|_| pending.has_place()),
        };
        owner.unwrap_or(COMMON)
    }

    /// A lane for a shard that is new here, at `place`. Its share is that of the shard that is known for
    /// the place until now: the same producers will use it.
    fn open(&mut self, shard_id: &str, place: u128, next: u64, now: Instant) -> LaneId {
        let shard = SmolStr::new(shard_id);
        let share = self.ring.find(place).map_or(1.0, |id| self.lanes[id].limiter.share());
        let limiter = RateLimiter::of_shard(self.quota, share, next, now);
        let lane = Lane::new(Some(shard.clone()), next, limiter, self.backoff.clone());
        let id = match self.unused.pop() {
            Some(id) => {
                self.change(id, |unused| *unused = lane);
                id
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        };
        self.by_shard.insert(shard, id);
        id
    }

    /// Notes that nothing belongs to this lane any more.
    fn close(&mut self, id: LaneId) {
        if let Some(shard) = self.lanes[id].shard.take() {
            self.by_shard.remove(&shard);
        }
        self.doubtful.insert(id);
    }
}
