//! Records that were not delivered.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::Record;
use crate::error::{Error, ErrorKind};
use crate::stream::StreamId;

/// A record that was not delivered, with the reason.
///
/// The sources are the record's [`Receipt`](crate::Receipt), the [dead-letter handler](DeadLetterHandler),
/// [`take_failed`](crate::KinesisSink::take_failed) and [`take_undelivered`](crate::KinesisSink::take_undelivered) of a
/// sink, and [`take_failed`](crate::Producer::take_failed), [`put_all`](crate::Producer::put_all) and the
/// [error](crate::Error::into_undelivered) of [`close`](crate::Producer::close) of a producer.
///
/// It implements [`Error`](std::error::Error), so that `receipt.await?` works.
///
/// # Serialized form
///
/// With the feature `serde` it can be stored and read back, for example as a line of JSON in a dead-letter file. What
/// is read equals what was written, and its [record](Self::into_record) can be sent again. The fields are
///
/// - `record`: the [record](Record#serialized-form);
/// - `stream`: the name or ARN of the stream, by default none;
/// - `reason`: the [`code`](FailureReason::code) of the reason, with its fields or its error if it has any;
/// - `attempts` and `may_have_been_written`;
/// - `history`: the failed attempts, by default none.
///
/// Durations are strings such as `"1m 30s"`. An unknown field is an error, as for a record.
///
/// ```
/// use kinesis_sink::Undelivered;
///
/// # #[cfg(feature = "serde")] {
/// let line = r#"{
///     "record": {"data": "aGk=", "partition_key": {"explicit": "device-7"}},
///     "stream": "clicks",
///     "reason": {"deadline_exceeded": {
///         "deadline": "1m",
///         "last": {"code": "Timeout", "message": "no response within 10s"}
///     }},
///     "attempts": 6,
///     "may_have_been_written": true
/// }"#;
/// let undelivered: Undelivered = serde_json::from_str(line)?;
/// assert_eq!(undelivered.stream().unwrap().name(), "clicks");
/// assert_eq!(undelivered.last_error().unwrap().code(), "Timeout");
///
/// let stored = serde_json::to_string(&undelivered)?;
/// assert_eq!(serde_json::from_str::<Undelivered>(&stored)?, undelivered);
/// # }
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("record was not delivered: {reason}")]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Undelivered {
    pub(crate) record: Record,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) stream: Option<StreamId>,
    pub(crate) reason: FailureReason,
    pub(crate) attempts: u32,
    pub(crate) may_have_been_written: bool,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) history: Box<[Attempt]>,
}

impl fmt::Debug for Undelivered {
    /// Prints the message, and what is known of the record, in one line: `main` may return it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}; attempts: {}", self.attempts)?;
        write!(f, ", may have been written: {}", self.may_have_been_written)?;
        write!(f, ", {:?}", self.record)
    }
}

impl Undelivered {
    /// A record that a producer did not accept, if the error holds one. Its receipt is dropped.
    pub(crate) fn not_accepted(error: Error) -> Option<Self> {
        let (kind, cause, stream) = (error.kind(), error.attempt_error(), error.stream().cloned());
        let mut record = error.into_record()?;
        drop(record.take_tracker());
        let reason = FailureReason::NotAccepted { kind, error: cause };
        let (attempts, may_have_been_written, history) = (0, false, Box::default());
        Some(Self { record, stream, reason, attempts, may_have_been_written, history })
    }

    /// Returns the record as it was accepted.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Converts into the record as it was accepted.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }

