use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;

/// The longest wait before a failed call is retried, for example where listing is not allowed.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(60);

/// The time without a contradiction after which the list counts as reliable again. A list that is right about one
/// shard can be wrong about another.
const RELIABLE_AFTER: Duration = Duration::from_secs(60);

/// When the shards are listed.
#[derive(Debug)]
pub(super) struct ListingSchedule {
    state: State,
    /// After calls that failed.
    failures: Backoff,
    /// After lists that were contradicted.
    contradictions: Backoff,
    contradicted_at: Option<Instant>,
    /// The number of calls that were made.
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UpToDate,
    Wanted,
    /// If a contradiction came since the call began, its list is outdated.
    UnderWay {
        is_outdated: bool,
    },
}

impl ListingSchedule {
    pub(super) fn new(is_wanted: bool, base: Duration, ceiling: Duration) -> Self {
        Self {
            state: if is_wanted { State::Wanted } else { State::UpToDate },
            failures: Backoff::new(base, MAX_RETRY_WAIT),
            contradictions: Backoff::new(base, ceiling),
            contradicted_at: None,
            calls: 0,
        }
    }

    /// Asks for a new list, since the latest one was contradicted. Repeated contradictions back off.
    pub(super) fn request(&mut self, now: Instant, rng: &mut Rng) {
        let before = self.contradicted_at.replace(now);
        match &mut self.state {
            State::UpToDate => {
                if before.is_none_or(|before| before + RELIABLE_AFTER <= now) {
                    self.contradictions.reset();
                }
                self.state = State::Wanted;
                self.contradictions.fail(self.calls, self.calls + 1, now, rng);
            }
            State::Wanted => {}
            State::UnderWay { is_outdated } => *is_outdated = true,
        }
    }

    /// Asks for a new list later, since the service does not do what the latest one says.
    pub(super) fn request_later(&mut self, now: Instant) {
        if self.state == State::UpToDate {
            self.state = State::Wanted;
        }
        self.contradictions.wait_at_least(now + MAX_RETRY_WAIT);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.state == State::Wanted && self.wakeup(now).is_none()
    }

    /// When the next call is due, if it has to wait.
    pub(super) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let until = self.failures.until(now).max(self.contradictions.until(now));
        until.filter(|_| self.state == State::Wanted)
    }

    /// Records that a call has begun.
    pub(super) fn begin(&mut self) {
        self.state = State::UnderWay { is_outdated: false };
        self.calls += 1;
    }

    /// Records a list. Returns false if it was outdated when it arrived: another one is wanted.
    pub(super) fn succeed(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.failures.reset();
        let is_outdated = self.state == State::UnderWay { is_outdated: true };
        if is_outdated {
            self.state = State::Wanted;
            self.contradictions.fail(self.calls, self.calls + 1, now, rng);
        } else {
            self.state = State::UpToDate;
        }
        !is_outdated
    }

    /// Records a failed call, which is retried.
    pub(super) fn fail(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::Wanted;
        self.failures.fail(self.calls, self.calls + 1, now, rng);
    }

    /// Retries a failed call without a further wait.
    pub(super) fn retry_now(&mut self) {
        self.failures.end_wait();
    }

    /// Never lists again.
    pub(super) fn stop(&mut self) {
        self.state = State::UpToDate;
    }

    /// Whether a list is wanted or under way.
    pub(super) fn is_expected(&self) -> bool {
        self.state != State::UpToDate
    }

    #[cfg(test)]
    pub(super) fn is_wanted(&self) -> bool {
        self.state == State::Wanted
    }

    /// The number of calls in a row that failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures.failures()
    }
}
