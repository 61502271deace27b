//! Measures the capacity of a shard, which is the best goodput of any constant rate, by trying a range of rates.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use kinesis_sink::service::{Entry, PutRecordsRequest};
use kinesis_sink::sim::{Faults, SimStats, SimStream};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::limit::Limit;
use super::scenario::{SHARD_BYTES, latency};

/// Maximum fraction of rejected entries, in addition to the noise. A rate with more rejections does not count.
const MAX_REJECTED: f64 = 0.05;

/// Interval between requests, short enough to avoid bursts.
const TICK: Duration = Duration::from_millis(5);

/// Highest rate relative to the quota. It exceeds 1, because an initially full bucket accepts more than the quota.
const MAX_RATE: f64 = 1.1;
const STEP: f64 = 0.0125;
const STEPS: u32 = 56;

const SECONDS: u64 = 70;

#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub limit: Limit,
    /// Fraction of the entries that are rejected at random.
    pub noise: f64,
    /// Quota of the shard in records per second.
    pub quota: u32,
}

static SWEEPS: LazyLock<Mutex<HashMap<String, Arc<Mutex<Sweep>>>>> = LazyLock::new(Mutex::default);

/// Returns the capacity of one shard during `window`, in records per second.
pub fn of(conditions: Conditions, window: [u64; 2]) -> f64 {
    let mut sweeps = SWEEPS.lock().expect("no sweep panics");
    let sweep = Arc::clone(sweeps.entry(format!("{conditions:?}")).or_default());
    drop(sweeps);
    sweep.lock().expect("no sweep panics").best(conditions, window)
}

/// Returns a line of text for each capacity determined so far.
pub fn report() -> Vec<String> {
    let sweeps = SWEEPS.lock().expect("no sweep panics");
    let mut report = Vec::new();
    for sweep in sweeps.values() {
        report.extend(sweep.lock().expect("no sweep panics").report.iter().cloned());
    }
    report.sort();
    report
}

#[derive(Default)]
struct Sweep {
    /// Statistics per second, for each rate in descending order.
    runs: Vec<Vec<SimStats>>,
    report: BTreeSet<String>,
}

impl Sweep {
    fn best(&mut self, conditions: Conditions, [from, to]: [u64; 2]) -> f64 {
        let mut best = 0.0_f64;
        for step in 0..STEPS {
            let share = MAX_RATE - STEP * f64::from(step);
            let rate = share * f64::from(conditions.quota);
            // Lower rates cannot have a better goodput, because the goodput cannot exceed the rate.
            if best >= rate {
                break;
            }
            let index = step as usize;
            if index == self.runs.len() {
                self.runs.push(run(conditions, rate / (1.0 - conditions.noise)));
            }
            let [before, after] = [from, to].map(|second| &self.runs[index][second as usize]);
            let entries = (after.entries - before.entries) as f64;
            let rejected = (after.throttled_entries - before.throttled_entries) as f64 / entries;
            if rejected <= MAX_REJECTED + conditions.noise {
                let accepted = (after.accepted_entries - before.accepted_entries) as f64;
                best = best.max(accepted / (to - from) as f64);
            }
        }
        let Conditions { limit, noise, quota } = conditions;
        self.report.insert(format!(
            "capacity of a shard under {}, noise {noise}, quota {quota}, seconds {from} to {to}: {best:.0} records/s",
            limit.name
        ));
        best
    }
}

fn run(conditions: Conditions, rate: f64) -> Vec<SimStats> {
    let mut builder = Builder::new_current_thread();
    let runtime =
        builder.enable_time().start_paused(true).build().expect("failed to build a runtime");
    runtime.block_on(async {
        let builder = SimStream::builder()
            .with_shard_quota(conditions.quota, SHARD_BYTES)
            .with_faults(Faults::default().with_throttles(conditions.noise))
            .with_latency(latency())
            .with_seed(1)
            .without_written();
        let stream = conditions.limit.apply_to(builder).build().expect("the settings are valid");
        let mut service = stream.service();
        let mut in_flight = FuturesUnordered::new();
        let start = Instant::now();
        let mut samples = Vec::new();
        let mut sent = 0;
        let ticks_per_second = (1.0 / TICK.as_secs_f64()).round() as u64;
        for tick in 0..=SECONDS * ticks_per_second {
            let next = start + TICK * tick as u32;
            let timer = sleep_until(next);
            tokio::pin!(timer);
            loop {
                tokio::select! {
                    Some(_) = in_flight.next(), if !in_flight.is_empty() => {}
                    () = &mut timer => break,
                }
            }
            if tick % ticks_per_second == 0 {
                samples.push(stream.stats());
            }
            let total = (rate * (next - start).as_secs_f64()) as usize;
            let entry = || Entry::new("x".into(), Some("k".into()), None);
            let entries: Vec<_> = (sent..total).map(|_| entry()).collect();
            sent = total;
            if !entries.is_empty() {
                in_flight.push(service.call(PutRecordsRequest::new(stream.id(), entries)));
            }
        }
        samples
    })
}
