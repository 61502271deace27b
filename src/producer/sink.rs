//! A producer as a `futures::Sink`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Sink;

use super::Producer;
use super::intake::{Answer, Intake, Room};
use crate::error::{NotAccepted, NotAcceptedReason, SinkError};
use crate::record::Record;

/// What one clone has asked for through the sink's methods.
#[derive(Default)]
pub(super) struct Reservation {
    room: RoomState,
    flush: FlushState,
    /// Bytes of this clone's previous record: the next one may be like it.
    expected_bytes: usize,
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
    Waiting {
        answer: Answer,
        /// A record was sent after the flush was asked for.
        again: bool,
    },
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
        // At least one byte: where none is left, there is no room.
        let bytes = self.expected_bytes.max(1);
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
                RoomState::None => match intake.try_room(bytes) {
                    Ok(room) => RoomState::Ready(room),
                    Err(_) => RoomState::Waiting(Box::pin(intake.clone().room(bytes))),
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

    fn poll_flush(&mut self, intake: &Intake, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        loop {
            if let FlushState::Waiting { answer, again } = &mut self.flush {
                let answer = ready!(Pin::new(answer).poll(cx));
                let again = std::mem::take(again);
                self.flush = FlushState::None;
                let answer = answer.unwrap_or_else(|_| intake.flushed_at_the_end());
                if answer.is_err() || !again {
                    return Poll::Ready(answer);
                }
            }
            match intake.flush() {
                Ok(Some(answer)) => self.flush = FlushState::Waiting { answer, again: false },
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
        if self.closed {
            return Poll::Ready(Err(SinkError::Closed));
        }
        let this = &mut *self;
        let ready = ready!(this.reservation.poll_room(&this.intake, cx));
        Poll::Ready(ready.map_err(|reason| self.sink_error(reason)))
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), SinkError> {
        let record = self.check(record)?;
        let room = match self.reservation.take_room() {
            Some(room) => room,
            None => match self.intake.try_room(record.size()) {
                Ok(room) => room,
                Err(reason) => return Err(NotAccepted::new(record, reason).into()),
            },
        };
        self.reservation.expected_bytes = record.size();
        if let FlushState::Waiting { again, .. } = &mut self.reservation.flush {
            *again = true;
        }
        Ok(self.intake.push(record, room)?)
    }

    /// Ready when everything that was accepted before, by any clone, is settled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        this.reservation.poll_flush(&this.intake, cx)
    }

    /// Flushes, and closes this clone. The others go on.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = &mut *self;
        if !this.closed {
            this.closed = true;
            this.reservation.room = RoomState::None;
            this.intake.leave();
        }
        this.reservation.poll_flush(&this.intake, cx)
    }
}
