//! Compares the CPU time, throughput, and memory use of the sink and the producer with those of a loop over the SDK.
//!
//! The client runs in its own process, so that its CPU time and memory use exclude those of the server. Absolute times
//! differ between machines and change within minutes. The cases therefore run in rounds, and the CPU time of a case is
//! reported as a multiple of the raw loop's CPU time in the same round.
//!
//! `cargo bench --bench throughput` takes some minutes, prints a table per setting, and writes
//! `target/throughput.json`. `-- --quick` takes less than a minute. `-- --only sink --bytes 100` runs one case and the
//! raw loop. `-- --soak` sends 20 million records and checks memory use. `-- --draw docs/performance.svg` draws a
//! chart; with `--figures target/throughput.json`, it draws the figures of an earlier run.

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
mod variants;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, anyhow};
use clap::Parser;

use self::case::Case;
use self::plan::{Effort, Setting};
use self::rounds::Row;

#[derive(Parser)]
struct Arguments {
    /// Run fewer sizes, settings, and rounds.
    #[arg(long)]
    quick: bool,
    /// Run only these cases and the raw loop.
    #[arg(long)]
    only: Vec<Case>,
    /// Send only records of these sizes, in bytes.
    #[arg(long)]
    bytes: Vec<usize>,
    /// Number of runs of each case.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Run only the soak: 20 million records through one sink.
    #[arg(long)]
    soak: bool,
    /// Draw the CPU ratios without a round-trip time to this file.
    #[arg(long, value_name = "SVG")]
    draw: Option<PathBuf>,
    /// Draw the figures of this file instead of measuring.
    #[arg(long, value_name = "JSON", requires = "draw")]
    figures: Option<PathBuf>,
    /// Set by `cargo bench`, but not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Run the server, with this round-trip time in milliseconds.
    #[arg(long, hide = true)]
    serve: Option<u64>,
    /// Run the client with this job and print the figures.
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

    /// Returns the selected cases and the raw loop, or nothing if no selected case is run in this setting.
    fn cases(&self, setting: &Setting) -> Vec<Case> {
        let all = setting.cases();
        if !self.only.is_empty() && !all.iter().any(|case| self.only.contains(case)) {
            return Vec::new();
        }
        let is_selected =
            |case: &Case| *case == Case::Raw || self.only.is_empty() || self.only.contains(case);
        all.iter().copied().filter(is_selected).collect()
    }

    fn effort(&self, setting: &Setting) -> Effort {
        Effort::of(setting, self.quick, self.rounds.map(usize::from))
    }

    fn includes_soak(&self) -> bool {
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

/// Runs the selected measurements. Returns `false` if memory use exceeds its bounds.
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
        println!("nothing to do without --bench, which cargo bench sets");
        return Ok(true);
    }
    if let (Some(figures), Some(svg)) = (&arguments.figures, &arguments.draw) {
        let path = figures.display();
        let json = fs::read_to_string(figures).with_context(|| format!("failed to read {path}"))?;
        let rows: Vec<Row> =
            serde_json::from_str(&json).with_context(|| format!("failed to parse {path}"))?;
        draw(&rows, svg)?;
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
    let mut is_within_bounds = true;
    if arguments.includes_soak() {
        let (row, soak_is_within_bounds) = soak::run(&rows)?;
        table::print(std::slice::from_ref(&row));
        rows.push(row);
        is_within_bounds = soak_is_within_bounds;
    }
    println!("\nwrote {}", write(&rows)?.display());
    if let Some(path) = &arguments.draw {
        draw(&rows, path)?;
    }
    Ok(is_within_bounds)
}

fn draw(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    chart::draw(rows, path).map_err(|error| anyhow!("failed to draw the chart: {error}"))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn write(rows: &[Row]) -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    fs::create_dir_all(&target)?;
    let path = target.join("throughput.json");
    fs::write(&path, serde_json::to_string_pretty(rows)? + "\n")?;
    Ok(path)
}
