//! A stream of records, each with its outcome.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::{Fuse, FusedStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use pin_project::pin_project;
use tokio::task::coop::poll_proceed;

use super::Producer;
use super::reservation::Reservation;
use crate::error::{ErrorKind, Rejection};
use crate::record::{Delivery, Receipt, Record, Undelivered};

/// The most records that are taken from the source in one poll: then outcomes have their turn.
const MAX_TAKEN: usize = 32;

/// Stream of what became of each record of another stream, with the context that came with it.
///
/// [`Producer::put_all`] returns it. It keeps the producer open, as a clone of the producer does.
#[pin_project]
#[must_use = "streams do nothing unless they are polled"]
pub struct PutAll<St, C>
where
    St: Stream,
{
    #[pin]
    records: Fuse<St>,
    /// A record that was taken from the source, and found no room.
    next: Option<St::Item>,
    producer: Producer,
    reservation: Reservation,
    /// Waits while the service refuses every request.
    refused: Option<BoxFuture<'static, ()>>,
    pending: Pending<C>,
    max_pending: usize,
}

/// The records that were accepted, or rejected, and not returned.
enum Pending<C> {
    Ordered(VecDeque<Put<C>>),
    Unordered(FuturesUnordered<Put<C>>),
}

/// One record.
struct Put<C> {
    context: Option<C>,
    outcome: Outcome,
}

enum Outcome {
    Receipt(Receipt),
    Rejected(Option<Undelivered>),
}

impl<C> Unpin for Put<C> {}

impl Producer {
    /// Sends the records of a stream, and returns a stream of their outcomes.
    ///
    /// Each item of `records` is a record and a context of the caller's, such as the offset that it was read at. The
    /// context is returned with the record's [`Delivery`] or, if it was not delivered, with the record in an
    /// [`Undelivered`]. Outcomes come in the order of `records`, so that an offset may be committed as soon as it is
    /// returned; [`unordered`](PutAll::unordered) returns them as records are settled. A record has one receipt, which is
    /// used here: an earlier one of [`Record::tracked`] ends.
    ///
    /// ```
    /// use futures::{StreamExt, TryStreamExt, stream};
    /// use kinesis_sink::{Producer, Record};
    ///
    /// # async fn commit(offset: u64) {}
    /// # async fn run(producer: Producer) -> Result<(), kinesis_sink::Undelivered> {
    /// let lines = stream::iter(["one", "two", "three"]).enumerate();
    /// let records = lines.map(|(offset, line)| (Record::from(line), offset as u64));
    /// let mut outcomes = producer.put_all(records);
    /// while let Some((offset, outcome)) = outcomes.next().await {
    ///     outcome?;
    ///     // Everything up to here is in the stream.
    ///     commit(offset).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Backpressure
    ///
    /// A record is taken from `records` only when there is room for it, and while fewer outcomes are pending than
    /// [`with_max_pending`](PutAll::with_max_pending) allows. No record is taken while the service refuses every request
    /// and the producer retries.
    ///
    /// # Errors
    ///
    /// A record that is not accepted is returned with
    /// [`FailureReason::NotAccepted`](crate::record::FailureReason::NotAccepted): it can never be sent, failed records
    /// that [nobody has taken](Self::take_failed) fill the buffer, or the producer has ended. As long as one of the latter
    /// two lasts, all further records of the source are returned like that. A consumer that commits offsets must stop at
    /// the first error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream withdraws nothing: records that were taken from `records` are sent, and their outcomes are
    /// lost, so a source with offsets is read again from the last committed one. Dropping a future of its
    /// [`StreamExt::next`] loses nothing.
    pub fn put_all<St, C>(&self, records: St) -> PutAll<St, C>
    where
        St: Stream<Item = (Record, C)>,
    {
        PutAll {
            records: records.fuse(),
            next: None,
            producer: self.clone(),
            reservation: Reservation::None,
            refused: None,
            pending: Pending::Ordered(VecDeque::new()),
            max_pending: self.channel().max_records(),
        }
    }
}

impl<St: Stream, C> PutAll<St, C> {
    /// Returns outcomes as the records are settled, instead of in the order of the source.
    pub fn unordered(mut self) -> Self {
        if let Pending::Ordered(puts) = self.pending {
            self.pending = Pending::Unordered(puts.into_iter().collect());
        }
        self
    }

    /// Sets the maximum number of pending outcomes: 1 or more. Default: the producer's
    /// [`buffer_records`](crate::Settings::buffer_records).
    ///
    /// An outcome is pending from when its record is taken from the source until it is returned. With outcomes in
    /// order, a record that is retried delays all later outcomes, so this bounds how many are kept. 0 counts as 1.
    pub fn with_max_pending(mut self, records: usize) -> Self {
        self.max_pending = records.max(1);
        self
    }
}

