mod grace_period;
mod outage;
mod request_size;
#[cfg(test)]
mod tests;
mod timeout_factor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower::BoxError;

pub(crate) use self::outage::{OutageKind, Report, Stage};
pub(super) use self::request_size::RequestSize;

use self::grace_period::GracePeriod;
use self::outage::Outages;
use self::timeout_factor::TimeoutFactor;
use super::backoff::Backoff;
use super::classifier::Classifier;
use super::in_flight::Completion;
use crate::record::{AttemptError, FailureReason};
use crate::service::{Classify, EntryClass, EntryError, ErrorClass, NO_STREAM};
use crate::settings::Settings;
use crate::status::Fault;

/// Health of the stream, which depends on failures of whole requests. While requests fail, one request at a time is
/// sent after a backoff, to probe the stream. After a success, each response that is fast compared to the timeout
/// doubles the maximum number of requests in flight. A fatal error is reported once.
#[derive(Debug)]
pub(crate) struct Health {
    backoff: Backoff,
    max_in_flight: usize,
    window: usize,
    size: RequestSize,
    timeout_factor: TimeoutFactor,
    pub(super) outages: Outages,
    classifier: Classifier,
    /// Length of the grace periods.
    credentials_timeout: Duration,
    credentials: Option<Box<GracePeriod>>,
    /// Grace period for responses from servers other than the service, such as a proxy.
    blocked: Option<Box<GracePeriod>>,
    fatal: Fatal,
    fatal_since: Option<Instant>,
    /// Time of the first failure since the last success, and the latest error.
    failing: Option<(Instant, Arc<AttemptError>)>,
}

/// State of a fatal error.
#[derive(Debug, Default)]
enum Fatal {
    #[default]
    No,
    Unreported(BoxError, Arc<AttemptError>),
    /// The owner has taken the error. If a request sent before this failure also fails with a fatal error, that error
    /// is not reported.
    Reported(Arc<AttemptError>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Effect {
    None,
    ForgetShards,
}

/// Failed request or lookup.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) source: BoxError,
    pub(super) error: Arc<AttemptError>,
    /// Number of the failed request, or of the next request if no request was sent.
    pub(super) request: u64,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request failed, or the service did not become ready.
    Request {
        entries: usize,
    },
    Lookup,
}

impl Health {
    pub(super) fn new(settings: &Settings, classify: Arc<dyn Classify>) -> Self {
        Self {
            backoff: Backoff::new(settings.backoff.base, settings.backoff.ceiling),
            max_in_flight: settings.max_in_flight,
            window: settings.max_in_flight,
            size: RequestSize::default(),
            timeout_factor: TimeoutFactor::new(),
            outages: Outages::default(),
            classifier: Classifier::new(classify),
            credentials_timeout: settings.credentials_timeout,
            credentials: None,
            blocked: None,
            fatal: Fatal::No,
            fatal_since: None,
            failing: None,
        }
    }

    pub(crate) fn classify(&self, error: &BoxError) -> (ErrorClass, Arc<AttemptError>) {
        self.classifier.classify(error)
    }

    pub(super) fn classify_entry(&self, error: EntryError) -> (EntryClass, Arc<AttemptError>) {
        self.classifier.classify_entry(error)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.backoff.failures() > 0
    }

