//! The process that is killed.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Credentials;
use fastrand::Rng;
use kinesis_sink::{KinesisSink, Producer, RecordOrdering};
use tokio::task::JoinSet;

use crate::embedded::STREAM;
use crate::job::{Job, Message, Work};
use crate::record::{self, KEYS};
use crate::server::LIFE_PREFIX;

pub async fn run(job: Job) -> anyhow::Result<()> {
    let client = client(&job).await;
    let ordering = if job.ordered { RecordOrdering::PerKey } else { RecordOrdering::Unordered };
    let producer = KinesisSink::builder(STREAM)
        .with_spool(job.spool())
        .with_ordering(ordering)
        .build(&client)
        .context("cannot open the spool")?
        .spawn();
    report(&Message::Opened { recovered: producer.recovered(), damaged: damaged(&producer)? })?;
    match job.work {
        Work::Send { first, records, seed, pause } => {
            send(&producer, job.ordered, first, records, seed, pause).await?;
            std::future::pending().await
        }
        Work::Drain => {
            producer.close().await?;
            report(&Message::Drained { damaged: damaged(&producer)? })
        }
    }
}

async fn client(job: &Job) -> Client {
    let key = format!("{LIFE_PREFIX}{}", job.life);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(&job.endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(key, "local", None, None, "spool_kill"))
        .load()
        .await;
    Client::new(&config)
}

fn damaged(producer: &Producer) -> anyhow::Result<u64> {
    let status = producer.status().spool.context("the status has no spool")?;
    if let Some(error) = status.last_error {
        anyhow::bail!("the spool reports an error: {error}");
    }
    Ok(status.damaged_frames)
}

/// Sends the records in one task per ordering key, each in the order of the numbers.
async fn send(
    producer: &Producer,
    ordered: bool,
    first: u64,
    records: u64,
    seed: u64,
    pause: Duration,
) -> anyhow::Result<()> {
    let producer = Arc::new(producer.clone());
    let mut tasks = JoinSet::new();
    for task in 0..KEYS {
        let producer = producer.clone();
        let mut rng = Rng::with_seed(seed ^ task);
        tasks.spawn(async move {
            for number in (first + task..first + records).step_by(KEYS as usize) {
                let record = record::record(number, ordered);
                if rng.bool() {
                    producer.send(record).await?;
                } else {
                    // The receipt of half of these is dropped, and that of the others awaited, which does not delay
                    // the task.
                    let receipt = producer.put(record).await?;
                    if rng.bool() {
                        tokio::spawn(receipt);
                    }
                }
                report(&Message::Accepted(number))?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause.mul_f64(2.0 * rng.f64())).await;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    Ok(())
}

/// Prints a message in one write, so that a kill cannot split it.
fn report(message: &Message) -> anyhow::Result<()> {
    let line = serde_json::to_string(message)? + "\n";
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    Ok(stdout.flush()?)
}
