//! A sink that is watched: metrics for Prometheus, traces on the console or by OTLP, while the stream
//! throttles. See `--help`.

mod arguments;
#[path = "../support/embedded.rs"]
mod embedded;
mod load;
#[path = "../support/logs.rs"]
mod logs;
mod picture;
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
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let traces = Traces::begin(arguments.otlp.as_deref())?;
    let metrics = Metrics::listen(arguments.listen)?;
    let server = Embedded::start(4, true).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    println!("metrics for Prometheus at http://{}/metrics", arguments.listen);

    let whole = Duration::from_secs(arguments.seconds);
    let neighbour = tokio::spawn(load::neighbour(server.client().clone(), STREAM, whole));
    let mut sink = KinesisSink::new(server.client(), STREAM)?;
    let records = load::records(whole).take_until(interrupted()).map(Ok);
    let forward = async {
        records.forward((&mut sink).sink_map_err(anyhow::Error::from)).await?;
        Ok::<_, anyhow::Error>(*sink.totals())
    };
    let (totals, scrapes) = watch(forward, &metrics).await;
    neighbour.abort();
    let totals = totals?;
    println!(
        "{} records delivered, {} times an entry was throttled, {} failed",
        totals.delivered, totals.throttled, totals.failed
    );
    if let Some(path) = &arguments.picture {
        picture::draw(&scrapes, path)?;
        println!("the key panels are in {}", path.display());
    }
    tokio::task::spawn_blocking(|| traces.end()).await??;
    anyhow::ensure!(totals.delivered == totals.accepted, "not every record was delivered");
    Ok(())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Nobody can interrupt it, then.
        std::future::pending::<()>().await;
    }
}

/// Looks at the metrics each second, while something is done and once after that.
async fn watch<T>(work: impl Future<Output = T>, metrics: &Metrics) -> (T, Vec<Scrape>) {
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
                    tell(&scrapes);
                }
            }
        }
    }
}

/// A line about the last ten seconds.
fn tell(scrapes: &[Scrape]) {
    let [before, now] = [&scrapes[scrapes.len() - 10], &scrapes[scrapes.len() - 1]];
    let per_second = |name| (now.sum(name) - before.sum(name)) / 9.0;
    println!(
        "received {:.0}/s, delivered {:.0}/s, throttled {:.0}/s; {:.0} wait, the oldest for {:.2} s",
        per_second(names::USER_RECORDS_RECEIVED),
        per_second(names::USER_RECORDS_PUT),
        per_second(names::SHARD_KINESIS_RECORDS_THROTTLED),
        now.sum(names::USER_RECORDS_PENDING),
        now.sum(names::OLDEST_RECORD_AGE),
    );
}
