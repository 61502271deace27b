//! Tests of how a sink handles failed entries, requests, and services: retries, dead letters, fatal errors, and panics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, stream};
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::{EntryError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{ErrorKind, KinesisSink, Record, Undelivered};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service};
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service::{
    MockService, all_delivered, answer_each, numbers, records, service_error, text, texts,
};

fn sink(service: &MockService) -> KinesisSink<MockService> {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(service.clone())
        .unwrap()
}

fn buffered<S>(sink: &KinesisSink<S>) -> Vec<String> {
    sink.buffered_records().into_iter().map(|record| text(record.data())).collect()
}

fn rejecting(bad: &'static [&'static str]) -> MockService {
    MockService::new(move |_, request| {
        let delivered = all_delivered(request).into_results();
        let results = request.entries().iter().zip(delivered).map(|(entry, delivered)| {
            if bad.contains(&text(entry.data()).as_str()) {
                return Err(EntryError::new("InvalidArgumentException", "no"));
            }
            delivered
        });
        Ok(PutRecordsResponse::new(results.collect()))
    })
}

#[tokio::test(start_paused = true)]
async fn partial_failure_is_retried() {
    let service = MockService::new(|call, request| {
        Ok(answer_each(request, |place| !(call + place).is_multiple_of(3)))
    });
    let mut sink = sink(&service);
    sink.send_all(&mut stream::iter(records(0..5_000).map(Ok))).await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..5_000));
    assert!(sink.totals().requeued > 0 && sink.totals().throttled > 0);
}

#[tokio::test(start_paused = true)]
async fn fatal_error_keeps_records_buffered() {
    for close in [false, true] {
        let service = MockService::failing(2, "AccessDeniedException");
        let mut sink = sink(&service);
        for record in records(0..3) {
            sink.feed(record).await.unwrap();
        }
        for _ in 0..2 {
            let error = if close { sink.close().await } else { sink.flush().await }.unwrap_err();
            assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 3), "{error}");
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.to_string().contains("AccessDeniedException"), "{source}");
            assert_eq!(buffered(&sink), numbers(0..3));
        }
        if close { sink.close().await } else { sink.flush().await }.unwrap();
        assert_eq!(service.delivered(), numbers(0..3));
    }
}

#[tokio::test(start_paused = true)]
async fn poll_ready_returns_fatal_error() {
    let service = MockService::failing(1, "ResourceNotFoundException");
    let mut sink = sink(&service);
    for record in records(0..500) {
        sink.feed(record).await.unwrap();
    }
    std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).now_or_never().unwrap().unwrap();
    sleep(Duration::from_millis(21)).await;
    let error = std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 500), "{error}");
    sink.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..500));
}

#[tokio::test(start_paused = true)]
async fn close_delivers_after_forward_error() {
    let service = MockService::failing(1, "AccessDeniedException");
    let mut sink = sink(&service);
    let error = stream::iter(records(0..10).map(Ok)).forward(&mut sink).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 10), "{error}");
    sink.close().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..10));
}

#[tokio::test(start_paused = true)]
async fn request_error_is_retried_with_backoff() {
    for (code, sizes) in [
        // The sink bisects the request, because one record might be invalid, and sends a record that failed alone last.
        ("InternalFailure", vec![3, 3, 1, 1, 1, 1]),
        ("KMSThrottlingException", vec![3; 4]),
        ("ExpiredTokenException", vec![3; 4]),
    ] {
        let service = MockService::failing(3, code);
        let mut sink = sink(&service);
        let began = Instant::now();
        sink.send_all(&mut stream::iter(records(0..3).map(Ok))).await.unwrap();
        let mut delivered = service.delivered();
        delivered.sort();
        assert_eq!(delivered, numbers(0..3), "{code}");
        assert_eq!(service.sizes(), sizes, "{code}");
        assert!(began.elapsed() > Duration::from_millis(80), "{code}: no backoff");
    }
}

