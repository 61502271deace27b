//! Tests of `RouterSink`.

use std::time::Duration;

use futures::{FutureExt, Sink, SinkExt, StreamExt, stream};
use kinesis_sink::router::{RouterSink, WhenFull};
use kinesis_sink::{ErrorKind, Router};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready_ok, task};

use super::fixtures::{configured, for_stream, id, open_streams, record, route, sent_to};
use crate::support::mock_service::{MockService, service_error};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a router whose streams have room for one record each, and whose requests take a second.
fn narrow(service: &MockService) -> Router {
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    router.spawn_with(service.clone()).unwrap()
}

fn slow() -> MockService {
    MockService::delivering().with_round_trip(SECOND)
}

#[tokio::test(start_paused = true)]
async fn forward_sends_records_to_their_streams() {
    let service = MockService::delivering();
    let router = route(&service);
    let records =
        stream::iter(0..3_000).map(|number| Ok((id(["a", "b", "c"][number % 3]), record(number))));
    records.forward(router.sink()).await.unwrap();
    for (offset, stream) in ["a", "b", "c"].into_iter().enumerate() {
        let expected: Vec<_> =
            (offset..3_000).step_by(3).map(|number| number.to_string()).collect();
        assert_eq!(sent_to(&service, stream), expected);
    }
    assert!(!router.is_closed());
}

