//! From the log into the stream. The loop is the same over a consumer of Kafka's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, stream};
use kinesis_sink::{Producer, Record};
use tokio::time::{Instant, interval, sleep_until};

use super::log::{Consumer, Event};

/// Messages of one poll.
const BATCH: usize = 500;
/// The time between two commits: what a crash costs at most in messages sent twice, beside those in flight.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// A coordinator does not wait forever until a revoked partition is released.
const REVOCATION: Duration = Duration::from_secs(20);

/// The offset from which each partition is read after a restart.
type Offsets = BTreeMap<u32, u64>;

/// Forwards until the end of the log, and has everything committed then.
pub async fn forward(consumer: Consumer, producer: &Producer) -> anyhow::Result<()> {
    while let Some(revoked) = forward_until_revoked(&consumer, producer).await? {
        consumer.release(&revoked);
    }
    Ok(())
}

/// The heart of it: messages in, records out, and commits as the outcomes come, which is in the order of the messages.
/// Returns the partitions that another consumer is to have, or `None` at the end of the log.
async fn forward_until_revoked(
    consumer: &Consumer,
    producer: &Producer,
) -> anyhow::Result<Option<Vec<u32>>> {
    let revoked = RefCell::new(None);
    let events = stream::unfold((), async |()| match consumer.poll(BATCH).await? {
        Event::Messages(messages) => Some((stream::iter(messages), ())),
        Event::Revoked(partitions) => {
            revoked.replace(Some((partitions, Instant::now() + REVOCATION)));
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
            // What is not delivered by then is not committed: it is read again, by the next owner or by this one.
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                commit(consumer, &offsets)?;
                consumer.rewind();
                break Ok(());
            }
        }
    };
    // Also after an error: what is delivered need not be sent again.
    commit(consumer, &offsets)?;
    forwarded?;
    Ok(revoked.take().map(|(partitions, _)| partitions))
}

fn commit(consumer: &Consumer, offsets: &Offsets) -> anyhow::Result<()> {
    offsets.iter().try_for_each(|(&partition, &offset)| consumer.commit(partition, offset))
}
