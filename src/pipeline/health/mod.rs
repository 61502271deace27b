//! The health of the stream: failures of whole requests, and what is sent while they last.

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

pub(crate) use self::outage::{Report, Stage, Trouble};
pub(super) use self::request_size::RequestSize;

use self::grace_period::GracePeriod;
use self::outage::Outages;
use self::timeout_factor::TimeoutFactor;
use super::backoff::Backoff;
use super::classifier::Classifier;
use crate::record::{AttemptError, FailureReason};
use crate::service::{Classify, EntryClass, EntryError, ErrorClass, NO_STREAM};
use crate::settings::Settings;
use crate::status::Fault;

/// Tracks failures of whole requests. While they last, one request at a time probes the stream, after a backoff. With
/// each success twice as many may be in flight. A fatal error is returned once.
#[derive(Debug)]
pub(crate) struct Health {
    backoff: Backoff,
    max_in_flight: usize,
    /// The number of requests that may be in flight.
    window: usize,
    size: RequestSize,
    timeout_factor: TimeoutFactor,
    /// What is logged about failures.
    pub(super) outages: Outages,
    classifier: Classifier,
    /// The time until a series of credential errors is fatal.
    credentials: GracePeriod,
    /// The time until a series of responses that are not the service's is fatal.
    blocked: GracePeriod,
    fatal: Fatal,
    /// When the service first refused every request, while it does.
    refused_since: Option<Instant>,
    /// When the first request failed after the latest success, and the latest error.
    failing: Option<(Instant, Arc<AttemptError>)>,
}

/// Whether the service refuses every request.
#[derive(Debug, Default)]
enum Fatal {
    #[default]
    No,
    /// Nothing is sent until the error is taken.
    Unreported(BoxError, Arc<AttemptError>),
    /// The error was taken. Requests that were in flight at that time say nothing new.
    Reported(Arc<AttemptError>),
}

/// What a failure means outside of [`Health`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Effect {
    None,
    /// The stream does not exist: its shards are not known any more.
    ForgetShards,
}

/// A failed request, or lookup, or service that did not become ready.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) source: BoxError,
    pub(super) error: Arc<AttemptError>,
    /// The number of the request, or of the next one if none was sent.
    pub(super) request: u64,
    pub(super) origin: Origin,
}

