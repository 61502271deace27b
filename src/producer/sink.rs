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

/// A [`Sink`] that sends records through a [`Producer`].
///
/// It is created by [`Producer::sink`]. Use a separate sink in each task that forwards a stream:
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
/// - `poll_ready` waits until the buffer has capacity for one record, in the [share](Producer#backpressure) of the
///   shard of the last record. Sinks and callers that wait for the same share are served in order. A ready sink has
///   reserved capacity for a record as large as the largest so far, but also accepts a larger record, and a record for
///   another shard. If a `feed` or `send` future is dropped while it waits, the sink keeps its place in the queue.
///   Dropping or closing the sink releases the reserved capacity or the place in the queue.
/// - `poll_flush` returns `Ready` when all records accepted before the call, through any handle, are settled.
/// - `poll_close` flushes and closes this sink. The producer and its other sinks stay open. From the first call of
///   `poll_close` until it has returned `Ok`, `poll_ready` returns `Ready(Ok)` and `start_send` returns each record in
///   an error.
///
/// An open sink keeps the producer open, like a clone of the producer. A clone of a sink reserves, flushes and closes
/// independently.
///
/// # Cancel safety
///
/// Dropping a future of [`SinkExt`](futures::SinkExt) does not lose accepted records. After a `feed` or `send` future
/// was dropped, the sink can keep a place in the queue, as described above. After a `flush` or `close` future was
/// dropped, the next call waits for the same records.
pub struct ProducerSink {
    channel: Arc<Channel>,
    /// `None` once this sink was closed.
    handle: Option<Arc<Handle>>,
    reservation: Reservation,
    flush: FlushState,
    /// `true` if records were sent through this sink since its last flush.
    flush_pending: bool,
    close_completed: bool,
}

#[derive(Default)]
enum FlushState {
    #[default]
    None,
    Waiting {
        reply: FlushReply,
        /// Value of [`Channel::takes`] when the flush started.
        takes: u64,
    },
}

impl Producer {
    /// Returns a [`Sink`] that sends records through this producer.
    #[must_use]
    pub fn sink(&self) -> ProducerSink {
        ProducerSink {
            channel: self.channel().clone(),
            handle: Some(self.handle.clone()),
            reservation: Reservation::NONE,
            flush: FlushState::None,
            flush_pending: false,
            close_completed: false,
        }
    }
}

impl ProducerSink {
    /// Returns `true` if this sink was closed, or if the producer was closed or has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_none() || self.channel.is_closing()
    }

    /// Converts a rejection into an error that contains no record.
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
            // Adapters call `poll_ready` before each `poll_close`, so an error here would interrupt the close.
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let ready = ready!(this.reservation.poll(&this.channel, cx));
        // A source that is always ready must let other tasks run, including the driver.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(match ready {
            // `start_send` returns the record.
            Err(rejection) if rejection.is_full_spool() => Ok(()),
            ready => ready.map_err(|rejection| self.error(rejection)),
        })
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
                // If an earlier flush was dropped, its reply can report failed records that have been taken since.
                let is_outdated = matches!(&reply, Ok(Err(error)) if error.kind() == ErrorKind::Undelivered)
                    && takes != self.channel.takes();
                // The reply does not cover records sent through this sink after the flush started.
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
            // A flush that is in progress might not cover the last records.
            self.flush_pending = true;
            drop(handle);
        }
        let closed = self.as_mut().poll_flush(cx);
        self.close_completed |= matches!(closed, Poll::Ready(Ok(())));
        closed
    }
}

impl Clone for ProducerSink {
    /// Returns another sink for the same producer, without reserved capacity. The clone of a closed sink is closed.
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            handle: self.handle.clone(),
            reservation: Reservation::NONE,
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
