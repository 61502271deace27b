use std::time::Instant;

use super::ShardOutcome;

/// Send rate in the second phase of a trial, as a fraction of the normal rate.
const PART: f64 = 0.8;

/// Amount by which the noise must exceed 1.5 times the confirmed noise to start a trial.
const UNTESTED: f64 = 0.02;

/// Distance of each hypothesis from the threshold halfway between them, in standard deviations of the sample.
const CERTAINTY: f64 = 4.0;

const MIN_ENTRIES: f64 = 200.0;

/// Maximum duration of a phase, in seconds.
const MAX_DURATION: f64 = 3.0;

/// Trial that determines whether the noise depends on the send rate: if fewer entries are throttled at a lower rate,
/// the rate is the cause. Unlike [`Noise`](super::noise::Noise), a trial works even if a service shuffles its results.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    phase: Phase,
    /// Noise that does not depend on the rate, according to the last trial.
    confirmed: f64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    Baseline {
        seen: Seen,
    },
    /// Samples at the lower rate. `throttled` is the fraction of entries that were throttled at the full rate.
    Lowered {
        throttled: f64,
        seen: Seen,
    },
}

/// Sample of the responses to requests, starting with request number `from`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    from: u64,
    since: Instant,
    entries: f64,
    throttled: f64,
}

impl Seen {
    pub(super) fn new(from: u64, since: Instant) -> Self {
        Self { from, since, entries: 0.0, throttled: 0.0 }
    }

    pub(super) fn add(&mut self, outcome: &ShardOutcome) {
        if outcome.request >= self.from {
            self.entries += f64::from(outcome.entries);
            self.throttled += f64::from(outcome.throttled);
        }
    }

    pub(super) fn is_enough(&self) -> bool {
        self.entries >= MIN_ENTRIES
    }

    pub(super) fn throttled_share(&self) -> f64 {
        self.throttled / self.entries.max(1.0)
    }
}

impl Trial {
    pub(super) fn part(&self) -> f64 {
        if matches!(self.phase, Phase::Lowered { .. }) { PART } else { 1.0 }
    }

    /// Returns `true` if no trial is running and none has confirmed noise.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.confirmed < UNTESTED
    }

    pub(super) fn confirmed(&self) -> f64 {
        self.confirmed
    }

    /// Updates the trial from the response to a request. `next` is the next request number. If the send rate causes the
    /// throttling, returns the fraction of entries that were throttled at the full rate.
    pub(super) fn on_outcome(
        &mut self,
        outcome: &ShardOutcome,
        noise: f64,
        next: u64,
        now: Instant,
    ) -> Option<f64> {
        let confirmed = self.confirmed;
        match &mut self.phase {
            Phase::Idle => {
                if noise < self.confirmed / 2.0 {
                    self.confirmed = noise;
                }
                if noise > 1.5 * self.confirmed + UNTESTED {
                    self.phase = Phase::Baseline { seen: Seen::new(outcome.request + 1, now) };
                }
            }
            Phase::Baseline { seen } => {
                seen.add(outcome);
                let throttled = seen.throttled_share();
                if seen.entries >= MIN_ENTRIES.max(required_entries(throttled, confirmed)) {
                    self.phase = if throttled > confirmed + UNTESTED / 2.0 {
                        Phase::Lowered { throttled, seen: Seen::new(next, now) }
                    } else {
                        Phase::Idle
                    };
                } else if is_over(seen.since, now) {
                    self.phase = Phase::Idle;
                }
            }
            Phase::Lowered { throttled, seen } => {
                seen.add(outcome);
                let (throttled, seen) = (*throttled, *seen);
                let required = required_entries(throttled, confirmed);
                let halfway = (throttled + throttled_if_congested(throttled, confirmed)) / 2.0;
                if seen.entries >= required || is_over(seen.since, now) {
                    self.phase = Phase::Idle;
                    if seen.entries >= required && seen.throttled_share() < halfway {
                        return Some(throttled);
                    }
                    self.confirmed = throttled;
                }
            }
        }
        None
    }

    pub(super) fn confirm(&mut self, noise: f64) {
        self.confirmed = noise;
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since).as_secs_f64() > MAX_DURATION
}

/// Returns the expected fraction of throttled entries at the lower rate if the rate causes the throttling. In that
/// case, the shard accepts as many entries as at the full rate.
fn throttled_if_congested(throttled: f64, confirmed: f64) -> f64 {
    (1.0 - (1.0 - throttled) / PART).max(confirmed.min(throttled))
}

/// Returns the number of entries that are needed to distinguish the two hypotheses with [`CERTAINTY`].
fn required_entries(throttled: f64, confirmed: f64) -> f64 {
    let distance = ((throttled - throttled_if_congested(throttled, confirmed)) / 2.0).max(0.005);
    throttled * (1.0 - throttled) * (CERTAINTY / distance).powi(2)
}
