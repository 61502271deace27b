//! Tests of sinks whose service is wrapped in layers of this crate and of tower.

use std::future::Future;
use std::time::Duration;

use futures::{SinkExt, stream};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse, ServiceBuilderExt};
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{ErrorKind, KinesisSink, Record, SinkBuilder};
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer as TowerTimeoutLayer;
use tower::{BoxError, Service, ServiceBuilder};
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service;
use crate::support::mock_service::{MockService, answer_each, numbers, records, unpaced};

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(5);
        settings.limits = unpaced();
    })
}

async fn deliver_through<S>(stack: S, service: &MockService) -> KinesisSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    deliver(builder().build_with(stack).unwrap(), service).await
}

async fn deliver<S>(mut sink: KinesisSink<S>, service: &MockService) -> KinesisSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    sink.send_all(&mut stream::iter(records(0..3_000).map(Ok))).await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..3_000));
    sink
}

#[tokio::test(start_paused = true)]
async fn concurrency_limit_serializes_requests() {
    let service = MockService::delivering();
    let stack = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(service.clone());
    let began = Instant::now();
    deliver_through(stack, &service).await;
    assert_eq!(began.elapsed().as_millis(), 6 * 20, "requests overlap");
}

#[tokio::test(start_paused = true)]
async fn rate_limit_delays_requests() {
    let service = MockService::delivering();
    let limit = RateLimitLayer::new(2, Duration::from_secs(1));
    let stack = ServiceBuilder::new().layer(limit).service(service.clone());
    let began = Instant::now();
    // `build_with` requires `Clone`, which a rate-limited service does not implement.
    deliver(builder().build_with_unshared(stack).unwrap(), &service).await;
    assert_eq!(began.elapsed().as_secs(), 2, "six requests at two per second");
}

