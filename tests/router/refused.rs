//! Tests of streams that refuse all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kinesis_sink::record::FailureReason;
use kinesis_sink::router::RouterBuilder;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::status::Condition;
use kinesis_sink::{ErrorKind, Router};
use tokio::time::sleep;

use super::fixtures::pairs;
use super::fixtures::{
    IDLE_TIMEOUT, builder, configured, for_stream, id, record, route, sent_to, streams_and_texts,
};
use crate::support::mock_service::{MockService, all_delivered, service_error};

const SECOND: Duration = Duration::from_secs(1);

fn denying(code: &'static str) -> MockService {
    for_stream("bad", move |_| Err(service_error(code)))
}

/// Returns a service that refuses all requests to the stream `bad` until the flag is set.
fn fixable() -> (MockService, Arc<AtomicBool>) {
    let fixed = Arc::new(AtomicBool::new(false));
    let is_fixed = fixed.clone();
    let service = for_stream("bad", move |request| {
        if is_fixed.load(Ordering::Relaxed) {
            Ok(all_delivered(request))
        } else {
            Err(service_error("ResourceNotFoundException"))
        }
    });
    (service, fixed)
}

#[tokio::test(start_paused = true)]
async fn refusal_does_not_affect_other_streams() {
    for code in ["ResourceNotFoundException", "AccessDeniedException"] {
        let router = route(&denying(code));
        let refused = router.put_to("bad", record(1)).await.unwrap();
        let good = router.put_to("good", record(2)).await.unwrap();
        good.await.unwrap();
        let undelivered = refused.await.unwrap_err();
        assert_eq!(undelivered.stream(), Some(&id("bad")));
        assert!(
            matches!(undelivered.reason(), FailureReason::Refused(error) if error.code() == code)
        );
        let error = router.send_to("bad", record(3)).await.unwrap_err();
        assert_eq!((error.kind(), error.stream()), (ErrorKind::Stopped, Some(&id("bad"))));
        assert_eq!(error.into_record(), Some(record(3)));
        router.put_to("good", record(4)).await.unwrap().await.unwrap();
        let condition = router.stream_status("bad").unwrap().condition;
        assert!(matches!(&condition, Condition::Stopped { error, .. } if error.code() == code));
        assert!(router.stream_status("good").unwrap().condition.is_working());
        assert_eq!((router.status().stopped, router.status().working), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_stream_returns_its_records() {
    let router = route(&denying("AccessDeniedException"));
    for number in 1..=3 {
        router.send_to("bad", record(number)).await.unwrap();
    }
    let error = router.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Stopped, Some(&id("bad"))));
    let taken = router.take_failed().await;
    let expected = [("bad", "1"), ("bad", "2"), ("bad", "3")];
    assert_eq!(streams_and_texts(&taken), pairs(&expected));
    assert!(router.take_failed().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopped_stream_is_reopened_after_timeout() {
    let (service, fixed) = fixable();
    let router = route(&service);
    router.put_to("bad", record(1)).await.unwrap().await.unwrap_err();
    fixed.store(true, Ordering::Relaxed);
    let error = router.send_to("bad", record(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    // Uses do not extend the pause.
    for _ in 0..7 {
        sleep(IDLE_TIMEOUT / 8).await;
        let error = router.try_send_to("bad", record(3)).unwrap_err();
        assert_eq!((error.kind(), error.into_record()), (ErrorKind::Stopped, Some(record(3))));
    }
    sleep(IDLE_TIMEOUT / 8 - SECOND).await;
    assert!(router.try_send_to("bad", record(3)).is_err());
    sleep(SECOND).await;
    router.put_to("bad", record(4)).await.unwrap().await.unwrap();
    assert_eq!(sent_to(&service, "bad"), ["1", "4"]);
    let status = router.status();
    assert_eq!((status.opened, status.totals.accepted, status.totals.delivered), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn pause_begins_when_stream_stops() {
    let (service, fixed) = fixable();
    let router = route(&service);
    router.put_to("bad", record(1)).await.unwrap().await.unwrap_err();
    fixed.store(true, Ordering::Relaxed);
    sleep(IDLE_TIMEOUT).await;
    router.put_to("bad", record(2)).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopped_stream_keeps_untaken_records() {
    let (service, fixed) = fixable();
    let router = route(&service);
    router.send_to("bad", record(1)).await.unwrap();
    sleep(SECOND).await;
    fixed.store(true, Ordering::Relaxed);
    sleep(IDLE_TIMEOUT * 3).await;
    let error = router.send_to("bad", record(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped, "its records were not taken");
    assert_eq!(router.take_failed().await.len(), 1);
    router.put_to("bad", record(2)).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unused_stopped_stream_is_closed() {
    let router = route(&denying("AccessDeniedException"));
    router.put_to("bad", record(1)).await.unwrap().await.unwrap_err();
    sleep(IDLE_TIMEOUT - SECOND).await;
    assert!(router.stream_status("bad").is_some());
    sleep(IDLE_TIMEOUT / 2).await;
    assert!(router.stream_status("bad").is_none());
    assert_eq!(router.status().stopped, 0);
}

#[tokio::test(start_paused = true)]
async fn reopened_stream_stops_again() {
    let router = route(&denying("AccessDeniedException"));
    for _ in 0..3 {
        router.put_to("bad", record(1)).await.unwrap().await.unwrap_err();
        let error = router.put_to("bad", record(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        sleep(IDLE_TIMEOUT * 2).await;
    }
    assert_eq!(router.status().opened, 3);
}

#[tokio::test(start_paused = true)]
async fn handle_of_stopped_producer_does_not_block() {
    let (service, fixed) = fixable();
    let router = route(&service);
    let producer = router.producer("bad").unwrap();
    producer.put(record(1)).await.unwrap().await.unwrap_err();
    fixed.store(true, Ordering::Relaxed);
    assert_eq!(router.send_to("bad", record(2)).await.unwrap_err().kind(), ErrorKind::Stopped);
    sleep(IDLE_TIMEOUT).await;
    router.put_to("bad", record(2)).await.unwrap().await.unwrap();
    assert_eq!(producer.send(record(3)).await.unwrap_err().kind(), ErrorKind::Stopped);
}

fn retrying() -> RouterBuilder {
    configured(|settings| settings.defaults.fatal_policy = FatalPolicy::Retry)
}

#[tokio::test(start_paused = true)]
async fn retrying_stream_keeps_its_records() {
    let (service, fixed) = fixable();
    let router: Router = retrying().spawn_with(service.clone()).unwrap();
    let receipt = router.put_to("bad", record(1)).await.unwrap();
    sleep(IDLE_TIMEOUT * 2).await;
    let error = router.send_to("bad", record(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Refused, Some(&id("bad"))));
    assert_eq!(error.into_record(), Some(record(2)));
    let status = router.status();
    assert_eq!((status.refused, status.queued.records + status.in_flight.records), (1, 1));
    assert!(status.oldest_age.unwrap() >= IDLE_TIMEOUT * 2);
    fixed.store(true, Ordering::Relaxed);
    receipt.await.unwrap();
    router.put_to("bad", record(2)).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dead_letters_receive_refused_records() {
    let (dead_letters, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let router = builder()
        .configure_stream(move |_, builder| builder.with_dead_letter_handler(dead_letters.clone()));
    let router = router.spawn_with(denying("AccessDeniedException")).unwrap();
    router.send_to("bad", record(1)).await.unwrap();
    let undelivered = taken.recv().await.unwrap();
    assert_eq!(undelivered.stream(), Some(&id("bad")));
    assert_eq!(undelivered.into_record(), record(1));
}
