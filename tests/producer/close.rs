//! Tests that every receipt completes and every record is delivered or returned when a producer shuts down.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{FutureExt, SinkExt, future};
use kinesis_sink::producer::Driver;
use kinesis_sink::record::FailureReason;
use kinesis_sink::{Delivery, ErrorKind, Producer, Receipt, Undelivered};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::Level;

use super::fixtures::{builder, record};
use crate::support::logs::Logs;
use crate::support::mock_service::{MockService, texts};

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Idle,
    MidRequest,
    MidRetry,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shutdown {
    Close,
    CloseWithin,
    LastCloneDropped,
    DriverAborted,
    DriverPanics,
    RuntimeShutDown,
}

/// Runs a driver until `panics` is set to `true`, and then panics when it is next polled.
async fn run_until_panic(driver: Driver<MockService>, panics: Arc<AtomicBool>) {
    let mut driver = pin!(driver);
    poll_fn(|cx| {
        assert!(!panics.load(Ordering::Relaxed), "a panic on purpose");
        driver.as_mut().poll(cx)
    })
    .await;
}

/// A producer that is not idle has accepted records "a", "b", and "c" with receipts, and "d" and "e" without.
struct Case {
    service: MockService,
    panics: Arc<AtomicBool>,
    producer: Producer,
    driver: JoinHandle<()>,
    receipts: Vec<Receipt>,
}

impl Case {
    async fn new(state: State) -> Self {
        let service = match state {
            State::Idle => MockService::delivering(),
            State::MidRequest => MockService::delivering().with_round_trip(Duration::from_secs(10)),
            State::MidRetry => MockService::failing(1, "InternalFailure"),
        };
        let panics = Arc::new(AtomicBool::new(false));
        let wait = Duration::from_secs(10);
        let builder = builder().configure(|settings| {
            settings.backoff.base = wait;
            settings.backoff.ceiling = wait;
        });
        let (producer, driver) = builder.build_with(service.clone()).unwrap().into_producer();
        let driver = tokio::spawn(run_until_panic(driver, panics.clone()));
        let mut receipts = Vec::new();
        if state != State::Idle {
            for data in ["a", "b", "c"] {
                receipts.push(producer.put(record(data)).await.unwrap());
            }
            producer.send(record("d")).await.unwrap();
            producer.send(record("e")).await.unwrap();
        }
        sleep(Duration::from_millis(30)).await;
        let requests = usize::from(state != State::Idle);
        assert_eq!(service.sizes(), [5].repeat(requests), "{state:?}");
        assert_eq!(service.delivered().len(), 0);
        Self { service, panics, producer, driver, receipts }
    }
}

fn outcomes(receipts: Vec<Receipt>) -> Vec<Result<Delivery, Undelivered>> {
    receipts.into_iter().map(|receipt| receipt.now_or_never().expect("settled")).collect()
}

