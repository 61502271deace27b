//! Tests that an idle producer holds little memory, because a program can have a producer for each of many streams.

use std::time::Duration;

use kinesis_sink::budget::{Budget, BudgetSettings};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, Producer, Record, SinkBuilder};
use tokio::time::sleep;

use crate::support::alloc;

const PRODUCERS: usize = 200;
const RECORDS: usize = 1_000;
/// In bytes.
const MAX_IDLE: usize = 4 * 1024;

/// Returns a stream whose shards never throttle, so that all producers can share it.
fn stream(shards: usize) -> SimStream {
    let quota = 1_000_000_000;
    let stream = SimStream::builder().with_shards(shards).with_shard_quota(quota, quota);
    stream.without_written().build().unwrap()
}

/// Opens a producer that shares its service with all others, uses it, and waits until it is idle.
async fn idle_producer(
    stream: &SimStream,
    configure: &impl Fn(SinkBuilder) -> SinkBuilder,
) -> Producer {
    let builder = configure(KinesisSink::builder(stream.id()));
    let producer = builder.build_with(stream.service()).unwrap().spawn();
    // The second half is sent when the producer knows the shards.
    for half in 0..2 {
        for n in 0..RECORDS / 2 {
            producer.send(Record::from((format!("key-{half}-{n}"), "data"))).await.unwrap();
        }
        producer.flush().await.unwrap();
    }
    assert_eq!(producer.status().totals.delivered as usize, RECORDS);
    sleep(Duration::from_secs(10)).await;
    producer
}

/// Returns the mean size of the memory allocated by an idle producer, in bytes.
async fn idle_bytes(shards: usize, configure: impl Fn(SinkBuilder) -> SinkBuilder) -> usize {
    let stream = stream(shards);
    // The first producer allocates the memory of the stream and of thread-local values.
    drop(idle_producer(&stream, &configure).await);
    sleep(Duration::from_secs(10)).await;
    let mut producers = Vec::with_capacity(PRODUCERS);
    let before = alloc::current();
    for _ in 0..PRODUCERS {
        producers.push(idle_producer(&stream, &configure).await);
    }
    let bytes = (alloc::current() - before) as usize / PRODUCERS;
    drop(producers);
    println!("{bytes} bytes per idle producer with {shards} shards");
    bytes
}

#[tokio::test(start_paused = true)]
async fn idle_producer_holds_4_kib() {
    for shards in [1, 4] {
        let bytes = idle_bytes(shards, |builder| builder).await;
        assert!(bytes <= MAX_IDLE, "{bytes} bytes with {shards} shards");
    }
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn idle_producer_without_metrics_holds_4_kib() {
    use kinesis_sink::metrics::MetricsGranularity;

    let without_metrics = |builder: SinkBuilder| {
        builder.configure(|settings| settings.metrics = MetricsGranularity::Off)
    };
    for shards in [1, 4] {
        let bytes = idle_bytes(shards, without_metrics).await;
        assert!(bytes <= MAX_IDLE, "{bytes} bytes with {shards} shards");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_producer_with_budget_holds_4_kib() {
    let budget = Budget::new(BudgetSettings::default()).unwrap();
    for shards in [1, 4] {
        let bytes = idle_bytes(shards, |builder| builder.with_budget(&budget)).await;
        assert!(bytes <= MAX_IDLE, "{bytes} bytes with {shards} shards");
    }
}
