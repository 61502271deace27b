//! Tests that a sink waits for or keeps a permit of a shared service only while it is polled and has records to send.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, Sink, SinkExt};
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::{DefaultService, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{KinesisSink, Record, SinkBuilder};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::limit::ConcurrencyLimit;
use tower::spawn_ready::SpawnReadyLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::support::mock_service::{MockService, records, texts};

const ROUND_TRIP: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Time after which a sink that is not polled releases its permit.
const CLAIM_WITHIN: Duration = Duration::from_secs(1);

fn service() -> MockService {
    MockService::delivering().with_round_trip(ROUND_TRIP)
}

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.seed = Some(1))
}

fn boxed<S>(service: S) -> DefaultService
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

fn stacks(service: &MockService) -> Vec<(&'static str, DefaultService)> {
    let builder = ServiceBuilder::new;
    let limited = || builder().concurrency_limit(1).service(service.clone());
    let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
    let global = tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(semaphore);
    vec![
        ("a concurrency limit", boxed(limited())),
        ("a boxed limit", boxed(boxed(limited()))),
        ("a global limit", boxed(builder().layer(global).service(service.clone()))),
        ("a limit below other layers", boxed(builder().map_err(BoxError::from).service(limited()))),
        ("a buffer", boxed(builder().buffer(1).service(limited()))),
        (
            "a buffer over a spawning one",
            boxed(builder().buffer(1).layer(SpawnReadyLayer::new()).service(limited())),
        ),
        (
            "a rate limit behind a buffer",
            boxed(builder().buffer(1).rate_limit(1, ROUND_TRIP).service(limited())),
        ),
    ]
}

