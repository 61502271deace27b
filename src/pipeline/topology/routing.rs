use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::settings::Settings;
use crate::stream::{StreamDescription, StreamMode};

/// Maximum wait between two descriptions requested after contradictory responses.
const MAX_CONFIRMATION_WAIT: Duration = Duration::from_secs(60);

/// Time after a proven contradiction during which no aggregate in an unlisted shard counts as delivered.
const CONTRADICTION_PERIOD: Duration = Duration::from_secs(60);

/// Number of failed calls to describe the stream after which the call is not retried. From then on, only the shard list
/// shows whether aggregates were placed by their keys.
const MAX_FAILED_DESCRIPTIONS: u32 = 5;

/// Tracks whether the service distributes records by partition key, which aggregation and ordering require. This can
/// change at any time, so the stream is described again if no reshard can explain a shard in a response.
#[derive(Debug)]
pub(crate) struct Routing {
    is_relied_on: bool,
    is_describable: bool,
    is_switchable: bool,
    state: State,
    /// Backoff between failed descriptions.
    retries: Backoff,
    /// Backoff between confirmations. Limits how often a stream with permanently contradictory responses is described.
    confirmations: Backoff,
    unconfirmed_at: Option<Instant>,
    contradicted_at: Option<Instant>,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ByKey,
    /// A response contradicts the latest description.
    Unconfirmed,
    Auto,
}

impl Routing {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            is_relied_on: settings.relies_on_keys(),
            is_describable: false,
            is_switchable: true,
            state: State::ByKey,
            retries: Backoff::new(settings.backoff.base, settings.backoff.ceiling),
            confirmations: Backoff::new(settings.backoff.base, MAX_CONFIRMATION_WAIT),
            unconfirmed_at: None,
            contradicted_at: None,
            calls: 0,
        }
    }

    pub(crate) fn set_describable(&mut self, is_describable: bool) {
        self.is_describable = is_describable;
    }

    pub(crate) fn is_relied_on(&self) -> bool {
        self.is_relied_on
    }

    /// Returns `true` if a response contradicts the latest description. An aggregate then counts as delivered only if
    /// the shard list proves that it is in the right shard.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.state == State::Unconfirmed
    }

    /// Returns `true` if the service chooses the shards of records.
    pub(crate) fn is_by_service(&self) -> bool {
        self.state == State::Auto
    }

    /// Returns `true` if the stream can be switched to a distribution that ignores partition keys.
    pub(crate) fn is_switchable(&self) -> bool {
        self.is_switchable
    }

    /// Returns `true` if a contradictory response requires another description.
    pub(crate) fn may_be_switched(&self, now: Instant) -> bool {
        self.is_relied_on
            && self.is_describable
            && self.is_switchable
            && !self.was_just_confirmed(now)
    }

    /// Returns `true` during the backoff after a confirmation.
    fn was_just_confirmed(&self, now: Instant) -> bool {
        self.confirmations.is_waiting(now)
    }

    /// Records the time of a response that proves that a record was not placed by its key.
    pub(crate) fn record_contradiction(&mut self, now: Instant) {
        self.contradicted_at = Some(now);
    }

    /// Returns `true` if a contradiction was proven within [`CONTRADICTION_PERIOD`].
    pub(crate) fn was_contradicted(&self, now: Instant) -> bool {
        self.contradicted_at.is_some_and(|at| now < at + CONTRADICTION_PERIOD)
    }

    pub(crate) fn require_confirmation(&mut self, now: Instant) {
        if self.state != State::ByKey || !self.is_describable || self.was_just_confirmed(now) {
            return;
        }
        if self
            .unconfirmed_at
            .is_some_and(|unconfirmed_at| unconfirmed_at + 2 * MAX_CONFIRMATION_WAIT <= now)
        {
            self.confirmations.reset();
        }
        self.unconfirmed_at = Some(now);
        self.retries.reset();
        self.state = State::Unconfirmed;
    }

    pub(crate) fn is_description_due(&self, now: Instant) -> bool {
        self.is_unconfirmed() && !self.retries.is_waiting(now)
    }

    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.retries.until(now).filter(|_| self.is_unconfirmed())
    }

    pub(crate) fn apply_description(&mut self, description: &StreamDescription) {
        self.is_switchable = description.mode() != StreamMode::Provisioned;
        self.state = State::ByKey;
    }

    pub(crate) fn confirm(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::ByKey;
        self.calls += 1;
        self.confirmations.fail(self.calls, self.calls + 1, now, rng);
    }

    /// Records a failed call to describe the stream. Returns `false` if the call is not retried.
    pub(crate) fn record_failed_description(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.calls += 1;
        self.retries.fail(self.calls, self.calls + 1, now, rng);
        self.retries.failures() < MAX_FAILED_DESCRIPTIONS
    }

    pub(crate) fn set_by_service(&mut self) {
        self.state = State::Auto;
    }
}
