pub(super) mod describe;
mod list_shards;

use std::fmt;

use aws_sdk_kinesis::Client;
use futures::FutureExt;
use futures::future::BoxFuture;
use tower::BoxError;

use self::describe::{Cached, Descriptions};
use super::sdk::{derive, without_stalled_stream_protection};
use crate::shard::Shard;
use crate::stream::{StreamDescription, StreamId, StreamInfo};

/// [`StreamInfo`] that calls DescribeStreamSummary and ListShards with the AWS SDK.
///
/// Like [`PutRecords`](super::PutRecords), it derives a client that does not retry from the given client, so the caller
/// is responsible for retries and timeouts. Errors are [`PutRecordsError`](super::PutRecordsError)s.
///
/// # Caching
///
/// Descriptions are cached, because DescribeStreamSummary is limited to 20 requests per second for all producers of an
/// account. Clones share the cache, and concurrent calls for one stream share a request. A description remains in the
/// cache until the last clone is dropped, or until a call of
/// [`describe_stream_uncached`](StreamInfo::describe_stream_uncached) replaces it. A sink calls that method when
/// responses contradict the description. Two results are not cached:
///
/// - An error. Concurrent calls that wait for the same response then send their own requests, one after the other.
/// - The description of a stream that [distributes records itself](crate::stream::Distribution::Auto). A sink can
///   refuse to send to such a stream. If the owner of the stream then changes the distribution, the next call returns
///   the new description.
///
/// Shard lists are not cached, because ListShards allows 1,000 requests per second for each stream and returns up to
/// 1,000 shards per request.
///
/// These limits are documented in the API references of DescribeStreamSummary ("a limit of 20 transactions per second
/// per account") and ListShards.
///
/// ```no_run
/// use kinesis_sink::stream::StreamInfo;
/// use kinesis_sink::service::SdkStreamInfo;
///
/// # async fn demo(client: aws_sdk_kinesis::Client) -> Result<(), tower::BoxError> {
/// let info = SdkStreamInfo::new(&client);
/// if let Some(call) = info.list_shards(&"clicks".parse()?) {
///     for shard in call.await? {
///         println!("{} takes {}", shard.id(), shard.range());
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping a future that describes a stream abandons its request. If other calls wait for the same response, one of
/// them sends a new request. Dropping a future that lists shards abandons the listing.
#[derive(Clone)]
pub struct SdkStreamInfo {
    client: Client,
    descriptions: Descriptions,
    lists_shards: bool,
}

impl SdkStreamInfo {
    /// Creates a new `SdkStreamInfo` with a client derived from `client` and an empty cache.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let descriptions = Descriptions::default();
        Self { client: derive(client), descriptions, lists_shards: true }
    }

    /// Turns off the SDK's stalled-stream protection, which fails a call that makes no progress for a few seconds.
    ///
    /// Use this method if the caller applies a timeout to each call. A sink applies a timeout of 10 s.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }

    /// Turns off calls of ListShards.
    ///
    /// Use this method for a role without the permission `kinesis:ListShards`, or for a sink that needs only the
    /// description.
    #[must_use]
    pub fn without_list_shards(mut self) -> Self {
        self.lists_shards = false;
        self
    }

    fn describe(
        &self,
        stream: &StreamId,
        cell: Cached,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        let descriptions = self.descriptions.clone();
        describe::describe_stream(self.client.clone(), descriptions, cell, stream.clone()).boxed()
    }
}

impl StreamInfo for SdkStreamInfo {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let cached = self.descriptions.get(stream);
        Some(self.describe(stream, cached))
    }

    fn describe_stream_uncached(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let renewed = self.descriptions.renew(stream);
        Some(self.describe(stream, renewed))
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        if !self.lists_shards {
            return None;
        }
        let client = self.client.clone();
        let stream = stream.clone();
        let call = async move {
            let listed = list_shards::list_shards(&client, &stream).await;
            listed.map_err(|error| error.for_lookup("ListShards", stream).into())
        };
        Some(call.boxed())
    }
}

impl fmt::Debug for SdkStreamInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkStreamInfo").finish_non_exhaustive()
    }
}
