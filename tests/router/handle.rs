//! Tests of sending records through a `Router`.

use std::time::Duration;

use futures::future;
use kinesis_sink::sim::SimStream;
use kinesis_sink::{ErrorKind, Record, Router};
use tokio::time::Instant;

use super::fixtures::{builder, configured, id, record, route, sent_to};
use crate::support::alloc;
use crate::support::mock_service::MockService;

#[tokio::test(start_paused = true)]
async fn records_are_sent_to_their_streams() {
    let service = MockService::delivering();
    let router = route(&service);
    for number in 0..30 {
        let stream = ["a", "b", "c"][number % 3];
        router.send_to(stream, record(number)).await.unwrap();
    }
    router.flush().await.unwrap();
    for (offset, stream) in ["a", "b", "c"].into_iter().enumerate() {
        let expected: Vec<_> = (offset..30).step_by(3).map(|number| number.to_string()).collect();
        assert_eq!(sent_to(&service, stream), expected, "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_is_a_name_an_arn_or_an_id() {
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
    let service = MockService::delivering();
    let router = route(&service);
    router.send_to(id("clicks"), record(1)).await.unwrap();
    router.send_to(&id("clicks"), record(2)).await.unwrap();
    router.send_to("clicks".to_owned(), record(3)).await.unwrap();
    router.send_to(arn, record(4)).await.unwrap();
    router.flush().await.unwrap();
    assert_eq!(sent_to(&service, "clicks"), ["1", "2", "3"]);
    assert_eq!(sent_to(&service, arn), ["4"]);
    assert_eq!(router.status().open_streams, 2, "an ARN is a separate stream");
}

#[tokio::test(start_paused = true)]
async fn put_returns_receipt() {
    let router = route(&MockService::rejecting_bad());
    let delivered = router.put_to("a", record("good")).await.unwrap();
    let failed = router.try_put_to("b", record("bad")).unwrap();
    assert_eq!(delivered.await.unwrap().attempts(), 1);
    let undelivered = failed.await.unwrap_err();
    assert_eq!(undelivered.stream(), Some(&id("b")));
    assert_eq!(undelivered.into_record(), record("bad"));
}

#[tokio::test(start_paused = true)]
async fn try_send_returns_record_when_full() {
    let service = MockService::delivering();
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let router = router.spawn_with(service).unwrap();
    router.try_send_to("a", record("1")).unwrap();
    let error = router.try_send_to("a", record("2")).unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Full, Some(&id("a"))));
    assert_eq!(error.into_record(), Some(record("2")));
    let error = router.try_put_to("a", record("3")).unwrap_err();
    assert_eq!(error.into_record(), Some(record("3")));
    router.try_send_to("b", record("4")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn send_waits_only_for_its_stream() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(10));
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let router = router.spawn_with(service.clone()).unwrap();
    let began = Instant::now();
    router.send_to("full", record("1")).await.unwrap();
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { router.send_to("full", record("2")).await }
    });
    tokio::task::yield_now().await;
    router.send_to("other", record("3")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 10);
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "full"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_send_does_not_accept_record() {
    let service = MockService::delivering();
    let router = configured(|settings| settings.defaults.buffer_records = Some(1));
    let router = router.spawn_with(service.clone()).unwrap();
    router.send_to("a", record("1")).await.unwrap();
    assert!(futures::FutureExt::now_or_never(router.send_to("a", record("dropped"))).is_none());
    router.send_to("a", record("2")).await.unwrap();
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn producer_handle_sends_to_its_stream() {
    let service = MockService::delivering();
    let router = route(&service);
    let producer = router.producer("a").unwrap();
    assert_eq!(producer.stream(), &id("a"));
    producer.send(record("1")).await.unwrap();
    router.send_to("a", record("2")).await.unwrap();
    router.flush().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn closed_producer_handle_is_replaced() {
    let service = MockService::delivering();
    let router = route(&service);
    router.send_to("a", record("1")).await.unwrap();
    router.producer("a").unwrap().close().await.unwrap();
    router.send_to("a", record("2")).await.unwrap();
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn invalid_record_is_returned() {
    let router = route(&MockService::delivering());
    let invalid = Record::from(("", "empty key"));
    let error = router.send_to("a", invalid.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::InvalidPartitionKey, Some(&id("a"))));
    assert_eq!(error.into_record(), Some(invalid));
}

#[tokio::test(start_paused = true)]
async fn lookup_of_open_stream_does_not_allocate() {
    let router = route(&MockService::delivering());
    let first = router.producer("a-stream").unwrap();
    let before = alloc::reset_peak();
    let second = router.producer("a-stream").unwrap();
    assert_eq!(alloc::peak(), before);
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn idle_stream_uses_little_memory() {
    const STREAMS: isize = 1_000;
    const MAX_BYTES: isize = 20_000;
    let router = route(&MockService::delivering());
    let before = alloc::current();
    for number in 0..STREAMS {
        router.put_to(format!("stream-{number}"), record(number)).await.unwrap().await.unwrap();
    }
    let bytes = (alloc::current() - before) / STREAMS;
    assert!(bytes < MAX_BYTES, "{bytes} bytes per stream");
}

#[tokio::test(start_paused = true)]
async fn client_is_shared_by_streams() {
    let stream = SimStream::new(1);
    let arn = stream.arn().to_owned();
    let router = builder().spawn(&stream.client()).unwrap();
    let name = stream.id();
    let puts = [name.as_ref(), arn.as_str()].map(|stream| router.put_to(stream, record("data")));
    for receipt in future::try_join_all(puts).await.unwrap() {
        receipt.await.unwrap();
    }
    assert_eq!(stream.written().len(), 2);
}

#[test]
fn handles_work_outside_of_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let service = MockService::delivering().with_round_trip(Duration::from_millis(1));
    let router = runtime.block_on(async { route(&service) });
    router.try_send_to("a", record("1")).unwrap();
    futures::executor::block_on(async {
        router.send_to("b", record("2")).await.unwrap();
        let receipt = router.put_to("c", record("3")).await.unwrap();
        receipt.await.unwrap();
        router.close().await.unwrap();
    });
    assert_eq!(router.status().totals.delivered, 3);
}

#[test]
#[should_panic(expected = "no reactor running")]
fn spawn_panics_outside_of_runtime() {
    let _ = Router::builder().spawn_with(MockService::delivering());
}

#[test]
fn futures_and_handles_can_be_sent() {
    fn assert_send_sync<T: Send + Sync>(_: &T) {}
    fn assert_send<T: Send>(_: &T) {}
    let check = |router: Router| {
        assert_send_sync(&router);
        assert_send_sync(&router.sink());
        assert_send(&router.send_to("a", record("1")));
        assert_send(&router.put_to(id("a"), record("1")));
        assert_send(&router.flush());
        assert_send(&router.take_failed());
        assert_send(&router.close());
        assert_send(&router.close_within(Duration::ZERO));
        assert_send(&router.closed());
    };
    let _ = check;
    assert_eq!(size_of::<Router>(), size_of::<usize>());
}
