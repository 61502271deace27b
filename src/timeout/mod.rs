//! Middleware that applies a timeout to requests.
//!
//! If the inner service does not respond before the timeout elapses, the response future drops the call and returns
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
//! differs in two ways:
//!
//! - **It adapts the timeout to the request.** It multiplies the timeout by the
//!   [factor](crate::service::PutRecordsRequest::timeout_factor) of the request, up to
//!   [a maximum](TimeoutLayer::with_max). A sink raises the factor when requests time out repeatedly, and lowers it
//!   when responses are fast again. With a fixed timeout, a request over a slow link could time out at every attempt,
//!   and each attempt could write duplicates. Because the factor is part of the request, the middleware accepts only
//!   [`PutRecordsRequest`]s.
//! - **It returns a typed error.** [`TimeoutError::Elapsed`] contains the timeout of the request.
//!
//! A sink handles an elapsed timeout of either middleware in the same way. The service may have written the records, or
//! may still write them, so a retry can write duplicates.
//!
//! [`PutRecordsRequest`]: crate::service::PutRecordsRequest
//!
//! # Measured time
//!
//! The timeout starts when the middleware is called, so it does not include the time until the inner service is ready.
//! To include the time that a request spends in the queue of a [`Buffer`](tower::buffer::Buffer), place the layer
//! outside of the buffer. To exclude that time, place the layer inside the buffer.
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