impl<C> Pending<C> {
    fn len(&self) -> usize {
        match self {
            Self::Ordered(puts) => puts.len(),
            Self::Unordered(puts) => puts.len(),
        }
    }

    fn push(&mut self, put: Put<C>) {
        match self {
            Self::Ordered(puts) => puts.push_back(put),
            Self::Unordered(puts) => puts.push(put),
        }
    }

    /// `Ready(None)` if nothing is pending.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(C, Result<Delivery, Undelivered>)>> {
        match self {
            Self::Ordered(puts) => {
                let Some(front) = puts.front_mut() else { return Poll::Ready(None) };
                let item = ready!(Pin::new(front).poll(cx));
                puts.pop_front();
                Poll::Ready(Some(item))
            }
            Self::Unordered(puts) => puts.poll_next_unpin(cx),
        }
    }
}

impl<C> Future for Put<C> {
    type Output = (C, Result<Delivery, Undelivered>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.outcome {
            Outcome::Receipt(receipt) => ready!(Pin::new(receipt).poll(cx)),
            Outcome::Rejected(undelivered) => {
                Err(undelivered.take().expect("it is not polled after completion"))
            }
        };
        let context = self.context.take().expect("it is not polled after completion");
        Poll::Ready((context, result))
    }
}

impl<St, C> PutAll<St, C>
where
    St: Stream<Item = (Record, C)>,
{
    /// Takes records from the source as long as there are some, and room for them. Returns whether it stopped early, to
    /// let outcomes be returned.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let mut taken = 0;
        while this.pending.len() < *this.max_pending {
            if this.next.is_none() && this.records.is_terminated() {
                break;
            }
            if taken == MAX_TAKEN {
                return true;
            }
            if let Some(refused) = this.refused {
                if refused.as_mut().poll(cx).is_pending() {
                    return false;
                }
                *this.refused = None;
            }
            let channel = this.producer.channel();
            match this.reservation.poll(channel, cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(Rejection::Refused(_))) => {
                    *this.refused = Some(Box::pin(channel.clone().recovered()));
                    continue;
                }
                // A record is taken, and returned with the reason.
                Poll::Ready(Ok(()) | Err(_)) => {}
            }
            // A source that is always ready must let other tasks run, the driver among them.
            let Poll::Ready(budget) = poll_proceed(cx) else { return false };
            if this.next.is_none() {
                let Poll::Ready(Some(next)) = this.records.as_mut().poll_next(cx) else {
                    // Others can use the room while the source has nothing.
                    this.reservation.release();
                    return false;
                };
                *this.next = Some(next);
            }
            budget.made_progress();
            let Some((record, context)) = this.next.take() else { continue };
            let (record, receipt) = record.tracked();
            let outcome = match channel.accept_reserved(record, this.reservation) {
                Ok(()) => Outcome::Receipt(receipt),
                Err(error) if error.kind() == ErrorKind::Full => {
                    // There is no room after all, or not before the stream is described. It waits for its turn.
                    this.reservation.release();
                    *this.next = error.into_record().map(|record| (record, context));
                    continue;
                }
                Err(error) => Outcome::Rejected(Undelivered::not_accepted(error)),
            };
            this.pending.push(Put { context: Some(context), outcome });
            taken += 1;
        }
        this.reservation.release();
        false
    }
}

impl<St, C> Stream for PutAll<St, C>
where
    St: Stream<Item = (Record, C)>,
{
    type Item = (C, Result<Delivery, Undelivered>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stopped_early = self.as_mut().poll_fill(cx);
        let this = self.as_mut().project();
        let is_source_done = this.next.is_none() && this.records.is_terminated();
        match this.pending.poll_next(cx) {
            Poll::Ready(None) if !is_source_done => Poll::Pending,
            Poll::Pending if stopped_early => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            outcome => {
                if outcome.is_ready() {
                    // The consumer may send to the same producer before it polls again.
                    this.reservation.release();
                }
                outcome
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let pending = self.pending.len() + usize::from(self.next.is_some());
        let (lower, upper) = self.records.size_hint();
        let upper = upper.and_then(|upper| upper.checked_add(pending));
        (lower.saturating_add(pending), upper)
    }
}

impl<St, C> FusedStream for PutAll<St, C>
where
    St: Stream<Item = (Record, C)>,
{
    fn is_terminated(&self) -> bool {
        self.records.is_terminated() && self.next.is_none() && self.pending.len() == 0
    }
}

impl<St: Stream, C> fmt::Debug for PutAll<St, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutAll")
            .field("producer", &self.producer)
            .field("pending", &self.pending.len())
            .field("max_pending", &self.max_pending)
            .finish_non_exhaustive()
    }
}
