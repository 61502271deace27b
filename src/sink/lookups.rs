//! What the sink asks the service about the stream, beside its requests.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::BoxError;
use tracing::{info, warn};

use crate::pipeline::{Aggregation, Ordering, Pipeline, Settings};
use crate::service::{ErrorClass, NO_STREAM};
use crate::shard::{ListShards, Shard, ShardMap};
use crate::stream::{DescribeStream, Distribution, StreamDescription};
use crate::timeout::TimeoutError;
use crate::trace::TARGET;

/// So long may the answer to one call take.
const LONGEST: Duration = Duration::from_secs(10);

/// After so many calls without an answer the sink goes on without a description.
const DESCRIPTIONS: u32 = 5;

type Answer<T> = Result<T, BoxError>;

/// The calls under way, each a task of its own. Dropping it aborts them.
#[derive(Default)]
pub(super) struct Lookups {
    list_shards: Option<Arc<dyn ListShards>>,
    describe_stream: Option<Arc<dyn DescribeStream>>,
    listing: JoinSet<Answer<Vec<Shard>>>,
    description: JoinSet<Answer<StreamDescription>>,
    /// Calls for a description that got no answer.
    unanswered: u32,
    /// A warning about failing listings is out, and no success has followed.
    listing_warned: bool,
}

/// Why a stream that distributes its records itself is refused.
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
    Ordering,
    #[error(
        "the stream distributes records itself (RecordDistributionStrategy AUTO), where consumers would \
         discard aggregates and a key has no order: switch aggregation off and set the ordering to \
         Unordered, or switch the stream to USER_PARTITION_KEY"
    )]
    Both,
}

impl DistributedByService {
    fn of(settings: &Settings) -> Self {
        match (settings.packing.is_on(), settings.ordering) {
            (true, Ordering::PerKey) => Self::Both,
            (true, _) => Self::Aggregation,
            (false, _) => Self::Ordering,
        }
    }
}

impl Lookups {
    pub(super) fn new(
        list_shards: Option<Arc<dyn ListShards>>,
        describe_stream: Option<Arc<dyn DescribeStream>>,
    ) -> Self {
        Self { list_shards, describe_stream, ..Self::default() }
    }

    /// Takes in what was answered and makes the calls that are due. True if there was something to do:
    /// then it must be called again, which registers the waker for it.
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
        let Some(describe) = &self.describe_stream else { return false };
        if self.description.is_empty() {
            let begins = pipeline.description_is_due(now);
            if begins {
                let (describe, stream) = (describe.clone(), pipeline.stream().clone());
                let anew = pipeline.topology().routing().is_doubted();
                if anew {
                    info!(
                        target: TARGET,
                        "answers of stream {} contradict the partition keys; describing it again",
                        stream.name()
                    );
                }
                // In the task, so that code of the user's panics there.
                let call = async move {
                    match anew {
                        true => describe.describe_stream_anew(&stream).await,
                        false => describe.describe_stream(&stream).await,
                    }
                };
                self.description.spawn_on(bounded(call), &Handle::current());
            }
            return begins;
        }
        let Poll::Ready(answer) = poll_answer(&mut self.description, cx) else { return false };
        match answer {
            Ok(described) => self.described(described, pipeline, now),
            Err(error) => self.not_described(error, pipeline, now),
        }
        true
    }

    fn described(&mut self, description: StreamDescription, pipeline: &mut Pipeline, now: Instant) {
        let by_service = description.distribution() == Distribution::ByService;
        self.unanswered = 0;
        if by_service && pipeline.topology().routing().is_relied_on() {
            let error = DistributedByService::of(pipeline.settings());
            return pipeline.refuse_distribution(error.into(), now);
        }
        pipeline.describe(Some(description), now);
    }

    /// A stream that does not exist is told at once. Everything else shows in the requests themselves.
    fn not_described(&mut self, error: BoxError, pipeline: &mut Pipeline, now: Instant) {
        let (class, noted) = pipeline.health().classify(&error);
        let missing = noted.code() == NO_STREAM;
        let may_pass = !matches!(class, ErrorClass::Fatal | ErrorClass::Invalid);
        if pipeline.topology().routing().is_doubted() {
            return pipeline.fail_description(may_pass, now);
        }
        if missing {
            self.unanswered = 0;
            return pipeline.fail_lookup(ErrorClass::Fatal, error, now);
        }
        // Like a request, the lookup is retried for the credentials timeout.
        if class == ErrorClass::Credentials {
            return pipeline.fail_lookup(class, error, now);
        }
        self.unanswered += 1;
        // A stream that was refused stays refused until a description says otherwise.
        let is_refused = pipeline.topology().routing().is_by_service();
        if is_refused || (may_pass && self.unanswered < DESCRIPTIONS) {
            return pipeline.fail_lookup(class, error, now);
        }
        info!(
            target: TARGET,
            error = noted.message(),
            "error.type" = noted.code(),
            "stream {} cannot be described; going on with the limits that are set",
            pipeline.stream().name()
        );
        self.unanswered = 0;
        pipeline.describe(None, now);
    }

    fn drive_listing(
        &mut self,
        cx: &mut Context<'_>,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> bool {
        let Some(list) = &self.list_shards else { return false };
        if self.listing.is_empty() {
            let begins = pipeline.topology().listing_is_due(now);
            if begins {
                let (list, stream) = (list.clone(), pipeline.stream().clone());
                let call = async move { list.list_shards(&stream).await };
                // Outside of a runtime this panics, so before the pipeline counts on an answer.
                self.listing.spawn_on(bounded(call), &Handle::current());
                pipeline.topology_mut().begin_listing();
            }
            return begins;
        }
        let Poll::Ready(answer) = poll_answer(&mut self.listing, cx) else { return false };
        match answer.and_then(|shards| Ok(ShardMap::new(shards)?)) {
            Ok(map) => {
                self.listing_warned = false;
                pipeline.list(Some(map), now);
            }
            Err(error) => {
                self.warn_of_listing(&error, pipeline);
                pipeline.list(None, now);
            }
        }
        true
    }

    fn warn_of_listing(&mut self, error: &BoxError, pipeline: &Pipeline) {
        let (_, noted) = pipeline.health().classify(error);
        if std::mem::replace(&mut self.listing_warned, true) {
            return;
        }
        let (stream, settings) = (pipeline.stream().name(), pipeline.settings());
        if settings.packing.aggregation == Aggregation::PerKey {
            info!(
                target: TARGET,
                error = noted.message(),
                "error.type" = noted.code(),
                "the shards of stream {stream} cannot be listed; aggregates are not checked against them"
            );
            return;
        }
        warn!(
            target: TARGET,
            error = noted.message(),
            "error.type" = noted.code(),
            "the shards of stream {stream} cannot be listed; aggregating by key until they can"
        );
    }
}

/// A call that comes to an end, whoever makes it.
async fn bounded<T>(call: impl Future<Output = Answer<T>>) -> Answer<T> {
    let elapsed = |_| TimeoutError::Elapsed { after: LONGEST };
    timeout(LONGEST, call).await.map_err(elapsed)?
}

/// The answer of the one task in the set.
fn poll_answer<T: 'static>(
    calls: &mut JoinSet<Answer<T>>,
    cx: &mut Context<'_>,
) -> Poll<Answer<T>> {
    match calls.poll_join_next(cx) {
        Poll::Ready(Some(Ok(answer))) => Poll::Ready(answer),
        // A panic, which may quote what it was given, or the end of the runtime.
        Poll::Ready(Some(Err(_))) => Poll::Ready(Err("the call did not come to its end".into())),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}
