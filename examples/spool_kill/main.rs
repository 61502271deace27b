//! Kills a process that sends through a spool, and verifies that nothing is lost. See [`Arguments`].

mod account;
mod arguments;
mod child;
#[path = "../support/embedded.rs"]
mod embedded;
mod job;
#[path = "../support/logs.rs"]
mod logs;
mod record;
mod server;
mod supervisor;

use std::process::ExitCode;

use clap::Parser;

use self::arguments::Arguments;
use self::supervisor::Supervisor;

#[tokio::main]
async fn main() -> ExitCode {
    // Throttled and failed requests are part of the run.
    logs::init("kinesis_sink=error");
    match run(Arguments::parse()).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(job) = &arguments.child {
        child::run(serde_json::from_str(job)?).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{} kills with --seed {seed}", arguments.kills);
    let (verdict, damaged) = Supervisor::run(arguments, seed).await?;
    println!("{verdict}");
    if !verdict.holds() || damaged > 0 {
        println!("FAILED: records are lost, damaged, out of order, or duplicated without a cause");
        return Ok(ExitCode::from(3));
    }
    Ok(ExitCode::SUCCESS)
}
