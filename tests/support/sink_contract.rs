//! Tests of the `futures::Sink` contract and of additional guarantees, for `KinesisSink` and `ProducerSink`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt, future, stream};
use kinesis_sink::limits::{Limits, MAX_RECORD_BYTES, MAX_REQUEST_BYTES};
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::service::{DefaultService, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Aggregation, Error, ErrorKind, KinesisSink, Record, SinkBuilder};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use super::mock_service::{self, MockService, numbers, records};

pub trait Subject: Sink<Record, Error = Error> + Unpin + Send + Sized + 'static {
    fn from_sink(sink: KinesisSink) -> Self;

    fn build<S>(builder: SinkBuilder, service: S) -> Self
    where
        S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let service: DefaultService = BoxCloneSyncService::new(service);
        Self::from_sink(
            builder.configure(|settings| settings.seed = Some(1)).build_with(service).unwrap(),
        )
    }

    fn new(service: &MockService) -> Self {
        Self::build(KinesisSink::builder("example"), service.clone())
    }
}

impl Subject for KinesisSink {
    fn from_sink(sink: KinesisSink) -> Self {
        sink
    }
}

impl Subject for ProducerSink {
    fn from_sink(sink: KinesisSink) -> Self {
        sink.spawn().sink()
    }
}

#[allow(unused_macros, reason = "each test binary uses a part of the helpers")]
macro_rules! contract {
    ($subject:ty) => {
        contract!($subject:
            sink_is_unpin_and_send
            repeated_poll_ready_has_no_effect
            start_send_returns_record_when_full
            backpressure_makes_poll_ready_wait
            buffer_bytes_bounds_accepted_records
            flush_completes_when_all_are_delivered
            close_drains_buffer_then_rejects_records
            poll_ready_fails_only_after_close_completes
            close_through_adapters_delivers_all
            feed_returns_invalid_record
            largest_record_is_sent_when_allowed
            pending_polls_wake_newest_waker
            requests_complete_without_polling_sink
            requests_run_concurrently
            send_feed_send_all_and_forward_deliver
            fanout_with_and_buffer_deliver_all
            slow_source_sends_once_per_round_trip
            idle_sink_sends_record_immediately
            batch_is_formed_when_service_is_ready
            cancelled_futures_lose_no_record
            sink_moves_between_tasks
            ready_source_lets_other_tasks_run
            aggregates_are_encoded_over_many_polls
            payload_is_sent_without_copy
        );
    };
    ($subject:ty: $($test:ident)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                $crate::support::sink_contract::$test::<$subject>().await;
            }
        )*
    };
}
#[allow(unused_imports, reason = "each test binary uses a part of the helpers")]
pub(crate) use contract;

#[derive(Debug, Clone, Copy)]
enum Method {
    Ready,
    Flush,
    Close,
}

impl Method {
    const ALL: [Self; 3] = [Self::Ready, Self::Flush, Self::Close];

    fn poll<S: Sink<Record> + Unpin>(
        self,
        sink: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        match self {
            Self::Ready => sink.poll_ready_unpin(cx),
            Self::Flush => sink.poll_flush_unpin(cx),
            Self::Close => sink.poll_close_unpin(cx),
        }
    }
}

/// Polls `sink` from one task and then from another, and asserts that the second task is woken.
async fn assert_newest_waker<S: Sink<Record> + Unpin>(method: Method, sink: &mut S, state: &str) {
    let mut first = task::spawn(());
    let mut second = task::spawn(());
    let pending = first.enter(|cx, _| method.poll(sink, cx).is_pending());
    assert!(pending, "{method:?} while {state}");
    let pending = second.enter(|cx, _| method.poll(sink, cx).is_pending());
    assert!(pending, "{method:?} while {state}");
    sleep(Duration::from_secs(60)).await;
    assert!(second.is_woken(), "{method:?} while {state}");
}

pub fn ticking(count: usize, pause: Duration) -> impl Stream<Item = Result<Record, Error>> {
    stream::iter(records(0..count)).then(move |record| async move {
        sleep(pause).await;
        Ok(record)
    })
}

fn assert_unpin_send<T: Unpin + Send>(_: &T) {}

pub async fn sink_is_unpin_and_send<S: Subject>() {
    assert_unpin_send(&S::new(&MockService::delivering()));
}

