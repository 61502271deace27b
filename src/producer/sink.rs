//! A producer as a `futures::Sink`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures::Sink;
use tokio::task::coop::poll_proceed;

use super::Producer;
use super::channel::{Channel, FlushReply, Permit};
use crate::error::{NotAccepted, NotAcceptedReason, SinkError};
use crate::record::Record;

/// What one handle waits for through the methods of `Sink`.
#[derive(Default)]
pub(super) struct SinkState {
    permit: PermitState,
    flush: FlushState,
}

#[derive(Default)]
enum PermitState {
    #[default]
    None,
    Waiting(Pin<Box<dyn Future<Output = Result<Permit, NotAcceptedReason>> + Send + Sync>>),
    Ready(Permit),
}

#[derive(Default)]
enum FlushState {
    #[default]
    None,
    Waiting(FlushReply),
}

impl fmt::Debug for SinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkState").finish_non_exhaustive()
    }
}

impl SinkState {
    fn poll_permit(
        &mut self,
        channel: &Arc<Channel>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NotAcceptedReason>> {
        if let Some(reason) = channel.refusal() {
            self.permit = PermitState::None;
            return Poll::Ready(Err(reason));
        }
        loop {
            self.permit = match &mut self.permit {
                PermitState::Ready(_) => return Poll::Ready(Ok(())),
                PermitState::Waiting(permit) => match ready!(permit.as_mut().poll(cx)) {
                    Ok(permit) => PermitState::Ready(permit),
                    Err(reason) => {
                        self.permit = PermitState::None;
                        return Poll::Ready(Err(reason));
                    }
                },
                PermitState::None if channel.is_on_hold() => {
                    PermitState::Waiting(Box::pin(channel.clone().reserve_any()))
                }
                PermitState::None => match channel.try_reserve(channel.expected_bytes()) {
                    Ok(permit) => PermitState::Ready(permit),
                    Err(NotAcceptedReason::Full) => {
                        PermitState::Waiting(Box::pin(channel.clone().reserve_any()))
                    }
                    Err(reason) => return Poll::Ready(Err(reason)),
                },
            };
        }
    }

    fn take_permit(&mut self) -> Option<Permit> {
        match std::mem::take(&mut self.permit) {
            PermitState::Ready(permit) => Some(permit),
            other => {
                self.permit = other;
                None
            }
        }
    }

    fn poll_flush(
        &mut self,
        channel: &Channel,
        flush_pending: &AtomicBool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SinkError>> {
        loop {
            if let FlushState::Waiting(reply) = &mut self.flush {
                let reply = ready!(Pin::new(reply).poll(cx));
                self.flush = FlushState::None;
                // If this handle has sent since, the reply is to an earlier flush.
                if !flush_pending.load(Ordering::Relaxed) {
                    return Poll::Ready(reply.unwrap_or_else(|_| channel.final_flush_result()));
                }
            }
            flush_pending.store(false, Ordering::Relaxed);
            match channel.flush() {
                Ok(Some(reply)) => self.flush = FlushState::Waiting(reply),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Producer {
    /// Converts the reason into the error of a sink.
    fn sink_error(&self, reason: NotAcceptedReason) -> SinkError {
        let stream = self.stream().clone();
        match reason {
            NotAcceptedReason::Refused(cause) => {
                let kept = self.totals().unsettled();
                SinkError::Request { stream, kept, source: Box::new(cause) }
            }
            NotAcceptedReason::Stopped(source) => SinkError::Stopped { stream, source },
            NotAcceptedReason::Undelivered { count, reason } => {
                SinkError::Undelivered { count, reason }
            }
            NotAcceptedReason::Abandoned => SinkError::Abandoned,
            NotAcceptedReason::Closed | NotAcceptedReason::Full | NotAcceptedReason::Record(_) => {
                SinkError::Closed
            }
        }
    }
}

impl Sink<Record> for Producer {
    type Error = SinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        if self.close_completed {
            return Poll::Ready(Err(SinkError::Closed));
        }
        if self.closed {
            // Adapters call this before each `poll_close`: an error would end the close half-way.
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let ready = ready!(this.sink_state.poll_permit(&this.channel, cx));
        // A source that is always ready must let other tasks run, the driver among them.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(ready.map_err(|reason| self.sink_error(reason)))
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), SinkError> {
        let record = self.check(record)?;
        let permit = match self.sink_state.take_permit() {
            Some(permit) => permit,
            None => match self.channel.try_reserve_or_notify(record.size()) {
                Ok(permit) => permit,
                Err(reason) => return Err(NotAccepted::new(record, reason).into()),
            },
        };
        Ok(self.accept(record, permit)?)
    }

    /// Ready when everything is settled that this clone has sent, and that any clone had sent when this
    /// was first polled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        this.sink_state.poll_flush(&this.channel, &this.flush_pending, cx)
    }

    /// Flushes, and closes this clone. The other clones stay open. Until this has returned `Ok`, `poll_ready` stays
    /// ready and `start_send` hands each record back.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        if !this.closed {
            this.closed = true;
            this.sink_state.permit = PermitState::None;
            this.channel.remove_handle();
            // An earlier flush does not count.
            this.flush_pending.store(true, Ordering::Relaxed);
        }
        let closed = this.sink_state.poll_flush(&this.channel, &this.flush_pending, cx);
        this.close_completed |= matches!(closed, Poll::Ready(Ok(())));
        closed
    }
}
