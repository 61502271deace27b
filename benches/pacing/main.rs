//! How this crate's pacing compares with what other producers do, on virtual time: the same seeds give the
//! same figures on every machine.
//!
//! `cargo bench --bench pacing` runs every scenario with every policy, prints a table, and writes
//! `target/pacing.json`. It fails if the sink misses one of its bounds. `-- --only overload`,
//! `-- --policy kinesis_sink` run less of it.

mod account;
mod figures;
mod json;
mod load;
mod measure;
mod policy;
mod run;
mod scenario;
mod scenarios;
mod table;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use clap::Parser;

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
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
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
    let rows = run_all(&arguments.jobs());
    table::print(&rows);
    let figures: Vec<_> = rows.iter().map(|row| &row.figures).collect();
    match json::write(&figures) {
        Ok(path) => println!("written to {}", path.display()),
        Err(error) => {
            eprintln!("the figures cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    let misses: usize = rows.iter().map(Row::misses).sum();
    if misses > 0 {
        eprintln!("{misses} bounds are missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs the jobs on all cores. Each has a runtime and a clock of its own, so that nothing depends on how
/// they share them.
fn run_all(jobs: &[(Scenario, Policy)]) -> Vec<Row> {
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

fn row(scenario: &Scenario, policy: Policy) -> Row {
    let (figures, reference, _) = measure::figures(scenario, policy);
    let is_bound = policy == Policy::KinesisSink;
    let bounds = if is_bound { (scenario.bounds)(&reference) } else { Vec::new() };
    Row { figures, bounds }
}
