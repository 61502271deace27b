//! Tests of faults that were found by review: each failed before its fix.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::try_join_all;
use kinesis_sink::record::FailureReason;
use kinesis_sink::spool::{SpoolMode, WhenFull};
use kinesis_sink::status::Condition;
use kinesis_sink::{Producer, Record};

use crate::fixtures::*;
use crate::support::mock_service::MockService;

/// Time after which a call is taken to wait for space.
const FULL: Duration = Duration::from_secs(2);

/// Returns a record of 4 KiB.
fn large(number: usize) -> Record {
    Record::from(("key", format!("{number:<4096}")))
}

/// Closes the producer at once, and returns the number of records in the error.
async fn returned_by_close(producer: &Producer) -> usize {
    let closed = soon(producer.close_within(Duration::ZERO)).await;
    closed.map_or_else(|error| error.into_undelivered().len(), |()| 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_returns_staged_records_of_full_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let spool = || directory.spool().with_max_bytes(1 << 20);
    let producer = produce(&stream, spool());
    let accepted = (0..700).filter(|n| producer.try_send(large(*n)).is_ok()).count();
    let returned = returned_by_close(&producer).await;
    assert!(returned > 0, "the spool has space for all records");
    assert_eq!(produce(&stream, spool()).recovered() as usize + returned, accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_records_that_fill_buffer_end_close() {
    let directory = Directory::new();
    let service = MockService::rejecting_bad().with_round_trip(Duration::from_millis(2));
    let builder = builder().configure(|settings| settings.buffer_records = Some(10));
    let producer = builder.with_spool(directory.spool()).build_with(service).unwrap().spawn();
    for number in 0..50 {
        producer.send(record(format!("bad-{number}"))).await.unwrap();
    }
    soon(producer.flush()).await.unwrap_err();
    let returned = soon(producer.close()).await.unwrap_err().into_undelivered().len();
    assert_eq!(returned, 10);
    assert_eq!(produce(&stream(), directory.spool()).recovered(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flush_fails_if_close_leaves_records() {
    for _ in 0..10 {
        let (directory, stream) = (Directory::new(), stream_in_outage());
        let builder = builder().configure(|settings| settings.buffer_records = Some(10));
        let sink = builder.with_spool(directory.spool()).build_with(stream.service()).unwrap();
        let producer = sink.spawn();
        for number in 0..50 {
            producer.send(record(number)).await.unwrap();
        }
        let mut flush = Box::pin(producer.flush());
        assert!(flush.as_mut().now_or_never().is_none());
        assert_eq!(returned_by_close(&producer).await, 0);
        soon(flush).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_driver_keeps_staged_overflow() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let spool = || directory.spool().with_mode(SpoolMode::Overflow);
    let builder = builder().configure(|settings| settings.buffer_records = Some(10));
    let sink = builder.with_spool(spool()).build_with(stream.service()).unwrap();
    let (producer, driver) = sink.into_producer();
    let accepted = (0..30).filter(|n| producer.try_send(record(*n)).is_ok()).count();
    drop(driver);
    let closed = soon(producer.close()).await;
    let returned = closed.map_or_else(|error| error.into_undelivered().len(), |()| 0);
    assert_eq!((returned, accepted), (10, 30));
    assert_eq!(produce(&stream, spool()).recovered(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_records_go_to_their_receipts() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let handled = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = handled.clone();
    let spool = directory.spool().with_max_bytes(12 << 20).when_full(WhenFull::DropOldest);
    let producer = builder()
        .configure(|settings| settings.buffer_records = Some(10))
        .with_dead_letters(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .with_spool(spool)
        .build_with(stream.service())
        .unwrap()
        .spawn();
    let mut receipts = Vec::new();
    // Concurrent calls are written in groups.
    for number in (0..3_840).step_by(64) {
        let puts = (number..number + 64).map(|number| producer.put(large(number)));
        let Ok(put) = tokio::time::timeout(FULL, try_join_all(puts)).await else { break };
        receipts.extend(put.unwrap());
    }
    assert!(receipts.len() > 1_000);
    assert_eq!(returned_by_close(&producer).await, 0);
    for receipt in receipts {
        let undelivered = soon(receipt).await.unwrap_err();
        let reason = undelivered.reason();
        let is_expected =
            matches!(reason, FailureReason::Spooled { .. } | FailureReason::SpoolFull);
        assert!(is_expected, "{undelivered}");
    }
    assert_eq!(handled.load(Ordering::Relaxed), 0, "each record has a receipt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_close_keeps_failed_records() {
    for _ in 0..5 {
        let directory = Directory::new();
        let service = MockService::rejecting_bad().with_round_trip(Duration::from_millis(2));
        let producer = builder().with_spool(directory.spool()).build_with(service).unwrap().spawn();
        producer.send(record("bad")).await.unwrap();
        assert!(producer.close().now_or_never().is_none());
        soon(producer.closed()).await;
        while !matches!(producer.status().condition, Condition::Closed) {
            tokio::task::yield_now().await;
        }
        let first = producer.close().now_or_never();
        let last = soon(producer.close()).await;
        let results = first.into_iter().chain([last]);
        let returned =
            results.flat_map(|closed| closed.err()).map(|error| error.into_undelivered().len());
        assert_eq!(returned.sum::<usize>(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_driver_ends_send_to_full_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let spool = directory.spool().with_max_bytes(1 << 20);
    let sink = builder().with_spool(spool).build_with(stream.service()).unwrap();
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    let sender = producer.clone();
    let sending = tokio::spawn(async move {
        for number in 0.. {
            sender.send(large(number)).await?;
        }
        Ok(())
    });
    while !producer.status().spool.unwrap().is_full {
        tokio::task::yield_now().await;
    }
    driver.abort();
    let error: kinesis_sink::Error = soon(sending).await.unwrap().unwrap_err();
    assert!(error.into_record().is_some());
}
