//! Middleware that limits the time a request may take.
//!
//! A request that is not answered in time fails with [`TimeoutError::Elapsed`], and the call below it
//! is dropped.
//!
//! # Differences from `tower::timeout`
//!
//! tower's `Timeout` turns every error into a boxed one, its own into a text. This one keeps a typed
//! error that says how long it waited and that the outcome is unknown: the service may have written
//! some of the records, or may still do so. The sink understands both; it sends the records again, which
//! can duplicate them.
//!
//! tower's gives every request the same time. This one is for [`PutRecordsRequest`]s, and multiplies the
//! time by the request's [factor](crate::service::PutRecordsRequest::timeout_factor), up to
//! [a maximum](TimeoutLayer::with_max). A sink raises the factor when records time out repeatedly and lowers
//! it when answers are fast again, so that a stream that works but is slower than the time limit, over a
//! slow link for example, makes progress and gets few duplicates.
//!
//! [`PutRecordsRequest`]: crate::service::PutRecordsRequest
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use kinesis_sink::service::{PutRecords, PutRecordsRequest};
//! use kinesis_sink::{TimeoutError, TimeoutLayer};
//! use tower::{Service, ServiceBuilder};
//!
//! # async fn run(client: aws_sdk_kinesis::Client, request: PutRecordsRequest) {
//! let mut service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .service(PutRecords::new(&client));
//!
//! match service.call(request).await {
//!     Ok(response) => println!("{} delivered", response.delivered()),
//!     Err(TimeoutError::Elapsed { after }) => println!("no answer in {after:?}"),
//!     Err(TimeoutError::Service(error)) => println!("failed: {error}"),
//! }
//! # }
//! ```
//!
//! # Cancel safety
//!
//! As that of the service inside: dropping the future drops the call.
//!
//! # When the clock runs
//!
//! From `call` to the answer. Waiting for the service to become ready does not count: put the layer
//! outside of a queue (`Buffer`) to count the time in the queue, inside to leave it out.

mod error;
mod future;
mod layer;
mod service;

pub use error::TimeoutError;
pub use future::ResponseFuture;
pub use layer::TimeoutLayer;
pub use service::Timeout;