    /// Returns the stream of the sink or producer that had the record. `None` for
    /// [`FailureReason::NeverAccepted`].
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.stream.as_ref()
    }

    /// Returns the reason why the record was not delivered.
    #[must_use]
    pub fn reason(&self) -> &FailureReason {
        &self.reason
    }

    /// Returns the number of requests that carried the record.
    ///
    /// Not counted are requests that were not sent (shed by a layer), that the service refused as a whole (no
    /// permission, no such stream, credentials), or that it refused as invalid because of other records.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the error of the last attempt, if an attempt failed.
    #[must_use]
    pub fn last_error(&self) -> Option<&AttemptError> {
        match &self.reason {
            FailureReason::Rejected(error)
            | FailureReason::Refused(error)
            | FailureReason::AttemptsExhausted { last: error, .. } => Some(error),
            FailureReason::DeadlineExceeded { last, .. }
            | FailureReason::Withdrawn { last }
            | FailureReason::Abandoned { last } => last.as_deref(),
            FailureReason::NotAccepted { error, .. } => Some(error),
            FailureReason::NeverAccepted => None,
        }
    }

    /// Returns the failed attempts of a record that had a [receipt](crate::Receipt), the oldest first.
    ///
    /// These are the latest 16, including those that do not count as [`attempts`](Self::attempts). It is empty for a
    /// record without a receipt, of which only the [last error](Self::last_error) is known.
    #[must_use]
    pub fn history(&self) -> &[Attempt] {
        &self.history
    }

    /// Returns whether the stream may contain the record, because the outcome of an attempt is unknown.
    ///
    /// Causes are a timeout, a broken connection, HTTP 5xx, and a record withdrawn or abandoned in flight. Sending the
    /// record again may then write a duplicate.
    #[must_use]
    pub fn may_have_been_written(&self) -> bool {
        self.may_have_been_written
    }
}

/// Reason why a record was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum FailureReason {
    /// The service rejects this record, and retries do not help.
    Rejected(Arc<AttemptError>),
    /// The [limit of attempts](crate::Settings::max_attempts) was reached.
    #[non_exhaustive]
    AttemptsExhausted {
        /// Requests that carried the record.
        attempts: u32,
        /// The error of the last attempt.
        last: Arc<AttemptError>,
    },
    /// The [deadline](crate::Settings::deadline) passed before the record was delivered.
    #[non_exhaustive]
    DeadlineExceeded {
        /// The deadline, counted from the moment the sink accepted the record.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        deadline: Duration,
        /// The error of the last attempt, if an attempt failed.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The service refuses every request, and the [`Producer`](crate::Producer) has stopped, see
    /// [`FatalPolicy`](crate::settings::FatalPolicy).
    Refused(Arc<AttemptError>),
    /// The record was withdrawn before it was settled, by
    /// [`take_undelivered`](crate::KinesisSink::take_undelivered) or
    /// [`close_within`](crate::Producer::close_within).
    #[non_exhaustive]
    Withdrawn {
        /// The error of the last attempt, if an attempt failed.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The sink or the producer's driver was dropped, was aborted or panicked before the record was settled.
    ///
    /// The outcome is unknown if [`may_have_been_written`](Undelivered::may_have_been_written) returns `true`.
    #[non_exhaustive]
    Abandoned {
        /// The error of the last attempt, if an attempt failed.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The producer did not accept the record. Only [`put_all`](crate::Producer::put_all) returns this.
    #[non_exhaustive]
    NotAccepted {
        /// The kind of the producer's error.
        kind: ErrorKind,
        /// That error: what the service answered if it refuses all requests, else what is wrong.
        error: Arc<AttemptError>,
    },
    /// The record was dropped before a sink had accepted it. Only a [receipt](crate::Receipt) returns this.
    NeverAccepted,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(error) => write!(f, "the service rejects the record: {error}"),
            Self::AttemptsExhausted { attempts, last } => {
                write!(f, "not delivered in {attempts} attempts, the last one: {last}")
            }
            Self::DeadlineExceeded { deadline, last } => {
                write!(f, "not delivered within {deadline:?}{}", last_error(last))
            }
            Self::Refused(error) => write!(f, "the stream refuses all requests: {error}"),
            Self::Withdrawn { last } => {
                write!(f, "withdrawn before it was settled{}", last_error(last))
            }
            Self::Abandoned { last } => write!(
                f,
                "its sink ended before it was settled, so its outcome is unknown{}",
                last_error(last)
            ),
            Self::NotAccepted { error, .. } => write!(f, "not accepted: {error}"),
            Self::NeverAccepted => f.write_str("dropped before a sink accepted it"),
        }
    }
}

impl FailureReason {
    /// Returns the code of the reason, for metrics and logs: `rejected`, `attempts_exhausted`, `deadline_exceeded`,
    /// `refused`, `withdrawn`, `abandoned`, `not_accepted` or `never_accepted`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::AttemptsExhausted { .. } => "attempts_exhausted",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::Refused(_) => "refused",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Abandoned { .. } => "abandoned",
            Self::NotAccepted { .. } => "not_accepted",
            Self::NeverAccepted => "never_accepted",
        }
    }
}

