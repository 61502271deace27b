//! Tests of how a `Router` opens streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use kinesis_sink::sim::SimStream;
use kinesis_sink::{BuildError, ErrorKind, KinesisSink, RecordOrdering, Router};

use super::fixtures::{builder, configured, id, open_streams, record, route, sent_to};
use crate::support::mock_service::MockService;

#[tokio::test(start_paused = true)]
async fn stream_is_opened_on_first_use() {
    let service = MockService::delivering();
    let router = route(&service);
    assert!(open_streams(&router).is_empty());
    assert!(router.stream_status("a").is_none(), "a query does not open the stream");
    router.producer("a").unwrap();
    assert_eq!(open_streams(&router), ["a"]);
    assert_eq!(service.requests().len(), 0, "opening sends no request");
    router.send_to("b", record("1")).await.unwrap();
    assert_eq!(open_streams(&router), ["a", "b"]);
}

/// Returns a builder whose closure counts its calls.
fn counting(opened: &Arc<AtomicUsize>) -> kinesis_sink::router::RouterBuilder {
    let opened = opened.clone();
    builder().configure_stream(move |_, builder| {
        opened.fetch_add(1, Ordering::Relaxed);
        builder
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_first_uses_open_stream_once() {
    let service = MockService::delivering().with_round_trip(Duration::from_millis(1));
    for round in 0..50 {
        let opened = Arc::new(AtomicUsize::new(0));
        let router = counting(&opened).spawn_with(service.clone()).unwrap();
        let stream = format!("stream-{round}");
        let sends = (0..20).map(|number| {
            let (router, stream) = (router.clone(), stream.clone());
            tokio::spawn(async move { router.send_to(stream, record(number)).await })
        });
        for sent in future::join_all(sends).await {
            sent.unwrap().unwrap();
        }
        router.close().await.unwrap();
        assert_eq!(opened.load(Ordering::Relaxed), 1);
        assert_eq!(sent_to(&service, &stream).len(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_of_stream_replace_defaults() {
    let router = configured(|settings| {
        settings.defaults.buffer_records = Some(10);
        let mut small = settings.defaults.clone();
        small.buffer_records = Some(3);
        settings.streams.insert(id("small"), small);
    });
    let router = router.spawn_with(MockService::delivering()).unwrap();
    for (stream, records) in [("small", 3), ("other", 10)] {
        router.producer(stream).unwrap();
        assert_eq!(router.stream_status(stream).unwrap().capacity.records, records);
    }
}

#[tokio::test(start_paused = true)]
async fn closure_changes_settings_last() {
    let router = configured(|settings| settings.defaults.buffer_records = Some(10));
    let router = router.configure_stream(|stream, builder| {
        builder.configure(|settings| {
            assert_eq!(settings.buffer_records, Some(10));
            settings.buffer_records = Some(stream.name().len());
        })
    });
    let router = router.spawn_with(MockService::delivering()).unwrap();
    router.producer("four").unwrap();
    assert_eq!(router.stream_status("four").unwrap().capacity.records, 4);
}

#[tokio::test(start_paused = true)]
async fn closure_cannot_change_stream() {
    let service = MockService::delivering();
    let router = builder().configure_stream(|_, _| KinesisSink::builder("other"));
    let router = router.spawn_with(service.clone()).unwrap();
    router.send_to("a", record("1")).await.unwrap();
    router.close().await.unwrap();
    assert_eq!(sent_to(&service, "a"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn invalid_name_error_contains_record() {
    let router = route(&MockService::delivering());
    for stream in ["", "a b", "arn:aws:kinesis"] {
        let error = router.send_to(stream, record("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Build, "{error}");
        assert!(error.to_string().contains("stream"), "{error}");
        assert_eq!(error.into_record(), Some(record("1")));
        let error = router.try_put_to(stream, record("2")).unwrap_err();
        assert_eq!(error.into_record(), Some(record("2")));
        assert_eq!(router.producer(stream).unwrap_err().kind(), ErrorKind::Build);
    }
    assert!(open_streams(&router).is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_region_error_contains_record() {
    let stream = SimStream::new(1);
    let router = configured(|settings| settings.max_streams = 1);
    let router = router.spawn(&stream.client()).unwrap();
    router.send_to(stream.id(), record("1")).await.unwrap();
    router.flush().await.unwrap();
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
    let error = router.send_to(arn, record("2")).await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Build, Some(&id(arn))));
    assert!(error.to_string().contains("us-east-1"), "{error}");
    assert_eq!(error.into_record(), Some(record("2")));
    assert_eq!(open_streams(&router), [stream.id().to_string()], "no stream was closed for it");
}

#[tokio::test(start_paused = true)]
async fn invalid_closure_error_contains_record() {
    let router =
        configured(|settings| settings.max_streams = 1).configure_stream(|stream, builder| {
            let requests = if stream.name() == "bad" { 0 } else { 1 };
            builder.with_max_in_flight(requests)
        });
    let router = router.spawn_with(MockService::delivering()).unwrap();
    for number in 0..3 {
        let error = router.send_to("bad", record(number)).await.unwrap_err();
        assert_eq!((error.kind(), error.stream()), (ErrorKind::Build, Some(&id("bad"))));
        assert!(error.to_string().contains("max_in_flight"), "{error}");
        assert_eq!(error.into_record(), Some(record(number)));
    }
    router.send_to("good", record("1")).await.unwrap();
    assert_eq!(open_streams(&router), ["good"], "a failed stream takes no place");
}

#[tokio::test(start_paused = true)]
async fn panicking_closure_does_not_block_stream() {
    let panics = Arc::new(AtomicUsize::new(1));
    let router = builder().configure_stream({
        let panics = panics.clone();
        move |_, builder| {
            assert_eq!(panics.load(Ordering::Relaxed), 0, "panic of the closure");
            builder
        }
    });
    let router = router.spawn_with(MockService::delivering()).unwrap();
    let task = tokio::spawn({
        let router = router.clone();
        async move { router.send_to("a", record("1")).await }
    });
    assert!(task.await.unwrap_err().is_panic());
    panics.store(0, Ordering::Relaxed);
    router.put_to("a", record("2")).await.unwrap().await.unwrap();
    router.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn spawn_validates_settings() {
    let invalid = configured(|settings| settings.idle_timeout = Duration::ZERO);
    let error = invalid.spawn_with(MockService::delivering()).unwrap_err();
    assert_eq!(error.setting(), Some("idle_timeout"));
    let config = aws_sdk_kinesis::Config::builder().behavior_version_latest().build();
    let error = Router::builder().spawn(&aws_sdk_kinesis::Client::from_conf(config)).unwrap_err();
    assert_eq!(error, BuildError::NoRegion);
}

#[tokio::test(start_paused = true)]
async fn streams_have_their_own_ordering() {
    let service = MockService::delivering();
    let router = configured(|settings| {
        let mut ordered = settings.defaults.clone();
        ordered.ordering = RecordOrdering::PerKey;
        settings.streams.insert(id("ordered"), ordered);
    });
    let router = router.spawn_with(service.clone()).unwrap();
    for number in 0..3 {
        for stream in ["ordered", "unordered"] {
            let record = kinesis_sink::Record::from(("key", number.to_string()));
            router.send_to(stream, record).await.unwrap();
        }
    }
    router.close().await.unwrap();
    let requests_to = |stream: &str| {
        let requests = service.requests().into_iter();
        requests.filter(|request| request.stream().name() == stream).count()
    };
    assert_eq!((requests_to("ordered"), requests_to("unordered")), (3, 1));
}
