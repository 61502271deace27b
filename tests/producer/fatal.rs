//! Tests of which calls return a fatal error, and of what each `FatalPolicy` does with the records.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{SinkExt, future};
use kinesis_sink::record::{AttemptError, FailureReason};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{Error, ErrorKind, SinkBuilder};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service};
use tracing::Level;

use super::fixtures::{builder, record};
use crate::support::logs::Logs;
use crate::support::mock_service::{MockService, all_delivered, service_error, texts};

fn refusing_after_first() -> MockService {
    MockService::new(|call, request| match call {
        0 => Ok(all_delivered(request)),
        _ => Err(service_error("AccessDeniedException")),
    })
}

fn cause_of(error: &Error) -> &AttemptError {
    let source = std::error::Error::source(error).expect("the error has a source");
    source.downcast_ref().expect("the source is an `AttemptError`")
}

#[tokio::test(start_paused = true)]
async fn fatal_error_stops_producer() {
    let logs = Logs::listen(Level::INFO);
    let service = MockService::failing(usize::MAX, "ResourceNotFoundException");
    let builder = builder().configure(|settings| settings.buffer_records = Some(2));
    let producer = builder.build_with(service.clone()).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    producer.send(record("b")).await.unwrap();
    let (pending, flush) = future::join(producer.send(record("c")), producer.flush()).await;
    let error = pending.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    let cause = cause_of(&error);
    assert_eq!(cause.code(), "ResourceNotFoundException");
    assert_eq!(error.record(), Some(&record("c")));
    let flush = flush.unwrap_err();
    assert_eq!((flush.kind(), cause_of(&flush)), (ErrorKind::Stopped, cause));
    assert_eq!(flush.stream(), Some(producer.stream()));
    for error in
        [producer.send(record("d")).await.unwrap_err(), producer.try_put(record("d")).unwrap_err()]
    {
        assert_eq!((error.kind(), cause_of(&error)), (ErrorKind::Stopped, cause));
        assert_eq!(error.into_record(), Some(record("d")));
    }
    assert!(producer.is_closed());

    let undelivered = receipt.await.unwrap_err();
    assert_eq!(undelivered.reason(), &FailureReason::Refused(Arc::new(cause.clone())));
    assert_eq!(undelivered.history().len(), 1);
    assert!(!undelivered.may_have_been_written());
    let error = producer.close().await.unwrap_err();
    assert_eq!((error.kind(), cause_of(&error)), (ErrorKind::Stopped, cause), "{error}");
    assert_eq!(texts(error.undelivered()), ["b"]);
    assert!(producer.close().await.unwrap_err().into_undelivered().is_empty());
    assert_eq!(service.requests().len(), 1, "no retry");
    let [line] = &logs.with("ERROR")[..] else { panic!("{:#?}", logs.lines()) };
    assert!(line.contains("2 records returned"), "{line}");
    assert_eq!(error.count(), 2);
    let expected = "producer stopped because stream example refuses all requests";
    assert!(error.to_string().starts_with(expected), "{error}");
}

/// Error codes that retries cannot resolve, one of each kind.
const REFUSALS: [&str; 5] = [
    "ResourceNotFoundException",
    "AccessDeniedException",
    "KMSAccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
];

