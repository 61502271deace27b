use std::sync::Arc;

use super::intake::{Intake, Phase};
use super::status::{End, Status};
use crate::record::{AttemptError, Undelivered};

/// Why a closed [`Producer`](crate::Producer) has not delivered everything.
///
/// Each variant holds the records that nobody else has taken: they had no receipt that anybody held, and
/// no dead-letter handler took them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some records failed for good, or were given up at the deadline.
    #[error("closed with {} records undelivered{}", .0.len(), first(.0))]
    Undelivered(Vec<Undelivered>),
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
            Self::Undelivered(undelivered)
            | Self::Stopped { undelivered, .. }
            | Self::Abandoned(undelivered) => undelivered,
        }
    }

    /// The records that were not delivered, in the order of acceptance.
    #[must_use]
    pub fn into_undelivered(self) -> Vec<Undelivered> {
        match self {
            Self::Undelivered(undelivered)
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
        let undelivered = std::mem::take(&mut self.queue().undelivered);
        match end {
            End::Refused(source) => Err(CloseError::Stopped { source, undelivered }),
            End::Abandoned => Err(CloseError::Abandoned(undelivered)),
            End::Closed if undelivered.is_empty() => Ok(()),
            End::Closed => Err(CloseError::Undelivered(undelivered)),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().phase != Phase::Open
    }
}