fn last_error(last: &Option<Arc<AttemptError>>) -> String {
    last.as_ref().map(|error| format!(", the last attempt: {error}")).unwrap_or_default()
}

/// A failed attempt to deliver a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Attempt {
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(crate) since_accepted: Duration,
    pub(crate) error: Arc<AttemptError>,
}

impl Attempt {
    /// Returns the time from the record's acceptance to the failure of the attempt.
    #[must_use]
    pub fn since_accepted(&self) -> Duration {
        self.since_accepted
    }

    /// Returns the error of the attempt.
    #[must_use]
    pub fn error(&self) -> &AttemptError {
        &self.error
    }
}

/// Error of an attempt to deliver a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct AttemptError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl AttemptError {
    /// Returns the error code of the service, such as `ProvisionedThroughputExceededException`.
    ///
    /// For other errors it is a code of this crate, such as `Timeout`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the message of the service, or the text of the error.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A handler of records that failed for good.
///
/// It is called inside the sink's poll methods, so it must not block. It owns the records that it takes: a handler that
/// panics loses one record. A record that has a receipt goes to the receipt, not to the handler.
///
/// Any `FnMut(Undelivered)` that is `Send` is a handler. So are the senders of tokio's channels: a full or closed
/// channel returns the record, and the sink keeps it.
///
/// # Asynchronous handlers
///
/// A handler is not async. Use a channel as the handler and store the records that it receives in a task:
///
/// ```
/// use kinesis_sink::{KinesisSink, Undelivered};
/// use tokio::sync::mpsc;
///
/// # async fn store(_: &Undelivered) -> std::io::Result<()> { Ok(()) }
/// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let (dead_letters, mut received) = mpsc::channel(1_000);
/// let mut sink = KinesisSink::builder("example")
///     .with_dead_letter_handler(dead_letters)
///     .build(&client)?;
///
/// let storing = tokio::spawn(async move {
///     while let Some(undelivered) = received.recv().await {
///         store(&undelivered).await?; // An async call of the store's.
///     }
///     Ok::<_, std::io::Error>(())
/// });
///
/// // .. send records, then close the sink ..
/// # futures::SinkExt::close(&mut sink).await?;
/// drop(sink); // Closes the channel, so that the task ends once it has stored everything.
/// storing.await??;
/// # Ok(())
/// # }
/// ```
///
/// If the task ends with an error, the channel is closed, and later records stay in the sink.
///
/// # Custom handlers
///
/// ```
/// use kinesis_sink::record::DeadLetterHandler;
/// use kinesis_sink::Undelivered;
///
/// /// Keeps the first hundred and leaves the others to the sink.
/// struct FirstHundred(Vec<Undelivered>);
///
/// impl DeadLetterHandler for FirstHundred {
///     fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
///         if self.0.len() == 100 {
///             return Some(undelivered);
///         }
///         self.0.push(undelivered);
///         None
///     }
/// }
/// ```
pub trait DeadLetterHandler: Send {
    /// Takes a record, or returns it.
    ///
    /// The sink keeps a record that is returned, and reports it as [`ErrorKind::Undelivered`].
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered>;
}

/// A handler that sinks share.
#[derive(Clone)]
pub(crate) struct SharedHandler(Arc<Mutex<dyn DeadLetterHandler>>);

impl SharedHandler {
    pub(crate) fn new(handler: impl DeadLetterHandler + 'static) -> Self {
        Self(Arc::new(Mutex::new(handler)))
    }

    pub(crate) fn put(&self, undelivered: Undelivered) -> Option<Undelivered> {
        // A handler that has panicked is called again with the next record.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(undelivered)
    }
}

impl DeadLetterHandler for mpsc::UnboundedSender<Undelivered> {
    /// Sends the record. Returns it if the channel is closed.
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        self.send(undelivered).err().map(|SendError(undelivered)| undelivered)
    }
}

impl DeadLetterHandler for mpsc::Sender<Undelivered> {
    /// Sends the record. Returns it if the channel is full or closed.
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        self.try_send(undelivered).err().map(TrySendError::into_inner)
    }
}

impl<F: FnMut(Undelivered) + Send> DeadLetterHandler for F {
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        self(undelivered);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undelivered_is_a_small_error() {
        // From 128 bytes on, clippy reports functions of users that return it as an error.
        assert!(size_of::<Undelivered>() < 128, "{}", size_of::<Undelivered>());
    }
}
