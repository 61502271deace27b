//! Middleware that limits the time of a request.
//!
//! A request without a response in time fails with [`TimeoutError::Elapsed`], and the call of the inner service
//! is dropped.
//!
//! # Differences from `tower::timeout`
//!
//! tower's [`Timeout`](tower::timeout::Timeout) gives every request the same time and returns a boxed error: its own,
//! an [`Elapsed`](tower::timeout::error::Elapsed) without fields, or that of the inner service. This layer in addition
//!
//! - **honours the time that the sink allows a request.** It multiplies the timeout by the request's
//!   [factor](crate::service::PutRecordsRequest::timeout_factor), up to [a maximum](TimeoutLayer::with_max). A sink
//!   raises the factor when records time out repeatedly and lowers it when responses are fast again, so that a
//!   stream that is slower than the timeout, over a slow link for example, makes progress and gets few duplicates.
//!   For this the layer accepts only [`PutRecordsRequest`]s.
//! - **returns a typed error** with the time limit of the request. Its message says that the outcome is unknown: the
//!   service may have written some of the records, or may still do so.
//!
//! The sink treats the errors of both layers alike: it sends the records again, which can duplicate them.
//!
//! [`PutRecordsRequest`]: crate::service::PutRecordsRequest
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use kinesis_sink::service::{PutRecords, PutRecordsRequest};
//! use kinesis_sink::timeout::{TimeoutError, TimeoutLayer};
//! use tower::{Service, ServiceBuilder};
//!
//! # async fn run(client: aws_sdk_kinesis::Client, request: PutRecordsRequest) {
//! let mut service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .service(PutRecords::new(&client));
//!
//! match service.call(request).await {
//!     Ok(response) => println!("{} delivered", response.delivered()),
//!     Err(TimeoutError::Elapsed { after, .. }) => println!("no response in {after:?}"),
//!     Err(TimeoutError::Service(error)) => println!("failed: {error}"),
//!     Err(other) => println!("{other}"),
//! }
//! # }
//! ```
//!
//! # Cancel safety
//!
//! As the inner service: dropping the future drops the call.
//!
//! # Measured time
//!
//! The time from `call` to the response. It does not include waiting for the inner service to become ready. Put the
//! layer outside of a queue (`Buffer`) to include the time in the queue, inside to exclude it.

mod error;
mod future;
mod layer;
mod service;

pub use error::TimeoutError;
pub use future::ResponseFuture;
pub use layer::TimeoutLayer;
pub use service::Timeout;
