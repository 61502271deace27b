//! A producer as a `futures::Sink`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Sink;
use tokio::task::coop::poll_proceed;

use super::channel::{Channel, FlushReply};
use super::reservation::Reservation;
use super::{Handle, Producer};
use crate::error::{Error, ErrorKind, Rejection};
use crate::record::{AttemptError, Record};

/// A [`Sink`] of records into a [`Producer`].
///
/// [`Producer::sink`] returns one. Give each task that forwards a stream its own:
///
/// ```
/// use futures::{StreamExt, stream};
/// use kinesis_sink::{Producer, Record};
///
/// async fn forward(producer: &Producer) -> Result<(), kinesis_sink::Error> {
///     let lines = stream::iter(["one line", "another line"]);
///     lines.map(Record::from).map(Ok).forward(producer.sink()).await
/// }
/// ```
///
/// - `poll_ready` waits until the buffer has room for one record, in order of arrival. While the sink is ready it holds
///   a permit for a record as large as the largest so far; a larger one is accepted as well. A sink whose `feed` or
///   `send` was dropped while it waited keeps its place in the queue. Dropping or closing the sink releases the permit
///   and the place.
/// - `poll_flush` is ready when all records that were sent before it, through this sink or another handle, are settled.
/// - `poll_close` flushes and closes this sink. The producer and its other sinks stay open. Until it has returned
///   `Ok`, `poll_ready` stays ready and `start_send` returns each record in an error.
///
/// An open sink is a handle: it keeps the producer open, as a clone of the producer does. A clone of the sink is
/// closed, flushed and made ready separately.
///
/// # Cancel safety
///
/// Dropping a future of [`SinkExt`](futures::SinkExt) loses no accepted record. A dropped `feed` or `send` may leave
/// a place in the queue, see above. After a dropped `flush` or `close` the next call waits again for what was sent.
pub struct ProducerSink {
    channel: Arc<Channel>,
    /// `None` once this sink was closed.
    handle: Option<Arc<Handle>>,
    reservation: Reservation,
    flush: FlushState,
    /// Whether this sink has sent since its last flush.
    flush_pending: bool,
    /// Whether `poll_close` has returned `Ok`.
    close_completed: bool,
}

#[derive(Default)]
enum FlushState {
    #[default]
    None,
    Waiting {
        reply: FlushReply,
        /// How often failed records had been taken when it was asked for.
        takes: u64,
    },
}

impl Producer {
    /// Returns a [`Sink`] into this producer.
    #[must_use]
    pub fn sink(&self) -> ProducerSink {
        ProducerSink {
            channel: self.channel().clone(),
            handle: Some(self.handle.clone()),
            reservation: Reservation::None,
            flush: FlushState::None,
            flush_pending: false,
            close_completed: false,
        }
    }
}

impl ProducerSink {
    /// Returns whether this sink accepts no more records: it was closed, or the producer was closed or has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_none() || self.channel.is_closing()
    }

    /// The error of a rejection that is about no record.
    fn error(&self, rejection: Rejection) -> Error {
        let stream = self.channel.stream.clone();
        if let Rejection::Refused(cause) = rejection {
            let kept = self.channel.status().totals.unsettled();
            return Error::refused(stream, kept, Box::new(AttemptError::clone(&cause)));
        }
        Error::rejection(rejection).with_stream(stream)
    }
}

impl Sink<Record> for ProducerSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.close_completed {
            return Poll::Ready(Err(Error::closed()));
        }
        if self.handle.is_none() {
            // Adapters call this before each `poll_close`: an error would end the close half-way.
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let ready = ready!(this.reservation.poll(&this.channel, cx));
        // A source that is always ready must let other tasks run, the driver among them.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(ready.map_err(|rejection| self.error(rejection)))
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        if self.handle.is_none() {
            return Err(self.channel.rejected(record, Rejection::Closed));
        }
        let this = &mut *self;
        this.channel.accept_reserved(record, &mut this.reservation)?;
        self.flush_pending = true;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if let FlushState::Waiting { reply, takes } = &mut self.flush {
                let reply = ready!(Pin::new(reply).poll(cx));
                let takes = *takes;
                self.flush = FlushState::None;
                // The failed records that an earlier flush found may have been taken since.
                let is_outdated = matches!(&reply, Ok(Err(error)) if error.kind() == ErrorKind::Undelivered)
                    && takes != self.channel.takes();
                // If this sink has sent since, the reply is to an earlier flush.
                if !self.flush_pending && !is_outdated {
                    return Poll::Ready(
                        reply.unwrap_or_else(|_| self.channel.final_flush_result()),
                    );
                }
            }
            self.flush_pending = false;
            let takes = self.channel.takes();
            match self.channel.flush() {
                Ok(Some(reply)) => self.flush = FlushState::Waiting { reply, takes },
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(handle) = self.handle.take() {
            self.reservation.release();
            // An earlier flush does not count.
            self.flush_pending = true;
            drop(handle);
        }
        let closed = self.as_mut().poll_flush(cx);
        self.close_completed |= matches!(closed, Poll::Ready(Ok(())));
        closed
    }
}

impl Clone for ProducerSink {
    /// Returns another sink into the same producer, with nothing reserved. The clone of a closed sink is closed.
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            handle: self.handle.clone(),
            reservation: Reservation::None,
            flush: FlushState::None,
            flush_pending: false,
            close_completed: self.handle.is_none(),
        }
    }
}

impl fmt::Debug for ProducerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSink")
            .field("stream", &self.channel.stream)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
