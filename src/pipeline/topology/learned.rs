use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::lane_map::{LaneMap, OpenedLane, RingUpdate};
use crate::limits::{MAX_LEARNED_SHARDS, MAX_SHARD_ID_BYTES};

/// The number of responses in a row that each contradict what was known, from which on records are taken not to be
/// placed by their keys. A reshard causes one or two.
const MAX_CONTRADICTIONS: u32 = 10;

/// The misrouted part of the entries from which on everything queued is routed again, as a divisor: one in 20. At the
/// borders of shards some entries always are at first.
const MISROUTE_RATIO: usize = 20;

/// The pause after [`MAX_CONTRADICTIONS`].
const LEARNING_PAUSE: Duration = Duration::from_secs(60);

/// Learns the shards from responses.
#[derive(Debug)]
pub(crate) struct LearnedShards {
    /// Positions on the hash ring and the shards that were named for them, of one response.
    observations: Vec<(u128, SmolStr)>,
    /// The number of them for which another shard was expected.
    misrouted: usize,
    /// The number of responses in a row that contradicted what was known.
    contradictions: u32,
    is_stopped: bool,
    paused_until: Option<Instant>,
    pub(crate) max_shards: usize,
    /// The number of shards in the latest list.
    listed: usize,
}

/// What the observations of a response require.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Nothing,
    /// What is queued has to be routed again.
    Misrouted,
    /// A shard is new: what is queued has to be routed again, and the list is outdated.
    Changed,
    /// Nothing that was learned can be true.
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
    /// Stops for good: the service distributes the records.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether a list of shards is taken over. A pause that is over ends with the next response.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        !self.is_stopped && self.paused_until.is_none_or(|until| until <= now)
    }

    pub(super) fn set_listed(&mut self, shards: usize) {
        self.listed = shards;
    }

    /// Records the shard that a response names for a position. `is_misrouted` if another one was expected.
    pub(super) fn observe(&mut self, position: u128, shard_id: &str, is_misrouted: bool) {
        // A shard id that is longer than any there is would fill the memory.
        if shard_id.len() <= MAX_SHARD_ID_BYTES {
            self.misrouted += usize::from(is_misrouted);
            self.observations.push((position, SmolStr::new(shard_id)));
        }
    }

    /// Applies the observations of the response to `request`, in which `delivered` entries were.
    pub(super) fn apply(
        &mut self,
        lanes: &mut LaneMap,
        request: u64,
        next: u64,
        delivered: usize,
        now: Instant,
        opened: &mut Vec<OpenedLane>,
    ) -> Learned {
        let observations = std::mem::take(&mut self.observations);
        let misrouted = std::mem::take(&mut self.misrouted);
        if self.paused_until.is_some_and(|until| now < until) {
            return Learned::Nothing;
        }
        self.paused_until = None;
        let updates = observations
            .into_iter()
            .map(|(position, shard_id)| lanes.learn(position, &shard_id, request, next, opened));
        let update = updates.max().unwrap_or(RingUpdate::Extent);
        if update == RingUpdate::Contradiction {
            self.contradictions += 1;
        } else {
            self.contradictions = 0;
        }
        // An endpoint that names another shard for each record contradicts nothing, and would fill the memory.
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
            Learned::Nothing
        }
    }
}
