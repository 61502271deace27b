//! Tests of flushing and closing all streams.

use std::time::Duration;

use futures::{FutureExt, future};
use kinesis_sink::record::FailureReason;
use kinesis_sink::{ErrorKind, Router};
use tokio::time::{Instant, sleep};

use super::fixtures::{for_stream, id, pairs, record, route, sent_to, streams_and_texts};
use crate::support::mock_service::{MockService, all_delivered, service_error};

const SECOND: Duration = Duration::from_secs(1);

async fn send_to_each(router: &Router, streams: &[&str]) {
    for stream in streams {
        router.send_to(stream, record(format!("to-{stream}"))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_all_streams_concurrently() {
    let service = MockService::delivering().with_round_trip(SECOND);
    let router = route(&service);
    router.flush().await.unwrap();
    send_to_each(&router, &["a", "b", "c"]).await;
    let began = Instant::now();
    router.flush().await.unwrap();
    assert_eq!((began.elapsed(), service.delivered().len()), (SECOND, 3));
}

#[tokio::test(start_paused = true)]
async fn flush_error_of_one_stream_names_it() {
    let router = route(&MockService::rejecting_bad());
    router.send_to("a", record("good")).await.unwrap();
    router.send_to("b", record("bad")).await.unwrap();
    let error = router.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1));
    assert_eq!(error.stream(), Some(&id("b")));
}

#[tokio::test(start_paused = true)]
async fn flush_merges_errors_of_streams() {
    let router = route(&MockService::rejecting_bad());
    for stream in ["a", "b", "c"] {
        router.send_to(stream, record("bad 1")).await.unwrap();
        router.send_to(stream, record("bad 2")).await.unwrap();
    }
    router.send_to("d", record("good")).await.unwrap();
    let error = router.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 6));
    assert_eq!(error.stream(), None);
    assert!(error.to_string().starts_with("3 streams failed (6 records affected)"), "{error}");
    assert_eq!(router.take_failed().await.len(), 6);
    router.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_take_failed_loses_no_record() {
    let router = route(&MockService::rejecting_bad());
    for stream in ["a", "b", "c"] {
        router.send_to(stream, record("bad")).await.unwrap();
    }
    router.flush().await.unwrap_err();
    assert!(router.take_failed().now_or_never().is_none());
    sleep(SECOND).await;
    let taken = router.take_failed().await;
    assert_eq!(streams_and_texts(&taken), pairs(&[("a", "bad"), ("b", "bad"), ("c", "bad")]));
}