async fn assert_ended(producer: &Producer, expected: ErrorKind) {
    for error in [
        producer.send(record("late")).await.unwrap_err(),
        producer.put(record("late")).await.unwrap_err(),
        producer.try_send(record("late")).unwrap_err(),
        producer.try_put(record("late")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!(error.into_record(), Some(record("late")));
    }
    assert!(producer.is_closed());
    let mut sink = producer.sink();
    assert!(sink.is_closed());
    let error = sink.feed(record("late")).await.unwrap_err();
    assert_eq!(error.kind(), expected, "{error}");
    let error = sink.start_send_unpin(record("late")).unwrap_err();
    assert_eq!(error.kind(), expected, "{error}");
    assert_eq!(error.into_record(), Some(record("late")));
    sink.close().now_or_never().expect("close does not wait").ok();
}

fn assert_all_delivered(case: &Case, state: State) {
    let expected: &[&str] = if state == State::Idle { &[] } else { &["a", "b", "c", "d", "e"] };
    assert_eq!(case.service.delivered(), expected, "{state:?}");
}

async fn shut_down(case: &mut Case, way: Shutdown, state: State) {
    match way {
        Shutdown::Close => {
            case.producer.close().await.unwrap();
            assert_all_delivered(case, state);
            case.producer.close().await.unwrap();
            case.producer.flush().await.unwrap();
            assert_ended(&case.producer, ErrorKind::Closed).await;
            assert!(case.producer.take_failed().await.is_empty());
        }
        Shutdown::CloseWithin => {
            let closed = case.producer.close_within(Duration::from_millis(5)).await;
            if state == State::Idle {
                closed.unwrap();
            } else {
                let left = closed.unwrap_err().into_undelivered();
                assert_eq!(texts(&left), ["a", "b", "c", "d", "e"]);
                assert!(left.iter().all(Undelivered::may_have_been_written));
                let again = case.producer.close().await.unwrap_err();
                assert_eq!((again.kind(), again.count()), (ErrorKind::Undelivered, 5), "{again}");
                assert!(again.undelivered().is_empty(), "the records were returned before");
            }
            assert_ended(&case.producer, ErrorKind::Closed).await;
        }
        Shutdown::LastCloneDropped => {
            let another = Case::new(State::Idle).await.producer;
            let producer = std::mem::replace(&mut case.producer, another);
            let clone = producer.clone();
            drop(producer);
            sleep(Duration::from_millis(1)).await;
            assert!(!case.driver.is_finished(), "one clone remains");
            drop(clone);
            (&mut case.driver).await.unwrap();
            assert_all_delivered(case, state);
        }
        Shutdown::DriverAborted | Shutdown::DriverPanics => {
            if way == Shutdown::DriverAborted {
                case.driver.abort();
            } else {
                case.panics.store(true, Ordering::Relaxed);
                case.producer.send(record("f")).await.unwrap();
            }
            let ended = (&mut case.driver).await.unwrap_err();
            assert_eq!(ended.is_panic(), way == Shutdown::DriverPanics);
            assert_ended(&case.producer, ErrorKind::Abandoned).await;
            let error = case.producer.flush().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abandoned, "{error}");
            let error = case.producer.close().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abandoned, "{state:?}: {error}");
            let count = error.count();
            let left = error.into_undelivered();
            let with_receipts = if state == State::Idle { 0 } else { 3 };
            assert_eq!(count, left.len() + with_receipts, "{way:?} {state:?}");
            let mut expected = if state == State::Idle { vec![] } else { vec!["d", "e"] };
            expected.extend((way == Shutdown::DriverPanics).then_some("f"));
            assert_eq!(texts(&left), expected, "{state:?}");
            assert!(left.iter().all(|one| matches!(one.reason(), FailureReason::Abandoned { .. })));
            let error = case.producer.flush().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abandoned, "{error}");
        }
        Shutdown::RuntimeShutDown => unreachable!("has a separate test"),
    }
}

fn assert_outcomes(receipts: Vec<Receipt>, way: Shutdown, state: State) {
    let outcomes = outcomes(receipts);
    assert_eq!(outcomes.len(), if state == State::Idle { 0 } else { 3 });
    for (outcome, expected) in outcomes.into_iter().zip(["a", "b", "c"]) {
        let undelivered = match way {
            Shutdown::Close | Shutdown::LastCloneDropped => {
                outcome.unwrap_or_else(|lost| panic!("{way:?} {state:?}: {lost}"));
                continue;
            }
            _ => outcome.expect_err("not delivered"),
        };
        assert_eq!(undelivered.record(), &record(expected));
        assert!(undelivered.may_have_been_written(), "{way:?} {state:?}");
        match undelivered.reason() {
            FailureReason::Withdrawn { .. } => assert_eq!(way, Shutdown::CloseWithin),
            FailureReason::Abandoned { .. } => {
                assert_ne!(way, Shutdown::CloseWithin);
                let message = undelivered.to_string();
                assert!(message.contains("ended before it was settled"), "{message}");
            }
            other => panic!("{way:?} {state:?}: {other}"),
        }
        let failures = usize::from(state == State::MidRetry);
        // The history has an attempt if the runtime stops the task of the request before the task of the driver.
        let more = usize::from(way == Shutdown::RuntimeShutDown);
        assert!(
            (failures..=failures + more).contains(&undelivered.history().len()),
            "{way:?} {state:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_shutdown_settles_all_receipts() {
    let ways = [
        Shutdown::Close,
        Shutdown::CloseWithin,
        Shutdown::LastCloneDropped,
        Shutdown::DriverAborted,
        Shutdown::DriverPanics,
    ];
    for way in ways {
        for state in [State::Idle, State::MidRequest, State::MidRetry] {
            let mut case = Case::new(state).await;
            let receipts = std::mem::take(&mut case.receipts);
            shut_down(&mut case, way, state).await;
            assert_outcomes(receipts, way, state);
        }
    }
}

#[test]
fn runtime_shutdown_settles_all_receipts() {
    for state in [State::Idle, State::MidRequest, State::MidRetry] {
        let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let case = runtime.block_on(Case::new(state));
        drop(runtime);
        assert_outcomes(case.receipts, Shutdown::RuntimeShutDown, state);
        futures::executor::block_on(async {
            assert_ended(&case.producer, ErrorKind::Abandoned).await;
            let error = case.producer.close().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abandoned, "{state:?}: {error}");
            assert_eq!(error.undelivered().len(), if state == State::Idle { 0 } else { 2 });
        });
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_senders_get_error_on_shutdown() {
    for abort in [false, true] {
        let service = MockService::delivering().with_round_trip(Duration::from_secs(10));
        let builder = builder().configure(|settings| settings.buffer_records = Some(1));
        let (producer, driver) = builder.build_with(service).unwrap().into_producer();
        let driver = tokio::spawn(driver);
        producer.send(record("a")).await.unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let producer = producer.clone();
                tokio::spawn(async move { producer.send(record("b")).await })
            })
            .collect();
        let mut sink = producer.sink();
        let ready =
            tokio::spawn(async move { future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await });
        sleep(Duration::from_millis(1)).await;
        let expected = if abort {
            driver.abort();
            ErrorKind::Abandoned
        } else {
            assert!(producer.close().now_or_never().is_none());
            ErrorKind::Closed
        };
        for task in waiting {
            let error = task.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), expected);
            assert_eq!(error.into_record(), Some(record("b")));
        }
        let error = ready.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_close_future_keeps_draining() {
    let service = MockService::failing(3, "InternalFailure");
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    assert!(producer.close().now_or_never().is_none());
    receipt.await.unwrap();
    let service = MockService::failing(3, "InternalFailure");
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    let within = producer.close_within(Duration::from_millis(30));
    let elapsed = tokio::time::timeout(Duration::from_millis(10), within).await;
    assert!(elapsed.is_err(), "dropped before its deadline");
    assert!(producer.is_closed());
    receipt.await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn close_delivers_concurrently_sent_records() {
    let service = MockService::delivering();
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    let senders: Vec<_> = (0..50)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                while let Ok(receipt) = producer.put(record("a")).await {
                    receipts.push(receipt);
                    sleep(Duration::from_micros(300)).await;
                }
                for receipt in &mut receipts {
                    receipt.await.unwrap();
                }
                receipts.len()
            })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    producer.close().await.unwrap();
    let accepted: usize = future::join_all(senders).await.into_iter().map(Result::unwrap).sum();
    assert!(accepted > 0);
    assert_eq!(service.delivered().len(), accepted);
}

