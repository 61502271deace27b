//! Tests of the default stack in custom and provided layers, and of boxed sinks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, SinkExt, stream};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::limits::Limits;
use kinesis_sink::service::{
    DefaultService, PutRecordsRequest, PutRecordsResponse, PutRecordsService, ServiceBuilderExt,
};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::timeout::Timeout;
use kinesis_sink::trace::{DefaultMakeSpan, Trace, TraceLayer};
use kinesis_sink::{Aggregation, KinesisSink, Record};
use tokio::time::Instant;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tracing::{Level, field, info_span, warn};

use crate::support::logs::Logs;

const ROUND_TRIP: Duration = Duration::from_millis(20);

async fn send<S: PutRecordsService>(sink: &mut KinesisSink<S>, records: usize) {
    let records = (0..records).map(|n| Record::from((format!("device-{n}"), "21.5")));
    sink.send_all(&mut stream::iter(records.map(Ok))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn layer_around_default_stack_keeps_lookups() {
    let stream = SimStream::new(4);
    let mut sink = KinesisSink::builder("example")
        .with_aggregation(Aggregation::PerShard)
        .configure(|settings| settings.limits = Limits::default().with_request_entries(1))
        .build_with_layer(&stream.client(), ConcurrencyLimitLayer::new(1))
        .unwrap();
    let began = Instant::now();
    send(&mut sink, 1_000).await;
    let stats = stream.stats();
    assert_eq!((stats.descriptions, stats.listings, stats.requests), (1, 1, 4));
    assert!(began.elapsed() >= 4 * ROUND_TRIP, "one request at a time");
    let written = stream.written();
    assert_eq!(written.len(), 4, "one aggregate for each shard");
    assert_eq!(written.iter().flat_map(|record| deaggregate(record.data())).count(), 1_000);
}

#[derive(Clone, Default)]
struct CountLayer(Arc<AtomicUsize>);

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, records: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
struct Count<S> {
    inner: S,
    records: Arc<AtomicUsize>,
}

impl<S: PutRecordsService> Service<PutRecordsRequest> for Count<S> {
    type Response = PutRecordsResponse;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> S::Future {
        self.records.fetch_add(request.entries().len(), Ordering::Relaxed);
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn custom_layer_receives_requests() {
    let stream = SimStream::new(1);
    let count = CountLayer::default();
    let mut sink: KinesisSink<Count<DefaultService>> =
        KinesisSink::builder("example").build_with_layer(&stream.client(), count.clone()).unwrap();
    send(&mut sink, 100).await;
    assert_eq!(count.0.load(Ordering::Relaxed), 100);
}

#[tokio::test(start_paused = true)]
async fn custom_layer_receives_producer_requests() {
    let stream = SimStream::new(1);
    let count = CountLayer::default();
    let service = ServiceBuilder::new()
        .trace_put_records()
        .layer(count.clone())
        .timeout_put_records(Duration::from_secs(1))
        .service(stream.service());
    let producer = KinesisSink::builder("example").build_with(service).unwrap().spawn();
    producer.put(Record::from("a record")).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

async fn send_in_outage<L>(layer: L)
where
    L: Layer<DefaultService>,
    L::Service: PutRecordsService + Clone + Send + 'static,
{
    let outage = Faults::default().with_outage("ServiceUnavailable", 503);
    let stream = SimStream::builder().with_faults(outage).build().unwrap();
    let builder = KinesisSink::builder("example");
    let mut sink = builder.build_with_layer(&stream.client(), layer).unwrap();
    sink.feed(Record::from(("MARKER-key", "MARKER-data"))).await.unwrap();
    let flush = tokio::time::timeout(Duration::from_secs(1), sink.flush());
    flush.await.expect_err("the service is unavailable");
    stream.set_faults(Faults::default());
    sink.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn trace_logs_at_configured_level() {
    let logs = Logs::listen(Level::INFO);
    send_in_outage(TraceLayer::new().with_level(Level::INFO)).await;
    for text in ["sending 1 records to stream example", "sent 1 records to stream example"] {
        let lines = logs.with(text);
        assert!(!lines.is_empty(), "{text} in {:#?}", logs.lines());
        for line in lines {
            assert!(line.contains("INFO Kinesis.PutRecords{otel.kind=\"client\""), "{line}");
        }
    }
    let failed = &logs.with("sending 1 records to stream example failed")[0];
    for field in ["error.type=\"ServiceUnavailable\"", "otel.status_code=\"ERROR\"", "latency=20ms"]
    {
        assert!(failed.contains(field), "{field} in {failed}");
    }
    assert!(logs.with("MARKER").is_empty(), "payload or key in logs");
}

#[tokio::test(start_paused = true)]
async fn trace_records_error_in_custom_span() {
    let logs = Logs::listen(Level::INFO);
    let trace =
        TraceLayer::new().with_level(Level::INFO).make_span_with(|request: &PutRecordsRequest| {
            let records = request.entries().len();
            info_span!("put_clicks", tenant = "acme", records, "error.type" = field::Empty)
        });
    send_in_outage(trace).await;
    let span = "put_clicks{tenant=\"acme\" records=1 error.type=\"ServiceUnavailable\"}";
    let failed = logs.with(&format!("INFO {span}"));
    assert!(!failed.is_empty(), "{:#?}", logs.lines());
    assert!(failed[0].contains("sending 1 records to stream example failed"), "{failed:#?}");
    let sent = "sent 1 records to stream example; 1 delivered";
    assert!(logs.with(sent)[0].contains("put_clicks{tenant=\"acme\" records=1}"));
}

#[tokio::test(start_paused = true)]
async fn trace_span_level_is_independent_of_events() {
    let logs = Logs::listen(Level::INFO);
    let span = DefaultMakeSpan::new().with_level(Level::INFO);
    let trace = TraceLayer::new()
        .make_span_with(span)
        .on_failure(|error, _, _| warn!(code = error.code(), "request failed"));
    send_in_outage(trace).await;
    assert!(!logs.with("WARN Kinesis.PutRecords{").is_empty(), "{:#?}", logs.lines());
    assert_eq!(logs.with("sent 1 records").len(), 0, "{:#?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn trace_hooks_replace_events() {
    let logs = Logs::listen(Level::INFO);
    let delivered = Arc::new(AtomicUsize::new(0));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::clone(&delivered);
    let push = Arc::clone(&failures);
    let trace = TraceLayer::new()
        .with_level(Level::INFO)
        .on_response(move |response, latency, span| {
            assert_eq!((latency, span.is_disabled()), (ROUND_TRIP, false));
            count.fetch_add(response.delivered(), Ordering::Relaxed);
        })
        .on_failure(move |error, latency, _| {
            push.lock().unwrap().push((error.code().to_owned(), latency));
        });
    send_in_outage(trace).await;
    assert_eq!(delivered.load(Ordering::Relaxed), 1);
    assert_eq!(failures.lock().unwrap()[0], ("ServiceUnavailable".to_owned(), ROUND_TRIP));
    assert!(
        !logs.with("sending 1 records to stream example").is_empty(),
        "the event without a hook is not logged"
    );
    for replaced in ["sent 1 records", "records to stream example failed"] {
        assert!(logs.with(replaced).is_empty(), "{:#?}", logs.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_hooks_run_with_events_disabled() {
    let logs = Logs::listen(Level::INFO);
    let failures = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&failures);
    let trace = TraceLayer::new().on_failure(move |_, _, _| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    send_in_outage(trace).await;
    assert!(failures.load(Ordering::Relaxed) > 0);
    assert!(logs.with("DEBUG").is_empty(), "{:#?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn middleware_exposes_inner_service() {
    let stream = SimStream::new(1);
    let inner = || CountLayer::default().layer(stream.service());
    let request = || PutRecordsRequest::new(stream.id(), []);
    let counter = |count: &Count<_>| Arc::clone(&count.records);

    let mut trace = Trace::new(inner());
    trace.get_mut().records.store(5, Ordering::Relaxed);
    assert_eq!(trace.get_ref().records.load(Ordering::Relaxed), 5);
    let records = counter(&trace.into_inner());
    assert_eq!(records.load(Ordering::Relaxed), 5);

    let mut timeout = Timeout::new(inner(), Duration::from_secs(1));
    timeout.get_mut().records = records;
    assert_eq!(timeout.get_ref().records.load(Ordering::Relaxed), 5);
    timeout.into_inner().oneshot(request()).await.unwrap_err();

    #[cfg(feature = "metrics")]
    {
        let mut metrics = kinesis_sink::metrics::Metrics::new(inner());
        metrics.get_mut().records.store(7, Ordering::Relaxed);
        assert_eq!(metrics.get_ref().records.load(Ordering::Relaxed), 7);
        assert_eq!(metrics.into_inner().records.load(Ordering::Relaxed), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn boxed_sink_releases_permit_and_sends() {
    let stream = SimStream::new(1);
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut other = limit.layer(stream.service());
    // Acquires the only permit.
    let holder = other.ready().await.unwrap();
    let sink = KinesisSink::builder("example").build_with(limit.layer(stream.service()));
    let mut sink = sink.unwrap();
    sink.feed(Record::from("a record")).await.unwrap();
    assert!(sink.flush().now_or_never().is_none(), "the request was sent without a permit");
    let mut boxed: KinesisSink = sink.boxed();
    assert_eq!(boxed.status().queued.records, 1);
    let request = PutRecordsRequest::new("example".parse().unwrap(), []);
    drop(holder.call(request));
    boxed.flush().await.unwrap();
    assert_eq!(stream.written().len(), 1);
    boxed.close().await.unwrap();
    // The boxed sink released its permit.
    other.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn boxed_sinks_have_same_type() {
    let stream = SimStream::new(1);
    let builder = || KinesisSink::builder("example");
    let sinks: Vec<KinesisSink> = vec![
        builder().build_with(stream.service()).unwrap().boxed(),
        builder().build_with_unshared(stream.service()).unwrap().boxed(),
        builder().build(&stream.client()).unwrap().boxed(),
    ];
    for mut sink in sinks {
        sink.send(Record::from("a record")).await.unwrap();
    }
    assert_eq!(stream.written().len(), 3);
}
