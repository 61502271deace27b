//! Measures how the cost per record grows with the number of shards, partition keys, and queued records, and how the
//! cost of requeueing grows. The costs should be constant or logarithmic.
//!
//! `cargo bench --bench scaling` prints tables and writes `target/scaling.json`. A figure is the median of several
//! runs. It is CPU time of one thread, which includes the runtime, cloning the records, and the response. The absolute
//! figures depend on the machine. The growth, which is the cost at the largest size divided by the cost at the smallest
//! size, hardly depends on it. Small requests increase the cost, so the tables show the entries per request in
//! parentheses.
//!
//! `-- --quick` takes less than a minute. `-- --only shards` and `-- --mode ordered` select rows by name, and
//! `-- --size 4096` selects a single size, for example for a profile. With these options, no file is written.

mod cost;
mod even_shards;
mod figures;
mod keys;
mod meter;
mod mode;
mod pool;
mod queued;
mod requeueing;
mod row;
mod service;
mod shards;

use std::process::ExitCode;

use clap::Parser;

use self::cost::Cost;
use self::figures::{Figure, Line};
use self::row::Row;

/// Largest size in a quick run. Larger sizes take most of the time.
const LARGEST_QUICK: usize = 100_000;

#[derive(Parser)]
struct Arguments {
    /// Run each size once, with fewer records and without the largest sizes.
    #[arg(long)]
    quick: bool,
    /// Run only these tables: shards, keys, queued, requeueing.
    #[arg(long)]
    only: Vec<String>,
    /// Run only the rows with this mode.
    #[arg(long)]
    mode: Vec<String>,
    /// Run only this size of each row.
    #[arg(long)]
    size: Option<usize>,
    /// Set by `cargo bench`, but not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn rows(&self) -> Vec<Row> {
        let records = if self.quick { 100_000 } else { 200_000 };
        let rows = shards::rows(records).into_iter().chain(keys::rows(records));
        let rows = rows.chain(queued::rows(records)).chain(requeueing::rows(records));
        let matches = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|selected| selected == name)
        };
        let is_selected =
            |row: &Row| matches(&self.only, row.dimension) && matches(&self.mode, row.mode);
        let largest = if self.quick { LARGEST_QUICK } else { usize::MAX };
        let rows = rows.filter(is_selected).map(|row| row.up_to(largest));
        match self.size {
            Some(size) => rows.filter_map(|row| row.only(size)).collect(),
            None => rows.collect(),
        }
    }

    fn runs(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn is_complete(&self) -> bool {
        self.only.is_empty() && self.mode.is_empty() && self.size.is_none()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing to do without --bench, which cargo bench sets");
        return ExitCode::SUCCESS;
    }
    let rows = arguments.rows();
    if rows.is_empty() {
        eprintln!("no row matches --only, --mode, and --size; run without them to see all rows");
        return ExitCode::FAILURE;
    }
    let costs = run_all(&rows, arguments.runs());
    let median = |(&size, costs): (&usize, Vec<Cost>)| Figure::median(size, costs);
    let line = |(row, costs): (_, Vec<Vec<Cost>>)| {
        let row: &Row = row;
        Line { row, figures: row.sizes.iter().zip(costs).map(median).collect() }
    };
    let lines: Vec<_> = rows.iter().zip(costs).map(line).collect();
    figures::print(&lines);
    if !arguments.is_complete() {
        println!("\nscaling.json is not written: the run is incomplete");
        return ExitCode::SUCCESS;
    }
    match figures::write(&lines) {
        Ok(path) => println!("\nwrote {}", path.display()),
        Err(error) => {
            eprintln!("failed to write scaling.json: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Returns the costs by row and size. Repetitions are interleaved, so a disturbance affects only one run of each row.
fn run_all(rows: &[Row], runs: usize) -> Vec<Vec<Vec<Cost>>> {
    let mut costs: Vec<_> = rows.iter().map(|row| vec![Vec::new(); row.sizes.len()]).collect();
    for run in 1..=runs {
        for (row, costs) in rows.iter().zip(&mut costs) {
            eprintln!("run {run} of {runs}: {}, {}", row.dimension, row.mode);
            for (&size, costs) in row.sizes.iter().zip(costs) {
                costs.push(row.cost(size));
            }
        }
    }
    costs
}
