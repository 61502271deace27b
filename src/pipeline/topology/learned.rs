use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::lane_map::{LaneMap, OpenedLane, RingUpdate};
use crate::limits::{MAX_LEARNED_SHARDS, MAX_SHARD_ID_BYTES};
use crate::pipeline::in_flight::Completion;

/// Number of consecutive contradictory responses after which the sink assumes that the service ignores keys. A reshard
/// causes only one or two.
const MAX_CONTRADICTIONS: u32 = 10;

/// Inverse of the fraction of misrouted entries above which the backlog is rerouted. A smaller fraction is tolerated,
/// because some entries near shard boundaries are misrouted after the start.
const MISROUTE_RATIO: usize = 20;

/// Duration for which learning pauses after [`MAX_CONTRADICTIONS`] contradictory responses.
const LEARNING_PAUSE: Duration = Duration::from_secs(60);

/// Shards learned from responses.
#[derive(Debug)]
pub(crate) struct LearnedShards {
    /// Observed positions of the hash ring, each with the shard that owns it.
    observations: Vec<(u128, SmolStr)>,
    misrouted: usize,
    contradictions: u32,
    is_stopped: bool,
    paused_until: Option<Instant>,
    pub(crate) max_shards: usize,
    listed: usize,
}

/// Effect of a response on the learned shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Unchanged,
    /// The backlog must be rerouted.
    Misrouted,
    /// A shard was opened or closed. The backlog must be rerouted, and the shard list is outdated.
    Changed,
    /// The responses contradict each other or name too many shards, so the map must be discarded.
    Contradictory,
}

impl Default for LearnedShards {
    fn default() -> Self {
        Self {
            observations: Vec::new(),
            misrouted: 0,
            contradictions: 0,
            is_stopped: false,
            paused_until: None,
            max_shards: MAX_LEARNED_SHARDS,
            listed: 0,
        }
    }
}

impl LearnedShards {
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn is_active(&self, now: Instant) -> bool {
        !self.is_stopped && self.paused_until.is_none_or(|until| until <= now)
    }

    pub(super) fn set_listed(&mut self, shards: usize) {
        self.listed = shards;
    }

    pub(super) fn observe(&mut self, position: u128, shard_id: &str, is_misrouted: bool) {
        // Longer ids are not stored, because no real shard id exceeds this limit.
        if shard_id.len() <= MAX_SHARD_ID_BYTES {
            self.misrouted += usize::from(is_misrouted);
            self.observations.push((position, SmolStr::new(shard_id)));
        }
    }

    pub(super) fn apply(
        &mut self,
        lanes: &mut LaneMap,
        completion: Completion,
        delivered: usize,
        opened: &mut Vec<OpenedLane>,
    ) -> Learned {
        let now = completion.now;
        let observations = std::mem::take(&mut self.observations);
        let misrouted = std::mem::take(&mut self.misrouted);
        if self.paused_until.is_some_and(|until| now < until) {
            return Learned::Unchanged;
        }
        self.paused_until = None;
        let updates = observations
            .into_iter()
            .map(|(position, shard_id)| lanes.learn(position, &shard_id, completion, opened));
        let update = updates.max().unwrap_or(RingUpdate::Extent);
        if update == RingUpdate::Contradiction {
            self.contradictions += 1;
        } else {
            self.contradictions = 0;
        }
        // An endpoint that returns a new shard for each record causes no contradiction. Without a limit, it would
        // exhaust the memory.
        let max_shards = self.listed + self.max_shards;
        let has_too_many = update > RingUpdate::Extent && lanes.shards() > max_shards;
        if self.contradictions >= MAX_CONTRADICTIONS || has_too_many {
            self.contradictions = 0;
            self.paused_until = Some(now + LEARNING_PAUSE);
            Learned::Contradictory
        } else if update > RingUpdate::Extent {
            Learned::Changed
        } else if misrouted * MISROUTE_RATIO > delivered {
            Learned::Misrouted
        } else {
            Learned::Unchanged
        }
    }
}
