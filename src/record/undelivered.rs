//! Records that were accepted and did not arrive.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::Record;
use crate::error::{Error, ErrorKind};
use crate::stream::StreamId;

/// An accepted record that was not delivered, with the reason.
///
/// It comes out of the record's [`Receipt`](crate::Receipt), the dead-letter handler,
/// [`take_failed`](crate::KinesisSink::take_failed) or
/// [`take_undelivered`](crate::KinesisSink::take_undelivered) of the sink, and
/// [`take_failed`](crate::Producer::take_failed) of a producer, or the [`Error`](crate::Error::into_undelivered) of its
/// `close`.
///
/// It is an error too, so that `receipt.await?` reads well.
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
        let (kind, message, stream) = (error.kind(), error.to_string(), error.stream().cloned());
        let message = message.into_boxed_str();
        let mut record = error.into_record()?;
        drop(record.take_tracker());
        let reason = FailureReason::NotAccepted { kind, message };
        let (attempts, may_have_been_written, history) = (0, false, Box::default());
        Some(Self { record, stream, reason, attempts, may_have_been_written, history })
    }

    /// The record as it was accepted.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record as it was accepted.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }

    /// The stream of the sink that had accepted the record. `None` if no sink had, which is
    /// [`FailureReason::NeverAccepted`].
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.stream.as_ref()
    }

    /// Why it was given up.
    #[must_use]
    pub fn reason(&self) -> &FailureReason {
        &self.reason
    }

    /// The number of requests that carried the record. Not counted are requests that were never sent (shed by a
    /// layer), that the service refused as a whole (no permission, no such stream, credentials), or that it refused as
    /// invalid because of other records.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How the last of its attempts failed, if one did.
    #[must_use]
    pub fn last_error(&self) -> Option<&AttemptError> {
        match &self.reason {
            FailureReason::Rejected(error)
            | FailureReason::Refused(error)
            | FailureReason::AttemptsExhausted { last: error, .. } => Some(error),
            FailureReason::DeadlineExceeded { last, .. }
            | FailureReason::Withdrawn { last }
            | FailureReason::Abandoned { last } => last.as_deref(),
            FailureReason::NotAccepted { .. } | FailureReason::NeverAccepted => None,
        }
    }

    /// How its attempts failed, the oldest first, those that do not count as
    /// [`attempts`](Self::attempts) included. At most the latest 16, and only of a record with a
    /// [receipt](crate::Receipt); of others only the [last](Self::last_error) is known.
    #[must_use]
    pub fn history(&self) -> &[Attempt] {
        &self.history
    }

    /// Whether the stream may contain the record, because the outcome of an attempt is unknown: a time-out, a broken
    /// connection, a request taken back or abandoned in flight. Sending the record again may then make a duplicate.
    #[must_use]
    pub fn may_have_been_written(&self) -> bool {
        self.may_have_been_written
    }
}

/// Why a record was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum FailureReason {
    /// The service refuses this record, and would again.
    Rejected(Arc<AttemptError>),
    /// The limit for attempts was reached.
    #[non_exhaustive]
    AttemptsExhausted {
        /// Requests that carried the record.
        attempts: u32,
        /// How the last of them failed.
        last: Arc<AttemptError>,
    },
    /// The deadline passed while the record waited.
    #[non_exhaustive]
    DeadlineExceeded {
        /// The deadline, counted from the moment the sink accepted the record.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        deadline: Duration,
        /// How its last attempt failed, if one did.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// The service refuses every request to the stream, and a [`Producer`](crate::Producer) that stops
    /// then handed its records back, see [`FatalPolicy`](crate::settings::FatalPolicy).
    Refused(Arc<AttemptError>),
    /// Its owner took it back before it was settled.
    #[non_exhaustive]
    Withdrawn {
        /// How its last attempt failed, if one did.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// What held it (a sink, the driver of a producer) ended before it was settled: it was dropped,
    /// aborted, or it panicked. The outcome is unknown if
    /// [`may_have_been_written`](Undelivered::may_have_been_written) says so.
    #[non_exhaustive]
    Abandoned {
        /// How its last attempt failed, if one did.
        #[cfg_attr(feature = "serde", serde(default))]
        last: Option<Arc<AttemptError>>,
    },
    /// A producer did not accept it, see [`Producer::put_all`](crate::Producer::put_all).
    #[non_exhaustive]
    NotAccepted {
        /// The kind of the error with which it was not accepted.
        kind: ErrorKind,
        /// The message of that error.
        message: Box<str>,
    },
    /// It was dropped before a sink had accepted it.
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
            Self::NotAccepted { message, .. } => write!(f, "not accepted: {message}"),
            Self::NeverAccepted => f.write_str("dropped before a sink accepted it"),
        }
    }
}

impl FailureReason {
    /// A word for it, for metrics and logs: `rejected`, `attempts_exhausted`, `deadline_exceeded`, `refused`,
    /// `withdrawn`, `abandoned`, `not_accepted` or `never_accepted`.
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

/// One failed attempt to deliver a record.
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
    /// When it failed: this long after the sink had accepted the record.
    #[must_use]
    pub fn since_accepted(&self) -> Duration {
        self.since_accepted
    }

    /// How it failed.
    #[must_use]
    pub fn error(&self) -> &AttemptError {
        &self.error
    }
}

/// How one attempt to deliver a record failed.
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
    /// The service's error code, such as `ProvisionedThroughputExceededException`; for errors that are
    /// not the service's, a word of this crate's such as `Timeout`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The service's message, or the error's text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A handler of records that failed for good.
///
/// It is called inside the sink's poll methods, so it must not block. A record that it takes belongs to it: a handler
/// that panics loses that record, and no other.
///
/// Any `FnMut(Undelivered)` that is `Send` is a handler. So are the senders of tokio's channels: a full or closed
/// channel returns the record, and the sink keeps it.
///
/// # A store that has to be awaited
///
/// A handler is not async. Use a channel as the handler and store what it receives in a task:
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
/// # A handler of another type
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
    /// Takes a record, or returns it: then the sink keeps it and reports it as an error.
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
