use futures::future::BoxFuture;
use tower::BoxError;

use super::StreamId;
use crate::limits::DEFAULT_RECORD_BYTES;

/// What a producer must know of a stream. The default is what a stream is unless it was set up
/// otherwise: records up to 1 MiB, placed by their partition keys.
///
/// ```
/// use kinesis_sink::{Distribution, StreamDescription};
///
/// let stream = StreamDescription::default()
///     .with_max_record_bytes(10 * 1024 * 1024)
///     .with_distribution(Distribution::ByService);
/// assert_eq!(stream.max_record_bytes(), 10_485_760);
/// assert_eq!(StreamDescription::default().distribution(), Distribution::ByPartitionKey);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamDescription {
    max_record_bytes: usize,
    distribution: Distribution,
    mode: StreamMode,
}

impl Default for StreamDescription {
    fn default() -> Self {
        Self {
            max_record_bytes: DEFAULT_RECORD_BYTES,
            distribution: Distribution::ByPartitionKey,
            mode: StreamMode::OnDemand,
        }
    }
}

impl StreamDescription {
    /// Sets the most bytes of one record, data and partition key together: 1 B to 10 MiB (a sink takes
    /// what is outside for the nearer end), by default [`DEFAULT_RECORD_BYTES`].
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets what decides on which shard a record lands; by default its partition key.
    #[must_use]
    pub fn with_distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }

    /// Sets the capacity mode: [`StreamMode::OnDemand`] by default, which allows every distribution.
    #[must_use]
    pub fn with_mode(mut self, mode: StreamMode) -> Self {
        self.mode = mode;
        self
    }

    /// Most bytes of one record, data and partition key together: the stream's `MaxRecordSizeInKiB`.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.max_record_bytes
    }

    /// What decides on which shard a record lands.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// The capacity mode.
    #[must_use]
    pub fn mode(&self) -> StreamMode {
        self.mode
    }
}

/// What decides on which shard a record lands: the stream's `RecordDistributionStrategy`.
///
/// Source: StreamDescriptionSummary API reference (2026); only on-demand streams have a strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// The record's explicit hash key or the hash of its partition key: `USER_PARTITION_KEY`, and
    /// streams without a strategy. Records with the same key lie on the same shard.
    ByPartitionKey,
    /// The service, which ignores both keys: `AUTO`, and every strategy that this crate does not know,
    /// since nothing says that such a one keeps equal keys together.
    ByService,
}

/// How the capacity of a stream is managed: its `StreamMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamMode {
    /// The owner sets the number of shards. Such a stream has no distribution strategy, so it always
    /// places records by their partition keys.
    Provisioned,
    /// The service adds shards under load. Such a stream can be switched to
    /// [`ByService`](Distribution::ByService) at any time.
    OnDemand,
}

/// Describes streams. [`StreamDescriber`](crate::service::StreamDescriber) asks the service; implement
/// it for a source of your own. A closure is one:
///
/// ```
/// use kinesis_sink::{DescribeStream, StreamDescription, StreamId};
/// use tower::BoxError;
///
/// let as_usual = |_: StreamId| async { Ok::<_, BoxError>(StreamDescription::default()) };
/// # async fn demo(source: impl DescribeStream) -> Result<(), BoxError> {
/// let stream = source.describe_stream(&"clicks".parse()?).await?;
/// assert_eq!(stream.max_record_bytes(), 1024 * 1024);
/// # Ok(())
/// # }
/// # futures::executor::block_on(demo(as_usual)).unwrap();
/// ```
pub trait DescribeStream: Send + Sync {
    /// Describes `stream`.
    ///
    /// # Errors
    ///
    /// It cannot be described now. [`Classify`](crate::service::Classify) says what the error means, by
    /// what it finds in the chain of sources;
    /// [`PutRecordsError::service`](crate::service::PutRecordsError::service) makes an error that it knows.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point and the call made again.
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>>;

    /// Describes `stream` as it is now, past any cache. A sink calls this when answers contradict the previous
    /// description. By default it calls [`describe_stream`](Self::describe_stream); an implementation that
    /// caches must override it.
    ///
    /// # Errors
    ///
    /// As [`describe_stream`](Self::describe_stream).
    ///
    /// # Cancel safety
    ///
    /// As [`describe_stream`](Self::describe_stream).
    fn describe_stream_anew(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        self.describe_stream(stream)
    }
}

impl<F, Fut> DescribeStream for F
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<StreamDescription, BoxError>> + Send + 'static,
{
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        Box::pin(self(stream.clone()))
    }
}
