//! Stream information from the service: the description and the shards.

pub(super) mod describe;
mod list_shards;

use std::fmt;

use aws_sdk_kinesis::Client;
use futures::FutureExt;
use futures::future::BoxFuture;
use tower::BoxError;

use self::describe::Descriptions;
use super::sdk::{derive, without_stalled_stream_protection};
use crate::shard::Shard;
use crate::stream::{StreamDescription, StreamId, StreamInfo};

/// [`StreamInfo`] from the service: DescribeStreamSummary, once per stream, and ListShards, page by page.
///
/// It derives a client from the given one, with the SDK's retries off, as [`PutRecords`](super::PutRecords) does: the
/// caller retries, and limits the time of a call. Errors are [`PutRecordsError`](super::PutRecordsError)s.
///
/// # Descriptions are cached
///
/// An account may send 20 DescribeStreamSummary requests a second, for all its producers together. So clones share
/// what one of them has learned, and while one describes a stream the others wait for its response. A description
/// is kept as long as a clone lives, or until a call
/// [past the cache](StreamInfo::describe_stream_uncached), which a sink makes when responses contradict the
/// description. Two results are not kept: errors, after which those who waited ask one after the other; and
/// that a stream is distributed [by the service](crate::stream::Distribution::Auto), which its owner may
/// change when a sink refuses it.
///
/// # Lists are not cached
///
/// A stream may be listed 1,000 times a second; each page of up to 1,000 shards counts.
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
/// Dropping a future that describes a stream abandons its request, and the next that waits sends one. Dropping one
/// that waits changes nothing. Dropping a future that lists shards abandons the list.
#[derive(Clone)]
pub struct SdkStreamInfo {
    client: Client,
    descriptions: Descriptions,
    lists_shards: bool,
}

impl SdkStreamInfo {
    /// Creates a source over a client derived from `client`, with an empty cache.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let descriptions = Descriptions::default();
        Self { client: derive(client), descriptions, lists_shards: true }
    }

    /// Turns off the SDK's stalled-stream protection, which fails a call that makes no progress for a few
    /// seconds. Use it if you limit the time of a call yourself, as a sink does with 10 s.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }

    /// Turns off lists, for a role without the permission `kinesis:ListShards` and for sinks that need only the
    /// description.
    #[must_use]
    pub fn without_list_shards(mut self) -> Self {
        self.lists_shards = false;
        self
    }
}

impl StreamInfo for SdkStreamInfo {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let (client, descriptions) = (self.client.clone(), self.descriptions.clone());
        let cached = descriptions.get(stream);
        Some(describe::describe_stream(client, descriptions, cached, stream.clone()).boxed())
    }

    /// Describes `stream` past the cache. Concurrent calls share one request.
    fn describe_stream_uncached(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let (client, descriptions) = (self.client.clone(), self.descriptions.clone());
        let renewed = descriptions.renew(stream);
        Some(describe::describe_stream(client, descriptions, renewed, stream.clone()).boxed())
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        if !self.lists_shards {
            return None;
        }
        let (client, stream) = (self.client.clone(), stream.clone());
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
