//! Forwards a log with committed offsets, such as Kafka's, so that nothing is lost when the process dies:
//! an offset is committed only when everything below it is in the stream.
//!
//! Without arguments it shows that on an embedded Kinesis server: one consumer crashes, the next goes on
//! from the committed offsets, and gives half of its partitions to a third. See `--help`.

mod demonstration;
#[path = "../kinesis/embedded.rs"]
mod embedded;
mod log;
mod offsets;
#[path = "../kinesis/read_back.rs"]
mod read_back;
#[path = "../kinesis/remote.rs"]
mod remote;
#[path = "../kinesis/target.rs"]
mod target;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kinesis_sink::{Delivery, Producer, Record, Undelivered};
use tokio::time::{interval, timeout};

use self::log::{Consumer, Event};
use self::offsets::Offsets;
use self::remote::Remote;

/// Messages of one poll.
const BATCH: usize = 500;
/// The time between two commits: what a crash costs at most in messages sent twice, beside those under way.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// A coordinator does not wait for ever until a revoked partition is let go of.
const REVOCATION: Duration = Duration::from_secs(20);

/// Forwards a log with committed offsets into a Kinesis stream: at least once, whatever happens.
///
/// The log is in this process. One consumer of it crashes in the middle, with records under way; a second
/// goes on from the committed offsets; half of its partitions are revoked and go to a third. In the end the
/// stream is read back and compared.
///
/// Exit status: 0 if every message is in the stream, and was when its offset was committed, else 1.
#[derive(Debug, Parser)]
#[command(name = "offsets")]
struct Arguments {
    /// Messages in each of the four partitions
    #[arg(long, value_name = "N", default_value_t = 1_500,
        value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("kinesis_sink=warn")
        .init();
    let arguments = Arguments::parse();
    match demonstration::run(arguments.messages, &arguments.remote).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Messages under way: their receipts, with partition and offset.
type Receipts = FuturesUnordered<BoxFuture<'static, Settled>>;
type Settled = (u32, u64, Result<Delivery, Undelivered>);

async fn forward(consumer: &mut Consumer, producer: &Producer) -> anyhow::Result<()> {
    let (mut offsets, mut receipts) = (Offsets::default(), Receipts::new());
    let forwarded = forward_all(consumer, producer, &mut offsets, &mut receipts).await;
    // Also after an error: what is delivered need not be sent again.
    let settled = settle(&mut receipts, &mut offsets).await;
    commit(consumer, &offsets)?;
    forwarded.and(settled)
}

/// The heart of it: messages in, records out, and commits as the receipts allow.
async fn forward_all(
    consumer: &mut Consumer,
    producer: &Producer,
    offsets: &mut Offsets,
    receipts: &mut Receipts,
) -> anyhow::Result<()> {
    let mut time_to_commit = interval(COMMIT_INTERVAL);
    loop {
        tokio::select! {
            event = consumer.poll(BATCH) => match event {
                Some(Event::Messages(messages)) => for message in messages {
                    let (partition, offset) = (message.partition, message.offset);
                    offsets.read(partition, offset);
                    // While the stream is slow this waits, and the log is not read.
                    let receipt = producer.put(Record::from((message.key, message.payload))).await?;
                    receipts.push(Box::pin(async move { (partition, offset, receipt.await) }));
                },
                Some(Event::Revoked(partitions)) => {
                    // What does not make it in time is not committed: the next owner sends it again.
                    let settled = timeout(REVOCATION, settle(receipts, offsets)).await;
                    commit(consumer, offsets)?;
                    partitions.iter().for_each(|partition| offsets.forget(*partition));
                    consumer.release(&partitions);
                    settled.unwrap_or(Ok(()))?;
                }
                None => return Ok(()),
            },
            Some(settled) = receipts.next() => note(settled, offsets)?,
            _ = time_to_commit.tick() => commit(consumer, offsets)?,
        }
    }
}

/// Flushes: waits until everything that was put is delivered.
async fn settle(receipts: &mut Receipts, offsets: &mut Offsets) -> anyhow::Result<()> {
    while let Some(settled) = receipts.next().await {
        note(settled, offsets)?;
    }
    Ok(())
}

fn note((partition, offset, outcome): Settled, offsets: &mut Offsets) -> anyhow::Result<()> {
    outcome.with_context(|| format!("stopped at offset {offset} of partition {partition}"))?;
    offsets.delivered(partition, offset);
    Ok(())
}

fn commit(consumer: &Consumer, offsets: &Offsets) -> anyhow::Result<()> {
    offsets.committable().try_for_each(|(partition, offset)| consumer.commit(partition, offset))
}
