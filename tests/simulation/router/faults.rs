//! Faults of the streams, and their changes over time.

use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::sim::{Faults, SimRegion};
use tokio::time::{Instant, sleep_until};

use super::ledger::SharedLedger;
use super::scenario::{Scenario, StreamPlan};
use super::{ms, one_of};

/// Fault of a stream during the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Other producers use most of the quota.
    Throttled,
    Missing,
    CreatedLater,
    Denied,
    /// The permissions or credentials are missing for a while.
    Refused,
    Deleted,
    Recreated,
    /// Round trips that can exceed the request timeout.
    Slow,
    LostAnswers,
    /// Requests get no response for a while.
    Silent,
    Failing,
}

#[derive(Debug, Clone)]
pub enum Change {
    Faults(Faults),
    Load(f64),
    Delete(Duration),
    /// Replaces the stream by a new one.
    Create,
}

impl Fault {
    pub fn draw(rng: &mut Rng) -> Self {
        use Fault::{
            CreatedLater, Deleted, Denied, Failing, LostAnswers, Missing, Recreated, Refused,
            Silent, Slow, Throttled,
        };
        if rng.u8(..5) < 2 {
            return Self::None;
        }
        let faults = [
            Throttled,
            Missing,
            CreatedLater,
            Denied,
            Refused,
            Deleted,
            Recreated,
            Slow,
            LostAnswers,
            Silent,
            Failing,
        ];
        one_of(rng, &faults)
    }

    /// Returns `true` if records can be written twice.
    pub fn causes_duplicates(self) -> bool {
        matches!(self, Self::Slow | Self::LostAnswers | Self::Silent | Self::Failing)
    }

    pub fn exists_at_start(self) -> bool {
        !matches!(self, Self::Missing | Self::CreatedLater)
    }

    pub fn latency(self, rng: &mut Rng) -> Duration {
        match self {
            Self::Slow => ms(rng.u64(500..=3_000)),
            _ => ms(rng.u64(5..=50)),
        }
    }

    /// Returns the changes of the stream in the order of their times.
    pub fn changes(self, rng: &mut Rng, time: Duration) -> Vec<(Duration, Change)> {
        let start = time.mul_f64(0.3 * rng.f64());
        let end = start + time.mul_f64(0.1 + 0.5 * rng.f64());
        let during = |faults| {
            vec![(start, Change::Faults(faults)), (end, Change::Faults(Faults::default()))]
        };
        match self {
            Self::None | Self::Missing | Self::Slow => Vec::new(),
            Self::Throttled => vec![(start, Change::Load(0.9 + 0.099 * rng.f64()))],
            Self::CreatedLater => vec![(end, Change::Create)],
            Self::Denied => {
                vec![(start, Change::Faults(outage("AccessDeniedException", 400)))]
            }
            Self::Refused => {
                let codes = ["AccessDeniedException", "ExpiredTokenException"];
                during(outage(one_of(rng, &codes), 400))
            }
            Self::Deleted => vec![(start, Change::Delete(ms(rng.u64(..=2_000))))],
            Self::Recreated => vec![(start, Change::Delete(ms(0))), (end, Change::Create)],
            Self::LostAnswers => {
                let faults = Faults::default().with_lost_answers(0.3).with_lost_requests(0.1);
                vec![(start, Change::Faults(faults))]
            }
            Self::Silent => during(Faults::default().with_lost_requests(1.0)),
            Self::Failing => match rng.u8(..3) {
                0 => during(outage("ServiceUnavailable", 503)),
                1 => {
                    let faults = Faults::default().with_internal_failures(0.3);
                    vec![(start, Change::Faults(faults.with_throttles(0.2)))]
                }
                _ => {
                    let faults = Faults::default();
                    let faults = faults.with_request_errors(0.5, "InternalFailure", 500);
                    vec![(start, Change::Faults(faults))]
                }
            },
        }
    }
}

fn outage(code: &str, status: u16) -> Faults {
    Faults::default().with_outage(code, status)
}

/// Applies the changes at their times. At the end of the run, repairs all streams if the scenario requires it.
pub async fn conduct(scenario: &Scenario, region: &SimRegion, ledger: &SharedLedger) {
    let start = Instant::now();
    let mut changes: Vec<_> = Vec::new();
    for (index, stream) in scenario.streams.iter().enumerate() {
        changes.extend(stream.changes.iter().map(|(at, change)| (*at, index, change)));
    }
    changes.sort_by_key(|(at, index, _)| (*at, *index));
    for (at, index, change) in changes {
        sleep_until(start + at).await;
        let plan = &scenario.streams[index];
        match (change, region.get(&plan.name)) {
            (Change::Create, _) => create(index, plan, region, ledger),
            (Change::Faults(faults), Some(stream)) => stream.set_faults(faults.clone()),
            (Change::Load(load), Some(stream)) => stream.set_load(*load),
            (Change::Delete(after), Some(stream)) => stream.delete(*after),
            (_, None) => {}
        }
    }
    sleep_until(start + scenario.time).await;
    if scenario.heals {
        heal(scenario, region, ledger);
    }
}

/// Creates a stream, which replaces an earlier one.
pub fn create(index: usize, plan: &StreamPlan, region: &SimRegion, ledger: &SharedLedger) {
    let stream = plan.stream();
    ledger.lock().incarnations[index].push(stream.clone());
    region.add(stream);
}

fn heal(scenario: &Scenario, region: &SimRegion, ledger: &SharedLedger) {
    for (index, plan) in scenario.streams.iter().enumerate() {
        let is_gone = matches!(plan.fault, Fault::Deleted | Fault::Missing);
        match region.get(&plan.name).filter(|_| !is_gone) {
            Some(stream) => {
                stream.set_faults(Faults::default());
                stream.set_load(0.0);
            }
            None => create(index, plan, region, ledger),
        }
    }
}

impl Fault {
    /// Returns the name for the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "a stream without faults",
            Self::Throttled => "a throttled stream",
            Self::Missing => "a missing stream",
            Self::CreatedLater => "a stream that is created later",
            Self::Denied => "a denied stream",
            Self::Refused => "a stream that is refused for a while",
            Self::Deleted => "a deleted stream",
            Self::Recreated => "a recreated stream",
            Self::Slow => "a slow stream",
            Self::LostAnswers => "a stream with lost answers",
            Self::Silent => "a silent stream",
            Self::Failing => "a failing stream",
        }
    }
}
