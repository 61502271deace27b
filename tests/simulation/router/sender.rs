//! Calls that send one record, which are sometimes dropped before they complete.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::{Error, Producer, Receipt, Record, Router, StreamId};
use tokio::time::timeout;

use super::{ms, one_of, rarely};

/// Handle through which a task sends records to one stream.
#[derive(Clone)]
pub enum Handle {
    Router(Router, StreamId),
    Producer(Producer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Send,
    Put,
    TrySend,
    TryPut,
}

impl Way {
    pub fn draw(rng: &mut Rng) -> Self {
        one_of(rng, &[Self::Send, Self::Send, Self::Put, Self::Put, Self::TrySend, Self::TryPut])
    }
}

impl Handle {
    /// Returns the name for the coverage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Router(..) => "a record through the router",
            Self::Producer(_) => "a record through a producer",
        }
    }

    /// Sends a record, and returns its receipt if the call has one.
    pub async fn call(&self, way: Way, record: Record) -> Result<Option<Receipt>, Error> {
        match (self, way) {
            (Self::Router(router, id), Way::Send) => {
                router.send_to(id, record).await.map(|()| None)
            }
            (Self::Router(router, id), Way::Put) => router.put_to(id, record).await.map(Some),
            (Self::Router(router, id), Way::TrySend) => {
                router.try_send_to(id, record).map(|()| None)
            }
            (Self::Router(router, id), Way::TryPut) => router.try_put_to(id, record).map(Some),
            (Self::Producer(producer), Way::Send) => producer.send(record).await.map(|()| None),
            (Self::Producer(producer), Way::Put) => producer.put(record).await.map(Some),
            (Self::Producer(producer), Way::TrySend) => producer.try_send(record).map(|()| None),
            (Self::Producer(producer), Way::TryPut) => producer.try_put(record).map(Some),
        }
    }
}

/// Limits after which a future is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    polls: usize,
    time: Duration,
}

impl Patience {
    pub fn draw(rng: &mut Rng) -> Self {
        let polls = if rarely(rng, 3) { rng.usize(1..=4) } else { usize::MAX };
        let max = if rarely(rng, 3) { 20_000 } else { 300 };
        Self { polls, time: ms(rng.u64(0..=max)) }
    }

    /// Polls a future. Returns `None` if it was dropped.
    pub async fn wait<F: Future>(self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut polls = 0;
        let polled = poll_fn(|cx| {
            polls += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls >= self.polls => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        timeout(self.time, polled).await.ok().flatten()
    }
}
