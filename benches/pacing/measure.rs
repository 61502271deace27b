use std::time::Duration;

use kinesis_sink::sim::SimStats;

use super::figures::Figures;
use super::policy::Policy;
use super::run::{Run, SAMPLES_PER_SECOND};
use super::scenario::{Event, Scenario, Window};

/// Fraction of the capacity at which the goodput counts as recovered.
const RECOVERED: f64 = 0.95;

/// Number of seconds after a drop of the quota during which rejections are counted separately.
const AFTER_DROP: u64 = 10;

/// Runs a scenario and its reference with all seeds. Returns the worst figures of each, and the first run.
pub fn figures(scenario: &Scenario, policy: Policy) -> (Figures, Figures, Run) {
    let mut worst: Option<(Figures, Figures)> = None;
    let mut first = None;
    for seed in scenario.seeds.clone() {
        let run = Run::new(scenario, policy, seed);
        let reference = scenario.reference.as_deref();
        let reference = reference.map(|other| (other, Run::new(other, policy, seed)));
        let mut figures = figures_of(scenario, policy, seed, &run);
        let mut compared = Figures::default();
        if let Some((other, other_run)) = &reference {
            compared = figures_of(other, policy, seed, other_run);
            if scenario.counts_cold {
                let cold_p99 = |scenario, run| cold_p99(scenario, seed, run);
                figures.cold_p99_ratio =
                    Some(cold_p99(scenario, &run) / cold_p99(other, other_run));
            }
        }
        worst = Some(match worst {
            Some((previous, other)) => (previous.worst(&figures), other.worst(&compared)),
            None => (figures, compared),
        });
        first.get_or_insert(run);
    }
    let (figures, compared) = worst.expect("a scenario has at least one seed");
    (figures, compared, first.expect("a scenario has at least one seed"))
}

fn figures_of(scenario: &Scenario, policy: Policy, seed: u64, run: &Run) -> Figures {
    let goodputs = scenario
        .windows
        .iter()
        .map(|window| written(scenario, seed, run, window) / scenario.capacity(window));
    let (from, to) = scenario.window();
    let time_of = |wanted| {
        let found = scenario.events.iter().find(|(_, event)| *event == wanted);
        found.map(|(second, _)| *second)
    };
    let outage = time_of(Event::OutageBegins).zip(time_of(Event::FaultEnds));
    let (rejected, rejected_after_drop) = all_rejected(scenario, run);
    Figures {
        scenario: scenario.name,
        limiter: scenario.limit.name,
        noise: scenario.temporary_noise.unwrap_or(scenario.noise),
        policy: policy.name(),
        offered: scenario.offered_share(),
        goodput: goodputs.reduce(f64::min),
        rejected,
        fairness: (scenario.producers > 1 && scenario.joins_at.is_none())
            .then(|| fairness(scenario, run, from, to)),
        recovery_s: recovery(scenario, run),
        cold_p99_ratio: None,
        p99_s: scenario.measures_latency.then(|| p99(scenario, seed, run)),
        requests_in_outage: outage.map(|(from, to)| {
            let [before, after] = [from, to].map(|second| sample(run, second).requests);
            (after - before) as f64
        }),
        lost: Some(run.lost as f64),
        duplicated: Some(run.account.duplicated as f64),
        out_of_order: scenario
            .checks_order
            .then_some(run.account.out_of_order.max(run.account.late_copies) as f64),
        max_buffered_bytes: Some(run.max_buffered_bytes as f64),
        dominated: None,
        joiner_share: scenario.joins_at.map(|_| joiner_share(scenario, run, from, to)),
        rejected_after_drop,
    }
}

/// Returns the number of records per second that are written for the first time during `window`.
pub fn written(scenario: &Scenario, seed: u64, run: &Run, window: &Window) -> f64 {
    let [from, to] = [window.from, window.to].map(Duration::from_secs);
    let load = scenario.load(0, seed * 1_000);
    let written = (0..).zip(&run.account.first).filter(|(number, at)| {
        at.is_some_and(|at| (from..to).contains(&at))
            && !(scenario.counts_cold && load.is_hot(*number))
    });
    written.count() as f64 / (to - from).as_secs_f64()
}

fn sample(run: &Run, second: u64) -> &SimStats {
    &run.samples[usize::try_from(second * SAMPLES_PER_SECOND).expect("the number is small")]
}

/// Returns the number of entries received between two seconds, and how many of them were throttled.
fn entries(run: &Run, from: u64, to: u64) -> [u64; 2] {
    let [before, after] = [from, to].map(|second| sample(run, second));
    [after.entries - before.entries, after.throttled_entries - before.throttled_entries]
}

fn share([entries, throttled]: [u64; 2]) -> Option<f64> {
    (entries > 0).then(|| throttled as f64 / entries as f64)
}

pub fn sent(run: &Run, from: u64, to: u64) -> f64 {
    entries(run, from, to)[0] as f64
}

pub fn rejected(run: &Run, from: u64, to: u64) -> Option<f64> {
    share(entries(run, from, to))
}

/// Returns the fraction of throttled entries. If the scenario changes the quota, the last change is a drop. The second
/// value is then the fraction in the seconds after the drop, and the first value excludes these seconds.
fn all_rejected(scenario: &Scenario, run: &Run) -> (Option<f64>, Option<f64>) {
    let (from, to) = scenario.window();
    let change =
        |(second, event): &(u64, Event)| matches!(event, Event::Quota(_)).then_some(*second);
    let Some(drop) = scenario.events.iter().filter_map(change).max() else {
        return (rejected(run, from, to), None);
    };
    let [before, after] = [entries(run, 2, drop), entries(run, drop + AFTER_DROP, to)];
    let rest = [before[0] + after[0], before[1] + after[1]];
    (share(rest), rejected(run, drop, drop + AFTER_DROP))
}

