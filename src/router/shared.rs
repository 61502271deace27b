use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::entry::{Clock, Entry, Nanos};
use super::factory::{BuiltProducer, OpenError, StreamFactory};
use super::maintenance::{self, Signals};
use super::settings::WhenFull;
use super::streams::{Effects, OverflowEnd, Refusal, Streams};
use crate::budget::Budget;
use crate::build_error::BuildError;
use crate::error::Error;
use crate::producer::Producer;
use crate::stream::StreamId;

/// Open stream of a router.
pub(super) type StreamEntry = Arc<Entry<BuiltProducer>>;

/// State shared by the handles of a router. Dropping it closes the producers that have no other handles.
#[derive(Debug)]
pub(super) struct Shared {
    streams: RwLock<Streams<BuiltProducer>>,
    factory: StreamFactory,
    signals: Arc<Signals>,
    closed: watch::Sender<bool>,
}

/// Result of a request for the entry of a stream.
enum Lookup {
    Found(StreamEntry),
    /// The maximum number of streams is open, and none of them is idle.
    Waiting(oneshot::Receiver<StreamEntry>),
}

impl Shared {
    /// Creates the state, and spawns the maintenance task.
    pub(super) fn spawn(streams: Streams<BuiltProducer>, factory: StreamFactory) -> Arc<Self> {
        let signals = Arc::new(Signals::new(factory.on_idle.clone()));
        let runtime = factory.spawner.runtime.clone();
        let shared = Arc::new(Self {
            streams: RwLock::new(streams),
            factory,
            signals: signals.clone(),
            closed: watch::Sender::new(false),
        });
        runtime.spawn(maintenance::run(Arc::downgrade(&shared), signals));
        shared
    }

    pub(super) fn streams(&self) -> RwLockReadGuard<'_, Streams<BuiltProducer>> {
        // A poisoned lock is ignored, because the table is consistent even after a panic.
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams_mut(&self) -> RwLockWriteGuard<'_, Streams<BuiltProducer>> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table, and applies the effects after it was unlocked.
    pub(super) fn change<R>(
        &self,
        change: impl FnOnce(&mut Streams<BuiltProducer>, Nanos, &mut Effects<BuiltProducer>) -> R,
    ) -> R {
        let now = self.now();
        let mut effects = Effects::default();
        let result = change(&mut self.streams_mut(), now, &mut effects);
        effects.apply();
        result
    }

    /// Changes the open streams, and wakes the maintenance task if it must do anything.
    fn change_open<R>(
        &self,
        change: impl FnOnce(&mut Streams<BuiltProducer>, Nanos, &mut Effects<BuiltProducer>) -> R,
    ) -> R {
        let (result, wakes) = self.change(|streams, now, effects| {
            let result = change(streams, now, effects);
            // The task has no timer while no stream is open.
            (result, streams.len() == 1 || streams.must_serve())
        });
        if wakes {
            self.signals.wake();
        }
        result
    }

    fn now(&self) -> Nanos {
        self.clock().now()
    }

    pub(super) fn clock(&self) -> Clock {
        self.factory.spawner.clock
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.factory.spawner.runtime
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.factory.budget
    }