#[tokio::test(start_paused = true)]
async fn sink_exceeds_full_buffer_by_one_record() {
    let service = slow();
    let router = narrow(&service);
    let mut sink = task::spawn(router.sink());
    for number in 0..2 {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
        sink.enter(|_, sink| sink.start_send((id("a"), record(number)))).unwrap();
    }
    assert_eq!(router.stream_status("a").unwrap().buffered().records, 2);
    assert_pending!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    let error = sink.enter(|_, sink| sink.start_send((id("a"), record(2)))).unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Full, Some(&id("a"))));
    assert_eq!(error.into_record(), Some(record(2)));
    sleep(SECOND + SECOND / 10).await;
    assert!(sink.is_woken());
    assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    assert_eq!(sent_to(&service, "a"), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn accepted_record_is_sent_after_drop() {
    let service = slow();
    let router = narrow(&service);
    let mut sink = router.sink();
    for number in 0..2 {
        sink.feed((id("a"), record(number))).await.unwrap();
    }
    drop(sink);
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_feed_accepts_no_record() {
    let service = slow();
    let router = narrow(&service);
    let mut sink = router.sink();
    for number in 0..2 {
        sink.feed((id("a"), record(number))).await.unwrap();
    }
    assert!(sink.feed((id("b"), record("dropped"))).now_or_never().is_none());
    sink.feed((id("b"), record("sent"))).await.unwrap();
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["0", "1"]);
    assert_eq!(sent_to(&service, "b"), ["sent"]);
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_beyond_bounds() {
    let service = MockService::delivering();
    let router = narrow(&service);
    let records = stream::iter(0..100).map(|number| Ok((id("a"), record(number))));
    records.forward(router.sink()).await.unwrap();
    let expected: Vec<_> = (0..100).map(|number: usize| number.to_string()).collect();
    assert_eq!(sent_to(&service, "a"), expected);
    assert_eq!(router.status().buffered().records, 0);
    router.try_send_to("a", record(1)).unwrap();
    assert!(router.try_send_to("a", record(2)).is_err(), "the bound applies again");
}

#[tokio::test(start_paused = true)]
async fn many_sinks_exceed_bound_by_one_record_each() {
    let service = slow();
    let router = narrow(&service);
    let mut sinks: Vec<RouterSink> = (0..10).map(|_| router.sink()).collect();
    for sink in &mut sinks {
        sink.feed((id("a"), record(1))).await.unwrap();
    }
    assert_eq!(router.stream_status("a").unwrap().buffered().records, 10);
    for (number, sink) in sinks.iter_mut().enumerate() {
        assert_eq!(sink.feed((id("a"), record(2))).now_or_never().is_some(), number == 0);
    }
    drop(sinks);
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a").len(), 11);
}

#[tokio::test(start_paused = true)]
async fn newest_waker_is_woken_when_room_is_free() {
    let router = narrow(&slow());
    let mut sink = router.sink();
    for number in 0..2 {
        sink.feed((id("a"), record(number))).await.unwrap();
    }
    for polls_flush in [false, true] {
        let mut poll = |cx: &mut std::task::Context<'_>| {
            if polls_flush { sink.poll_flush_unpin(cx) } else { sink.poll_ready_unpin(cx) }
        };
        let (mut first, mut second) = (task::spawn(()), task::spawn(()));
        assert!(first.enter(|cx, _| poll(cx)).is_pending());
        assert!(second.enter(|cx, _| poll(cx)).is_pending());
        sleep(SECOND * 5).await;
        assert!(second.is_woken(), "flush: {polls_flush}");
        for number in 2..4 {
            while sink.feed((id("a"), record(number))).now_or_never().is_none() {
                sleep(SECOND).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_streams_of_this_sink() {
    let service = for_stream("stuck", |_| Err(service_error("InternalFailure")));
    let router = route(&service);
    router.send_to("stuck", record(1)).await.unwrap();
    let mut sink = router.sink();
    sink.flush().await.unwrap();
    for stream in ["a", "b"] {
        sink.feed((id(stream), record(stream))).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(service.delivered().len(), 2);
    let began = Instant::now();
    sink.flush().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing was sent since the last flush");
    assert_eq!(router.close_within(SECOND).await.unwrap_err().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_flush_is_continued() {
    let service = slow();
    let router = route(&service);
    let mut sink = router.sink();
    sink.feed((id("a"), record(1))).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sink.feed((id("b"), record(2))).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(service.delivered().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn flush_reports_failed_records() {
    let router = route(&MockService::rejecting_bad());
    let mut sink = router.sink();
    for stream in ["a", "b"] {
        sink.feed((id(stream), record("bad"))).await.unwrap();
    }
    let error = sink.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count(), error.stream()), (ErrorKind::Undelivered, 2, None));
    assert_eq!(router.take_failed().await.len(), 2);
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_flush_does_not_report_taken_records() {
    let router = route(&MockService::rejecting_bad());
    let mut sink = router.sink();
    sink.feed((id("a"), record("bad"))).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(SECOND).await;
    assert_eq!(router.take_failed().await.len(), 1);
    sink.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_sink_leaves_router_open() {
    let service = MockService::delivering();
    let router = route(&service);
    let (mut first, mut second) = (router.sink(), router.sink());
    first.feed((id("a"), record(1))).await.unwrap();
    first.close().await.unwrap();
    assert_eq!(service.delivered().len(), 1, "close flushes");
    assert!(first.is_closed() && !second.is_closed() && !router.is_closed());
    assert!(first.clone().is_closed());
    let late = first.feed((id("a"), record(2))).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    second.send((id("a"), record(3))).await.unwrap();
    router.send_to("a", record(4)).await.unwrap();
    router.close().await.unwrap();
    assert_eq!(service.delivered().len(), 3);
    assert_eq!(second.feed((id("a"), record(5))).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn open_sink_keeps_router_open() {
    let service = MockService::delivering();
    let mut sink = route(&service).sink();
    sink.send((id("a"), record(1))).await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks() > 0);
    sink.close().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(tasks(), 0, "a closed sink does not keep the router open");
}

#[tokio::test(start_paused = true)]
async fn sink_exceeds_maximum_by_one_stream() {
    let service = slow();
    let router = configured(|settings| settings.max_streams = 1);
    let router = router.spawn_with(service.clone()).unwrap();
    let mut sink = router.sink();
    sink.feed((id("a"), record(1))).await.unwrap();
    sink.feed((id("b"), record(2))).await.unwrap();
    assert_eq!(open_streams(&router), ["a", "b"]);
    let began = Instant::now();
    sink.feed((id("c"), record(3))).await.unwrap();
    assert!(began.elapsed() >= SECOND, "waited until a stream was idle");
    assert_eq!(open_streams(&router), ["c"]);
    sink.flush().await.unwrap();
    assert_eq!(service.delivered().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn forward_to_many_streams_terminates() {
    let service = MockService::delivering();
    let router = configured(|settings| settings.max_streams = 3);
    let router = router.spawn_with(service.clone()).unwrap();
    let forwards = (0..5).map(|sender| {
        let records = stream::iter(0..200).map(move |number| {
            Ok((id(&format!("stream-{}", number % 20)), record(sender * 1_000 + number)))
        });
        records.forward(router.sink())
    });
    futures::future::try_join_all(forwards).await.unwrap();
    assert_eq!(service.delivered().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn reject_returns_record_of_new_stream() {
    let router = configured(|settings| {
        settings.max_streams = 1;
        settings.when_full = WhenFull::Reject;
    });
    let router = router.spawn_with(MockService::delivering()).unwrap();
    let mut sink = router.sink();
    sink.send((id("a"), record(1))).await.unwrap();
    let error = sink.send((id("b"), record(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::TooManyStreams, Some(&id("b"))));
    assert_eq!(error.into_record(), Some(record(2)));
    sink.send((id("a"), record(3))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopped_stream_returns_record() {
    let service = for_stream("bad", |_| Err(service_error("AccessDeniedException")));
    let router = route(&service);
    let mut sink = router.sink();
    sink.feed((id("bad"), record(1))).await.unwrap();
    let error = sink.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Stopped, Some(&id("bad"))));
    let error = sink.feed((id("bad"), record(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::Stopped, Some(record(2))));
    sink.send((id("good"), record(3))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wait_for_room_ends_when_stream_stops() {
    let service = MockService::new(|_, _| Err(service_error("AccessDeniedException")));
    let router = narrow(&service.with_round_trip(SECOND));
    let mut sink = router.sink();
    for number in 0..2 {
        sink.feed((id("bad"), record(number))).await.unwrap();
    }
    let error = sink.feed((id("bad"), record(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::Stopped, Some(record(2))));
    assert_eq!(router.take_failed().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sink_without_flush_keeps_few_names() {
    let router = configured(|settings| settings.max_streams = 4);
    let router = router.spawn_with(MockService::delivering()).unwrap();
    let mut sink = router.sink();
    for number in 0..2_000 {
        sink.feed((id(&format!("stream-{number}")), record(number))).await.unwrap();
    }
    sink.close().await.unwrap();
    assert_eq!(router.status().totals.delivered, 2_000);
}
