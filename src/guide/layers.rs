//! Layers: the service below the sink, and middleware around it.
//!
//! One PutRecords request is one call of a [`tower::Service`]. The innermost service is
//! [`PutRecords`](crate::service::PutRecords), which calls the AWS SDK. Any tower layer fits between it and
//! the sink: one of tower's, of this crate's, or a custom one:
//!
//! ```
//! use std::time::Duration;
//!
//! use futures::SinkExt;
//! use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
//! use kinesis_sink::{KinesisSink, Record};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! let service = ServiceBuilder::new()
//!     .trace_put_records()
//!     .concurrency_limit(8)
//!     .timeout_put_records(Duration::from_secs(5))
//!     .service(PutRecords::new(&client).without_stalled_stream_protection());
//!
//! let mut sink = KinesisSink::builder("example").with_max_in_flight(8).build_with(service)?;
//! sink.send(Record::from("a record")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | builder method | stack below the sink |
//! |---|---|
//! | [`build`](crate::SinkBuilder::build) | the default: tracing, metrics, a timeout of 10 s, the SDK |
//! | [`build_with_layer`](crate::SinkBuilder::build_with_layer) | the default with a layer around it |
//! | [`build_with`](crate::SinkBuilder::build_with) | a custom stack that is `Clone` |
//! | [`build_with_unshared`](crate::SinkBuilder::build_with_unshared) | a custom stack that is not `Clone` |
//!
//! `build` and `build_with_layer` also describe the stream and list its shards, for [aggregation](super::aggregation)
//! and [ordering](super::ordering). With `build_with` the sink has no client for that: set a
//! [source of stream information](crate::SinkBuilder::with_stream_info), such as
//! [`SdkStreamInfo`](crate::service::SdkStreamInfo). To add one layer, use `build_with_layer`:
//!
//! ```
//! use kinesis_sink::{Aggregation, KinesisSink};
//! use tower::limit::ConcurrencyLimitLayer;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! let sink = KinesisSink::builder("example")
//!     .with_aggregation(Aggregation::PerShard)
//!     .build_with_layer(&client, ConcurrencyLimitLayer::new(2))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layers of this crate
//!
//! | layer | does | builder method |
//! |---|---|---|
//! | [`TimeoutLayer`](crate::timeout::TimeoutLayer) | limits the time of a request | `timeout_put_records` |
//! | [`TraceLayer`](crate::trace::TraceLayer) | creates a span and two events for each request, at DEBUG | `trace_put_records` |
//! | `MetricsLayer` (feature `metrics`) | counts and times requests | `metrics_put_records` |
//!
//! The trait [`ServiceBuilderExt`](crate::service::ServiceBuilderExt) has the methods. `get_ref`, `get_mut` and
//! `into_inner` of the middleware give access to the inner service.
//!
//! ## Tracing at another level
//!
//! [`TraceLayer`](crate::trace::TraceLayer) can trace at another level, create a span with fields of the application,
//! and call closures in place of the events. The default stack below it still traces at DEBUG:
//!
//! ```
//! use kinesis_sink::service::PutRecordsRequest;
//! use kinesis_sink::trace::TraceLayer;
//! use kinesis_sink::KinesisSink;
//! use tracing::{Level, info_span, warn};
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! let trace = TraceLayer::new()
//!     .with_level(Level::INFO)
//!     .make_span_with(|request: &PutRecordsRequest| {
//!         info_span!("put_clicks", tenant = "acme", records = request.entries().len())
//!     })
//!     .on_failure(|error, latency, _span| warn!(?latency, code = error.code(), "request failed"));
//! let sink = KinesisSink::builder("clicks").build_with_layer(&client, trace)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The order of layers
//!
//! The first layer is the outermost: it sees the layers below it as one call.
//!
//! - Put tracing and metrics outermost, for one span per request of the sink. Below a retry they see every attempt.
//! - A timeout counts from `call` to the response. Limits wait before `call`, so they do not use up the timeout; the
//!   queue of a `buffer` does if it is below the timeout.
//! - Put a retry above the timeout, so that each attempt has the whole time.
//! - Every stack needs a timeout: the sink waits for every response, and `PutRecords` alone has only those of the SDK.
//!
//! # tower's layers
//!
//! | layer | with the sink |
//! |---|---|
//! | `concurrency_limit` | limits the requests in flight of all sinks that share the stack; [`max_in_flight`](crate::SinkBuilder::with_max_in_flight) limits those of one sink |
//! | `rate_limit` | while it is exhausted the sink waits, and its next request is fuller. It is not `Clone`: put a `buffer` around it, or use `build_with_unshared` |
//! | `load_shed` | returns an error if the stack is not ready. The sink classifies it as [`NotSent`](crate::service::ErrorClass::NotSent): it retries with backoff, and counts no attempt |
//! | `buffer` | makes a stack `Clone` |
//! | `retry` | rarely needed: the sink retries failed entries. A policy may retry an `Err`; it must return an `Ok` with failed entries, since the other entries are written |
//! | `spawn_ready` | not needed. It panics after an error of its service, which the sink treats as a failed request. It is not `Clone` |
//! | `timeout` | works; `TimeoutLayer` also supports [longer timeouts](super::failures#requests-that-fail-repeatedly) for requests that time out repeatedly |
//! | `hedge` | writes records twice |
//!
//! The sink calls `poll_ready` only when a request should be sent, and `call` as soon as the stack is ready. Records
//! are buffered while the stack is not ready. An error or a panic of `poll_ready` counts as a failed request, after
//! which the sink uses a fresh clone of the stack. The sink needs neither load shedding nor a circuit breaker: while
//! whole requests fail it sends [one probe at a time](super::pacing#outages), with backoff.
//!
//! # One connection pool, many streams
//!
//! A request names its stream, so one stack serves any number of streams. Clone it into each sink:
//!
//! ```
//! use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
//! use kinesis_sink::KinesisSink;
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .trace_put_records()
//!     .concurrency_limit(16) // of all three together
//!     .timeout_put_records(Duration::from_secs(10))
//!     .service(PutRecords::new(&client));
//! let clicks = KinesisSink::builder("clicks").build_with(service.clone())?;
//! let orders = KinesisSink::builder("orders").build_with(service.clone())?;
//! let audits = KinesisSink::builder("audits").build_with(service)?;
//! # Ok(())
//! # }
//! ```
//!
//! The example `three_streams` runs this.
//!
//! ## Waiting for a shared limit
//!
//! A tower service takes a place in the queue of a limit when its `poll_ready` is called, and keeps the place until
//! the service is called or dropped. A sink that shares a limit releases its place as soon as it has nothing to
//! send: when its last record fails or is withdrawn, while it backs off, and when it is dropped.
//!
//! While the stack is not ready, a clone of it waits in a task of the runtime that polled the sink. When that clone
//! becomes ready, the task wakes the sink and keeps the permit for one second. A sink that is not polled within
//! that second loses its place, and requests a new one at its next poll. So poll a sink when it wakes its task, as
//! `flush` and `forward` do. The driver of a [`Producer`](crate::Producer) does so.
//!
//! A stack that is not `Clone` ([`build_with_unshared`](crate::SinkBuilder::build_with_unshared)) keeps its place
//! and its permit. Use it for a stack that belongs to one sink. If others share a limit inside the stack, a sink
//! with nothing to send can keep a permit from them: put a `buffer` around the stack, which makes it `Clone`.
//!
//! # Custom layers
//!
//! A layer fits if its service takes a [`PutRecordsRequest`](crate::service::PutRecordsRequest), returns a
//! [`PutRecordsResponse`](crate::service::PutRecordsResponse) or an error that converts into a boxed one, and has a
//! future that is `Send + 'static`. [`PutRecordsService`](crate::service::PutRecordsService) names these bounds, also
//! for the inner service. This circuit breaker makes no calls for a while after a failure:
//!
//! ```
//! use std::error::Error;
//! use std::sync::{Arc, Mutex};
//! use std::task::{Context, Poll};
//! use std::time::Duration;
//!
//! use futures::SinkExt;
//! use futures::future::BoxFuture;
//! use kinesis_sink::service::{
//!     Classify, DefaultClassify, ErrorClass, PutRecordsRequest, PutRecordsResponse, PutRecordsService,
//! };
//! use kinesis_sink::{KinesisSink, Record};
//! use tokio::time::Instant;
//! use tower::{BoxError, Service, ServiceBuilder, layer};
//!
//! const PAUSE: Duration = Duration::from_secs(5);
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("the circuit is open")]
//! struct Open;
//!
//! #[derive(Clone)]
//! struct Breaker<S> {
//!     inner: S,
//!     open_until: Arc<Mutex<Option<Instant>>>,
//! }
//!
//! impl<S: PutRecordsService> Service<PutRecordsRequest> for Breaker<S> {
//!     type Response = PutRecordsResponse;
//!     type Error = BoxError;
//!     type Future = BoxFuture<'static, Result<PutRecordsResponse, BoxError>>;
//!
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
//!         self.inner.poll_ready(cx).map_err(Into::into)
//!     }
//!
//!     fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
//!         if self.open_until.lock().unwrap().is_some_and(|until| Instant::now() < until) {
//!             return Box::pin(async { Err(Open.into()) });
//!         }
//!         let (response, open_until) = (self.inner.call(request), self.open_until.clone());
//!         Box::pin(async move {
//!             let response = response.await.map_err(Into::into);
//!             *open_until.lock().unwrap() = response.is_err().then(|| Instant::now() + PAUSE);
//!             response
//!         })
//!     }
//! }
//!
//! /// A request that the breaker refuses was not sent, and does not count as an attempt.
//! struct OpenIsNotSent;
//!
//! impl Classify for OpenIsNotSent {
//!     fn classify_error(&self, error: &(dyn Error + 'static)) -> ErrorClass {
//!         if error.is::<Open>() {
//!             return ErrorClass::NotSent;
//!         }
//!         DefaultClassify.classify_error(error)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{Faults, SimStream};
//! # let outage = Faults::default().with_outage("ServiceUnavailable", 503);
//! # let example = SimStream::builder().with_faults(outage).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(layer::layer_fn(|inner| Breaker { inner, open_until: Arc::default() }))
//!     .service(example.service()); // or PutRecords
//! let mut sink =
//!     KinesisSink::builder("example").with_classify(OpenIsNotSent).build_with(service)?;
//! # sink.feed(Record::from("a record")).await?;
//! # tokio::time::timeout(Duration::from_secs(30), sink.flush()).await.unwrap_err();
//! # assert!(example.stats().requests <= 6, "one in five seconds: {example:?}");
//! # example.set_faults(Faults::default());
//! # sink.flush().await?;
//! # assert_eq!(example.written().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Custom errors are classified as an unknown outcome, which is retried with backoff, unless a
//! [`Classify`](crate::service::Classify) returns another class. The class of an error is that of the first error in
//! its chain of sources that the [table](crate::service::ErrorClass) has, so errors may be wrapped.
//!
//! [`tower::Service`]: https://docs.rs/tower/latest/tower/trait.Service.html
