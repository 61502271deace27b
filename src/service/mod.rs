//! One PutRecords request as a call of a `tower::Service`, and what its errors mean.
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

mod call;
mod classify;
mod error;
mod request;
mod response;
mod sdk;

pub use classify::{Classify, DefaultClassify, EntryClass, ErrorClass};
pub use error::{PutRecordsError, PutRecordsErrorKind};
pub use request::{Entry, PutRecordsRequest};
pub use response::{EntryError, ErrorCount, Placement, PutRecordsResponse};
pub use sdk::PutRecords;

#[cfg(feature = "metrics")]
pub(crate) use classify::code_label;
pub(crate) use classify::{attempt_error, request_id};