    pub(super) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now)
    }

    /// Returns `true` if the window permits another request in flight. The backoff is checked separately.
    pub(super) fn has_slot(&self, in_flight: usize) -> bool {
        in_flight < if self.is_failing() { 1 } else { self.window }
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.fatal, Fatal::Unreported(..))
    }

    pub(super) fn max_entries(&self) -> usize {
        self.size.max()
    }

    pub(super) fn timeout_factor(&self) -> u32 {
        self.timeout_factor.get()
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_factor.timeout()
    }

    /// Records a success. Returns `true` if the stream was failing before.
    pub(super) fn on_success(&mut self, took: Duration) -> bool {
        let recovers = self.is_failing();
        self.backoff.reset();
        self.window = self.window_after(took).min(self.max_in_flight);
        self.on_response();
        recovers
    }

    fn window_after(&self, took: Duration) -> usize {
        let window = self.window;
        let Some(timeout) = self.timeout() else { return 2 * window };
        // On a slow link, the latency of requests in flight is proportional to their number.
        let with_one_more = took.mul_f64((window + 1) as f64 / window as f64);
        if took * 4 <= timeout {
            2 * window
        } else if with_one_more <= timeout.mul_f64(0.75) {
            window + 1
        } else {
            window
        }
    }

    pub(super) fn on_entries(&mut self, entries: usize, took: Duration, limit: usize) {
        self.size.succeed(entries, took, self.timeout_factor.timeout(), limit);
    }

    pub(super) fn on_latency(&mut self, took: Duration) {
        self.timeout_factor.succeed(took);
    }

    pub(super) fn on_repeated_failure(&mut self, entries: usize) {
        self.size.fail(entries);
    }

    /// Records a timeout. `is_repeated` is `true` if some of the records have failed before.
    pub(super) fn on_timeout(&mut self, took: Duration, factor: u32, is_repeated: bool) {
        self.timeout_factor.fail(took, factor, is_repeated);
    }

    /// Resets the grace periods and clears a reported fatal error, because a response shows that the service has
    /// authenticated the request.
    pub(super) fn on_response(&mut self) {
        self.credentials = None;
        self.blocked = None;
        if matches!(self.fatal, Fatal::Reported(_)) {
            self.clear_fatal();
        }
    }

    pub(super) fn wait_without_failure(&mut self, now: Instant, rng: &mut Rng) {
        self.backoff.wait_without_failure(now, rng);
    }

    pub(super) fn on_failed_entries(
        &mut self,
        error: Option<Arc<AttemptError>>,
        completion: Completion,
        rng: &mut Rng,
    ) {
        let Completion { request, next, now } = completion;
        if let Some(error) = error {
            self.record_failure(&error, now);
        }
        self.outages.failed_response(self.backoff.is_new_failure(request), now);
        self.back_off(request, next, now, rng);
    }

    pub(crate) fn clear_failing(&mut self) {
        self.failing = None;
    }

    fn record_failure(&mut self, error: &Arc<AttemptError>, now: Instant) {
        self.failing.get_or_insert_with(|| (now, error.clone())).1 = error.clone();
    }

    fn back_off(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) {
        if self.backoff.fail(request, next, now, rng) {
            self.window = 1;
        }
    }

    pub(super) fn on_failure(
        &mut self,
        failure: Failure,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) -> Effect {
        let Failure { class, source, error, request, origin } = failure;
        let is_new = self.backoff.is_new_failure(request);
        match (origin, class) {
            (Origin::Lookup, _) => self.outages.lookup_failed(&error, now),
            // A request rejected by a load-shedding layer does not indicate an outage.
            (Origin::Request { .. }, ErrorClass::NotSent) => {}
            (Origin::Request { entries }, ErrorClass::Throttled) => {
                self.outages.request_throttled(entries, &error, now);
            }
            (Origin::Request { .. }, _) => self.outages.request_failed(&error, is_new, now),
        }
        if class != ErrorClass::NotSent {
            self.record_failure(&error, now);
        }
        self.back_off(request, next, now, rng);
        let grace = || Box::new(GracePeriod::new(self.credentials_timeout));
        let is_fatal = match class {
            ErrorClass::Credentials => self.credentials.get_or_insert_with(grace).fail(now),
            ErrorClass::Blocked => self.blocked.get_or_insert_with(grace).fail(now),
            ErrorClass::Fatal => true,
            // The service authenticates requests before it throttles them.
            ErrorClass::Throttled => {
                self.on_response();
                false
            }
            ErrorClass::OutcomeUnknown | ErrorClass::NotSent | ErrorClass::Invalid => false,
        };
        let effect = if error.code() == NO_STREAM { Effect::ForgetShards } else { Effect::None };
        if is_fatal && (is_new || matches!(self.fatal, Fatal::No)) {
            self.outages.fatal(&error, now);
            self.fatal_since.get_or_insert(now);
            self.fatal = Fatal::Unreported(source, error);
        }
        effect
    }

    pub(crate) fn take_fatal(&mut self) -> Option<BoxError> {
        match std::mem::take(&mut self.fatal) {
            Fatal::Unreported(source, error) => {
                self.fatal = Fatal::Reported(error);
                Some(source)
            }
            other => {
                self.fatal = other;
                None
            }
        }
    }

    pub(crate) fn take_last_report(&mut self) -> Option<Report> {
        self.outages.take_last_report()
    }

    /// Takes the number of records that have failed since the last report, and the latest failure reason. Returns
    /// `None` if no record has failed, or if the last report was less than a minute ago.
    pub(crate) fn take_failed_records(&mut self, now: Instant) -> Option<(u64, FailureReason)> {
        self.outages.take_failed_records(now)
    }

    pub(super) fn clear_fatal(&mut self) {
        self.fatal = Fatal::No;
        self.fatal_since = None;
    }

    pub(super) fn reset_fatal(&mut self) {
        self.clear_fatal();
        self.credentials = None;
        self.blocked = None;
    }

    /// Returns the fatal error. The next response clears a reported error.
    pub(crate) fn fatal_error(&self) -> Option<&Arc<AttemptError>> {
        match &self.fatal {
            Fatal::Unreported(_, error) | Fatal::Reported(error) => Some(error),
            Fatal::No => None,
        }
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        if let Some((since, error)) = self.fatal_since.zip(self.fatal_error()) {
            return Some(Fault { is_refused: true, since, error: error.clone() });
        }
        let (since, error) = self.failing.as_ref()?;
        Some(Fault { is_refused: false, since: *since, error: error.clone() })
    }

    pub(crate) fn unreported_fatal(&self) -> Option<&Arc<AttemptError>> {
        self.fatal_error().filter(|_| self.is_stopped())
    }

    #[cfg(test)]
    pub(super) fn set_backoff(&mut self, base: Duration, ceiling: Duration) {
        self.backoff = Backoff::new(base, ceiling);
    }

    #[cfg(test)]
    pub(super) fn window(&self) -> usize {
        self.window
    }
}