    pub(super) fn when_full(&self) -> WhenFull {
        self.streams().when_full()
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub(super) async fn closed(&self) {
        // `wait_for` cannot fail, because `self` owns the sender.
        let _ = self.closed.subscribe().wait_for(|is_closed| *is_closed).await;
    }

    /// Returns all open streams whose producers are built. Streams that are being opened are not included.
    pub(super) fn acquire_all(&self) -> Vec<StreamGuard> {
        self.acquire_all_of(&self.streams())
    }

    pub(super) fn acquire_all_of(&self, streams: &Streams<BuiltProducer>) -> Vec<StreamGuard> {
        let built = streams.entries().filter(|entry| matches!(entry.get(), Some(Ok(_))));
        built.cloned().map(StreamGuard).collect()
    }

    /// Returns those of the given streams that are open.
    pub(super) fn acquire_open(&self, streams: &[StreamId]) -> Vec<StreamGuard> {
        let open = self.streams();
        let entries = streams.iter().filter_map(|stream| open.peek(stream.as_ref()));
        let built = entries.filter(|entry| matches!(entry.get(), Some(Ok(_))));
        built.cloned().map(StreamGuard).collect()
    }

    /// Closes the table, and returns all open streams. Waiting callers receive an error.
    pub(super) fn close(&self) -> Vec<StreamGuard> {
        let (entries, waiters) = {
            let mut streams = self.streams_mut();
            let waiters = streams.close();
            (streams.entries().cloned().collect::<Vec<_>>(), waiters)
        };
        // Must precede the drop of the waiters, which then return this state.
        self.closed.send_replace(true);
        drop(waiters);
        // Waits for the calls that are building a producer, and prevents later ones.
        let has_producer =
            |entry: &StreamEntry| entry.get_or_init(|| Err(OpenError::Closed)).is_ok();
        let guards = entries.into_iter().filter(has_producer).map(StreamGuard).collect();
        self.signals.wake();
        guards
    }

    /// Returns an error to waiting callers, because the maintenance task has ended.
    pub(super) fn abandon(&self) {
        let waiters = self.streams_mut().abandon();
        drop(waiters);
    }

    /// Returns the stream for a call, and opens it if necessary.
    pub(super) fn acquire(&self, stream: &str) -> Result<StreamGuard, Error> {
        match self.lookup(stream, false)? {
            Lookup::Found(entry) => self.build(entry),
            Lookup::Waiting(_) => Err(self.too_many_streams()),
        }
    }

    /// Returns the stream for a call like [`acquire`](Self::acquire), but waits if no stream is idle.
    pub(super) async fn acquire_when_idle(&self, stream: &str) -> Result<StreamGuard, Error> {
        let entry = match self.lookup(stream, true)? {
            Lookup::Found(entry) => entry,
            Lookup::Waiting(receiver) => match receiver.await {
                Ok(entry) => entry,
                // The sender was dropped because the router was closed, or with its runtime.
                Err(_) => {
                    let is_closed = self.is_closed();
                    let error = if is_closed { Error::closed() } else { Error::abandoned() };
                    // A caller waits only for a valid stream.
                    let stream = stream.parse().map_err(BuildError::from)?;
                    return Err(error.with_stream(stream));
                }
            },
        };
        self.build(entry)
    }

    /// Returns the stream for a call like [`acquire`](Self::acquire), but exceeds the maximum number of open streams if no
    /// stream is idle.
    pub(super) fn acquire_beyond_max(
        &self,
        stream: &StreamId,
    ) -> Result<(StreamGuard, Option<OverflowEnd>), Error> {
        let (entry, overflow) = match self.find(stream.as_ref()) {
            Some(entry) => (entry, None),
            None => {
                self.factory.check(stream)?;
                let opened = self
                    .change_open(|streams, now, effects| streams.open_beyond(stream, now, effects));
                opened.map_err(|refusal| self.refused(refusal))?
            }
        };
        Ok((self.build(entry)?, overflow))
    }

    /// Builds the producer of an entry, unless it was built before.
    fn build(&self, entry: StreamEntry) -> Result<StreamGuard, Error> {
        let build = || {
            let is_closed = self.streams().is_closed();
            if is_closed { Err(OpenError::Closed) } else { self.factory.open(entry.stream()) }
        };
        let error = match entry.get_or_init(build) {
            Ok(_) => return Ok(StreamGuard(entry)),
            Err(OpenError::Closed) => Error::closed(),
            Err(OpenError::Build(error)) => Error::from(BuildError::clone(error)),
        };
        self.change_open(|streams, _, effects| streams.remove(&entry, effects));
        Err(error.with_stream(entry.stream().clone()))
    }

    /// Returns the entry of an open stream. This is the only step for a record whose stream is open.
    fn find(&self, stream: &str) -> Option<StreamEntry> {
        let now = self.now();
        let streams = self.streams();
        let entry = streams.get(stream, now)?;
        entry.touch(now);
        Some(entry.clone())
    }

    fn lookup(&self, stream: &str, waits: bool) -> Result<Lookup, Error> {
        if let Some(entry) = self.find(stream) {
            return Ok(Lookup::Found(entry));
        }
        let stream: StreamId = stream.parse().map_err(BuildError::from)?;
        // Must precede `open`, which can close another stream.
        self.factory
            .check(&stream)
            .map_err(|error| Error::from(error).with_stream(stream.clone()))?;
        let opened =
            self.change_open(|streams, now, effects| match streams.open(&stream, now, effects) {
                Err(Refusal::Full) if waits => streams.wait(&stream).map(Lookup::Waiting),
                opened => opened.map(Lookup::Found),
            });
        opened.map_err(|refusal| self.refused(refusal).with_stream(stream))
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Closed => Error::closed(),
            Refusal::Full => self.too_many_streams(),
            Refusal::Abandoned => Error::abandoned(),
        }
    }

    fn too_many_streams(&self) -> Error {
        Error::too_many_streams(self.streams().max_streams())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Ends the maintenance task.
        self.signals.wake();
    }
}

/// Use of an open stream by a call, which keeps the stream open.
#[derive(Debug)]
pub(super) struct StreamGuard(StreamEntry);

impl StreamGuard {
    pub(super) fn stream(&self) -> &StreamId {
        self.0.stream()
    }

    pub(super) fn producer(&self) -> &Producer {
        match self.0.get() {
            Some(Ok(stream)) => &stream.producer,
            _ => unreachable!("the producer is built before the guard is created"),
        }
    }
}
