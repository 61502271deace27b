use std::sync::Arc;
use std::time::Duration;

use futures::future;
use kinesis_sink::sim::{SimStats, SimStream};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until};

use super::account::{Account, Ranges};
use super::load::{Source, number_of};
use super::policy::{Gauge, Job, Policy};
use super::scenario::Scenario;

pub const SAMPLES_PER_SECOND: u64 = 10;

/// The outcome of one scenario with one policy, on virtual time.
pub struct Run {
    pub account: Account,
    /// Times at which the records were taken from the source, by record number.
    pub accepted: Vec<Option<Duration>>,
    pub lost: usize,
    /// Statistics of the stream at regular intervals.
    pub samples: Vec<SimStats>,
    pub max_buffered_bytes: usize,
}

impl Run {
    pub fn new(scenario: &Scenario, policy: Policy, seed: u64) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime =
            builder.enable_time().start_paused(true).build().expect("failed to build a runtime");
        runtime.block_on(run(scenario, policy, seed))
    }
}

async fn run(scenario: &Scenario, policy: Policy, seed: u64) -> Run {
    let stream = scenario.stream(seed);
    let start = Instant::now();
    let gauge = Arc::new(Gauge::default());
    let producers = (0..scenario.producers).map(|producer| {
        let seed = seed * 1_000 + producer;
        let load = scenario.load(producer, seed);
        let joins_last = producer + 1 == scenario.producers;
        let joins_at = scenario.joins_at.filter(|_| joins_last).map_or(0, |second| second);
        let (stream, gauge) = (stream.clone(), Arc::clone(&gauge));
        let Scenario { seconds, settings, .. } = *scenario;
        let fair_shares = scenario.fair_shares();
        tokio::spawn(async move {
            sleep_until(start + Duration::from_secs(joins_at)).await;
            let source = Source::new(load, Duration::from_secs(seconds - joins_at));
            policy.run(Job { source, stream, seed, settings, gauge, fair_shares }).await
        })
    });
    let producers = future::join_all(producers.collect::<Vec<_>>());
    let ((samples, ranges), outcomes) = future::join(conduct(scenario, &stream), producers).await;
    let account =
        Account::of(&stream.written(), &ranges, scenario.checks_order, |data, _| number_of(data));
    let mut accepted = vec![None; account.first.len()];
    let mut lost = 0;
    for outcome in outcomes {
        let outcome = outcome.expect("no policy panics");
        lost += account.lost(&outcome.accepted, &outcome.buffered).len();
        for (number, at) in outcome.accepted.into_iter().zip(outcome.accepted_at) {
            let number = usize::try_from(number).expect("record numbers are small");
            if number >= accepted.len() {
                accepted.resize(number + 1, None);
            }
            accepted[number] = Some(at - start);
        }
    }
    Run { account, accepted, lost, samples, max_buffered_bytes: gauge.max() }
}

async fn conduct(scenario: &Scenario, stream: &SimStream) -> (Vec<SimStats>, Ranges) {
    let start = Instant::now();
    let mut samples = Vec::new();
    let mut ranges = Ranges::default();
    ranges.record(stream);
    for sample in 0..=scenario.seconds * SAMPLES_PER_SECOND {
        sleep_until(start + Duration::from_secs(sample) / SAMPLES_PER_SECOND as u32).await;
        samples.push(stream.stats());
        for (second, event) in &scenario.events {
            if second * SAMPLES_PER_SECOND == sample {
                scenario.apply(*event, stream);
                ranges.record(stream);
            }
        }
    }
    (samples, ranges)
}
