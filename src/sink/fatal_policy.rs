/// What a [`Producer`](crate::Producer) does when the service refuses every request, and trying again
/// does not help until something outside changes: no permission, no such stream, no credentials
/// ([`ErrorClass::Fatal`](crate::service::ErrorClass::Fatal), and credentials that could not be loaded or were refused for the
/// whole [credentials timeout](crate::Settings::credentials_timeout), or answers that are not the service's for as long).
///
/// | | `Stop` (default) | `Retry` |
/// |---|---|---|
/// | pending and new `send`, `put`, `try_put` | an error, with the record | the same, as long as the refusal lasts |
/// | `poll_ready`, `feed` | an error | the same |
/// | records accepted before | fail as [`Refused`](crate::record::FailureReason::Refused), once the requests in flight are answered | are tried again, with back-off |
/// | their receipts | say so, with the record | stay open until the record is delivered or given up; the history tells of it |
/// | records without a receipt | go to the dead-letter handler, else to [`take_failed`](crate::Producer::take_failed) and `close` | |
/// | pending `flush` | an error | the same; calling it again waits for the next attempt |
/// | afterwards | every call says that the producer has stopped | the producer goes on as soon as a request succeeds |
///
/// `Stop` makes a misspelt stream or a missing permission show at once and everywhere. Services that
/// outlive a lapse of permissions, because someone mends it while they run, choose `Retry`, best
/// with a [deadline](crate::SinkBuilder::with_deadline).
///
/// A [`KinesisSink`](crate::KinesisSink) by itself needs no policy: it tells its owner, who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FatalPolicy {
    /// Ends the producer and hands everything back.
    #[default]
    Stop,
    /// Goes on trying with what was accepted, and accepts nothing new meanwhile.
    Retry,
}
