//! What the answers teach of the stream's shards.

use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::Pipeline;
use super::lanes::{Lesson, Surprise};
use super::unit::Unit;
use crate::limits::{LONGEST_SHARD_ID, MOST_LEARNED_SHARDS};
use crate::service::Placement;

/// So many answers in a row that each contradict what was known mean that records are not placed by their
/// keys. A reshard takes one or two.
const MOST_CONTRADICTIONS: u32 = 10;

/// One in so many entries may have come to lie in another shard than was thought, before what waits is
/// looked at again. At the borders of shards some always do at first.
const MOST_ASTRAY: usize = 20;

/// Then nothing is learned for so long.
const UNTEACHABLE_FOR: Duration = Duration::from_secs(60);

/// What is to be learned of where shards lie, for the pace alone: a hint, never a proof.
#[derive(Debug)]
pub(crate) struct Learning {
    lessons: Vec<(u128, SmolStr)>,
    /// How many of them came to lie in another shard than was thought.
    astray: usize,
    /// Answers in a row that contradicted what was known.
    contradictions: u32,
    /// Nothing is learned.
    stopped: bool,
    /// Nothing is learned until then.
    paused_until: Option<Instant>,
    pub(super) most_shards: usize,
    /// Shards of the latest list. They were not learned.
    listed: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            lessons: Vec::new(),
            astray: 0,
            contradictions: 0,
            stopped: false,
            paused_until: None,
            most_shards: MOST_LEARNED_SHARDS,
            listed: 0,
        }
    }
}

impl Learning {
    /// Records are not placed by their keys: there is nothing to learn.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn note_listed(&mut self, shards: usize) {
        self.listed = shards;
    }

    pub(crate) fn is_on(&self, now: Instant) -> bool {
        !self.stopped && self.paused_until.is_none_or(|until| until <= now)
    }
}

impl Pipeline {
    /// Notes where an entry came to lie.
    pub(super) fn learn_from(&mut self, unit: &Unit, placement: &Placement) {
        let surprise = self.lanes.note_delivered(unit, placement.shard_id());
        if surprise == Surprise::No || self.learning.stopped {
            return;
        }
        // Longer than any there is, and as many as answers have entries: those would fill the memory.
        if placement.shard_id().len() > LONGEST_SHARD_ID {
            return;
        }
        if let Some(place) = unit.oldest().place() {
            self.learning.astray += usize::from(surprise == Surprise::Astray);
            self.learning.lessons.push((place, SmolStr::new(placement.shard_id())));
        }
    }

    /// Applies the lessons of the answer to `request`, in which `arrived` entries were delivered.
    pub(super) fn conclude_lessons(&mut self, request: u64, arrived: usize, now: Instant) {
        let lessons = std::mem::take(&mut self.learning.lessons);
        let astray = std::mem::take(&mut self.learning.astray);
        if self.learning.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.learning.paused_until = None;
        let learn = |(place, shard_id): (u128, SmolStr)| {
            self.lanes.learn(place, &shard_id, request, self.next_request, now)
        };
        let most = lessons.into_iter().map(learn).max().unwrap_or(Lesson::Detail);
        if most == Lesson::Contradiction {
            self.learning.contradictions += 1;
        } else {
            self.learning.contradictions = 0;
        }
        // Whoever names another shard for each record contradicts nothing, and would fill the memory.
        let most_shards = self.learning.listed + self.learning.most_shards;
        let names_any = most > Lesson::Detail && self.lanes.shards() > most_shards;
        if self.learning.contradictions >= MOST_CONTRADICTIONS || names_any {
            self.learning.contradictions = 0;
            self.learning.paused_until = Some(now + UNTEACHABLE_FOR);
            self.lanes.forget_shards(&mut self.hashes);
        } else if most > Lesson::Detail {
            self.lanes.route_anew(&mut self.hashes);
            self.shards.outdated(now, &mut self.rng);
        } else if astray * MOST_ASTRAY > arrived {
            self.lanes.route_anew(&mut self.hashes);
        }
    }
}
