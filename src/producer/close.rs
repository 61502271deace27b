use std::sync::Arc;

use super::channel::Channel;
use super::queue::Phase;
use super::status::{Status, StopReason};
use crate::record::{AttemptError, Undelivered};

/// Why a closed [`Producer`](crate::Producer) has not delivered everything.
///
/// `left` is the number of records that were not delivered when the producer ended. `undelivered` holds, in the
/// order of acceptance, the records that went neither to a receipt nor to a dead-letter handler and that no other
/// call has taken. It also holds all records that were given up at the deadline of
/// [`close_within`](crate::Producer::close_within). The receipts of those return
/// [`Withdrawn`](crate::FailureReason::Withdrawn): either side can send the records again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some records failed for good, or were given up at the deadline.
    #[error("closed with {left} records undelivered{}", first(.undelivered))]
    Undelivered {
        /// The number of records that were not delivered when the producer ended.
        left: usize,
        /// The undelivered records that no other call has taken.
        undelivered: Vec<Undelivered>,
    },
    /// The producer had stopped, because the service refuses every request.
    #[error(
        "producer stopped with {left} records undelivered; fix the cause and create a new producer"
    )]
    Stopped {
        /// What the service, or a layer, said.
        source: Arc<AttemptError>,
        /// The number of undelivered records, including those that went to receipts and dead letters.
        left: usize,
        /// The undelivered records that went to neither.
        undelivered: Vec<Undelivered>,
    },
    /// The driver had ended before it was done: it was dropped or aborted, or it panicked.
    #[error("producer driver was dropped, aborted or panicked with {left} records undelivered")]
    Abandoned {
        /// The number of undelivered records, including those that went to receipts.
        left: usize,
        /// The undelivered records that went to no receipt.
        undelivered: Vec<Undelivered>,
    },
}

fn first(undelivered: &[Undelivered]) -> String {
    undelivered.first().map(|one| format!(", the first one: {}", one.reason())).unwrap_or_default()
}

impl CloseError {
    /// The number of records that were not delivered when the producer ended, including those that went to
    /// their receipts.
    #[must_use]
    pub fn left(&self) -> usize {
        match self {
            Self::Undelivered { left, .. }
            | Self::Stopped { left, .. }
            | Self::Abandoned { left, .. } => *left,
        }
    }

    /// The records that were not delivered and went to no receipt, in the order of acceptance.
    #[must_use]
    pub fn undelivered(&self) -> &[Undelivered] {
        match self {
            Self::Undelivered { undelivered, .. }
            | Self::Stopped { undelivered, .. }
            | Self::Abandoned { undelivered, .. } => undelivered,
        }
    }

    /// The records that were not delivered and went to no receipt, in the order of acceptance.
    #[must_use]
    pub fn into_undelivered(self) -> Vec<Undelivered> {
        match self {
            Self::Undelivered { undelivered, .. }
            | Self::Stopped { undelivered, .. }
            | Self::Abandoned { undelivered, .. } => undelivered,
        }
    }
}

impl Channel {
    /// Waits until the driver has ended. Returns the records that were not delivered.
    pub(super) async fn terminated(&self) -> Result<(), CloseError> {
        let mut status = self.watch();
        let terminated = status.wait_for(Status::is_terminated).await.map(|status| status.clone());
        // The sender is in `self`, so there is a status.
        let Ok(Status::Terminated(reason)) = terminated else { return Ok(()) };
        let (undelivered, left) = {
            let mut queue = self.queue();
            (std::mem::take(&mut queue.undelivered), queue.left)
        };
        match reason {
            StopReason::Refused(source) => Err(CloseError::Stopped { source, left, undelivered }),
            StopReason::Abandoned => Err(CloseError::Abandoned { left, undelivered }),
            StopReason::Closed if left == 0 => Ok(()),
            StopReason::Closed => Err(CloseError::Undelivered { left, undelivered }),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().phase != Phase::Open
    }
}
