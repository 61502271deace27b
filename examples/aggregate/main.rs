//! What aggregation saves: the same small events, sent alone, packed per key and packed per shard, to an
//! embedded Kinesis server each, read back as a consumer of the KCL would, and compared.

mod check;
#[path = "../support/embedded.rs"]
mod embedded;
mod events;
#[path = "../support/logs.rs"]
mod logs;
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

/// Sends the same events without aggregation, per key and per shard, and shows what each costs.
///
/// Each time it starts an embedded Kinesis server in this process, sends the events through the AWS SDK,
/// reads every shard back, takes the aggregates apart and compares. Every figure is counted in what was
/// read back.
///
/// Exit status: 0 if every event was found once, with its key, where a consumer made with the KCL takes
/// it, 2 if the options are wrong, else 1.
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
    logs::begin("kinesis_sink=info");
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { events, keys, shards } = arguments;
    println!("{events} events of {EVENT_BYTES} bytes, {keys} partition keys, {shards} shards");
    let events = Events { count: events, devices: keys };
    let mut runs = Vec::new();
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        // Each its own server, for it keeps everything that it was sent.
        let server = Embedded::start(shards, false).await?;
        println!("{aggregation:?}: to the embedded Kinesis server at {}", server.endpoint());
        runs.push(send(&server, aggregation, events).await?);
    }
    println!();
    table::print(&runs);
    Ok(())
}

/// The heart of it: one setting, and the sink packs.
async fn send(server: &Embedded, aggregation: Aggregation, sent: Events) -> anyhow::Result<Run> {
    let mut sink =
        KinesisSink::builder(STREAM).with_aggregation(aggregation).build(server.client())?;
    // Shown on a terminal only.
    let progress = ProgressBar::new(u64::from(sent.count));
    let began = Instant::now();
    let records = stream::iter(progress.wrap_iter(sent.records()));
    records.map(Ok).forward(&mut sink).await?;
    let sending = began.elapsed();
    progress.finish_and_clear();

    let totals = *sink.totals();
    let found = read_all(server.client(), STREAM, sent).await?;
    let missing = u64::from(sent.count) - found.events;
    println!(
        "{aggregation:?}: read back {} events; {missing} missing, {} duplicated, {} misplaced",
        found.events, found.duplicated, found.misplaced
    );
    ensure!(found.misplaced == 0, "{} events lie in foreign shards", found.misplaced);
    ensure!(found.strange == 0, "{} events are not what was sent", found.strange);
    ensure!(missing == 0, "{missing} events are missing in the stream");
    ensure!(found.duplicated == 0, "{} events are in the stream twice", found.duplicated);
    let told = (totals.entries, totals.entry_bytes);
    ensure!(
        told == (found.entries, found.entry_bytes),
        "the sink tells of other bytes: {totals:?}"
    );
    Ok(Run { aggregation, totals, found, sending })
}
