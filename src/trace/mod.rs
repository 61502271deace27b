//! Middleware that traces each request: a span around it, an event before and an event after.
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
//! The events have the target `kinesis_sink` and the level DEBUG, so `RUST_LOG=kinesis_sink=debug` enables them:
//!
//! - at `call`: `sending 500 records to stream example`, with the fields `records` and `bytes`;
//! - at a response: `sent 500 records to stream example; 475 delivered; errors = {..}`, with each distinct
//!   code and message and the number of entries that failed with it, and with the fields `records`,
//!   `delivered`, `latency`, `error.codes` and `error.messages`;
//! - at an error: `sending 500 records to stream example failed`, with the fields `records`, `latency`, `error.type`
//!   and `error`.
//!
//! These are Kinesis records: an [aggregate](crate::Aggregation) counts as one.
//!
//! # Span
//!
//! The span has the name `Kinesis.PutRecords`, the same target and level, and fields that follow OpenTelemetry's
//! conventions for the AWS SDK: `otel.kind`, `rpc.system`, `rpc.service`, `rpc.method`, `aws.kinesis.stream_name`,
//! `messaging.batch.message_count` and, after a failure, `error.type`, `aws.request_id` and `otel.status_code`.
//!
//! # Customization
//!
//! [`TraceLayer`] sets the [level](TraceLayer::with_level) of the span and the events, and replaces
//! [the span](TraceLayer::make_span_with), the event of [a response](TraceLayer::on_response) and that of
//! [a failure](TraceLayer::on_failure). This one makes spans at INFO and logs failures alone:
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
//! While a span or an event is disabled, it costs one check of its level and its fields are not computed.
//!
//! # Secrets
//!
//! Data and keys of records are not written. Values that the service quotes in a message are left out.
//!
//! # Cancel safety
//!
//! As the inner service: dropping the future drops the call.

use tracing::Level;

/// Invokes `span!` or `event!`, which take only constant levels, at a level known at run time.
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

/// Target of everything that this crate logs.
pub(crate) const TARGET: &str = "kinesis_sink";

const DEFAULT_LEVEL: Level = Level::DEBUG;
