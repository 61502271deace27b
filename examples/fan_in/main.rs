//! Many tasks, one producer: sensors that each send a reading now and then, and want to know that it
//! arrived. Ctrl-C or SIGTERM stops them, drains what is under way, and reports.

#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/interrupted.rs"]
mod interrupted;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
mod sensor;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::future::join_all;
use kinesis_sink::{KinesisSink, Producer};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use self::embedded::{Embedded, STREAM};
use self::interrupted::interrupted;
use self::read_back::{From, ReadBack};
use self::remote::Remote;
use self::sensor::Report;

/// Many tasks send readings through one producer; each awaits the receipts of its own.
///
/// Without options it starts an embedded Kinesis server in this process, reads its stream back in the end
/// and compares. Ctrl-C, or the end of --seconds, stops the tasks, drains what is under way and reports;
/// a second Ctrl-C gives up what is not delivered by then.
///
/// Exit status: 0 if every reading was delivered (and found, where the stream was read back), else 1.
#[derive(Debug, Parser)]
#[command(name = "fan_in")]
struct Arguments {
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 200)]
    sensors: usize,

    /// Ends after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,

    /// Gives up what is not delivered so long after the end
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,

    #[command(flatten)]
    remote: Remote,
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
    if arguments.remote.is_wanted() {
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
    report.delivered.into_iter().for_each(|reading| read_back.expect(reading));
    let found = read_back.finish().await?;
    println!(
        "read back {}, {} missing, {} duplicated",
        found.records, found.missing, found.duplicated
    );
    anyhow::ensure!(found.missing == 0, "{} readings are missing in the stream", found.missing);
    Ok(())
}

/// The heart of it: a clone of the producer for each task, and one end for all of them.
async fn fan_in(arguments: &Arguments, producer: Producer) -> anyhow::Result<Report> {
    let (stop, stopped) = watch::channel(false);
    let sensor = |number| tokio::spawn(sensor::run(number, producer.clone(), stopped.clone()));
    let sensors: Vec<_> = (0..arguments.sensors).map(sensor).collect();
    println!("{} sensors are sending; Ctrl-C ends it", arguments.sensors);

    tokio::select! {
        interrupted = interrupted() => {
            interrupted?;
            println!("interrupted, draining");
        }
        () = sleep(Duration::from_secs(arguments.seconds)) => println!("time is up, draining"),
        () = producer.closed() => println!("the producer has stopped"),
        () = tell(&producer) => {}
    }
    // No more readings. What was accepted is sent, and every receipt tells what came of it.
    stop.send_replace(true);
    let stopped = join_all(sensors).await;
    let closed = tokio::select! {
        closed = producer.close_within(Duration::from_secs(arguments.drain)) => closed,
        _ = interrupted() => {
            println!("interrupted again, giving up what is left");
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

/// Tells how it goes, once a second.
async fn tell(producer: &Producer) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let totals = producer.status().totals;
        println!("{} accepted, {} delivered", totals.accepted, totals.delivered);
    }
}
