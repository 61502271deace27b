use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::BoxError;

use super::{SimService, SimStream};
use crate::shard::Shard;
use crate::stream::{StreamDescription, StreamId, StreamInfo};

/// Simulated streams that share one service and one client, as the streams of a region do.
///
/// Requires the feature `sim`.
///
/// Each request is handled by the [`SimStream`] that it names, by name or ARN. If the region does not contain the
/// stream, the request fails with `ResourceNotFoundException` after 20 ms. Streams can be added, deleted and removed at
/// any time, and each stream has its faults, quota and latency. A clone is another handle to the same region.
///
/// The following test of a [`Router`](crate::Router) checks that a stream without permissions and a missing stream do not
/// affect another one:
///
/// ```
/// use kinesis_sink::sim::{Faults, SimRegion, SimStream};
/// use kinesis_sink::{Record, Router};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let region = SimRegion::new();
/// region.add(SimStream::builder().with_name("clicks").build()?);
/// let denied = Faults::default().with_outage("AccessDeniedException", 400);
/// region.add(SimStream::builder().with_name("orders").with_faults(denied).build()?);
///
/// let router = Router::builder().spawn(&region.client())?;
/// for (stream, code) in [("orders", "AccessDeniedException"), ("visits", "ResourceNotFoundException")] {
///     let receipt = router.put_to(stream, Record::from("data")).await?;
///     let undelivered = receipt.await.unwrap_err();
///     assert_eq!(undelivered.last_error().map(|error| error.code()), Some(code));
/// }
/// router.put_to("clicks", Record::from("data")).await?.await?;
/// assert_eq!(region.get("clicks").unwrap().written().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SimRegion {
    streams: Arc<Mutex<HashMap<StreamId, SimStream>>>,
    /// Deleted stream that handles the requests for streams that do not exist.
    missing: SimStream,
    started: Instant,
}

impl SimRegion {
    /// Creates a region without streams.
    #[must_use]
    pub fn new() -> Self {
        let missing = SimStream::builder().with_name("missing").with_seed(0).build();
        let missing = missing.expect("the settings are valid");
        missing.delete(Duration::ZERO);
        Self { streams: Arc::default(), missing, started: Instant::now() }
    }

    /// Adds a stream. Returns the stream of the same name that it replaces, if there is one.
    ///
    /// A stream of a region has its [faults](SimStream::set_faults), and can be [deleted](SimStream::delete).
    pub fn add(&self, stream: SimStream) -> Option<SimStream> {
        self.lock().insert(stream.id(), stream)
    }

    /// Removes a stream and returns it. New requests for it fail with `ResourceNotFoundException`.
    ///
    /// Requests in flight are still handled. To simulate a stream that is deleted during requests, use
    /// [`SimStream::delete`].
    pub fn remove(&self, name: &str) -> Option<SimStream> {
        self.lock().remove(name)
    }

    /// Returns the stream with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SimStream> {
        self.lock().get(name).cloned()
    }

    /// Returns the streams in the order of their names.
    #[must_use]
    pub fn streams(&self) -> Vec<SimStream> {
        let mut streams: Vec<_> = self.lock().values().cloned().collect();
        streams.sort_by(|a, b| a.id().name().cmp(b.id().name()));
        streams
    }

    /// Returns a `tower::Service` that sends each request to its stream.
    #[must_use]
    pub fn service(&self) -> SimService {
        SimService::new(Target::Region(self.clone()))
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Returns the stream with the name in `id`. If `id` is an ARN, the stream compares it with its ARN.
    fn find(&self, id: &StreamId) -> SimStream {
        self.get(id.name()).unwrap_or_else(|| self.missing.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, SimStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimRegion {
    /// Returns a region without streams.
    fn default() -> Self {
        Self::new()
    }
}

/// Describes and lists the stream that is named in the call.
impl StreamInfo for SimRegion {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        self.find(stream).describe_stream(stream)
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        self.find(stream).list_shards(stream)
    }
}

impl fmt::Debug for SimRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRegion").field("streams", &self.lock().len()).finish_non_exhaustive()
    }
}

/// Receiver of the requests of a service or client.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Stream(SimStream),
    Region(SimRegion),
}

impl Target {
    /// Returns the stream that handles a request. Only a region needs the stream that the request names.
    pub(super) fn find<T>(&self, named: impl FnOnce() -> Option<T>) -> SimStream
    where
        T: Borrow<StreamId>,
    {
        match self {
            Self::Stream(stream) => stream.clone(),
            Self::Region(region) => match named() {
                Some(id) => region.find(id.borrow()),
                None => region.missing.clone(),
            },
        }
    }
}
