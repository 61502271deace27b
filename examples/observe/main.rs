//! Metrics and traces of a sink under a varying load. `--help` describes the load.

mod arguments;
#[path = "../support/embedded.rs"]
mod embedded;
mod load;
#[path = "../support/logs.rs"]
mod logs;
mod picture;
#[path = "../support/program.rs"]
mod program;
mod scrape;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::{SinkExt, StreamExt};
use kinesis_sink::KinesisSink;
use kinesis_sink::metrics::names;
use tokio::time::{MissedTickBehavior, interval};

use self::arguments::Arguments;
use self::embedded::{Embedded, STREAM};
use self::scrape::Scrape;
use self::telemetry::{Metrics, Traces};

#[tokio::main]
async fn main() -> ExitCode {
    program::exit_code(run(&Arguments::parse()).await)
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let traces = Traces::install(arguments.otlp.as_deref())?;
    let metrics = Metrics::listen(arguments.listen)?;
    let server = Embedded::start(4, true).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    println!("Prometheus metrics at http://{}/metrics", arguments.listen);

    let duration = Duration::from_secs(arguments.seconds);
    let client = server.client().clone();
    let competing = tokio::spawn(load::competing_producer(client, STREAM, duration));
    let mut sink = KinesisSink::new(server.client(), STREAM)?;
    let records = load::records(duration).take_until(interrupted()).map(Ok);
    let forward = async {
        records.forward((&mut sink).sink_map_err(anyhow::Error::from)).await?;
        Ok::<_, anyhow::Error>(*sink.totals())
    };
    let (totals, scrapes) = scrape_during(forward, &metrics).await;
    competing.abort();
    let totals = totals?;
    println!(
        "{} records delivered, {} entries throttled, {} records failed",
        totals.delivered, totals.throttled, totals.failed
    );
    if let Some(path) = &arguments.picture {
        picture::draw(&scrapes, duration, path)?;
        println!("charts written to {}", path.display());
    }
    tokio::task::spawn_blocking(|| traces.shutdown()).await??;
    anyhow::ensure!(
        totals.delivered == totals.accepted,
        "{} of {} records were not delivered",
        totals.accepted - totals.delivered,
        totals.accepted
    );
    Ok(())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Scrapes the metrics once per second until `work` completes, and once more afterwards.
async fn scrape_during<T>(work: impl Future<Output = T>, metrics: &Metrics) -> (T, Vec<Scrape>) {
    let mut scrapes = Vec::new();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                scrapes.push(Scrape::parse(&metrics.render()));
                return (result, scrapes);
            }
            _ = seconds.tick() => {
                scrapes.push(Scrape::parse(&metrics.render()));
                if scrapes.len() % 10 == 0 {
                    print_rates(&scrapes);
                }
            }
        }
    }
}

fn print_rates(scrapes: &[Scrape]) {
    let before = &scrapes[scrapes.len() - 10];
    let now = &scrapes[scrapes.len() - 1];
    let per_second = |name| (now.sum(name) - before.sum(name)) / 9.0;
    println!(
        "received {:.0}/s, delivered {:.0}/s, throttled {:.0}/s; {:.0} pending, oldest {:.2} s",
        per_second(names::USER_RECORDS_RECEIVED),
        per_second(names::USER_RECORDS_PUT),
        per_second(names::SHARD_KINESIS_RECORDS_THROTTLED),
        now.sum(names::USER_RECORDS_PENDING),
        now.sum(names::OLDEST_RECORD_AGE),
    );
}
