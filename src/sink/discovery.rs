use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::BoxError;
use tracing::{info, warn};

use crate::pipeline::{Aggregation, Pipeline, RecordOrdering};
use crate::service::{ErrorClass, NO_STREAM};
use crate::settings::Settings;
use crate::shard::{Shard, ShardMap};
use crate::stream::{Distribution, StreamDescription, StreamInfo};
use crate::timeout::TimeoutError;
use crate::trace::TARGET;

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of attempts to describe the stream before the sink uses the configured limits.
const MAX_DESCRIBE_ATTEMPTS: u32 = 5;

/// Response of a source, or `None` if the source does not support the call.
type Response<T> = Option<Result<T, BoxError>>;

/// Looks up the stream description and the shard list in tasks, which are aborted when this value is dropped.
pub(super) struct Discovery {
    source: Arc<dyn StreamInfo>,
    /// Set to `false` when the source turns out not to support descriptions.
    describes: bool,
    lists: bool,
    listing: JoinSet<Response<Vec<Shard>>>,
    description: JoinSet<Response<StreamDescription>>,
    describe_attempts: u32,
    /// Set to `true` when a failed listing is logged, and to `false` when a listing succeeds.
    listing_warned: bool,
}

#[derive(Debug, thiserror::Error)]
enum DistributedByService {
    #[error(
        "the stream distributes records itself (RecordDistributionStrategy AUTO), where consumers would \
         discard aggregates: switch aggregation off, or the stream to USER_PARTITION_KEY"
    )]
    Aggregation,
    #[error(
        "the stream distributes records itself (RecordDistributionStrategy AUTO), where the records of a \
         key are spread over shards and have no order: set the ordering to Unordered, or the stream to \
         USER_PARTITION_KEY"
    )]
    RecordOrdering,
    #[error(
        "the stream distributes records itself (RecordDistributionStrategy AUTO), where consumers would \
         discard aggregates and a key has no order: switch aggregation off and set the ordering to \
         Unordered, or switch the stream to USER_PARTITION_KEY"
    )]
    Both,
}

impl DistributedByService {
    fn of(settings: &Settings) -> Self {
        match (settings.is_aggregating(), settings.ordering) {
            (true, RecordOrdering::PerKey) => Self::Both,
            (true, _) => Self::Aggregation,
            (false, _) => Self::RecordOrdering,
        }
    }
}

impl Discovery {
    pub(super) fn new(source: Arc<dyn StreamInfo>, describes: bool) -> Self {
        Self {
            source,
            describes,
            lists: true,
            listing: JoinSet::new(),
            description: JoinSet::new(),
            describe_attempts: 0,
            listing_warned: false,
        }
    }

    /// Returns `true` if the sink describes the stream before it sends any record.
    pub(super) fn describes(&self) -> bool {
        self.describes
    }

    /// Processes responses and starts lookups. If it returns `true`, call it again to register the waker.
    pub(super) fn drive(
        &mut self,
        cx: &mut Context<'_>,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> bool {
        let described = self.drive_description(cx, pipeline, now);
        self.drive_listing(cx, pipeline, now) || described
    }

    fn drive_description(
        &mut self,
        cx: &mut Context<'_>,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> bool {
        if !self.describes {
            return false;
        }
        if self.description.is_empty() {
            let is_due = pipeline.description_is_due(now);
            if is_due {
                let (source, stream) = (self.source.clone(), pipeline.stream().clone());
                let uncached = pipeline.topology().routing().is_unconfirmed();
                if uncached {
                    info!(
                        target: TARGET,
                        "responses of stream {} contradict the partition keys; describing it again",
                        stream.name()
                    );
                }
                let call = move || {
                    if uncached {
                        source.describe_stream_uncached(&stream)
                    } else {
                        source.describe_stream(&stream)
                    }
                };
                self.description.spawn_on(lookup(call), &Handle::current());
            }
            return is_due;
        }
        let Poll::Ready(response) = poll_lookup(&mut self.description, cx) else { return false };
        match response {
            Some(Ok(description)) => self.on_description(description, pipeline, now),
            Some(Err(error)) => self.on_description_error(error, pipeline, now),
            None => {
                self.describes = false;
                pipeline.description_unavailable(now);
            }
        }
        true
    }

    fn on_description(
        &mut self,
        description: StreamDescription,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        let by_service = description.distribution() == Distribution::Auto;
        self.describe_attempts = 0;
        if by_service && pipeline.topology().routing().is_relied_on() {
            let error = DistributedByService::of(pipeline.settings());
            return pipeline.reject_stream(error.into(), now);
        }
        pipeline.apply_description(Some(description), now);
    }

