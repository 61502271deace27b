//! Status of a sink or a producer.
//!
//! [`KinesisSink::status`](crate::KinesisSink::status) and [`Producer::status`](crate::Producer::status) return a
//! [`Status`]: the records buffered, [totals](Totals), the latest request, and the [`Condition`]. A
//! [`ConditionWatch`] waits for changes of the condition, from any task:
//!
//! ```
//! use kinesis_sink::status::{Condition, ConditionWatch};
//!
//! async fn log_changes(mut watch: ConditionWatch) {
//!     while let Some(condition) = watch.changed().await {
//!         match condition {
//!             Condition::Working => println!("records are delivered"),
//!             Condition::Failing { error, .. } => println!("requests fail: {error}"),
//!             other => println!("{other:?}"),
//!         }
//!     }
//! }
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::pipeline::Size;
use crate::record::AttemptError;
use crate::service::ErrorCount;
use crate::stream::StreamId;

/// Status of a sink or a producer at one moment.
///
/// With the feature `serde` it can be serialized, for example for a health endpoint. Times are seconds.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The stream.
    pub stream: StreamId,
    /// Whether records are delivered at present.
    pub condition: Condition,
    /// Records that are queued, including those that are retried.
    pub queued: Buffered,
    /// Records that are in flight, including those whose response names a shard that is not listed yet.
    pub in_flight: Buffered,
    /// Records that failed for good and are kept until they are taken.
    pub failed: Buffered,
    /// The time since the oldest record that is queued or in flight was accepted. `None` if there is none.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub oldest_age: Option<Duration>,
    /// Counts since the sink was built.
    pub totals: Totals,
    /// The latest request that completed. `None` before the first one.
    pub last_request: Option<RequestSummary>,
    /// The bounds of the buffer.
    pub capacity: Buffered,
}

impl Status {
    /// Returns whether a producer accepts a record now: nothing refuses it, and there is room in the buffer.
    ///
    /// A health endpoint that reports this is unavailable as long as new records are.
    #[must_use]
    pub fn accepts_records(&self) -> bool {
        let buffered = self.buffered();
        let has_room =
            buffered.records < self.capacity.records && buffered.bytes < self.capacity.bytes;
        has_room && matches!(self.condition, Condition::Working | Condition::Failing { .. })
    }

    /// Returns everything that counts towards the bounds of the buffer: queued, in flight and failed.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        let parts = [self.queued, self.in_flight, self.failed];
        Buffered {
            records: parts.iter().map(|part| part.records).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    }
}

/// Number and size of records in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Buffered {
    /// The number of records.
    pub records: usize,
    /// The bytes of their data and partition keys.
    pub bytes: usize,
}

impl From<Size> for Buffered {
    fn from(size: Size) -> Self {
        Self { records: size.records, bytes: size.bytes }
    }
}

/// Whether a sink delivers records, and if not, why.
///
/// Equal values describe the same condition: `since` does not change while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "state", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Condition {
    /// Nothing is known to be wrong: the latest request succeeded, none was sent, or no record is left of those whose
    /// requests failed.
    Working,
    /// The latest request failed as a whole, and its records are retried with backoff. The next success ends the
    /// condition.
    #[non_exhaustive]
    Failing {
        /// When the first request failed, by the system's clock.
        #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
        since: SystemTime,
        /// The error of the first request that failed with the present [code](AttemptError::code).
        error: AttemptError,
    },
    /// The service refuses every request, and retries do not help until something outside changes: permissions, the
    /// stream, credentials.
    #[non_exhaustive]
    Refused {
        /// When the first request was refused, by the system's clock.
        #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
        since: SystemTime,
        /// The error of the first request refused with the present [code](AttemptError::code).
        error: AttemptError,
    },
    /// The producer has stopped for good, because the service refuses every request, see
    /// [`FatalPolicy`](crate::settings::FatalPolicy).
    #[non_exhaustive]
    Stopped {
        /// The error of the refused request.
        error: AttemptError,
    },
    /// No more records are accepted, and those in the buffer are being delivered.
    #[non_exhaustive]
    Closing {
        /// The error of the requests, while they fail.
        error: Option<AttemptError>,
    },
    /// Closed, with every record settled.
    Closed,
    /// The sink was dropped, or the producer's driver has ended, with records in the buffer.
    Abandoned,
}

