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
use super::intake::{Answer, Intake, Room};
use crate::error::{NotAccepted, NotAcceptedReason, SinkError};
use crate::record::Record;

/// What one clone has asked for through the sink's methods.
#[derive(Default)]
pub(super) struct Reservation {
    room: RoomState,
    flush: FlushState,
}

#[derive(Default)]
enum RoomState {
    #[default]
    None,
    Waiting(Pin<Box<dyn Future<Output = Result<Room, NotAcceptedReason>> + Send + Sync>>),
    Ready(Room),
}

#[derive(Default)]
enum FlushState {
    #[default]
    None,
    Waiting(Answer),
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

impl Reservation {
    fn poll_room(
        &mut self,
        intake: &Arc<Intake>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NotAcceptedReason>> {
        if let Some(reason) = intake.refusal() {
            self.room = RoomState::None;
            return Poll::Ready(Err(reason));
        }
        loop {
            self.room = match &mut self.room {
                RoomState::Ready(_) => return Poll::Ready(Ok(())),
                RoomState::Waiting(room) => match ready!(room.as_mut().poll(cx)) {
                    Ok(room) => RoomState::Ready(room),
                    Err(reason) => {
                        self.room = RoomState::None;
                        return Poll::Ready(Err(reason));
                    }
                },
                RoomState::None if intake.is_on_hold() => {
                    RoomState::Waiting(Box::pin(intake.clone().room_for_any()))
                }
                RoomState::None => match intake.try_room(intake.expected_bytes()) {
                    Ok(room) => RoomState::Ready(room),
                    Err(NotAcceptedReason::Full) => {
                        RoomState::Waiting(Box::pin(intake.clone().room_for_any()))
                    }
                    Err(reason) => return Poll::Ready(Err(reason)),
                },
            };
        }
    }

    fn take_room(&mut self) -> Option<Room> {
        match std::mem::take(&mut self.room) {
            RoomState::Ready(room) => Some(room),
            other => {
                self.room = other;
                None
            }
        }
    }

    fn poll_flush(
        &mut self,
        intake: &Intake,
        unasked: &AtomicBool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SinkError>> {
        loop {
            if let FlushState::Waiting(answer) = &mut self.flush {
                let answer = ready!(Pin::new(answer).poll(cx));
                self.flush = FlushState::None;
                // If this clone has sent since, the answer is to an older question.
                if !unasked.load(Ordering::Relaxed) {
                    return Poll::Ready(answer.unwrap_or_else(|_| intake.flushed_at_the_end()));
                }
            }
            unasked.store(false, Ordering::Relaxed);
            match intake.flush() {
                Ok(Some(answer)) => self.flush = FlushState::Waiting(answer),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Producer {
    /// The same error as a sink tells it.
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
            // Adapters call this before each `poll_close`; an error would end the close half-way.
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let ready = ready!(this.reservation.poll_room(&this.intake, cx));
        // A source that is always ready must let others run, the driver among them.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(ready.map_err(|reason| self.sink_error(reason)))
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), SinkError> {
        let record = self.check(record)?;
        let room = match self.reservation.take_room() {
            Some(room) => room,
            None => match self.intake.try_room_or_leave(record.size()) {
                Ok(room) => room,
                Err(reason) => return Err(NotAccepted::new(record, reason).into()),
            },
        };
        Ok(self.accept(record, room)?)
    }

    /// Ready when everything is settled that this clone has sent, and that any clone had sent when this
    /// was first polled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        this.reservation.poll_flush(&this.intake, &this.unasked, cx)
    }

    /// Flushes, and closes this clone. The other clones stay open. Until this has returned `Ok`, `poll_ready` stays
    /// ready and `start_send` hands each record back.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        if !this.closed {
            this.closed = true;
            this.reservation.room = RoomState::None;
            this.intake.leave();
            // A flush that was asked for before does not count.
            this.unasked.store(true, Ordering::Relaxed);
        }
        let closed = this.reservation.poll_flush(&this.intake, &this.unasked, cx);
        this.close_completed |= matches!(closed, Poll::Ready(Ok(())));
        closed
    }
}
