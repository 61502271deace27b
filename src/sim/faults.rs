use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use smol_str::SmolStr;

use super::MAX_DURATION;
use crate::service::{Entry, PutRecordsError, PutRecordsRequest};

/// Simulated faults of a [`SimStream`](super::SimStream). Default: none.
///
/// Requires the feature `sim`.
///
/// Most faults affect a random share of the requests or entries, between 0.0 and 1.0. At most one request fault is
/// drawn for each request, so the shares of all request faults must add up to at most 1.0. Entry faults are drawn
/// separately for each entry of a request that arrives.
///
/// Poison records always fail. The stream recognizes them by a marker in their payload, even inside an aggregate.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::sim::Faults;
///
/// let faults = Faults::default()
///     .with_throttles(0.1)
///     .with_request_errors(0.05, "InternalFailure", 500)
///     .with_lost_answers(0.01)
///     .with_late_writes(0.01, Duration::from_secs(3));
/// # let _ = faults;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    internal_failures: f64,
    throttles: f64,
    requests: Vec<(f64, RequestOutcome)>,
    poisoned_requests: Vec<(Bytes, Failure)>,
    poisoned_entries: Vec<Bytes>,
    outage: Option<Failure>,
}

impl Faults {
    /// Sets the share of entries that fail with `InternalFailure`. These entries use no quota.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_internal_failures(mut self, share: f64) -> Self {
        check_share(share);
        self.internal_failures = share;
        self
    }

    /// Sets the share of entries that are throttled although the shard has quota left. These entries use no quota.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_throttles(mut self, share: f64) -> Self {
        check_share(share);
        self.throttles = share;
        self
    }

    /// Adds a share of PutRecords requests that fail as a whole with this error code and HTTP status.
    ///
    /// The entries of these requests are not written. Each call of this method adds another fault.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0, if the shares of all request faults exceed 1.0, or if `status` is
    /// not between 400 and 599.
    #[must_use]
    #[track_caller]
    pub fn with_request_errors(self, share: f64, code: &str, status: u16) -> Self {
        self.with_request_fault(share, RequestOutcome::Fails(Failure::new(Some(code), status)))
    }

    /// Fails every request with this error code and HTTP status, including lookups and reads.
    ///
    /// # Panics
    ///
    /// Panics if `status` is not between 400 and 599.
    #[must_use]
    #[track_caller]
    pub fn with_outage(mut self, code: &str, status: u16) -> Self {
        self.outage = Some(Failure::new(Some(code), status));
        self
    }

    /// Fails each PutRecords request that has an entry whose payload contains `marker`.
    ///
    /// A single poison record thus fails the whole request, and no entry of the request is written. The response has
    /// this error code and HTTP status. If `code` is `None`, the response has no body, like the response of a proxy or
    /// firewall between the client and the service. Each call of this method adds a marker.
    ///
    /// # Panics
    ///
    /// Panics if `marker` is empty, or if `status` is not between 400 and 599.
    #[must_use]
    #[track_caller]
    pub fn with_poisoned_requests(
        mut self,
        marker: impl Into<Bytes>,
        code: Option<&str>,
        status: u16,
    ) -> Self {
        self.poisoned_requests.push((checked_marker(marker), Failure::new(code, status)));
        self
    }

    /// Fails each entry whose payload contains `marker` with `InternalFailure`.
    ///
    /// An aggregate fails if one of its records contains the marker. Each call of this method adds a marker.
    ///
    /// # Panics
    ///
    /// Panics if `marker` is empty.
    #[must_use]
    #[track_caller]
    pub fn with_poisoned_entries(mut self, marker: impl Into<Bytes>) -> Self {
        self.poisoned_entries.push(checked_marker(marker));
        self
    }

    /// Adds a share of PutRecords requests that never arrive at the stream.
    ///
    /// The futures of these requests never complete, so the caller needs a timeout.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0, or if the shares of all request faults exceed 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_lost_requests(self, share: f64) -> Self {
        self.with_request_fault(share, RequestOutcome::RequestLost)
    }

    /// Adds a share of PutRecords requests that are written, but whose response never arrives.
    ///
    /// The futures of these requests never complete, so the caller needs a timeout.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0, or if the shares of all request faults exceed 1.0.
    #[must_use]
    #[track_caller]
    pub fn with_lost_answers(self, share: f64) -> Self {
        self.with_request_fault(share, RequestOutcome::AnswerLost)
    }

    /// Adds a share of PutRecords requests that are written late, and whose response never arrives.
    ///
    /// The delay `by` is added to half of the round-trip time. The request is written even if its future has been
    /// dropped, so it can be written after its records have already been retried successfully.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0, if the shares of all request faults exceed 1.0, or if `by` is more
    /// than 1 h.
    #[must_use]
    #[track_caller]
    pub fn with_late_writes(self, share: f64, by: Duration) -> Self {
        assert!(by <= MAX_DURATION, "the delay is {by:?}; set at most 1 h");
        self.with_request_fault(share, RequestOutcome::Late { by })
    }

    #[track_caller]
    fn with_request_fault(mut self, share: f64, outcome: RequestOutcome) -> Self {
        check_share(share);
        self.requests.push((share, outcome));
        let all: f64 = self.requests.iter().map(|(share, _)| share).sum();
        // The tolerance allows for rounding errors in the sum.
        assert!(all < 1.0 + 1e-9, "the shares of request faults add up to {all}; set at most 1.0");
        self
    }

    /// Draws the outcome of a PutRecords request.
    pub(super) fn draw(&self, rng: &mut Rng) -> RequestOutcome {
        if let Some(failure) = &self.outage {
            return RequestOutcome::Fails(failure.clone());
        }
        let mut drawn = rng.f64();
        for (share, outcome) in &self.requests {
            if drawn < *share {
                return outcome.clone();
            }
            drawn -= share;
        }
        RequestOutcome::Served
    }

    pub(super) fn draw_internal_failure(&self, rng: &mut Rng) -> bool {
        draw_bool(self.internal_failures, rng)
    }

    pub(super) fn draw_throttle(&self, rng: &mut Rng) -> bool {
        draw_bool(self.throttles, rng)
    }

    /// Returns the error for a request that contains a poison record.
    pub(super) fn poison_error(&self, request: &PutRecordsRequest) -> Option<PutRecordsError> {
        let mut poisoned = self.poisoned_requests.iter();
        let is_poisoned =
            |marker: &Bytes| request.entries().iter().any(|one| contains(one, marker));
        poisoned.find(|(marker, _)| is_poisoned(marker)).map(|(_, failure)| failure.error())
    }

    pub(super) fn is_poisoned(&self, entry: &Entry) -> bool {
        self.poisoned_entries.iter().any(|marker| contains(entry, marker))
    }

    pub(super) fn outage(&self) -> Option<PutRecordsError> {
        self.outage.as_ref().map(Failure::error)
    }
}

