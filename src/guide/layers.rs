//! Layers: middleware between the sink and the AWS SDK.
//!
//! The sink sends each PutRecords request by a call to a [`tower::Service`]. The innermost service is
//! [`PutRecords`](crate::service::PutRecords), which calls the AWS SDK. You can put tower layers between this service
//! and the sink. The layers can be from tower, from this crate, or your own:
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
//! | [`build`](crate::SinkBuilder::build) | the default stack: tracing, metrics, a timeout of 10 s, the SDK |
//! | [`build_with_layer`](crate::SinkBuilder::build_with_layer) | the default stack with a layer around it |
//! | [`build_with`](crate::SinkBuilder::build_with) | a custom stack that is `Clone` |
//! | [`build_with_unshared`](crate::SinkBuilder::build_with_unshared) | a custom stack that is not `Clone` |
//!
//! `build` and `build_with_layer` also describe the stream and list its shards, for [aggregation](super::aggregation)
//! and [ordering](super::ordering). A sink created by `build_with` has no client for these requests: set a [source of
//! stream information](crate::SinkBuilder::with_stream_info), such as [`SdkStreamInfo`](crate::service::SdkStreamInfo).
//! To add a single layer to the default stack, use `build_with_layer`:
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
//! | layer | description | builder method |
//! |---|---|---|
//! | [`TimeoutLayer`](crate::timeout::TimeoutLayer) | limits the duration of a request | `timeout_put_records` |
//! | [`TraceLayer`](crate::trace::TraceLayer) | creates a span and two events for each request, at DEBUG | `trace_put_records` |
//! | `MetricsLayer` (feature `metrics`) | counts requests and records their durations | `metrics_put_records` |
//!
//! The builder methods are in the trait [`ServiceBuilderExt`](crate::service::ServiceBuilderExt). Each middleware
//! provides access to its inner service with `get_ref`, `get_mut`, and `into_inner`.
//!
//! ## Tracing at another level
//!
//! You can configure [`TraceLayer`](crate::trace::TraceLayer) to trace at another level, to create spans with custom
//! fields, and to call closures instead of emitting events. If you add such a layer to the default stack, the default
//! stack still traces at DEBUG as well:
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
//! The first layer is the outermost. For each layer, all layers below are a single call.
//!
//! - Put tracing and metrics outermost to get one span per request of the sink. If they are below a retry layer, they
//!   record every attempt.
//! - A timeout layer measures the time from `call` to the response. Concurrency and rate limits wait before `call`, so
//!   this time does not count. Time in the queue of a `buffer` counts if the `buffer` is below the timeout.
//! - Put a retry layer above the timeout, so that each attempt gets the full timeout.
//! - Every stack needs a timeout layer, because the sink waits for every response, and `PutRecords` has only the
//!   timeouts of the SDK.
//!
//! # tower's layers
//!
//! | layer | behavior with the sink |
//! |---|---|
//! | `concurrency_limit` | limits the requests in flight of all sinks that share the stack; [`max_in_flight`](crate::SinkBuilder::with_max_in_flight) limits the requests of one sink |
//! | `rate_limit` | while the limit is reached, the sink waits, and collects more records for the next request. The layer's service is not `Clone`: put a `buffer` around it, or use `build_with_unshared` |
//! | `load_shed` | returns an error if the stack is not ready. The sink classifies the error as [`NotSent`](crate::service::ErrorClass::NotSent): it retries with backoff, and does not count the attempt |
//! | `buffer` | makes a stack `Clone` |
//! | `retry` | rarely needed, because the sink retries failed entries. A policy can retry an `Err`, but must not retry an `Ok` with failed entries, because the other entries were written |
//! | `spawn_ready` | not needed. It panics after its service has failed, which the sink handles as a failed request. Its service is not `Clone` |
//! | `timeout` | works, but does not support [longer timeouts](super::failures#requests-that-fail-repeatedly) for requests that time out repeatedly, as `TimeoutLayer` does |
//! | `hedge` | do not use: it writes records twice |
//!
//! The sink calls `poll_ready` only when it has a request to send, and `call` as soon as the stack is ready. While the
//! stack is not ready, records are buffered. If `poll_ready` returns an error or panics, the sink handles this as a
//! failed request, and then uses a new clone of the stack. Neither load shedding nor a circuit breaker is needed: while
//! whole requests fail, the sink sends [one probe at a time](super::pacing#outages), with backoff.
//!
//! # One connection pool, many streams
//!
//! Each request contains the stream name, so one stack can be used for any number of streams. Clone the stack for each
//! sink:
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
//!     .concurrency_limit(16) // for all three together
//!     .timeout_put_records(Duration::from_secs(10))
//!     .service(PutRecords::new(&client));
//! let clicks = KinesisSink::builder("clicks").build_with(service.clone())?;
//! let orders = KinesisSink::builder("orders").build_with(service.clone())?;
//! let audits = KinesisSink::builder("audits").build_with(service)?;
//! # Ok(())
//! # }
//! ```
//!
//! If the set of streams is large or not known in advance, use a [`Router`](super::router), which opens them on first
//! use and has [`spawn_with`](crate::router::RouterBuilder::spawn_with) for a stack. The example `tenants` sends to 50
//! streams over a few connections.
//!
//! ## Waiting for a shared limit
//!
//! When `poll_ready` of a tower service with a limit is called, the service joins the queue of the limit, and stays in
//! the queue until it is called or dropped. A sink that shares a limit leaves the queue as soon as it has nothing to
//! send: when its last record fails or is withdrawn, while it backs off, and when it is dropped.
//!
//! While the stack is not ready, a clone of the stack waits in a task on the runtime that polled the sink. When the
//! clone becomes ready, the task wakes the sink and keeps the permit for one second. If the sink is not polled within
//! that second, the permit is released, and the sink joins the queue again at its next poll. Therefore, poll the sink
//! whenever it wakes its task. `flush`, `forward`, and the driver of a [`Producer`](crate::Producer) do so.
//!
//! A stack that is not `Clone` ([`build_with_unshared`](crate::SinkBuilder::build_with_unshared)) keeps its place in
//! the queue and its permit. Use such a stack for one sink only. If a limit inside the stack is shared with others, a
//! sink that has nothing to send can occupy a permit that the others need. To prevent this, put a `buffer` around the
//! stack, which makes the stack `Clone`.
//!
//! # Custom layers
//!
//! A custom layer must produce a service that accepts a [`PutRecordsRequest`](crate::service::PutRecordsRequest), and
//! returns a [`PutRecordsResponse`](crate::service::PutRecordsResponse) or an error that can be converted into a boxed
//! error. Its future must be `Send + 'static`. The trait [`PutRecordsService`](crate::service::PutRecordsService) is an
//! alias for these bounds, and you can use it for the inner service as well. The following circuit breaker makes no
//! calls for five seconds after a failure:
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
//! /// Classifies requests that the breaker rejects as not sent, so that they do not count as attempts.
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
//! By default, the outcome of a request that fails with a custom error is treated as unknown, and the request is
//! retried with backoff. To change this, return another class from a [`Classify`](crate::service::Classify). A layer
//! can wrap errors of the inner service: the class is determined by the first error in the source chain that is in the
//! [table of classes](crate::service::ErrorClass).
//!
//! [`tower::Service`]: https://docs.rs/tower/latest/tower/trait.Service.html
