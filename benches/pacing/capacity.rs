//! What a shard can be made to take: the best goodput of any constant rate, found by trying them.

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

/// Of the entries sent, the share that a constant rate may have rejected, beside those that are rejected at
/// random.
const MOST_REJECTED: f64 = 0.05;

/// How often the constant rate sends: finely, so that its requests are no bursts.
const TICK: Duration = Duration::from_millis(5);

/// The rates that are tried, as shares of the quota that arrive at the limiter. A full bucket of a second
/// allows more than the quota for a while.
const HIGHEST: f64 = 1.1;
const STEP: f64 = 0.0125;
const STEPS: u32 = 56;

/// How long the rates are tried for.
const SECONDS: u64 = 70;

/// What the capacity depends on.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub limit: Limit,
    /// The share of the entries that is rejected at random.
    pub noise: f64,
    /// Records a second of the shard.
    pub quota: u32,
}

/// The sweep of these conditions, which are tried once for all scenarios.
static SWEEPS: LazyLock<Mutex<HashMap<String, Arc<Mutex<Sweep>>>>> = LazyLock::new(Mutex::default);

/// The capacity of one shard from one second to another, in records a second.
pub fn of(conditions: Conditions, window: [u64; 2]) -> f64 {
    let mut sweeps = SWEEPS.lock().expect("no sweep panics");
    let sweep = Arc::clone(sweeps.entry(format!("{conditions:?}")).or_default());
    drop(sweeps);
    sweep.lock().expect("no sweep panics").best(conditions, window)
}

/// The capacities that were found, as text.
pub fn found() -> Vec<String> {
    let sweeps = SWEEPS.lock().expect("no sweep panics");
    let mut found = Vec::new();
    for sweep in sweeps.values() {
        found.extend(sweep.lock().expect("no sweep panics").found.iter().cloned());
    }
    found.sort();
    found
}

/// The rates that were tried under one set of conditions.
#[derive(Default)]
struct Sweep {
    /// From the highest rate on, the counters second by second.
    attempts: Vec<Vec<SimStats>>,
    found: BTreeSet<String>,
}

impl Sweep {
    fn best(&mut self, conditions: Conditions, [from, to]: [u64; 2]) -> f64 {
        let mut best = 0.0_f64;
        for step in 0..STEPS {
            let share = HIGHEST - STEP * f64::from(step);
            let most = share * f64::from(conditions.quota);
            // Lower rates cannot do better.
            if best >= most {
                break;
            }
            let place = step as usize;
            if place == self.attempts.len() {
                self.attempts.push(attempt(conditions, most / (1.0 - conditions.noise)));
            }
            let [before, after] = [from, to].map(|second| &self.attempts[place][second as usize]);
            let entries = (after.entries - before.entries) as f64;
            let rejected = (after.throttled_entries - before.throttled_entries) as f64 / entries;
            if rejected <= MOST_REJECTED + conditions.noise {
                let accepted = (after.accepted_entries - before.accepted_entries) as f64;
                best = best.max(accepted / (to - from) as f64);
            }
        }
        let Conditions { limit, noise, quota } = conditions;
        self.found.insert(format!(
            "capacity of a shard under {}, noise {noise}, quota {quota}, seconds {from} to {to}: {best:.0} records/s",
            limit.name
        ));
        best
    }
}

/// Sends at a constant rate, and reads the counters each second.
fn attempt(conditions: Conditions, rate: f64) -> Vec<SimStats> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let builder = SimStream::builder()
            .with_shard_quota(conditions.quota, SHARD_BYTES)
            .with_faults(Faults::default().with_throttles(conditions.noise))
            .with_latency(latency())
            .with_seed(1)
            .without_written();
        let stream = conditions.limit.set(builder).build().expect("the settings are valid");
        let mut service = stream.service();
        let mut in_flight = FuturesUnordered::new();
        let start = Instant::now();
        let (mut samples, mut sent) = (Vec::new(), 0);
        let ticks_a_second = (1.0 / TICK.as_secs_f64()).round() as u64;
        for tick in 0..=SECONDS * ticks_a_second {
            let next = start + TICK * tick as u32;
            let timer = sleep_until(next);
            tokio::pin!(timer);
            loop {
                tokio::select! {
                    Some(_) = in_flight.next(), if !in_flight.is_empty() => {}
                    () = &mut timer => break,
                }
            }
            if tick % ticks_a_second == 0 {
                samples.push(stream.stats());
            }
            let due = (rate * (next - start).as_secs_f64()) as usize;
            let entry = || Entry::new("x".into(), Some("k".into()), None);
            let entries: Vec<_> = (sent..due).map(|_| entry()).collect();
            sent = due;
            if !entries.is_empty() {
                in_flight.push(service.call(PutRecordsRequest::new(stream.id(), entries)));
            }
        }
        samples
    })
}