    /// Reports a missing stream immediately, and retries transient errors. After the last attempt, the sink uses the
    /// configured limits, because a persistent problem also fails the requests.
    fn on_description_error(&mut self, error: BoxError, pipeline: &mut Pipeline, now: Instant) {
        let (class, attempt_error) = pipeline.health().classify(&error);
        let missing = attempt_error.code() == NO_STREAM;
        let is_transient = !matches!(class, ErrorClass::Fatal | ErrorClass::Invalid);
        if pipeline.topology().routing().is_unconfirmed() {
            return pipeline.fail_description(is_transient, now);
        }
        if missing {
            self.describe_attempts = 0;
            return pipeline.fail_lookup(ErrorClass::Fatal, error, now);
        }
        // Like a request, the lookup is retried until the credentials timeout has elapsed.
        if class == ErrorClass::Credentials {
            return pipeline.fail_lookup(class, error, now);
        }
        self.describe_attempts += 1;
        // A sink that refused the stream because of its distribution must wait until a description shows another one.
        let is_refused = pipeline.topology().routing().is_by_service();
        if is_refused || (is_transient && self.describe_attempts < MAX_DESCRIBE_ATTEMPTS) {
            return pipeline.fail_lookup(class, error, now);
        }
        info!(
            target: TARGET,
            error = attempt_error.message(),
            "error.type" = attempt_error.code(),
            "stream {} cannot be described; using the configured limits",
            pipeline.stream().name()
        );
        self.describe_attempts = 0;
        pipeline.apply_description(None, now);
    }

    fn drive_listing(
        &mut self,
        cx: &mut Context<'_>,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> bool {
        if !self.lists {
            return false;
        }
        if self.listing.is_empty() {
            let is_due = pipeline.topology().listing_is_due(now);
            if is_due {
                let (source, stream) = (self.source.clone(), pipeline.stream().clone());
                let call = move || source.list_shards(&stream);
                // `Handle::current` panics outside of a runtime, so it must be called before the state changes.
                self.listing.spawn_on(lookup(call), &Handle::current());
                pipeline.topology_mut().begin_listing();
            }
            return is_due;
        }
        let Poll::Ready(response) = poll_lookup(&mut self.listing, cx) else { return false };
        let Some(response) = response else {
            self.lists = false;
            self.on_listing_unavailable(pipeline, now);
            return true;
        };
        match response.and_then(|shards| Ok(ShardMap::new(shards)?)) {
            Ok(map) => {
                self.listing_warned = false;
                pipeline.apply_list(Some(map), now);
            }
            Err(error) => {
                self.warn_of_listing(&error, pipeline);
                pipeline.apply_list(None, now);
            }
        }
        true
    }

    fn on_listing_unavailable(&self, pipeline: &mut Pipeline, now: Instant) {
        if pipeline.settings().aggregation == Aggregation::PerShard {
            warn!(
                target: TARGET,
                "the source of stream {} has no list of shards; aggregating per key",
                pipeline.stream().name()
            );
        }
        pipeline.listing_unavailable(now);
    }

    fn warn_of_listing(&mut self, error: &BoxError, pipeline: &Pipeline) {
        let (_, attempt_error) = pipeline.health().classify(error);
        if std::mem::replace(&mut self.listing_warned, true) {
            return;
        }
        let stream = pipeline.stream().name();
        if pipeline.settings().aggregation == Aggregation::PerKey {
            info!(
                target: TARGET,
                error = attempt_error.message(),
                "error.type" = attempt_error.code(),
                "the shards of stream {stream} cannot be listed; aggregates are not checked against them"
            );
            return;
        }
        warn!(
            target: TARGET,
            error = attempt_error.message(),
            "error.type" = attempt_error.code(),
            "the shards of stream {stream} cannot be listed; aggregating per key until they can"
        );
    }
}

/// Calls the source with a timeout. Runs in a separate task, so that a panic in the source does not reach the sink.
async fn lookup<T>(
    call: impl FnOnce() -> Option<BoxFuture<'static, Result<T, BoxError>>>,
) -> Response<T> {
    let response = timeout(LOOKUP_TIMEOUT, call()?).await;
    Some(response.unwrap_or_else(|_| Err(TimeoutError::Elapsed { after: LOOKUP_TIMEOUT }.into())))
}

fn poll_lookup<T: 'static>(
    calls: &mut JoinSet<Response<T>>,
    cx: &mut Context<'_>,
) -> Poll<Response<T>> {
    match calls.poll_join_next(cx) {
        Poll::Ready(Some(Ok(response))) => Poll::Ready(response),
        // The panic message is dropped, because it can contain data.
        Poll::Ready(Some(Err(_))) => {
            Poll::Ready(Some(Err("the lookup panicked, or its runtime was shut down".into())))
        }
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}
