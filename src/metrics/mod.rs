//! Middleware that counts and times requests, through the [`metrics`] facade.
//!
//! Without a recorder installed by the application nothing is kept.
//!
//! # Example
//!
//! ```
//! use kinesis_sink::MetricsLayer;
//! use kinesis_sink::service::PutRecords;
//! use tower::ServiceBuilder;
//!
//! # fn run(client: aws_sdk_kinesis::Client) {
//! let service = ServiceBuilder::new()
//!     .layer(MetricsLayer::new())
//!     .service(PutRecords::new(&client));
//! # }
//! ```
//!
//! # What is measured
//!
//! The names are the KPL's in snake case, under the prefix `kinesis_sink_`; each has the label `stream`.
//!
//! | metric | type | unit | when |
//! |---|---|---|---|
//! | `kinesis_sink_put_records_requests` | counter | requests | at `call` |
//! | `kinesis_sink_put_records_requests_in_flight` | gauge | requests | `call` to answer, error or drop |
//! | `kinesis_sink_kinesis_records_per_put_records_request` | histogram | records | at `call` |
//! | `kinesis_sink_request_time` | histogram | seconds | at an answer or error |
//! | `kinesis_sink_kinesis_records_put` | counter | records | at an answer: those delivered |
//! | `kinesis_sink_all_errors` | counter | records | entries that failed, and all of a failed request |
//! | `kinesis_sink_errors_by_code` | counter | records | the same, with the label `code` |
//!
//! # Cancel safety
//!
//! As that of the service inside; a dropped request leaves the gauge and is counted in no other way.
//!
//! # Labels
//!
//! `code` is one of a fixed set of words whatever a server answers: unknown codes are `other`.

mod future;
mod layer;
mod names;
mod service;

pub use future::ResponseFuture;
pub use layer::MetricsLayer;
pub use service::Metrics;
