//! Forwards messages and commits offsets. The loop would be the same with a Kafka client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, stream};
use kinesis_sink::{Producer, Record};
use tokio::time::{Instant, interval, sleep_until};

use super::log::{Consumer, Event};

const MAX_POLL_MESSAGES: usize = 500;
/// Time between two commits. Messages delivered since the last commit are sent again after a crash.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit for delivering the messages of revoked partitions, after which the coordinator evicts the consumer.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(20);

/// The offset after the last delivered message of each partition.
type Offsets = BTreeMap<u32, u64>;

pub async fn forward(consumer: Consumer, producer: &Producer) -> anyhow::Result<()> {
    while let Some(revoked) = forward_until_revoked(&consumer, producer).await? {
        consumer.release(&revoked);
    }
    Ok(())
}

/// Forwards messages until partitions are revoked, and returns them. Returns `None` at the end of the log.
///
/// The offset after a delivered message can be committed, because `put_all` returns outcomes in message order.
async fn forward_until_revoked(
    consumer: &Consumer,
    producer: &Producer,
) -> anyhow::Result<Option<Vec<u32>>> {
    let revoked = RefCell::new(None);
    let events = stream::unfold((), async |()| match consumer.poll(MAX_POLL_MESSAGES).await? {
        Event::Messages(messages) => Some((stream::iter(messages), ())),
        Event::Revoked(partitions) => {
            revoked.replace(Some((partitions, Instant::now() + REVOCATION_TIMEOUT)));
            None
        }
    });
    let records = events.flatten().map(|message| {
        let offset = (message.partition, message.offset);
        (Record::from((message.key, message.payload)), offset)
    });
    let mut outcomes = pin!(producer.put_all(records));
    let mut offsets = Offsets::new();
    let mut time_to_commit = interval(COMMIT_INTERVAL);
    let forwarded = loop {
        let deadline = revoked.borrow().as_ref().map(|(_, deadline)| *deadline);
        tokio::select! {
            outcome = outcomes.next() => match outcome {
                Some(((partition, offset), Ok(_))) => {
                    offsets.insert(partition, offset + 1);
                }
                Some(((partition, offset), Err(error))) => {
                    let at = format!("stopped at offset {offset} of partition {partition}");
                    break Err(error).context(at);
                }
                None => break Ok(()),
            },
            _ = time_to_commit.tick() => commit(consumer, &offsets)?,
            // Messages that are not delivered by the deadline are not committed, so the next consumer reads them again.
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                commit(consumer, &offsets)?;
                consumer.rewind();
                break Ok(());
            }
        }
    };
    // Commits the offsets even if forwarding failed.
    commit(consumer, &offsets)?;
    forwarded?;
    Ok(revoked.take().map(|(partitions, _)| partitions))
}

fn commit(consumer: &Consumer, offsets: &Offsets) -> anyhow::Result<()> {
    for (&partition, &offset) in offsets {
        consumer.commit(partition, offset)?;
    }
    Ok(())
}
