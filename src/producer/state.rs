use std::sync::Arc;

use crate::error::{Error, Rejection};
use crate::pipeline::Size;
use crate::record::{AttemptError, FailureReason};
use crate::status::Condition;
use crate::stream::StreamId;

/// The state of a producer, as its handles see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The service refuses every request at present. The driver retries.
    Refused(Arc<AttemptError>),
    /// Records are accepted as long as there is room beside the failed records that are kept.
    Keeping {
        failed: Size,
        reason: FailureReason,
    },
    /// No more records are accepted. The driver settles those that it has.
    Draining(StopReason),
    /// The driver has ended.
    Terminated(StopReason),
}

/// Why a producer stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopReason {
    /// It was closed, or its last handle was dropped.
    Closed,
    /// The service refuses every request, and the policy is to stop.
    Refused(Arc<AttemptError>),
    /// The driver was dropped before it was ready.
    Abandoned,
}

impl State {
    /// Whether the service refuses every request at present.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The number of the stage. Stages follow each other in this order.
    pub(super) fn stage(&self) -> u8 {
        match self {
            Self::Open | Self::Refused(_) | Self::Keeping { .. } => 0,
            Self::Draining(_) => 1,
            Self::Terminated(_) => 2,
        }
    }

    /// Removes failed records that a caller has taken. Returns whether that changes the status.
    pub(super) fn remove_failed(&mut self, taken: Size) -> bool {
        let Self::Keeping { failed, .. } = self else { return false };
        failed.records = failed.records.saturating_sub(taken.records);
        failed.bytes = failed.bytes.saturating_sub(taken.bytes);
        if failed.records == 0 {
            *self = Self::Open;
        }
        taken.records > 0
    }

    /// Whether the producer accepts no more records.
    pub(super) fn is_stopped(&self) -> bool {
        self.stage() > 0
    }

    pub(super) fn is_terminated(&self) -> bool {
        matches!(self, Self::Terminated(_))
    }

    /// Why no record is accepted, if none is.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        Some(match self {
            Self::Open | Self::Keeping { .. } => return None,
            Self::Refused(cause) => Rejection::Refused(cause.clone()),
            Self::Draining(reason) | Self::Terminated(reason) => match reason {
                StopReason::Closed => Rejection::Closed,
                StopReason::Refused(cause) => Rejection::Stopped(cause.clone()),
                StopReason::Abandoned => Rejection::Abandoned,
            },
        })
    }
}

impl StopReason {
    /// The condition of a producer that ends for this reason. `is_over` once its driver has ended.
    pub(super) fn condition(&self, is_over: bool) -> Condition {
        match self {
            Self::Closed if is_over => Condition::Closed,
            Self::Closed => Condition::Closing { error: None },
            Self::Refused(error) => Condition::Stopped { error: AttemptError::clone(error) },
            Self::Abandoned => Condition::Abandoned,
        }
    }

    /// The result of a flush after the producer has stopped.
    pub(super) fn flush_result(&self, stream: &StreamId) -> Result<(), Error> {
        match self {
            Self::Closed => Ok(()),
            Self::Refused(cause) => Err(Error::stopped(stream.clone(), cause.clone())),
            Self::Abandoned => Err(Error::abandoned().with_stream(stream.clone())),
        }
    }
}
