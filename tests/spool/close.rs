//! Tests of the ways in which a producer with a spool ends.

use std::time::{Duration, Instant};

use kinesis_sink::producer::Driver;
use kinesis_sink::record::FailureReason;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{ErrorKind, Producer, Receipt};
use tokio::runtime::{Builder, Runtime};

use crate::fixtures::{
    Directory, builder, distinct, eventually, outage, produce, produce_with, record, soon, sorted,
    stream, stream_in_outage, written,
};

/// Sends the rest of the records in a spool to another stream, and returns their data.
async fn rest(directory: &Directory) -> Vec<String> {
    let stream = stream();
    let producer = produce(&stream, directory.spool());
    soon(producer.close()).await.unwrap();
    distinct(&stream)
}

async fn put_all(producer: &Producer, numbers: std::ops::Range<usize>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for number in numbers {
        receipts.push(producer.put(record(number)).await.unwrap());
    }
    receipts
}

async fn assert_spooled(receipts: Vec<Receipt>) {
    for receipt in receipts {
        let undelivered = soon(receipt).await.unwrap_err();
        let reason = undelivered.reason();
        assert!(matches!(reason, FailureReason::Spooled { .. }), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instant_close_leaves_records_in_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    // Most records are only on disk.
    let builder = builder().configure(|settings| settings.buffer_records = Some(100));
    let producer = produce_with(builder, &stream, directory.spool());
    let receipts = put_all(&producer, 0..10_000).await;
    let started = Instant::now();
    producer.close_within(Duration::ZERO).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_spooled(receipts).await;
    assert_eq!(producer.send(record(1)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(rest(&directory).await, sorted(0..10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_drains_disk() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let builder = builder().configure(|settings| settings.buffer_records = Some(100));
    let producer = produce_with(builder, &stream, directory.spool());
    let receipts = put_all(&producer, 0..10_000).await;
    stream.set_faults(Faults::default());
    soon(producer.close()).await.unwrap();
    assert_eq!(written(&stream).len(), 10_000);
    for receipt in receipts {
        soon(receipt).await.unwrap();
    }
    assert_eq!(rest(&directory).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_writes_staged_records() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, directory.spool());
    for number in 0..1_000 {
        producer.try_send(record(number)).unwrap();
    }
    producer.close_within(Duration::ZERO).await.unwrap();
    assert_eq!(rest(&directory).await, sorted(0..1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_handle_lets_driver_drain_disk() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce(&stream, directory.spool());
    for number in 0..1_000 {
        producer.try_send(record(number)).unwrap();
    }
    drop(producer);
    eventually(|| (written(&stream).len() == 1_000).then_some(())).await;
    eventually(|| builder().with_spool(directory.spool()).build_with(stream.service()).ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_driver_leaves_records_in_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let builder = builder().configure(|settings| settings.buffer_records = Some(10));
    let sink = builder.with_spool(directory.spool()).build_with(stream.service()).unwrap();
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    let receipts = put_all(&producer, 0..1_000).await;
    driver.abort();
    assert_spooled(receipts).await;
    let error = soon(producer.close()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abandoned);
    assert_eq!(error.undelivered(), [], "the records are in the spool");
    assert_eq!(rest(&directory).await, sorted(0..1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unpolled_driver_leaves_records_in_spool() {
    let (directory, stream) = (Directory::new(), stream());
    let sink = builder().with_spool(directory.spool()).build_with(stream.service()).unwrap();
    let (producer, driver): (_, Driver<_>) = sink.into_producer();
    let receipts = put_all(&producer, 0..100).await;
    assert_eq!(producer.status().spool.unwrap().records, 100);
    drop(driver);
    assert_spooled(receipts).await;
    drop(producer);
    assert_eq!(rest(&directory).await, sorted(0..100));
}

#[test]
fn runtime_shutdown_leaves_records_in_spool() {
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first: Runtime = runtime();
    let directory = Directory::new();
    let (producer, receipts) = first.block_on(async {
        let producer = produce(&stream_in_outage(), directory.spool());
        let receipts = put_all(&producer, 0..1_000).await;
        (producer, receipts)
    });
    drop(first);
    let second: Runtime = runtime();
    second.block_on(async {
        assert_spooled(receipts).await;
        assert_eq!(producer.send(record(1)).await.unwrap_err().kind(), ErrorKind::Abandoned);
        drop(producer);
        assert_eq!(rest(&directory).await, sorted(0..1_000));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fatal_error_leaves_records_in_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, directory.spool());
    let receipts = put_all(&producer, 0..1_000).await;
    stream.set_faults(Faults::default().with_outage("AccessDeniedException", 400));
    soon(producer.closed()).await;
    assert_spooled(receipts).await;
    let error = soon(producer.close()).await.unwrap_err();
    assert_eq!((error.kind(), error.undelivered()), (ErrorKind::Stopped, &[][..]));
    assert_eq!(rest(&directory).await, sorted(0..1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_producer_accepts_records_into_spool() {
    let (directory, stream) = (Directory::new(), stream());
    stream.set_faults(Faults::default().with_outage("AccessDeniedException", 400));
    let builder = builder().configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = produce_with(builder, &stream, directory.spool());
    producer.send(record(0)).await.unwrap();
    eventually(|| (!producer.status().condition.is_working()).then_some(())).await;
    for number in 1..1_000 {
        producer.send(record(number)).await.unwrap();
    }
    assert!(producer.status().accepts_records());
    assert_eq!(soon(producer.flush()).await.unwrap_err().kind(), ErrorKind::Refused);
    stream.set_faults(Faults::default());
    soon(producer.close()).await.unwrap();
    assert_eq!(written(&stream).len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_lose_nothing_in_shutdown() {
    let (directory, first) = (Directory::new(), stream());
    let mut accepted = Vec::new();
    let mut streams: Vec<SimStream> = vec![first];
    for round in 0..5 {
        let stream = &streams[round];
        stream.set_faults(if round % 2 == 0 { Faults::default() } else { outage() });
        let producer = produce(stream, directory.spool());
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let producer = producer.clone();
                tokio::spawn(async move {
                    let mut accepted = Vec::new();
                    for number in 0.. {
                        let number = (round * 10 + task) * 1_000_000 + number;
                        match producer.send(record(number)).await {
                            Ok(()) => accepted.push(number.to_string()),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Closed);
                                break;
                            }
                        }
                    }
                    accepted
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        soon(producer.close_within(Duration::ZERO)).await.unwrap();
        for task in tasks {
            accepted.extend(soon(task).await.unwrap());
        }
        streams.push(crate::fixtures::stream());
    }
    let mut all = rest(&directory).await;
    all.extend(streams.iter().flat_map(written));
    all.sort();
    all.dedup();
    let missing: Vec<_> =
        accepted.iter().filter(|number| all.binary_search(number).is_err()).collect();
    assert!(!accepted.is_empty() && missing.is_empty(), "{missing:?} of {}", accepted.len());
}
