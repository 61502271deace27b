//! Middleware that adds tracing to requests.
//!
//! The middleware creates a span for each request. It emits an event when it sends the request, and another one when
//! the request succeeds or fails.
//!
//! # Example
//!
//! ```
//! use kinesis_sink::trace::TraceLayer;
//! use kinesis_sink::service::PutRecords;
//! use tower::ServiceBuilder;
//!
//! # fn run(client: aws_sdk_kinesis::Client) {
//! let service = ServiceBuilder::new()
//!     .layer(TraceLayer::new())
//!     .service(PutRecords::new(&client));
//! # }
//! ```
//!
//! # Events
//!
//! Events have the target `kinesis_sink` and the level DEBUG. `RUST_LOG=kinesis_sink=debug` enables them:
//!
//! - At `call`: `sending 500 records to stream example`, with the fields `records` and `bytes`.
//! - At a response: `sent 500 records to stream example; 475 delivered; errors = {..}`, with the number of entries per
//!   error code and message. The fields are `records`, `delivered`, `latency`, `error.codes` and `error.messages`.
//! - At an error: `sending 500 records to stream example failed`, with the fields `records`, `latency`, `error.type`
//!   and `error`.
//!
//! All counts are in Kinesis records, so an [aggregate](crate::Aggregation) counts as one record.
//!
//! # Span
//!
//! The span is named `Kinesis.PutRecords` and has the same target and level as the events. Its fields follow the
//! conventions of OpenTelemetry for the AWS SDK: `otel.kind`, `rpc.system`, `rpc.service`, `rpc.method`,
//! `aws.kinesis.stream_name` and `messaging.batch.message_count`. If the request fails, the middleware also records
//! `error.type`, `aws.request_id` and `otel.status_code`.
//!
//! # Customization
//!
//! [`TraceLayer`] has methods to set the [level](TraceLayer::with_level) of the span and the events, and to replace the
//! [span](TraceLayer::make_span_with), the event of a [response](TraceLayer::on_response), and the event of a
//! [failure](TraceLayer::on_failure). For example, to create spans at INFO and log only failures:
//!
//! ```
//! use kinesis_sink::trace::TraceLayer;
//! use kinesis_sink::service::{PutRecords, PutRecordsRequest};
//! use tower::ServiceBuilder;
//! use tracing::{info_span, warn};
//!
//! # fn run(client: aws_sdk_kinesis::Client) {
//! let trace = TraceLayer::new()
//!     .make_span_with(|request: &PutRecordsRequest| {
//!         info_span!("put_clicks", records = request.entries().len())
//!     })
//!     .on_response(|_, _, _| {})
//!     .on_failure(|error, latency, _| warn!(?latency, code = error.code(), "request failed"));
//! let service = ServiceBuilder::new().layer(trace).service(PutRecords::new(&client));
//! # }
//! ```
//!
//! # Cost
//!
//! A disabled span or event costs one check of its level, because its fields are not computed.
//!
//! # Secrets
//!
//! The middleware does not record the data or the keys of records. The service can quote values of a request in its
//! error messages. These values are removed before a message is recorded.
//!
//! # Cancel safety
//!
//! Dropping the future drops the call of the inner service, so the middleware is as cancel safe as that service.

use tracing::Level;

/// Invokes `span!` or `event!`, which require a constant level, with a level known at run time.
macro_rules! at_level {
    ($macro:ident, $level:expr, $($fields:tt)*) => {
        match $level {
            tracing::Level::ERROR => at_level!(@ $macro, ERROR, $($fields)*),
            tracing::Level::WARN => at_level!(@ $macro, WARN, $($fields)*),
            tracing::Level::INFO => at_level!(@ $macro, INFO, $($fields)*),
            tracing::Level::DEBUG => at_level!(@ $macro, DEBUG, $($fields)*),
            tracing::Level::TRACE => at_level!(@ $macro, TRACE, $($fields)*),
        }
    };
    (@ $macro:ident, $level:ident, $($fields:tt)*) => {
        tracing::$macro!(target: $crate::trace::TARGET, tracing::Level::$level, $($fields)*)
    };
}

mod events;
mod future;
mod layer;
mod make_span;
mod service;

pub use future::ResponseFuture;
pub use layer::TraceLayer;
pub use make_span::{DefaultMakeSpan, MakeSpan};
pub use service::Trace;

/// Target of all spans and events of this crate.
pub(crate) const TARGET: &str = "kinesis_sink";

const DEFAULT_LEVEL: Level = Level::DEBUG;
