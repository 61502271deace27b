use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::capacity::Permit;
use super::channel::Channel;
use crate::error::Rejection;
use crate::pipeline::{ShareId, UNROUTED};

type PermitFuture = Pin<Box<dyn Future<Output = Result<Permit, Rejection>> + Send + Sync>>;

/// Permit reserved by the poll methods of a handle, which do not know the next record yet.
///
/// The permit is taken from the share of the handle's last record. The share can have no capacity left for the next
/// record, so a sink exceeds the share of a busy shard by at most one record and then waits for its turn. A service
/// releases the permit instead, and its record waits.
pub(super) struct Reservation {
    share: ShareId,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Waiting(PermitFuture),
    Ready(Permit),
}

impl Reservation {
    pub(super) const NONE: Self = Self { share: UNROUTED, state: State::None };

    /// Polls for a permit that is large enough for the largest record so far.
    pub(super) fn poll(
        &mut self,
        channel: &Arc<Channel>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        if let Some(rejection) = channel.refusal() {
            self.release();
            return Poll::Ready(Err(rejection));
        }
        loop {
            let wait = || State::Waiting(Box::pin(channel.clone().reserve_any(self.share)));
            self.state = match &mut self.state {
                State::Ready(_) => return Poll::Ready(Ok(())),
                State::Waiting(permit) => match ready!(permit.as_mut().poll(cx)) {
                    Ok(permit) => State::Ready(permit),
                    Err(rejection) => {
                        self.release();
                        return Poll::Ready(Err(rejection));
                    }
                },
                State::None if channel.is_on_hold() => wait(),
                State::None => match channel.try_reserve_any(self.share) {
                    Ok(permit) => State::Ready(permit),
                    Err(Rejection::Full) => wait(),
                    Err(rejection) => return Poll::Ready(Err(rejection)),
                },
            };
        }
    }

    /// Takes the permit if it is ready. Otherwise keeps the place in the queue.
    pub(super) fn take(&mut self) -> Option<Permit> {
        match std::mem::take(&mut self.state) {
            State::Ready(permit) => Some(permit),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Sets the share of the last record.
    pub(super) fn set_share(&mut self, share: ShareId) {
        self.share = share;
    }

    pub(super) fn release(&mut self) {
        self.state = State::None;
    }
}

impl Clone for Reservation {
    /// Returns a reservation without a permit.
    fn clone(&self) -> Self {
        Self { share: self.share, state: State::None }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
