//! How this crate's pacing compares with what other producers do, on virtual time: the same seeds give the
//! same figures on every machine.
//!
//! `cargo bench --bench pacing` runs every scenario with every policy, prints a table, and writes
//! `target/pacing.json`, and the scenarios' variants to `target/pacing_variants.json`. It fails if the sink
//! misses one of its bounds. `-- --only overload`, `-- --policy kinesis_sink` run less of it and write no
//! figures, `-- --draw` draws `docs/pacing.svg` anew.

mod account;
mod chart;
mod figures;
mod json;
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

use clap::Parser;

use self::chart::Series;
use self::policy::Policy;
use self::scenario::Scenario;
use self::table::Row;

#[derive(Parser)]
struct Arguments {
    /// Run only the scenarios whose names begin like this.
    #[arg(long)]
    only: Vec<String>,
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
        self.only.is_empty() && self.policy.is_empty()
    }

    /// A name that no scenario begins with.
    fn unknown(&self) -> Option<&String> {
        let scenarios = scenarios::all();
        let is_known = |name: &&String| {
            scenarios.iter().any(|scenario| scenario.name.starts_with(name.as_str()))
        };
        self.only.iter().find(|name| !is_known(name))
    }

    fn jobs(&self) -> Vec<(Scenario, Policy)> {
        let is_wanted = |scenario: &Scenario| {
            self.only.is_empty() || self.only.iter().any(|name| scenario.name.starts_with(name))
        };
        let policies = Policy::ALL.into_iter();
        let policies: Vec<_> = policies
            .filter(|policy| self.policy.is_empty() || self.policy.contains(policy))
            .collect();
        let scenarios = scenarios::all().into_iter().filter(is_wanted);
        scenarios
            .flat_map(|scenario| policies.iter().map(move |policy| (scenario.clone(), *policy)))
            .collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing is run without --bench, which `cargo bench` gives");
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.unknown() {
        let names: Vec<_> = scenarios::all().iter().map(|scenario| scenario.name).collect();
        eprintln!("no scenario begins with {unknown:?}, there are only these: {names:?}");
        return ExitCode::FAILURE;
    }
    let jobs = arguments.jobs();
    println!("records of {} B; round trips of {}", load::RECORD_BYTES, scenario::ROUND_TRIPS);
    for (scenario, _) in jobs.iter().filter(|(_, policy)| *policy == jobs[0].1) {
        let seeds: Vec<_> = scenario.seeds.clone().map(|seed| seed.to_string()).collect();
        println!("{}: the worst of the seeds {}", scenario.name, seeds.join(" "));
    }
    let (rows, series): (Vec<_>, Vec<_>) = run_all(&jobs).into_iter().unzip();
    table::print(&rows);
    if let Err(error) = write(&rows, series, &arguments) {
        eprintln!("the figures cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    let misses: usize = rows.iter().map(Row::misses).sum();
    if misses > 0 {
        eprintln!("{misses} bounds are missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write(
    rows: &[Row],
    series: Vec<Option<Series>>,
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    if arguments.is_complete() {
        let figures: Vec<_> = rows.iter().map(|row| &row.figures).collect();
        let [main, variants] = json::write(&figures, Policy::ALL.len())?;
        println!("written to {}, the variants to {}", main.display(), variants.display());
    } else {
        println!("pacing.json is not written: only some of it was run");
    }
    if arguments.draw {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pacing.svg");
        let series: Vec<_> = series.into_iter().flatten().collect();
        chart::draw(&series, &path)?;
        println!("drawn in {}", path.display());
    }
    Ok(())
}

/// Runs the jobs on all cores. Each has a runtime and a clock of its own, so that nothing depends on how
/// they share them.
fn run_all(jobs: &[(Scenario, Policy)]) -> Vec<(Row, Option<Series>)> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some((scenario, policy)) = jobs.get(place) else { return };
            let row = row(scenario, *policy);
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

fn row(scenario: &Scenario, policy: Policy) -> (Row, Option<Series>) {
    let (figures, reference, run) = measure::figures(scenario, policy);
    let is_bound = policy == Policy::KinesisSink;
    let bounds = if is_bound { (scenario.bounds)(&reference) } else { Vec::new() };
    let entry_mib = scenario.keeps_payloads.then(|| measure::entry_mib(scenario, &run));
    let entries_per_request = measure::entries_per_request(scenario, &run);
    (Row { figures, bounds, entry_mib, entries_per_request }, Series::of(scenario, policy, &run))
}
