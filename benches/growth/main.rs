//! How the cost of a record grows with the number of shards, of partition keys, of records that wait, and
//! with requeueing: it should not, or like a logarithm.
//!
//! `cargo bench --bench growth` prints a table and writes `target/growth.json`. The figures are CPU time of
//! one thread, the runtime's, the records' cloning and the service's answer included, and the medians of
//! several runs. They are not the same on two machines; the growth, the cost at the largest size as a
//! multiple of that at the smallest, nearly is. Where requests are small at one of the sizes, that is what
//! the growth shows, and so the table has the entries of a request in brackets.
//!
//! `-- --quick` measures less of it, in less than a minute. `-- --only shards`, `-- --mode ordered` run the
//! rows with these names, `-- --size 4096` one size of each, for a profile, and write no file.

mod cost;
mod even_shards;
mod figures;
mod keys;
mod meter;
mod mode;
mod pool;
mod requeueing;
mod row;
mod service;
mod shards;
mod waiting;

use std::process::ExitCode;

use clap::Parser;

use self::cost::Cost;
use self::figures::{Figure, Line};
use self::row::Row;

/// Larger sizes take most of the time.
const LARGEST_QUICK: usize = 100_000;

#[derive(Parser)]
struct Arguments {
    /// Run each size once, with fewer records, and leave out the largest ones.
    #[arg(long)]
    quick: bool,
    /// Run only the rows in which this grows.
    #[arg(long)]
    only: Vec<String>,
    /// Run only the rows with this mode.
    #[arg(long)]
    mode: Vec<String>,
    /// Run only this size of each row.
    #[arg(long)]
    size: Option<usize>,
    /// Given by `cargo bench`, and not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn rows(&self) -> Vec<Row> {
        let records = if self.quick { 100_000 } else { 200_000 };
        let requeueing = requeueing::rows(records);
        let rows = shards::rows(records).into_iter().chain(keys::rows(records));
        let rows = rows.chain(waiting::rows(records)).chain(requeueing);
        let is_wanted = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted == name)
        };
        let is_wanted =
            |row: &Row| is_wanted(&self.only, row.what) && is_wanted(&self.mode, row.mode);
        let largest = if self.quick { LARGEST_QUICK } else { usize::MAX };
        let rows = rows.filter(is_wanted).map(|row| row.up_to(largest));
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
        println!("nothing is run without --bench, which `cargo bench` gives");
        return ExitCode::SUCCESS;
    }
    let rows = arguments.rows();
    if rows.is_empty() {
        eprintln!(
            "no row has such a name, mode and size; without options all are run, with theirs"
        );
        return ExitCode::FAILURE;
    }
    let lines: Vec<_> = rows.iter().zip(run_all(&rows, arguments.runs())).collect();
    let median = |(&size, costs): (&usize, Vec<Cost>)| Figure::median(size, costs);
    let line = |(row, costs): (_, Vec<Vec<Cost>>)| {
        let row: &Row = row;
        Line { row, figures: row.sizes.iter().zip(costs).map(median).collect() }
    };
    let lines: Vec<_> = lines.into_iter().map(line).collect();
    figures::print(&lines);
    if !arguments.is_complete() {
        println!("\ngrowth.json is not written: only some of it was run");
        return ExitCode::SUCCESS;
    }
    match figures::write(&lines) {
        Ok(path) => println!("\nwritten to {}", path.display()),
        Err(error) => {
            eprintln!("the figures cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The costs by row and size. Everything is run once before anything is run again: what disturbs the machine
/// for a while disturbs one run of each.
fn run_all(rows: &[Row], runs: usize) -> Vec<Vec<Vec<Cost>>> {
    let mut costs: Vec<_> = rows.iter().map(|row| vec![Vec::new(); row.sizes.len()]).collect();
    for run in 1..=runs {
        for (row, costs) in rows.iter().zip(&mut costs) {
            eprintln!("run {run} of {runs}: {}, {}", row.what, row.mode);
            for (&size, costs) in row.sizes.iter().zip(costs) {
                costs.push(row.cost(size));
            }
        }
    }
    costs
}
