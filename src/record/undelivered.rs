//! Undelivered records and dead letters.

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
/// It is returned by the [`Receipt`](crate::Receipt) of the record and passed to the
/// [dead-letter handler](DeadLetterHandler). A sink returns it from [`take_failed`](crate::KinesisSink::take_failed)
/// and [`take_undelivered`](crate::KinesisSink::take_undelivered), a producer from
/// [`take_failed`](crate::Producer::take_failed), [`put_all`](crate::Producer::put_all), and the
/// [error](crate::Error::into_undelivered) of [`close`](crate::Producer::close).
///
/// It implements [`Error`](std::error::Error), so `receipt.await?` works.
///
/// # Serialized form
///
/// With the feature `serde`, it can be serialized and deserialized, for example as a line of JSON in a dead-letter
/// file. No field is lost, and the [record](Self::into_record) can be sent again. The fields are
///
/// - `record`: the [record](Record#serialized-form);
/// - `stream`: the name or ARN of the stream. Default: none;
/// - `reason`: the [`code`](FailureReason::code) of the reason, with its fields or its error, if any;
/// - `attempts` and `may_have_been_written`;
/// - `history`: the failed attempts. Default: none.
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
    /// Shows the message and the sizes of the record in one line, since `main` may return it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}; attempts: {}", self.attempts)?;
        write!(f, ", may have been written: {}", self.may_have_been_written)?;
        write!(f, ", {:?}", self.record)
    }
}

impl Undelivered {
    /// Creates it from the error of a producer that did not accept a record. The receipt of the record is dropped.
    /// Returns `None` if the error contains no record.
    pub(crate) fn not_accepted(error: Error) -> Option<Self> {
        let kind = error.kind();
        let cause = error.attempt_error();
        let stream = error.stream().cloned();
        let mut record = error.into_record()?;
        drop(record.take_tracker());
        let reason = FailureReason::NotAccepted { kind, error: cause };
        Some(Self {
            record,
            stream,
            reason,
            attempts: 0,
            may_have_been_written: false,
            history: Box::default(),
        })
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

    /// Returns the stream of the sink or producer, or `None` for [`FailureReason::Dropped`].
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
    /// A request is not counted if a layer shed it, if the service refused it as a whole (permissions, credentials, no
    /// such stream), or if the service rejected it as invalid because of another record.
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
            FailureReason::Dropped => None,
        }
    }

    /// Returns the failed attempts of a record with a [receipt](crate::Receipt), the oldest first.
    ///
    /// It contains the latest 16 attempts, including those that are not counted as [`attempts`](Self::attempts). It is
    /// empty for a record without a receipt, which has only a [last error](Self::last_error).
    #[must_use]
    pub fn history(&self) -> &[Attempt] {
        &self.history
    }

    /// Returns `true` if the stream may contain the record, because the outcome of an attempt is unknown.
    ///
    /// Causes are a timeout, a broken connection, HTTP 5xx, and a record that was withdrawn or abandoned in flight.
    /// Sending the record again may then write a duplicate.
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
    /// The service rejected this record permanently.
    Rejected(Arc<AttemptError>),
    /// The [limit of attempts](crate::Settings::max_attempts) was reached.
    #[non_exhaustive]
    AttemptsExhausted {
        /// Number of requests that carried the record.
        attempts: u32,
        /// The error of the last attempt.
        last: Arc<AttemptError>,
    },
    /// The [deadline](crate::Settings::deadline) passed before the record was delivered.
    #[non_exhaustive]
    DeadlineExceeded {
        /// The deadline, counted from the acceptance of the record.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        deadline: Duration,
        /// The error of the last attempt, if an attempt failed.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The service refuses all requests, and the [`Producer`](crate::Producer) has stopped. See
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
    /// The sink or the driver of the producer was dropped, was aborted, or panicked before the record was settled.
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
        /// The error of the service if it refuses all requests, otherwise the producer's error.
        error: Arc<AttemptError>,
    },
    /// The record was dropped before a sink accepted it. Only a [receipt](crate::Receipt) returns this.
    Dropped,
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
            Self::Abandoned { last } => {
                write!(f, "sink or driver ended before it was settled{}", last_error(last))
            }
            Self::NotAccepted { error, .. } => write!(f, "not accepted: {error}"),
            Self::Dropped => f.write_str("dropped before a sink accepted it"),
        }
    }
}

impl FailureReason {
    /// Returns the code of the reason, for metrics and logs: `rejected`, `attempts_exhausted`, `deadline_exceeded`,
    /// `refused`, `withdrawn`, `abandoned`, `not_accepted`, or `dropped`.
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
            Self::Dropped => "dropped",
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
    /// Returns the error code of the service, such as `ProvisionedThroughputExceededException`, or a code of this
    /// crate, such as `Timeout`.
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

/// A handler of records that failed permanently.
///
/// It is called in the poll methods of the sink, so it must not block. If it panics, the record that was passed to it
/// is lost. A record with a receipt is returned by the receipt and not passed to the handler.
///
/// Any `FnMut(Undelivered)` that is `Send` is a handler. The senders of tokio's channels are handlers as well: a full
/// or closed channel returns the record, and the sink keeps it.
///
/// # Asynchronous handlers
///
/// A handler is not async. Use a channel as the handler, and store the received records in a task:
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
///         store(&undelivered).await?; // An async call.
///     }
///     Ok::<_, std::io::Error>(())
/// });
///
/// // .. send records, then close the sink ..
/// # futures::SinkExt::close(&mut sink).await?;
/// drop(sink); // Closes the channel, so that the task ends after the last record.
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
/// /// Takes the first hundred records and leaves the others in the sink.
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

/// A handler that several sinks share.
#[derive(Clone)]
pub(crate) struct SharedHandler(Arc<Mutex<dyn DeadLetterHandler>>);

impl SharedHandler {
    pub(crate) fn new(handler: impl DeadLetterHandler + 'static) -> Self {
        Self(Arc::new(Mutex::new(handler)))
    }

    pub(crate) fn put(&self, undelivered: Undelivered) -> Option<Undelivered> {
        // A handler is called again after a panic.
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
        // Limit of clippy::result_large_err.
        assert!(size_of::<Undelivered>() < 128, "{}", size_of::<Undelivered>());
    }
}
