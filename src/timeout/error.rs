use std::time::Duration;

use tower::BoxError;

/// Error of [`Timeout`](super::Timeout): an elapsed timeout, or an error of the inner service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError {
    /// The timeout elapsed before the inner service responded. The records may have been written.
    #[error(
        "request timeout of {after:?} elapsed; the records may have been written; check the network or raise the timeout"
    )]
    #[non_exhaustive]
    Elapsed {
        /// Timeout of the request.
        after: Duration,
    },
    /// The inner service failed before the timeout elapsed.
    #[error("request failed")]
    Service(#[source] BoxError),
}
