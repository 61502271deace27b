use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

use super::backoff::Backoff;
use super::queue::Queue;
use super::unit::Unit;
use crate::shard::Pace;

/// What waits for one shard: it is throttled together and waits together.
#[derive(Debug)]
pub(crate) struct Lane {
    /// None of the lane for everything whose shard is not known, and of a closed shard.
    pub(super) shard: Option<SmolStr>,
    pub(super) queue: Queue,
    pub(super) pace: Pace,
    /// After throttles and transient failures of single entries.
    pub(super) backoff: Backoff,
    /// When the tokens will have come that it waits for.
    ready_at: Option<Instant>,
    /// Until then it may not send: it waits for tokens, or backs off.
    pub(super) paused_until: Option<Instant>,
    pub(super) tally: Tally,
}

/// What became of a lane's entries in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(super) delivered: usize,
    pub(super) throttled: usize,
    /// Failed otherwise, and to be sent again.
    pub(super) failed: usize,
}

impl Lane {
    pub(super) fn new(shard: Option<SmolStr>, pace: Pace, backoff: Backoff) -> Self {
        let (queue, tally) = (Queue::default(), Tally::default());
        Self { shard, queue, pace, backoff, ready_at: None, paused_until: None, tally }
    }

    /// The place in the order of acceptance of its oldest record.
    pub(super) fn head(&self) -> Option<u64> {
        self.queue.front().map(|oldest| oldest.seq)
    }

    /// Takes back the payment for an entry that was not sent after all.
    pub(super) fn give_back(&mut self, unit: &Unit) {
        self.pace.give_back(unit.size());
        self.ready_at = None;
    }

    /// Whether more would go if its pace allowed it.
    fn is_in_demand(&self) -> bool {
        self.paused_until.is_some() && !self.queue.is_empty()
    }

    /// Pays for an entry that goes.
    pub(super) fn take(&mut self, unit: &Unit) {
        self.pace.take(unit.size());
        // Whatever it waited for: it waits anew for what is left.
        self.ready_at = None;
    }

    /// Says until when it may not send, if it may not now.
    pub(super) fn pause(&mut self, now: Instant) {
        // One that waits does not go on with the first token: requests are to be full.
        self.ready_at = self.ready_at.filter(|at| *at > now);
        if self.ready_at.is_none() && !self.pace.may_take() {
            self.ready_at = Some(self.pace.ready_at(self.queue.len(), self.queue.bytes(), now));
        }
        self.paused_until = self.ready_at.max(self.backoff.until(now));
    }

    /// Draws the consequences of a request with the number `request`, of those below `next`.
    pub(super) fn conclude(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) {
        let Tally { delivered, throttled, failed } = std::mem::take(&mut self.tally);
        self.pace.refill(now);
        self.pace.answered(delivered > 0 && throttled == 0 && self.is_in_demand(), now);
        let slower = throttled > 0 && self.pace.throttled(request, next);
        if slower {
            self.ready_at = None;
        }
        if delivered > 0 {
            // Any progress starts the waits anew; a throttle still asks for a short one.
            self.backoff.reset();
            if slower {
                self.backoff.pause(now, rng);
            }
        } else if throttled + failed > 0 {
            self.backoff.fail(request, next, now, rng);
        }
    }
}
