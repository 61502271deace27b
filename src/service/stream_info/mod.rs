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
/// Like [`PutRecords`](super::PutRecords), it uses a client that is derived from the given one and does not retry. The
/// caller retries, and limits the time of a call. Errors are [`PutRecordsError`](super::PutRecordsError)s.
///
/// # Caching
///
/// Descriptions are cached, since the limit of DescribeStreamSummary is 20 requests per second for all producers of an
/// account. Clones share the cache, and concurrent calls for one stream share a request. A description is kept as long
/// as a clone exists, or until it is replaced by a call of
/// [`describe_stream_uncached`](StreamInfo::describe_stream_uncached). A sink makes that call when responses contradict
/// the description. Two results are not cached:
///
/// - An error. The concurrent calls then send their requests one after the other.
/// - A description of a stream that [distributes records itself](crate::stream::Distribution::Auto). A sink may refuse
///   to send to such a stream, and its owner can then change it.
///
/// Lists of shards are not cached. The limit of ListShards is 1,000 requests per second and stream, with up to 1,000
/// shards per request.
///
/// Sources: DescribeStreamSummary API reference ("a limit of 20 transactions per second per account"), ListShards
/// API reference.
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
/// Dropping a future that describes a stream abandons its request. If other calls wait for the response, one of them
/// sends a new request. Dropping a future that lists shards abandons the list.
#[derive(Clone)]
pub struct SdkStreamInfo {
    client: Client,
    descriptions: Descriptions,
    lists_shards: bool,
}

impl SdkStreamInfo {
    /// Creates an `SdkStreamInfo` with a client derived from `client`, and an empty cache.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let descriptions = Descriptions::default();
        Self { client: derive(client), descriptions, lists_shards: true }
    }

    /// Turns off the stalled-stream protection of the SDK, which fails a call without progress for a few seconds.
    ///
    /// Use it if the caller limits the time of a call, as a sink does with 10 s.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }

    /// Turns off ListShards, for a role without the permission `kinesis:ListShards` or a sink that needs only the
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
