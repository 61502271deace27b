//! Compares the cost of small events without aggregation, aggregated per key, and aggregated per shard.

mod check;
#[path = "../support/embedded.rs"]
mod embedded;
mod events;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/program.rs"]
mod program;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use clap::value_parser;
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use kinesis_sink::{Aggregation, KinesisSink};

use self::check::read_all;
use self::embedded::{Embedded, STREAM};
use self::events::{EVENT_BYTES, Events};
use self::table::Run;

/// Sends the same events three times, unaggregated, aggregated per key, and aggregated per shard, and prints a table
/// that compares the costs.
///
/// Each run starts an embedded Kinesis server in this process, sends the events, reads the stream, and deaggregates its
/// records. The table is computed from the records that were read.
///
/// The exit status is 0 if a KCL consumer would receive every event exactly once, with its key, 2 if the options are
/// invalid, and 1 on any other error.
#[derive(Debug, Parser)]
#[command(name = "aggregate")]
struct Arguments {
    /// Number of events, of 100 bytes each
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    events: u32,

    /// Number of partition keys
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..))]
    keys: u32,

    /// Number of shards
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(i32).range(1..=100))]
    shards: i32,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { events, keys, shards } = arguments;
    println!("{events} events of {EVENT_BYTES} bytes, {keys} partition keys, {shards} shards");
    let events = Events { count: events, devices: keys };
    let mut runs = Vec::new();
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        // A new server per run, because a server keeps all records in memory.
        let server = Embedded::start(shards, false).await?;
        println!("{aggregation:?}: embedded Kinesis server at {}", server.endpoint());
        runs.push(send(&server, aggregation, events).await?);
    }
    println!();
    table::print(&runs);
    Ok(())
}

async fn send(server: &Embedded, aggregation: Aggregation, sent: Events) -> anyhow::Result<Run> {
    let mut sink =
        KinesisSink::builder(STREAM).with_aggregation(aggregation).build(server.client())?;
    let progress = ProgressBar::new(u64::from(sent.count));
    let started_at = Instant::now();
    let records = stream::iter(progress.wrap_iter(sent.records()));
    records.map(Ok).forward(&mut sink).await?;
    let elapsed = started_at.elapsed();
    progress.finish_and_clear();

    let totals = *sink.totals();
    let found = read_all(server.client(), STREAM, sent).await?;
    let missing = u64::from(sent.count) - found.events;
    println!(
        "{aggregation:?}: read back {} events; {missing} missing, {} duplicated, {} misplaced",
        found.events, found.duplicated, found.misplaced
    );
    ensure!(found.misplaced == 0, "{} events are in the wrong shard", found.misplaced);
    ensure!(found.unexpected == 0, "{} events differ from those sent", found.unexpected);
    ensure!(missing == 0, "{missing} events are missing in the stream");
    ensure!(found.duplicated == 0, "{} events are duplicated", found.duplicated);
    ensure!(
        (totals.entries, totals.entry_bytes) == (found.entries, found.entry_bytes),
        "the totals of the sink differ from the stream: {totals:?}"
    );
    Ok(Run { aggregation, totals, found, elapsed })
}
