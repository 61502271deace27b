//! Error types.
//!
//! Sinks and producers return an [`Error`], builders return a [`BuildError`], and parsers return a [`ParseError`].
//! [`Undelivered`] is the error of a single record, and [`PutRecordsError`](crate::service::PutRecordsError) is the
//! error of a request.

mod merge;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use tower::BoxError;

pub use crate::build_error::BuildError;
use crate::limits::RecordError;
pub use crate::parse_error::ParseError;
use crate::record::{AttemptError, FailureReason, Record, Undelivered};
use crate::service::CheckFailure;
use crate::stream::StreamId;

/// Error of a [`KinesisSink`](crate::KinesisSink), a [`Producer`](crate::Producer) or a [`Router`](crate::Router).
///
/// An error never loses records. If a record was not accepted, the error [contains it](Self::into_record). The
/// [kind](Self::kind) of the error determines what happens to the accepted records:
///
/// | kind | accepted records |
/// |---|---|
/// | [`RecordTooLarge`](ErrorKind::RecordTooLarge), [`InvalidPartitionKey`](ErrorKind::InvalidPartitionKey), [`Full`](ErrorKind::Full), [`Closed`](ErrorKind::Closed), [`TooManyStreams`](ErrorKind::TooManyStreams), [`SpoolFull`](ErrorKind::SpoolFull), [`NeedsProducer`](ErrorKind::NeedsProducer) | not affected |
/// | [`Refused`](ErrorKind::Refused) | stay in the sink |
/// | [`Undelivered`](ErrorKind::Undelivered) | failed records are kept until `take_failed` returns them; [`close`](crate::Producer::close) returns them [in the error](Self::into_undelivered) |
/// | [`Stopped`](ErrorKind::Stopped), [`Abandoned`](ErrorKind::Abandoned) | [`close`](crate::Producer::close) returns the remaining records [in the error](Self::into_undelivered) |
///
/// The `Debug` output contains the message and its causes on one line, so that an error returned from `main` is
/// readable.
///
/// ```
/// use kinesis_sink::{ErrorKind, Producer, Record};
///
/// fn offer(producer: &Producer, record: Record) -> Option<Record> {
///     match producer.try_send(record) {
///         Ok(()) => None,
///         // Try again later.
///         Err(error) if error.kind() == ErrorKind::Full => error.into_record(),
///         Err(error) => {
///             eprintln!("{error}");
///             error.into_record()
///         }
///     }
/// }
/// ```
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    stream: Option<StreamId>,
    /// Record that was not accepted.
    record: Option<Record>,
    /// Accepted records that were not delivered.
    undelivered: Vec<Undelivered>,
    /// Number of accepted records that the error affects.
    count: usize,
    cause: Cause,
}

enum Cause {
    None,
    Record(RecordError),
    Attempt(Arc<AttemptError>),
    Failure(FailureReason),
    Build(BuildError),
    Other(BoxError),
    /// Maximum number of open streams.
    MaxStreams(usize),
    /// Errors of several streams. `message` and `cause` are those of one of them.
    Streams {
        streams: usize,
        message: Box<str>,
        cause: Box<Cause>,
    },
}

/// Kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The record can never be sent, because its size including the partition key exceeds
    /// [`Limits::record_bytes`](crate::limits::Limits::record_bytes).
    RecordTooLarge,
    /// The record can never be sent, because its partition key is empty or longer than 256 characters.
    InvalidPartitionKey,
    /// The buffer is full.
    ///
    /// To avoid this error, call `start_send` only after `poll_ready` has returned `Ready(Ok(()))`. The methods `send`
    /// and `put` of a producer do not return this error, because they wait for capacity.
    Full,
    /// The sink or the producer is closed.
    Closed,
    /// The service refuses every request because of missing permissions, a missing stream, or invalid credentials.
    /// Retries fail until the cause is fixed.
    ///
    /// All accepted records stay in the sink, in order. A sink retries when it is polled again, and a producer retries
    /// automatically.
    Refused,
    /// Records were not delivered, and no dead-letter handler took them.
    ///
    /// The failed records count towards the buffer bounds until the caller takes them.
    /// [`close`](crate::Producer::close) returns them in the error.
    Undelivered,
    /// The producer has stopped because the service refuses every request. See
    /// [`FatalPolicy`](crate::settings::FatalPolicy).
    Stopped,
    /// The producer's driver ended early: it was dropped or aborted, it panicked, or its runtime was shut down.
    Abandoned,
    /// The [check](crate::KinesisSink::check) found that the stream cannot be used.
    Unusable,
    /// The sink could not be built. The message is that of the [`BuildError`].
    Build,
    /// The router has the [maximum number](crate::router::RouterSettings::max_streams) of open streams, and none of them
    /// can be closed.
    TooManyStreams,
    /// The disk space of the spool is used up, and the spool refuses records.
    SpoolFull,
    /// A sink with a spool was used without a producer.
    NeedsProducer,
}

