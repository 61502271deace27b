//! Measures how the cost per record, the memory, and the timers of a `Router` grow with the number of open streams,
//! and the cost of opening and evicting a stream.
//!
//! `cargo bench --bench router` prints tables, writes `target/router.json`, and fails if a figure exceeds its bound.
//! The service is in this process and responds after a round trip on virtual time. A figure is the median of three
//! rounds. Its CPU time is that of the only thread, so it includes the runtime, cloning the records, and the service.
//! The service and the cloning are measured separately, and are subtracted from the cost per request and from the
//! ratios.
//!
//! **Load.** With any number of streams, the same number of records is sent in bursts of 20 to one stream each, and a
//! request has at most 20 entries. The cost per record therefore depends on the number of streams, but not on the
//! size of the requests. `uniform` and `zipf` (exponent 1) wait for each 100 bursts, while the other streams are
//! idle. `at_once` sends all bursts without waiting, so that all streams wait for the budget of the router.
//!
//! `-- --quick` sends a tenth of the records, to at most 1,000 streams. `-- --streams 10000 --load zipf` measures only
//! the cost per record with this number of streams, for example for a profile.

mod alloc;
mod bounds;
mod cost;
mod idle;
mod load;
mod memory;
mod meter;
mod opening;
mod report;
mod service;

use std::process::ExitCode;

use clap::Parser;

use self::report::Report;

const ROUNDS: usize = 3;

#[derive(Parser)]
struct Arguments {
    /// Send a tenth of the records, to at most 1,000 streams.
    #[arg(long)]
    quick: bool,
    /// Measure only the cost per record with this number of streams, once, for example for a profile.
    #[arg(long)]
    streams: Option<usize>,
    /// With --streams, measure only this load: uniform, zipf, at_once.
    #[arg(long, requires = "streams")]
    load: Option<String>,
    /// Set by `cargo bench`, but not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing to do without --bench, which cargo bench sets");
        return ExitCode::SUCCESS;
    }
    let scale = if arguments.quick { 1 } else { 10 };
    let records = 20_000 * scale;
    if let Some(streams) = arguments.streams {
        let is_selected =
            |name: &str| arguments.load.as_ref().is_none_or(|selected| selected == name);
        for load in cost::LOADS.into_iter().filter(|load| is_selected(load.name)) {
            let nanoseconds = load.ns_per_record(streams, records);
            println!("{}, {streams} streams: {nanoseconds:.0} ns per record", load.name);
        }
        return ExitCode::SUCCESS;
    }
    let sizes: Vec<_> =
        [1, 10, 100, 1_000, 10_000].into_iter().filter(|size| *size <= 1_000 * scale).collect();
    let most = 1_000 * scale;
    let costs = cost::measure(&sizes, records, ROUNDS);
    eprintln!("memory, timers, and opening");
    let report = Report {
        costs,
        memory: memory::measure(&[100, most]),
        idle: [1, most].map(idle::measure).into(),
        opening: opening::measure(most, most / 10, ROUNDS),
    };
    report.print();
    match report.write() {
        Ok(path) => println!("\nwrote {}", path.display()),
        Err(error) => {
            eprintln!("failed to write router.json: {error}");
            return ExitCode::FAILURE;
        }
    }
    let violations = bounds::violations(&report);
    for violation in &violations {
        eprintln!("exceeds its bound: {violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
