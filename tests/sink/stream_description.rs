//! Tests of how a sink uses the stream description and the shard list, and of sources that fail or provide only one.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, pending, poll_fn};
use futures::{FutureExt, Sink, SinkExt};
use kinesis_sink::limits::Limits;
use kinesis_sink::record::HashKey;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::shard::{HashRange, Shard};
use kinesis_sink::stream::{
    DescribeStreamFn, Distribution, StreamDescription, StreamInfo, describe_stream_fn,
    list_shards_fn,
};
use kinesis_sink::{
    Aggregation, Error, ErrorKind, KinesisSink, Producer, Record, SinkBuilder, StreamId,
};
use tokio::time::{Instant, sleep};
use tower::BoxError;
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service::{MockService, service_error};

const MIB: usize = 1024 * 1024;

fn aggregating() -> SinkBuilder {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(Aggregation::PerKey)
}

fn sink(builder: SinkBuilder, service: &MockService) -> KinesisSink<MockService> {
    builder.build_with(service.clone()).unwrap()
}

type Describe =
    dyn Fn(StreamId) -> BoxFuture<'static, Result<StreamDescription, BoxError>> + Send + Sync;

#[derive(Clone, Default)]
struct Describer(Arc<AtomicUsize>);

impl Describer {
    fn answering(
        &self,
        answer: impl Fn(usize) -> Result<StreamDescription, BoxError> + Send + Sync + 'static,
    ) -> DescribeStreamFn<Box<Describe>> {
        let calls = self.0.clone();
        let describe: Box<Describe> = Box::new(move |_| {
            let answer = answer(calls.fetch_add(1, Ordering::SeqCst));
            let delayed = sleep(Duration::from_millis(10)).map(|()| answer);
            delayed.boxed()
        });
        describe_stream_fn(describe)
    }

    fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn auto_distribution() -> StreamDescription {
    StreamDescription::default().with_distribution(Distribution::Auto)
}

fn large_records() -> StreamDescription {
    StreamDescription::default().with_max_record_bytes(10 * MIB)
}

fn record_of(bytes: usize) -> Record {
    Record::from(vec![b'x'; bytes - 1]).with_partition_key("k")
}

#[tokio::test(start_paused = true)]
async fn auto_distribution_rejects_aggregation() {
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        let service = MockService::delivering();
        let describer = Describer::default();
        let builder = aggregating().with_aggregation(aggregation).with_stream_info((
            describer.answering(|_| Ok(auto_distribution())),
            list_shards_fn(|_| async { Err(BoxError::from("none")) }),
        ));
        refuses_three_times(sink(builder, &service)).await;
        assert!(service.requests().is_empty());
        assert_eq!(describer.calls(), 3, "one lookup per attempt");
    }
}

async fn refuses_three_times(mut sink: KinesisSink<MockService>) {
    for _ in 0..3 {
        let refused = sink.send(Record::from("a")).await.unwrap_err();
        assert_eq!((refused.kind(), refused.count()), (ErrorKind::Refused, 0), "{refused}");
        let source = refused.source().unwrap();
        assert!(source.to_string().contains("switch aggregation off"), "{source}");
    }
}

#[tokio::test(start_paused = true)]
async fn auto_distribution_accepts_plain_records() {
    let service = MockService::delivering();
    let describer = Describer::default().answering(|_| Ok(auto_distribution()));
    let builder = KinesisSink::builder("example").with_stream_info(describer);
    let mut sink = sink(builder, &service);
    sink.send(Record::from("a")).await.unwrap();
    assert_eq!(service.sizes(), [1]);
}

