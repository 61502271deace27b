//! Middleware that traces each request: a span around it, a line before and a line after.
//!
//! # Example
//!
//! ```
//! use kinesis_sink::TraceLayer;
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
//! # What is written, and when
//!
//! Everything has the target `kinesis_sink` and the level DEBUG, so `RUST_LOG=kinesis_sink=debug` turns
//! it on; while it is off a request costs one check.
//!
//! - at `call`: `sending 500 records to stream example`, with the fields `records`, `bytes`;
//! - at an answer: `sent 500 records to stream example; 475 delivered; errors = {..}`, with each distinct
//!   code and message and the number of entries that it hit, and with the fields `records`,
//!   `delivered`, `error.codes` and `error.messages` (the distinct ones);
//! - at an error: `sending 500 records to stream example failed`, with the fields `error.type` and
//!   `error`.
//!
//! Records are what the service calls so: an [aggregate](crate::Aggregation) counts as one.
//!
//! The span is named `Kinesis.PutRecords`; its fields follow OpenTelemetry's conventions for the AWS
//! SDK: `otel.kind`, `rpc.system`, `rpc.service`, `rpc.method`, `aws.kinesis.stream_name`,
//! `messaging.batch.message_count` and, after a failure, `error.type`, `aws.request_id` and
//! `otel.status_code`.
//!
//! Neither payloads nor keys are written; values that the service quotes in a message are left out.
//!
//! # Cancel safety
//!
//! As that of the service inside: dropping the future drops the call.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::TraceLayer;
pub use service::Trace;

/// Target of everything that this crate logs.
pub(crate) const TARGET: &str = "kinesis_sink";
