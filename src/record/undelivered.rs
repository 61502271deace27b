//! Undelivered records and dead letters.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::Record;
use crate::error::{Error, ErrorKind};
use crate::stream::StreamId;

/// Record that was not delivered, with the reason.
///
/// If the record has a [`Receipt`](crate::Receipt), the receipt completes with this value. If the record has no receipt
/// and has failed permanently, the value is passed to the [dead-letter handler](DeadLetterHandler), if one is set.
/// Otherwise it is returned by
///
/// - [`take_failed`](crate::KinesisSink::take_failed) and
///   [`take_undelivered`](crate::KinesisSink::take_undelivered) of a sink;
/// - [`take_failed`](crate::Producer::take_failed) and [`put_all`](crate::Producer::put_all) of a producer;
/// - the [error](crate::Error::into_undelivered) of [`close`](crate::Producer::close).
///
/// This type implements [`Error`](std::error::Error), so that `?` can be used on `receipt.await`.
///
/// # Serialized form
///
/// With the feature `serde`, an undelivered record can be serialized and deserialized, for example as a line of JSON in
/// a dead-letter file. All fields are serialized, so that the deserialized [record](Self::into_record) can be sent
/// again. The fields are
///
/// - `record`: the [record](Record#serialized-form);
/// - `stream`: the name or ARN of the stream. Default: none;
/// - `reason`: the [`code`](FailureReason::code) of the reason, with its fields or its error, if any;
/// - `attempts`: the [number of attempts](Self::attempts);
/// - `may_have_been_written`: the value of [`may_have_been_written`](Self::may_have_been_written);
/// - `history`: the failed [attempts](Self::history). Default: none.
///
/// Durations are strings such as `"1m 30s"`. An unknown field is an error.
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
    /// Formats the message and the sizes of the record on one line, so that an error returned from `main` is readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}; attempts: {}", self.attempts)?;
        write!(f, ", may have been written: {}", self.may_have_been_written)?;
        write!(f, ", {:?}", self.record)
    }
}

impl Undelivered {
    /// Creates an undelivered record from the error of a producer that did not accept the record, and removes the
    /// receipt of the record. Returns `None` if the error contains no record.
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

    /// Creates an undelivered record that has not been sent.
    #[cfg(feature = "spool")]
    pub(crate) fn unsent(record: Record, stream: StreamId, reason: FailureReason) -> Self {
        Self {
            record,
            stream: Some(stream),
            reason,
            attempts: 0,
            may_have_been_written: false,
            history: Box::default(),
        }
    }

    /// Returns the record, unchanged since it was accepted.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Converts the undelivered record into the record, unchanged since it was accepted.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }

    /// Returns the stream to which the sink or producer sends, or `None` if the reason is [`FailureReason::Dropped`].
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.stream.as_ref()
    }

    /// Returns the reason why the record was not delivered.
    #[must_use]
    pub fn reason(&self) -> &FailureReason {
        &self.reason
    }

    /// Returns the number of requests that contained the record.
    ///
    /// A request is not counted if
    ///
    /// - a layer shed the request;
    /// - the service refused the whole request because of permissions, credentials or a missing stream;
    /// - the service rejected the request as invalid because of another record.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the error of the last failed attempt, if any.
    #[must_use]
    pub fn last_error(&self) -> Option<&AttemptError> {
        match &self.reason {
            FailureReason::Rejected(error)
            | FailureReason::Refused(error)
            | FailureReason::AttemptsExhausted { last: error, .. } => Some(error),
            FailureReason::DeadlineExceeded { last, .. }
            | FailureReason::Withdrawn { last }
            | FailureReason::Abandoned { last }
            | FailureReason::Spooled { last } => last.as_deref(),
            FailureReason::NotAccepted { error, .. } => Some(error),
            FailureReason::Dropped | FailureReason::SpoolFull | FailureReason::SpoolDamaged => None,
        }
    }

    /// Returns the failed attempts of a record that has a [receipt](crate::Receipt), oldest first.
    ///
    /// The history contains the latest 16 failed attempts, including those that [`attempts`](Self::attempts) does not
    /// count. For a record without a receipt, the history is empty, because only the [last error](Self::last_error) is
    /// stored.
    #[must_use]
    pub fn history(&self) -> &[Attempt] {
        &self.history
    }

    /// Returns `true` if the record might be in the stream, because the outcome of an attempt is unknown.
    ///
    /// The outcome is unknown after a timeout, a broken connection or an HTTP 5xx response, and if the record was
    /// withdrawn or abandoned while it was in flight. In these cases, sending the record again can write a duplicate.
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
    /// The [maximum number of attempts](crate::Settings::max_attempts) was reached.
    #[non_exhaustive]
    AttemptsExhausted {
        /// Number of requests that contained the record.
        attempts: u32,
        /// Error of the last attempt.
        last: Arc<AttemptError>,
    },
    /// The [deadline](crate::Settings::deadline) passed before the record was delivered.
    #[non_exhaustive]
    DeadlineExceeded {
        /// Deadline, measured from the acceptance of the record.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        deadline: Duration,
        /// Error of the last failed attempt, if any.
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
        /// Error of the last failed attempt, if any.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The sink or the driver of the producer was dropped, was aborted, or panicked before the record was settled.
    ///
    /// If [`may_have_been_written`](Undelivered::may_have_been_written) returns `true`, it is unknown whether the
    /// record was written.
    #[non_exhaustive]
    Abandoned {
        /// Error of the last failed attempt, if any.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The producer did not accept the record. Only [`put_all`](crate::Producer::put_all) returns this reason.
    #[non_exhaustive]
    NotAccepted {
        /// Kind of the producer's error.
        kind: ErrorKind,
        /// Error of the service if the service refuses all requests, otherwise the error of the producer.
        error: Arc<AttemptError>,
    },
    /// The producer has ended, and the record stays in its spool. The next sink with
    /// this spool sends it, so it must not be sent again by the application.
    ///
    /// The data and keys of a record that was only on disk are not read for this. Its [record](Undelivered::record) is
    /// empty.
    #[non_exhaustive]
    Spooled {
        /// Error of the last failed attempt, if any.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The spool was full, and drops the oldest records.
    SpoolFull,
    /// The record cannot be read, because its place in the spool is damaged. Its
    /// [record](Undelivered::record) is empty. Only a [receipt](crate::Receipt) returns this reason.
    SpoolDamaged,
    /// The record was dropped before a sink accepted it. Only a [receipt](crate::Receipt) returns this reason.
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
            Self::Spooled { last } => {
                write!(
                    f,
                    "stays in the spool, and is sent after the next start{}",
                    last_error(last)
                )
            }
            Self::SpoolFull => f.write_str("the spool is full, and drops the oldest records"),
            Self::SpoolDamaged => f.write_str("the spool is damaged at the place of the record"),
            Self::NotAccepted { error, .. } => write!(f, "not accepted: {error}"),
            Self::Dropped => f.write_str("dropped before a sink accepted it"),
        }
    }
}

impl FailureReason {
    /// Returns a code for the reason that can be used in metrics and logs.
    ///
    /// The code is `rejected`, `attempts_exhausted`, `deadline_exceeded`, `refused`, `withdrawn`, `abandoned`,
    /// `not_accepted`, `dropped`, `spooled`, `spool_full`, or `spool_damaged`.
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
            Self::Spooled { .. } => "spooled",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
        }
    }
}

fn last_error(last: &Option<Arc<AttemptError>>) -> String {
    last.as_ref().map(|error| format!(", the last attempt: {error}")).unwrap_or_default()
}

/// Failed attempt to deliver a record.
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
    /// Returns the time from the acceptance of the record to the failure of the attempt.
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
    /// Returns the error code: a code of the service, such as `ProvisionedThroughputExceededException`, or a code of
    /// this crate, such as `Timeout`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the error message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Handler for permanently failed records.
///
/// The sink calls the handler in its poll methods, so the handler must not block. If the handler panics, the record
/// passed to it is lost. Records that have a receipt are not passed to the handler, because their receipts return them.
///
/// Any `FnMut(Undelivered)` that is `Send` is a handler. The senders of tokio's channels are handlers as well: if the
/// channel is full or closed, the record is returned and stays in the sink.
///
/// # Asynchronous handlers
///
/// A handler cannot be async. To do asynchronous work, use a channel sender as the handler, and receive the records in
/// a task:
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
/// If the task ends with an error, the channel is closed, and records that fail later stay in the sink.
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
    /// Handles a failed record. Returns `None` if the handler takes the record, or the record if the sink must keep it.
    ///
    /// A sink that keeps a record reports [`ErrorKind::Undelivered`].
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered>;
}

/// Dead-letter handler shared by several sinks.
#[derive(Clone)]
pub(crate) struct SharedHandler(Arc<Mutex<dyn DeadLetterHandler>>);

impl SharedHandler {
    pub(crate) fn new(handler: impl DeadLetterHandler + 'static) -> Self {
        Self(Arc::new(Mutex::new(handler)))
    }

    pub(crate) fn put(&self, undelivered: Undelivered) -> Option<Undelivered> {
        // A poisoned lock is ignored, because a handler is called again after a panic.
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
    fn undelivered_is_smaller_than_128_bytes() {
        // Limit of clippy::result_large_err.
        assert!(size_of::<Undelivered>() < 128, "{}", size_of::<Undelivered>());
    }
}
