//! Minutes at full speed, through faults, with an account of every record. See [`Arguments`].

mod account;
mod arguments;
#[path = "../support/embedded.rs"]
mod embedded;
mod faults;
#[path = "../support/logs.rs"]
mod logs;
mod memory;
mod payload;
mod reader;
mod report;
mod server;
mod tasks;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use clap::Parser;
use futures::future::try_join_all;
use kinesis_sink::service::PutRecords;
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{KinesisSink, Producer};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;

use self::arguments::Arguments;
use self::embedded::STREAM;
use self::faults::{Faults, Faulty, Gate, Outcomes, Watched};
use self::report::{Reporter, Verdict};
use self::server::Server;
use self::tasks::Shared;

/// A request that gets lost is sent again after so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// What is held takes the shards a few seconds, between the faults.
const CLOSE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    logs::begin("kinesis_sink=error");
    let arguments = Arguments::parse();
    let verdict = match run(&arguments).await {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    verdict.print();
    if !verdict.is_complete() {
        println!("FAILED: not every record was delivered, once and whole");
        return ExitCode::from(3);
    }
    if !verdict.is_bounded(arguments.max_rss_mib, arguments.max_growth_mib) {
        println!("FAILED: memory grew out of its bounds");
        return ExitCode::from(4);
    }
    println!("nothing lost");
    ExitCode::SUCCESS
}

async fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{} s of faults drawn from --seed {seed}", arguments.duration().as_secs());
    let account = Arc::new(Shared::default());
    let (written, is_written) = watch::channel(false);
    let server = Server::start(arguments.shards, account.clone(), is_written).await?;
    let gate = Gate::before(address(&server.endpoint)?).await?;
    let (faults, outcomes) =
        (Arc::new(Faults::new(seed)), Arc::new(Outcomes::new(account.clone())));
    let client = client(&server, &gate);
    let service = ServiceBuilder::new()
        .layer_fn(|inner| Watched::new(inner, Arc::clone(&outcomes)))
        .layer(TimeoutLayer::new(REQUEST_TIMEOUT))
        .layer_fn(|inner| Faulty::new(inner, Arc::clone(&faults), arguments.lossy))
        .service(PutRecords::new(&client).without_stalled_stream_protection());
    let producer = KinesisSink::builder(STREAM).build_with(service)?.spawn();

    let mut reporter = Reporter::new(account.clone(), outcomes, faults.clone());
    let work = async {
        let sending = send(arguments, &producer, &account);
        tokio::select! {
            sent = sending => sent?,
            () = faults.run(seed, &gate) => {}
        }
        faults.end(&gate);
        written.send_replace(true);
        timeout(CLOSE, server.was_read()).await.context("the stream is not read to its end")?
    };
    tokio::select! {
        worked = work => worked?,
        () = reporter.run() => {}
    }
    Ok(reporter.verdict())
}

fn address(endpoint: &str) -> anyhow::Result<SocketAddr> {
    let address = endpoint.strip_prefix("http://").context("it is an HTTP endpoint")?;
    Ok(address.parse()?)
}

/// A client that reaches the server through the gate.
fn client(server: &Server, gate: &Gate) -> Client {
    let endpoint = format!("http://{}", gate.address());
    Client::from_conf(server.client.config().to_builder().endpoint_url(endpoint).build())
}

/// Lets the tasks send for as long as was asked, then closes the producer.
async fn send(
    arguments: &Arguments,
    producer: &Producer,
    account: &Arc<Shared>,
) -> anyhow::Result<()> {
    let (stop, is_over) = watch::channel(false);
    let task = |_| {
        let task =
            tasks::send(producer.clone(), arguments.window, account.clone(), is_over.clone());
        tokio::spawn(task)
    };
    let tasks: Vec<_> = (0..arguments.tasks).map(task).collect();
    tokio::select! {
        () = sleep(arguments.duration()) => {}
        () = producer.closed() => {}
    }
    stop.send_replace(true);
    // What comes back is in the account, and so in the exit status: why it does is said here.
    let closed = producer.close_within(CLOSE).await.err().map(anyhow::Error::from);
    let refused = try_join_all(tasks).await?.into_iter().find_map(Result::err);
    for error in closed.into_iter().chain(refused) {
        eprintln!("error: {error:#}");
    }
    Ok(())
}
