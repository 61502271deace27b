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

/// Maximum number of records that one poll takes from the source before it returns outcomes.
const MAX_TAKEN: usize = 32;

/// Stream of record outcomes, each with the context of its record.
///
/// [`Producer::put_all`] returns this stream. Like a clone of the producer, the stream keeps the producer open.
#[pin_project]
#[must_use = "streams do nothing unless they are polled"]
pub struct PutAll<St, C>
where
    St: Stream,
{
    #[pin]
    records: Fuse<St>,
    next: Option<St::Item>,
    producer: Producer,
    reservation: Reservation,
    /// Future that completes when the producer accepts records again. Set while the service refuses every request.
    refused: Option<BoxFuture<'static, ()>>,
    pending: Pending<C>,
    max_pending: usize,
}

enum Pending<C> {
    Ordered(VecDeque<Put<C>>),
    Unordered(FuturesUnordered<Put<C>>),
}

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
    /// Each item of `records` is a pair of a record and a context, such as the offset of the record in its source. Each
    /// outcome is a pair of the context and the result: a [`Delivery`], or an [`Undelivered`] that contains the record.
    ///
    /// Outcomes are returned in the order of `records`, so that an offset can be committed as soon as it is returned.
    /// Use [`unordered`](PutAll::unordered) to get each outcome as soon as its record is settled.
    ///
    /// A record has at most one receipt, and `put_all` uses it. If the record already has a [receipt](Record::tracked),
    /// that receipt completes as if the record had been dropped.
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
    ///     // All records up to this offset are in the stream.
    ///     commit(offset).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Backpressure
    ///
    /// A record is taken from `records` only if the buffer has capacity and the number of pending outcomes is below
    /// [`with_max_pending`](PutAll::with_max_pending). While the service refuses every request and the producer
    /// retries, no record is taken.
    ///
    /// # Errors
    ///
    /// A record that was not accepted is returned with the reason
    /// [`FailureReason::NotAccepted`](crate::record::FailureReason::NotAccepted). A record is not accepted if
    ///
    /// - it can never be sent;
    /// - the buffer is full of failed records that have not been [taken](Self::take_failed);
    /// - the producer has ended.
    ///
    /// In the last two cases, all following records are returned with the same reason until the cause is removed. A
    /// consumer that commits offsets must stop at the first error.
    ///
    /// # Cancel safety
    ///
    /// If the stream is dropped, records already taken from `records` are still sent, but their outcomes are lost. To
    /// process these records again, read the source from the last committed offset. Dropping a [`StreamExt::next`]
    /// future does not lose an outcome.
    pub fn put_all<St, C>(&self, records: St) -> PutAll<St, C>
    where
        St: Stream<Item = (Record, C)>,
    {
        PutAll {
            records: records.fuse(),
            next: None,
            producer: self.clone(),
            reservation: Reservation::NONE,
            refused: None,
            pending: Pending::Ordered(VecDeque::new()),
            max_pending: self.channel().max_records(),
        }
    }
}

impl<St: Stream, C> PutAll<St, C> {
    /// Returns each outcome as soon as its record is settled, instead of in the order of the source.
    pub fn unordered(mut self) -> Self {
        if let Pending::Ordered(puts) = self.pending {
            self.pending = Pending::Unordered(puts.into_iter().collect());
        }
        self
    }

    /// Sets the maximum number of pending outcomes: 1 or more. Default: the producer's
    /// [`buffer_records`](crate::Settings::buffer_records).
    ///
    /// An outcome is pending from the time its record is taken from the source until the outcome is returned. If
    /// outcomes are returned in order, a record that is retried delays the outcomes of all later records, and this
    /// maximum limits how many are delayed. The value 0 is treated as 1.
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
                Err(undelivered.take().expect("`Put` polled after completion"))
            }
        };
        let context = self.context.take().expect("`Put` polled after completion");
        Poll::Ready((context, result))
    }
}

impl<St, C> PutAll<St, C>
where
    St: Stream<Item = (Record, C)>,
{
    /// Takes records from the source while the buffer has capacity. Returns `true` after [`MAX_TAKEN`] records, so that
    /// the caller can return outcomes before it takes more.
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
                // After a rejection, the next record is returned with the reason.
                Poll::Ready(Ok(()) | Err(_)) => {}
            }
            // A source that is always ready must let other tasks run, including the driver.
            let Poll::Ready(budget) = poll_proceed(cx) else { return false };
            if this.next.is_none() {
                let Poll::Ready(Some(next)) = this.records.as_mut().poll_next(cx) else {
                    // Lets other tasks use the permit while the source is pending.
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
                    // The buffer is full, or the stream description is not known yet.
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
                    // The consumer might send to the same producer before it polls again, and needs the permit then.
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
