use std::sync::Arc;

use crate::error::{NotAcceptedReason, SinkError};
use crate::record::{AttemptError, Reason};
use crate::stream::StreamId;

/// What callers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    /// The service refuses everything at present; the driver goes on trying.
    Refused(Arc<AttemptError>),
    /// Records are accepted as long as there is room beside those that failed and that nobody has taken.
    Keeping {
        count: usize,
        bytes: usize,
        reason: Reason,
    },
    /// No more records are accepted; the driver settles those that it has.
    Ending(End),
    /// The driver has ended.
    Over(End),
}

/// Why a producer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It was closed, or its last clone was dropped.
    Closed,
    /// The service refuses everything, and the policy is to stop then.
    Refused(Arc<AttemptError>),
    /// The driver was dropped before it was done.
    Abandoned,
}

impl Status {
    /// Stages follow each other in this order.
    pub(super) fn stage(&self) -> u8 {
        match self {
            Self::Open | Self::Refused(_) | Self::Keeping { .. } => 0,
            Self::Ending(_) => 1,
            Self::Over(_) => 2,
        }
    }

    /// Notes that a caller has taken kept records. Returns whether that changes the status.
    pub(super) fn keep_fewer(&mut self, fewer_records: usize, fewer_bytes: usize) -> bool {
        let Self::Keeping { count, bytes, .. } = self else { return false };
        *count = count.saturating_sub(fewer_records);
        *bytes = bytes.saturating_sub(fewer_bytes);
        if *count == 0 {
            *self = Self::Open;
        }
        fewer_records > 0
    }

    /// No more records will be accepted.
    pub(super) fn has_ended(&self) -> bool {
        self.stage() > 0
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }

    /// Why no record is accepted, if none is.
    pub(super) fn refusal(&self) -> Option<NotAcceptedReason> {
        Some(match self {
            Self::Open | Self::Keeping { .. } => return None,
            Self::Refused(cause) => NotAcceptedReason::Refused(cause.clone()),
            Self::Ending(end) | Self::Over(end) => match end {
                End::Closed => NotAcceptedReason::Closed,
                End::Refused(cause) => NotAcceptedReason::Stopped(cause.clone()),
                End::Abandoned => NotAcceptedReason::Abandoned,
            },
        })
    }
}

impl End {
    /// What a flush says of a producer that came to this end.
    pub(super) fn flushed(&self, stream: &StreamId) -> Result<(), SinkError> {
        match self {
            Self::Closed => Ok(()),
            Self::Refused(cause) => {
                Err(SinkError::Stopped { stream: stream.clone(), source: cause.clone() })
            }
            Self::Abandoned => Err(SinkError::Abandoned),
        }
    }
}
