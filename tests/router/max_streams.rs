//! Tests of the maximum number of open streams.

use std::time::Duration;

use futures::{FutureExt, SinkExt, future};
use kinesis_sink::router::{RouterSettings, WhenFull};
use kinesis_sink::{ErrorKind, Router};
use tokio::time::{Instant, sleep, timeout};

use super::fixtures::{configured, for_stream, id, open_streams, record, sent_to};
use crate::support::mock_service::{MockService, service_error};

const SECOND: Duration = Duration::from_secs(1);

fn limited(max_streams: usize, service: &MockService) -> Router {
    limited_with(max_streams, service, |_| {})
}

fn limited_with(
    max_streams: usize,
    service: &MockService,
    change: impl FnOnce(&mut RouterSettings),
) -> Router {
    let builder = configured(|settings| {
        settings.max_streams = max_streams;
        change(settings);
    });
    builder.spawn_with(service.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn least_recently_used_stream_is_evicted() {
    let service = MockService::delivering();
    let router = limited(3, &service);
    for stream in ["a", "b", "c", "a", "d", "e"] {
        router.put_to(stream, record(stream)).await.unwrap().await.unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(open_streams(&router), ["a", "d", "e"]);
    assert_eq!(router.status().totals.delivered, 6, "the totals include closed streams");
}

#[tokio::test(start_paused = true)]
async fn stream_in_use_is_not_evicted() {
    let router = limited(2, &MockService::rejecting_bad());
    let producer = router.producer("handle").unwrap();
    for stream in ["a", "b", "c"] {
        router.put_to(stream, record(1)).await.unwrap().await.unwrap();
    }
    assert_eq!(open_streams(&router), ["c", "handle"]);
    drop(producer);
    router.send_to("failed", record("bad")).await.unwrap();
    router.flush().await.unwrap_err();
    for stream in ["a", "b", "c"] {
        router.put_to(stream, record(1)).await.unwrap().await.unwrap();
    }
    assert_eq!(open_streams(&router), ["c", "failed"]);
}

#[tokio::test(start_paused = true)]
async fn send_waits_until_stream_is_idle() {
    let service = MockService::delivering().with_round_trip(SECOND);
    let router = limited(1, &service);
    let began = Instant::now();
    for stream in ["a", "b", "c"] {
        router.send_to(stream, record(stream)).await.unwrap();
    }
    let waited = began.elapsed();
    assert!(waited >= 2 * SECOND && waited < 2 * SECOND + SECOND / 10, "{waited:?}");
    router.put_to("d", record("d")).await.unwrap().await.unwrap();
    router.close().await.unwrap();
    for stream in ["a", "b", "c", "d"] {
        assert_eq!(sent_to(&service, stream), [stream]);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_send_notices_dropped_handle() {
    let router = limited(1, &MockService::delivering());
    let producer = router.producer("a").unwrap();
    let mut waiting = Box::pin(router.send_to("b", record(1)));
    assert!(timeout(300 * SECOND, &mut waiting).await.is_err());
    drop(producer);
    let began = Instant::now();
    waiting.await.unwrap();
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
    assert_eq!(open_streams(&router), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_send_notices_taken_records() {
    let router = limited(1, &MockService::rejecting_bad());
    router.send_to("a", record("bad")).await.unwrap();
    let mut waiting = Box::pin(router.put_to("b", record(1)));
    assert!(timeout(SECOND, &mut waiting).await.is_err());
    assert_eq!(router.take_failed().await.len(), 1);
    waiting.await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_sends_are_served_in_order() {
    let service = MockService::delivering().with_round_trip(SECOND);
    let router = limited(1, &service);
    let sends = (0..20).map(|number| {
        let router = &router;
        let stream = format!("stream-{:02}", number % 10);
        async move { router.put_to(stream, record(number)).await.unwrap().await.unwrap() }
    });
    future::join_all(sends).await;
    let streams: Vec<_> =
        service.requests().iter().map(|request| request.stream().to_string()).collect();
    let expected: Vec<_> = (0..10).map(|number| format!("stream-{number:02}")).collect();
    assert_eq!(streams, expected, "calls for the same stream are served together");
}

#[tokio::test(start_paused = true)]
async fn dropped_wait_opens_no_stream() {
    let router = limited(1, &MockService::delivering());
    let producer = router.producer("a").unwrap();
    assert!(router.send_to("b", record("dropped")).now_or_never().is_none());
    drop(producer);
    sleep(SECOND).await;
    assert_eq!(router.status().opened, 1);
    router.send_to("c", record(1)).await.unwrap();
    assert_eq!(open_streams(&router), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn try_send_returns_record_if_none_is_idle() {
    let service = MockService::delivering();
    let router = limited(2, &service);
    for stream in ["a", "b"] {
        router.send_to(stream, record(1)).await.unwrap();
    }
    let error = router.try_send_to("c", record(2)).unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::TooManyStreams, Some(&id("c"))));
    assert_eq!(
        error.to_string(),
        "2 streams are open, the maximum; raise `max_streams`, or try again later"
    );
    assert_eq!(error.into_record(), Some(record(2)));
    assert!(router.try_put_to("c", record(3)).is_err());
    assert_eq!(router.producer("c").unwrap_err().kind(), ErrorKind::TooManyStreams);
    router.try_send_to("a", record(4)).unwrap();
    router.flush().await.unwrap();
    router.try_send_to("c", record(5)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn reject_returns_record() {
    let service = MockService::delivering();
    let router = limited_with(1, &service, |settings| settings.when_full = WhenFull::Reject);
    router.put_to("a", record(1)).await.unwrap().await.unwrap();
    sleep(SECOND).await;
    for error in [
        router.send_to("b", record(2)).await.unwrap_err(),
        router.put_to("b", record(2)).await.unwrap_err(),
        router.try_send_to("b", record(2)).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.stream()), (ErrorKind::TooManyStreams, Some(&id("b"))));
        assert_eq!(error.into_record(), Some(record(2)));
    }
    router.send_to("a", record(3)).await.unwrap();
    sleep(SECOND * 200).await;
    router.send_to("b", record(4)).await.unwrap();
    assert_eq!(open_streams(&router), ["b"], "`a` was closed after the idle timeout");
}

#[tokio::test(start_paused = true)]
async fn close_ends_waiting_send() {
    let router = limited(1, &MockService::new(|_, _| Err(service_error("InternalFailure"))));
    router.send_to("a", record(1)).await.unwrap();
    let (sent, closed) = future::join(router.send_to("b", record(2)), async {
        sleep(SECOND).await;
        router.close_within(SECOND).await
    })
    .await;
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.into_record(), Some(record(2)));
    assert_eq!(closed.unwrap_err().count(), 1);
}

#[test]
fn end_of_runtime_ends_waiting_send() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let service = MockService::delivering().with_round_trip(300 * SECOND);
    let router = runtime.block_on(async { limited(1, &service) });
    router.try_send_to("a", record(1)).unwrap();
    let waiting = std::thread::spawn({
        let router = router.clone();
        move || futures::executor::block_on(router.send_to("b", record(2)))
    });
    std::thread::sleep(SECOND / 20);
    drop(runtime);
    for error in [
        waiting.join().unwrap().unwrap_err(),
        futures::executor::block_on(router.send_to("c", record(2))).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Abandoned);
        assert_eq!(error.into_record(), Some(record(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn many_streams_use_few_places() {
    const STREAMS: usize = 500;
    let service = MockService::delivering();
    let router = limited(10, &service);
    let sends = (0..STREAMS * 4).map(|number| {
        let router = &router;
        async move {
            let stream = format!("stream-{}", number % STREAMS);
            router.put_to(stream, record(number)).await.unwrap().await.unwrap();
            assert!(router.status().open_streams <= 10);
        }
    });
    future::join_all(sends).await;
    assert_eq!(router.status().totals.delivered, 4 * STREAMS as u64);
    assert_eq!(service.delivered().len(), 4 * STREAMS);
}

#[tokio::test(start_paused = true)]
async fn new_streams_do_not_starve_open_one() {
    let router = limited_with(20, &MockService::delivering(), |settings| {
        settings.budget.max_in_flight = 2;
    });
    router.put_to("open", record(0)).await.unwrap().await.unwrap();
    let producer = router.producer("open").unwrap();
    let sends = (0..2_000).map(|number| {
        let router = &router;
        async move {
            let stream = format!("new-{number}");
            router.put_to(stream, record(number)).await.unwrap().await.unwrap();
        }
    });
    let began = Instant::now();
    let waited = async {
        sleep(SECOND / 10).await;
        producer.put(record(1)).await.unwrap().await.unwrap();
        began.elapsed()
    };
    let (waited, _) = future::join(waited, future::join_all(sends)).await;
    assert!(waited < SECOND, "waited {waited:?} of {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn pending_flush_keeps_no_settled_stream() {
    let router = limited(2, &for_stream("stuck", |_| Err(service_error("InternalFailure"))));
    for stream in ["stuck", "a"] {
        router.send_to(stream, record(1)).await.unwrap();
    }
    let mut flush = Box::pin(router.flush());
    assert!(timeout(SECOND, &mut flush).await.is_err());
    let sent = timeout(60 * SECOND, router.send_to("b", record(2)));
    sent.await.expect("`a` is idle, but the flush keeps it open").unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_flush_of_sink_keeps_no_stream() {
    let router = limited(1, &MockService::delivering());
    let mut sink = router.sink();
    sink.feed((id("a"), record(1))).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    let sent = timeout(60 * SECOND, router.send_to("b", record(2)));
    sent.await.expect("`a` is idle, but the sink keeps it open").unwrap();
    sink.flush().await.unwrap();
}
