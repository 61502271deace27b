use std::time::Duration;

use tower::BoxError;

/// The error of [`Timeout`](super::Timeout): its own, or that of the service inside.
#[derive(Debug, thiserror::Error)]
pub enum TimeoutError {
    /// No answer came in time. Whether the records were written is unknown.
    #[error("no answer within {after:?}; whether the records were written is unknown")]
    Elapsed {
        /// The time limit.
        after: Duration,
    },
    /// The service failed within the time.
    #[error("the request failed")]
    Service(#[source] BoxError),
}
