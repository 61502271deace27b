use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::entry::{Occupancy, Occupant};
use super::settings::RouterSettings;
use crate::budget::Budget;
use crate::build_error::BuildError;
#[cfg(feature = "metrics")]
use crate::metrics::StreamLabels;
use crate::producer::{End, Producer};
use crate::service::PutRecordsService;
use crate::sink::{KinesisSink, SinkBuilder};
use crate::status::Totals;
use crate::stream::StreamId;

/// Closure that changes the builder of a stream.
pub(super) type Configure = Arc<dyn Fn(&StreamId, SinkBuilder) -> SinkBuilder + Send + Sync>;

/// Closure that builds the sink of a stream with the shared service, and spawns its driver.
pub(super) type Spawn =
    Box<dyn Fn(SinkBuilder, &Handle) -> Result<Producer, BuildError> + Send + Sync>;

/// Closure that checks whether the shared service can send to a stream.
pub(super) type Check = Box<dyn Fn(&StreamId) -> Result<(), BuildError> + Send + Sync>;

/// Factory for the producers of the streams.
pub(super) struct Opener {
    pub(super) settings: RouterSettings,
    pub(super) configure: Option<Configure>,
    pub(super) budget: Budget,
    pub(super) spawn: Spawn,
    pub(super) check: Check,
    /// Runtime of the drivers. Handles of the router can be used outside of it.
    pub(super) runtime: Handle,
    pub(super) on_idle: Arc<Notify>,
    #[cfg(feature = "metrics")]
    pub(super) stream_labels: StreamLabels,
}

/// Producer of an open stream, or the error if it was not built.
pub(super) type Opened = Result<Producer, OpenError>;

#[derive(Debug, Clone)]
pub(super) enum OpenError {
    Build(BuildError),
    /// The router was closed before the producer was built.
    Closed,
}

impl Opener {
    /// Checks that a stream can be opened, as far as this does not need a producer.
    pub(super) fn check(&self, stream: &StreamId) -> Result<(), BuildError> {
        (self.check)(stream)
    }

    /// Builds the producer of a stream. This is the only place that builds one, so anything that a stream needs below its
    /// producer, such as a spool, is attached here.
    pub(super) fn open(&self, stream: &StreamId) -> Opened {
        let settings = self.settings.settings_of(stream).clone();
        let mut builder = KinesisSink::builder(stream).with_settings(settings);
        if let Some(configure) = &self.configure {
            builder = configure(stream, builder);
        }
        // The closure can return any builder, but the records must be sent to this stream, within the budget.
        let builder = builder.with_stream(stream.clone()).with_budget(&self.budget);
        #[cfg(feature = "metrics")]
        let builder = builder.with_stream_labels(&self.stream_labels);
        let producer = (self.spawn)(builder, &self.runtime).map_err(OpenError::Build)?;
        producer.notify_when_idle(self.on_idle.clone());
        Ok(producer)
    }
}

/// Converts a sink into a producer, and spawns its driver.
pub(super) fn spawn_on<S>(runtime: &Handle, sink: KinesisSink<S>) -> Producer
where
    S: PutRecordsService + Send + 'static,
{
    let (producer, driver) = sink.into_producer();
    runtime.spawn(driver);
    producer
}

impl Occupant for Opened {
    fn occupancy(&self) -> Occupancy {
        let Ok(producer) = self else { return Occupancy::Idle };
        // Must precede `is_idle`, because another handle can send a record before it is dropped.
        let is_only_handle = producer.is_only_handle();
        let is_empty = producer.is_idle();
        match producer.end() {
            Some(End::Closed) => Occupancy::Closed { is_empty },
            Some(End::Stopped) => Occupancy::Stopped { is_empty },
            None if is_empty && is_only_handle => Occupancy::Idle,
            None => Occupancy::InUse,
        }
    }

    fn totals(&self) -> Totals {
        self.as_ref().map_or_else(|_| Totals::default(), |producer| producer.status().totals)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}
