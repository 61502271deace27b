use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::channel::{Channel, Permit};
use crate::error::Rejection;

type PermitFuture = Pin<Box<dyn Future<Output = Result<Permit, Rejection>> + Send + Sync>>;

/// Permit reserved by the poll methods of a handle, which do not know the next record yet.
#[derive(Default)]
pub(super) enum Reservation {
    #[default]
    None,
    Waiting(PermitFuture),
    Ready(Permit),
}

impl Reservation {
    /// Polls for a permit that is large enough for the largest record so far.
    pub(super) fn poll(
        &mut self,
        channel: &Arc<Channel>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        if let Some(rejection) = channel.refusal() {
            *self = Self::None;
            return Poll::Ready(Err(rejection));
        }
        loop {
            *self = match self {
                Self::Ready(_) => return Poll::Ready(Ok(())),
                Self::Waiting(permit) => match ready!(permit.as_mut().poll(cx)) {
                    Ok(permit) => Self::Ready(permit),
                    Err(rejection) => {
                        *self = Self::None;
                        return Poll::Ready(Err(rejection));
                    }
                },
                Self::None if channel.is_on_hold() => {
                    Self::Waiting(Box::pin(channel.clone().reserve_any()))
                }
                Self::None => match channel.try_reserve(channel.expected_bytes()) {
                    Ok(permit) => Self::Ready(permit),
                    Err(Rejection::Full) => Self::Waiting(Box::pin(channel.clone().reserve_any())),
                    Err(rejection) => return Poll::Ready(Err(rejection)),
                },
            };
        }
    }

    /// Takes the permit if it is ready. Otherwise keeps the place in the queue.
    pub(super) fn take(&mut self) -> Option<Permit> {
        match std::mem::take(self) {
            Self::Ready(permit) => Some(permit),
            other => {
                *self = other;
                None
            }
        }
    }

    pub(super) fn release(&mut self) {
        *self = Self::None;
    }
}

impl Clone for Reservation {
    fn clone(&self) -> Self {
        Self::None
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