pub async fn repeated_poll_ready_has_no_effect<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = task::spawn(S::new(&service));
    for _ in 0..10 {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    }
    sink.enter(|_, sink| sink.start_send(Record::from("one"))).unwrap();
    for _ in 0..10 {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    }
    assert_eq!(service.requests().len(), 0);
    sink.flush().await.unwrap();
    assert_eq!(service.delivered(), ["one"]);
}

pub async fn start_send_returns_record_when_full<S: Subject>() {
    let service = MockService::delivering();
    let builder =
        KinesisSink::builder("example").configure(|settings| settings.buffer_records = Some(1));
    let mut sink = S::build(builder, service.clone());
    sink.start_send_unpin(Record::from("fits")).unwrap();
    let error = sink.start_send_unpin(Record::from("too many")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    sink.send(error.into_record().unwrap()).await.unwrap();
    assert_eq!(service.delivered(), ["fits", "too many"]);
}

pub async fn backpressure_makes_poll_ready_wait<S: Subject>() {
    let service = MockService::delivering();
    let builder =
        KinesisSink::builder("example").configure(|settings| settings.buffer_records = Some(2));
    let mut sink = task::spawn(S::build(builder, service.clone()));
    for record in records(0..2) {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
        sink.enter(|_, sink| sink.start_send(record)).unwrap();
    }
    assert_pending!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    sleep(Duration::from_millis(19)).await;
    assert_eq!(service.sizes(), [2], "a full buffer is sent without a flush");
    sleep(Duration::from_millis(2)).await;
    assert!(sink.is_woken());
    assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
}

pub async fn buffer_bytes_bounds_accepted_records<S: Subject>() {
    let service = MockService::delivering();
    let builder =
        KinesisSink::builder("example").configure(|settings| settings.buffer_bytes = 10_000);
    let mut sink = task::spawn(S::build(builder, service.clone()));
    let mut max_undelivered = 0;
    for sent in 0..100 {
        while sink.enter(|cx, sink| sink.poll_ready(cx)).is_pending() {
            sleep(Duration::from_millis(1)).await;
        }
        let record = Record::from(("key", vec![0; 997]));
        sink.enter(|_, sink| sink.start_send(record)).unwrap();
        max_undelivered = max_undelivered.max(sent + 1 - service.delivered().len());
    }
    assert_eq!(max_undelivered, 10, "ten records of 1,000 bytes, queued or in flight");
    sink.flush().await.unwrap();
    assert_eq!(service.delivered().len(), 100);
}

pub async fn flush_completes_when_all_are_delivered<S: Subject>() {
    let service = MockService::new(|call, request| {
        Ok(mock_service::answer_each(request, |place| call > 0 || place > 0))
    });
    let mut sink = task::spawn(S::new(&service));
    assert_ready_ok!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    assert_eq!(service.requests().len(), 0, "an empty flush sends no request");
    for record in records(0..3) {
        sink.enter(|_, sink| sink.start_send(record)).unwrap();
    }
    let mut polls = 0;
    while sink.enter(|cx, sink| sink.poll_flush(cx)).is_pending() {
        assert!(service.delivered().len() < 3);
        polls += 1;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(polls > 20, "at least a round trip");
    assert_eq!(service.delivered(), ["1", "2", "0"]);
    assert_ready_ok!(sink.enter(|cx, sink| sink.poll_flush(cx)));
}

pub async fn close_drains_buffer_then_rejects_records<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    sink.feed(Record::from("one")).await.unwrap();
    sink.close().await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(service.delivered(), ["one"]);
    let mut sink = task::spawn(sink);
    let error = assert_ready_err!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = sink.enter(|_, sink| sink.start_send(Record::from("late"))).unwrap_err();
    assert_eq!(error.into_record().unwrap().data(), "late");
    assert_ready_ok!(sink.enter(|cx, sink| sink.poll_flush(cx)));
}

pub async fn poll_ready_fails_only_after_close_completes<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = task::spawn(S::new(&service));
    sink.enter(|_, sink| sink.start_send(Record::from("one"))).unwrap();
    assert_pending!(sink.enter(|cx, sink| sink.poll_close(cx)));
    for _ in 0..3 {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
        let error = sink.enter(|_, sink| sink.start_send(Record::from("late"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.into_record().unwrap().data(), "late");
    }
    while sink.enter(|cx, sink| sink.poll_close(cx)).is_pending() {
        sleep(Duration::from_millis(1)).await;
    }
    let error = assert_ready_err!(sink.enter(|cx, sink| sink.poll_ready(cx)));
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(service.delivered(), ["one"]);
}

fn failing_temporarily() -> MockService {
    MockService::new(|call, request| match call {
        1 => Err(mock_service::service_error("InternalFailure")),
        2 => Ok(mock_service::answer_each(request, |place| place % 3 > 0)),
        _ => Ok(mock_service::all_delivered(request)),
    })
}

/// Feeds 5,000 items to an adapted sink, closes it without a flush, and asserts that all are delivered.
async fn close_through<S: Subject, T, I, E: std::fmt::Debug>(
    adapter: &str,
    adapt: impl FnOnce(S) -> T,
    item: impl Fn(usize) -> I,
) where
    T: Sink<I, Error = E> + Unpin,
{
    let service = failing_temporarily();
    let mut sink = adapt(S::new(&service));
    for n in 0..5_000 {
        sink.feed(item(n)).await.unwrap();
    }
    let closed = sink.close().await;
    closed.unwrap_or_else(|error| {
        panic!("{adapter}: {error:?} after {} records were delivered", service.delivered().len())
    });
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..5_000), "{adapter}");
}

