//! Tests whether refusals depend on the rate, by sending less for a moment.

use std::time::Instant;

use super::ShardAnswer;

/// The part of the rate that is sent during a trial.
const PART: f64 = 0.8;

/// A noise that exceeds the confirmed one by this much, and by half of it, is tested.
const UNTESTED: f64 = 0.02;

/// Standard deviations between each of the two hypotheses and the threshold halfway.
const CERTAINTY: f64 = 4.0;

/// Entries after which a share of them says something.
const LEAST_ENTRIES: f64 = 200.0;

/// Seconds after which a trial ends that has seen too few entries.
const LONGEST: f64 = 3.0;

/// The other witness beside the order of refusals, which some services shuffle: with a lower rate, refusals that the
/// rate causes become fewer, and noise does not.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    phase: Phase,
    /// The noise that is known not to depend on the rate.
    confirmed: f64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    /// Measures the refusals at the full rate.
    Baseline { seen: Seen },
    /// Measures them at the lower rate.
    Lowered { refused: f64, seen: Seen },
}

/// What was answered to requests from a certain one on.
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

    /// Whether the share that was refused says something.
    pub(super) fn is_enough(&self) -> bool {
        self.entries >= LEAST_ENTRIES
    }

    pub(super) fn refused_share(&self) -> f64 {
        self.refused / self.entries.max(1.0)
    }
}

impl Trial {
    /// The part of the rate to send.
    pub(super) fn part(&self) -> f64 {
        if matches!(self.phase, Phase::Lowered { .. }) { PART } else { 1.0 }
    }

    /// The noise that is known not to depend on the rate.
    pub(super) fn confirmed(&self) -> f64 {
        self.confirmed
    }

    /// Applies the answer to a request, given the noise as it is estimated and the number of the next request. Returns
    /// the share of entries that was refused at the full rate, if a trial has shown that the rate causes the refusals.
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
                if seen.entries >= LEAST_ENTRIES.max(needed(refused, confirmed)) {
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
                let least = needed(refused, confirmed);
                let halfway = (refused + if_rate(refused, confirmed)) / 2.0;
                if seen.entries >= least || is_over(seen.since, now) {
                    self.phase = Phase::Idle;
                    if seen.entries >= least && seen.refused_share() < halfway {
                        return Some(refused);
                    }
                    self.confirmed = refused;
                }
            }
        }
        None
    }

    /// Sets the noise that is known not to depend on the rate.
    pub(super) fn confirm(&mut self, noise: f64) {
        self.confirmed = noise;
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since).as_secs_f64() > LONGEST
}

/// The share that is refused at the lower rate if the rate causes the refusals: as much is accepted as before.
fn if_rate(refused: f64, confirmed: f64) -> f64 {
    (1.0 - (1.0 - refused) / PART).max(confirmed.min(refused))
}

/// The entries after which the two hypotheses can be told apart.
fn needed(refused: f64, confirmed: f64) -> f64 {
    let distance = ((refused - if_rate(refused, confirmed)) / 2.0).max(0.005);
    refused * (1.0 - refused) * (CERTAINTY / distance).powi(2)
}
