//! How this crate's pacing compares with what other producers do, on virtual time: the same seeds give the
//! same figures on every machine.
//!
//! `cargo bench --bench pacing` runs every scenario under its limiters with every policy, prints a table, and
//! writes `target/pacing.json`, and the scenarios' variants to `target/pacing_variants.json`. It fails if the
//! sink misses one of its bounds, as it does at present in 7 of its rows: where a limiter counts 1 s late, and where
//! it shuffles refusals and several producers share it. `docs/pacing.md` says what limits these.
//!
//! `-- --only overload`, `-- --limiter bucket_1s`, `-- --noise 0.01` and `-- --policy kinesis_sink` run less of it and
//! write no figures, `-- --draw` draws `docs/pacing.svg` and `docs/pacing_rate.svg` anew.
//!
//! Goodput is a share of the capacity: of the best goodput that any constant rate reaches under the same
//! limiter with at most 5 % of its entries rejected, beside the noise. The sink runs with all seeds, and the worst
//! of them counts; the other policies run with the first one, and those that do not look for a rate are measured
//! from second 3 to 9 only where nothing happens after the start.

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
    /// Run only the scenarios whose names begin like this.
    #[arg(long)]
    only: Vec<String>,
    /// Run only the scenarios under limiters whose names begin like this.
    #[arg(long)]
    limiter: Vec<String>,
    /// Run only the scenarios with this share of entries that are throttled at random.
    #[arg(long)]
    noise: Vec<f64>,
    /// Run only these policies.
    #[arg(long)]
    policy: Vec<Policy>,
    /// Draw docs/pacing.svg anew.
    #[arg(long)]
    draw: bool,
    /// Given by `cargo bench`, and not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Whether every scenario is run with every policy.
    fn is_complete(&self) -> bool {
        let filters = [self.only.len(), self.limiter.len(), self.noise.len(), self.policy.len()];
        filters == [0; 4]
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let begins = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|start| name.starts_with(start))
        };
        let noise = scenario.passing_noise.unwrap_or(scenario.noise);
        begins(&self.only, scenario.name)
            && begins(&self.limiter, scenario.limit.name)
            && (self.noise.is_empty() || self.noise.contains(&noise))
    }

    /// What is to be run. Variants are for the sink.
    fn jobs(&self) -> Vec<(Scenario, Policy)> {
        let policies = Policy::ALL.into_iter();
        let policies: Vec<_> = policies
            .filter(|policy| self.policy.is_empty() || self.policy.contains(policy))
            .collect();
        let mut jobs = Vec::new();
        for scenario in scenarios::all().into_iter().filter(|scenario| self.wants(scenario)) {
            let is_run = |policy: &&Policy| !scenario.is_variant || **policy == Policy::KinesisSink;
            let draws = self.draw && chart::is_drawn(&scenario);
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
        println!("nothing is run without --bench, which `cargo bench` gives");
        return ExitCode::SUCCESS;
    }
    let (begun, jobs) = (Instant::now(), arguments.jobs());
    if jobs.is_empty() {
        eprintln!("no scenario is called so; these are there:");
        for scenario in scenarios::all() {
            eprintln!("{} {} {}", scenario.name, scenario.limit.name, scenario.noise);
        }
        return ExitCode::FAILURE;
    }
    println!("records of {} B; round trips of {}", load::RECORD_BYTES, scenario::ROUND_TRIPS);
    println!(
        "kinesis_sink: the worst of the seeds 1 to 5, of outages 1 to 20; other policies: seed 1"
    );
    let (mut rows, drawn): (Vec<_>, Vec<_>) = run_all(&jobs).into_iter().unzip();
    table::compare(&mut rows);
    table::print(&rows);
    for capacity in capacity::found() {
        println!("{capacity}");
    }
    if let Err(error) = write(&rows, drawn, &arguments) {
        eprintln!("the figures cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    println!("{} runs in {:.0} s", rows.len(), begun.elapsed().as_secs_f64());
    let misses: usize = rows.iter().map(Row::misses).sum();
    if misses > 0 {
        eprintln!("{misses} bounds are missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write(rows: &[Row], drawn: Vec<Drawn>, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.is_complete() {
        let [main, variants] = json::write(rows)?;
        println!("written to {}, the variants to {}", main.display(), variants.display());
    } else {
        println!("pacing.json is not written: only some of it was run");
    }
    if arguments.draw {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let (series, rates): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let series: Vec<_> = series.into_iter().flatten().collect();
        chart::draw(&series, &docs.join("pacing.svg"))?;
        let rates: Vec<_> = rates.into_iter().flatten().collect();
        chart::draw_rates(&rates, &docs.join("pacing_rate.svg"))?;
        println!("drawn in {}", docs.display());
    }
    Ok(())
}

/// What a run contributes to the pictures.
type Drawn = (Option<Series>, Option<Rates>);

/// Runs the jobs on all cores. Each has a runtime and a clock of its own, so that nothing depends on how
/// they share them.
fn run_all(jobs: &[(Scenario, Policy)]) -> Vec<(Row, Drawn)> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some((scenario, policy)) = jobs.get(place) else { return };
            let begun = Instant::now();
            let row = row(scenario, *policy);
            let (name, limiter, noise) = (scenario.name, scenario.limit.name, scenario.noise);
            let seconds = begun.elapsed().as_secs_f64();
            let of = format!("{}/{}", place + 1, jobs.len());
            eprintln!("{of} {name} {limiter} {noise} {}: {seconds:.1} s", policy.name());
            rows.lock().expect("no job panics").push((place, row));
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let mut rows = rows.into_inner().expect("no job panics");
    rows.sort_by_key(|(place, _)| *place);
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