/// Reason why a record was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    Record(RecordError),
    Full,
    Closed,
    Refused(Arc<AttemptError>),
    Stopped(Arc<AttemptError>),
    /// Failed records fill the buffer.
    Undelivered {
        count: usize,
        reason: FailureReason,
    },
    Abandoned,
    #[cfg(feature = "spool")]
    SpoolFull,
}

impl Rejection {
    /// Returns `true` if `start_send` or `call` returns the record, and not `poll_ready` an error.
    pub(crate) fn is_full_spool(&self) -> bool {
        #[cfg(feature = "spool")]
        return matches!(self, Self::SpoolFull);
        #[cfg(not(feature = "spool"))]
        false
    }
}

impl From<RecordError> for Rejection {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl Error {
    fn new(kind: ErrorKind, cause: Cause) -> Self {
        Self(Box::new(Repr {
            kind,
            stream: None,
            record: None,
            undelivered: Vec::new(),
            count: 0,
            cause,
        }))
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, Cause::None)
    }

    /// Creates the error for a refused request. `kept` is the number of records that stay in the sink.
    pub(crate) fn refused(stream: StreamId, kept: usize, source: BoxError) -> Self {
        Self::new(ErrorKind::Refused, Cause::Other(source)).with_stream(stream).with_count(kept)
    }

    pub(crate) fn stopped(stream: StreamId, cause: Arc<AttemptError>) -> Self {
        Self::new(ErrorKind::Stopped, Cause::Attempt(cause)).with_stream(stream)
    }

    pub(crate) fn abandoned() -> Self {
        Self::new(ErrorKind::Abandoned, Cause::None)
    }

    /// Creates the error for `count` undelivered records. `reason` is the failure reason of the last one.
    pub(crate) fn failed(count: usize, reason: FailureReason) -> Self {
        Self::new(ErrorKind::Undelivered, Cause::Failure(reason)).with_count(count)
    }

    #[cfg(feature = "spool")]
    pub(crate) fn needs_producer() -> Self {
        Self::new(ErrorKind::NeedsProducer, Cause::None)
    }

    pub(crate) fn too_many_streams(max: usize) -> Self {
        Self::new(ErrorKind::TooManyStreams, Cause::MaxStreams(max))
    }

    pub(crate) fn undelivered_at_close(stream: StreamId) -> Self {
        Self::new(ErrorKind::Undelivered, Cause::None).with_stream(stream)
    }