fn shares(scenario: &Scenario, run: &Run, from: u64, to: u64) -> Vec<f64> {
    let window = Duration::from_secs(from)..Duration::from_secs(to);
    let producers = usize::try_from(scenario.producers).expect("the number is small");
    let mut shares = vec![0.0_f64; producers];
    for (number, at) in run.account.first.iter().enumerate() {
        if at.is_some_and(|at| window.contains(&at)) {
            shares[number % producers] += 1.0;
        }
    }
    shares
}

/// Returns Jain's index, which is 1 if all producers have equal shares, and 1/n if one of n producers has everything.
///
/// See Jain, Chiu and Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared
/// Computer Systems", 1984.
fn fairness(scenario: &Scenario, run: &Run, from: u64, to: u64) -> f64 {
    let shares = shares(scenario, run, from, to);
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (squares * shares.len() as f64)
}

/// Returns the share of the last producer, relative to an equal share.
fn joiner_share(scenario: &Scenario, run: &Run, from: u64, to: u64) -> f64 {
    let shares = shares(scenario, run, from, to);
    let sum: f64 = shares.iter().sum();
    shares.last().expect("there are several producers") / sum * shares.len() as f64
}

/// Returns the longest time of recovery from an event. It ends with the run if the goodput does not recover.
fn recovery(scenario: &Scenario, run: &Run) -> Option<f64> {
    let is_outage = scenario.events.iter().any(|(_, event)| *event == Event::OutageBegins);
    let recoveries = scenario.events.iter().filter_map(|(second, event)| match event {
        Event::FaultEnds => {
            let window = scenario.windows.last().expect("a scenario has windows");
            // Full token buckets can raise the goodput of the first second after an outage, so average for longer.
            let seconds = if is_outage { 5.0 } else { 1.0 };
            Some(recovery_time(scenario, run, *second, window, seconds))
        }
        Event::Quota(_) => {
            let window = scenario.windows.iter().find(|window| window.from >= *second);
            let window = window.expect("every quota has a window");
            Some(recovery_time(scenario, run, *second, window, 1.0))
        }
        _ => None,
    });
    recoveries.reduce(f64::max)
}

/// Returns the seconds from `end` until the average goodputs over one second and over `seconds` have both recovered.
fn recovery_time(scenario: &Scenario, run: &Run, end: u64, window: &Window, seconds: f64) -> f64 {
    let samples = |seconds: f64| (seconds * SAMPLES_PER_SECOND as f64) as usize;
    let mut written = vec![0.0_f64; samples((scenario.seconds - end) as f64)];
    for at in run.account.first.iter().flatten() {
        let since = at.saturating_sub(Duration::from_secs(end));
        if let Some(count) =
            written.get_mut(samples(since.as_secs_f64())).filter(|_| !since.is_zero())
        {
            *count += 1.0;
        }
    }
    let capacity = scenario.capacity(window) / SAMPLES_PER_SECOND as f64;
    let is_recovered =
        |part: &[f64]| part.iter().sum::<f64>() >= RECOVERED * capacity * part.len() as f64;
    let mut parts = written.windows(samples(seconds));
    let recovered =
        parts.position(|part| is_recovered(part) && is_recovered(&part[..samples(1.0)]));
    recovered.unwrap_or(written.len()) as f64 / SAMPLES_PER_SECOND as f64
}

/// Returns the MiB per second accepted by the stream. Only accepted entries count against the quota.
pub fn entry_mib(scenario: &Scenario, run: &Run) -> f64 {
    let (from, to) = scenario.window();
    let [before, after] = [from, to].map(|second| sample(run, second).accepted_bytes);
    (after - before) as f64 / (to - from) as f64 / (1024.0 * 1024.0)
}

/// Returns the mean number of entries per request. Requests that failed as a whole are excluded.
pub fn entries_per_request(scenario: &Scenario, run: &Run) -> Option<f64> {
    let (from, to) = scenario.window();
    let [before, after] = [from, to].map(|second| sample(run, second));
    let failed = after.failed_requests - before.failed_requests;
    let requests = (after.requests - before.requests).saturating_sub(failed);
    (requests > 0).then(|| (after.entries - before.entries) as f64 / requests as f64)
}

/// Returns the 99th percentile of the time from offer to first write. For unwritten records, it ends with the run.
fn p99(scenario: &Scenario, seed: u64, run: &Run) -> f64 {
    let load = scenario.load(0, seed * 1_000);
    let [from, end] = [scenario.window().0, scenario.seconds].map(Duration::from_secs);
    let offered = (0..).map(|number| (number, load.offered_at(number)));
    let offered = offered.skip_while(|(_, at)| *at < from).take_while(|(_, at)| *at < end);
    percentile_99(offered.map(|(number, at)| {
        let written = run.account.first(number).unwrap_or(end);
        written.saturating_sub(at).as_secs_f64()
    }))
}

/// Returns the 99th-percentile latency from accepting a record to writing it first, over the records that are not
/// in the hot shard.
fn cold_p99(scenario: &Scenario, seed: u64, run: &Run) -> f64 {
    let load = scenario.load(0, seed * 1_000);
    let [from, end] = [scenario.window().0, scenario.seconds].map(Duration::from_secs);
    let accepted = (0..).zip(&run.accepted).filter_map(|(number, at)| Some((number, (*at)?)));
    let cold = accepted.filter(|(number, at)| (from..end).contains(at) && !load.is_hot(*number));
    percentile_99(cold.map(|(number, at)| {
        let written = run.account.first(number).unwrap_or(end);
        written.saturating_sub(at).as_secs_f64()
    }))
}

fn percentile_99(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<_> = times.collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(f64::INFINITY)
}