/// Returns `true` with the probability `share`. Draws no random number if `share` is 0.0, which is the common case.
fn draw_bool(share: f64, rng: &mut Rng) -> bool {
    share > 0.0 && rng.f64() < share
}

fn contains(entry: &Entry, marker: &Bytes) -> bool {
    entry.data().windows(marker.len()).any(|window| window == marker)
}

#[track_caller]
fn checked_marker(marker: impl Into<Bytes>) -> Bytes {
    let marker = marker.into();
    assert!(!marker.is_empty(), "the marker is empty; set at least one byte");
    marker
}

#[track_caller]
fn check_share(share: f64) {
    assert!((0.0..=1.0).contains(&share), "the share is {share}; set it between 0.0 and 1.0");
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RequestOutcome {
    Served,
    Fails(Failure),
    RequestLost,
    AnswerLost,
    Late { by: Duration },
}

/// Error response that fails a whole request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    code: Option<SmolStr>,
    status: u16,
}

impl Failure {
    #[track_caller]
    fn new(code: Option<&str>, status: u16) -> Self {
        let errors = 400..=599;
        assert!(errors.contains(&status), "the status is {status}; set it between 400 and 599");
        Self { code: code.map(SmolStr::from), status }
    }

    pub(super) fn error(&self) -> PutRecordsError {
        let code = self.code.as_deref();
        PutRecordsError::service(code, code.map(message_of), Some(self.status))
    }
}

pub(super) const INTERNAL_FAILURE: &str = "InternalFailure";

pub(super) fn message_of(code: &str) -> &'static str {
    match code {
        INTERNAL_FAILURE => "Internal service failure.",
        "AccessDeniedException" => "User is not authorized to perform this operation.",
        _ => "Simulated fault.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_faults_are_drawn_by_share() {
        let faults = Faults::default().with_lost_requests(0.5).with_lost_answers(0.25);
        let mut rng = Rng::with_seed(1);
        let outcomes: Vec<_> = (0..10_000).map(|_| faults.draw(&mut rng)).collect();
        let share = |outcome| outcomes.iter().filter(|drawn| **drawn == outcome).count();
        let counts =
            [RequestOutcome::RequestLost, RequestOutcome::AnswerLost, RequestOutcome::Served]
                .map(share);
        for (count, expected) in counts.into_iter().zip([5_000, 2_500, 2_500]) {
            assert!(count.abs_diff(expected) < 150, "{counts:?}");
        }
        let whole = Faults::default().with_lost_requests(0.1).with_lost_answers(0.2);
        let whole = whole.with_late_writes(0.7, Duration::ZERO);
        assert!((0..1_000).all(|_| whole.draw(&mut rng) != RequestOutcome::Served));
    }

    #[test]
    #[should_panic(expected = "add up to 1.1")]
    fn request_faults_reject_share_sum_above_one() {
        let _ = Faults::default().with_lost_requests(0.6).with_lost_answers(0.5);
    }

    #[test]
    #[should_panic(expected = "the delay is")]
    fn late_writes_reject_delay_above_hour() {
        let _ = Faults::default().with_late_writes(1.0, Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the share is NaN")]
    fn throttles_reject_nan_share() {
        let _ = Faults::default().with_throttles(f64::NAN);
    }
}
