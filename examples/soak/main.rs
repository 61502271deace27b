//! A soak test under load and faults, which verifies the outcome of each record. See [`Arguments`].

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
mod senders;
mod server;

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
use self::faults::{FaultInjector, Faults, Gate, OutcomeRecorder, Outcomes};
use self::report::{Reporter, Verdict};
use self::senders::SharedAccount;
use self::server::Server;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for closing the producer. The shards accept a full buffer in less time, even with faults in between.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    logs::init("kinesis_sink=error");
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
        println!("FAILED: not every record was delivered exactly once and undamaged");
        return ExitCode::from(3);
    }
    if !verdict.is_within_limits(arguments.max_rss_mib, arguments.max_growth_mib) {
        println!("FAILED: memory limit exceeded");
        return ExitCode::from(4);
    }
    println!("no record lost");
    ExitCode::SUCCESS
}

async fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{} s with faults of --seed {seed}", arguments.duration().as_secs());
    let account = Arc::new(SharedAccount::default());
    let (written, is_written) = watch::channel(false);
    let server = Server::start(arguments.shards, account.clone(), is_written).await?;
    let gate = Gate::before(address(&server.endpoint)?).await?;
    let faults = Arc::new(Faults::new(seed));
    let outcomes = Arc::new(Outcomes::new(account.clone()));
    let client = client(&server, &gate);
    let service = ServiceBuilder::new()
        .layer_fn(|inner| OutcomeRecorder::new(inner, Arc::clone(&outcomes)))
        .layer(TimeoutLayer::new(REQUEST_TIMEOUT))
        .layer_fn(|inner| FaultInjector::new(inner, Arc::clone(&faults), arguments.lossy))
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
        timeout(CLOSE_TIMEOUT, server.read_to_end())
            .await
            .context("cannot read the stream to its end")?
    };
    tokio::select! {
        worked = work => worked?,
        () = reporter.run() => {}
    }
    Ok(reporter.verdict())
}

fn address(endpoint: &str) -> anyhow::Result<SocketAddr> {
    let address = endpoint.strip_prefix("http://").context("the endpoint is not an HTTP URL")?;
    Ok(address.parse()?)
}

fn client(server: &Server, gate: &Gate) -> Client {
    let endpoint = format!("http://{}", gate.address());
    Client::from_conf(server.client.config().to_builder().endpoint_url(endpoint).build())
}

async fn send(
    arguments: &Arguments,
    producer: &Producer,
    account: &Arc<SharedAccount>,
) -> anyhow::Result<()> {
    let (stop, is_stopped) = watch::channel(false);
    let sender = |_| {
        let sender =
            senders::send(producer.clone(), arguments.window, account.clone(), is_stopped.clone());
        tokio::spawn(sender)
    };
    let senders: Vec<_> = (0..arguments.tasks).map(sender).collect();
    tokio::select! {
        () = sleep(arguments.duration()) => {}
        () = producer.closed() => {}
    }
    stop.send_replace(true);
    // The error is only printed, because the account already contains the undelivered records.
    let close_error = producer.close_within(CLOSE_TIMEOUT).await.err().map(anyhow::Error::from);
    let send_error = try_join_all(senders).await?.into_iter().find_map(Result::err);
    for error in close_error.into_iter().chain(send_error) {
        eprintln!("error: {error:#}");
    }
    Ok(())
}
