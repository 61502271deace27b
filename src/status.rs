//! Status of a sink or a producer.
//!
//! [`KinesisSink::status`](crate::KinesisSink::status) and [`Producer::status`](crate::Producer::status) return a
//! [`Status`]. It contains the number of buffered records, the [totals](Totals), the latest request, and the
//! [`Condition`]. A [`ConditionWatch`] waits for changes of the condition and can be used in any task:
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
#[cfg(feature = "spool")]
use crate::spool::SpoolStatus;
use crate::stream::StreamId;
use crate::watch::LazyWatch;

/// Snapshot of the status of a sink or a producer.
///
/// With the feature `serde`, a status can be serialized, for example for a health endpoint. Durations and times are
/// serialized as seconds.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// Stream to which the records are sent.
    pub stream: StreamId,
    /// Condition of the sink or producer, which shows whether records are delivered.
    pub condition: Condition,
    /// Queued records, including records that wait for a retry.
    pub queued: Buffered,
    /// Records in flight. These include the records of aggregates written to a shard that is not in the shard list yet.
    pub in_flight: Buffered,
    /// Permanently failed records that have not been taken.
    pub failed: Buffered,
    /// Time since the acceptance of the oldest record that is queued or in flight. `None` if no record is queued or in
    /// flight.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub oldest_age: Option<Duration>,
    /// Numbers of records and requests since the sink was built.
    pub totals: Totals,
    /// Last completed request. `None` if no request has completed yet.
    pub last_request: Option<RequestSummary>,
    /// Bounds of the buffer.
    pub capacity: Buffered,
    /// Status of the [spool](crate::SinkBuilder::with_spool). `None` if there is none.
    ///
    /// Requires the feature `spool`.
    #[cfg(feature = "spool")]
    pub spool: Option<SpoolStatus>,
}

impl Status {
    /// Returns `true` if a producer with this status accepts records: the producer is open, its buffer is below its
    /// bounds, and the service does not refuse every request.
    ///
    /// A producer with a spool accepts records as long as the spool has space, even if the service refuses every request.
    ///
    /// A health endpoint can report this value as readiness.
    #[must_use]
    pub fn accepts_records(&self) -> bool {
        #[cfg(feature = "spool")]
        if let Some(spool) = &self.spool {
            let is_open = matches!(
                self.condition,
                Condition::Working | Condition::Failing { .. } | Condition::Refused { .. }
            );
            return is_open && !spool.is_full;
        }
        let buffered = self.buffered();
        let has_capacity =
            buffered.records < self.capacity.records && buffered.bytes < self.capacity.bytes;
        has_capacity && matches!(self.condition, Condition::Working | Condition::Failing { .. })
    }

    /// Returns the number and size of all records that count towards the buffer bounds: queued, in flight and failed.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        let parts = [self.queued, self.in_flight, self.failed];
        Buffered {
            records: parts.iter().map(|part| part.records).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    }
}

/// Number and size of buffered records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Buffered {
    /// Number of records.
    pub records: usize,
    /// Size of the records in bytes, including their partition keys.
    pub bytes: usize,
}

impl From<Size> for Buffered {
    fn from(size: Size) -> Self {
        Self { records: size.records, bytes: size.bytes }
    }
}

