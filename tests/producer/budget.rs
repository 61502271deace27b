//! Tests of `Budget`: sinks and producers that share bounds for records, bytes, and requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, future, stream};
use kinesis_sink::budget::{Budget, BudgetSettings};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{ErrorKind, KinesisSink, Producer, Record, SinkBuilder};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Service};

use super::fixtures::{ROUND_TRIP, record};
use crate::support::mock_service::{MockService, all_delivered, records, service_error, unpaced};

/// Round trip of a service that never answers within a test.
const STUCK: Duration = Duration::from_secs(100_000);

fn budget(change: impl FnOnce(&mut BudgetSettings)) -> Budget {
    let mut settings = BudgetSettings::default();
    change(&mut settings);
    Budget::new(settings).unwrap()
}

fn records_budget(records: usize) -> Budget {
    budget(|settings| settings.buffer_records = records)
}

fn builder(stream: &str, budget: &Budget) -> SinkBuilder {
    KinesisSink::builder(stream).with_budget(budget).configure(|settings| {
        settings.seed = Some(1);
        settings.limits = unpaced();
        settings.request_timeout = Duration::from_secs(600);
    })
}

fn produce(stream: &str, budget: &Budget, service: &MockService) -> Producer {
    builder(stream, budget).build_with(service.clone()).unwrap().spawn()
}

