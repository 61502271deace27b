//! Many tasks share one producer and await a receipt for each record.

#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
mod sensor;
#[path = "../support/shutdown.rs"]
mod shutdown;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::future::join_all;
use kinesis_sink::{KinesisSink, Producer};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use self::embedded::{Embedded, STREAM};
use self::read_back::{From, ReadBack};
use self::remote::Remote;
use self::sensor::Report;
use self::shutdown::shutdown_signal;

/// Sends sensor readings from many tasks through one producer.
///
/// By default it sends to an embedded Kinesis server in this process and verifies the records of its
/// stream. Ctrl-C, SIGTERM, or the end of --seconds stops the tasks and drains the producer. A second
/// signal aborts the drain.
///
/// Exit status: 0 if every reading was delivered (and found, if the stream was read back), 2 if the options
/// are invalid, 1 on any other error.
#[derive(Debug, Parser)]
#[command(name = "fan_in")]
struct Arguments {
    /// Number of tasks that send
    #[arg(long, value_name = "N", default_value_t = 200)]
    sensors: usize,

    /// Time to send, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,

    /// Timeout of the drain, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.remote.is_set() {
        let client = arguments.remote.connect().await?;
        let producer = KinesisSink::new(&client, arguments.remote.stream())?.spawn();
        fan_in(&arguments, producer).await?;
        return Ok(());
    }
    let server = Embedded::start(4, false).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await?;
    let producer = KinesisSink::new(server.client(), STREAM)?.spawn();
    let report = fan_in(&arguments, producer).await?;
    for reading in report.delivered {
        read_back.expect(reading);
    }
    read_back.check().await
}

async fn fan_in(arguments: &Arguments, producer: Producer) -> anyhow::Result<Report> {
    let (stop, stopped) = watch::channel(false);
    let sensor = |number| tokio::spawn(sensor::run(number, producer.clone(), stopped.clone()));
    let sensors: Vec<_> = (0..arguments.sensors).map(sensor).collect();
    println!("{} sensors are sending; press Ctrl-C to stop", arguments.sensors);

    tokio::select! {
        interrupted = shutdown_signal() => {
            interrupted?;
            println!("interrupted, draining");
        }
        () = sleep(Duration::from_secs(arguments.seconds)) => println!("time limit reached, draining"),
        () = producer.closed() => println!("producer stopped"),
        () = print_progress(&producer) => {}
    }
    // The sensors must stop before the producer is closed, so that each accepted reading has a receipt in `stopped`.
    stop.send_replace(true);
    let stopped = join_all(sensors).await;
    let closed = tokio::select! {
        closed = producer.close_within(Duration::from_secs(arguments.drain)) => closed,
        _ = shutdown_signal() => {
            println!("interrupted again, aborting");
            producer.close_within(Duration::ZERO).await
        }
    };
    let mut report = Report::default();
    for readings in stopped {
        report.add(readings?.settled().await);
    }

    println!("{}", report.summary(producer.status().totals.requests));
    closed?;
    anyhow::ensure!(report.undelivered == 0, "{} readings were not delivered", report.undelivered);
    Ok(report)
}

async fn print_progress(producer: &Producer) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let totals = producer.status().totals;
        println!("{} accepted, {} delivered", totals.accepted, totals.delivered);
    }
}