#[tokio::test(start_paused = true)]
async fn bisected_invalid_record_fails_alone() {
    let service = MockService::new(|_, request| {
        if request.entries().iter().any(|entry| entry.data() == "321") {
            return Err(service_error("ValidationException"));
        }
        Ok(all_delivered(request))
    });
    let mut sink = sink(&service);
    let error = sink.send_all(&mut stream::iter(records(0..500).map(Ok))).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    sink.flush().await.unwrap();
    let failed = sink.take_failed();
    assert_eq!(texts(&failed), ["321"]);
    let FailureReason::Rejected(reason) = failed[0].reason() else {
        panic!("{}", failed[0].reason())
    };
    assert_eq!(reason.code(), "ValidationException");
    assert_eq!(service.delivered().len(), 499);
}

#[tokio::test(start_paused = true)]
async fn dead_letter_handler_gets_failed_records() {
    let service = rejecting(&["3", "7"]);
    let (sender, letters) = mpsc::channel();
    let mut sink = KinesisSink::builder("example")
        .with_dead_letters(move |undelivered| sender.send(undelivered).unwrap())
        .build_with(service.clone())
        .unwrap();
    sink.send_all(&mut stream::iter(records(0..10).map(Ok))).await.unwrap();
    let letters: Vec<_> = letters.try_iter().collect();
    assert_eq!(texts(&letters), ["3", "7"]);
    assert_eq!((letters[0].attempts(), letters[0].may_have_been_written()), (1, false));
    assert_eq!((sink.status().failed.records, sink.status().buffered().bytes), (0, 0));
    assert_eq!((sink.totals().delivered, sink.totals().failed), (8, 2));
}

