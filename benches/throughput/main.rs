//! What a record costs on its way to the wire: the sink and the producer against the SDK called by hand.
//!
//! Every run is a process of its own, its server another one, so that CPU seconds and memory are those of
//! the case alone. The cases run in turns, and their CPU time is given as a multiple of the raw loop's of
//! the same round, for absolute times differ from machine to machine and from minute to minute.
//!
//! `cargo bench --bench throughput` runs everything in some minutes, prints a table per setting, and writes
//! `target/throughput.json`. `-- --quick` takes less than a minute; `-- --only sink --bytes 100` runs one
//! case, beside the raw loop; `-- --soak` sends 20 million records and looks at the memory; `-- --draw
//! docs/performance.svg` draws a chart.

mod allocations;
mod case;
mod chart;
mod child;
mod conditions;
mod load;
mod measure;
mod memory;
mod plan;
mod rounds;
mod server;
mod soak;
mod table;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use anyhow::anyhow;
use clap::Parser;

use self::case::Case;
use self::plan::{Effort, Setting};
use self::rounds::Row;

#[derive(Parser)]
struct Arguments {
    /// Fewer sizes, settings and rounds.
    #[arg(long)]
    quick: bool,
    /// Run only these cases, beside the raw loop.
    #[arg(long)]
    only: Vec<Case>,
    /// Send only records of these sizes.
    #[arg(long)]
    bytes: Vec<usize>,
    /// How often each case is run.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Send 20 million records through the sink, and nothing else.
    #[arg(long)]
    soak: bool,
    /// Draw the CPU ratios without a round-trip time into this file.
    #[arg(long, value_name = "SVG")]
    draw: Option<PathBuf>,
    /// Given by `cargo bench`, and not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the null server, with a round-trip time of so many milliseconds.
    #[arg(long, hide = true)]
    serve: Option<u64>,
    /// Do this job, and print what it took.
    #[arg(long, hide = true)]
    measure: Option<String>,
}

impl Arguments {
    fn settings(&self) -> Vec<Setting> {
        let sizes = match (self.bytes.is_empty(), self.quick) {
            (false, _) => &*self.bytes,
            (true, true) => &[100, 1_024],
            (true, false) => &plan::SIZES,
        };
        if self.quick { Setting::quick(sizes) } else { Setting::all(sizes) }
    }

    /// None if those that are wanted tell nothing in this setting.
    fn cases(&self, setting: &Setting) -> Vec<Case> {
        let all = setting.cases();
        if !self.only.is_empty() && !all.iter().any(|case| self.only.contains(case)) {
            return Vec::new();
        }
        let is_wanted =
            |case: &Case| *case == Case::Raw || self.only.is_empty() || self.only.contains(case);
        all.iter().copied().filter(is_wanted).collect()
    }

    fn effort(&self, setting: &Setting) -> Effort {
        Effort::of(setting, self.quick, self.rounds.map(usize::from))
    }

    fn soaks(&self) -> bool {
        self.soak || !self.quick && self.only.is_empty() && self.bytes.is_empty()
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as it should be.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(round_trip) = arguments.serve {
        server::serve(Duration::from_millis(round_trip))?;
        return Ok(true);
    }
    if let Some(job) = &arguments.measure {
        let measured = measure::run(&serde_json::from_str(job)?);
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(true);
    }
    if !arguments.bench {
        println!("nothing is run without --bench, which `cargo bench` gives");
        return Ok(true);
    }
    compare(arguments)
}

fn compare(arguments: &Arguments) -> anyhow::Result<bool> {
    println!("{}", conditions::conditions());
    let mut rows: Vec<Row> = Vec::new();
    if !arguments.soak {
        for setting in arguments.settings() {
            let cases = arguments.cases(&setting);
            if cases.is_empty() {
                continue;
            }
            let measured = rounds::run(&setting, &cases, &arguments.effort(&setting))?;
            table::print(&measured);
            rows.extend(measured);
        }
    }
    let mut is_good = true;
    if arguments.soaks() {
        let (row, is_as_it_should_be) = soak::run(&rows)?;
        table::print(std::slice::from_ref(&row));
        rows.push(row);
        is_good = is_as_it_should_be;
    }
    let path = write(&rows)?;
    println!("\nwritten to {}", path.display());
    if let Some(path) = &arguments.draw {
        chart::draw(&rows, path).map_err(|error| anyhow!("the chart is not drawn: {error}"))?;
        println!("drawn in {}", path.display());
    }
    Ok(is_good)
}

/// Writes what was measured into cargo's target directory, and tells where it is.
fn write(rows: &[Row]) -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    fs::create_dir_all(&target)?;
    let path = target.join("throughput.json");
    fs::write(&path, serde_json::to_string_pretty(rows)? + "\n")?;
    Ok(path)
}
