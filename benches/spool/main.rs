//! Measures how fast the backlog of a spool is replayed, and the time and memory that opening a large backlog takes.
//!
//! `cargo bench --bench spool` prints tables, writes `target/spool.json`, and fails if a figure exceeds its bound. The
//! cost per record of writing to a spool is in the tables of `cargo bench --bench throughput -- --only spool_interval`.
//!
//! **Replay.** In each round, a sink without a spool sends records to a server process, and a producer drains a
//! backlog of as many records to the same server. A third client drains a backlog to a service in its process that
//! responds at once, which shows how fast the backlog is read. The figures are medians.
//!
//! **Start.** A client opens a backlog of 1 MB, and one of `--backlog-mb`. Its service never responds, and its buffer
//! is small, so that the difference is the memory of the spool and not of records in the buffer.
//!
//! Each client runs in its own process. The spools are in the temporary directory, so `TMPDIR` selects the disk. The
//! backlogs are generated and then in the page cache as far as there is memory. `-- --quick` takes less than a minute.

#[path = "../throughput/child.rs"]
mod child;
mod clients;
#[path = "../throughput/conditions.rs"]
mod conditions;
mod directory;
#[allow(dead_code, reason = "the size of a request is not computed here")]
#[path = "../throughput/load.rs"]
mod load;
mod measure;
#[allow(dead_code, reason = "only the peak is measured")]
#[path = "../throughput/memory.rs"]
mod memory;
mod report;
#[allow(dead_code, reason = "the counters of the server are not read")]
#[path = "../throughput/server/mod.rs"]
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::directory::Directory;
use self::measure::{Job, Work};
use self::report::{Replay, Report, Start, median};

const MB: usize = 1_000_000;
const SIZES: [usize; 2] = [100, 1_024];

#[derive(Parser)]
struct Arguments {
    /// Send a tenth of the records, and open a smaller backlog.
    #[arg(long)]
    quick: bool,
    /// Size of the large backlog in MB.
    #[arg(long)]
    backlog_mb: Option<usize>,
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

/// Runs the measurements. Returns `false` if a figure exceeds its bound.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(round_trip) = arguments.serve {
        server::serve(Duration::from_millis(round_trip))?;
        return Ok(true);
    }
    if let Some(job) = &arguments.measure {
        let measured = measure::run(serde_json::from_str(job)?)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(true);
    }
    if !arguments.bench {
        println!("nothing to do without --bench, which cargo bench sets");
        return Ok(true);
    }
    println!("{}", conditions::conditions());
    let (replay_mb, rounds, backlog_mb) =
        if arguments.quick { (30, 3, 200) } else { (300, 5, 4_000) };
    let replays = SIZES.map(|bytes| replay(bytes, replay_mb * MB / (bytes + 200), rounds));
    let large = arguments.backlog_mb.unwrap_or(backlog_mb);
    let starts = [1, large].map(|backlog_mb| start(backlog_mb, rounds));
    let report = Report {
        replays: replays.into_iter().collect::<Result<_, _>>()?,
        starts: starts.into_iter().collect::<Result<_, _>>()?,
    };
    report.print();
    println!("\nwrote {}", report.write()?.display());
    let violations = report.violations();
    for violation in &violations {
        eprintln!("exceeds its bound: {violation}");
    }
    Ok(violations.is_empty())
}

fn replay(record_bytes: usize, records: usize, rounds: usize) -> anyhow::Result<Replay> {
    let server = child::Server::start(Duration::ZERO)?;
    let (mut sent, mut replayed, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let directory = Directory::new();
        let job = |work| Job { directory: directory.path(), record_bytes, records, work };
        let per_second = |work| {
            let measured = child::measure(&job(work))?;
            anyhow::Ok(records as f64 / measured.wall.as_secs_f64())
        };
        sent.push(per_second(Work::Send { port: server.port() })?);
        child::measure(&job(Work::Fill))?;
        replayed.push(per_second(Work::Replay { port: server.port() })?);
        child::measure(&job(Work::Fill))?;
        read.push(per_second(Work::Read)?);
    }
    Ok(Replay {
        record_bytes,
        records,
        sent_per_s: median(sent),
        replayed_per_s: median(replayed),
        read_per_s: median(read),
    })
}

/// Opens a backlog of records of 1,024 bytes.
fn start(backlog_mb: usize, rounds: usize) -> anyhow::Result<Start> {
    let directory = Directory::new();
    let record_bytes = 1_024;
    let records = backlog_mb * MB / record_bytes;
    let job = |work| Job { directory: directory.path(), record_bytes, records, work };
    child::measure(&job(Work::Fill))?;
    let mut open_s = Vec::new();
    let (mut opened_bytes, mut running_bytes) = (0, 0);
    for _ in 0..rounds {
        let measured = child::measure(&job(Work::Open))?;
        open_s.push(measured.open.as_secs_f64());
        opened_bytes = opened_bytes.max(measured.opened_bytes);
        running_bytes = running_bytes.max(measured.peak_bytes);
    }
    Ok(Start { backlog_mb, records, open_s: median(open_s), opened_bytes, running_bytes })
}
