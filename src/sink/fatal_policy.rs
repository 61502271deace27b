/// Behavior of a [`Producer`](crate::Producer) when the service refuses every request.
///
/// The service refuses every request if, for example, the stream does not exist, a permission is missing, or the
/// credentials are invalid. Retries then fail until the cause is fixed. The policy applies to
/// [`ErrorClass::Fatal`](crate::service::ErrorClass::Fatal) errors. It also applies to
/// [`Credentials`](crate::service::ErrorClass::Credentials) and [`Blocked`](crate::service::ErrorClass::Blocked) errors
/// that persist for the [credentials timeout](crate::Settings::credentials_timeout).
///
/// | | `Stop` (default) | `Retry` |
/// |---|---|---|
/// | pending and new `send`, `put`, `try_send`, `try_put` | return an error with the record | return an error with the record until a request succeeds |
/// | `poll_ready`, `feed` | return an error | return an error |
/// | accepted records | fail with [`Refused`](crate::record::FailureReason::Refused) after the requests in flight have completed | are retried with backoff |
/// | receipts | complete with the record and the reason | complete when the record is delivered or fails; the history includes the refusals |
/// | records without a receipt | are passed to the dead-letter handler, or without one are returned by [`take_failed`](crate::Producer::take_failed) and `close` | |
/// | pending `flush` | returns an error | returns an error; the next `flush` waits for the next attempt |
/// | afterwards | every call returns [`Stopped`](crate::ErrorKind::Stopped) | the producer accepts records again once a request succeeds |
///
/// With `Stop`, a misspelled stream name or a missing permission is reported immediately. Use `Retry` together with a
/// [deadline](crate::SinkBuilder::with_deadline) if the program should keep running until the cause is fixed.
///
/// The policy does not apply to a [`KinesisSink`](crate::KinesisSink), which returns the error to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FatalPolicy {
    /// Stops the producer and returns its records. The default.
    #[default]
    Stop,
    /// Retries the accepted records, and accepts no new records until a request succeeds.
    Retry,
}