/// What has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request, or the service that did not become ready for one.
    Request { entries: usize },
    /// A call without which nothing can be sent.
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
            credentials: GracePeriod::new(settings.credentials_timeout),
            blocked: GracePeriod::new(settings.credentials_timeout),
            fatal: Fatal::No,
            refused_since: None,
            failing: None,
        }
    }

    /// Returns the class of a request's error, and its description.
    pub(crate) fn classify(&self, error: &BoxError) -> (ErrorClass, Arc<AttemptError>) {
        self.classifier.classify(error)
    }

    /// Returns the class of an entry's error, and its description.
    pub(super) fn classify_entry(&self, error: EntryError) -> (EntryClass, Arc<AttemptError>) {
        self.classifier.classify_entry(error)
    }

    /// Whether the latest requests have failed.
    pub(super) fn is_failing(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// The backoff between requests.
    pub(super) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// The end of the backoff, if it has not passed.
    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now)
    }

    /// Whether another request may be sent beside so many in flight, the backoff aside.
    pub(super) fn has_slot(&self, in_flight: usize) -> bool {
        in_flight < if self.is_failing() { 1 } else { self.window }
    }

    /// Whether nothing is sent until the fatal error is taken.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.fatal, Fatal::Unreported(..))
    }

    /// The most entries of the next request.
    pub(super) fn max_entries(&self) -> usize {
        self.size.max()
    }

    /// The factor by which the next request may take longer than by default.
    pub(super) fn timeout_factor(&self) -> u32 {
        self.timeout_factor.get()
    }

    /// The time that the next request may take, if it is known.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_factor.timeout()
    }

    /// Records a success after `took`: resets the backoff and grows the window. Returns whether requests have failed
    /// before.
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
        // Requests that share a slow link make each other slower, in proportion to their number.
        let with_one_more = took.mul_f64((window + 1) as f64 / window as f64);
        if took * 4 <= timeout {
            2 * window
        } else if with_one_more <= timeout.mul_f64(0.75) {
            window + 1
        } else {
            window
        }
    }

    /// Records the response to a request with `entries` entries. Requests have `limit` entries at most.
    pub(super) fn on_entries(&mut self, entries: usize, took: Duration, limit: usize) {
        self.size.succeed(entries, took, self.timeout_factor.timeout(), limit);
    }

    /// Records that a response came after `took`.
    pub(super) fn on_latency(&mut self, took: Duration) {
        self.timeout_factor.succeed(took);
    }

    /// Records that a request of `entries` entries has failed repeatedly.
    pub(super) fn on_repeated_failure(&mut self, entries: usize) {
        self.size.fail(entries);
    }

    /// Records a request that was not answered within `took`, although it was allowed `factor` times the default.
    /// `is_repeated` if some of its records have failed before.
    pub(super) fn on_timeout(&mut self, took: Duration, factor: u32, is_repeated: bool) {
        self.timeout_factor.fail(took, factor, is_repeated);
    }

    /// Records that the service has authenticated a request: ends the grace periods, and a reported fatal error.
    pub(super) fn on_response(&mut self) {
        self.credentials.reset();
        self.blocked.reset();
        if matches!(self.fatal, Fatal::Reported(_)) {
            self.clear_fatal();
        }
    }

    /// Waits as after a failure, without counting one.
    pub(super) fn wait_without_failure(&mut self, now: Instant, rng: &mut Rng) {
        self.backoff.wait_without_failure(now, rng);
    }

    /// Records a response to `request` in which every entry has failed.
    pub(super) fn on_failed_entries(
        &mut self,
        request: u64,
        error: Option<Arc<AttemptError>>,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        if let Some(error) = error {
            self.note_failure(&error, now);
        }
        self.outages.response_of_failures(self.backoff.is_new_failure(request), now);
        self.back_off(request, next, now, rng);
    }

    /// Nothing fails at present: a request has succeeded, or nothing is left to send.
    pub(crate) fn clear_failing(&mut self) {
        self.failing = None;
    }

    /// Notes a failed request, for the condition that is published.
    fn note_failure(&mut self, error: &Arc<AttemptError>, now: Instant) {
        self.failing.get_or_insert_with(|| (now, error.clone())).1 = error.clone();
    }

    /// Backs off, and then sends one request at a time. A request that was in flight at the latest failure says nothing
    /// new.
    fn back_off(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) {
        if self.backoff.fail(request, next, now, rng) {
            self.window = 1;
        }
    }

    /// Records a failure that was not caused by one of the records. `next` is the number of the next request.
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
            // A request that a layer has shed is no outage.
            (Origin::Request { .. }, ErrorClass::NotSent) => {}
            (Origin::Request { entries }, ErrorClass::Throttled) => {
                self.outages.request_throttled(entries, &error, now);
            }
            (Origin::Request { .. }, _) => self.outages.request_failed(&error, is_new, now),
        }
        if class != ErrorClass::NotSent {
            self.note_failure(&error, now);
        }
        self.back_off(request, next, now, rng);
        let is_fatal = match class {
            ErrorClass::Credentials => self.credentials.fail(now),
            ErrorClass::Blocked => self.blocked.fail(now),
            ErrorClass::Fatal => true,
            // The service authenticates a request before it throttles it.
            ErrorClass::Throttled => {
                self.on_response();
                false
            }
            ErrorClass::OutcomeUnknown | ErrorClass::NotSent | ErrorClass::Invalid => false,
        };
        let effect = if error.code() == NO_STREAM { Effect::ForgetShards } else { Effect::None };
        if is_fatal && (is_new || matches!(self.fatal, Fatal::No)) {
            self.outages.refused(&error, now);
            self.refused_since.get_or_insert(now);
            self.fatal = Fatal::Unreported(source, error);
        }
        effect
    }

    /// Takes the fatal error, once. Afterwards requests are sent again.
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

    /// Takes the final report of an outage after which nothing has failed. Used at the end of the sink.
    pub(crate) fn take_last_report(&mut self) -> Option<Report> {
        self.outages.take_last_report()
    }

    /// Takes the number of records that failed for good since the last such report, with the latest reason. Returns
    /// this at most once a minute.
    pub(crate) fn take_lost(&mut self, now: Instant) -> Option<(u64, FailureReason)> {
        self.outages.take_lost(now)
    }

    /// Forgets the fatal error: its records are gone.
    pub(super) fn clear_fatal(&mut self) {
        self.fatal = Fatal::No;
        self.refused_since = None;
    }

    /// Forgets the fatal error and the grace periods.
    pub(super) fn forgive(&mut self) {
        self.clear_fatal();
        self.credentials.reset();
        self.blocked.reset();
    }

    /// Why the service refuses every request, from the first such failure until a response.
    pub(crate) fn refusal(&self) -> Option<&Arc<AttemptError>> {
        match &self.fatal {
            Fatal::Unreported(_, error) | Fatal::Reported(error) => Some(error),
            Fatal::No => None,
        }
    }

    /// What is wrong with the stream at present, if anything is.
    pub(crate) fn fault(&self) -> Option<Fault> {
        if let Some((since, error)) = self.refused_since.zip(self.refusal()) {
            return Some(Fault { is_refused: true, since, error: error.clone() });
        }
        let (since, error) = self.failing.as_ref()?;
        Some(Fault { is_refused: false, since: *since, error: error.clone() })
    }

    /// The fatal error that was not taken yet.
    pub(crate) fn unreported_fatal(&self) -> Option<&Arc<AttemptError>> {
        self.refusal().filter(|_| self.is_stopped())
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
