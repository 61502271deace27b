use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::lane_map::{LaneMap, OpenedLane, RingUpdate};
use crate::limits::{MAX_LEARNED_SHARDS, MAX_SHARD_ID_BYTES};
use crate::pipeline::in_flight::Completion;

/// Number of consecutive contradictory responses after which the service is assumed to ignore keys. A reshard causes
/// one or two.
const MAX_CONTRADICTIONS: u32 = 10;

/// Inverse of the share of misrouted entries above which the backlog is rerouted: 1 in 20. A lower share is tolerated,
/// because some entries near shard boundaries are misrouted after the start.
const MISROUTE_RATIO: usize = 20;

/// Duration for which learning is paused after [`MAX_CONTRADICTIONS`].
const LEARNING_PAUSE: Duration = Duration::from_secs(60);

/// Shards that are learned from responses.
#[derive(Debug)]
pub(crate) struct LearnedShards {
    /// Positions of the hash ring and the shards that own them.
    observations: Vec<(u128, SmolStr)>,
    misrouted: usize,
    contradictions: u32,
    is_stopped: bool,
    paused_until: Option<Instant>,
    pub(crate) max_shards: usize,
    listed: usize,
}

/// Effect of the observations of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Unchanged,
    /// The backlog must be rerouted.
    Misrouted,
    /// A shard is new. The backlog must be rerouted, and the list is outdated.
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
        // Real shard ids are not longer than this limit. Storing longer ones would waste memory.
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
        // An endpoint that returns a different shard for each record causes no contradiction, but would exhaust the
        // memory.
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
