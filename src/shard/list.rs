use futures::future::BoxFuture;
use tower::BoxError;

use super::Shard;
use crate::stream::StreamId;

/// Says which shards a stream has. [`ShardLister`](crate::service::ShardLister) asks the service;
/// implement it for a cache or a source of your own. A closure is one:
///
/// ```
/// use kinesis_sink::shard::{HashRange, ListShards, Shard};
/// use kinesis_sink::{HashKey, StreamId};
/// use tower::BoxError;
///
/// let one_shard = |_: StreamId| async {
///     let ring = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).expect("in order");
///     Ok::<_, BoxError>(vec![Shard::new("shardId-000000000000", ring)])
/// };
/// # async fn demo(source: impl ListShards) -> Result<(), BoxError> {
/// let shards = source.list_shards(&"clicks".parse()?).await?;
/// assert_eq!(shards.len(), 1);
/// # Ok(())
/// # }
/// # futures::executor::block_on(demo(one_shard)).unwrap();
/// ```
pub trait ListShards: Send + Sync {
    /// The open shards of `stream`, those that take records, in any order: none of them twice, and no
    /// two whose ranges overlap.
    ///
    /// # Errors
    ///
    /// They cannot be told now. [`Classify`](crate::service::Classify) says what the error means, by
    /// what it finds in the chain of sources;
    /// [`PutRecordsError::service`](crate::service::PutRecordsError::service) makes an error that it knows.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point and the call made again.
    fn list_shards(&self, stream: &StreamId) -> BoxFuture<'static, Result<Vec<Shard>, BoxError>>;
}

impl<F, Fut> ListShards for F
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Vec<Shard>, BoxError>> + Send + 'static,
{
    fn list_shards(&self, stream: &StreamId) -> BoxFuture<'static, Result<Vec<Shard>, BoxError>> {
        Box::pin(self(stream.clone()))
    }
}