#[tokio::test(start_paused = true)]
async fn close_delivers_records_of_all_streams() {
    let service = MockService::delivering();
    let router = route(&service);
    send_to_each(&router, &["a", "b", "c"]).await;
    let clone = router.clone();
    assert!(clone.closed().now_or_never().is_none());
    router.close().await.unwrap();
    assert_eq!(service.delivered().len(), 3);
    clone.closed().await;
    assert!(clone.is_closed());
    clone.close().await.unwrap();
    clone.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closed_router_returns_records() {
    let router = route(&MockService::delivering());
    let producer = router.producer("a").unwrap();
    router.close().await.unwrap();
    for stream in ["a", "b"] {
        for error in [
            router.send_to(stream, record(1)).await.unwrap_err(),
            router.try_send_to(stream, record(1)).unwrap_err(),
            router.put_to(stream, record(1)).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.stream()), (ErrorKind::Closed, Some(&id(stream))));
            assert_eq!(error.into_record(), Some(record(1)));
        }
    }
    assert_eq!(producer.send(record(1)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(router.producer("b").unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_error_contains_records_of_all_streams() {
    let service = MockService::new(|_, request| match request.stream().name() {
        "denied" => Err(service_error("AccessDeniedException")),
        _ => Ok(kinesis_sink::service::PutRecordsResponse::new(
            request
                .entries()
                .iter()
                .map(|_| {
                    Err(kinesis_sink::service::EntryError::new("InvalidArgumentException", "no"))
                })
                .collect(),
        )),
    });
    let router = route(&service);
    send_to_each(&router, &["a", "b", "denied"]).await;
    let error = router.close().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Stopped, 3), "{error}");
    assert_eq!(error.stream(), None);
    assert!(error.to_string().contains("3 streams"), "{error}");
    let expected = [("a", "to-a"), ("b", "to-b"), ("denied", "to-denied")];
    assert_eq!(streams_and_texts(error.undelivered()), pairs(&expected));
    let again = router.close().await.unwrap_err();
    assert!(again.undelivered().is_empty(), "the records are returned once");
}

#[tokio::test(start_paused = true)]
async fn dropped_close_loses_no_record() {
    let service = MockService::rejecting_bad().with_round_trip(SECOND);
    let router = route(&service);
    for stream in ["a", "b"] {
        router.send_to(stream, record("bad")).await.unwrap();
    }
    assert!(router.close().now_or_never().is_none());
    assert!(router.is_closed());
    sleep(SECOND * 10).await;
    let error = router.close().await.unwrap_err();
    assert_eq!(streams_and_texts(error.undelivered()), pairs(&[("a", "bad"), ("b", "bad")]));
}

#[tokio::test(start_paused = true)]
async fn concurrent_closes_return_each_record_once() {
    let router = route(&MockService::rejecting_bad());
    for stream in ["a", "b", "c", "d"] {
        router.send_to(stream, record("bad")).await.unwrap();
    }
    let (one, two) = future::join(router.close(), router.close()).await;
    let records = |closed: Result<(), kinesis_sink::Error>| closed.unwrap_err().undelivered().len();
    assert_eq!(records(one) + records(two), 4);
}

#[tokio::test(start_paused = true)]
async fn close_within_withdraws_unsettled_records() {
    let service = for_stream("stuck", |_| Err(service_error("InternalFailure")));
    let router = route(&service);
    let began = Instant::now();
    send_to_each(&router, &["a", "stuck"]).await;
    let receipt = router.put_to("stuck", record("with receipt")).await.unwrap();
    let error = router.close_within(SECOND * 5).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Undelivered, Some(&id("stuck"))));
    assert_eq!(error.undelivered()[0].record(), &record("to-stuck"));
    assert!(matches!(error.undelivered()[0].reason(), FailureReason::Withdrawn { .. }));
    let undelivered = receipt.await.unwrap_err();
    assert!(matches!(undelivered.reason(), FailureReason::Withdrawn { .. }));
    assert_eq!(sent_to(&service, "a"), ["to-a"]);
}

#[tokio::test(start_paused = true)]
async fn close_within_returns_early_if_settled() {
    let router = route(&MockService::delivering().with_round_trip(SECOND));
    send_to_each(&router, &["a", "b"]).await;
    let began = Instant::now();
    router.close_within(SECOND * 60).await.unwrap();
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn dropping_last_handle_drains_all_streams() {
    let mut attempts = 0;
    let service = for_stream("b", move |request| {
        attempts += 1;
        if attempts < 3 {
            Err(service_error("InternalFailure"))
        } else {
            Ok(all_delivered(request))
        }
    });
    let router = route(&service);
    send_to_each(&router, &["a", "b", "c"]).await;
    let watch = router.producer("b").unwrap().watch();
    let clone = router.clone();
    drop(router);
    send_to_each(&clone, &["d"]).await;
    drop(clone);
    assert!(!watch.current().is_working());
    sleep(SECOND * 30).await;
    assert_eq!(service.delivered().len(), 4);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn producer_handle_outlives_router() {
    let service = MockService::delivering();
    let router = route(&service);
    let producer = router.producer("a").unwrap();
    drop(router);
    producer.put(record(1)).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn end_of_runtime_returns_records() {
    let router = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = runtime.block_on(async {
            let router = route(&MockService::delivering());
            send_to_each(&router, &["a", "b"]).await;
            router
        });
        drop(runtime);
        router
    });
    let router = router.await.unwrap();
    let error = router.send_to("a", record(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::Abandoned, Some(record(1))));
    let error = router.send_to("new", record(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::Abandoned, Some(record(1))));
    let error = router.close().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Abandoned, 2));
    assert_eq!(streams_and_texts(error.undelivered()), pairs(&[("a", "to-a"), ("b", "to-b")]));
}
