use std::time::Instant;

use super::queue::Queue;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::in_flight::Completion;
use crate::pipeline::samples::ShardSample;
use crate::shard::{RateLimiter, RestingLimiter, ShardOutcome};
use fastrand::Rng;
use smol_str::SmolStr;

/// Queue of the entries for one shard, with the shard's rate limiter and backoff.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(super) queue: Queue,
    pub(super) limiter: RateLimiter,
    /// Backoff after transient failures of single entries.
    pub(super) backoff: Backoff,
    /// Time at which the lane has the tokens it waits for.
    ready_at: Option<Instant>,
    pub(super) paused_until: Option<Instant>,
    /// Time at which the lane has enough tokens for its oldest entry and no longer backs off. The pause can last
    /// longer, so that requests are full. `None` if there is nothing to wait for.
    pub(super) affordable_at: Option<Instant>,
    pub(super) outcomes: LaneOutcomes,
    /// Set to `true` if an entry has waited for tokens since the latest response. With ordering, later entries of a key
    /// are not in the lane yet, so the queue length does not show the demand.
    was_rate_limited: bool,
}

/// Outcomes of a lane's entries in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LaneOutcomes {
    pub(super) shard: ShardOutcome,
    /// Number of entries that failed for a reason other than throttling and are retried.
    pub(super) failed: usize,
}

impl Lane {
    pub(super) fn new(limiter: RateLimiter, backoff: Backoff) -> Self {
        Self {
            queue: Queue::default(),
            limiter,
            backoff,
            ready_at: None,
            paused_until: None,
            affordable_at: None,
            outcomes: LaneOutcomes::default(),
            was_rate_limited: false,
        }
    }

    pub(super) fn head(&self) -> Option<u64> {
        self.queue.front().map(|oldest| oldest.seq)
    }

    pub(super) fn refund(&mut self, bytes: usize) {
        self.limiter.refund(bytes);
        self.ready_at = None;
    }

    pub(super) fn charge(&mut self, bytes: usize, now: Instant) {
        self.limiter.refill(now);
        self.limiter.take(bytes);
        self.ready_at = None;
    }

    /// Returns the limiter of the lane if nothing else must be kept while the lane is idle.
    pub(super) fn rest(&self) -> Option<RestingLimiter> {
        let is_idle = self.queue.is_empty()
            && self.outcomes == LaneOutcomes::default()
            && self.backoff.failures() == 0;
        if is_idle { self.limiter.rest() } else { None }
    }

    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now).max(self.limiter.retry_at().filter(|at| *at > now))
    }

    fn wants_more(&self) -> bool {
        self.was_rate_limited || (self.paused_until.is_some() && !self.queue.is_empty())
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.limiter.has_tokens(self.queue.front_bytes())
    }

    /// Takes entries while there are tokens and `condition` accepts the oldest record and the size of its entry.
    pub(super) fn take_while(
        &mut self,
        mut condition: impl FnMut(&BufferedRecord, usize) -> bool,
        taken: &mut Vec<QueuedEntry>,
    ) {
        while let Some(entry) = self
            .queue
            .pop_if(|oldest, size| self.limiter.has_tokens(size) && condition(oldest, size))
        {
            self.limiter.take(entry.size());
            taken.push(entry);
            // The wait for the tokens of this entry is over.
            self.ready_at = None;
        }
    }

    pub(super) fn update_pause(&mut self, now: Instant) {
        // A paused lane waits until `ready_at`, even if it can afford one entry earlier. This keeps requests full.
        self.ready_at = self.ready_at.filter(|at| *at > now);
        if self.ready_at.is_none() {
            self.ready_at = self.tokens_at();
        }
        self.paused_until = self.ready_at.max(self.backs_off_until(now));
        self.record_rate_limit();
    }

    pub(super) fn update_front(&mut self) {
        if self.paused_until.is_none() {
            self.ready_at = self.tokens_at();
            self.paused_until = self.ready_at;
        }
        self.affordable_at = self.affords_front_at();
        self.record_rate_limit();
    }

    pub(super) fn affords_front_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        let tokens = if self.has_tokens() { None } else { self.limiter.ready_at(front, 1, front) };
        tokens.max(self.backoff.end()).max(self.limiter.retry_at())
    }

    fn record_rate_limit(&mut self) {
        self.was_rate_limited |= self.ready_at.is_some() && !self.queue.is_empty();
    }

    fn tokens_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        if self.limiter.has_tokens(front) {
            return None;
        }
        self.limiter.ready_at(front, self.queue.len(), self.queue.bytes())
    }

    pub(super) fn sample(&self, shard: Option<SmolStr>, outcomes: LaneOutcomes) -> ShardSample {
        ShardSample {
            shard,
            delivered: outcomes.shard.accepted() as usize,
            throttled: outcomes.shard.throttled as usize,
            rate_limit: self.limiter.records_per_second(),
        }
    }

    pub(super) fn apply_outcomes(&mut self, completion: Completion, rng: &mut Rng) {
        let Completion { request, next, now } = completion;
        let LaneOutcomes { shard, failed } = std::mem::take(&mut self.outcomes);
        self.limiter.refill(now);
        let wants_more = self.wants_more();
        self.limiter.on_outcome(ShardOutcome { request, ..shard }, wants_more, next, now, rng);
        self.was_rate_limited = false;
        // The response may have changed the rate, so the wait is computed again.
        if self.ready_at.is_some() && shard.entries > 0 {
            let front = self.queue.front_bytes();
            self.ready_at = self.limiter.ready_at(front, self.queue.len(), self.queue.bytes());
        }
        if shard.accepted() > 0 {
            self.backoff.reset();
        } else if failed > 0 {
            self.backoff.fail(request, next, now, rng);
        }
    }
}
