use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use foldhash::quality::RandomState;
use futures::Sink;
use tokio::task::JoinHandle;
use tokio::task::coop::poll_proceed;

use super::Router;
use super::close::flush_all;
use super::shared::{Shared, StreamGuard};
use super::streams::OverflowEnd;
use crate::error::{Error, ErrorKind};
use crate::record::Record;
use crate::stream::StreamId;

/// A [`Sink`] that sends records through a [`Router`], each to its stream.
///
/// It is created by [`Router::sink`]. Use a separate sink in each task that forwards a stream:
///
/// ```
/// use futures::{StreamExt, stream};
/// use kinesis_sink::{Record, Router, StreamId};
///
/// async fn forward(router: &Router, clicks: &StreamId) -> Result<(), kinesis_sink::Error> {
///     let lines = stream::iter(["one line", "another line"]);
///     let records = lines.map(|line| (clicks.clone(), Record::from(line)));
///     records.map(Ok).forward(router.sink()).await
/// }
/// ```
///
/// - `start_send` opens the stream if necessary. If the stream has no capacity, the sink accepts the record beyond the
///   bounds, because `poll_ready` does not know to which stream the next record is sent. If the maximum number of streams
///   is open and none of them is idle, the sink also opens the stream beyond the maximum. An accepted record is sent even
///   if the sink is dropped.
/// - `poll_ready` waits while the sink exceeds a bound, so that each sink exceeds the bounds by one record at most.
/// - `poll_flush` returns `Ready` when all records that were sent through this sink since its last flush are settled. It
///   also waits for records that were sent to the same streams through other handles before the call.
/// - `poll_close` flushes and closes this sink. The router and its other sinks stay open. From the first call of
///   `poll_close` until it has returned `Ok`, `poll_ready` returns `Ready(Ok)` and `start_send` returns each record in
///   an error.
///
/// An open sink keeps the router open, like a clone of the router. A clone of a sink waits, flushes and closes
/// independently.
///
/// # Errors
///
/// `start_send` returns the record in the error if a call of [`send_to`](Router::send_to) would return an error. With
/// [`WhenFull::Reject`](super::WhenFull), it also returns [`ErrorKind::TooManyStreams`].
///
/// # Cancel safety
///
/// Dropping a future of [`SinkExt`](futures::SinkExt) does not lose accepted records. After a `flush` or `close` future
/// was dropped, the next call waits for the same records.
pub struct RouterSink {
    /// `None` once the close of this sink has completed.
    shared: Option<Arc<Shared>>,
    /// `false` once this sink was closed.
    is_open: bool,
    overflow: Overflows,
    flush: Option<Flush>,
    /// Streams to which records were sent since the last flush. The set does not keep them open.
    unflushed: HashSet<StreamId, RandomState>,
}

/// Bounds that the last record has exceeded.
#[derive(Default)]
struct Overflows {
    /// Completes when the stream has capacity again.
    records: Option<CapacityWait>,
    /// Completes when the maximum number of open streams is no longer exceeded.
    streams: Option<OverflowEnd>,
}

/// Task that waits for the capacity of a stream. A sink that is not polled would otherwise keep the capacity that it has
/// been granted.
struct CapacityWait(JoinHandle<()>);

impl Drop for CapacityWait {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Flush {
    flushed: Pin<Box<dyn Future<Output = Result<(), Error>> + Send + Sync>>,
    streams: Vec<StreamId>,
    /// Number of calls that had taken failed records when the flush started.
    takes: u64,
}

impl Router {
    /// Returns a [`Sink`] that sends records through this router.
    #[must_use]
    pub fn sink(&self) -> RouterSink {
        RouterSink::new(Some(self.0.clone()))
    }
}

impl RouterSink {
    fn new(shared: Option<Arc<Shared>>) -> Self {
        Self {
            is_open: shared.is_some(),
            shared,
            overflow: Overflows::default(),
            flush: None,
            unflushed: HashSet::default(),
        }
    }

    /// Returns `true` if this sink or the router was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.is_open || self.shared.as_ref().is_none_or(|shared| shared.is_closed())
    }

