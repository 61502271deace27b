//! From what came of a run to its figures.

use std::time::Duration;

use kinesis_sink::sim::SimStats;

use super::figures::Figures;
use super::load::{Keys, Load};
use super::policy::Policy;
use super::run::{Run, SAMPLES_PER_SECOND};
use super::scenario::{Event, Scenario, Window};

/// The goodput counts as whole when it is so much of what the shards take.
const WHOLE: f64 = 0.95;

/// Runs a scenario and what it is compared with, for all its seeds, and tells the worst figures; beside
/// them those of the reference, and the first run itself.
pub fn figures(scenario: &Scenario, policy: Policy) -> (Figures, Figures, Run) {
    let mut worst: Option<(Figures, Figures)> = None;
    let mut first = None;
    for seed in scenario.seeds.clone() {
        let run = Run::new(scenario, policy, seed);
        let reference = scenario.reference.as_deref();
        let reference = reference.map(|other| (other, Run::new(other, policy, seed)));
        let mut figures = figures_of(scenario, policy, &run);
        let mut compared = Figures::default();
        if let Some((other, other_run)) = &reference {
            compared = figures_of(other, policy, other_run);
            let p99 = |scenario, run| cold_p99(scenario, seed, run);
            figures.cold_p99_ratio =
                p99(scenario, &run).zip(p99(other, other_run)).map(|(one, other)| one / other);
        }
        worst = Some(match worst {
            Some((before, other)) => (before.worst(&figures), other.worst(&compared)),
            None => (figures, compared),
        });
        first.get_or_insert(run);
    }
    let (figures, compared) = worst.expect("there is at least one seed");
    (figures, compared, first.expect("there is at least one seed"))
}

fn figures_of(scenario: &Scenario, policy: Policy, run: &Run) -> Figures {
    let goodputs = scenario.windows.iter().map(|window| goodput(scenario, run, window));
    let (from, to) = scenario.window();
    let at = |wanted| {
        let happened = scenario.events.iter().find(|(_, event)| *event == wanted);
        happened.map(|(second, _)| *second)
    };
    let outage = at(Event::OutageBegins).zip(at(Event::OutageEnds));
    Figures {
        scenario: scenario.name,
        policy: policy.name(),
        goodput: goodputs.reduce(f64::min),
        rejected: rejected(run, from, to),
        fairness: (scenario.producers > 1).then(|| fairness(scenario, run, from, to)),
        cold_p99_ratio: None,
        requests_in_outage: outage.map(|(from, to)| {
            let [before, after] = [from, to].map(|second| sample(run, second).requests);
            (after - before) as f64
        }),
        recovery_s: outage.map(|(_, end)| recovery(scenario, run, end)),
        lost: Some(run.lost as f64),
        duplicated: Some(run.account.duplicated as f64),
        // A copy that comes late is read late, too.
        out_of_order: scenario
            .tells_order
            .then_some(run.account.out_of_order.max(run.account.late_copies) as f64),
        max_buffered_bytes: Some(run.max_buffered_bytes as f64),
    }
}

/// Records written for the first time in the window, as a share of what the shards take.
pub fn goodput(scenario: &Scenario, run: &Run, window: &Window) -> f64 {
    let [from, to] = [window.from, window.to].map(Duration::from_secs);
    let written = run.account.first.iter().flatten();
    let written = written.filter(|at| (from..to).contains(*at)).count();
    written as f64 / scenario.capacity(window) / (to - from).as_secs_f64()
}

fn sample(run: &Run, second: u64) -> &SimStats {
    &run.samples[usize::try_from(second * SAMPLES_PER_SECOND).expect("it is small")]
}

/// The share of the entries that were throttled, if any arrived.
pub fn rejected(run: &Run, from: u64, to: u64) -> Option<f64> {
    let [before, after] = [from, to].map(|second| sample(run, second));
    let entries = after.entries - before.entries;
    let throttled = after.throttled_entries - before.throttled_entries;
    (entries > 0).then(|| throttled as f64 / entries as f64)
}

