use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::quality::RandomState;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::streams::OverflowEnd;
use crate::stream::StreamId;

/// Queue of callers that wait until a stream is idle. Callers that wait for the same stream share one place in the queue.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    pub(super) queue: VecDeque<Waiter>,
    pub(super) callers: HashMap<StreamId, Vec<Caller<T>>, RandomState>,
}

/// Caller that receives the entry of its stream.
pub(super) type Caller<T> = oneshot::Sender<Arc<Entry<T>>>;

#[derive(Debug)]
pub(super) enum Waiter {
    /// Callers that wait until this stream can be opened.
    Open(StreamId),
    /// Sink that has exceeded the maximum number of streams, and waits until the maximum is no longer exceeded.
    Overflow(oneshot::Sender<()>),
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), callers: HashMap::default() }
    }
}

impl<T> Waiters<T> {
    pub(super) fn push(&mut self, stream: &StreamId) -> oneshot::Receiver<Arc<Entry<T>>> {
        let (caller, receiver) = oneshot::channel();
        match self.callers.get_mut(stream) {
            Some(callers) => {
                // Callers that are dropped would accumulate while no stream is idle.
                if callers.len() == callers.capacity() {
                    callers.retain(|caller| !caller.is_closed());
                }
                callers.push(caller);
            }
            None => {
                self.callers.insert(stream.clone(), vec![caller]);
                self.enqueue(Waiter::Open(stream.clone()));
            }
        }
        receiver
    }

    pub(super) fn push_overflow(&mut self) -> OverflowEnd {
        let (signal, receiver) = oneshot::channel();
        self.enqueue(Waiter::Overflow(signal));
        receiver
    }

    fn enqueue(&mut self, waiter: Waiter) {
        if self.queue.len() == self.queue.capacity() {
            let Self { queue, callers } = self;
            queue.retain(|waiter| !is_cancelled(waiter, callers));
        }
        self.queue.push_back(waiter);
    }

    /// Returns the first waiter that was not cancelled.
    pub(super) fn front(&mut self) -> Option<&Waiter> {
        while let Some(waiter) = self.queue.front()
            && is_cancelled(waiter, &mut self.callers)
        {
            self.queue.pop_front();
        }
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Waiter> {
        self.queue.pop_front()
    }

    /// Takes the callers that wait for a stream.
    pub(super) fn take(&mut self, stream: &StreamId) -> Vec<Caller<T>> {
        self.callers.remove(stream).unwrap_or_default()
    }

    /// Returns `true` if the queue has no places. The places of cancelled waiters count until they are examined.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Returns `true` if all callers were dropped or have been served, and forgets them.
fn is_cancelled<T>(
    waiter: &Waiter,
    callers: &mut HashMap<StreamId, Vec<Caller<T>>, RandomState>,
) -> bool {
    match waiter {
        Waiter::Open(stream) => {
            let is_cancelled =
                callers.get(stream).is_none_or(|callers| callers.iter().all(Caller::is_closed));
            if is_cancelled {
                callers.remove(stream);
            }
            is_cancelled
        }
        Waiter::Overflow(signal) => signal.is_closed(),
    }
}