#[tokio::test(start_paused = true)]
async fn missing_stream_rejects_first_record() {
    let service = MockService::delivering();
    let describer = Describer::default();
    let missing = |call| match call {
        0 => Err(service_error("ResourceNotFoundException")),
        _ => Ok(StreamDescription::default()),
    };
    let mut sink = sink(aggregating().with_stream_info(describer.answering(missing)), &service);
    let refused = sink.feed(Record::from("a")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    let source = refused.source().unwrap();
    assert!(source.to_string().contains("ResourceNotFoundException"), "{source}");
    sink.send(Record::from("a")).await.unwrap();
    assert_eq!(service.sizes(), [1], "sent after the stream exists");
    assert_eq!(describer.calls(), 2);
}

#[track_caller]
fn assert_too_large(refused: &Error, bytes: usize, limit: usize) {
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge, "{refused}");
    let expected =
        format!("record is {bytes} bytes with its partition key; split it to at most {limit},");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn described_record_limit_is_enforced() {
    let service = MockService::delivering();
    let described = || Describer::default().answering(|_| Ok(large_records()));
    let mut large = sink(aggregating().with_stream_info(described()), &service);
    large.send(record_of(10 * MIB)).await.unwrap();
    let refused = large.send(record_of(10 * MIB + 1)).await.unwrap_err();
    assert_too_large(&refused, 10 * MIB + 1, 10 * MIB);
    assert_eq!(service.requests()[0].bytes(), 10 * MIB);

    // The lower of the configured limit and the stream's limit applies.
    let lower = Limits::default().with_record_bytes(1_000);
    let builder =
        aggregating().configure(|settings| settings.limits = lower).with_stream_info(described());
    let mut lower = sink(builder, &service);
    lower.send(record_of(1_000)).await.unwrap();
    assert!(lower.send(record_of(1_001)).await.is_err());
    let ordinary = Describer::default().answering(|_| Ok(StreamDescription::default()));
    let higher = Limits::default().with_request_bytes(10 * MIB).with_record_bytes(10 * MIB);
    let builder =
        aggregating().configure(|settings| settings.limits = higher).with_stream_info(ordinary);
    let mut higher = sink(builder, &service);
    higher.send(record_of(MIB)).await.unwrap();
    assert!(higher.send(record_of(MIB + 1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn denied_description_keeps_defaults() {
    for code in ["AccessDeniedException", "UnknownOperationException", "ValidationException"] {
        let logs = Logs::listen(Level::INFO);
        let service = MockService::delivering();
        let describer = Describer::default();
        let denied = describer.answering(move |_| Err(service_error(code)));
        let mut sink = sink(aggregating().with_stream_info(denied), &service);
        for _ in 0..5 {
            sink.send(Record::from("a")).await.unwrap();
        }
        assert_eq!(describer.calls(), 1, "{code}");
        let lines = logs.with("");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("INFO") && lines[0].contains(code), "{lines:?}");
        assert!(lines[0].contains("example cannot be described"), "{lines:?}");
        assert!(sink.send(record_of(MIB + 1)).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn transient_error_gets_five_attempts() {
    for code in ["LimitExceededException", "InternalFailure"] {
        let service = MockService::delivering();
        let describer = Describer::default();
        let failing = describer.answering(move |_| Err(service_error(code)));
        let mut failing = sink(aggregating().with_stream_info(failing), &service);
        let logs = Logs::listen(Level::INFO);
        let began = Instant::now();
        failing.feed(Record::from("a")).await.unwrap();
        assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
        let lines = logs.with("");
        assert_eq!(lines.len(), 1, "only the failed description is logged: {lines:?}");
        failing.flush().await.unwrap();
        assert_eq!((describer.calls(), service.sizes()), (5, vec![1]), "{code}");

        let describer = Describer::default();
        let recovering = describer.answering(move |call| match call {
            0..3 => Err(service_error(code)),
            _ => Ok(large_records()),
        });
        let mut recovering = sink(aggregating().with_stream_info(recovering), &service);
        recovering.send(record_of(10 * MIB)).await.unwrap();
        assert_eq!(describer.calls(), 4, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_errors_delay_description() {
    let service = MockService::delivering();
    let describer = Describer::default();
    let began = Instant::now();
    let refused = move |_| {
        if began.elapsed() < Duration::from_secs(240) {
            Err(service_error("ExpiredTokenException"))
        } else {
            Ok(auto_distribution())
        }
    };
    let mut sink = sink(aggregating().with_stream_info(describer.answering(refused)), &service);
    // The lookup succeeds after four minutes of credentials errors, and reports that the stream is AUTO.
    let refused = sink.send(Record::from("a")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    let source = refused.source().unwrap();
    assert!(source.to_string().contains("switch aggregation off"), "{source}");
    let after = began.elapsed();
    assert!((240..244).contains(&after.as_secs()), "{after:?}");
    assert!(service.requests().is_empty());
    assert!(describer.calls() > 60, "{}", describer.calls());
}

#[tokio::test(start_paused = true)]
async fn credentials_timeout_fails_description() {
    let service = MockService::delivering();
    let describer = Describer::default().answering(|_| Err(service_error("ExpiredTokenException")));
    let mut sink = sink(aggregating().with_stream_info(describer), &service);
    let began = Instant::now();
    let refused = sink.send(Record::from("a")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    let source = refused.source().unwrap();
    assert!(source.to_string().contains("ExpiredTokenException"), "{source}");
    let after = began.elapsed();
    assert!((300..304).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn description_timeout_or_panic_is_ignored() {
    let service = MockService::delivering();
    let mut silent =
        sink(aggregating().with_stream_info(describe_stream_fn(|_| pending())), &service);
    let began = Instant::now();
    silent.send(Record::from("a")).await.unwrap();
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(50) && waited < Duration::from_secs(60), "{waited:?}");

    let panicking = |_| async { panic!("no description") };
    let mut panicking =
        sink(aggregating().with_stream_info(describe_stream_fn(panicking)), &service);
    panicking.send(Record::from("a")).await.unwrap();
    assert_eq!(service.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn describe_stream_off_skips_lookup() {
    let service = MockService::delivering();
    let mut sink =
        sink(aggregating().configure(|settings| settings.describe_stream = false), &service);
    let began = Instant::now();
    sink.close().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn large_record_waits_for_description() {
    let service = MockService::delivering();
    let described = Describer::default().answering(|_| Ok(large_records()));
    let builder = aggregating().with_stream_info(described);
    let producer = sink(builder, &service).spawn();
    let early = producer.try_send(record_of(2 * MIB)).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Full, "try_send before the description");
    assert_eq!(producer.limits().record_bytes(), MIB);
    let receipt = producer.put(record_of(2 * MIB)).await.unwrap();
    receipt.await.unwrap();
    producer.try_send(record_of(2 * MIB)).unwrap();
    assert_eq!(producer.limits().record_bytes(), 10 * MIB);
    assert!(producer.put(record_of(10 * MIB + 1)).await.is_err());
    producer.close().await.unwrap();

    let described = Describer::default().answering(|_| Ok(large_records()));
    let builder = aggregating().with_stream_info(described);
    let producer = sink(builder, &service).spawn();
    producer.sink().send(record_of(2 * MIB)).await.unwrap();
    assert_eq!(producer.status().totals.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn auto_distribution_applies_fatal_policy() {
    for policy in [FatalPolicy::Stop, FatalPolicy::Retry] {
        let service = MockService::delivering();
        let described = Describer::default().answering(|_| Ok(auto_distribution()));
        let builder = aggregating()
            .with_stream_info(described)
            .configure(|settings| settings.fatal_policy = policy);
        let producer = sink(builder, &service).spawn();
        let receipt = producer.put(Record::from("a")).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let refused = producer.send(record_of(2 * MIB)).await.unwrap_err();
        let (expected, expected_at_close) = match policy {
            FatalPolicy::Stop => (ErrorKind::Stopped, ErrorKind::Stopped),
            _ => (ErrorKind::Refused, ErrorKind::Undelivered),
        };
        assert_eq!(refused.kind(), expected, "{policy:?}: {refused}");
        let source = refused.source().unwrap();
        assert!(source.to_string().contains("switch aggregation off"), "{source}");
        let closed = producer.close_within(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(closed.kind(), expected_at_close, "{policy:?}: {closed}");
        assert!(receipt.await.is_err());
        assert!(service.requests().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn early_records_respect_stream_limit() {
    let service = MockService::delivering();
    let described = Describer::default().answering(|_| Ok(StreamDescription::default()));
    let limits = Limits::default().with_request_bytes(10 * MIB).with_record_bytes(10 * MIB);
    let builder = aggregating().configure(|settings| {
        settings.limits = limits;
        settings.aggregate_bytes = 2 * MIB;
    });
    let producer = sink(builder.with_stream_info(described), &service).spawn();
    for _ in 0..45 {
        producer.send(record_of(100_000)).await.unwrap();
    }
    let refused = producer.send(record_of(3 * MIB)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge, "{refused}");
    producer.close().await.unwrap();
    let requests = service.requests();
    let mut entries = requests.iter().flat_map(|request| request.entries());
    assert!(entries.all(|entry| entry.size() <= MIB));
}

#[tokio::test(start_paused = true)]
async fn large_record_on_hold_fails_with_reason() {
    let silent = || aggregating().with_stream_info(describe_stream_fn(|_| pending()));
    let try_send = |producer: &Producer, bytes| producer.try_send(record_of(bytes)).unwrap_err();
    // A record fails without waiting for the description if it exceeds the configured limit or that of any stream.
    let producer = sink(silent(), &MockService::delivering()).spawn();
    let refused = producer.send(record_of(10 * MIB + 1)).now_or_never().expect("at once");
    assert_too_large(&refused.unwrap_err(), 10 * MIB + 1, 10 * MIB);
    let limited =
        silent().configure(|settings| settings.limits = Limits::default().with_record_bytes(1_000));
    let lower = sink(limited, &MockService::delivering()).spawn();
    assert_too_large(&try_send(&lower, 2_000), 2_000, 1_000);
    // Once the producer has ended, `try_send` returns the final error instead of `ErrorKind::Full`.
    assert_eq!(try_send(&producer, 2 * MIB).kind(), ErrorKind::Full);
    producer.clone().close().await.unwrap();
    assert_eq!(try_send(&producer, 2 * MIB).kind(), ErrorKind::Closed);
    let (producer, driver) = sink(silent(), &MockService::delivering()).into_producer();
    drop(driver);
    assert_eq!(try_send(&producer, 2 * MIB).kind(), ErrorKind::Abandoned);
}

#[tokio::test(start_paused = true)]
async fn stream_created_later_is_described() {
    let describer = Describer::default();
    let described = describer.answering(|call| match call {
        0..20 => Err(service_error("ResourceNotFoundException")),
        20 => Err(service_error("LimitExceededException")),
        _ => Ok(auto_distribution()),
    });
    let service = MockService::delivering();
    let mut sink = sink(aggregating().with_stream_info(described), &service);
    for _ in 0..21 {
        assert!(sink.send(Record::from("a")).await.is_err());
    }
    assert_eq!((describer.calls(), service.requests().len()), (22, 0));
}

#[tokio::test(start_paused = true)]
async fn retry_policy_reports_missing_stream() {
    let created = Arc::new(AtomicUsize::new(0));
    let seen = created.clone();
    let describer = Describer::default().answering(move |_| match seen.load(Ordering::SeqCst) {
        0 => Err(service_error("ResourceNotFoundException")),
        _ => Ok(StreamDescription::default()),
    });
    let builder = aggregating().with_stream_info(describer);
    let service = MockService::delivering();
    let builder = builder.configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = sink(builder, &service).spawn();
    let mut records = producer.sink();
    let fed = records.feed(Record::from("a")).await.unwrap_err();
    assert_eq!(fed.kind(), ErrorKind::Refused, "{fed}");
    let refused = producer.send(record_of(2 * MIB)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    created.store(1, Ordering::SeqCst);
    sleep(Duration::from_secs(10)).await;
    records.feed(Record::from("a")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.sizes(), [1]);
}

#[tokio::test(start_paused = true)]
async fn waiting_sinks_become_ready_after_lookup() {
    let described = Describer::default().answering(|_| Ok(large_records()));
    let builder = aggregating().with_stream_info(described);
    let producer = sink(builder, &MockService::delivering()).spawn();
    let mut sinks = vec![producer.sink(); 20];
    for sink in &mut sinks {
        poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn lookup_wakes_last_poller() {
    let described = Describer::default().answering(|_| Ok(StreamDescription::default()));
    let list = |_| async {
        sleep(Duration::from_millis(20)).await;
        Err(BoxError::from("none"))
    };
    let builder = aggregating()
        .with_aggregation(Aggregation::PerShard)
        .with_stream_info((described, list_shards_fn(list)));
    let mut sink = sink(builder, &MockService::delivering());
    let mut first = tokio_test::task::spawn(());
    let mut second = tokio_test::task::spawn(());
    for _ in 0..2 {
        assert!(first.enter(|cx, _| Pin::new(&mut sink).poll_ready(cx)).is_pending());
        assert!(second.enter(|cx, _| Pin::new(&mut sink).poll_ready(cx)).is_pending());
        sleep(Duration::from_millis(12)).await;
        assert!(second.is_woken());
    }
    assert!(second.enter(|cx, _| Pin::new(&mut sink).poll_ready(cx)).is_ready());
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_cancels_lookup() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let describer = describe_stream_fn(move |_| {
        let count = count.clone();
        async move {
            sleep(Duration::from_millis(10)).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(StreamDescription::default())
        }
    });
    let mut sink = sink(aggregating().with_stream_info(describer), &MockService::delivering());
    assert!(sink.send(Record::from("a")).now_or_never().is_none());
    drop(sink);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(answered.load(Ordering::SeqCst), 0);
}

#[derive(Clone, Default)]
struct EmptySource {
    descriptions: Arc<AtomicUsize>,
    lists: Arc<AtomicUsize>,
}

impl StreamInfo for EmptySource {
    fn describe_stream(
        &self,
        _: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        self.descriptions.fetch_add(1, Ordering::SeqCst);
        None
    }

    fn list_shards(
        &self,
        _: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        None
    }
}

async fn send_two(sink: &mut KinesisSink<MockService>) {
    sink.feed(Record::from(("a", "1"))).await.unwrap();
    sink.send(Record::from(("b", "2"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn empty_source_is_queried_once() {
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        let logs = Logs::listen(Level::INFO);
        let service = MockService::delivering();
        let source = EmptySource::default();
        let builder = aggregating().with_aggregation(aggregation).with_stream_info(source.clone());
        let mut sink = sink(builder, &service);
        let began = Instant::now();
        sink.feed(Record::from(("a", "0"))).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "{aggregation:?}: time until ready");
        for _ in 0..3 {
            send_two(&mut sink).await;
            sleep(Duration::from_secs(600)).await;
        }
        let requests = service.requests();
        assert_eq!(requests.last().unwrap().entries().len(), 2, "{aggregation:?}: one per key");
        let calls = [&source.descriptions, &source.lists].map(|calls| calls.load(Ordering::SeqCst));
        assert_eq!(calls, [1, 1], "{aggregation:?}");
        let lines = logs.with("");
        let warned = lines.iter().filter(|line| line.contains("has no list of shards")).count();
        let expected = usize::from(aggregation == Aggregation::PerShard);
        assert_eq!((lines.len(), warned), (expected, expected), "{aggregation:?}: {lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn describe_stream_off_still_lists_shards() {
    let source = EmptySource::default();
    let builder = aggregating()
        .configure(|settings| settings.describe_stream = false)
        .with_stream_info(source.clone());
    send_two(&mut sink(builder, &MockService::delivering())).await;
    let calls = [&source.descriptions, &source.lists].map(|calls| calls.load(Ordering::SeqCst));
    assert_eq!(calls, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn describing_source_sets_limits() {
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        let service = MockService::delivering();
        let described = Describer::default().answering(|_| Ok(large_records()));
        let builder = aggregating().with_aggregation(aggregation).with_stream_info(described);
        let mut sink = sink(builder, &service);
        send_two(&mut sink).await;
        assert_eq!(sink.limits().record_bytes(), 10 * MIB, "{aggregation:?}");
        assert_eq!(service.sizes(), [2], "{aggregation:?}: one per key");
    }
}

#[tokio::test(start_paused = true)]
async fn listing_source_aggregates_per_shard() {
    let service = MockService::delivering();
    let one_shard = list_shards_fn(|_| async {
        let ring = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).unwrap();
        Ok(vec![Shard::new("shardId-000000000000", ring)])
    });
    let builder = aggregating().with_aggregation(Aggregation::PerShard);
    let mut sink = sink(builder.with_stream_info(one_shard), &service);
    send_two(&mut sink).await;
    assert_eq!(service.sizes(), [1], "both keys share an aggregate");
    assert_eq!(sink.limits().record_bytes(), MIB);
}

#[tokio::test(start_paused = true)]
async fn empty_source_allows_large_records() {
    let limits = Limits::default().with_request_bytes(10 * MIB).with_record_bytes(10 * MIB);
    let builder = aggregating()
        .configure(|settings| settings.limits = limits)
        .with_stream_info(EmptySource::default());
    let producer = sink(builder, &MockService::delivering()).spawn();
    producer.put(record_of(2 * MIB)).await.unwrap().await.unwrap();
    assert_eq!(producer.limits().record_bytes(), 10 * MIB);
}

/// A source that panics before it returns a future.
struct PanickingSource;

impl StreamInfo for PanickingSource {
    fn describe_stream(
        &self,
        _: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        panic!("no description")
    }

    fn list_shards(
        &self,
        _: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        panic!("no list")
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_source_does_not_stop_sink() {
    let service = MockService::delivering();
    let builder =
        aggregating().with_aggregation(Aggregation::PerShard).with_stream_info(PanickingSource);
    send_two(&mut sink(builder, &service)).await;
    assert_eq!(service.sizes(), [2]);
}
