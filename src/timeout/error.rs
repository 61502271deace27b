use std::time::Duration;

use tower::BoxError;

/// Error of [`Timeout`](super::Timeout): its own, or that of the inner service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError {
    /// There was no response in time. Whether the records were written is unknown.
    #[error("no answer within {after:?}; whether the records were written is unknown")]
    #[non_exhaustive]
    Elapsed {
        /// The time limit.
        after: Duration,
    },
    /// The inner service failed in time.
    #[error("the request failed")]
    Service(#[source] BoxError),
}
