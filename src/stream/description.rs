use crate::limits::DEFAULT_RECORD_BYTES;

/// Settings of a stream that affect a sink.
///
/// The default value describes a stream with default settings, whose records have a size of up to 1 MiB and are
/// distributed by partition key.
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
    /// The range is 1 B to 10 MiB. A sink clamps other values to this range.
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets how records are distributed over the shards. Default: [`Distribution::UserPartitionKey`].
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

    /// Returns the maximum size of a record in bytes, including its partition key. The service calls this
    /// `MaxRecordSizeInKiB`.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.max_record_bytes
    }

    /// Returns how records are distributed over the shards.
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

/// Distribution of records over the shards of a stream. The service calls this `RecordDistributionStrategy`.
///
/// Only on-demand streams have a `RecordDistributionStrategy`, as documented for `StreamDescriptionSummary` in the
/// Kinesis API reference (2026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// The explicit hash key or the hash of the partition key determines the shard, so records with the same key are
    /// written to the same shard. Used for `USER_PARTITION_KEY` and for streams without a strategy.
    UserPartitionKey,
    /// The service chooses the shard and ignores both keys. Used for `AUTO`, and for strategies unknown to this crate,
    /// because they might write records with the same key to different shards.
    Auto,
}

/// Capacity mode of a stream. The service calls this `StreamMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamMode {
    /// Provisioned mode, in which the user sets the number of shards. A provisioned stream has no
    /// `RecordDistributionStrategy` and always distributes records by partition key.
    Provisioned,
    /// On-demand mode, in which the service adds shards when the load increases. The distribution can be changed to
    /// [`Auto`](Distribution::Auto) at any time.
    OnDemand,
}