    pub(crate) fn rejection(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Record(error) => {
                let kind = match error {
                    RecordError::TooLarge { .. } => ErrorKind::RecordTooLarge,
                    #[cfg(feature = "spool")]
                    RecordError::ExceedsSegment { .. } => ErrorKind::RecordTooLarge,
                    RecordError::EmptyPartitionKey | RecordError::PartitionKeyTooLong { .. } => {
                        ErrorKind::InvalidPartitionKey
                    }
                };
                Self::new(kind, Cause::Record(error))
            }
            Rejection::Full => Self::new(ErrorKind::Full, Cause::None),
            Rejection::Closed => Self::closed(),
            Rejection::Refused(error) => Self::new(ErrorKind::Refused, Cause::Attempt(error)),
            Rejection::Stopped(error) => Self::new(ErrorKind::Stopped, Cause::Attempt(error)),
            Rejection::Undelivered { count, reason } => Self::failed(count, reason),
            Rejection::Abandoned => Self::abandoned(),
            #[cfg(feature = "spool")]
            Rejection::SpoolFull => Self::new(ErrorKind::SpoolFull, Cause::None),
        }
    }

    pub(crate) fn rejected(record: Record, rejection: impl Into<Rejection>) -> Self {
        Self::rejection(rejection.into()).with_record(record)
    }

    pub(crate) fn with_stream(mut self, stream: StreamId) -> Self {
        self.0.stream = Some(stream);
        self
    }

    pub(crate) fn with_count(mut self, count: usize) -> Self {
        self.0.count = count;
        self
    }

    pub(crate) fn with_record(mut self, record: Record) -> Self {
        self.0.record = Some(record);
        self
    }

    pub(crate) fn with_undelivered(mut self, undelivered: Vec<Undelivered>) -> Self {
        self.0.undelivered = undelivered;
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the stream to which the error refers. Returns `None` if it refers to no stream, or to several streams of a
    /// router.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.0.stream.as_ref()
    }

    /// Returns the number of accepted records that the error affects.
    ///
    /// The count includes
    ///
    /// - for [`Refused`](ErrorKind::Refused), the records that stay in the sink;
    /// - for [`Undelivered`](ErrorKind::Undelivered), the failed records that have not been taken;
    /// - for an error returned by [`close`](crate::Producer::close), the records in the error, and, if the producer has
    ///   stopped or was abandoned, also the records returned by receipts and by the dead-letter handler.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Returns the record that was not accepted, or the undelivered record if the error contains exactly one.
    ///
    /// For an error returned by [`close`](crate::Producer::close), use [`undelivered`](Self::undelivered) instead,
    /// because it returns all records.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match (&self.0.record, &self.0.undelivered[..]) {
            (Some(record), _) => Some(record),
            (None, [undelivered]) => Some(undelivered.record()),
            (None, _) => None,
        }
    }

    /// Converts the error into the record that was not accepted, or into the undelivered record if the error contains
    /// exactly one.
    ///
    /// For an error returned by [`close`](crate::Producer::close), use [`into_undelivered`](Self::into_undelivered)
    /// instead, because it returns all records.
    #[must_use]
    pub fn into_record(mut self) -> Option<Record> {
        match self.0.record.take() {
            Some(record) => Some(record),
            None if self.0.undelivered.len() == 1 => {
                self.0.undelivered.pop().map(Undelivered::into_record)
            }
            None => None,
        }
    }

    /// Returns the undelivered records in the error, in the order in which they were accepted. The records of a router are
    /// grouped by [stream](Undelivered::stream).
    ///
    /// Only errors from [`close`](crate::Producer::close) and from the
    /// [`Service`](crate::Producer#impl-Service<Record>-for-Producer) implementation of a producer contain undelivered
    /// records.
    #[must_use]
    pub fn undelivered(&self) -> &[Undelivered] {
        &self.0.undelivered
    }

    /// Converts the error into its [undelivered records](Self::undelivered).
    #[must_use]
    pub fn into_undelivered(self) -> Vec<Undelivered> {
        self.0.undelivered
    }

    /// Returns the error for [`FailureReason::NotAccepted`].
    pub(crate) fn attempt_error(&self) -> Arc<AttemptError> {
        match &self.0.cause {
            Cause::Attempt(error) => error.clone(),
            _ => {
                let (code, message) = (format!("{:?}", self.kind()), self.to_string());
                Arc::new(AttemptError { code, message })
            }
        }
    }

    /// Returns the failure reason of the last undelivered record, if any.
    ///
    /// The message of an [`Undelivered`](ErrorKind::Undelivered) error contains this reason.
    #[must_use]
    pub fn reason(&self) -> Option<&FailureReason> {
        let cause = match &self.0.cause {
            Cause::Streams { cause, .. } => cause,
            cause => cause,
        };
        match cause {
            Cause::Failure(reason) => Some(reason),
            _ => self.0.undelivered.last().map(Undelivered::reason),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { kind, stream, count, cause, .. } = &*self.0;
        let stream = Stream(stream.as_ref());
        let records = RecordCount(*count);
        match (kind, cause) {
            (_, Cause::Streams { streams, message, .. }) => {
                write!(f, "{streams} streams failed ({records} affected), one of them: {message}")
            }
            (_, Cause::Record(error)) => error.fmt(f),
            (ErrorKind::RecordTooLarge | ErrorKind::InvalidPartitionKey, _) => {
                f.write_str("record can never be sent")
            }
            (ErrorKind::Full, _) => {
                f.write_str("buffer is full; wait until the sink is ready, or try again later")
            }
            (ErrorKind::Closed, _) => f.write_str("sink is closed; create a new one"),
            (ErrorKind::Refused, Cause::Other(_)) => {
                write!(f, "{stream} refuses all requests ({records} kept); fix the cause and retry")
            }
            (ErrorKind::Refused, _) => {
                write!(f, "{stream} refuses all requests; fix the cause and send the record again")
            }
            (ErrorKind::Undelivered, Cause::Failure(reason)) => {
                write!(f, "{records} failed, take them with `take_failed`; last reason: {reason}")
            }
            (ErrorKind::Undelivered, _) => {
                write!(f, "{records} not delivered")?;
                self.reason().map_or(Ok(()), |reason| write!(f, "; last reason: {reason}"))
            }
            (ErrorKind::Stopped, _) => {
                write!(f, "producer stopped because {stream} refuses all requests; ")?;
                f.write_str("fix the cause and create a new producer (a router does this itself)")
            }
            (ErrorKind::Abandoned, _) => f.write_str(
                "producer's driver was dropped, aborted or panicked; create a new producer",
            ),
            (ErrorKind::Unusable, Cause::Other(error)) => error.fmt(f),
            (ErrorKind::Unusable, _) => write!(f, "{stream} cannot be used"),
            (ErrorKind::Build, Cause::Build(error)) => error.fmt(f),
            (ErrorKind::Build, _) => f.write_str("sink could not be built"),
            (ErrorKind::TooManyStreams, Cause::MaxStreams(max)) => {
                write!(
                    f,
                    "{max} streams are open, the maximum; raise `max_streams`, or try again later"
                )
            }
            (ErrorKind::TooManyStreams, _) => f.write_str("too many streams are open"),
            (ErrorKind::SpoolFull, _) => {
                f.write_str("spool is full; make space on the disk, or send the record again later")
            }
            (ErrorKind::NeedsProducer, _) => f.write_str(
                "sink with a spool cannot be used directly; call `spawn` or `into_producer`",
            ),
        }
    }
}

