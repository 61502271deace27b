use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use smol_str::SmolStr;

use super::LONGEST;
use crate::service::{Entry, PutRecordsError, PutRecordsRequest};

/// What goes wrong with requests, and how often. None by default; all shares are 0.0 to 1.0.
///
/// Needs the feature `sim`.
///
/// A request meets at most one of the faults of whole requests: their shares are parts of one whole. The
/// faults of entries hit the entries of the requests that arrive, each by itself. Poisoned records are
/// recognized by a marker in their payload, also inside an aggregate, and fail whatever else is drawn.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::sim::Faults;
///
/// let bad_day = Faults::default()
///     .with_throttles(0.1)
///     .with_request_errors(0.05, "InternalFailure", 500)
///     .with_lost_answers(0.01)
///     .with_late_writes(0.01, Duration::from_secs(3));
/// # let _ = bad_day;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    internal_failures: f64,
    throttles: f64,
    requests: Vec<(f64, Fate)>,
    poisoned_requests: Vec<(Bytes, Failure)>,
    poisoned_entries: Vec<Bytes>,
    outage: Option<Failure>,
}

impl Faults {
    /// Sets the share of entries that fail with `InternalFailure`. They take nothing of the shard's quota.
    ///
    /// # Panics
    ///
    /// The share is not between 0.0 and 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_internal_failures(mut self, share: f64) -> Self {
        check(share);
        self.internal_failures = share;
        self
    }

    /// Sets the share of entries that are throttled whatever the shard's quota says. They take nothing of
    /// it.
    ///
    /// # Panics
    ///
    /// The share is not between 0.0 and 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_throttles(mut self, share: f64) -> Self {
        check(share);
        self.throttles = share;
        self
    }

    /// Adds a share of PutRecords requests that are answered with this error code and HTTP status.
    /// Nothing of them is written. Each call adds one.
    ///
    /// # Panics
    ///
    /// The share is not between 0.0 and 1.0, those of whole requests are more than 1.0 together, or the
    /// status is not one of an error, 400 to 599.
    #[must_use]
    #[track_caller]
    pub fn with_request_errors(self, share: f64, code: &str, status: u16) -> Self {
        self.with_request_fault(share, Fate::Fails(Failure::new(code, status)))
    }

    /// Answers every request with this error code and HTTP status, lookups and readers' included.
    ///
    /// # Panics
    ///
    /// The status is not one of an error, 400 to 599.
    #[must_use]
    #[track_caller]
    pub fn with_outage(mut self, code: &str, status: u16) -> Self {
        self.outage = Some(Failure::new(code, status));
        self
    }

    /// Answers each PutRecords request that contains `marker` in the payload of one of its entries with
    /// this error code and HTTP status, so that one record fails its whole request. Nothing of such a
    /// request is written. Without a code the body is empty, like that of a proxy or firewall between the
    /// client and the service. Each call adds a marker.
    ///
    /// # Panics
    ///
    /// The marker is empty, or the status is not one of an error, 400 to 599.
    #[must_use]
    #[track_caller]
    pub fn with_poisoned_requests(
        mut self,
        marker: impl Into<Bytes>,
        code: Option<&str>,
        status: u16,
    ) -> Self {
        self.poisoned_requests.push((checked(marker), Failure::with(code, status)));
        self
    }

    /// Fails each entry that contains `marker` in its payload with `InternalFailure`, also if the entry is an
    /// aggregate with such a record. Each call adds a marker.
    ///
    /// # Panics
    ///
    /// The marker is empty.
    #[must_use]
    #[track_caller]
    pub fn with_poisoned_entries(mut self, marker: impl Into<Bytes>) -> Self {
        self.poisoned_entries.push(checked(marker));
        self
    }

    /// Adds a share of PutRecords requests that never arrive. No answer comes, ever: the caller's
    /// timeout ends them.
    ///
    /// # Panics
    ///
    /// The share is not between 0.0 and 1.0, or those of whole requests are more than 1.0 together.
    #[must_use]
    #[track_caller]
    pub fn with_lost_requests(self, share: f64) -> Self {
        self.with_request_fault(share, Fate::RequestLost)
    }

    /// Adds a share of PutRecords requests that are written as others are, but whose answer never comes.
    ///
    /// # Panics
    ///
    /// As [`with_lost_requests`](Self::with_lost_requests).
    #[must_use]
    #[track_caller]
    pub fn with_lost_answers(self, share: f64) -> Self {
        self.with_request_fault(share, Fate::AnswerLost)
    }

    /// Adds a share of PutRecords requests that never get an answer and arrive so much later than they
    /// should: also when the caller has given up by then, and perhaps after his second attempt.
    ///
    /// # Panics
    ///
    /// As [`with_lost_requests`](Self::with_lost_requests), or the delay is more than 1 h.
    #[must_use]
    #[track_caller]
    pub fn with_late_writes(self, share: f64, by: Duration) -> Self {
        assert!(by <= LONGEST, "the delay is {by:?}; set 1 h at most");
        self.with_request_fault(share, Fate::Late { by })
    }

    #[track_caller]
    fn with_request_fault(mut self, share: f64, fate: Fate) -> Self {
        check(share);
        self.requests.push((share, fate));
        let all: f64 = self.requests.iter().map(|(share, _)| share).sum();
        // A little more is what sums of fractions come to.
        assert!(all < 1.0 + 1e-9, "the shares of requests come to {all}; set 1.0 at most");
        self
    }

    /// What becomes of a PutRecords request.
    pub(super) fn draw(&self, rng: &mut Rng) -> Fate {
        if let Some(failure) = &self.outage {
            return Fate::Fails(failure.clone());
        }
        let mut drawn = rng.f64();
        for (share, fate) in &self.requests {
            if drawn < *share {
                return fate.clone();
            }
            drawn -= share;
        }
        Fate::Served
    }

    pub(super) fn draw_internal_failure(&self, rng: &mut Rng) -> bool {
        happens(self.internal_failures, rng)
    }

    pub(super) fn draw_throttle(&self, rng: &mut Rng) -> bool {
        happens(self.throttles, rng)
    }

    /// The error for a request with a poisoned record.
    pub(super) fn poison_of(&self, request: &PutRecordsRequest) -> Option<PutRecordsError> {
        let mut poisoned = self.poisoned_requests.iter();
        let is_poisoned = |marker: &Bytes| request.entries().iter().any(|one| holds(one, marker));
        poisoned.find(|(marker, _)| is_poisoned(marker)).map(|(_, failure)| failure.error())
    }

    pub(super) fn is_poisoned(&self, entry: &Entry) -> bool {
        self.poisoned_entries.iter().any(|marker| holds(entry, marker))
    }

    /// What every request is answered with, if there is such a thing.
    pub(super) fn outage(&self) -> Option<PutRecordsError> {
        self.outage.as_ref().map(Failure::error)
    }
}

