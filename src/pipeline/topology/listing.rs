use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;

/// Maximum wait before a failed call is retried. It is long, because calls can fail permanently, for example if the
/// sink is not permitted to list shards.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(60);

/// Time without a contradiction after which the backoff is reset. A confirmed shard does not reset it, because the list
/// can be right about one shard and wrong about another.
const RELIABLE_AFTER: Duration = Duration::from_secs(60);

/// Schedule of the calls that list the shards.
#[derive(Debug)]
pub(super) struct ListingSchedule {
    state: State,
    failures: Backoff,
    contradictions: Backoff,
    contradicted_at: Option<Instant>,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UpToDate,
    Requested,
    InFlight { is_outdated: bool },
}

impl ListingSchedule {
    pub(super) fn new(base: Duration, ceiling: Duration) -> Self {
        Self {
            state: State::Requested,
            failures: Backoff::new(base, MAX_RETRY_WAIT),
            contradictions: Backoff::new(base, ceiling),
            contradicted_at: None,
            calls: 0,
        }
    }

    /// Requests a new list, because a response contradicts the latest one.
    pub(super) fn request(&mut self, now: Instant, rng: &mut Rng) {
        let before = self.contradicted_at.replace(now);
        match &mut self.state {
            State::UpToDate => {
                if before.is_none_or(|before| before + RELIABLE_AFTER <= now) {
                    self.contradictions.reset();
                }
                self.state = State::Requested;
                self.contradictions.fail(self.calls, self.calls + 1, now, rng);
            }
            State::Requested => {}
            State::InFlight { is_outdated } => *is_outdated = true,
        }
    }

    /// Requests a new list after [`MAX_RETRY_WAIT`], because the latest one is invalid.
    pub(super) fn request_later(&mut self, now: Instant) {
        if self.state == State::UpToDate {
            self.state = State::Requested;
        }
        self.contradictions.wait_at_least(now + MAX_RETRY_WAIT);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.state == State::Requested && self.wakeup(now).is_none()
    }

    pub(super) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let until = self.failures.until(now).max(self.contradictions.until(now));
        until.filter(|_| self.state == State::Requested)
    }

    pub(super) fn begin(&mut self) {
        self.state = State::InFlight { is_outdated: false };
        self.calls += 1;
    }

    /// Records a successful call. Returns `false` if a new list was requested during the call, because the received
    /// list may already be outdated.
    pub(super) fn succeed(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.failures.reset();
        let is_outdated = self.state == State::InFlight { is_outdated: true };
        if is_outdated {
            self.state = State::Requested;
            self.contradictions.fail(self.calls, self.calls + 1, now, rng);
        } else {
            self.state = State::UpToDate;
        }
        !is_outdated
    }

    pub(super) fn fail(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::Requested;
        self.failures.fail(self.calls, self.calls + 1, now, rng);
    }

    pub(super) fn retry_now(&mut self) {
        self.failures.end_wait();
    }

    pub(super) fn is_expected(&self) -> bool {
        self.state != State::UpToDate
    }

    #[cfg(test)]
    pub(super) fn is_requested(&self) -> bool {
        self.state == State::Requested
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures.failures()
    }
}
