//! Counts the instructions executed by the benchmarks of `micro` and `aggregate`. Unlike times, these counts can be
//! compared between commits, because they do not depend on the clock or on the load of the machine.
//!
//! `cargo bench --bench instructions` runs each benchmark under valgrind's callgrind in two processes, once in the
//! first and three times in the second. Half of the difference between the two counts is the count of one run, without
//! setup and process start. The table compares the counts with those of the previous run. The bench writes
//! `target/instructions.json`, and callgrind's files to `target/callgrind`, for `callgrind_annotate`.
//!
//! `-- --runs 5` shows the spread of the counts. It is at most 0.15 % and comes from the random seeds of hash maps.
//! `-- --only "sink, plain"` counts a single benchmark and writes no file.
//!
//! The crate `gungraun` is not used, because it counts whole functions with their setup, requires a separately
//! installed runner, and adds a dozen crates to each build of the tests.

mod benchmark;
mod callgrind;
mod counts;
#[path = "../micro/sdk_call.rs"]
mod sdk_call;
#[path = "../micro/through_sink.rs"]
mod through_sink;

use std::process::ExitCode;

use clap::Parser;

use self::benchmark::Benchmark;
use self::counts::Count;

#[derive(Parser)]
struct Arguments {
    /// Count only these benchmarks.
    #[arg(long)]
    only: Vec<String>,
    /// Count each benchmark this many times, to see the spread of the counts.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Run this benchmark without counting. Used by the process under callgrind.
    #[arg(long, hide = true, requires = "times")]
    benchmark: Option<String>,
    /// Number of runs of `--benchmark`.
    #[arg(long, hide = true)]
    times: Option<u32>,
    /// Set by `cargo bench`, but not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let benchmarks = benchmark::all();
    if let (Some(name), Some(times)) = (&arguments.benchmark, arguments.times) {
        let benchmark = benchmarks.iter().find(|benchmark| benchmark.name == *name);
        benchmark.expect("the parent process passes a known name").run(times);
        return ExitCode::SUCCESS;
    }
    if !arguments.bench {
        println!("nothing to do without --bench, which cargo bench sets");
        return ExitCode::SUCCESS;
    }
    if !callgrind::is_installed() {
        // `cargo bench` runs all benches, and the others work without valgrind.
        eprintln!("skipped: valgrind is not installed (apt-get install valgrind)");
        return ExitCode::SUCCESS;
    }
    let is_known = |name: &&String| benchmarks.iter().any(|benchmark| benchmark.name == **name);
    if let Some(unknown) = arguments.only.iter().find(|name| !is_known(name)) {
        let names: Vec<_> = benchmarks.iter().map(|benchmark| &*benchmark.name).collect();
        eprintln!("unknown benchmark {unknown:?}, expected one of {names:?}");
        return ExitCode::FAILURE;
    }
    let is_selected = |benchmark: &&Benchmark| {
        arguments.only.is_empty() || arguments.only.contains(&benchmark.name)
    };
    let selected = benchmarks.iter().filter(is_selected);
    let counted = selected.map(|benchmark| count(benchmark, arguments.runs));
    let counts = match counted.collect::<Result<Vec<_>, _>>() {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    counts::print(&counts, &counts::previous());
    if !arguments.only.is_empty() {
        return ExitCode::SUCCESS;
    }
    match counts::write(&counts) {
        Ok(path) => println!("\nwrote {}", path.display()),
        Err(error) => {
            eprintln!("failed to write instructions.json: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn count(benchmark: &Benchmark, runs: usize) -> Result<Count, callgrind::Error> {
    eprintln!("counting {}", benchmark.name);
    let per_operation = || {
        let count = callgrind::instructions(&benchmark.name);
        count.map(|count| count / benchmark.operations as f64)
    };
    let counts: Result<Vec<_>, _> = (0..runs.max(1)).map(|_| per_operation()).collect();
    Ok(Count::new(benchmark, counts?))
}
