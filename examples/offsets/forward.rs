//! From the log into the stream. The loop is the same over a consumer of Kafka's.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kinesis_sink::{Delivery, Producer, Record, Undelivered};
use tokio::time::{interval, timeout};

use crate::log::{Consumer, Event};
use crate::offsets::Offsets;

/// Messages of one poll.
const BATCH: usize = 500;
/// The time between two commits: what a crash costs at most in messages sent twice, beside those under way.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// A coordinator does not wait for ever until a revoked partition is let go of.
const REVOCATION: Duration = Duration::from_secs(20);

/// Messages under way: their receipts, with partition and offset.
type Receipts = FuturesUnordered<BoxFuture<'static, Settled>>;
type Settled = (u32, u64, Result<Delivery, Undelivered>);

/// Forwards until the end of the log, and has everything committed then.
pub async fn forward(mut consumer: Consumer, producer: &Producer) -> anyhow::Result<()> {
    let (mut offsets, mut receipts) = (Offsets::default(), Receipts::new());
    let forwarded = forward_all(&mut consumer, producer, &mut offsets, &mut receipts).await;
    // Also after an error: what is delivered need not be sent again.
    let settled = settle(&mut receipts, &mut offsets).await;
    commit(&consumer, &offsets)?;
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
