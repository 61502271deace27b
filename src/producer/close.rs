use std::sync::Arc;

use super::intake::Intake;
use super::queue::Phase;
use super::status::{End, Status};
use crate::record::{AttemptError, Undelivered};

/// Why a closed [`Producer`](crate::Producer) has not delivered everything.
///
/// Each variant holds the records that were left and that nobody has taken, in the order of acceptance:
/// those that failed without a receipt that anybody held or a dead-letter handler to take them, and all
/// that were given up at the deadline of [`close_within`](crate::Producer::close_within). The receipts of
/// the latter say [`TakenBack`](crate::Reason::TakenBack): their records are here, for one of the two to
/// send again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some records failed for good, or were given up at the deadline.
    #[error("closed with {left} records undelivered{}", first(.undelivered))]
    Undelivered {
        /// How many were left when the producer ended.
        left: usize,
        /// Those of them that no other call has taken.
        undelivered: Vec<Undelivered>,
    },
    /// The producer had stopped, because the service refuses every request.
    #[error("the producer had stopped with {} records undelivered, because the stream takes no requests", .undelivered.len())]
    Stopped {
        /// What the service, or a layer, said.
        source: Arc<AttemptError>,
        /// The records that were not delivered.
        undelivered: Vec<Undelivered>,
    },
    /// The driver had ended before it was done: it was dropped or aborted, or it panicked.
    #[error("the producer's driver had ended with {} records undelivered", .0.len())]
    Abandoned(Vec<Undelivered>),
}

fn first(undelivered: &[Undelivered]) -> String {
    undelivered.first().map(|one| format!(", the first one: {}", one.reason())).unwrap_or_default()
}

impl CloseError {
    /// The records that were not delivered, in the order of acceptance.
    #[must_use]
    pub fn undelivered(&self) -> &[Undelivered] {
        match self {
            Self::Undelivered { undelivered, .. }
            | Self::Stopped { undelivered, .. }
            | Self::Abandoned(undelivered) => undelivered,
        }
    }

    /// The records that were not delivered, in the order of acceptance.
    #[must_use]
    pub fn into_undelivered(self) -> Vec<Undelivered> {
        match self {
            Self::Undelivered { undelivered, .. }
            | Self::Stopped { undelivered, .. }
            | Self::Abandoned(undelivered) => undelivered,
        }
    }
}

impl Intake {
    /// Waits for the driver's end, and says how it was.
    pub(super) async fn ended(&self) -> Result<(), CloseError> {
        let mut status = self.watch();
        let over = status.wait_for(Status::is_over).await.map(|status| status.clone());
        // The sender is in `self`, so there is an answer.
        let Ok(Status::Over(end)) = over else { return Ok(()) };
        let (undelivered, left) = {
            let mut queue = self.queue();
            let left = queue.left.as_ref().map_or(0, |(left, _)| *left);
            (std::mem::take(&mut queue.undelivered), left)
        };
        match end {
            End::Refused(source) => Err(CloseError::Stopped { source, undelivered }),
            End::Abandoned => Err(CloseError::Abandoned(undelivered)),
            End::Closed if left == 0 => Ok(()),
            End::Closed => Err(CloseError::Undelivered { left, undelivered }),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().phase != Phase::Open
    }
}
