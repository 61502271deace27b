//! One router for the streams of 50 tenants. One stream does not exist, and another one is throttled.

#[path = "../support/embedded.rs"]
mod embedded;
mod load;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;
mod report;
mod server;
mod tally;

use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_kinesis::Client;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use kinesis_sink::budget::Budget;
use kinesis_sink::router::RouterSettings;
use kinesis_sink::{Error, Router, StreamId};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::embedded::Embedded;
use self::read_back::{From, ReadBack};
use self::report::Report;
use self::server::Server;
use self::tally::Tally;

const TENANTS: usize = 50;
const THROTTLED: &str = "tenant-01";
const MISSING: &str = "tenant-02";

/// Entries per second of the throttled stream: 1 % of the quota of its shard.
const THROTTLED_RATE: f64 = 10.0;

const LOAD: Duration = Duration::from_secs(5);
const EVENTS_PER_JOB: usize = 10;
const ARCHIVED_EVENTS: usize = 600;

/// A small budget, so that the throttled stream uses up its share, and fewer open streams than tenants.
const SETTINGS: &str = r#"
    idle_timeout = "1s"
    max_streams = 30

    [budget]
    buffer_records = 200
    max_in_flight = 8

    [defaults]
    linger = { fixed = "50ms" }

    [streams.tenant-03]
    aggregation = "per_key"

    [streams.tenant-04]
    ordering = "per_key"
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    logs::init("kinesis_sink=error");
    let server = Server::default();
    let kinesis = Embedded::start_in(1, true, |app| server.observe(app)).await?;
    let tenants: Vec<_> = (1..=TENANTS).map(|number| format!("tenant-{number:02}")).collect();
    let existing = tenants.iter().filter(|tenant| *tenant != MISSING);
    let created = stream::iter(existing).map(|tenant| kinesis.add_stream(tenant, 1));
    created.buffer_unordered(5).try_collect::<()>().await?;
    println!("embedded Kinesis server at {} with {} streams", kinesis.endpoint(), TENANTS - 1);

    server.throttle(THROTTLED, THROTTLED_RATE);
    let settings: RouterSettings = toml::from_str(SETTINGS)?;
    let budget = Budget::new(settings.budget.clone())?;
    let router = Router::builder().with_settings(settings).with_budget(&budget);
    let router = router.spawn(kinesis.client())?;
    let tally = Tally::default();
    let mut report = Report::default();
    let load = start_load(&router, &tenants, &tally)?;
    let start = Instant::now();
    while start.elapsed() < LOAD {
        sleep(Duration::from_millis(50)).await;
        report.observe(&router, &budget);
        // Failed records without a receipt. A program would store them as dead letters.
        for failed in router.take_failed().await {
            tally.undelivered(&failed);
        }
    }

    server.end_throttle();
    for sent in load.join_all().await {
        sent?;
    }
    if let Err(error) = router.close().await {
        println!("close: {error}");
        for undelivered in error.undelivered() {
            tally.undelivered(undelivered);
        }
    }
    report.print(&router, &budget, &tally, &server);
    check(kinesis.client(), &tally).await?;
    let connections = server.connections();
    let shared = connections.iter().filter(|streams| streams.len() > 1).count();
    println!("{} connections, {shared} of them used for several streams", connections.len());
    anyhow::ensure!(shared > 0, "no connection was used for more than one stream");
    Ok(())
}

fn start_load(
    router: &Router,
    tenants: &[String],
    tally: &Tally,
) -> anyhow::Result<JoinSet<Result<(), Error>>> {
    let mut load = JoinSet::new();
    let requests = load::requests(router.clone(), tenants.to_vec(), LOAD, tally.clone());
    load.spawn(requests.map(Ok));
    for tenant in tenants {
        let job = load::job(router.clone(), tenant.clone(), EVENTS_PER_JOB, tally.clone());
        load.spawn(job.map(Ok));
    }
    let archived = ["tenant-05", "tenant-06"].map(str::parse::<StreamId>);
    let archived = archived.into_iter().collect::<Result<_, _>>()?;
    load.spawn(load::archive(router.clone(), archived, ARCHIVED_EVENTS, tally.clone()));
    Ok(load)
}

/// Checks that each stream contains all events that were not returned, and that all events for the missing stream were.
async fn check(client: &Client, tally: &Tally) -> anyhow::Result<()> {
    let (mut records, mut duplicated) = (0, 0);
    for (stream, outcomes) in tally.outcomes() {
        if stream == MISSING {
            let lost = outcomes.kept.len();
            anyhow::ensure!(lost == 0, "{lost} events for the missing stream were not returned");
            continue;
        }
        let mut read_back = ReadBack::begin(client, &stream, From::Start).await?;
        for data in outcomes.kept {
            read_back.expect(data);
        }
        let found = read_back.finish().await?;
        found.ensure_complete().context(stream)?;
        records += found.records;
        duplicated += found.duplicated;
    }
    println!("read back {records}, 0 missing, {duplicated} duplicated");
    Ok(())
}