/// The only record of producer `b` expires while `b` waits for a permit. Producer `a` must still be able to send.
#[tokio::test(start_paused = true)]
async fn expired_record_does_not_block_permits() {
    let names = stacks(&service()).into_iter().map(|(name, _)| name);
    for (which, name) in names.enumerate() {
        let service = service();
        let (_, stack) = stacks(&service).swap_remove(which);
        let a = builder().build_with(stack.clone()).unwrap().spawn();
        let deadline = Duration::from_millis(500);
        let b = builder().with_deadline(deadline).build_with(stack).unwrap().spawn();
        for record in records(0..4) {
            a.send(record).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        let receipt = b.put(Record::from("expires")).await.unwrap();
        let ended =
            timeout(DAY, receipt).await.unwrap_or_else(|_| panic!("{name}: receipt is pending"));
        if let Err(undelivered) = ended {
            assert!(
                matches!(undelivered.reason(), FailureReason::DeadlineExceeded { .. }),
                "{name}"
            );
        }
        sleep(Duration::from_secs(10)).await;
        let began = Instant::now();
        let receipt = a.put(Record::from("next")).await.unwrap();
        let delivered = timeout(DAY, receipt).await;
        delivered.unwrap_or_else(|_| panic!("{name}: not sent within a day")).unwrap();
        assert!(began.elapsed() <= 2 * ROUND_TRIP, "{name}: {:?}", began.elapsed());
        b.send(Record::from("later")).await.unwrap();
        timeout(DAY, b.close()).await.unwrap_or_else(|_| panic!("{name}: not closed")).unwrap();
        timeout(DAY, a.close()).await.unwrap_or_else(|_| panic!("{name}: not closed")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn unpolled_sink_does_not_starve_others() {
    let names = stacks(&service()).into_iter().map(|(name, _)| name);
    for (which, name) in names.enumerate() {
        let service = service();
        let (_, stack) = stacks(&service).swap_remove(which);
        let a = builder().build_with(stack.clone()).unwrap().spawn();
        let mut unpolled = builder().build_with(stack).unwrap();
        a.send(Record::from("0")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        unpolled.feed(Record::from("unpolled")).await.unwrap();
        assert!(unpolled.flush().now_or_never().is_none());
        let began = Instant::now();
        a.send(Record::from("1")).await.unwrap();
        a.send(Record::from("2")).await.unwrap();
        let flushed = timeout(DAY, a.flush()).await;
        flushed.unwrap_or_else(|_| panic!("{name}: not sent within a day")).unwrap();
        // Allows for the requests of `a` and those queued before them, which can include one of the unpolled sink.
        let limit = 4 * ROUND_TRIP + CLAIM_WITHIN;
        assert!(began.elapsed() <= limit, "{name}: {:?}", began.elapsed());
        sleep(Duration::from_secs(10)).await;
        // The next poll requests a new permit.
        timeout(DAY, unpolled.close()).await.unwrap_or_else(|_| panic!("{name}")).unwrap();
        a.close().await.unwrap();
        assert_eq!(service.delivered().len(), 4, "{name}");
    }
}

/// Returns a service that allows one request at a time, and a clone of the service that has the permit.
fn busy(service: &MockService) -> (ConcurrencyLimit<MockService>, ConcurrencyLimit<MockService>) {
    let limit = ConcurrencyLimit::new(service.clone(), 1);
    let mut taken = limit.clone();
    taken.ready().now_or_never().unwrap().unwrap();
    (limit, taken)
}

fn is_free(limit: &ConcurrencyLimit<MockService>) -> bool {
    limit.clone().ready().now_or_never().is_some()
}

async fn feed_and_poll<S>(sink: &mut KinesisSink<S>, record: &str)
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    sink.feed(Record::from(record.to_owned())).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    // Gives the task that waits for the permit a chance to run.
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn take_undelivered_releases_permit() {
    let (limit, taken) = busy(&service());
    let mut sink = builder().build_with(limit.clone()).unwrap();
    feed_and_poll(&mut sink, "one").await;
    assert_eq!(texts(&sink.take_undelivered()), ["one"]);
    drop(taken);
    assert!(is_free(&limit), "at once");
    // The second sink already has the permit when its records are taken.
    let (limit, taken) = busy(&service());
    let mut sink = builder().build_with(limit.clone()).unwrap();
    feed_and_poll(&mut sink, "one").await;
    drop(taken);
    sleep(Duration::from_millis(1)).await;
    assert!(!is_free(&limit), "the sink keeps it for a second");
    assert_eq!(texts(&sink.take_undelivered()), ["one"]);
    assert!(is_free(&limit), "at once");
    sink.send(Record::from("two")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_releases_permit() {
    let (limit, taken) = busy(&service());
    let mut sink = builder().build_with(limit.clone()).unwrap();
    feed_and_poll(&mut sink, "one").await;
    drop(sink);
    drop(taken);
    assert!(is_free(&limit), "at once");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "tasks after drop");
}

#[tokio::test(start_paused = true)]
async fn unclaimed_permit_expires_after_1s() {
    let (limit, taken) = busy(&service());
    let mut sink = builder().build_with(limit.clone()).unwrap();
    feed_and_poll(&mut sink, "one").await;
    drop(taken);
    sleep(CLAIM_WITHIN - Duration::from_millis(1)).await;
    assert!(!is_free(&limit));
    sleep(Duration::from_millis(10)).await;
    assert!(is_free(&limit));
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiters_get_permits_in_order() {
    let service = service();
    let (limit, taken) = busy(&service);
    let sinks = (0..5).map(|n| {
        let sink = builder().build_with(limit.clone()).unwrap();
        (n, sink.spawn())
    });
    let mut producers = Vec::new();
    for (n, producer) in sinks {
        producer.send(Record::from(n.to_string())).await.unwrap();
        // Polling a waiting producer again does not change the order.
        for (_, earlier) in &producers {
            let earlier: &kinesis_sink::Producer = earlier;
            assert!(earlier.flush().now_or_never().is_none());
        }
        producers.push((n, producer));
        sleep(Duration::from_millis(1)).await;
    }
    drop(taken);
    for (_, producer) in producers {
        producer.close().await.unwrap();
    }
    assert_eq!(service.delivered(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn ready_service_spawns_no_waiter_task() {
    let limit = ConcurrencyLimit::new(service(), 4);
    let mut sink = task::spawn(builder().build_with(limit).unwrap());
    for record in records(0..1_500) {
        sink.enter(|_, sink| sink.start_send(record)).unwrap();
    }
    assert_pending!(sink.enter(|cx, sink| sink.poll_close(cx)));
    let tasks = Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 3, "one task per request");
}

#[tokio::test(start_paused = true)]
async fn pending_service_wakes_last_poller() {
    let service = service();
    let (limit, taken) = busy(&service);
    let mut sink = builder().build_with(limit).unwrap();
    sink.start_send_unpin(Record::from("one")).unwrap();
    let mut pollers: Vec<_> = (0..3).map(|_| task::spawn(())).collect();
    for poller in &mut pollers {
        assert!(poller.enter(|cx, _| sink.poll_close_unpin(cx).is_pending()));
        sleep(Duration::from_millis(1)).await;
    }
    drop(taken);
    sleep(Duration::from_millis(1)).await;
    assert!(pollers[2].is_woken(), "the last poller");
    assert!(pollers[2].enter(|cx, _| sink.poll_close_unpin(cx).is_pending()));
    assert_eq!(service.requests().len(), 1, "sent in the poll that claims the permit");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Tasks on the first runtime make no progress, because that runtime still exists but does not run.
#[test]
fn waiting_sink_can_move_to_another_runtime() {
    let service = service();
    let (limit, taken) = busy(&service);
    let mut sink = builder().build_with(limit.clone()).unwrap();
    let (first, second) = (runtime(), runtime());
    first.block_on(feed_and_poll(&mut sink, "one"));
    second.block_on(async {
        assert!(sink.flush().now_or_never().is_none());
        let mut later = builder().build_with(limit).unwrap();
        feed_and_poll(&mut later, "later").await;
        drop(taken);
        timeout(DAY, sink.close()).await.expect("waiter in the second runtime").unwrap();
        timeout(DAY, later.close()).await.unwrap().unwrap();
    });
    assert_eq!(service.delivered(), ["one", "later"], "the sink keeps its turn");
    drop(first);
}

#[test]
fn runtime_shutdown_releases_permit() {
    let service = service();
    let (limit, taken) = busy(&service);
    let mut sink = builder().build_with(limit.clone()).unwrap();
    let first = runtime();
    first.block_on(feed_and_poll(&mut sink, "one"));
    drop(first);
    drop(taken);
    assert!(is_free(&limit));
    runtime().block_on(sink.close()).unwrap();
    assert_eq!(service.delivered(), ["one"]);
}

/// A service whose first `poll_ready` is pending. The second one fails or panics, and later ones succeed.
#[derive(Clone)]
struct FailsOnSecondPoll {
    inner: MockService,
    polls: Arc<AtomicUsize>,
    panics: bool,
}

impl Service<PutRecordsRequest> for FailsOnSecondPoll {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.polls.fetch_add(1, Ordering::Relaxed) {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            1 if self.panics => panic!("a panic on purpose"),
            1 => Poll::Ready(Err("not ready".into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn pending_service_error_is_retried() {
    for panics in [false, true] {
        let service = service();
        let failing = FailsOnSecondPoll { inner: service.clone(), polls: Arc::default(), panics };
        let mut sink = builder().build_with(failing).unwrap();
        timeout(DAY, sink.send(Record::from("one"))).await.unwrap().unwrap();
        assert_eq!(service.delivered(), ["one"], "panics: {panics}");
    }
}

#[tokio::test(start_paused = true)]
async fn unshared_stack_keeps_its_permit() {
    let service = service();
    let (limit, taken) = busy(&service);
    let mut sink = builder().build_with_unshared(limit.clone()).unwrap();
    feed_and_poll(&mut sink, "one").await;
    drop(taken);
    assert_eq!(texts(&sink.take_undelivered()), ["one"]);
    sleep(DAY).await;
    assert!(!is_free(&limit));
    sink.send(Record::from("two")).await.unwrap();
    assert_eq!(service.delivered(), ["two"]);
    assert!(is_free(&limit));
    let taken = limit.clone().ready_oneshot().await.unwrap();
    feed_and_poll(&mut sink, "three").await;
    drop((sink, taken));
    assert!(is_free(&limit));
}