impl Condition {
    /// Returns whether nothing is known to be wrong: [`Working`](Self::Working).
    #[must_use]
    pub fn is_working(&self) -> bool {
        matches!(self, Self::Working)
    }

    /// Returns the error, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&AttemptError> {
        match self {
            Self::Failing { error, .. } | Self::Refused { error, .. } | Self::Stopped { error } => {
                Some(error)
            }
            Self::Closing { error } => error.as_ref(),
            Self::Working | Self::Closed | Self::Abandoned => None,
        }
    }

    /// Conditions of a greater stage follow those of a smaller one, and never the other way round.
    fn stage(&self) -> u8 {
        match self {
            Self::Working | Self::Failing { .. } | Self::Refused { .. } => 0,
            Self::Closing { .. } => 1,
            Self::Stopped { .. } | Self::Closed | Self::Abandoned => 2,
        }
    }

    /// Whether nothing follows.
    fn is_final(&self) -> bool {
        self.stage() == 2
    }
}

/// Waits for changes of the [`Condition`] of a sink or a producer.
///
/// [`KinesisSink::watch`](crate::KinesisSink::watch) and [`Producer::watch`](crate::Producer::watch) return it. It does
/// not keep a producer open. The condition of a sink changes only while the sink is polled.
#[derive(Debug, Clone)]
pub struct ConditionWatch {
    receiver: watch::Receiver<Condition>,
    /// What was returned last.
    last: Condition,
}

impl ConditionWatch {
    /// Returns the present condition.
    #[must_use]
    pub fn current(&self) -> Condition {
        self.receiver.borrow().clone()
    }

    /// Waits until the condition differs from the one that was returned last, or from that at the creation of the
    /// watch. Several changes between two calls are merged. Returns `None` once nothing can change any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change: the next call returns it.
    pub async fn changed(&mut self) -> Option<Condition> {
        let last = self.last.clone();
        self.wait_for(|condition| *condition != last).await
    }

    /// Waits until the condition satisfies `predicate`, and returns it. Returns `None` if it does not and nothing can
    /// change any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for(
        &mut self,
        mut predicate: impl FnMut(&Condition) -> bool,
    ) -> Option<Condition> {
        let ends = |condition: &Condition| predicate(condition) || condition.is_final();
        let found = self.receiver.wait_for(ends).await.map(|condition| condition.clone());
        // An error means that the sink is gone, with this condition.
        let condition = found.unwrap_or_else(|_| self.current());
        if !predicate(&condition) {
            return None;
        }
        self.last = condition.clone();
        Some(condition)
    }
}

/// Why requests fail or are refused: since when, and the latest error.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) is_refused: bool,
    pub(crate) since: Instant,
    pub(crate) error: Arc<AttemptError>,
}

impl Fault {
    /// Whether both are the same to a user. Messages may differ in the id of a request.
    fn is_like(&self, other: &Self) -> bool {
        (self.is_refused, self.since, self.error.code())
            == (other.is_refused, other.since, other.error.code())
    }
}

/// Publishes the condition of a sink. Clones publish to the same watches.
#[derive(Debug, Clone)]
pub(crate) struct ConditionSender {
    sender: watch::Sender<Condition>,
    /// What was published last through [`report`](Self::report), and when the fault began by the system's clock.
    reported: Option<(Fault, SystemTime)>,
    is_closing: bool,
}

impl ConditionSender {
    pub(crate) fn new() -> Self {
        let sender = watch::Sender::new(Condition::Working);
        Self { sender, reported: None, is_closing: false }
    }

    pub(crate) fn current(&self) -> Condition {
        self.sender.borrow().clone()
    }

