//! Compares the rate limiter of this crate with the policies of other producers on virtual time. The figures depend on
//! the seeds but not on the machine.
//!
//! `cargo bench --bench pacing` runs each scenario with each of its limiters and each policy. It prints a table and
//! writes `target/pacing.json`, and `target/pacing_variants.json` for the variants of the scenarios. The bench fails if
//! the sink misses a bound. At present it misses 7. `docs/pacing.md` gives the reasons.
//!
//! `-- --only overload`, `-- --limiter bucket_1s`, `-- --noise 0.01`, and `-- --policy kinesis_sink` select runs and
//! write no figures. `-- --draw` redraws `docs/pacing.svg` and `docs/pacing_rate.svg` from the selected runs.
//!
//! Goodput is relative to the capacity, which is the best goodput of any constant rate under the same limiter. A rate
//! counts only if at most 5 % of its entries are rejected, in addition to the noise. Each figure of
//! the sink is the worst of all seeds. The other policies are run with the first seed only. Policies with a
//! constant rate are measured in seconds 3 to 9 only, unless the scenario has events.

mod account;
mod capacity;
mod chart;
mod figures;
mod json;
mod limit;
mod load;
mod measure;
mod policy;
mod run;
mod scenario;
mod scenarios;
mod table;
mod watched;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use clap::Parser;

use self::chart::{Rates, Series};
use self::policy::Policy;
use self::scenario::Scenario;
use self::table::Row;

#[derive(Parser)]
struct Arguments {
    /// Run only the scenarios whose names start with this.
    #[arg(long)]
    only: Vec<String>,
    /// Run only the scenarios whose limiters start with this.
    #[arg(long)]
    limiter: Vec<String>,
    /// Run only the scenarios in which this share of the entries is throttled at random.
    #[arg(long)]
    noise: Vec<f64>,
    /// Run only these policies.
    #[arg(long)]
    policy: Vec<Policy>,
    /// Redraw docs/pacing.svg and docs/pacing_rate.svg.
    #[arg(long)]
    draw: bool,
    /// Set by `cargo bench`, but not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn is_complete(&self) -> bool {
        let filters = [self.only.len(), self.limiter.len(), self.noise.len(), self.policy.len()];
        filters == [0; 4]
    }

    fn selects(&self, scenario: &Scenario) -> bool {
        let matches = |prefixes: &[String], name: &str| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let noise = scenario.temporary_noise.unwrap_or(scenario.noise);
        matches(&self.only, scenario.name)
            && matches(&self.limiter, scenario.limit.name)
            && (self.noise.is_empty() || self.noise.contains(&noise))
    }

    /// Returns the selected runs. Variants of scenarios are run with the sink only.
    fn jobs(&self) -> Vec<(Scenario, Policy)> {
        let policies = Policy::ALL.into_iter();
        let policies: Vec<_> = policies
            .filter(|policy| self.policy.is_empty() || self.policy.contains(policy))
            .collect();
        let mut jobs = Vec::new();
        for scenario in scenarios::all().into_iter().filter(|scenario| self.selects(scenario)) {
            let is_run = |policy: &&Policy| !scenario.is_variant || **policy == Policy::KinesisSink;
            let draws = self.draw && chart::is_compared(&scenario);
            let job = |policy: &Policy| (scenario.clone().for_policy(*policy, draws), *policy);
            jobs.extend(policies.iter().filter(is_run).map(job));
            if scenario.has_reference_policy() && self.policy.is_empty() {
                jobs.push(job(&Policy::Omniscient));
            }
        }
        jobs
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing to do without --bench, which cargo bench sets");
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let jobs = arguments.jobs();
    if jobs.is_empty() {
        eprintln!("no scenario matches; known scenarios, limiters, and noises:");
        for scenario in scenarios::all() {
            eprintln!("{} {} {}", scenario.name, scenario.limit.name, scenario.noise);
        }
        return ExitCode::FAILURE;
    }
    println!("records of {} B; round trips of {}", load::RECORD_BYTES, scenario::ROUND_TRIPS);
    println!(
        "kinesis_sink: worst of the seeds 1 to 5, for outages of 1 to 20; other policies: seed 1"
    );
    let (mut rows, drawn): (Vec<_>, Vec<_>) = run_all(&jobs).into_iter().unzip();
    table::compare(&mut rows);
    table::print(&rows);
    for capacity in capacity::report() {
        println!("{capacity}");
    }
    if let Err(error) = write(&rows, drawn, &arguments) {
        eprintln!("failed to write the figures: {error}");
        return ExitCode::FAILURE;
    }
    println!("{} runs in {:.0} s", rows.len(), start.elapsed().as_secs_f64());
    let misses: usize = rows.iter().map(Row::misses).sum();
    if misses > 0 {
        eprintln!("missed {misses} bounds");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write(rows: &[Row], drawn: Vec<Drawn>, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.is_complete() {
        let [main, variants] = json::write(rows)?;
        println!("wrote {} and {}", main.display(), variants.display());
    } else {
        println!("pacing.json is not written: the run is incomplete");
    }
    if arguments.draw {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let (series, rates): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let series: Vec<_> = series.into_iter().flatten().collect();
        chart::draw(&series, &docs.join("pacing.svg"))?;
        let rates: Vec<_> = rates.into_iter().flatten().collect();
        chart::draw_rates(&rates, &docs.join("pacing_rate.svg"))?;
        println!("wrote the charts in {}", docs.display());
    }
    Ok(())
}

/// Contribution of a run to the charts.
type Drawn = (Option<Series>, Option<Rates>);

/// Runs the jobs on all cores. Each has its own virtual clock, so scheduling does not affect the figures.
fn run_all(jobs: &[(Scenario, Policy)]) -> Vec<(Row, Drawn)> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some((scenario, policy)) = jobs.get(index) else { return };
            let start = Instant::now();
            let row = row(scenario, *policy);
            let (name, limiter, noise) = (scenario.name, scenario.limit.name, scenario.noise);
            let seconds = start.elapsed().as_secs_f64();
            let progress = format!("{}/{}", index + 1, jobs.len());
            eprintln!("{progress} {name} {limiter} {noise} {}: {seconds:.1} s", policy.name());
            rows.lock().expect("no job panics").push((index, row));
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().expect("no job panics");
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn row(scenario: &Scenario, policy: Policy) -> (Row, Drawn) {
    let (figures, reference, run) = measure::figures(scenario, policy);
    let is_bound = policy == Policy::KinesisSink;
    let bounds = if is_bound { scenario.bounds(&reference) } else { Vec::new() };
    let entry_mib =
        (is_bound && scenario.keeps_payloads).then(|| measure::entry_mib(scenario, &run));
    let entries_per_request = measure::entries_per_request(scenario, &run);
    let is_variant = scenario.is_variant;
    let row = Row { figures, is_variant, bounds, entry_mib, entries_per_request };
    (row, (Series::of(scenario, policy, &run), Rates::of(scenario, policy, &run)))
}
