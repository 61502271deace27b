use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::status::Totals;
use crate::stream::StreamId;

/// Time since the router was built, in nanoseconds. Never 0.
pub(super) type Nanos = u64;

/// Clock of a router.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Nanos {
        Nanos::try_from(self.0.elapsed().as_nanos()).unwrap_or(Nanos::MAX).saturating_add(1)
    }

    pub(super) fn instant(self, time: Nanos) -> Instant {
        self.0 + Duration::from_nanos(time)
    }
}

/// Open stream of a router.
///
/// A call in progress holds the entry, which keeps the stream open. `T` is the producer. It is built after the
/// entry was added to the table, because building it calls code of the user, which must not run while the table is locked.
#[derive(Debug)]
pub(super) struct Entry<T> {
    stream: StreamId,
    /// Distinguishes the entry from earlier and later ones of the same stream.
    id: u64,
    producer: OnceLock<T>,
    last_used: AtomicU64,
}

/// Producer of an [`Entry`].
pub(super) trait StreamProducer {
    /// Returns how the producer is used. `Idle` is reliable only if no call through the entry is in progress.
    fn activity(&self) -> Activity;

    /// Returns the time at which the producer has ended, or 0 before.
    fn ended_at(&self) -> Nanos;

    fn totals(&self) -> Totals;

    /// Asks the producer to release unused memory if it has been idle since the previous call. Has no effect until the
    /// returned waker is woken.
    fn request_rest(&self) -> Option<Waker>;
}

/// Use of a stream, which determines whether it can be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// There is a record or a handle.
    InUse,
    Idle,
    /// The producer was closed through one of its handles.
    Closed {
        is_empty: bool,
    },
    /// The producer has stopped by itself.
    Stopped {
        is_empty: bool,
    },
}

impl<T> Entry<T> {
    pub(super) fn new(stream: StreamId, id: u64, now: Nanos) -> Self {
        Self { stream, id, producer: OnceLock::new(), last_used: AtomicU64::new(now) }
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the producer, which is built by the first call.
    pub(super) fn get_or_init(&self, build: impl FnOnce() -> T) -> &T {
        self.producer.get_or_init(build)
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.producer.get()
    }

    pub(super) fn touch(&self, now: Nanos) {
        self.last_used.store(now, Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> Nanos {
        self.last_used.load(Ordering::Relaxed)
    }
}

impl<T: StreamProducer> Entry<T> {
    pub(super) fn activity(&self) -> Activity {
        self.get().map_or(Activity::Idle, T::activity)
    }

    /// Returns `true` if the producer has ended, nothing is left in it, and the stream may be opened again.
    ///
    /// A stopped stream would probably stop again, so it is opened again only after `pause`.
    pub(super) fn can_reopen(&self, now: Nanos, pause: Nanos) -> bool {
        let ended_at = self.get().map_or(0, T::ended_at);
        if ended_at == 0 {
            return false;
        }
        match self.activity() {
            Activity::Closed { is_empty } => is_empty,
            Activity::Stopped { is_empty } => is_empty && now.saturating_sub(ended_at) >= pause,
            Activity::InUse | Activity::Idle => false,
        }
    }
}
