//! Tests that the streams of a router have a bounded number of labels, and that no value is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::Record;
use kinesis_sink::metrics::names::OTHER_STREAMS;
use kinesis_sink::router::{Router, RouterSettings};
use kinesis_sink::service::ServiceBuilderExt;
use kinesis_sink::sim::SimStream;
use tokio::time::sleep;
use tower::ServiceBuilder;

use crate::recorder::Recorded;
use crate::support::mock_service::{MockService, all_delivered, answer_each, unpaced};

const GAUGES: [&str; 4] = [
    "user_records_pending",
    "buffered_bytes",
    "oldest_record_age",
    "put_records_requests_in_flight",
];
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

fn settings(metric_streams: usize) -> RouterSettings {
    let mut settings = RouterSettings::default();
    settings.metric_streams = metric_streams;
    settings.idle_timeout = IDLE_TIMEOUT;
    settings.defaults.limits = unpaced();
    settings.defaults.seed = Some(1);
    settings
}

fn router(metric_streams: usize, service: MockService) -> Router {
    route(settings(metric_streams), service)
}

fn route(settings: RouterSettings, service: MockService) -> Router {
    let service = ServiceBuilder::new().metrics_put_records().service(service);
    Router::builder().with_settings(settings).spawn_with(service).unwrap()
}

async fn send(router: &Router, streams: impl IntoIterator<Item = usize>) {
    for number in streams {
        router.send_to(format!("stream-{number}"), Record::from(("k", "x"))).await.unwrap();
    }
}

fn named<const N: usize>(numbers: [usize; N]) -> BTreeSet<String> {
    let others = [OTHER_STREAMS.to_owned()];
    numbers.map(|number| format!("stream-{number}")).into_iter().chain(others).collect()
}

fn total(recorder: &Recorded, name: &str) -> f64 {
    recorder.by_stream(name).values().sum()
}