#[tokio::test(start_paused = true)]
async fn shed_requests_are_requeued() {
    let service = MockService::delivering();
    let stack = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service.clone());
    let logs = Logs::listen(Level::WARN);
    let mut sink = deliver_through(stack, &service).await;
    assert!(logs.lines().is_empty(), "shed requests are logged: {:#?}", logs.lines());
    assert!(sink.totals().requeued > 0, "no request was shed");
    assert_eq!(service.requests().len(), 6, "shed requests are not sent");
    assert_eq!(sink.take_undelivered().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn tower_buffer_delivers_all() {
    let service = MockService::delivering();
    let stack = ServiceBuilder::new().layer(BufferLayer::new(8)).service(service.clone());
    deliver_through(stack, &service).await;
}

fn hanging_for_two_calls(
    service: MockService,
) -> impl Service<
    PutRecordsRequest,
    Response = PutRecordsResponse,
    Error = BoxError,
    Future = impl Future<Output = Result<PutRecordsResponse, BoxError>> + Send + use<>,
> + Clone {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    tower::service_fn(move |request| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = service.clone().call(request);
        async move {
            if call < 2 {
                std::future::pending::<()>().await;
            }
            answer.await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn tower_timeout_requeues_records() {
    let service = MockService::delivering();
    let stack = ServiceBuilder::new()
        .layer(TowerTimeoutLayer::new(Duration::from_secs(1)))
        .service(hanging_for_two_calls(service.clone()));
    let sink = deliver_through(stack, &service).await;
    assert_eq!(sink.totals().requeued, 1_000);
}

#[tokio::test(start_paused = true)]
async fn timeout_layer_requeues_records() {
    let service = MockService::delivering();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(hanging_for_two_calls(service.clone()));
    let sink = deliver_through(stack, &service).await;
    assert_eq!(sink.totals().requeued, 1_000);
}

#[derive(Clone)]
struct Thrice(usize);

impl<E> tower::retry::Policy<PutRecordsRequest, PutRecordsResponse, E> for Thrice {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut PutRecordsRequest,
        result: &mut Result<PutRecordsResponse, E>,
    ) -> Option<Self::Future> {
        self.0 = self.0.checked_sub(1)?;
        result.is_err().then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &PutRecordsRequest) -> Option<PutRecordsRequest> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn tower_retry_replaces_requeue() {
    let service = MockService::failing(3, "InternalFailure");
    let stack = ServiceBuilder::new().layer(RetryLayer::new(Thrice(3))).service(service.clone());
    let sink = deliver_through(stack, &service).await;
    assert_eq!(sink.totals().requeued, 0, "the layer retries, not the sink");
}

#[tokio::test(start_paused = true)]
async fn combined_layers_deliver_all() {
    let service = MockService::new(|call, request| Ok(answer_each(request, |index| call > index)));
    let stack = ServiceBuilder::new().trace_put_records();
    #[cfg(feature = "metrics")]
    let stack = stack.metrics_put_records();
    let stack = stack
        .layer(BufferLayer::new(4))
        .concurrency_limit(2)
        .rate_limit(100, Duration::from_secs(1))
        .timeout_put_records(Duration::from_secs(10))
        .layer(RetryLayer::new(Thrice(3)))
        .service(service.clone());
    deliver_through(stack, &service).await;
}

#[tokio::test(start_paused = true)]
async fn closed_buffer_is_fatal_error() {
    let failing = tower::service_fn(|_: PutRecordsRequest| async {
        Ok::<PutRecordsResponse, BoxError>(PutRecordsResponse::new(vec![]))
    });
    let (buffer, worker) = tower::buffer::Buffer::pair(failing, 1);
    drop(worker);
    let logs = Logs::listen(Level::WARN);
    let mut sink = KinesisSink::builder("example").build_with(buffer).unwrap();
    let error = sink.send(Record::from("one")).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 1), "{error}");
    assert_eq!(logs.with("requests to stream example are refused").len(), 1, "{:#?}", logs.lines());
}

/// Sends 500 records. The first response throttles 25 of them, the second request fails, and the third one succeeds.
async fn send_with_trace() -> Logs {
    let service = MockService::new(|call, request| match call {
        0 => Ok(answer_each(request, |index| index >= 25)),
        1 => Err(mock_service::service_error("InternalFailure")),
        _ => Ok(answer_each(request, |_| true)),
    });
    let logs = Logs::listen(Level::DEBUG);
    let stack = ServiceBuilder::new().trace_put_records().service(service);
    let mut sink = KinesisSink::builder("example").build_with(stack).unwrap();
    let marked = (0..500).map(|_| Ok(Record::from(("MARKER-key", "MARKER-data"))));
    sink.send_all(&mut stream::iter(marked)).await.unwrap();
    logs
}

#[tokio::test(start_paused = true)]
async fn trace_logs_before_and_after_request() {
    let logs = send_with_trace().await;
    let sending = logs.with("sending 500 records to stream example");
    assert_eq!(sending.len(), 1, "{:#?}", logs.lines());
    assert!(sending[0].contains("DEBUG") && sending[0].contains("kinesis_sink"), "{sending:#?}");
    for field in ["rpc.system=\"aws-api\"", "aws.kinesis.stream_name=\"example\"", "records=500"] {
        assert!(sending[0].contains(field), "{field} in {sending:#?}");
    }
    let errors = "{ProvisionedThroughputExceededException: Rate exceeded for shard \
                  shardId-000000000000 (25)}";
    let sent = format!("sent 500 records to stream example; 475 delivered; errors = {errors}");
    let sent = logs.with(&sent);
    assert_eq!(sent.len(), 1, "{:#?}", logs.lines());
    let codes = "error.codes={\"ProvisionedThroughputExceededException\"}";
    let messages = "error.messages={\"Rate exceeded for shard shardId-000000000000\"}";
    for field in ["delivered=475", codes, messages] {
        assert!(sent[0].contains(field), "{field} in {sent:#?}");
    }
    let failed = logs.with("sending 25 records to stream example failed");
    assert_eq!(failed.len(), 1, "{:#?}", logs.lines());
    assert!(failed[0].contains("error.type=\"InternalFailure\""), "{failed:#?}");
    assert_eq!(logs.with("sent 25 records to stream example; 25 delivered; errors = {}").len(), 1);
    assert!(logs.with("MARKER").is_empty(), "payload or key in logs");
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn metrics_count_requests_records_and_errors() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let service = MockService::new(|call, request| match call {
        0 => Ok(answer_each(request, |index| index >= 25)),
        1 => Err(mock_service::service_error("MadeUpCode")),
        _ => Ok(answer_each(request, |_| true)),
    });
    let stack = ServiceBuilder::new().metrics_put_records().service(service);
    // Only one request is in flight at a time, so that the responses are in the order of the script.
    let builder = KinesisSink::builder("example").with_max_in_flight(1);
    let builder = builder
        .configure(|settings| settings.metrics = kinesis_sink::metrics::MetricsGranularity::Off);
    let mut sink = builder.build_with(stack).unwrap();
    sink.send_all(&mut stream::iter(records(0..500).map(Ok))).await.unwrap_err();
    sink.flush().await.unwrap();

    let mut seen = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let code = key.key().labels().find(|label| label.key() == "code");
        assert!(key.key().labels().any(|label| label.value() == "example"), "{key:?}");
        let name = key.key().name().strip_prefix("kinesis_sink_").unwrap().to_owned();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.iter().map(|value| value.into_inner()).sum(),
        };
        seen.push((name, code.map_or(String::new(), |code| code.value().to_owned()), value));
    }
    seen.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let seen: Vec<_> =
        seen.iter().map(|(name, code, value)| (name.as_str(), code.as_str(), *value)).collect();
    assert_eq!(
        seen,
        [
            ("all_errors", "", 50.0),
            ("errors_by_code", "ProvisionedThroughputExceededException", 25.0),
            ("errors_by_code", "other", 25.0),
            ("kinesis_records_per_put_records_request", "", 550.0),
            ("kinesis_records_put", "", 500.0),
            ("put_records_requests", "", 3.0),
            ("put_records_requests_in_flight", "", 0.0),
            ("request_time", "", 0.06),
        ]
    );
}
