//! Tests of how a `Router` closes idle streams.

use std::time::Duration;

use futures::SinkExt;
use kinesis_sink::status::Condition;
use kinesis_sink::{ErrorKind, Record, RecordOrdering};
use tokio::time::{Instant, sleep};

use super::fixtures::{
    IDLE_TIMEOUT, builder, configured, for_stream, id, open_streams, record, route, sent_to,
};
use crate::support::mock_service::{MockService, all_delivered, service_error};

const SECOND: Duration = Duration::from_secs(1);

/// Maximum time after the timeout at which a stream is closed.
const TOLERANCE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn idle_stream_is_closed_after_timeout() {
    let service = MockService::delivering();
    let router = route(&service);
    for offset in [0, 1, 5, 9] {
        sleep(SECOND * offset).await;
        let receipt = router.put_to("a", record("1")).await.unwrap();
        let watch = router.producer("a").unwrap().watch();
        receipt.await.unwrap();
        let began = Instant::now();
        sleep(IDLE_TIMEOUT - SECOND).await;
        assert_eq!(open_streams(&router), ["a"], "{offset}");
        while !open_streams(&router).is_empty() {
            sleep(SECOND / 10).await;
        }
        let idle = began.elapsed();
        assert!(idle >= IDLE_TIMEOUT - SECOND / 10 && idle <= IDLE_TIMEOUT + TOLERANCE, "{idle:?}");
        sleep(SECOND / 10).await;
        assert_eq!(watch.current(), Condition::Closed, "its driver has ended");
    }
    assert_eq!(sent_to(&service, "a").len(), 4, "the next use opens it again");
    assert_eq!(router.status().opened, 4);
    assert_eq!(router.status().totals.delivered, 4);
}

#[tokio::test(start_paused = true)]
async fn stream_in_use_is_not_closed() {
    let router = route(&MockService::delivering());
    for _ in 0..20 {
        router.send_to("a", record("1")).await.unwrap();
        sleep(IDLE_TIMEOUT / 2).await;
    }
    assert_eq!(router.status().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn producer_handle_keeps_stream_open() {
    let router = route(&MockService::delivering());
    let producer = router.producer("a").unwrap();
    sleep(IDLE_TIMEOUT * 3).await;
    assert_eq!(open_streams(&router), ["a"]);
    let sink = producer.sink();
    drop(producer);
    sleep(IDLE_TIMEOUT * 3).await;
    assert_eq!(open_streams(&router), ["a"], "a sink of the producer is a handle");
    drop(sink);
    sleep(IDLE_TIMEOUT - SECOND).await;
    assert_eq!(open_streams(&router), ["a"], "the idle time begins when the handle is dropped");
    sleep(TOLERANCE * 2).await;
    assert!(open_streams(&router).is_empty());
}

#[tokio::test(start_paused = true)]
async fn buffered_record_keeps_stream_open() {
    let mut outage = true;
    let began = Instant::now();
    let service = for_stream("a", move |request| {
        outage &= began.elapsed() < IDLE_TIMEOUT * 5;
        if outage { Err(service_error("InternalFailure")) } else { Ok(all_delivered(request)) }
    });
    let router = route(&service);
    let receipt = router.put_to("a", record("1")).await.unwrap();
    sleep(IDLE_TIMEOUT * 4).await;
    assert_eq!(open_streams(&router), ["a"]);
    receipt.await.unwrap();
    sleep(IDLE_TIMEOUT - SECOND).await;
    assert_eq!(open_streams(&router), ["a"], "the idle time begins when the record is settled");
    sleep(TOLERANCE * 2).await;
    assert!(open_streams(&router).is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_record_keeps_stream_open() {
    let router = route(&MockService::rejecting_bad());
    router.send_to("a", record("bad")).await.unwrap();
    sleep(IDLE_TIMEOUT * 4).await;
    assert_eq!(open_streams(&router), ["a"]);
    let error = router.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1));
    assert_eq!(router.take_failed().await.len(), 1);
    sleep(IDLE_TIMEOUT + TOLERANCE * 2).await;
    assert!(open_streams(&router).is_empty());
    assert_eq!(router.status().totals.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_call_keeps_stream_open() {
    let service = MockService::new(|_, _| Err(service_error("InternalFailure")));
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let router = router.spawn_with(service).unwrap();
    router.send_to("a", record("1")).await.unwrap();
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { router.send_to("a", record("2")).await }
    });
    sleep(IDLE_TIMEOUT * 3).await;
    assert_eq!(open_streams(&router), ["a"]);
    assert_eq!(router.close_within(SECOND).await.unwrap_err().count(), 1);
    assert_eq!(waiting.await.unwrap().unwrap_err().into_record(), Some(record("2")));
}

#[tokio::test(start_paused = true)]
async fn sink_does_not_keep_idle_streams_open() {
    let router = route(&MockService::delivering());
    let mut sink = router.sink();
    for number in 0..20 {
        sink.feed((id(&format!("stream-{number}")), record("1"))).await.unwrap();
    }
    assert_eq!(router.status().open_streams, 20);
    sleep(IDLE_TIMEOUT + TOLERANCE * 2).await;
    assert_eq!(router.status().open_streams, 0, "all records were delivered");
    sink.flush().await.unwrap();
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn order_per_key_is_kept_when_reopened() {
    let service = MockService::delivering();
    let router =
        builder().configure_stream(|_, builder| builder.with_ordering(RecordOrdering::PerKey));
    let router = router.spawn_with(service.clone()).unwrap();
    for number in 0..30 {
        let record = Record::from(("key", number.to_string()));
        router.send_to("a", record).await.unwrap();
        if number % 10 == 9 {
            sleep(IDLE_TIMEOUT + TOLERANCE * 2).await;
        }
    }
    router.close().await.unwrap();
    assert_eq!(router.status().opened, 3);
    let expected: Vec<_> = (0..30).map(|number: usize| number.to_string()).collect();
    assert_eq!(sent_to(&service, "a"), expected);
}

#[tokio::test(start_paused = true)]
async fn many_idle_streams_are_closed() {
    const STREAMS: usize = 3_000;
    let router = route(&MockService::delivering());
    for number in 0..STREAMS {
        router.send_to(format!("stream-{number}"), record("1")).await.unwrap();
    }
    router.flush().await.unwrap();
    assert_eq!(router.status().open_streams, STREAMS);
    sleep(IDLE_TIMEOUT + TOLERANCE * 2).await;
    let status = router.status();
    assert_eq!((status.open_streams, status.totals.delivered), (0, STREAMS as u64));
}

#[tokio::test(start_paused = true)]
async fn maintenance_task_ends_with_router() {
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
    for closes in [true, false] {
        let router = route(&MockService::delivering());
        router.put_to("a", record("1")).await.unwrap().await.unwrap();
        assert_eq!(metrics.num_alive_tasks(), 2, "a driver and the maintenance task");
        if closes {
            router.close().await.unwrap();
            sleep(SECOND).await;
            assert_eq!(metrics.num_alive_tasks(), 0, "{router:?}");
        }
        drop(router);
        sleep(SECOND).await;
        assert_eq!(metrics.num_alive_tasks(), 0);
    }
}
