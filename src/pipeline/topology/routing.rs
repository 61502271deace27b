use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::settings::{BackoffSettings, Settings};
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
    is_describable: bool,
    is_switchable: bool,
    state: State,
    /// `None` if the sink does not rely on the distribution.
    confirmation: Option<Box<Confirmation>>,
}

/// Descriptions that were requested because of contradictory responses.
#[derive(Debug)]
struct Confirmation {
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
        let BackoffSettings { base, ceiling } = settings.backoff;
        let confirmation = || {
            Box::new(Confirmation {
                retries: Backoff::new(base, ceiling),
                confirmations: Backoff::new(base, MAX_CONFIRMATION_WAIT),
                unconfirmed_at: None,
                contradicted_at: None,
                calls: 0,
            })
        };
        Self {
            is_describable: false,
            is_switchable: true,
            state: State::ByKey,
            confirmation: settings.relies_on_keys().then(confirmation),
        }
    }

    pub(crate) fn set_describable(&mut self, is_describable: bool) {
        self.is_describable = is_describable;
    }

    pub(crate) fn is_relied_on(&self) -> bool {
        self.confirmation.is_some()
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
        self.is_relied_on()
            && self.is_describable
            && self.is_switchable
            && !self.was_just_confirmed(now)
    }

    /// Returns `true` during the backoff after a confirmation.
    fn was_just_confirmed(&self, now: Instant) -> bool {
        self.confirmation.as_ref().is_some_and(|state| state.confirmations.is_waiting(now))
    }

    /// Records the time of a response that proves that a record was not placed by its key.
    pub(crate) fn record_contradiction(&mut self, now: Instant) {
        if let Some(confirmation) = &mut self.confirmation {
            confirmation.contradicted_at = Some(now);
        }
    }

    /// Returns `true` if a contradiction was proven within [`CONTRADICTION_PERIOD`].
    pub(crate) fn was_contradicted(&self, now: Instant) -> bool {
        let contradicted_at = self.confirmation.as_ref().and_then(|state| state.contradicted_at);
        contradicted_at.is_some_and(|at| now < at + CONTRADICTION_PERIOD)
    }

    pub(crate) fn require_confirmation(&mut self, now: Instant) {
        if self.state != State::ByKey || !self.is_describable || self.was_just_confirmed(now) {
            return;
        }
        let Some(confirmation) = &mut self.confirmation else { return };
        let before = confirmation.unconfirmed_at.replace(now);
        if before.is_some_and(|before| before + 2 * MAX_CONFIRMATION_WAIT <= now) {
            confirmation.confirmations.reset();
        }
        confirmation.retries.reset();
        self.state = State::Unconfirmed;
    }

    pub(crate) fn is_description_due(&self, now: Instant) -> bool {
        self.is_unconfirmed() && self.wakeup(now).is_none()
    }

    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let confirmation = self.confirmation.as_ref().filter(|_| self.is_unconfirmed())?;
        confirmation.retries.until(now)
    }

    pub(crate) fn apply_description(&mut self, description: &StreamDescription) {
        self.is_switchable = description.mode() != StreamMode::Provisioned;
        self.state = State::ByKey;
    }

    pub(crate) fn confirm(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::ByKey;
        if let Some(Confirmation { confirmations, calls, .. }) = self.confirmation.as_deref_mut() {
            *calls += 1;
            confirmations.fail(*calls, *calls + 1, now, rng);
        }
    }

    /// Records a failed call to describe the stream. Returns `false` if the call is not retried.
    pub(crate) fn record_failed_description(&mut self, now: Instant, rng: &mut Rng) -> bool {
        let Some(Confirmation { retries, calls, .. }) = self.confirmation.as_deref_mut() else {
            return false;
        };
        *calls += 1;
        retries.fail(*calls, *calls + 1, now, rng);
        retries.failures() < MAX_FAILED_DESCRIPTIONS
    }

    pub(crate) fn set_by_service(&mut self) {
        self.state = State::Auto;
    }
}