#[tokio::test(start_paused = true)]
async fn dropping_last_clone_drains_in_background() {
    let service = MockService::failing(2, "InternalFailure");
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    for _ in 0..600 {
        producer.send(record("a")).await.unwrap();
    }
    drop(producer);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(service.delivered().len(), 600);
}

#[tokio::test(start_paused = true)]
async fn concurrent_closes_report_withdrawn_record() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(3_600));
    let producer = builder().build_with(service).unwrap().spawn();
    let receipt = producer.put(record("a")).await.unwrap();
    let within = producer.close_within(Duration::from_millis(50));
    let (withdrawn, closed) = future::join(within, producer.close()).await;
    let (withdrawn, closed) = (withdrawn.unwrap_err(), closed.unwrap_err());
    for error in [&withdrawn, &closed] {
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
        assert!(error.to_string().starts_with("1 record not delivered"), "{error}");
    }
    assert_eq!(withdrawn.undelivered().len() + closed.undelivered().len(), 1);
    assert!(matches!(receipt.await.unwrap_err().reason(), FailureReason::Withdrawn { .. }));
}

#[tokio::test(start_paused = true)]
async fn ready_sink_returns_record_after_close() {
    let service = MockService::delivering();
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    producer.send(record("a")).await.unwrap();
    let mut ready = producer.sink();
    future::poll_fn(|cx| ready.poll_ready_unpin(cx)).await.unwrap();
    assert!(producer.close().now_or_never().is_none());
    let error = ready.start_send_unpin(record("b")).unwrap_err();
    assert_eq!(error.into_record(), Some(record("b")));
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn closed_sinks_do_not_keep_driver_running() {
    let (producer, driver) =
        builder().build_with(MockService::delivering()).unwrap().into_producer();
    let driver = tokio::spawn(driver);
    let mut closed = producer.sink();
    closed.close().await.unwrap();
    let another = closed.clone();
    drop(producer);
    driver.await.unwrap();
    drop((closed, another));
}

#[tokio::test(start_paused = true)]
async fn dropping_last_clone_logs_failed_records() {
    let logs = Logs::listen(Level::INFO);
    let (producer, driver) =
        builder().build_with(MockService::rejecting_bad()).unwrap().into_producer();
    for _ in 0..3 {
        producer.send(record("bad")).await.unwrap();
    }
    drop(producer);
    driver.await;
    let warnings = logs.with("dropped with 3 failed records");
    assert_eq!(warnings.len(), 1, "{:#?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn closed_completes_when_producer_stops() {
    let service = MockService::failing(usize::MAX, "AccessDeniedException");
    let producer = builder().build_with(service).unwrap().spawn();
    let watching = producer.clone();
    let closed = tokio::spawn(async move { watching.closed().await });
    sleep(Duration::from_secs(60)).await;
    assert!(!closed.is_finished());
    producer.put(record("a")).await.unwrap().await.unwrap_err();
    closed.await.unwrap();
}
