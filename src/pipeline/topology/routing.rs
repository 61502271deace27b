//! The state of the stream's routing: by partition keys, doubted, or by the service.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::settings::Settings;
use crate::stream::{StreamDescription, StreamMode};

/// The longest wait before a stream is described again because responses contradict its description.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The time for which a proven contradiction casts doubt on all that is written to unlisted shards.
const CONTRADICTION_PERIOD: Duration = Duration::from_secs(60);

/// The number of failed descriptions after which the list of shards alone decides.
const MAX_CALLS: u32 = 5;

/// Tracks whether partition keys decide about the shard of a record, which aggregation and ordering rely on.
///
/// A stream can be switched to a distribution by the service at any time. Responses then name shards that no
/// reshard explains, and the stream is described again.
#[derive(Debug)]
pub(crate) struct Routing {
    /// Whether aggregation or ordering relies on partition keys.
    is_relied_on: bool,
    /// Whether the stream can be described.
    is_describable: bool,
    /// Whether the stream can be switched, as far as the latest description says.
    is_switchable: bool,
    state: State,
    /// The backoff between failed descriptions.
    retries: Backoff,
    /// The backoff between dispelled doubts, so that a service that always contradicts itself is not asked after
    /// every request.
    doubts: Backoff,
    doubted_at: Option<Instant>,
    contradicted_at: Option<Instant>,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ByKey,
    /// Responses contradict the description, and the stream has not been described since.
    Doubted,
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
            doubts: Backoff::new(settings.backoff.base, MAX_WAIT),
            doubted_at: None,
            contradicted_at: None,
            calls: 0,
        }
    }

    /// Sets whether the stream can be described.
    pub(crate) fn set_describable(&mut self, is_describable: bool) {
        self.is_describable = is_describable;
    }

    /// Whether aggregation or ordering relies on partition keys.
    pub(crate) fn is_relied_on(&self) -> bool {
        self.is_relied_on
    }

    /// Whether responses contradict the description. Until the stream is described again, an aggregate counts as
    /// delivered only if the list of shards proves it.
    pub(crate) fn is_doubted(&self) -> bool {
        self.state == State::Doubted
    }

    /// Whether the service distributes the records itself.
    pub(crate) fn is_by_service(&self) -> bool {
        self.state == State::Auto
    }

    /// Whether the stream can be switched to a distribution by the service, as far as is known.
    pub(crate) fn is_switchable(&self) -> bool {
        self.is_switchable
    }

    /// Whether the stream should be described again if a response contradicts the partition keys now.
    pub(crate) fn may_be_switched(&self, now: Instant) -> bool {
        self.is_relied_on
            && self.is_describable
            && self.is_switchable
            && !self.was_just_described(now)
    }

    /// Whether a description has answered a doubt a short time ago.
    fn was_just_described(&self, now: Instant) -> bool {
        self.doubts.is_waiting(now)
    }

    /// Records that the list of shards proves that a record was not placed by its key.
    pub(crate) fn record_contradiction(&mut self, now: Instant) {
        self.contradicted_at = Some(now);
    }

    /// Whether a contradiction was proven within [`CONTRADICTION_PERIOD`].
    pub(crate) fn was_contradicted(&self, now: Instant) -> bool {
        self.contradicted_at.is_some_and(|at| now < at + CONTRADICTION_PERIOD)
    }

    /// Records that a response contradicts the partition keys.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.state != State::ByKey || !self.is_describable || self.was_just_described(now) {
            return;
        }
        if self.doubted_at.is_some_and(|doubted_at| doubted_at + 2 * MAX_WAIT <= now) {
            self.doubts.reset();
        }
        self.doubted_at = Some(now);
        self.retries.reset();
        self.state = State::Doubted;
    }

    /// Whether the stream is to be described again now.
    pub(crate) fn is_description_due(&self, now: Instant) -> bool {
        self.is_doubted() && !self.retries.is_waiting(now)
    }

    /// When the next call for a description may be made, if it has to wait.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.retries.until(now).filter(|_| self.is_doubted())
    }

    /// Takes a description of a stream that places records by their keys.
    pub(crate) fn described(&mut self, description: &StreamDescription) {
        self.is_switchable = description.mode() != StreamMode::Provisioned;
        self.state = State::ByKey;
    }

    /// Ends the doubt: partition keys are trusted again, and no description is asked for during a backoff.
    pub(crate) fn dispel(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::ByKey;
        self.calls += 1;
        self.doubts.fail(self.calls, self.calls + 1, now, rng);
    }

    /// Records a failed description. Returns false if it has failed too often to try again.
    pub(crate) fn record_failed_description(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.calls += 1;
        self.retries.fail(self.calls, self.calls + 1, now, rng);
        self.retries.failures() < MAX_CALLS
    }

    /// Records that the service distributes the records itself.
    pub(crate) fn distributed(&mut self) {
        self.state = State::Auto;
    }
}
