//! The load: records at a varying rate, and a second producer that sends to one of the shards.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures::{Stream, StreamExt, stream};
use kinesis_sink::Record;
use tokio::time::{Instant, interval, sleep_until};

const TICK: Duration = Duration::from_millis(20);
/// Records per second outside of the burst. The stream accepts 4,000.
const EVEN_RATE: u64 = 1_600;
const BURST_RATE: u64 = 5_000;
/// Records per second that the second producer sends to one shard. The shard accepts 1,000.
const COMPETING_RATE: u64 = 700;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub name: &'static str,
    pub time: Range<Duration>,
}

/// Returns the phases of a load with this duration. The rate is constant except during the burst.
pub fn phases(duration: Duration) -> [Phase; 3] {
    [
        Phase { name: "even load", time: Duration::ZERO..duration / 3 },
        Phase { name: "competing producer", time: competing_time(duration) },
        Phase { name: "burst", time: burst_time(duration) },
    ]
}

fn competing_time(duration: Duration) -> Range<Duration> {
    duration / 3..duration * 2 / 3
}

fn burst_time(duration: Duration) -> Range<Duration> {
    duration * 4 / 6..duration * 5 / 6
}

pub fn records(duration: Duration) -> impl Stream<Item = Record> {
    let begin = Instant::now();
    let ticks = stream::unfold((interval(TICK), 0), move |(mut ticks, sent)| async move {
        let elapsed = ticks.tick().await - begin;
        let is_burst = burst_time(duration).contains(&elapsed);
        let per_second = if is_burst { BURST_RATE } else { EVEN_RATE };
        let next = sent + per_second * TICK.as_millis() as u64 / 1_000;
        (elapsed < duration).then_some((sent..next, (ticks, next)))
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

/// Sends records to the first shard during the second phase, without a rate limiter and without retries.
pub async fn competing_producer(client: Client, stream: &'static str, duration: Duration) {
    let begin = Instant::now();
    let time = competing_time(duration);
    sleep_until(begin + time.start).await;
    let mut ticks = interval(TICK * 5);
    while begin.elapsed() < time.end {
        ticks.tick().await;
        let entries = (0..COMPETING_RATE / 10).map(|_| {
            let entry = PutRecordsRequestEntry::builder().data(Blob::new("competing"));
            entry.partition_key("competing").explicit_hash_key("0").build()
        });
        let entries = entries.collect::<Result<_, _>>().expect("data and key are set");
        let _ = client.put_records().stream_name(stream).set_records(Some(entries)).send().await;
    }
}
