//! Tests of `RouterStatus` and of the statuses of streams.

use std::time::Duration;

use kinesis_sink::budget::{Budget, BudgetSettings};
use kinesis_sink::router::RouterStatus;
use kinesis_sink::status::Condition;
use serde_json::json;
use tokio::time::sleep;

use super::fixtures::{builder, configured, for_stream, id, record, route};
use crate::support::mock_service::{MockService, service_error};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn status_is_sum_of_streams() {
    let service = for_stream("failing", |_| Err(service_error("InternalFailure")));
    let router = route(&service);
    for _ in 0..3 {
        router.send_to("working", record("12345")).await.unwrap();
    }
    router.flush().await.unwrap();
    sleep(SECOND).await;
    for _ in 0..2 {
        router.send_to("failing", record("12345")).await.unwrap();
    }
    sleep(SECOND * 10).await;
    let status = router.status();
    let statuses = router.stream_statuses();
    assert_eq!((status.open_streams, statuses.len()), (2, 2));
    assert_eq!((status.working, status.failing, status.refused, status.stopped), (1, 1, 0, 0));
    assert_eq!(status.buffered().records, 2);
    assert_eq!(status.queued.records + status.in_flight.records, 2);
    let accepted = statuses.iter().map(|status| status.totals.accepted);
    assert_eq!((status.totals.accepted, accepted.sum()), (5, 5));
    assert_eq!(status.totals.delivered, 3);
    assert_eq!(status.oldest_age, Some(SECOND * 10));
    let failing = router.stream_status(id("failing")).unwrap();
    assert!(matches!(failing.condition, Condition::Failing { .. }));
    assert_eq!(status.totals.requeued, failing.totals.requeued);
}

#[tokio::test(start_paused = true)]
async fn failed_records_are_counted_until_taken() {
    let router = route(&MockService::rejecting_bad());
    for stream in ["a", "b"] {
        router.send_to(stream, record("bad")).await.unwrap();
    }
    router.flush().await.unwrap_err();
    assert_eq!(router.status().failed.records, 2);
    assert_eq!(router.take_failed().await.len(), 2);
    assert_eq!(router.status().failed.records, 0);
    assert_eq!(router.status().totals.failed, 2);
}

#[tokio::test(start_paused = true)]
async fn totals_include_evicted_streams() {
    let router = configured(|settings| settings.max_streams = 2);
    let router = router.spawn_with(MockService::delivering()).unwrap();
    for number in 0..50 {
        let stream = format!("stream-{number}");
        router.put_to(stream, record(number)).await.unwrap().await.unwrap();
    }
    let status = router.status();
    assert_eq!((status.open_streams, status.max_streams, status.opened), (2, 2, 50));
    assert_eq!((status.totals.accepted, status.totals.delivered), (50, 50));
    assert_eq!((status.totals.requests, status.totals.entries), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn capacity_is_that_of_budget() {
    let mut settings = BudgetSettings::default();
    settings.buffer_records = 123;
    settings.buffer_bytes = 4_567;
    let budget = Budget::new(settings).unwrap();
    let router = builder().with_budget(&budget).spawn_with(MockService::delivering()).unwrap();
    let capacity = router.status().capacity;
    assert_eq!((capacity.records, capacity.bytes), (123, 4_567));
}

#[tokio::test(start_paused = true)]
async fn status_is_serialized() {
    let router = route(&MockService::rejecting_bad());
    router.put_to("a", record("12345")).await.unwrap().await.unwrap();
    let value = serde_json::to_value(router.status()).unwrap();
    assert_eq!(value["open_streams"], 1);
    assert_eq!(value["working"], 1);
    assert_eq!(value["oldest_age"], json!(null));
    assert_eq!(value["totals"]["delivered"], 1);
    assert_eq!(value["queued"], json!({"records": 0, "bytes": 0}));
    router.send_to("a", record("12345")).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(serde_json::to_value(router.status()).unwrap()["oldest_age"], json!(0.01));
    assert_eq!(RouterStatus::default().open_streams, 0);
}

#[tokio::test(start_paused = true)]
async fn debug_output_contains_no_stream() {
    let router = route(&MockService::delivering());
    router.send_to("secret-name", record("payload")).await.unwrap();
    let text = format!("{router:?} {:?} {:?}", router.sink(), builder());
    assert!(!text.contains("secret-name") && !text.contains("payload"), "{text}");
    assert!(text.contains("open_streams: 1"), "{text}");
}
