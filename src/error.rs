//! What the sink reports to its caller.

use std::sync::Arc;

use tower::BoxError;

use crate::limits::RecordError;
use crate::record::{AttemptError, FailureReason, Record};
use crate::stream::StreamId;

/// What comes out of the [poll methods](crate::KinesisSink#the-poll-methods) and of `start_send`, of a sink
/// and of a producer.
///
/// None of them loses a record: an error tells what happened, and the records are where the variant says.
/// None but `Stopped`, `Abandoned` and `Closed` is an end: the next call goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// `start_send` did not take the record, which is inside; the sink stays usable.
    #[error("the record was not accepted")]
    NotAccepted(#[from] NotAccepted),

    /// The service refuses every request, and trying again does not help until something outside
    /// changes: no permission, no such stream, no credentials. All records stay in the sink, in
    /// order, and the next poll tries again after a back-off; a producer tries again by itself.
    #[error("stream {stream} takes no requests; {kept} records are kept in the sink")]
    Request {
        /// The stream.
        stream: StreamId,
        /// Records accepted and not settled.
        kept: usize,
        /// What the service, or a layer, said.
        source: BoxError,
    },

    /// Records failed for good and no dead-letter handler took them. The sink keeps them until
    /// [`take_failed`](crate::KinesisSink::take_failed); they count towards its bounds.
    #[error("{count} records failed for good and are kept in the sink: {reason}")]
    Undelivered {
        /// Records that the sink keeps because they failed.
        count: usize,
        /// Why the latest of them failed.
        reason: FailureReason,
    },

    /// A [`Producer`](crate::Producer) has stopped, because the service refuses every request and its
    /// [policy](crate::FatalPolicy) is to stop then.
    #[error(
        "the producer has stopped, because stream {stream} takes no requests: check its name and \
         region, the credentials and their permissions, then build a new producer"
    )]
    Stopped {
        /// The stream.
        stream: StreamId,
        /// What the service, or a layer, said.
        source: Arc<AttemptError>,
    },

    /// The driver of a [`Producer`](crate::Producer) ended before it was done: it was dropped or
    /// aborted, it panicked, or its runtime was shut down.
    #[error(
        "the producer's driver has ended (dropped, aborted, or it panicked), so nothing is sent any \
         more: find out why, and build a new producer"
    )]
    Abandoned,

    /// The sink was closed.
    #[error("the sink is closed")]
    Closed,
}

impl SinkError {
    /// The record that was not accepted, if this is about one.
    #[must_use]
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::NotAccepted(refused) => Some(refused.into_record()),
            _ => None,
        }
    }
}

/// A record that was handed back before the sink took it, and why.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NotAccepted {
    record: Box<Record>,
    reason: NotAcceptedReason,
}

impl NotAccepted {
    pub(crate) fn new(record: Record, reason: impl Into<NotAcceptedReason>) -> Self {
        Self { record: Box::new(record), reason: reason.into() }
    }

    /// Why it was handed back.
    #[must_use]
    pub fn reason(&self) -> &NotAcceptedReason {
        &self.reason
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record, to mend it or to put it elsewhere.
    #[must_use]
    pub fn into_record(self) -> Record {
        *self.record
    }
}

/// Why a record was handed back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAcceptedReason {
    /// It can never be sent.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The sink was full. `start_send` may only follow a `poll_ready` that returned `Ready(Ok(()))`; a
    /// producer's `send` and `put` wait for room.
    #[error("the sink is full: wait until it is ready (`poll_ready`, `send`, `put`), or try later")]
    Full,
    /// The sink was closed.
    #[error("the sink is closed")]
    Closed,
    /// The service refuses every request at present, and the [`Producer`](crate::Producer) goes on
    /// trying with the records that it has.
    #[error("the stream takes no requests at present: {0}")]
    Refused(Arc<AttemptError>),
    /// The [`Producer`](crate::Producer) has stopped, because the service refuses every request.
    #[error(
        "the producer has stopped, because the stream takes no requests: {0}; mend the cause, then \
         build a new producer"
    )]
    Stopped(Arc<AttemptError>),
    /// The [`Producer`](crate::Producer) is full of records that failed for good and that nobody has
    /// taken.
    #[error(
        "the producer is full of {count} records that failed for good: take them with `take_failed`; {reason}"
    )]
    Undelivered {
        /// Records that it keeps because they failed.
        count: usize,
        /// Why the latest of them failed.
        reason: FailureReason,
    },
    /// The driver of the [`Producer`](crate::Producer) ended before it was done.
    #[error(
        "the producer's driver has ended (dropped, aborted, or it panicked), so nothing is sent any \
         more: find out why, and build a new producer"
    )]
    Abandoned,
}
