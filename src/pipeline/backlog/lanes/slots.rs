use super::LaneId;
use super::lane::Lane;
use crate::pipeline::backoff::Backoff;
use crate::settings::BackoffSettings;
use crate::shard::{Quota, RateLimiter, RestingLimiter};

/// Lanes by their number. Idle lanes rest, because a lane takes almost 1 KiB, and a sink can have thousands of them.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    quota: Quota,
    backoff: BackoffSettings,
}

#[derive(Debug)]
enum Slot {
    Active(Box<Lane>),
    Resting(RestingLimiter),
}

impl Slots {
    pub(super) fn new(quota: Quota, backoff: BackoffSettings) -> Self {
        let mut slots = Self { slots: Vec::new(), quota, backoff };
        slots.open(super::FALLBACK, RateLimiter::unknown(quota));
        slots
    }

    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// Opens an empty lane. Its number must be unused or the next one.
    pub(super) fn open(&mut self, id: LaneId, limiter: RateLimiter) {
        let BackoffSettings { base, ceiling } = self.backoff;
        let lane = Lane::new(limiter, Backoff::new(base, ceiling));
        let slot = Slot::Active(Box::new(lane));
        if id as usize == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[id as usize] = slot;
        }
    }

    /// Returns a lane unless it rests. A resting lane is empty, is not paused, and has no outcomes.
    #[inline]
    pub(super) fn active(&self, id: LaneId) -> Option<&Lane> {
        match &self.slots[id as usize] {
            Slot::Active(lane) => Some(lane),
            Slot::Resting(_) => None,
        }
    }

    /// Returns a lane, which is active afterwards. If it was resting, it must be added to the indexes.
    #[inline(always)]
    pub(super) fn activate(&mut self, id: LaneId) -> &mut Lane {
        if let Slot::Resting(limiter) = self.slots[id as usize] {
            self.resume(id, limiter);
        }
        match &mut self.slots[id as usize] {
            Slot::Active(lane) => lane,
            Slot::Resting(_) => unreachable!("the lane was resumed"),
        }
    }

    #[cold]
    fn resume(&mut self, id: LaneId, limiter: RestingLimiter) {
        self.open(id, resume(limiter, self.quota, id));
    }

    pub(super) fn limiter(&self, id: LaneId) -> RateLimiter {
        match &self.slots[id as usize] {
            Slot::Active(lane) => lane.limiter.clone(),
            Slot::Resting(limiter) => resume(*limiter, self.quota, id),
        }
    }

    /// Lets a lane rest if it is idle. Returns the lane, which must be removed from the indexes.
    pub(super) fn rest(&mut self, id: LaneId) -> Option<Box<Lane>> {
        let slot = &mut self.slots[id as usize];
        let Slot::Active(lane) = slot else { return None };
        let resting = Slot::Resting(lane.rest()?);
        match std::mem::replace(slot, resting) {
            Slot::Active(lane) => Some(lane),
            Slot::Resting(_) => None,
        }
    }

    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    pub(super) fn ids(&self) -> std::ops::Range<LaneId> {
        0..self.slots.len() as LaneId
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.ids().filter_map(|id| Some((id, self.active(id)?)))
    }
}

fn resume(limiter: RestingLimiter, quota: Quota, id: LaneId) -> RateLimiter {
    RateLimiter::resume(limiter, quota, id != super::FALLBACK)
}
