//! Services for PutRecords requests, error classification and stream information.
//!
//! A sink sends its requests through a [`tower::Service`] that takes a [`PutRecordsRequest`] and returns a
//! [`PutRecordsResponse`]. [`PutRecords`] is the innermost service of a stack and sends each request with the AWS SDK.
//! Layers from tower and from this crate can be added around it.
//!
//! # Example
//!
//! This stack adds tracing and a timeout to each request:
//!
//! ```
//! use std::time::Duration;
//! use kinesis_sink::KinesisSink;
//! use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
//! use tower::ServiceBuilder;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! let service = ServiceBuilder::new()
//!     .trace_put_records()
//!     .timeout_put_records(Duration::from_secs(5))
//!     .service(PutRecords::new(&client));
//! let sink = KinesisSink::builder("example").build_with(service)?;
//! # Ok(())
//! # }
//! ```
//!
//! Any service whose error converts into a [`BoxError`](tower::BoxError) can replace `PutRecords`, for example a
//! closure in a test:
//!
//! ```
//! use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
//! use tower::{BoxError, service_fn};
//!
//! let accepts_all = service_fn(|request: PutRecordsRequest| async move {
//!     let results = request.entries().iter().map(|_| Ok(Placement::new("shardId-000000000000", "1")));
//!     Ok::<_, BoxError>(PutRecordsResponse::new(results.collect()))
//! });
//! # let _ = accepts_all;
//! ```
//!
//! # Classification of errors
//!
//! [`Classify`] determines how the sink handles an error. The default is [`DefaultClassify`], which follows the tables
//! of [`ErrorClass`] and [`EntryClass`]. It also recognizes errors that a layer has wrapped.
//!
//! # Stream information
//!
//! [`SdkStreamInfo`] lists the open shards of a stream. It also returns the capacity mode, the maximum record size, and
//! how the stream distributes records. Its errors are [`PutRecordsError`]s, so they are classified in the same way as
//! the errors of requests.

mod check;
mod classify;
mod client_stack;
pub(crate) mod environment;
mod error;
mod identity;
mod protocol;
mod put_records;
mod put_records_service;
mod redact;
mod request;
mod response;
mod sdk;
mod shared_client;
mod stream_info;

pub use classify::{Classify, DefaultClassify, EntryClass, ErrorClass};
pub use error::{PutRecordsError, PutRecordsErrorKind};
#[cfg(feature = "cbor")]
pub use protocol::KinesisCbor;
pub use put_records::PutRecords;
pub use put_records_service::PutRecordsService;
pub use request::{Entry, PutRecordsRequest};
pub use response::{EntryError, ErrorCount, Placement, PutRecordsResponse};
pub use stream_info::SdkStreamInfo;

pub use crate::service_ext::ServiceBuilderExt;
pub use crate::sink::DefaultService;

pub(crate) use check::{CheckFailure, StreamCheck};
#[cfg(feature = "metrics")]
pub(crate) use classify::codes::code_label;
pub(crate) use classify::codes::{NO_STREAM, TIMEOUT, UNKNOWN};
pub(crate) use classify::{attempt_error, request_id};
pub(crate) use client_stack::ClientStack;
pub(crate) use shared_client::SharedClient;