/// Most streams have no faults of entries: no number is drawn then.
fn happens(share: f64, rng: &mut Rng) -> bool {
    share > 0.0 && rng.f64() < share
}

fn holds(entry: &Entry, marker: &Bytes) -> bool {
    entry.data().windows(marker.len()).any(|window| window == marker)
}

#[track_caller]
fn checked(marker: impl Into<Bytes>) -> Bytes {
    let marker = marker.into();
    assert!(!marker.is_empty(), "the marker is empty; set at least one byte");
    marker
}

#[track_caller]
fn check(share: f64) {
    assert!((0.0..=1.0).contains(&share), "the share is {share}; set it between 0.0 and 1.0");
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    Served,
    Fails(Failure),
    RequestLost,
    AnswerLost,
    Late { by: Duration },
}

/// An error answer to a whole request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    code: Option<SmolStr>,
    status: u16,
}

impl Failure {
    #[track_caller]
    fn new(code: &str, status: u16) -> Self {
        Self::with(Some(code), status)
    }

    #[track_caller]
    fn with(code: Option<&str>, status: u16) -> Self {
        let errors = 400..=599;
        assert!(errors.contains(&status), "the status is {status}; set it between 400 and 599");
        Self { code: code.map(SmolStr::from), status }
    }

    pub(super) fn error(&self) -> PutRecordsError {
        let code = self.code.as_deref();
        PutRecordsError::service(code, code.map(message_of), Some(self.status))
    }
}

/// The code of an entry that failed for no reason of its own.
pub(super) const INTERNAL_FAILURE: &str = "InternalFailure";

/// The service's text for a code, where it is always the same.
pub(super) fn message_of(code: &str) -> &'static str {
    match code {
        INTERNAL_FAILURE => "Internal service failure.",
        _ => "A fault of the simulation.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_requests_are_parts_of_one_whole() {
        let faults = Faults::default().with_lost_requests(0.5).with_lost_answers(0.25);
        let mut rng = Rng::with_seed(1);
        let fates: Vec<_> = (0..10_000).map(|_| faults.draw(&mut rng)).collect();
        let share = |fate| fates.iter().filter(|drawn| **drawn == fate).count();
        let counts = [Fate::RequestLost, Fate::AnswerLost, Fate::Served].map(share);
        for (count, expected) in counts.into_iter().zip([5_000, 2_500, 2_500]) {
            assert!(count.abs_diff(expected) < 150, "{counts:?}");
        }
        let whole = Faults::default().with_lost_requests(0.1).with_lost_answers(0.2);
        let whole = whole.with_late_writes(0.7, Duration::ZERO);
        assert!((0..1_000).all(|_| whole.draw(&mut rng) != Fate::Served));
    }

    #[test]
    #[should_panic(expected = "come to 1.1")]
    fn more_than_all_requests_is_refused() {
        let _ = Faults::default().with_lost_requests(0.6).with_lost_answers(0.5);
    }

    #[test]
    #[should_panic(expected = "the delay is")]
    fn a_delay_beyond_an_hour_is_refused() {
        let _ = Faults::default().with_late_writes(1.0, Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the share is NaN")]
    fn a_share_is_a_number() {
        let _ = Faults::default().with_throttles(f64::NAN);
    }
}
