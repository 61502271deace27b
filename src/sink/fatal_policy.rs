/// What a [`Producer`](crate::Producer) does when the service refuses every request.
///
/// Retries do not help until something outside changes: a permission, the stream, credentials. Such errors are
/// [`ErrorClass::Fatal`](crate::service::ErrorClass::Fatal), or
/// [`Credentials`](crate::service::ErrorClass::Credentials) and [`Blocked`](crate::service::ErrorClass::Blocked) that
/// last for the whole [credentials timeout](crate::Settings::credentials_timeout).
///
/// | | `Stop` (default) | `Retry` |
/// |---|---|---|
/// | pending and new `send`, `put`, `try_send`, `try_put` | an error, with the record | the same, as long as the refusal lasts |
/// | `poll_ready`, `feed` | an error | the same |
/// | records accepted before | fail as [`Refused`](crate::record::FailureReason::Refused), once the requests in flight are answered | are retried, with backoff |
/// | their receipts | return the record, with the reason | stay open until the record is delivered or fails; the history has the refusals |
/// | records without a receipt | go to the dead-letter handler, else to [`take_failed`](crate::Producer::take_failed) and `close` | |
/// | pending `flush` | an error | the same; calling it again waits for the next attempt |
/// | afterwards | every call returns [`Stopped`](crate::ErrorKind::Stopped) | the producer accepts records again once a request succeeds |
///
/// With `Stop`, a misspelt stream or a missing permission is reported at once. Choose `Retry`, with a
/// [deadline](crate::SinkBuilder::with_deadline), for a service that keeps running until permissions are restored.
///
/// A [`KinesisSink`](crate::KinesisSink) needs no policy: it returns the error to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FatalPolicy {
    /// Stops the producer and hands its records back. The default.
    #[default]
    Stop,
    /// Retries the accepted records, and accepts no new ones until a request succeeds.
    Retry,
}