/// Sends records without waiting until the producer has no capacity left. Returns their number.
fn fill(producer: &Producer) -> usize {
    let mut sent = 0;
    loop {
        match producer.try_send(record(sent)) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full);
                assert!(error.into_record().is_some());
                return sent;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stuck_producers_leave_capacity_to_others() {
    let budget = records_budget(1_200);
    let stuck = MockService::delivering().with_round_trip(STUCK);
    let [first, second] = ["first", "second"].map(|stream| produce(stream, &budget, &stuck));
    // There are 16 reserves of 37. Of the common 608, each takes half of what is free.
    assert_eq!((fill(&first), fill(&second)), (37 + 304, 37 + 152));
    let service = MockService::delivering();
    let healthy = produce("healthy", &budget, &service);
    for record in records(0..5_000) {
        healthy.send(record).await.unwrap();
        assert!(budget.buffered().records <= 1_200);
    }
    healthy.close().await.unwrap();
    assert_eq!(service.delivered().len(), 5_000);
    assert_eq!(budget.buffered().records, 530);
}

#[tokio::test(start_paused = true)]
async fn budget_bounds_bytes_of_all_producers() {
    let budget = budget(|settings| settings.buffer_bytes = 100_000);
    let stuck = MockService::delivering().with_round_trip(STUCK);
    let producers: Vec<_> =
        (0..20).map(|n| produce(&format!("stream-{n}"), &budget, &stuck)).collect();
    for producer in producers.iter().cycle().take(2_000) {
        let _ = producer.try_send(Record::from(("key", vec![b'.'; 997])));
        assert!(budget.buffered().bytes <= 100_000);
    }
    assert!(budget.buffered().bytes >= 75_000, "most of it is used: {:?}", budget.buffered());
    for producer in &producers {
        assert!(producer.status().buffered().records >= 3, "{:?}", producer.status());
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_producer_is_woken_by_other() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let [slow, fast] = ["slow", "fast"].map(|stream| produce(stream, &budget, &service));
    fill(&slow);
    let before = Instant::now();
    while fast.try_send(record("x")).is_ok() {}
    fast.send(record("waits")).await.unwrap();
    assert!(before.elapsed() >= ROUND_TRIP && before.elapsed() < 2 * ROUND_TRIP);
    future::try_join(slow.close(), fast.close()).await.unwrap();
    assert_eq!((budget.buffered().records, budget.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_returns_budget() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let producer = produce("example", &budget, &service);
    fill(&producer);
    let waiting = Box::pin(producer.send(record("dropped while it waits")));
    assert!(waiting.now_or_never().is_none());
    let mut granted = Box::pin(producer.send(record("dropped after the grant")));
    assert!((&mut granted).now_or_never().is_none());
    sleep(2 * ROUND_TRIP).await;
    drop(granted);
    producer.flush().await.unwrap();
    assert_eq!(budget.buffered().records, 0);
}

/// A partial request must not linger while its own records use up the budget.
#[tokio::test(start_paused = true)]
async fn full_budget_sends_partial_requests() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let linger = kinesis_sink::settings::Linger::Fixed(Duration::from_secs(60));
    let sink = builder("example", &budget).with_linger(linger).build_with(service.clone());
    let producer = sink.unwrap().spawn();
    timeout(Duration::from_secs(1), async {
        for record in records(0..50) {
            producer.send(record).await.unwrap();
        }
    })
    .await
    .expect("does not wait for the linger");
    producer.close().await.unwrap();
    assert_eq!(service.delivered().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn sinks_wait_for_shared_budget() {
    let budget = records_budget(20);
    let service = MockService::delivering();
    let sinks = ["first", "second", "third"].map(|stream| {
        let sink = builder(stream, &budget).build_with(service.clone()).unwrap();
        let budget = budget.clone();
        let records = stream::iter(records(0..500)).inspect(move |_| {
            assert!(budget.buffered().records <= 20, "{budget:?}");
        });
        records.map(Ok).forward(sink)
    });
    future::try_join_all(sinks).await.unwrap();
    assert_eq!(service.delivered().len(), 1_500);
    assert_eq!((budget.buffered().records, budget.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn full_budget_sends_partial_requests_of_sink() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let linger = kinesis_sink::settings::Linger::Fixed(Duration::from_secs(60));
    let sink = builder("example", &budget).with_linger(linger).build_with(service.clone());
    let forward = stream::iter(records(0..50)).map(Ok).forward(sink.unwrap());
    timeout(Duration::from_secs(1), forward).await.expect("does not wait for the linger").unwrap();
}

#[tokio::test(start_paused = true)]
async fn flushed_sink_releases_reserved_capacity() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let mut sink = builder("example", &budget).build_with(service).unwrap();
    sink.send(record("x")).await.unwrap();
    assert_eq!(budget.buffered().records, 0);
    future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
    assert_eq!(budget.buffered().records, 1, "reserved for the next record");
    sink.flush().await.unwrap();
    assert_eq!(budget.buffered().records, 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_releases_budget() {
    let budget = records_budget(10);
    let service = MockService::delivering().with_round_trip(STUCK);
    let mut sink = builder("example", &budget).build_with(service).unwrap();
    for record in records(0..4) {
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    assert_eq!((budget.buffered().records, budget.in_flight()), (4, 1));
    drop(sink);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((budget.buffered().records, budget.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn taken_records_release_budget() {
    let budget = records_budget(10);
    let mut sink = builder("example", &budget).build_with(MockService::rejecting_bad()).unwrap();
    for data in ["good", "bad 1", "bad 2"] {
        sink.feed(record(data)).await.unwrap();
    }
    sink.flush().await.unwrap_err();
    assert_eq!(budget.buffered().records, 2, "failed records count until they are taken");
    assert_eq!(sink.take_failed().len(), 2);
    assert_eq!(budget.buffered().records, 0);
    sink.feed(record("withdrawn")).await.unwrap();
    assert_eq!(sink.take_undelivered().len(), 1);
    assert_eq!(budget.buffered().records, 0);

    let producer = sink.spawn();
    for data in ["good", "bad 1", "bad 2"] {
        producer.send(record(data)).await.unwrap();
    }
    producer.flush().await.unwrap_err();
    assert_eq!(budget.buffered().records, 2);
    assert_eq!(producer.take_failed().await.len(), 2);
    assert_eq!(budget.buffered().records, 0);
    producer.send(record("bad 3")).await.unwrap();
    let error = producer.close().await.unwrap_err();
    assert_eq!((error.undelivered().len(), budget.buffered().records), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn aborted_driver_releases_budget() {
    let budget = records_budget(10);
    let service = MockService::delivering().with_round_trip(STUCK);
    let sink = builder("example", &budget).build_with(service).unwrap();
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    assert_eq!(fill(&producer), 5);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(budget.in_flight(), 1);
    driver.abort();
    producer.closed().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(budget.buffered().records, 5, "the records count until they are taken");
    let error = producer.close().await.unwrap_err();
    assert_eq!((error.kind(), error.undelivered().len()), (ErrorKind::Abandoned, 5));
    assert_eq!((budget.buffered().records, budget.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn stopped_producer_counts_until_taken() {
    let budget = records_budget(10);
    let service = MockService::failing(usize::MAX, "ResourceNotFoundException");
    let take = produce("taken", &budget, &service);
    let dropped = produce("dropped", &budget, &service);
    assert_eq!((fill(&take), fill(&dropped)), (5, 2));
    future::join(take.closed(), dropped.closed()).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(budget.buffered().records, 7);
    assert_eq!(take.take_failed().await.len(), 5);
    assert_eq!(budget.buffered().records, 2);
    drop(dropped);
    assert_eq!(budget.buffered().records, 0);
}

/// Only the caller can take failed records, so waiting for their capacity would take forever.
#[tokio::test(start_paused = true)]
async fn failed_records_in_budget_return_error() {
    let hang_timeout = Duration::from_secs(3_600);
    let budget = records_budget(10);
    let mut sink = builder("sink", &budget).build_with(MockService::rejecting_bad()).unwrap();
    let feed = async {
        loop {
            if let Err(error) = sink.feed(record("bad")).await {
                return error;
            }
        }
    };
    let error = timeout(hang_timeout, feed).await.expect("returns an error");
    assert_eq!(error.kind(), ErrorKind::Undelivered);
    assert_eq!(sink.take_failed().len(), budget_part(error.count()));
    sink.feed(record("good")).await.unwrap();
    sink.close().await.unwrap();
    drop(sink);

    let producer = produce("producer", &budget, &MockService::rejecting_bad());
    let send = async {
        loop {
            if let Err(error) = producer.send(record("bad")).await {
                return error;
            }
        }
    };
    let error = timeout(hang_timeout, send).await.expect("returns an error");
    assert_eq!(error.kind(), ErrorKind::Undelivered);
    assert_eq!(producer.take_failed().await.len(), budget_part(error.count()));
    producer.send(record("good")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(budget.buffered().records, 0);
}

/// The failed record fills the whole budget, not only the share of the sink.
#[tokio::test(start_paused = true)]
async fn failed_record_that_fills_budget_is_reported() {
    let hang_timeout = Duration::from_secs(3_600);
    let budget = records_budget(1);
    let mut sink = builder("sink", &budget).build_with(MockService::rejecting_bad()).unwrap();
    sink.feed(record("bad")).await.unwrap();
    let fed = timeout(hang_timeout, sink.feed(record("good"))).await.expect("returns an error");
    assert_eq!(fed.unwrap_err().kind(), ErrorKind::Undelivered);
    assert_eq!(sink.take_failed().len(), 1);
    drop(sink);

    let producer = produce("producer", &budget, &MockService::rejecting_bad());
    producer.send(record("bad")).await.unwrap();
    let sent = timeout(hang_timeout, producer.send(record("good"))).await;
    assert_eq!(sent.expect("returns an error").unwrap_err().kind(), ErrorKind::Undelivered);
    assert_eq!(producer.take_failed().await.len(), 1);
    producer.send(record("good")).await.unwrap();
    producer.close().await.unwrap();
}

/// A sink that waits for the budget sends its records, and then returns the error of the service.
#[tokio::test(start_paused = true)]
async fn refusal_is_reported_while_budget_is_full() {
    let budget = records_budget(1);
    let linger = kinesis_sink::settings::Linger::Fixed(Duration::from_secs(60));
    let sink = builder("example", &budget).with_linger(linger).build_with(Refusing);
    let mut sink = sink.unwrap();
    sink.feed(record("kept")).await.unwrap();
    let fed = timeout(Duration::from_secs(3_600), sink.feed(record("x"))).await;
    assert_eq!(fed.expect("returns an error").unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(sink.take_undelivered().len(), 1);
    assert_eq!(budget.buffered().records, 0);
}

/// Service that is refused while it becomes ready.
#[derive(Clone)]
struct Refusing;

impl Service<PutRecordsRequest> for Refusing {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = future::Pending<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err(service_error("AccessDeniedException")))
    }

    fn call(&mut self, _: PutRecordsRequest) -> Self::Future {
        future::pending()
    }
}

/// Checks that a single member has used its part of a budget of 10 records.
fn budget_part(records: usize) -> usize {
    assert_eq!(records, 5);
    records
}

#[tokio::test(start_paused = true)]
async fn attached_driver_keeps_charges_of_sink() {
    let budget = records_budget(10);
    let service = MockService::delivering();
    let mut sink = builder("example", &budget).build_with(service).unwrap();
    sink.feed(record("x")).await.unwrap();
    let (producer, driver) = sink.into_producer();
    assert_eq!(budget.buffered().records, 1);
    tokio::spawn(driver);
    producer.close().await.unwrap();
    assert_eq!(budget.buffered().records, 0);
}

fn counting(in_flight: &Arc<[AtomicUsize; 2]>, round_trip: Duration) -> Counting {
    Counting { in_flight: in_flight.clone(), round_trip }
}

/// Service that counts the requests in flight, and their maximum.
#[derive(Clone)]
struct Counting {
    in_flight: Arc<[AtomicUsize; 2]>,
    round_trip: Duration,
}

impl Service<PutRecordsRequest> for Counting {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = future::BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let Self { in_flight, round_trip } = self.clone();
        let now = in_flight[0].fetch_add(1, Ordering::Relaxed) + 1;
        in_flight[1].fetch_max(now, Ordering::Relaxed);
        Box::pin(async move {
            sleep(round_trip).await;
            in_flight[0].fetch_sub(1, Ordering::Relaxed);
            Ok(all_delivered(&request))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn budget_bounds_requests_in_flight() {
    let budget = budget(|settings| settings.max_in_flight = 6);
    let in_flight = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let producers: Vec<_> = (0..10)
        .map(|n| {
            let sink = builder(&format!("stream-{n}"), &budget)
                .configure(|settings| {
                    settings.limits = settings.limits.with_request_entries(1);
                })
                .build_with(counting(&in_flight, ROUND_TRIP));
            sink.unwrap().spawn()
        })
        .collect();
    let start = Instant::now();
    future::join_all(producers.iter().map(|producer| async {
        for record in records(0..30) {
            producer.send(record).await.unwrap();
        }
        producer.close().await.unwrap();
    }))
    .await;
    assert_eq!(in_flight[1].load(Ordering::Relaxed), 6, "all slots are used");
    let rounds = start.elapsed().div_duration_f64(ROUND_TRIP);
    assert!((50.0..54.0).contains(&rounds), "300 requests in 6 slots take {rounds} round trips");
    assert_eq!(budget.in_flight(), 0);
}

/// Slots go to the stream with the fewest requests in flight, and among equals to the one served least recently.
#[tokio::test(start_paused = true)]
async fn stuck_requests_leave_slots_to_others() {
    let budget = budget(|settings| settings.max_in_flight = 8);
    let one_entry = |builder: SinkBuilder| {
        builder.configure(|settings| settings.limits = unpaced().with_request_entries(1))
    };
    let stuck = MockService::delivering().with_round_trip(STUCK);
    let stuck: Vec<_> = ["a", "b"]
        .map(|stream| {
            let sink = one_entry(builder(stream, &budget)).with_max_in_flight(100);
            sink.build_with(stuck.clone()).unwrap().spawn()
        })
        .into();
    for producer in &stuck {
        for record in records(0..20) {
            producer.send(record).await.unwrap();
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(budget.in_flight(), 6, "half of the slots, and half of the rest");
    let service = MockService::delivering();
    let healthy: Vec<_> = (0..4)
        .map(|n| {
            let sink = one_entry(builder(&format!("healthy-{n}"), &budget));
            sink.build_with(service.clone()).unwrap().spawn()
        })
        .collect();
    let start = Instant::now();
    for producer in &healthy {
        for record in records(0..10) {
            producer.send(record).await.unwrap();
        }
    }
    future::try_join_all(healthy.iter().map(Producer::flush)).await.unwrap();
    assert_eq!(start.elapsed(), 20 * ROUND_TRIP, "40 requests in two slots");
    let streams = service.requests().into_iter().map(|request| request.stream().to_string());
    let first: std::collections::BTreeSet<_> = streams.take(4).collect();
    assert_eq!(first.len(), 4, "each stream sends a request before any sends a second one");
}

#[test]
fn invalid_budget_error_names_setting() {
    let error = |change: fn(&mut BudgetSettings)| {
        let mut settings = BudgetSettings::default();
        change(&mut settings);
        Budget::new(settings).unwrap_err().to_string()
    };
    let errors = [
        error(|settings| settings.buffer_records = 0),
        error(|settings| settings.buffer_bytes = 0),
        error(|settings| settings.max_in_flight = 100_001),
    ];
    for (error, setting) in errors.iter().zip(["buffer_records", "buffer_bytes", "max_in_flight"]) {
        assert!(error.contains(setting), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_record_waits_only_for_half() {
    let budget = budget(|settings| settings.buffer_bytes = 1_000_000);
    let stuck = MockService::delivering().with_round_trip(STUCK);
    let service = MockService::delivering();
    let large = produce("large", &budget, &service);
    let medium = produce("medium", &budget, &service);
    for stream in ["first", "second"] {
        let producer = produce(stream, &budget, &stuck);
        while producer.try_send(Record::from(("key", vec![b'.'; 997]))).is_ok() {}
        std::mem::forget(producer);
    }
    assert!(budget.buffered().bytes < 500_000, "half of the budget is free");
    let data = |bytes| Record::from(("key", vec![b'.'; bytes]));
    let (large, medium) = future::join(
        timeout(STUCK / 2, large.send(data(500_000))),
        timeout(STUCK / 2, async {
            sleep(ROUND_TRIP).await;
            for _ in 0..10 {
                medium.put(data(130_000)).await.unwrap().await.unwrap();
            }
        }),
    )
    .await;
    assert!(medium.is_ok(), "a record waits behind a large one that does not fit");
    large.expect("half of the budget is free").unwrap();
}

/// Service that never becomes ready.
#[derive(Clone)]
struct Unready;

impl Service<PutRecordsRequest> for Unready {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = future::Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn call(&mut self, _: PutRecordsRequest) -> Self::Future {
        future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn unready_services_leave_slots_to_others() {
    let budget = budget(|settings| settings.max_in_flight = 4);
    let mut unready = Vec::new();
    for number in 0..4 {
        let sink = builder(&format!("unready-{number}"), &budget).build_with(Unready).unwrap();
        unready.push(sink.spawn());
        unready[number].send(record(number)).await.unwrap();
    }
    sleep(ROUND_TRIP).await;
    let producer = produce("healthy", &budget, &MockService::delivering());
    let receipt = producer.put(record(1)).await.unwrap();
    timeout(STUCK, receipt)
        .await
        .expect("all slots are taken by services that are not ready")
        .unwrap();
}
