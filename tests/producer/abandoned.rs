//! Tests that drivers and sinks return their records when they are dropped early, even if a dead-letter handler panics.

use std::time::Duration;

use futures::{FutureExt, SinkExt};
use kinesis_sink::record::FailureReason;
use kinesis_sink::{ErrorKind, Undelivered};
use tokio::time::sleep;
use tracing::Level;

use super::fixtures::{builder, record};
use crate::support::logs::Logs;
use crate::support::mock_service::{MockService, all_delivered, service_error, texts};

#[tokio::test(start_paused = true)]
async fn unpolled_driver_returns_records_on_drop() {
    let logs = Logs::listen(Level::INFO);
    let service = MockService::delivering();
    let (producer, driver) = builder().build_with(service).unwrap().into_producer();
    let receipt = producer.put(record("a")).await.unwrap();
    producer.send(record("b")).await.unwrap();
    drop(driver);
    let undelivered = receipt.now_or_never().unwrap().unwrap_err();
    assert!(matches!(undelivered.reason(), FailureReason::Abandoned { last: None, .. }));
    assert!(!undelivered.may_have_been_written(), "never sent");
    assert_eq!(texts(&producer.take_failed().await), ["b"]);
    let warnings = logs.with("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("ended with 2 records undelivered"), "{warnings:#?}");
}

/// The response arrives after the last poll of the driver.
#[tokio::test(start_paused = true)]
async fn dropped_driver_handles_received_response() {
    let service = MockService::rejecting_bad();
    let (producer, driver) = builder().build_with(service).unwrap().into_producer();
    let mut driver = Box::pin(driver);
    let delivered = producer.put(record("a")).await.unwrap();
    let rejected = producer.put(record("bad")).await.unwrap();
    assert!((&mut driver).now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    drop(driver);
    delivered.await.expect("delivered");
    assert!(matches!(rejected.await.unwrap_err().reason(), FailureReason::Rejected(_)));
    let totals = producer.status().totals;
    assert_eq!((totals.delivered, totals.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn driver_drop_survives_handler_panic() {
    let service = MockService::rejecting_bad();
    let builder = builder().with_dead_letters(|_: Undelivered| panic!("on purpose"));
    let (producer, driver) = builder.build_with(service).unwrap().into_producer();
    let mut driver = Box::pin(driver);
    let receipt = producer.put(record("a")).await.unwrap();
    producer.send(record("bad")).await.unwrap();
    assert!((&mut driver).now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    producer.send(record("b")).await.unwrap();
    drop(driver);
    receipt.await.expect("delivered");
    let error = producer.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abandoned, "{error}");
    assert_eq!(texts(error.undelivered()), ["b"]);
    assert!(producer.take_failed().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn sink_drop_survives_handler_panic() {
    let builder = builder().with_dead_letters(|_: Undelivered| panic!("on purpose"));
    let mut sink = builder.build_with(MockService::rejecting_bad()).unwrap();
    let (tracked, receipt) = record("a").tracked();
    sink.feed(tracked).await.unwrap();
    sink.feed(record("bad")).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    drop(sink);
    receipt.await.expect("delivered");
}

#[tokio::test(start_paused = true)]
async fn abort_returns_records_in_accepted_order() {
    let service = MockService::new(|call, request| match call {
        0 => Err(service_error("InternalFailure")),
        _ => Ok(all_delivered(request)),
    });
    let wait = Duration::from_secs(10);
    let builder = builder().configure(|settings| {
        settings.backoff.base = wait;
        settings.backoff.ceiling = wait;
    });
    let (producer, driver) = builder.build_with(service).unwrap().into_producer();
    let driver = tokio::spawn(driver);
    producer.send(record("a")).await.unwrap();
    producer.send(record("b")).await.unwrap();
    sleep(Duration::from_millis(30)).await;
    // The driver is aborted while "a" and "b" wait to be retried, and before it sends "c" and "d".
    producer.send(record("c")).await.unwrap();
    producer.send(record("d")).await.unwrap();
    let flush = tokio::spawn({
        let producer = producer.clone();
        async move { producer.flush().await }
    });
    sleep(Duration::from_millis(1)).await;
    driver.abort();
    let error = flush.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abandoned, "{error}");
    let left = producer.close().await.unwrap_err().into_undelivered();
    assert_eq!(texts(&left), ["a", "b", "c", "d"]);
    let written: Vec<_> = left.iter().map(Undelivered::may_have_been_written).collect();
    assert_eq!(written, [true, true, false, false]);
    let totals = producer.status().totals;
    assert_eq!((totals.accepted, totals.withdrawn), (4, 4));
}
