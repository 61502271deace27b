//! Tests that the example `offsets` commits only messages that are in the stream, and finally commits all messages.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::future::join;
use kinesis_sink::KinesisSink;
use kinesis_sink::sim::{Faults, SimService, SimStream};
use kinesis_sink::timeout::{Timeout, TimeoutLayer};
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;

use super::forward::forward;
use super::log::Log;
use crate::support::seeds;

const PARTITIONS: [u32; 4] = [0, 1, 2, 3];
const MESSAGES: u64 = 400;

fn sink(stream: &SimStream, seed: u64, buffer: usize) -> KinesisSink<Timeout<SimService>> {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(stream.service());
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(seed);
        settings.buffer_records = Some(buffer);
    });
    builder.build_with(service).unwrap()
}

fn check_committed(log: &Log, stream: &SimStream) -> Result<(), String> {
    let written: HashSet<Bytes> = stream.written().iter().map(|r| r.data().clone()).collect();
    match log.committed().iter().filter(|message| !written.contains(&message.payload)).count() {
        0 => Ok(()),
        lost => Err(format!("{lost} messages are committed and not in the stream")),
    }
}

fn run_in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

async fn crash_and_rebalance(seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let faults = Faults::default()
        .with_throttles(rng.f64() * 0.3)
        .with_internal_failures(rng.f64() * 0.1)
        .with_lost_requests(rng.f64() * 0.1)
        .with_lost_answers(rng.f64() * 0.1);
    let stream = SimStream::builder().with_shards(rng.usize(1..4)).with_seed(seed);
    let stream = stream.with_faults(faults).build().map_err(|error| error.to_string())?;
    let log = Log::new(PARTITIONS.len() as u32, MESSAGES);
    let message = |error: anyhow::Error| format!("{error:#}");

    for _ in 0..rng.usize(0..5) {
        let (producer, driver) = sink(&stream, rng.u64(..), rng.usize(1..2_000)).into_producer();
        let driver = tokio::spawn(driver);
        let (consumer, _) = log.consumer(&PARTITIONS);
        let lifetime = Duration::from_millis(rng.u64(0..1_500));
        let result = timeout(lifetime, forward(consumer, &producer)).await;
        driver.abort();
        check_committed(&log, &stream)?;
        result.unwrap_or(Ok(())).map_err(message)?;
    }
    let producer = sink(&stream, rng.u64(..), rng.usize(1..2_000)).spawn();
    let (consumer, mut rebalance) = log.consumer(&PARTITIONS);
    let moved = &PARTITIONS[rng.usize(..PARTITIONS.len())..];
    let other = async {
        sleep(Duration::from_millis(rng.u64(0..1_500))).await;
        rebalance.revoke(moved).await;
        let (consumer, _) = log.consumer(moved);
        forward(consumer, &producer).await
    };
    let ended = timeout(Duration::from_secs(3_600), join(forward(consumer, &producer), other));
    let (one, other) = ended.await.map_err(|_| "consumers hang".to_owned())?;
    one.and(other).map_err(message)?;
    check_committed(&log, &stream)?;
    match log.committed().len() {
        all if all == PARTITIONS.len() * MESSAGES as usize => Ok(()),
        some => Err(format!("only {some} messages are committed in the end")),
    }
}

#[test]
fn committed_messages_are_in_stream() {
    seeds::check_all("pipelines", 30, |seed| run_in_virtual_time(crash_and_rebalance(seed)));
}

#[tokio::test(start_paused = true)]
async fn rebalance_sends_no_duplicates() {
    let stream = SimStream::builder().with_shards(1).with_seed(1).build().unwrap();
    let log = Log::new(PARTITIONS.len() as u32, MESSAGES);
    let producer = sink(&stream, 1, 100).spawn();
    let (consumer, mut rebalance) = log.consumer(&PARTITIONS);
    let moves = async {
        while stream.written().len() < 500 {
            sleep(Duration::from_millis(1)).await;
        }
        rebalance.revoke(&PARTITIONS[1..]).await;
        assert!(log.committed().len() < 1_000, "the rebalance happens before the end");
        let (consumer, _) = log.consumer(&PARTITIONS[1..]);
        forward(consumer, &producer).await
    };
    let (one, other) = join(forward(consumer, &producer), moves).await;
    one.and(other).unwrap();
    assert_eq!(stream.written().len(), PARTITIONS.len() * MESSAGES as usize);
}
