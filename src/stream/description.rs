use crate::limits::DEFAULT_RECORD_BYTES;

/// Settings of a stream that a sink depends on.
///
/// The default describes a stream without special settings: records of up to 1 MiB, distributed by their partition
/// keys.
///
/// ```
/// use kinesis_sink::stream::{Distribution, StreamDescription};
///
/// let stream = StreamDescription::default()
///     .with_max_record_bytes(10 * 1024 * 1024)
///     .with_distribution(Distribution::Auto);
/// assert_eq!(stream.max_record_bytes(), 10_485_760);
/// assert_eq!(StreamDescription::default().distribution(), Distribution::UserPartitionKey);
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
            distribution: Distribution::UserPartitionKey,
            mode: StreamMode::OnDemand,
        }
    }
}

impl StreamDescription {
    /// Sets the maximum size of a record in bytes, including its partition key. Default: [`DEFAULT_RECORD_BYTES`].
    ///
    /// The range is 1 B to 10 MiB. A sink clamps other values to it.
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets the distribution of records over the shards. Default: [`Distribution::UserPartitionKey`].
    #[must_use]
    pub fn with_distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }

    /// Sets the capacity mode. Default: [`StreamMode::OnDemand`], which allows every distribution.
    #[must_use]
    pub fn with_mode(mut self, mode: StreamMode) -> Self {
        self.mode = mode;
        self
    }

    /// Returns the maximum size of a record in bytes, including its partition key: the stream's `MaxRecordSizeInKiB`.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.max_record_bytes
    }

    /// Returns the distribution of records over the shards.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// Returns the capacity mode.
    #[must_use]
    pub fn mode(&self) -> StreamMode {
        self.mode
    }
}

/// Distribution of records over the shards of a stream: its `RecordDistributionStrategy`.
///
/// Only on-demand streams have a strategy. Source: StreamDescriptionSummary API reference (2026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// By the explicit hash key or the hash of the partition key: `USER_PARTITION_KEY`, and streams without a strategy.
    /// Records with the same key are written to the same shard.
    UserPartitionKey,
    /// By the service, which ignores both keys: `AUTO`, and every strategy that is unknown to this crate, since it may
    /// not keep equal keys together.
    Auto,
}

/// Capacity mode of a stream: its `StreamMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamMode {
    /// The user sets the number of shards. The stream has no distribution strategy, so it always distributes records by
    /// their partition keys.
    Provisioned,
    /// The service adds shards under load. The stream can be switched to [`Auto`](Distribution::Auto) at any time.
    OnDemand,
}