    pub(crate) fn watch(&self) -> ConditionWatch {
        let receiver = self.sender.subscribe();
        let last = receiver.borrow().clone();
        ConditionWatch { receiver, last }
    }

    /// Publishes whether there is a fault, if that has changed.
    pub(crate) fn report(&mut self, fault: Option<Fault>, is_closing: bool) {
        let is_same = match (&self.reported, &fault) {
            (None, None) => true,
            (Some((before, _)), Some(fault)) => before.is_like(fault),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_same && self.is_closing == is_closing {
            return;
        }
        self.is_closing = is_closing;
        self.reported = fault.map(|fault| {
            // Computed once for each fault, so that the value stays the same while it lasts.
            let since = match &self.reported {
                Some((before, since)) if before.since == fault.since => *since,
                _ => {
                    let now = tokio::time::Instant::now().into_std();
                    SystemTime::now() - now.saturating_duration_since(fault.since)
                }
            };
            (fault, since)
        });
        self.set(match &self.reported {
            fault if is_closing => {
                let error = fault.as_ref().map(|(fault, _)| AttemptError::clone(&fault.error));
                Condition::Closing { error }
            }
            None => Condition::Working,
            Some((Fault { is_refused, error, .. }, since)) => {
                let (since, error) = (*since, AttemptError::clone(error));
                if *is_refused {
                    Condition::Refused { since, error }
                } else {
                    Condition::Failing { since, error }
                }
            }
        });
    }

    /// Publishes a condition, unless a later stage was published before.
    pub(crate) fn set(&self, condition: Condition) {
        self.sender.send_if_modified(|current| {
            let stages = (current.stage(), condition.stage());
            let changes = stages.0 <= stages.1 && stages.0 < 2 && *current != condition;
            if changes {
                *current = condition;
            }
            changes
        });
    }
}

#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&duration.map(|duration| duration.as_secs_f64()), serializer)
}

#[cfg(feature = "serde")]
fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_f64(since_epoch.as_secs_f64())
}

/// Size and outcome of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestSummary {
    /// Records that it carried.
    pub records: usize,
    /// Entries that it carried: with aggregation fewer than records.
    pub entries: usize,
    /// Bytes of its entries: data and partition keys.
    pub bytes: usize,
    /// Records that were delivered.
    pub delivered: usize,
    /// The distinct errors of the entries, or the error of a request that failed as a whole.
    pub errors: Vec<ErrorCount>,
}

/// Counts of records and requests since a sink was built.
///
/// At every moment `accepted` is the sum of `delivered`, `failed`, `withdrawn` and the records that are
/// [queued](Status::queued) or [in flight](Status::in_flight).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Records that were accepted.
    pub accepted: u64,
    /// Records that the service confirmed.
    pub delivered: u64,
    /// Bytes of the records delivered: data and partition keys.
    pub delivered_bytes: u64,
    /// Entries that carried the records delivered. Each is one Kinesis record: with aggregation there are fewer
    /// entries than records, otherwise as many.
    pub entries: u64,
    /// Bytes of the entries delivered: data and partition keys.
    pub entry_bytes: u64,
    /// Aggregates that were written to a shard that is not the shard of all their records, because the stream was
    /// resharded. The KCL discards them, and their records were sent again.
    pub misplaced: u64,
    /// Records that failed for good.
    pub failed: u64,
    /// Records that were withdrawn before they were settled, or abandoned with their sink.
    pub withdrawn: u64,
    /// Requests that were handed to the service.
    pub requests: u64,
    /// Number of times that a record was requeued after an attempt.
    pub requeued: u64,
    /// Number of times that an entry was throttled.
    pub throttled: u64,
}

impl Totals {
    /// Records that are accepted and not settled.
    pub(crate) fn unsettled(&self) -> usize {
        let settled = self.delivered + self.failed + self.withdrawn;
        usize::try_from(self.accepted - settled).unwrap_or(usize::MAX)
    }
}
