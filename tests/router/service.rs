//! Tests of `Router` as a `tower::Service`.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kinesis_sink::{ErrorKind, Record, Router, StreamId};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

use super::fixtures::{configured, id, record, route, sent_to};
use crate::support::mock_service::MockService;

fn call(router: &mut Router, stream: &str, data: &str) -> kinesis_sink::producer::ResponseFuture {
    router.call((id(stream), record(data)))
}

#[tokio::test(start_paused = true)]
async fn call_completes_with_delivery() {
    let service = MockService::delivering();
    let mut router = route(&service);
    let delivery = router.ready().await.unwrap().call((id("a"), record(1))).await.unwrap();
    assert_eq!(delivery.attempts(), 1);
    assert_eq!(sent_to(&service, "a"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_capacity() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(1));
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let mut router = router.spawn_with(service.clone()).unwrap();
    let began = Instant::now();
    let calls = ["1", "2", "3"].map(|data| call(&mut router, "a", data));
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(sent_to(&service, "a"), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_idle_stream() {
    let router = configured(|settings| settings.max_streams = 1);
    let mut router = router.spawn_with(MockService::delivering()).unwrap();
    let (first, second) = (call(&mut router, "a", "1"), call(&mut router, "b", "2"));
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_call_is_sent_once_accepted() {
    let service = MockService::delivering();
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let mut router = router.spawn_with(service.clone()).unwrap();
    drop(call(&mut router, "a", "accepted"));
    drop(call(&mut router, "a", "waiting"));
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["accepted"]);
}

#[tokio::test(start_paused = true)]
async fn failed_call_returns_record() {
    let mut router = route(&MockService::rejecting_bad());
    let error = call(&mut router, "a", "bad").await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Undelivered, Some(&id("a"))));
    assert_eq!(error.into_record(), Some(record("bad")));
    let invalid = Record::from(("", "empty key"));
    let error = router.call((id("a"), invalid.clone())).await.unwrap_err();
    assert_eq!(error.into_record(), Some(invalid));
}

#[tokio::test(start_paused = true)]
async fn closed_router_is_not_ready() {
    let mut router = route(&MockService::delivering());
    router.close().await.unwrap();
    let error = router.ready().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = call(&mut router, "a", "1").await.unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::Closed, Some(record(1))));
}

#[tokio::test(start_paused = true)]
async fn call_all_delivers_with_limited_concurrency() {
    let service = MockService::delivering();
    let router = route(&service);
    let limited = ServiceBuilder::new().concurrency_limit(10).service(router);
    let records = stream::iter(0..200).map(|number| {
        let stream: StreamId = id(["a", "b", "c"][number % 3]);
        (stream, record(number))
    });
    let deliveries: Vec<_> = limited.call_all(records).unordered().collect().await;
    assert!(deliveries.iter().all(Result::is_ok));
    assert_eq!(service.delivered().len(), 200);
}
