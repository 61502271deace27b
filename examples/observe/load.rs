//! What is sent: records at a rate that changes, and another producer that takes most of a shard.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures::{Stream, StreamExt, stream};
use kinesis_sink::Record;
use tokio::time::{Instant, interval, sleep_until};

const TICK: Duration = Duration::from_millis(20);
/// The stream takes 4,000 records a second.
const EVEN: u64 = 1_600;
const BURST: u64 = 5_000;
/// Of the 1,000 that a shard takes.
const NEIGHBOUR: u64 = 700;

/// Records for so long: the last third at more than the stream takes, for half of it.
pub fn records(whole: Duration) -> impl Stream<Item = Record> {
    let begin = Instant::now();
    let ticks = stream::unfold((interval(TICK), 0), move |(mut ticks, sent)| async move {
        let passed = ticks.tick().await - begin;
        let burst = (whole * 4 / 6..whole * 5 / 6).contains(&passed);
        let per_second = if burst { BURST } else { EVEN };
        let next = sent + per_second * TICK.as_millis() as u64 / 1_000;
        (passed < whole).then_some((sent..next, (ticks, next)))
    });
    ticks.flat_map(|numbers| stream::iter(numbers.map(event)))
}

fn event(number: u64) -> Record {
    let device = number % 1_000;
    Record::from((
        format!("device-{device}"),
        format!("{{\"device\":{device},\"event\":{number},\"temperature\":21.5}}"),
    ))
}

/// Writes to the shard of the lowest hash keys, in the second third, as somebody who knows nothing of the
/// others: what is throttled it drops.
pub async fn neighbour(client: Client, stream: &'static str, whole: Duration) {
    let begin = Instant::now();
    sleep_until(begin + whole / 3).await;
    let mut ticks = interval(TICK * 5);
    while begin.elapsed() < whole * 2 / 3 {
        ticks.tick().await;
        let entries = (0..NEIGHBOUR / 10).map(|_| {
            let entry = PutRecordsRequestEntry::builder().data(Blob::new("neighbour"));
            entry.partition_key("neighbour").explicit_hash_key("0").build()
        });
        let entries = entries.collect::<Result<_, _>>().expect("data and key are given");
        // Whatever comes of it.
        let _ = client.put_records().stream_name(stream).set_records(Some(entries)).send().await;
    }
}