fn assert_gauges_are_zero(recorder: &Recorded) {
    for gauge in GAUGES {
        let values = recorder.by_stream(gauge);
        assert!(
            !values.is_empty() && values.values().all(|value| *value == 0.0),
            "{gauge}: {values:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn stream_labels_are_bounded() {
    const STREAMS: usize = 2_000;
    let recorder = Recorded::install();
    let service = MockService::new(|call, request| Ok(answer_each(request, |_| call % 5 > 0)));
    let router = router(3, service.clone());
    for _ in 0..3 {
        send(&router, 0..STREAMS).await;
    }
    router.flush().await.unwrap();

    let streams = recorder.streams();
    for (name, streams) in &streams {
        assert!(streams.is_subset(&named([0, 1, 2])), "{name}: {streams:?}");
    }
    for (name, expected) in [
        ("user_records_received", 3 * STREAMS),
        ("user_records_put", 3 * STREAMS),
        ("user_records_data_put", 3 * STREAMS * 2),
        ("kinesis_records_put", 3 * STREAMS),
        ("put_records_requests", service.requests().len()),
        ("put_records_requests_flushed", service.requests().len()),
    ] {
        assert_eq!(streams[name], named([0, 1, 2]), "{name}");
        assert_eq!(total(&recorder, name), expected as f64, "{name}");
    }
    let named_streams = streams["shard_kinesis_records_put"].clone();
    assert_eq!(named_streams, &named([0, 1, 2]) - &named([]), "no shards of other streams");
    assert_eq!(recorder.by_stream("user_records_put")["stream-1"], 3.0);
}

#[tokio::test(start_paused = true)]
async fn gauges_are_zero_after_close() {
    let recorder = Recorded::install();
    let router = router(2, MockService::delivering());
    send(&router, 0..50).await;
    router.close().await.unwrap();
    // Gives the drivers time to end and drop their sinks.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(total(&recorder, "user_records_put"), 50.0);
    assert_gauges_are_zero(&recorder);
}

#[tokio::test(start_paused = true)]
async fn withdrawn_records_leave_shared_gauges() {
    let recorder = Recorded::install();
    let stuck = MockService::delivering().with_round_trip(Duration::from_secs(3_600));
    let router = router(1, stuck);
    send(&router, 0..20).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(total(&recorder, "user_records_pending"), 20.0);
    let pending = BTreeMap::from([("stream-0".to_owned(), 1.0), (OTHER_STREAMS.to_owned(), 19.0)]);
    assert_eq!(recorder.by_stream("user_records_pending"), pending);
    assert_eq!(recorder.by_stream("put_records_requests_in_flight"), pending);

    let error = router.close_within(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.undelivered().len(), 20);
    drop(router);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(total(&recorder, "user_records_withdrawn"), 20.0);
    assert_gauges_are_zero(&recorder);
}

#[tokio::test(start_paused = true)]
async fn reopened_stream_keeps_its_label() {
    let recorder = Recorded::install();
    let router = router(2, MockService::delivering());
    send(&router, 0..4).await;
    router.flush().await.unwrap();
    sleep(3 * IDLE_TIMEOUT).await;
    assert!(router.stream_statuses().is_empty(), "the streams are idle");
    assert_gauges_are_zero(&recorder);

    send(&router, (0..4).rev()).await;
    router.flush().await.unwrap();
    let expected = [("stream-0", 2.0), ("stream-1", 2.0), (OTHER_STREAMS, 4.0)];
    let expected = expected.map(|(stream, records)| (stream.to_owned(), records)).into();
    assert_eq!(recorder.by_stream("user_records_put"), expected);
    assert_eq!(recorder.by_stream("kinesis_records_put"), expected);
}

/// An idle stream drops its handles of metrics to release memory, and registers them again when it is used.
#[tokio::test(start_paused = true)]
async fn idle_stream_keeps_its_values() {
    let recorder = Recorded::install();
    let mut settings = settings(1);
    settings.idle_timeout = Duration::from_secs(24 * 60 * 60);
    let service = MockService::new(|call, request| Ok(answer_each(request, |_| call % 3 > 0)));
    let router = route(settings, service);
    let handles = || recorder.gauge_handles("user_records_pending", "stream-0");
    for sent in [3.0, 6.0, 9.0] {
        for _ in 0..3 {
            send(&router, 0..2).await;
        }
        router.flush().await.unwrap();
        assert_eq!(handles(), 1);
        sleep(Duration::from_secs(180)).await;
        assert_eq!(handles(), 0, "the stream rests");
        assert_gauges_are_zero(&recorder);
        for name in ["user_records_received", "user_records_put", "kinesis_records_put"] {
            let expected = [("stream-0".to_owned(), sent), (OTHER_STREAMS.to_owned(), sent)];
            assert_eq!(recorder.by_stream(name), expected.into(), "{name}");
        }
    }
    let of_one_stream = recorder.histogram("retries_per_record");
    assert_eq!(of_one_stream.values().sum::<usize>(), 9);
    drop(router);
    sleep(Duration::from_secs(1)).await;
    assert_gauges_are_zero(&recorder);
}

#[tokio::test(start_paused = true)]
async fn shared_age_is_that_of_oldest_record() {
    let recorder = Recorded::install();
    let is_throttled = Arc::new(AtomicBool::new(true));
    let throttles = is_throttled.clone();
    let service = MockService::new(move |_, request| {
        let throttles = request.stream().name() == "stream-0" && throttles.load(Ordering::Relaxed);
        Ok(if throttles { answer_each(request, |_| false) } else { all_delivered(request) })
    });
    let router = router(0, service);
    let age = || recorder.by_stream("oldest_record_age")[OTHER_STREAMS];
    send(&router, [0]).await;
    sleep(Duration::from_secs(2)).await;
    // The other streams have no older record.
    send(&router, 1..20).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(total(&recorder, "user_records_pending"), 1.0);
    assert!((2.0..=2.5).contains(&age()), "{}", age());
    is_throttled.store(false, Ordering::Relaxed);
    router.flush().await.unwrap();
    assert_eq!(age(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn zero_metric_streams_share_all_metrics() {
    let recorder = Recorded::install();
    let router = router(0, MockService::delivering());
    send(&router, 0..5).await;
    router.close().await.unwrap();
    for (name, streams) in recorder.streams() {
        assert_eq!(streams, named([]), "{name}");
        assert!(!name.starts_with("shard_"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn default_stack_uses_shared_label() {
    let recorder = Recorded::install();
    let mut settings = RouterSettings::default();
    settings.metric_streams = 0;
    let stream = SimStream::new(1);
    let router = Router::builder().with_settings(settings).spawn(&stream.client()).unwrap();
    router.put_to(stream.id(), Record::from("x")).await.unwrap().await.unwrap();
    router.close().await.unwrap();
    let streams = recorder.streams();
    assert!(streams.contains_key("request_time"), "the stack has no metrics");
    assert!(streams.values().all(|streams| *streams == named([])), "{streams:?}");
}

/// Sends to random streams, which are closed and opened again in between.
#[tokio::test(start_paused = true)]
async fn sums_over_labels_match_totals() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut rng = Rng::with_seed(seed);
        let recorder = Recorded::install();
        let max_named = rng.usize(..4);
        let mut service_rng = rng.fork();
        let service = MockService::new(move |_, request| {
            Ok(answer_each(request, |_| service_rng.f64() > 0.2))
        });
        let router = router(max_named, service);
        let mut sent = 0;
        for _ in 0..rng.usize(1..10) {
            let streams: Vec<_> = (0..rng.usize(..30)).map(|_| rng.usize(..10)).collect();
            sent += streams.len();
            send(&router, streams).await;
            sleep(Duration::from_millis(rng.u64(..200_000))).await;
        }
        let received = total(&recorder, "user_records_received");
        let settled = total(&recorder, "user_records_put");
        assert_eq!(received, settled + total(&recorder, "user_records_pending"));
        router.close().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        for name in ["user_records_received", "user_records_put", "kinesis_records_put"] {
            assert_eq!(total(&recorder, name), sent as f64, "{name}");
        }
        if sent > 0 {
            assert_gauges_are_zero(&recorder);
        }
        for (name, streams) in recorder.streams() {
            assert!(streams.len() <= max_named + 1, "{name}: {streams:?}");
        }
    }
}
