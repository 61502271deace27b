use std::sync::Arc;

use crate::error::{Error, Rejection};
use crate::pipeline::Size;
use crate::record::{AttemptError, FailureReason};
use crate::status::Condition;
use crate::stream::StreamId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The service refuses every request, and the driver retries.
    Refused(Arc<AttemptError>),
    /// Failed records occupy the buffer until a caller takes them. Records are accepted while the buffer has capacity.
    Keeping {
        failed: Size,
        reason: FailureReason,
    },
    Draining(StopReason),
    Terminated(StopReason),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The producer was closed, or its last handle was dropped.
    Closed,
    /// The service refuses every request, and the fatal policy is `Stop`.
    Refused(Arc<AttemptError>),
    /// The driver was dropped before it completed.
    Abandoned,
}

impl State {
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Returns the stage: 0 while open, 1 while draining, 2 at the end. The stage of a producer never decreases.
    pub(super) fn stage(&self) -> u8 {
        match self {
            Self::Open | Self::Refused(_) | Self::Keeping { .. } => 0,
            Self::Draining(_) => 1,
            Self::Terminated(_) => 2,
        }
    }

    pub(super) fn remove_failed(&mut self, taken: Size) -> bool {
        let Self::Keeping { failed, .. } = self else { return false };
        failed.records = failed.records.saturating_sub(taken.records);
        failed.bytes = failed.bytes.saturating_sub(taken.bytes);
        if failed.records == 0 {
            *self = Self::Open;
        }
        taken.records > 0
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stage() > 0
    }

    pub(super) fn is_terminated(&self) -> bool {
        matches!(self, Self::Terminated(_))
    }

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
    pub(super) fn condition(&self, is_terminated: bool) -> Condition {
        match self {
            Self::Closed if is_terminated => Condition::Closed,
            Self::Closed => Condition::Closing { error: None },
            Self::Refused(error) => Condition::Stopped { error: AttemptError::clone(error) },
            Self::Abandoned => Condition::Abandoned,
        }
    }

    pub(super) fn flush_result(&self, stream: &StreamId) -> Result<(), Error> {
        match self {
            Self::Closed => Ok(()),
            Self::Refused(cause) => Err(Error::stopped(stream.clone(), cause.clone())),
            Self::Abandoned => Err(Error::abandoned().with_stream(stream.clone())),
        }
    }
}