/// Condition of a sink or producer: whether it delivers records, and the error if it does not.
///
/// The field `since` does not change while a condition lasts, so two values with the same `since` belong to the same
/// outage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "state", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Condition {
    /// No known errors: the last request succeeded, no request has been sent yet, or no records are waiting to be
    /// retried.
    Working,
    /// The last request failed as a whole, so its records are retried with backoff. The condition ends when a request
    /// succeeds.
    #[non_exhaustive]
    Failing {
        /// Time of the first failed request, from the system clock.
        #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
        since: SystemTime,
        /// Error of the first request that failed with the current error [code](AttemptError::code).
        error: AttemptError,
    },
    /// The service refuses every request because of missing permissions, a missing stream, or invalid credentials.
    /// Retries fail until the cause is fixed.
    #[non_exhaustive]
    Refused {
        /// Time of the first refused request, from the system clock.
        #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
        since: SystemTime,
        /// Error of the first request that was refused with the current error [code](AttemptError::code).
        error: AttemptError,
    },
    /// The producer has stopped because the service refuses every request. See
    /// [`FatalPolicy`](crate::settings::FatalPolicy). This condition is final.
    #[non_exhaustive]
    Stopped {
        /// Error of the refused request.
        error: AttemptError,
    },
    /// The sink or producer accepts no more records, and is delivering the buffered records.
    #[non_exhaustive]
    Closing {
        /// Error of the requests, if they are failing.
        error: Option<AttemptError>,
    },
    /// The sink or producer is closed, and every record is settled.
    Closed,
    /// The sink was dropped, or the producer's driver ended, while records were in the buffer.
    Abandoned,
}

impl Condition {
    /// Returns `true` for [`Working`](Self::Working).
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

    /// Returns the stage: 0 while open, 1 while closing, 2 at the end. A published stage never decreases.
    fn stage(&self) -> u8 {
        match self {
            Self::Working | Self::Failing { .. } | Self::Refused { .. } => 0,
            Self::Closing { .. } => 1,
            Self::Stopped { .. } | Self::Closed | Self::Abandoned => 2,
        }
    }

    fn is_final(&self) -> bool {
        self.stage() == 2
    }
}

/// Watch that waits for changes of the [`Condition`] of a sink or a producer.
///
/// [`KinesisSink::watch`](crate::KinesisSink::watch) and [`Producer::watch`](crate::Producer::watch) return a watch. A
/// watch does not keep its producer open. The condition of a sink changes only while the sink is polled.
#[derive(Debug, Clone)]
pub struct ConditionWatch {
    receiver: watch::Receiver<Condition>,
    /// Condition returned by the last call.
    last: Condition,
}

impl ConditionWatch {
    /// Returns the current condition.
    #[must_use]
    pub fn current(&self) -> Condition {
        self.receiver.borrow().clone()
    }

    /// Waits until the condition changes, and returns the new condition. Returns `None` if the condition can no longer
    /// change.
    ///
    /// The first call compares the condition with the one at the time the watch was created, and each later call with
    /// the one returned by the previous call. If the condition changes several times between two calls, only the latest
    /// condition is returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not lose a change: the next call returns it.
    pub async fn changed(&mut self) -> Option<Condition> {
        let last = self.last.clone();
        self.wait_for(|condition| *condition != last).await
    }

    /// Waits until the condition satisfies `predicate`, and returns the condition. Returns `None` if the final
    /// condition does not satisfy `predicate`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn wait_for(
        &mut self,
        mut predicate: impl FnMut(&Condition) -> bool,
    ) -> Option<Condition> {
        let ends = |condition: &Condition| predicate(condition) || condition.is_final();
        let found = self.receiver.wait_for(ends).await.map(|condition| condition.clone());
        // An error means that the sink was dropped, so the current condition is the last one.
        let condition = found.unwrap_or_else(|_| self.current());
        if !predicate(&condition) {
            return None;
        }
        self.last = condition.clone();
        Some(condition)
    }
}

/// Ongoing failure or refusal of requests.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) is_refused: bool,
    pub(crate) since: Instant,
    pub(crate) error: Arc<AttemptError>,
}

impl Fault {
    /// Returns `true` if both faults are the same. Ignores the error messages, because they can contain a request id.
    fn is_like(&self, other: &Self) -> bool {
        (self.is_refused, self.since, self.error.code())
            == (other.is_refused, other.since, other.error.code())
    }
}

/// Sender that publishes the condition of a sink. Clones publish to the same watches.
#[derive(Debug, Clone)]
pub(crate) struct ConditionSender {
    sender: Arc<LazyWatch<Condition>>,
    /// Last published fault, and its start time on the system clock.
    reported: Option<Box<(Fault, SystemTime)>>,
    is_closing: bool,
}

