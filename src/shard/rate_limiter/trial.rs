//! Test whether refusals depend on the rate, by sending at a lower rate for a short time.

use std::time::Instant;

use super::ShardAnswer;

/// Fraction of the rate during a trial.
const PART: f64 = 0.8;

/// Excess of the noise over 1.5 times the confirmed noise that starts a trial.
const UNTESTED: f64 = 0.02;

/// Standard deviations between each hypothesis and the threshold halfway between them.
const CERTAINTY: f64 = 4.0;

const MIN_ENTRIES: f64 = 200.0;

/// Longest duration of a phase in seconds.
const MAX_DURATION: f64 = 3.0;

/// Trial that decides whether the measured noise depends on the rate.
///
/// [`Noise`](super::noise::Noise) relies on the order of refusals, which some services shuffle. At a lower rate, only
/// the refusals that the rate causes become fewer.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    phase: Phase,
    /// Noise that does not depend on the rate.
    confirmed: f64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    Baseline {
        seen: Seen,
    },
    /// Sampling at the lower rate. `refused` is the share at the full rate.
    Lowered {
        refused: f64,
        seen: Seen,
    },
}

/// Sample of the answers to the requests from number `from` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    from: u64,
    since: Instant,
    entries: f64,
    refused: f64,
}

impl Seen {
    pub(super) fn new(from: u64, since: Instant) -> Self {
        Self { from, since, entries: 0.0, refused: 0.0 }
    }

    pub(super) fn add(&mut self, answer: &ShardAnswer) {
        if answer.request >= self.from {
            self.entries += f64::from(answer.entries);
            self.refused += f64::from(answer.refused);
        }
    }

    pub(super) fn is_enough(&self) -> bool {
        self.entries >= MIN_ENTRIES
    }

    pub(super) fn refused_share(&self) -> f64 {
        self.refused / self.entries.max(1.0)
    }
}

impl Trial {
    pub(super) fn part(&self) -> f64 {
        if matches!(self.phase, Phase::Lowered { .. }) { PART } else { 1.0 }
    }

    pub(super) fn confirmed(&self) -> f64 {
        self.confirmed
    }

    /// Applies the answer to a request. `noise` is the current estimate, `next` the number of the next request. Returns
    /// the refused share at the full rate if the trial has shown that the rate causes the refusals.
    pub(super) fn on_answer(
        &mut self,
        answer: &ShardAnswer,
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
                    self.phase = Phase::Baseline { seen: Seen::new(answer.request + 1, now) };
                }
            }
            Phase::Baseline { seen } => {
                seen.add(answer);
                let refused = seen.refused_share();
                if seen.entries >= MIN_ENTRIES.max(required_entries(refused, confirmed)) {
                    self.phase = if refused > confirmed + UNTESTED / 2.0 {
                        Phase::Lowered { refused, seen: Seen::new(next, now) }
                    } else {
                        Phase::Idle
                    };
                } else if is_over(seen.since, now) {
                    self.phase = Phase::Idle;
                }
            }
            Phase::Lowered { refused, seen } => {
                seen.add(answer);
                let (refused, seen) = (*refused, *seen);
                let required = required_entries(refused, confirmed);
                let halfway = (refused + refused_if_congested(refused, confirmed)) / 2.0;
                if seen.entries >= required || is_over(seen.since, now) {
                    self.phase = Phase::Idle;
                    if seen.entries >= required && seen.refused_share() < halfway {
                        return Some(refused);
                    }
                    self.confirmed = refused;
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

/// Returns the expected share of refusals at the lower rate if the rate causes them: as many entries are accepted.
fn refused_if_congested(refused: f64, confirmed: f64) -> f64 {
    (1.0 - (1.0 - refused) / PART).max(confirmed.min(refused))
}

/// Returns the number of entries that distinguishes the two hypotheses with [`CERTAINTY`].
fn required_entries(refused: f64, confirmed: f64) -> f64 {
    let distance = ((refused - refused_if_congested(refused, confirmed)) / 2.0).max(0.005);
    refused * (1.0 - refused) * (CERTAINTY / distance).powi(2)
}