    fn send(&mut self, shared: &Shared, stream: &StreamId, record: Record) -> Result<(), Error> {
        let (guard, overflow) = match shared.acquire_beyond_max(stream) {
            Ok(leased) => leased,
            Err(error) => return Err(error.with_stream(stream.clone()).with_record(record)),
        };
        if overflow.is_some() {
            self.overflow.streams = overflow;
        }
        let producer = guard.producer();
        match producer.try_send(record) {
            Err(error) if error.kind() == ErrorKind::Full && self.overflow.records.is_none() => {
                let Some(record) = error.into_record() else {
                    unreachable!("`Full` errors contain the record")
                };
                let share = producer.accept_beyond_share(record)?;
                let capacity = producer.wait_for_capacity(share);
                self.overflow.records = Some(CapacityWait(shared.runtime().spawn(capacity)));
            }
            sent => sent?,
        }
        self.note_unflushed(shared, guard.stream());
        Ok(())
    }

    fn note_unflushed(&mut self, shared: &Shared, stream: &StreamId) {
        if self.unflushed.contains(stream) {
            return;
        }
        if self.unflushed.len() == self.unflushed.capacity() {
            // All records of a closed stream are settled. Without this, a sink that is never flushed would keep each name.
            let streams = shared.streams();
            self.unflushed.retain(|stream| streams.peek(stream.as_ref()).is_some());
        }
        self.unflushed.insert(stream.clone());
    }

    fn start_flush(&mut self, shared: &Shared) -> Flush {
        let streams: Vec<_> = self.unflushed.drain().collect();
        let guards = shared.acquire_open(&streams);
        let takes = takes(&guards);
        Flush { flushed: Box::pin(flush_all(&guards)), streams, takes }
    }
}

fn takes(guards: &[StreamGuard]) -> u64 {
    guards.iter().map(|guard| guard.producer().takes()).sum()
}

impl Sink<(StreamId, Record)> for RouterSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(shared) = &self.shared else { return Poll::Ready(Err(Error::closed())) };
        if !self.is_open {
            // Adapters call `poll_ready` before each `poll_close`, so an error here would interrupt the close.
            return Poll::Ready(Ok(()));
        }
        if shared.is_closed() {
            return Poll::Ready(Err(Error::closed()));
        }
        ready!(self.overflow.poll(cx));
        // A source that is always ready must let other tasks run, including the drivers.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(Ok(()))
    }

    fn start_send(
        mut self: Pin<&mut Self>,
        (stream, record): (StreamId, Record),
    ) -> Result<(), Error> {
        match self.shared.clone() {
            Some(shared) if self.is_open => self.send(&shared, &stream, record),
            _ => Err(Error::closed().with_stream(stream).with_record(record)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(shared) = self.shared.clone() else { return Poll::Ready(Ok(())) };
        loop {
            if let Some(Flush { flushed, streams, takes: before }) = &mut self.flush {
                let flushed = ready!(flushed.as_mut().poll(cx));
                let is_undelivered = |error: &Error| error.kind() == ErrorKind::Undelivered;
                // If an earlier flush was dropped, its result can report failed records that have been taken since.
                let is_outdated = flushed.as_ref().is_err_and(is_undelivered)
                    && takes(&shared.acquire_open(streams)) != *before;
                let streams = std::mem::take(streams);
                self.flush = None;
                if is_outdated {
                    self.unflushed.extend(streams);
                } else if flushed.is_err() {
                    return Poll::Ready(flushed);
                }
            }
            if self.unflushed.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.flush = Some(self.start_flush(&shared));
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.is_open = false;
        self.overflow = Overflows::default();
        let closed = self.as_mut().poll_flush(cx);
        if let Poll::Ready(Ok(())) = closed {
            self.shared = None;
        }
        closed
    }
}

impl Overflows {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(CapacityWait(task)) = &mut self.records {
            // An error means that the runtime was shut down, which the next call reports.
            let _ = ready!(Pin::new(task).poll(cx));
            self.records = None;
        }
        if let Some(signal) = &mut self.streams {
            // An error means that the router was closed, which the next call reports.
            let _ = ready!(Pin::new(signal).poll(cx));
            self.streams = None;
        }
        Poll::Ready(())
    }
}

impl Clone for RouterSink {
    /// Returns another sink for the same router. The clone of a closed sink is closed.
    fn clone(&self) -> Self {
        Self::new(self.shared.clone().filter(|_| self.is_open))
    }
}

impl fmt::Debug for RouterSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterSink").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