impl ConditionSender {
    pub(crate) fn new() -> Self {
        let sender = LazyWatch::new(|| Condition::Working);
        Self { sender: Arc::new(sender), reported: None, is_closing: false }
    }

    pub(crate) fn current(&self) -> Condition {
        self.sender.read(Condition::clone)
    }

    pub(crate) fn watch(&self) -> ConditionWatch {
        let receiver = self.sender.subscribe();
        let last = receiver.borrow().clone();
        ConditionWatch { receiver, last }
    }

    /// Publishes the condition that results from `fault` if the condition has changed.
    pub(crate) fn report(&mut self, fault: Option<Fault>, is_closing: bool) {
        let is_same = match (self.reported.as_deref(), &fault) {
            (None, None) => true,
            (Some((before, _)), Some(fault)) => before.is_like(fault),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_same && self.is_closing == is_closing {
            return;
        }
        self.is_closing = is_closing;
        self.reported = fault.map(|fault| {
            // Computed once for each fault, so that `since` does not change while the fault lasts.
            let since = match self.reported.as_deref() {
                Some((before, since)) if before.since == fault.since => *since,
                _ => {
                    let now = tokio::time::Instant::now().into_std();
                    SystemTime::now() - now.saturating_duration_since(fault.since)
                }
            };
            Box::new((fault, since))
        });
        self.set(match self.reported.as_deref() {
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

    /// Publishes a condition unless one of a later stage has already been published.
    pub(crate) fn set(&self, condition: Condition) {
        self.sender.send_if_modified(|current| {
            let stages = (current.stage(), condition.stage());
            let changes = stages.0 <= stages.1 && stages.0 < 2 && *current != condition;
            if changes {
                *current = condition.clone();
            }
            changes
        });
    }
}

#[cfg(feature = "serde")]
pub(crate) fn seconds<S: serde::Serializer>(
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
    /// Number of records in the request.
    pub records: usize,
    /// Number of entries in the request. With aggregation, an entry can contain several records.
    pub entries: usize,
    /// Size of the entries in bytes, including their partition keys.
    pub bytes: usize,
    /// Number of records that the request delivered.
    pub delivered: usize,
    /// Distinct errors of the entries with their counts, or the error of the request if it failed as a whole.
    pub errors: Vec<ErrorCount>,
}

/// Counts of records and requests since a sink was built.
///
/// The count `accepted` is always the sum of `delivered`, `failed`, `withdrawn`, and the number of records that are
/// [queued](Status::queued) or [in flight](Status::in_flight).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Number of accepted records.
    pub accepted: u64,
    /// Number of records that the service has confirmed.
    pub delivered: u64,
    /// Size of the delivered records in bytes, including their partition keys.
    pub delivered_bytes: u64,
    /// Number of entries that contained the delivered records. Each entry is one Kinesis record. Without aggregation,
    /// this is the number of delivered records; with aggregation, it is lower.
    pub entries: u64,
    /// Size of the delivered entries in bytes, including their partition keys.
    pub entry_bytes: u64,
    /// Number of aggregates that were written to the wrong shard for at least one of their records because the stream
    /// was resharded. The KCL discards such aggregates, so the sink has sent their records again.
    pub misplaced: u64,
    /// Number of permanently failed records.
    pub failed: u64,
    /// Number of records that were withdrawn before they were settled, or that were abandoned when the sink was
    /// dropped.
    pub withdrawn: u64,
    /// Number of requests that were sent to the service.
    pub requests: u64,
    /// Number of times that a record was requeued after an attempt.
    pub requeued: u64,
    /// Number of times that an entry was throttled.
    pub throttled: u64,
}

impl Totals {
    /// Returns the number of accepted records that are not settled.
    pub(crate) fn unsettled(&self) -> usize {
        let settled = self.delivered + self.failed + self.withdrawn;
        usize::try_from(self.accepted - settled).unwrap_or(usize::MAX)
    }
}
