use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

use super::queue::Queue;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::pending::Pending;
use crate::pipeline::samples::ShardSample;
use crate::pipeline::unit::Unit;
use crate::shard::{RateLimiter, ShardAnswer};

/// What waits for one shard: it is throttled together and waits together.
#[derive(Debug)]
pub(crate) struct Lane {
    /// None for the lane of records whose shard is not known, and for closed shards.
    pub(super) shard: Option<SmolStr>,
    /// The number of the first request that was cut after the shard was known.
    pub(super) since: u64,
    pub(super) queue: Queue,
    pub(super) limiter: RateLimiter,
    /// After transient failures of single entries.
    pub(super) backoff: Backoff,
    /// When the tokens will have come that it waits for.
    ready_at: Option<Instant>,
    /// Until then it may not send: it waits for tokens, or backs off.
    pub(super) paused_until: Option<Instant>,
    /// When it can afford its oldest entry and does not back off, though it may be paused for longer so that
    /// requests are full. `None` if it could when it was last looked at.
    pub(super) affordable_at: Option<Instant>,
    pub(super) tally: Tally,
    /// Something has waited for tokens since the latest answer. In order, what comes behind it is not
    /// here yet.
    is_short: bool,
}

/// What became of a lane's entries in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    pub(super) answer: ShardAnswer,
    /// Entries that failed otherwise, and are to be sent again.
    pub(super) failed: usize,
}

impl Lane {
    pub(super) fn new(
        shard: Option<SmolStr>,
        since: u64,
        limiter: RateLimiter,
        backoff: Backoff,
    ) -> Self {
        let (queue, tally) = (Queue::default(), Tally::default());
        Self {
            shard,
            since,
            queue,
            limiter,
            backoff,
            ready_at: None,
            paused_until: None,
            affordable_at: None,
            tally,
            is_short: false,
        }
    }

    /// The place in the order of acceptance of its oldest record.
    pub(super) fn head(&self) -> Option<u64> {
        self.queue.front().map(|oldest| oldest.seq)
    }

    /// Takes back the payment for an entry that was not sent after all.
    pub(super) fn give_back(&mut self, unit: &Unit) {
        self.limiter.give_back(unit.size());
        self.ready_at = None;
    }

    /// Pays for an entry that has not waited here.
    pub(super) fn charge(&mut self, unit: &Unit, now: Instant) {
        self.limiter.refill(now);
        self.limiter.take(unit.size());
        self.ready_at = None;
    }

    /// When an entry of so many bytes may be sent, if it may not now.
    pub(super) fn sends_at(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut limiter = self.limiter.clone();
        limiter.refill(now);
        let tokens = if limiter.may_take(bytes) { None } else { limiter.ready_at(bytes, 1, bytes) };
        tokens.max(self.backs_off_until(now)).filter(|at| *at > now)
    }

    /// The end of the wait after failures, or after requests that were throttled as a whole.
    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now).max(self.limiter.retry_at().filter(|at| *at > now))
    }

    /// Whether more would be sent at a higher rate.
    fn is_in_demand(&self) -> bool {
        self.is_short || (self.paused_until.is_some() && !self.queue.is_empty())
    }

    /// Whether there are tokens for its oldest entry.
    pub(super) fn may_go(&self) -> bool {
        self.limiter.may_take(self.queue.front_bytes())
    }

    /// Takes the oldest entries for which there are tokens, as long as `condition` holds for the oldest
    /// record and the bytes of the next.
    pub(super) fn take_while(
        &mut self,
        mut condition: impl FnMut(&Pending, usize) -> bool,
        taken: &mut Vec<Unit>,
    ) {
        while let Some(unit) =
            self.queue.pop_if(|oldest, size| self.limiter.may_take(size) && condition(oldest, size))
        {
            self.limiter.take(unit.size());
            taken.push(unit);
            // Whatever it waited for: it waits anew for what is left.
            self.ready_at = None;
        }
    }

    /// Says until when it may not send, if it may not now.
    pub(super) fn pause(&mut self, now: Instant) {
        // One that waits does not go on with the first token: requests are to be full.
        self.ready_at = self.ready_at.filter(|at| *at > now);
        if self.ready_at.is_none() {
            self.ready_at = self.tokens_at();
        }
        self.paused_until = self.ready_at.max(self.backs_off_until(now));
        self.note_shortage();
    }

    /// Pauses it, if it may not send what has come to its front.
    pub(super) fn look_at_front(&mut self) {
        if self.paused_until.is_none() {
            self.ready_at = self.tokens_at();
            self.paused_until = self.ready_at;
        }
        self.affordable_at = self.affords_front_at();
        self.note_shortage();
    }

    /// Computes when it can afford its oldest entry and does not back off. `None` if it can already.
    pub(super) fn affords_front_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        let tokens = if self.may_go() { None } else { self.limiter.ready_at(front, 1, front) };
        tokens.max(self.backoff.end()).max(self.limiter.retry_at())
    }

    fn note_shortage(&mut self) {
        self.is_short |= self.ready_at.is_some() && !self.queue.is_empty();
    }

    /// When there will be tokens for its oldest entry, if there are too few.
    fn tokens_at(&self) -> Option<Instant> {
        let front = self.queue.front_bytes();
        if self.limiter.may_take(front) {
            return None;
        }
        self.limiter.ready_at(front, self.queue.len(), self.queue.bytes())
    }

    /// What an answer said about this lane.
    pub(super) fn sample(&self, tally: Tally) -> ShardSample {
        let [delivered, throttled] = [tally.answer.accepted(), tally.answer.refused];
        ShardSample {
            shard: self.shard.clone(),
            delivered: delivered as usize,
            throttled: throttled as usize,
            pace: self.limiter.records_per_second(),
        }
    }

    /// Applies what the answer to the request with the number `request`, of those below `next`, said about
    /// this lane.
    pub(super) fn conclude(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) {
        let Tally { answer, failed } = std::mem::take(&mut self.tally);
        self.limiter.refill(now);
        let wants_more = self.is_in_demand();
        self.limiter.on_answer(ShardAnswer { request, ..answer }, wants_more, next, now, rng);
        self.is_short = false;
        // What it waits for was computed at another rate.
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
