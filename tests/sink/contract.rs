//! Tests of the `futures::Sink` contract, and of the progress made by each poll of a `KinesisSink`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, Sink, SinkExt, StreamExt, stream};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{KinesisSink, Record};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{BoxError, Service};

use crate::support::mock_service::{MockService, records};
use crate::support::sink_contract::contract;

contract!(KinesisSink);

fn sink(service: &MockService) -> KinesisSink<MockService> {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(service.clone())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn linger_wakes_flushing_task() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(1));
    let mut sink = task::spawn(sink(&service));
    sink.enter(|_, sink| sink.start_send(Record::from("one"))).unwrap();
    assert_pending!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    sink.enter(|_, sink| sink.start_send(Record::from("two"))).unwrap();
    let mut other = task::spawn(());
    assert!(other.enter(|cx, _| sink.poll_flush_unpin(cx).is_pending()));
    assert_pending!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    assert_eq!((sink.status().queued.records, sink.status().in_flight.records), (1, 1));
    sleep(Duration::from_millis(99)).await;
    assert!(!sink.is_woken());
    sleep(Duration::from_millis(2)).await;
    assert!(sink.is_woken());
    assert_pending!(sink.enter(|cx, sink| sink.poll_flush(cx)));
    assert_eq!((sink.status().queued.records, sink.status().in_flight.records), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn status_counts_buffered_records() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    for record in records(0..700) {
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    assert_eq!((sink.status().in_flight.records, sink.status().queued.records), (500, 200));
    assert_eq!((sink.buffered_records().len(), sink.totals().accepted), (700, 700));
    let size = |record: &Record| record.size();
    assert_eq!(
        sink.status().buffered().bytes,
        sink.buffered_records().into_iter().map(size).sum::<usize>()
    );
    sink.close().await.unwrap();
    let status = sink.status();
    assert_eq!((status.buffered().records, status.buffered().bytes), (0, 0));
    assert_eq!((status.totals.delivered, status.last_request.unwrap().records), (700, 200));
}

#[tokio::test(start_paused = true)]
async fn forward_accepts_borrowed_sink() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    stream::iter(records(0..600).map(Ok)).forward(&mut sink).await.unwrap();
    assert_eq!(sink.totals().delivered, 600);
}

/// A service that panics if `poll_ready` is not called exactly once before each call.
#[derive(Clone)]
struct OncePerCall {
    inner: MockService,
    polls: Arc<AtomicUsize>,
}

impl Service<PutRecordsRequest> for OncePerCall {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <MockService as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let polls = self.polls.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(polls, self.inner.requests().len() + 1, "poll_ready without a call");
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn service_is_polled_once_per_request() {
    let service = MockService::delivering();
    let once_per_call = OncePerCall { inner: service.clone(), polls: Arc::default() };
    let mut sink = KinesisSink::builder("example").build_with(once_per_call).unwrap();
    sink.send_all(&mut stream::iter(records(0..1_700).map(Ok))).await.unwrap();
    crate::support::sink_contract::ticking(100, Duration::from_millis(7))
        .forward(&mut sink)
        .await
        .unwrap();
    assert_eq!(service.delivered().len(), 1_800);
}

fn poll_ready(sink: &mut KinesisSink<MockService>) {
    std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn poll_ready_alone_makes_progress() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    sink.feed(Record::from("one")).await.unwrap();
    sleep(Duration::from_millis(101)).await;
    poll_ready(&mut sink);
    assert_eq!(
        (sink.status().queued.records, sink.status().in_flight.records),
        (0, 1),
        "linger expired"
    );
    sleep(Duration::from_millis(21)).await;
    poll_ready(&mut sink);
    assert_eq!(sink.totals().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn feed_makes_progress_after_pause() {
    let service = MockService::delivering();
    let mut sink = sink(&service);
    for n in 0..10 {
        for record in records(n..n + 1) {
            sink.feed(record).await.unwrap();
        }
        assert_eq!(
            (sink.status().queued.records, sink.status().in_flight.records),
            (1, n.min(1)),
            "at {n}"
        );
        assert_eq!(sink.totals().delivered, n.saturating_sub(1) as u64, "at {n}");
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn continuous_feed_collects_responses() {
    let service = MockService::delivering().with_round_trip(Duration::from_millis(1));
    let mut sink = sink(&service);
    let mut sent = 0;
    while sink.totals().delivered == 0 {
        for record in records(sent..sent + 1) {
            sink.feed(record).await.unwrap();
        }
        sent += 1;
        assert!(sent < 500 + 300, "no response collected in 3 ms");
        if sent > 500 {
            advance(Duration::from_micros(10)).await;
        }
    }
    assert_eq!((sink.totals().requests, sink.totals().delivered), (1, 500));
}