pub async fn close_through_adapters_delivers_all<S: Subject>() {
    type Other = futures::sink::Drain<Record>;
    let record = |n: usize| Record::from(n.to_string());
    close_through("none", |sink: S| sink, record).await;
    close_through("a reference", |sink: S| Box::leak(Box::new(sink)), record).await;
    close_through("a box", |sink: S| Box::pin(sink), record).await;
    for capacity in [0, 10, 10_000] {
        close_through("buffer", |sink: S| sink.buffer(capacity), record).await;
    }
    let text = |n: usize| n.to_string();
    let with = |text: String| future::ready(Ok::<_, Error>(Record::from(text)));
    close_through("with", |sink: S| sink.with(with), text).await;
    let async_with = |text: String| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok::<_, Error>(Record::from(text))
        })
    };
    close_through("with, async", |sink: S| sink.with(async_with), text).await;
    let flat = |text: String| stream::iter([Ok::<_, Error>(Record::from(text))]);
    close_through("with_flat_map", |sink: S| sink.with_flat_map(flat), text).await;
    close_through("sink_map_err", |sink: S| sink.sink_map_err(|e| e.to_string()), record).await;
    close_through("sink_err_into", |sink: S| sink.sink_err_into::<BoxError>(), record).await;
    close_through(
        "left_sink",
        |sink: S| {
            sink.sink_map_err(|e| -> std::convert::Infallible { panic!("{e}") })
                .left_sink::<Other>()
        },
        record,
    )
    .await;
    close_through(
        "right_sink",
        |sink: S| {
            sink.sink_map_err(|e| -> std::convert::Infallible { panic!("{e}") })
                .right_sink::<Other>()
        },
        record,
    )
    .await;
    let other = failing_temporarily();
    close_through("fanout", |sink: S| sink.fanout(S::new(&other)), record).await;
    assert_eq!(other.delivered().len(), 5_000);
    let all = |sink: S| sink.buffer(7).with(with).sink_map_err(|e| e.to_string()).buffer(100);
    close_through("several", all, text).await;
}

pub async fn feed_returns_invalid_record<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    sink.feed(Record::from("before")).await.unwrap();
    let invalid = [
        Record::from(vec![0; 1024 * 1024]),
        Record::from(("", "empty key")),
        Record::from(("k".repeat(257), "long key")),
    ];
    for record in invalid {
        let error = sink.feed(record.clone()).await.unwrap_err();
        assert_eq!(error.into_record(), Some(record));
    }
    sink.send(Record::from("after")).await.unwrap();
    assert_eq!(service.delivered(), ["before", "after"]);
}

pub async fn largest_record_is_sent_when_allowed<S: Subject>() {
    let service = MockService::delivering();
    let limits =
        Limits::default().with_request_bytes(MAX_REQUEST_BYTES).with_record_bytes(MAX_RECORD_BYTES);
    let builder = KinesisSink::builder("example").configure(|settings| settings.limits = limits);
    let mut sink = S::build(builder, service.clone());
    let record = |bytes| Record::from(("k", vec![0; bytes]));
    sink.send(record(MAX_RECORD_BYTES - 1)).await.unwrap();
    assert_eq!(service.requests()[0].bytes(), 10 * 1024 * 1024);
    let error = sink.send(record(MAX_RECORD_BYTES)).await.unwrap_err();
    assert_eq!(error.into_record().unwrap().data().len(), MAX_RECORD_BYTES);
    assert_eq!(service.requests().len(), 1);
}

