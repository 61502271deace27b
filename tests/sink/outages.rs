//! Tests of the log lines at the start of an outage or of sustained throttling, once per minute, and at the end.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::SinkExt;
use kinesis_sink::{KinesisSink, Record, SinkBuilder};
use tokio::time::{Instant, sleep, timeout};
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service;
use crate::support::mock_service::{
    MockService, all_delivered, answer_each, records, service_error, unpaced,
};

const MINUTE: Duration = Duration::from_secs(60);

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = unpaced();
    })
}

fn failing_for(duration: Duration) -> MockService {
    let began = Instant::now();
    MockService::new(move |_, request| {
        if began.elapsed() < duration {
            Err(service_error("InternalFailure"))
        } else {
            Ok(all_delivered(request))
        }
    })
}

fn counts(logs: &Logs) -> [usize; 3] {
    ["ERROR", "WARN", "INFO"].map(|level| logs.with(level).len())
}

async fn poll_for(sink: &mut KinesisSink<MockService>, duration: Duration) {
    let poll = poll_fn(|cx| -> Poll<()> {
        let _ = sink.poll_ready_unpin(cx);
        Poll::Pending
    });
    timeout(duration, poll).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn flapping_endpoint_logs_one_outage() {
    let logs = Logs::listen(Level::INFO);
    let began = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    let service = MockService::new(move |_, request| {
        if began.elapsed() < 10 * MINUTE && rng.f64() < 0.1 {
            Err(service_error("InternalFailure"))
        } else {
            Ok(all_delivered(request))
        }
    });
    let producer = builder().build_with(service.clone()).unwrap().spawn();
    while began.elapsed() < 11 * MINUTE {
        producer.send(Record::from("one")).await.unwrap();
        sleep(Duration::from_millis(55)).await;
    }
    let lines = logs.lines();
    assert_eq!(counts(&logs), [0, 10, 1], "{:#?}", &lines[..lines.len().min(20)]);
    assert!(service.requests().len() > 10_000, "too few requests");
    assert!(lines[10].contains("INFO"), "{lines:#?}");
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn long_outage_is_logged_every_minute() {
    let logs = Logs::listen(Level::INFO);
    let mut sink = builder().build_with(failing_for(4 * MINUTE + MINUTE / 2)).unwrap();
    for record in records(0..7) {
        sink.feed(record).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(counts(&logs), [0, 5, 0], "no INFO right after the first success");
    poll_for(&mut sink, MINUTE).await;
    assert_eq!(counts(&logs), [0, 5, 1]);
    let lines = logs.lines();
    assert!(lines[0].contains("requests to stream example fail"), "{lines:#?}");
    assert!(lines[4].contains("requests to stream example still fail"), "{lines:#?}");
    for text in ["duration=240.1s", "failed=131", "queued=7", "oldest=240.1s", "InternalFailure"] {
        assert!(lines[4].contains(text), "{text}: {}", lines[4]);
    }
    for text in ["INFO", "succeed again", "duration=270.4s", "failed=146 requests=149"] {
        assert!(lines[5].contains(text), "{text}: {}", lines[5]);
    }
}

/// Returns the time after which a call succeeds: one hour, or `None` for the first two calls, which fail immediately.
fn response_delay(call: usize) -> Option<Duration> {
    (call >= 2).then_some(60 * MINUTE)
}

#[tokio::test(start_paused = true)]
async fn outage_is_logged_while_request_hangs() {
    for is_driven in [false, true] {
        let logs = Logs::listen(Level::INFO);
        let mut calls = 0;
        let service = tower::service_fn(move |request| {
            let delay = response_delay(calls);
            calls += 1;
            async move {
                sleep(delay.unwrap_or_default()).await;
                match delay {
                    Some(_) => Ok(all_delivered(&request)),
                    None => Err(service_error("InternalFailure")),
                }
            }
        });
        let mut sink = builder().build_with(service).unwrap();
        if is_driven {
            let producer = sink.spawn();
            producer.send(Record::from("one")).await.unwrap();
            sleep(10 * MINUTE).await;
        } else {
            timeout(10 * MINUTE, sink.send(Record::from("one"))).await.unwrap_err();
        }
        assert_eq!(counts(&logs), [0, 10, 0], "{:#?}", logs.lines());
        assert_eq!(logs.with("in_flight=1").len(), 9, "{:#?}", logs.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn single_failure_logs_no_outage() {
    let logs = Logs::listen(Level::INFO);
    let mut sink = builder().build_with(MockService::failing(1, "InternalFailure")).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(logs.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn close_logs_end_of_outage() {
    for is_driven in [false, true] {
        let logs = Logs::listen(Level::INFO);
        let service = MockService::failing(3, "InternalFailure");
        let mut sink = builder().build_with(service).unwrap();
        if is_driven {
            let producer = sink.spawn();
            producer.send(Record::from("one")).await.unwrap();
            producer.close().await.unwrap();
        } else {
            sink.send(Record::from("one")).await.unwrap();
            sink.close().await.unwrap();
        }
        assert_eq!(counts(&logs), [0, 1, 1], "{:#?}", logs.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn sustained_throttling_is_reported() {
    let logs = Logs::listen(Level::INFO);
    let began = Instant::now();
    let service = MockService::new(move |call, request| {
        let throttles = began.elapsed() < 3 * MINUTE;
        Ok(answer_each(request, |place| !throttles || !(call + place).is_multiple_of(2)))
    });
    let producer = builder().build_with(service).unwrap().spawn();
    while began.elapsed() < 4 * MINUTE {
        producer.send(Record::from("one")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    let lines = logs.lines();
    assert_eq!(counts(&logs), [0, 2, 1], "{lines:#?}");
    assert!(lines[0].contains("throttles or fails 50.0 % of entries"), "{lines:#?}");
    assert!(lines[2].contains("accepts all entries again duration=179"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn brief_throttling_is_not_reported() {
    let logs = Logs::listen(Level::INFO);
    let began = Instant::now();
    let service = MockService::new(move |_, request| {
        Ok(answer_each(request, |_| began.elapsed() > Duration::from_secs(50)))
    });
    let mut sink = builder().build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    poll_for(&mut sink, MINUTE).await;
    assert_eq!(logs.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn throttled_requests_are_reported() {
    let logs = Logs::listen(Level::INFO);
    let began = Instant::now();
    let service = MockService::new(move |_, request| {
        if began.elapsed() < MINUTE + MINUTE / 2 {
            Err(service_error("ThrottlingException"))
        } else {
            Ok(all_delivered(request))
        }
    });
    let mut sink = builder().build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(counts(&logs), [0, 1, 1], "{:#?}", logs.lines());
    assert_eq!(logs.with("fails 100.0 % of entries").len(), 1, "{:#?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn failing_entries_are_logged_as_outage() {
    let logs = Logs::listen(Level::INFO);
    let began = Instant::now();
    let service = MockService::new(move |_, request| {
        if began.elapsed() < MINUTE / 2 {
            Ok(mock_service::failed_each(request, "InternalFailure"))
        } else {
            Ok(all_delivered(request))
        }
    });
    let mut sink = builder().build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(counts(&logs), [0, 1, 1], "{:#?}", logs.lines());
    assert!(logs.lines()[0].contains("requests to stream example fail"), "{:#?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn rejection_is_logged_once_a_minute() {
    let logs = Logs::listen(Level::INFO);
    let mut sink = builder().build_with(MockService::rejecting_bad()).unwrap();
    for _ in 0..150 {
        sink.send(Record::from("bad")).await.unwrap_err();
        assert_eq!(sink.take_failed().len(), 1);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(counts(&logs), [0, 3, 0], "{:#?}", logs.lines());
}
