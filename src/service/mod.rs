//! One PutRecords request as a call of a `tower::Service`, what its errors mean, and what the service says
//! about a stream.
//!
//! [`PutRecords`] is the service at the bottom: it turns a [`PutRecordsRequest`] into one call of the AWS
//! SDK. The sink works over any service from [`PutRecordsRequest`] to [`PutRecordsResponse`] whose error
//! converts into a boxed one, so any tower layer fits in between, and a closure does for a test:
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
//! # What an error means
//!
//! [`Classify`] decides; its default is the table in [`ErrorClass`] and [`EntryClass`]. It reads through
//! the errors that layers wrap around the service's own.
//!
//! # Stream information
//!
//! [`SdkStreamInfo`] lists a stream's open shards, and describes the size limit of its records and how they are
//! distributed. Its errors, [`PutRecordsError`]s, are classified like any other error.

mod check;
mod classify;
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