pub async fn pending_polls_wake_newest_waker<S: Subject>() {
    for method in Method::ALL {
        let full = || {
            KinesisSink::builder("example").configure(|settings| {
                settings.buffer_records = Some(1);
                settings.seed = Some(3);
            })
        };

        let mut sink = S::build(full(), MockService::delivering());
        sink.start_send_unpin(Record::from("one")).unwrap();
        assert_newest_waker(method, &mut sink, "a request is in flight").await;

        let mut sink = S::build(full(), MockService::failing(1, "InternalFailure"));
        sink.start_send_unpin(Record::from("one")).unwrap();
        let mut first = task::spawn(());
        assert!(first.enter(|cx, _| method.poll(&mut sink, cx).is_pending()));
        sleep(Duration::from_millis(20)).await;
        assert_newest_waker(method, &mut sink, "backing off").await;

        let busy = tower::limit::ConcurrencyLimit::new(MockService::delivering(), 1);
        let mut other = busy.clone();
        std::future::poll_fn(|cx| other.poll_ready(cx)).await.unwrap();
        let mut sink = S::build(full(), busy);
        sink.start_send_unpin(Record::from("one")).unwrap();
        let mut first = task::spawn(());
        assert!(first.enter(|cx, _| method.poll(&mut sink, cx).is_pending()));
        let mut second = task::spawn(());
        assert!(second.enter(|cx, _| method.poll(&mut sink, cx).is_pending()));
        drop(other);
        // The sleep must be shorter than the linger, because its timer would wake every task.
        sleep(Duration::from_millis(50)).await;
        assert!(second.is_woken(), "{method:?} while the service is busy");
    }
}

pub async fn requests_complete_without_polling_sink<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    for record in records(0..500) {
        sink.feed(record).await.unwrap();
    }
    assert!(std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.is_ok());
    sleep(Duration::from_millis(21)).await;
    assert_eq!(service.delivered().len(), 500, "delivered without a poll");
    sink.flush().await.unwrap();
    assert_eq!(service.requests().len(), 1);
}

pub async fn requests_run_concurrently<S: Subject>() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(1));
    let mut sink = S::new(&service);
    let began = Instant::now();
    let source = stream::iter(records(0..2_000).map(Ok));
    source.forward(&mut sink).await.unwrap();
    assert_eq!(service.sizes(), [500; 4]);
    assert_eq!(began.elapsed().as_secs(), 1, "four concurrent round trips");
}

pub async fn send_feed_send_all_and_forward_deliver<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    sink.send(Record::from("0")).await.unwrap();
    sink.feed(Record::from("1")).await.unwrap();
    sink.flush().await.unwrap();
    sink.send_all(&mut stream::iter(records(2..600).map(Ok))).await.unwrap();
    stream::iter(records(600..1_300).map(Ok)).forward(&mut sink).await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..1_300));
}

pub async fn fanout_with_and_buffer_deliver_all<S: Subject>() {
    let (left, right) = (MockService::delivering(), MockService::delivering());
    let mut both = S::new(&left).fanout(S::new(&right));
    both.send_all(&mut stream::iter(records(0..700).map(Ok))).await.unwrap();
    both.close().await.unwrap();
    assert_eq!((left.delivered().len(), right.delivered().len()), (700, 700));

    let service = MockService::delivering();
    let mut strings = S::new(&service)
        .with(|n: usize| future::ready(Ok::<_, Error>(Record::from(n.to_string()))));
    strings.send_all(&mut stream::iter((0..700).map(Ok))).await.unwrap();
    assert_eq!(service.delivered(), numbers(0..700));

    let service = MockService::delivering();
    let mut buffered = S::new(&service).buffer(10);
    buffered.send_all(&mut stream::iter(records(0..700).map(Ok))).await.unwrap();
    assert_eq!(service.delivered(), numbers(0..700));
}

pub async fn slow_source_sends_once_per_round_trip<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    let began = Instant::now();
    ticking(4_000, Duration::from_millis(1)).forward(&mut sink).await.unwrap();
    let round_trips = began.elapsed().as_millis() as usize / 20;
    let requests = service.requests().len();
    assert!(requests <= round_trips + 1, "{requests} requests in {round_trips} round trips");
    assert_eq!(service.delivered(), numbers(0..4_000));
}

pub async fn idle_sink_sends_record_immediately<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    let began = Instant::now();
    sink.send(Record::from("one")).await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 20, "one round trip");
}