#[tokio::test(start_paused = true)]
async fn failure_is_reported_once_without_handler() {
    let service = rejecting(&["3", "7"]);
    let mut sink = sink(&service);
    let error = sink.send_all(&mut stream::iter(records(0..10).map(Ok))).await.unwrap_err();
    assert!(error.to_string().starts_with("2 records failed, take them with"), "{error}");
    sink.send(Record::from("next")).await.unwrap();
    assert_eq!(buffered(&sink), ["3", "7"]);
    assert_eq!(texts(&sink.take_failed()), ["3", "7"]);
    assert_eq!(sink.status().buffered().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn failed_records_count_toward_capacity() {
    let service = rejecting(&["0", "1"]);
    let builder =
        KinesisSink::builder("example").configure(|settings| settings.buffer_records = Some(2));
    let mut sink = builder.build_with(service).unwrap();
    sink.send_all(&mut stream::iter(records(0..2).map(Ok))).await.unwrap_err();
    for _ in 0..3 {
        let error = sink.feed(Record::from("more")).await.unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 2), "{error}");
    }
    assert_eq!(sink.take_failed().len(), 2);
    sink.send(Record::from("more")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempt_limit_and_deadline_fail_record() {
    let always = || MockService::failing(usize::MAX, "InternalFailure");
    let limited =
        KinesisSink::builder("example").configure(|settings| settings.max_attempts = Some(3));
    let mut sink = limited.build_with(always()).unwrap();
    sink.send(Record::from("one")).await.unwrap_err();
    let failed = sink.take_failed();
    assert!(matches!(failed[0].reason(), FailureReason::AttemptsExhausted { attempts: 3, .. }));
    assert!(failed[0].may_have_been_written());

    let began = Instant::now();
    let limited = KinesisSink::builder("example").with_deadline(Duration::from_secs(9));
    let mut sink = limited.build_with(always()).unwrap();
    sink.send(Record::from("one")).await.unwrap_err();
    let failed = sink.take_failed();
    assert!(matches!(failed[0].reason(), FailureReason::DeadlineExceeded { last: Some(_), .. }));
    assert!((9_000..9_100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn take_undelivered_returns_all_records() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(1));
    let mut sink = sink(&service);
    for record in records(0..700) {
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    assert_eq!((sink.status().in_flight.records, sink.status().queued.records), (500, 200));
    let taken = sink.take_undelivered();
    assert_eq!(texts(&taken), numbers(0..700));
    assert!(taken[..500].iter().all(Undelivered::may_have_been_written));
    assert!(!taken[500..].iter().any(Undelivered::may_have_been_written));
    sleep(Duration::from_secs(2)).await;
    assert!(service.delivered().is_empty(), "delivered after the request was cancelled");
    sink.send(Record::from("next")).await.unwrap();
    assert_eq!(service.delivered(), ["next"]);
}

#[tokio::test(start_paused = true)]
async fn take_undelivered_collects_response() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    assert!(sink.send(Record::from("one")).now_or_never().is_none());
    sleep(Duration::from_millis(21)).await;
    assert!(sink.take_undelivered().is_empty());
    assert_eq!(sink.totals().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn panicking_future_loses_no_record() {
    let panics = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request| {
        let first = panics.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(!first, "a panic on purpose");
            Ok::<_, BoxError>(all_delivered(&request))
        }
    });
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.totals().requeued), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn outage_start_and_end_are_logged() {
    let logs = Logs::listen(Level::INFO);
    let mut sink = sink(&MockService::failing(5, "InternalFailure"));
    sink.send(Record::from("one")).await.unwrap();
    sink.close().await.unwrap();
    let lines = logs.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("InternalFailure"), "{lines:#?}");
    assert!(lines[1].contains("INFO") && lines[1].contains("succeed again"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn drop_warns_with_record_count() {
    let logs = Logs::listen(Level::INFO);
    let service = MockService::delivering();
    let mut empty = sink(&service);
    empty.send(Record::from("one")).await.unwrap();
    drop(empty);
    assert_eq!(logs.lines().len(), 0);
    let mut full = sink(&service);
    for record in records(0..503) {
        full.feed(record).await.unwrap();
    }
    drop(full);
    let warnings = logs.with("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("503 records undelivered"), "{warnings:#?}");
}

#[tokio::test(start_paused = true)]
async fn flush_and_close_settle_all_before_error() {
    for close in [false, true] {
        let service = rejecting(&["0"]);
        let mut sink = sink(&service);
        for record in records(0..4_000) {
            sink.feed(record).await.unwrap();
        }
        let error = if close { sink.close().await } else { sink.flush().await }.unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
        let status = sink.status();
        let unsettled = status.queued.records + status.in_flight.records;
        assert_eq!((status.totals.delivered, unsettled), (3_999, 0));
        if close { sink.close().await } else { sink.flush().await }.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn forward_settles_all_before_error() {
    let service = rejecting(&["0"]);
    let mut sink = sink(&service);
    let error = stream::iter(records(0..9_000).map(Ok)).forward(&mut sink).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (8_999, 1));
}

#[tokio::test(start_paused = true)]
async fn panicking_call_loses_no_record() {
    let calls = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "a panic on purpose");
        async move { Ok::<_, BoxError>(all_delivered(&request)) }
    });
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.totals().requeued), (1, 1));
}

#[derive(Clone)]
struct PanicsInPollReady {
    inner: MockService,
    polls: Arc<AtomicUsize>,
    times: usize,
}

impl PanicsInPollReady {
    fn new(inner: &MockService, times: usize) -> Self {
        Self { inner: inner.clone(), polls: Arc::default(), times }
    }
}

impl Service<PutRecordsRequest> for PanicsInPollReady {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let polls = self.polls.fetch_add(1, Ordering::Relaxed);
        assert!(polls >= self.times, "a panic on purpose");
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_poll_ready_loses_no_record() {
    let inner = MockService::delivering();
    let service = PanicsInPollReady::new(&inner, 3);
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.totals().requests), (1, 1));
    let service = PanicsInPollReady::new(&inner, 3);
    let producer = KinesisSink::builder("example").build_with(service).unwrap().spawn();
    producer.send(Record::from("two")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(inner.delivered(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn panicking_poll_ready_uses_backoff() {
    let service = PanicsInPollReady::new(&MockService::delivering(), usize::MAX);
    let polls = service.polls.clone();
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    sink.feed(Record::from("one")).await.unwrap();
    let flush = tokio::time::timeout(Duration::from_secs(600), sink.flush());
    assert!(flush.await.is_err(), "flush without a ready service");
    let polls = polls.load(Ordering::Relaxed);
    assert!((200..1_000).contains(&polls), "{polls} polls in 10 minutes");
    assert_eq!(buffered(&sink), ["one"]);
}

/// Uses `SpawnReady`, which panics if it is polled again after an error.
#[tokio::test(start_paused = true)]
async fn spawn_ready_error_loses_no_record() {
    let failing = FailsInPollReady { inner: MockService::delivering(), polls: Arc::default() };
    let stack = tower::spawn_ready::SpawnReady::new(failing);
    let mut sink = KinesisSink::builder("example").build_with_unshared(stack).unwrap();
    sink.feed(Record::from("one")).await.unwrap();
    let flush = tokio::time::timeout(Duration::from_secs(60), sink.flush());
    assert!(flush.await.is_err(), "flush through a failed stack");
    assert_eq!(texts(&sink.take_undelivered()), ["one"]);
}

/// A service whose first `poll_ready` is pending and whose later ones fail.
struct FailsInPollReady {
    inner: MockService,
    polls: Arc<AtomicUsize>,
}

impl Service<PutRecordsRequest> for FailsInPollReady {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.polls.fetch_add(1, Ordering::Relaxed) {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(Err("not ready".into())),
        }
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn drop_collects_finished_response() {
    let logs = Logs::listen(Level::INFO);
    let mut sink = sink(&MockService::delivering());
    assert!(sink.send(Record::from("one")).now_or_never().is_none());
    sleep(Duration::from_millis(21)).await;
    drop(sink);
    assert_eq!(logs.lines().len(), 0, "{:#?}", logs.lines());
}

#[test]
fn backoff_survives_runtime_change() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    for keeps_first in [true, false] {
        let service = MockService::failing(1, "InternalFailure");
        let wait = Duration::from_secs(60);
        let builder = KinesisSink::builder("example").configure(|settings| {
            settings.backoff.base = wait;
            settings.backoff.ceiling = wait;
            settings.seed = Some(1);
        });
        let mut sink = builder.build_with(service.clone()).unwrap();
        let first = runtime();
        first.block_on(async {
            let flush =
                tokio::time::timeout(Duration::from_secs(1), sink.send(Record::from("one")));
            assert!(flush.await.is_err(), "flush during the backoff");
        });
        assert_eq!(service.requests().len(), 1);
        let first = keeps_first.then_some(first);
        let closed = async {
            tokio::time::timeout(2 * wait, sink.close()).await.expect("close in the second runtime")
        };
        runtime().block_on(closed).unwrap();
        assert_eq!(service.delivered(), ["one"]);
        drop(first);
    }
}

#[test]
fn poll_outside_runtime_loses_no_record() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    sink.start_send_unpin(Record::from("one")).unwrap();
    let outside = std::panic::AssertUnwindSafe(|| drop(sink.flush().now_or_never()));
    assert!(std::panic::catch_unwind(outside).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let flush = async { tokio::time::timeout(Duration::from_secs(10), sink.flush()).await };
    runtime.block_on(flush).expect("flush should finish").unwrap();
    assert_eq!(service.delivered(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn response_is_handled_before_next_request() {
    let service = MockService::failing(1, "InternalFailure");
    let mut sink = sink(&service);
    for record in records(0..500) {
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    sleep(Duration::from_millis(21)).await;
    for record in records(500..1_000) {
        sink.start_send_unpin(record).unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    assert_eq!(service.requests().len(), 1, "requests during the backoff");
    sink.close().await.unwrap();
    assert_eq!(service.delivered().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_calls_dead_letter_handler() {
    let (sender, letters) = mpsc::channel();
    let mut sink = KinesisSink::builder("example")
        .with_dead_letters(move |undelivered| sender.send(undelivered).unwrap())
        .build_with(rejecting(&["one"]))
        .unwrap();
    assert!(sink.send(Record::from("one")).now_or_never().is_none());
    sleep(Duration::from_millis(21)).await;
    drop(sink);
    assert_eq!(letters.try_iter().count(), 1);
}

#[derive(Clone)]
struct Unready(Arc<AtomicUsize>, MockService);

impl Service<PutRecordsRequest> for Unready {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 3 {
            return Poll::Ready(Err(service_error("InternalFailure")));
        }
        self.1.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.1.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn poll_ready_error_is_logged_as_outage() {
    let logs = Logs::listen(Level::INFO);
    let service = Unready(Arc::default(), MockService::delivering());
    let mut sink = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(service)
        .unwrap();
    sink.send(Record::from("a")).await.unwrap();
    drop(sink);
    assert_eq!(logs.with("requests to stream example fail").len(), 1, "{:?}", logs.with(""));
    assert_eq!(logs.with("succeed again").len(), 1);
}