/// 1 if all producers got the same, 1/n if one of n got everything.
///
/// Source: Jain, Chiu and Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource
/// Allocation in Shared Computer Systems", 1984.
fn fairness(scenario: &Scenario, run: &Run, from: u64, to: u64) -> f64 {
    let window = Duration::from_secs(from)..Duration::from_secs(to);
    let producers = usize::try_from(scenario.producers).expect("it is small");
    let mut shares = vec![0.0_f64; producers];
    for (number, at) in run.account.first.iter().enumerate() {
        if at.is_some_and(|at| window.contains(&at)) {
            shares[number % producers] += 1.0;
        }
    }
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (squares * producers as f64)
}

/// Seconds after the outage until the goodput is whole: in the second that begins then, and in the five
/// seconds, so that the shards' full buckets do not pass for it. The run's rest if it never is.
fn recovery(scenario: &Scenario, run: &Run, end: u64) -> f64 {
    let place = |seconds: f64| (seconds * SAMPLES_PER_SECOND as f64) as usize;
    let mut written = vec![0.0_f64; place((scenario.seconds - end) as f64)];
    for at in run.account.first.iter().flatten() {
        let since = at.saturating_sub(Duration::from_secs(end));
        if let Some(count) =
            written.get_mut(place(since.as_secs_f64())).filter(|_| !since.is_zero())
        {
            *count += 1.0;
        }
    }
    let a_tenth = scenario.shard_records * scenario.shards as f64 / SAMPLES_PER_SECOND as f64;
    let is_whole =
        |tenths: &[f64]| tenths.iter().sum::<f64>() >= WHOLE * a_tenth * tenths.len() as f64;
    let mut from_then = written.windows(place(5.0));
    let recovered = from_then.position(|five| is_whole(five) && is_whole(&five[..place(1.0)]));
    recovered.unwrap_or(written.len()) as f64 / SAMPLES_PER_SECOND as f64
}

/// Bytes that were written a second, as they count for the quota, in MiB.
pub fn entry_mib(scenario: &Scenario, run: &Run) -> f64 {
    let (from, to) = scenario.window();
    let [before, after] = [from, to].map(|second| sample(run, second).accepted_bytes);
    (after - before) as f64 / (to - from) as f64 / (1024.0 * 1024.0)
}

/// Entries of the requests that arrived, each of them throttled or not; requests that failed as a whole do not
/// count.
pub fn entries_per_request(scenario: &Scenario, run: &Run) -> Option<f64> {
    let (from, to) = scenario.window();
    let [before, after] = [from, to].map(|second| sample(run, second));
    let failed = after.failed_requests - before.failed_requests;
    let requests = (after.requests - before.requests).saturating_sub(failed);
    (requests > 0).then(|| (after.entries - before.entries) as f64 / requests as f64)
}

/// The 99th percentile of the time from offer to write, of the records that are not for the hot shard.
/// What was not written counts as written at the end.
fn cold_p99(scenario: &Scenario, seed: u64, run: &Run) -> Option<f64> {
    let Keys::HotAndCold { .. } = scenario.keys else { return None };
    let load: Load = scenario.load(0, seed * 1_000);
    let end = Duration::from_secs(scenario.seconds);
    let from = Duration::from_secs(scenario.window().0);
    let offered = (0..).map(|number| (number, load.offered_at(number)));
    let offered = offered.skip_while(|(_, at)| *at < from).take_while(|(_, at)| *at < end);
    let cold = offered.filter(|(number, _)| !load.is_hot(*number));
    let latency = |(number, at)| {
        let written = run.account.first(number).unwrap_or(end);
        written.max(at).saturating_sub(at).as_secs_f64()
    };
    let mut latencies: Vec<_> = cold.map(latency).collect();
    latencies.sort_by(f64::total_cmp);
    Some(latencies[latencies.len() * 99 / 100])
}
