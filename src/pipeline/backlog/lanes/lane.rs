use std::time::Instant;

use super::queue::Queue;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::samples::ShardSample;
use crate::shard::{RateLimiter, ShardAnswer};
use fastrand::Rng;
use smol_str::SmolStr;

/// The entries for one shard, with its rate limiter and its backoff.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(super) queue: Queue,
    pub(super) limiter: RateLimiter,
    /// After transient failures of single entries.
    pub(super) backoff: Backoff,
    /// When the tokens will be there that it waits for.
    ready_at: Option<Instant>,
    /// The end of its pause, while it waits for tokens or backs off.
    pub(super) paused_until: Option<Instant>,
    /// When it can afford its oldest entry and does not back off, though it may be paused for longer to fill
    /// requests. `None` if it can already.
    pub(super) affordable_at: Option<Instant>,
    pub(super) outcomes: LaneOutcomes,
    /// Whether something has waited for tokens since the latest response. With ordering, what follows it is not
    /// in the lane yet.
    was_rate_limited: bool,
}

/// The outcomes of a lane's entries in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LaneOutcomes {
    pub(super) answer: ShardAnswer,
    /// Entries that failed for another reason than throttling, and are retried.
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

    /// The sequence number of its oldest record.
    pub(super) fn head(&self) -> Option<u64> {
        self.queue.front().map(|oldest| oldest.seq)
    }

    /// Refunds the tokens of an entry that was not sent after all.
    pub(super) fn refund(&mut self, bytes: usize) {
        self.limiter.refund(bytes);
        self.ready_at = None;
    }

    /// Takes the tokens for an entry that was not queued here.
    pub(super) fn charge(&mut self, bytes: usize, now: Instant) {
        self.limiter.refill(now);
        self.limiter.take(bytes);
        self.ready_at = None;
    }

    /// When an entry of so many bytes may be sent, if it may not now.
    pub(super) fn sends_at(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut limiter = self.limiter.clone();
        limiter.refill(now);
        let tokens =
            if limiter.has_tokens(bytes) { None } else { limiter.ready_at(bytes, 1, bytes) };
        tokens.max(self.backs_off_until(now)).filter(|at| *at > now)
    }

    /// The end of the wait after failures, or after requests that were throttled as a whole.
    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now).max(self.limiter.retry_at().filter(|at| *at > now))
    }

    /// Whether more would be sent at a higher rate.
    fn wants_more(&self) -> bool {
        self.was_rate_limited || (self.paused_until.is_some() && !self.queue.is_empty())
    }

    /// Whether there are tokens for its oldest entry.
    pub(super) fn has_tokens(&self) -> bool {
        self.limiter.has_tokens(self.queue.front_bytes())
    }

    /// Removes the oldest entries for which there are tokens, as long as `condition` is true for the oldest
    /// record and the size of the next entry.
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
            // The wait was for this entry.
            self.ready_at = None;
        }
    }

    /// Computes the end of its pause, if it may not send now.
    pub(super) fn update_pause(&mut self, now: Instant) {
        // A paused lane does not resume with the first token, which keeps requests full.
        self.ready_at = self.ready_at.filter(|at| *at > now);
        if self.ready_at.is_none() {
            self.ready_at = self.tokens_at();
        }
        self.paused_until = self.ready_at.max(self.backs_off_until(now));
        self.record_rate_limit();
    }

    /// Pauses it if it may not send its oldest entry, which has changed.
    pub(super) fn update_front(&mut self) {
        if self.paused_until.is_none() {
            self.ready_at = self.tokens_at();
            self.paused_until = self.ready_at;
        }
        self.affordable_at = self.affords_front_at();
        self.record_rate_limit();
    }

    /// Computes when it can afford its oldest entry and does not back off. `None` if it can already.
    pub(super) fn affords_front_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        let tokens = if self.has_tokens() { None } else { self.limiter.ready_at(front, 1, front) };
        tokens.max(self.backoff.end()).max(self.limiter.retry_at())
    }

    fn record_rate_limit(&mut self) {
        self.was_rate_limited |= self.ready_at.is_some() && !self.queue.is_empty();
    }

    /// When there will be tokens for its oldest entry, if there are too few.
    fn tokens_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        if self.limiter.has_tokens(front) {
            return None;
        }
        self.limiter.ready_at(front, self.queue.len(), self.queue.bytes())
    }

    /// The metrics of a response: the outcomes for `shard`, and its rate from now on.
    pub(super) fn sample(&self, shard: Option<SmolStr>, outcomes: LaneOutcomes) -> ShardSample {
        ShardSample {
            shard,
            delivered: outcomes.answer.accepted() as usize,
            throttled: outcomes.answer.refused as usize,
            pace: self.limiter.records_per_second(),
        }
    }

    /// Applies the outcomes of the request with the number `request`. `next` is the number of the next request.
    pub(super) fn apply_outcomes(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) {
        let LaneOutcomes { answer, failed } = std::mem::take(&mut self.outcomes);
        self.limiter.refill(now);
        let wants_more = self.wants_more();
        self.limiter.on_answer(ShardAnswer { request, ..answer }, wants_more, next, now, rng);
        self.was_rate_limited = false;
        // The wait was computed at another rate.
        if self.ready_at.is_some() && answer.entries > 0 {
            let front = self.queue.front_bytes();
            self.ready_at = self.limiter.ready_at(front, self.queue.len(), self.queue.bytes());
        }
        if answer.accepted() > 0 {
            self.backoff.reset();
        } else if failed > 0 {
            self.backoff.fail(request, next, now, rng);
        }
    }
}
