use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::entry::{Activity, Clock, Nanos, StreamProducer};
use super::settings::StreamSettings;
use crate::budget::Budget;
use crate::build_error::BuildError;
#[cfg(feature = "metrics")]
use crate::metrics::StreamLabels;
use crate::producer::{Driver, EndReason, Producer};
use crate::service::PutRecordsService;
use crate::sink::{KinesisSink, SinkBuilder};
use crate::status::Totals;
use crate::stream::StreamId;

/// Closure that changes the builder of a stream.
pub(super) type Configure = Arc<dyn Fn(&StreamId, SinkBuilder) -> SinkBuilder + Send + Sync>;

/// Closure that builds the sink of a stream with the shared service, and spawns its driver.
pub(super) type Spawn =
    Box<dyn Fn(SinkBuilder, &Spawner) -> Result<SpawnedProducer, BuildError> + Send + Sync>;

/// Closure that checks whether the shared service can send to a stream.
pub(super) type Check = Box<dyn Fn(&StreamId) -> Result<(), BuildError> + Send + Sync>;

/// Factory for the producers of the streams.
pub(super) struct StreamFactory {
    pub(super) settings: StreamSettings,
    pub(super) configure: Option<Configure>,
    pub(super) budget: Budget,
    pub(super) spawn: Spawn,
    pub(super) check: Check,
    pub(super) spawner: Spawner,
    pub(super) on_idle: Arc<Notify>,
    #[cfg(feature = "metrics")]
    pub(super) stream_labels: StreamLabels,
}

/// Spawner of the drivers.
#[derive(Debug)]
pub(super) struct Spawner {
    /// Runtime of the drivers. Handles of the router can be used outside of it.
    pub(super) runtime: Handle,
    pub(super) clock: Clock,
}

/// Producer of an open stream.
#[derive(Debug)]
pub(super) struct SpawnedProducer {
    pub(super) producer: Producer,
    /// Time at which the driver has ended, or 0 before.
    ended_at: Arc<AtomicU64>,
}

/// Open stream, or the error if its producer was not built.
pub(super) type BuiltProducer = Result<SpawnedProducer, OpenError>;

#[derive(Debug, Clone)]
pub(super) enum OpenError {
    /// Boxed, because each open stream has the size of the larger variant.
    Build(Box<BuildError>),
    /// The router was closed before the producer was built.
    Closed,
}

impl StreamFactory {
    /// Checks that a stream can be opened, as far as this does not need a producer.
    pub(super) fn check(&self, stream: &StreamId) -> Result<(), BuildError> {
        (self.check)(stream)
    }

    /// Builds the producer of a stream. This is the only place that builds one, so anything that a stream needs below its
    /// producer, such as a spool, is attached here.
    pub(super) fn open(&self, stream: &StreamId) -> BuiltProducer {
        let settings = self.settings.of(stream).clone();
        let mut builder = KinesisSink::builder(stream).with_shared_settings(settings);
        if let Some(configure) = &self.configure {
            builder = configure(stream, builder);
        }
        // The closure can return any builder, but the records must be sent to this stream, within the budget.
        let builder = builder.with_stream(stream.clone()).with_budget(&self.budget);
        #[cfg(feature = "metrics")]
        let builder = builder.with_stream_labels(&self.stream_labels);
        let opened = (self.spawn)(builder, &self.spawner)
            .map_err(|error| OpenError::Build(Box::new(error)))?;
        opened.producer.notify_when_idle(self.on_idle.clone());
        Ok(opened)
    }
}

impl Spawner {
    /// Converts a sink into a producer, and spawns its driver.
    pub(super) fn spawn<S>(&self, sink: KinesisSink<S>) -> SpawnedProducer
    where
        S: PutRecordsService + Send + 'static,
    {
        let (producer, driver) = sink.into_producer();
        let ended_at = Arc::new(AtomicU64::new(0));
        let end = EndGuard { ended_at: ended_at.clone(), clock: self.clock };
        self.runtime.spawn(GuardedDriver { driver, _end: end });
        SpawnedProducer { producer, ended_at }
    }
}

/// Driver of an open stream. An `async` block would store the driver twice.
struct GuardedDriver<S> {
    driver: Driver<S>,
    /// Dropped after the driver.
    _end: EndGuard,
}

impl<S> Future for GuardedDriver<S>
where
    S: PutRecordsService,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.driver).poll(cx)
    }
}

/// Sets the time of the end when the driver has ended, panicked, or was dropped with its runtime.
struct EndGuard {
    ended_at: Arc<AtomicU64>,
    clock: Clock,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.ended_at.store(self.clock.now(), Ordering::Relaxed);
    }
}

impl StreamProducer for BuiltProducer {
    fn activity(&self) -> Activity {
        let Ok(SpawnedProducer { producer, .. }) = self else { return Activity::Idle };
        // Must precede `is_idle`, because another handle can send a record before it is dropped.
        let is_only_handle = producer.is_only_handle();
        let is_empty = producer.is_idle();
        match producer.end() {
            Some(EndReason::Closed) => Activity::Closed { is_empty },
            Some(EndReason::Stopped) => Activity::Stopped { is_empty },
            None if is_empty && is_only_handle => Activity::Idle,
            None => Activity::InUse,
        }
    }

    fn ended_at(&self) -> Nanos {
        self.as_ref().map_or(0, |stream| stream.ended_at.load(Ordering::Relaxed))
    }

    fn totals(&self) -> Totals {
        self.as_ref().map_or_else(|_| Totals::default(), |stream| stream.producer.status().totals)
    }

    fn request_rest(&self) -> Option<Waker> {
        self.as_ref().ok()?.producer.request_rest()
    }
}

impl fmt::Debug for StreamFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFactory").finish_non_exhaustive()
    }
}
