//! Middleware that applies a timeout to requests.
//!
//! If there is no response before the timeout elapses, the future drops the call of the inner service and returns
//! [`TimeoutError::Elapsed`].
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
//! # Differences from `tower::timeout`
//!
//! tower's [`Timeout`](tower::timeout::Timeout) has one timeout for all requests and returns a boxed error: an
//! [`Elapsed`](tower::timeout::error::Elapsed) without fields, or the error of the inner service. This middleware
//!
//! - **adapts the timeout to the request.** It multiplies the timeout by the
//!   [factor](crate::service::PutRecordsRequest::timeout_factor) of the request, up to
//!   [a maximum](TimeoutLayer::with_max). A sink raises the factor when requests time out repeatedly, and lowers it when
//!   responses are fast again. With a fixed timeout, a request that takes longer, for example over a slow link, would be
//!   retried again and again, and each attempt could write duplicates. The factor is part of the request, so the
//!   middleware accepts only [`PutRecordsRequest`]s.
//! - **returns a typed error** with the timeout of the request.
//!
//! A sink treats the errors of both in the same way: the service may have written some of the records, or may still
//! write them, so a retry can write duplicates.
//!
//! [`PutRecordsRequest`]: crate::service::PutRecordsRequest
//!
//! # Measured time
//!
//! The timeout starts at `call`. It does not include the time until the inner service is ready. To include the time
//! that a request is queued in a [`Buffer`](tower::buffer::Buffer), place the layer outside of the buffer. To exclude
//! that time, place the layer inside.
//!
//! # Cancel safety
//!
//! Dropping the future drops the call of the inner service, so the middleware is as cancel safe as that service.

mod error;
mod future;
mod layer;
mod service;

pub use error::TimeoutError;
pub use future::ResponseFuture;
pub use layer::TimeoutLayer;
pub use service::Timeout;