pub async fn batch_is_formed_when_service_is_ready<S: Subject>() {
    let service = MockService::delivering();
    let busy = tower::limit::ConcurrencyLimit::new(service.clone(), 1);
    let mut other = busy.clone();
    std::future::poll_fn(|cx| other.poll_ready(cx)).await.unwrap();
    let mut sink = task::spawn(S::build(KinesisSink::builder("example"), busy));
    for record in records(0..10) {
        assert_ready_ok!(sink.enter(|cx, sink| sink.poll_ready(cx)));
        sink.enter(|_, sink| sink.start_send(record)).unwrap();
        assert_pending!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    }
    assert_eq!(service.requests().len(), 0);
    drop(other);
    for _ in 0..2 {
        // The first round only wakes the task that waits for the service to become ready.
        sleep(Duration::from_millis(1)).await;
        assert_pending!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    }
    assert_eq!(service.sizes(), [10], "the batch is formed once the service is ready");
}

pub async fn cancelled_futures_lose_no_record<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    assert!(sink.send(Record::from("one")).now_or_never().is_none());
    assert!(sink.flush().now_or_never().is_none());
    assert!(ticking(10, Duration::from_millis(1)).forward(&mut sink).now_or_never().is_none());
    sink.close().await.unwrap();
    assert_eq!(service.delivered(), ["one"]);
}

pub async fn sink_moves_between_tasks<S: Subject>() {
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    for round in 0..5 {
        let task = tokio::spawn(async move {
            let range = round * 300..(round + 1) * 300;
            sink.send_all(&mut stream::iter(records(range).map(Ok))).await.unwrap();
            sink
        });
        sink = task.await.unwrap();
    }
    assert_eq!(service.delivered(), numbers(0..1_500));
}

/// Counts how often other tasks can run. The counting task yields in a loop.
struct YieldCounter {
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl YieldCounter {
    fn start() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let task = tokio::spawn(async move {
            loop {
                counter.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        Self { count, task }
    }

    /// Stops the task, so that paused time can advance, and returns the count.
    fn stop(&self) -> usize {
        self.task.abort();
        self.count.load(Ordering::Relaxed)
    }
}

pub async fn ready_source_lets_other_tasks_run<S: Subject>() {
    // The sink is always ready, because the buffer has capacity for all records.
    const RECORDS: usize = 9_000;
    let service = MockService::delivering();
    let mut sink = S::new(&service);
    let yields = YieldCounter::start();
    let mut counted = 0;
    let source = records(0..RECORDS).enumerate().map(|(number, record)| {
        if number == RECORDS - 1 {
            counted = yields.stop();
        }
        Ok(record)
    });
    stream::iter(source).forward(&mut sink).await.unwrap();
    assert!(counted >= RECORDS / 128, "{counted} yields");
    assert_eq!(service.delivered().len(), RECORDS);
}

pub async fn aggregates_are_encoded_over_many_polls<S: Subject>() {
    const KEYS: usize = 320;
    const BYTES: usize = 10 * 1024;
    let service = MockService::delivering();
    let builder = KinesisSink::builder("example").with_aggregation(Aggregation::PerKey);
    let mut sink = S::build(
        builder.configure(|settings| settings.limits = mock_service::unpaced()),
        service.clone(),
    );
    for number in 0..4 * KEYS {
        let record = Record::from(((number % KEYS).to_string(), vec![0; BYTES]));
        sink.feed(record).await.unwrap();
    }
    assert_eq!(service.requests().len(), 0, "no aggregate is full");
    let yields = YieldCounter::start();
    let mut closing = tokio::spawn(async move { sink.close().await });
    // No response arrives, because paused time does not advance while a task is busy.
    while service.requests().len() < 3 {
        assert!((&mut closing).now_or_never().is_none());
        yield_now().await;
    }
    let counted = yields.stop();
    let mib = 4 * KEYS * BYTES / (1024 * 1024);
    assert!(counted >= mib, "{counted} yields for {mib} MiB");
    closing.await.unwrap().unwrap();
}

pub async fn payload_is_sent_without_copy<S: Subject>() {
    let service = MockService::failing(2, "InternalFailure");
    let mut sink = S::new(&service);
    let data = bytes::Bytes::from(vec![0xff; 100]);
    sink.send(Record::from(("key", data.clone()))).await.unwrap();
    let requests = service.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let entry = &request.entries()[0];
        assert_eq!(entry.data().as_ptr(), data.as_ptr(), "neither sending nor retrying copies");
        assert_eq!(entry.partition_key().map(|key| key.as_str()), Some("key"));
    }
}