/// Returns a builder of sinks for which the first credentials error is fatal.
fn impatient() -> SinkBuilder {
    builder().configure(|settings| settings.credentials_timeout = Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn stopped_producer_logs_one_error() {
    for code in REFUSALS {
        let logs = Logs::listen(Level::INFO);
        let service = MockService::failing(usize::MAX, code);
        let producer = impatient().build_with(service).unwrap().spawn();
        let mut receipts = Vec::new();
        for _ in 0..1_001 {
            receipts.push(producer.put(record("a")).await.unwrap());
        }
        let error = producer.close().await.unwrap_err();
        assert_eq!((error.count(), error.undelivered().len()), (1_001, 0), "{error}");
        let [line] = &logs.lines()[..] else { panic!("{code}: {:#?}", logs.lines()) };
        for text in ["ERROR", "producer for stream example stopped", "1001 records returned", code]
        {
            assert!(line.contains(text), "{text}: {line}");
        }
        for receipt in receipts {
            assert!(matches!(receipt.await.unwrap_err().reason(), FailureReason::Refused(_)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retrying_producer_logs_once_a_minute() {
    for code in REFUSALS {
        let logs = Logs::listen(Level::INFO);
        let began = Instant::now();
        let service = MockService::new(move |_, request| {
            if began.elapsed().as_secs() < 150 {
                Err(service_error(code))
            } else {
                Ok(all_delivered(request))
            }
        });
        let builder = impatient().configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
        let producer = builder.build_with(service).unwrap().spawn();
        producer.put(record("a")).await.unwrap().await.unwrap();
        producer.close().await.unwrap();
        let warnings = logs.with("WARN");
        assert_eq!(warnings.len(), 3, "{code}: {:#?}", logs.lines());
        for line in &warnings {
            assert!(line.contains("the producer accepts no records and retries"), "{line}");
            assert!(line.contains(code), "{line}");
        }
        assert_eq!((logs.with("ERROR").len(), logs.with("succeed again").len()), (0, 1), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn sink_logs_and_returns_fatal_error() {
    for code in REFUSALS {
        let logs = Logs::listen(Level::INFO);
        let mut sink = impatient().build_with(MockService::failing(1, code)).unwrap();
        sink.send(record("a")).await.unwrap_err();
        let [line] = &logs.lines()[..] else { panic!("{code}: {:#?}", logs.lines()) };
        assert!(line.contains("WARN") && line.contains("returns the error to its owner"), "{line}");
        assert!(line.contains(code), "{line}");
        sink.close().await.unwrap();
        assert_eq!(logs.with("succeed again").len(), 1, "{code}: {:#?}", logs.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn producer_survives_brief_credentials_errors() {
    let began = Instant::now();
    let service = MockService::new(move |_, request| {
        if began.elapsed().as_secs() < 240 {
            Err(service_error("ExpiredTokenException"))
        } else {
            Ok(all_delivered(request))
        }
    });
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    receipt.await.expect("delivered once the credentials are accepted");
    let after = began.elapsed();
    assert!((240..244).contains(&after.as_secs()), "{after:?}");
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn credentials_timeout_stops_producer() {
    for (timeout, expected) in [(Some(60), 60..64), (None, 300..304)] {
        let service = MockService::failing(usize::MAX, "ExpiredTokenException");
        let builder = match timeout.map(Duration::from_secs) {
            Some(timeout) => builder().configure(|settings| settings.credentials_timeout = timeout),
            None => builder(),
        };
        let began = Instant::now();
        let producer = builder.build_with(service).unwrap().spawn();
        let receipt = producer.put(record("a")).await.unwrap();
        let undelivered = receipt.await.unwrap_err();
        assert!(
            matches!(undelivered.reason(), FailureReason::Refused(_)),
            "{}",
            undelivered.reason()
        );
        let after = began.elapsed();
        assert!(expected.contains(&after.as_secs()), "{timeout:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_requests_in_flight() {
    let service = refusing_after_first();
    let slow_first = SlowFirstCall { inner: service.clone(), calls: 0 };
    let (sender, letters) = std::sync::mpsc::channel();
    let producer = builder()
        .with_dead_letters(move |lost| sender.send(lost).unwrap())
        .build_with(slow_first)
        .unwrap()
        .spawn();
    let first = producer.put(record("a")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    // The service rejects this request while the first one is in flight.
    let second = producer.put(record("b")).await.unwrap();
    producer.send(record("c")).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert!(producer.is_closed());
    first.await.expect("in flight at the stop");
    assert!(matches!(second.await.unwrap_err().reason(), FailureReason::Refused(_)));
    assert!(producer.close().await.unwrap_err().undelivered().is_empty());
    assert_eq!(texts(&letters.try_iter().collect::<Vec<_>>()), ["c"]);
}

#[derive(Clone)]
struct SlowFirstCall {
    inner: MockService,
    calls: usize,
}

impl Service<PutRecordsRequest> for SlowFirstCall {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.calls += 1;
        let first = self.calls == 1;
        let call = self.inner.call(request);
        Box::pin(async move {
            if first {
                sleep(Duration::from_secs(1)).await;
            }
            call.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn retrying_producer_reports_fatal_error() {
    let service = MockService::failing(3, "AccessDeniedException");
    let producer = builder()
        .configure(|settings| {
            settings.buffer_records = Some(2);
            settings.fatal_policy = FatalPolicy::Retry;
            settings.backoff.base = Duration::from_secs(1);
            settings.backoff.ceiling = Duration::from_secs(1);
        })
        .build_with(service.clone())
        .unwrap()
        .spawn();
    let first = producer.put(record("a")).await.unwrap();
    producer.send(record("b")).await.unwrap();
    let (pending, flush) = future::join(producer.send(record("c")), producer.flush()).await;
    let error = pending.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(cause_of(&error).code(), "AccessDeniedException");
    assert_eq!(error.into_record(), Some(record("c")));
    let flush = flush.unwrap_err();
    assert_eq!((flush.kind(), flush.count()), (ErrorKind::Refused, 2), "{flush}");
    assert_eq!(cause_of(&flush).code(), "AccessDeniedException");
    // The producer rejects new records even though the buffer has capacity.
    for error in
        [producer.put(record("c")).await.unwrap_err(), producer.try_put(record("c")).unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert_eq!(error.into_record(), Some(record("c")));
    }
    let mut sink = producer.sink();
    let error = sink.feed(record("c")).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 2), "{error}");
    assert_eq!(cause_of(&error).code(), "AccessDeniedException");
    assert!(!producer.is_closed());
    // `flush` waits for the outcome of the next attempt.
    let requests = service.requests().len();
    producer.flush().await.unwrap_err();
    assert_eq!(service.requests().len(), requests + 1);
    let delivery = first.await.unwrap();
    assert_eq!((delivery.attempts(), service.requests().len()), (1, 4));
    producer.put(record("c")).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn refusal_ends_when_rejected_record_expires() {
    let service = MockService::failing(4, "AccessDeniedException");
    let producer = builder()
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
        .with_deadline(Duration::from_millis(50))
        .build_with(service.clone())
        .unwrap()
        .spawn();
    let first = producer.put(record("a")).await.unwrap().await.unwrap_err();
    assert!(matches!(first.reason(), FailureReason::DeadlineExceeded { .. }), "{first}");
    assert_eq!(first.history()[0].error().code(), "AccessDeniedException");
    let began = Instant::now();
    // The producer accepts another record once the rejected one has expired, because none waits to be retried.
    while producer.put(record("b")).await.unwrap().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "no record is delivered");
    }
    assert_eq!(service.delivered(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn fatal_error_during_close_returns_records() {
    let service = MockService::failing(usize::MAX, "AccessDeniedException");
    let producer = builder().build_with(service).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    producer.send(record("b")).await.unwrap();
    let error = producer.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    assert_eq!(texts(error.undelivered()), ["b"]);
    assert!(matches!(receipt.await.unwrap_err().reason(), FailureReason::Refused(_)));
}

#[tokio::test(start_paused = true)]
async fn ready_sink_reports_stopped_producer() {
    let service = MockService::failing(usize::MAX, "AccessDeniedException");
    let producer = builder().build_with(service).unwrap().spawn();
    let mut ready = producer.sink();
    future::poll_fn(|cx| ready.poll_ready_unpin(cx)).await.unwrap();
    producer.put(record("a")).await.unwrap().await.unwrap_err();
    let error = future::poll_fn(|cx| ready.poll_ready_unpin(cx)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
}

#[tokio::test(start_paused = true)]
async fn producer_ignores_fatal_error_before_spawn() {
    let service = MockService::failing(1, "AccessDeniedException");
    let mut sink = builder().build_with(service.clone()).unwrap();
    sink.send(record("a")).await.unwrap_err();
    let producer = sink.spawn();
    producer.put(record("b")).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn throttled_request_ends_refusal() {
    let service = MockService::new(|call, request| match call {
        0 => Err(service_error("AccessDeniedException")),
        1..20 => Err(service_error("ThrottlingException")),
        _ => Ok(all_delivered(request)),
    });
    let builder = builder().configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = builder.build_with(service.clone()).unwrap().spawn();
    producer.send(record("a")).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert!(service.delivered().is_empty());
    producer.send(record("b")).await.unwrap();
    producer.close().await.unwrap();
}

/// Runs on the real clock, because virtual time does not advance while a task is busy.
#[tokio::test]
async fn error_loop_yields_to_driver() {
    let millisecond = Duration::from_millis(1);
    for use_sink in [false, true] {
        let service = MockService::failing(1, "AccessDeniedException").with_round_trip(millisecond);
        let builder = builder().configure(|settings| {
            settings.fatal_policy = FatalPolicy::Retry;
            settings.backoff.base = millisecond;
            settings.backoff.ceiling = millisecond;
        });
        let producer = builder.build_with(service).unwrap().spawn();
        let mut sink = producer.sink();
        let receipt = producer.put(record("a")).await.unwrap();
        while producer.flush().await.is_ok() {}
        for turn in 0.. {
            let sent = if use_sink {
                sink.feed(record("b")).await.is_ok()
            } else {
                producer.send(record("b")).await.is_ok()
            };
            if sent {
                break;
            }
            assert!(turn < 10_000_000, "the driver never runs");
        }
        receipt.await.unwrap();
    }
}