/// Number of records, displayed with a noun, such as `1 record` or `2 records`.
pub(crate) struct RecordCount<N>(pub(crate) N);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for RecordCount<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} record{}", self.0, if self.0 == N::from(1) { "" } else { "s" })
    }
}

struct Stream<'a>(Option<&'a StreamId>);

impl fmt::Display for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(stream) => write!(f, "stream {}", stream.name()),
            None => f.write_str("the stream"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_chain(self, f)
    }
}

/// Writes an error and its causes in one line.
pub(crate) fn fmt_chain(error: &dyn StdError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.source(self.0.kind)
    }
}

impl Cause {
    fn source(&self, kind: ErrorKind) -> Option<&(dyn StdError + 'static)> {
        match (kind, self) {
            // Skips the cause, because `Display` already shows its message.
            (ErrorKind::Unusable, Self::Other(error)) => error.source(),
            (ErrorKind::Build, Self::Build(error)) => error.source(),
            (_, Self::Attempt(error)) => Some(&**error),
            (_, Self::Other(error)) => Some(&**error),
            (_, Self::Streams { cause, .. }) => cause.source(kind),
            (
                _,
                Self::Failure(_)
                | Self::Record(_)
                | Self::Build(_)
                | Self::MaxStreams(_)
                | Self::None,
            ) => None,
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::new(ErrorKind::Build, Cause::Build(error))
    }
}

impl From<CheckFailure> for Error {
    fn from(failure: CheckFailure) -> Self {
        Self::new(ErrorKind::Unusable, Cause::Other(Box::new(failure)))
    }
}

impl From<Undelivered> for Error {
    fn from(undelivered: Undelivered) -> Self {
        let stream = undelivered.stream().cloned();
        let mut error = Self::new(ErrorKind::Undelivered, Cause::None).with_count(1);
        error.0.stream = stream;
        error.with_undelivered(vec![undelivered])
    }
}
