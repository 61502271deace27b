use crate::limits::DEFAULT_RECORD_BYTES;

/// What a producer must know of a stream. The default is what a stream is unless it was set up
/// otherwise: records up to 1 MiB, placed by their partition keys.
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
#[non_exhaustive]
pub enum Distribution {
    /// The record's explicit hash key or the hash of its partition key: `USER_PARTITION_KEY`, and
    /// streams without a strategy. Records with the same key lie on the same shard.
    UserPartitionKey,
    /// The service, which ignores both keys: `AUTO`, and every strategy that this crate does not know,
    /// since nothing says that such a one keeps equal keys together.
    Auto,
}

/// How the capacity of a stream is managed: its `StreamMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamMode {
    /// The owner sets the number of shards. Such a stream has no distribution strategy, so it always
    /// places records by their partition keys.
    Provisioned,
    /// The service adds shards under load. Such a stream can be switched to
    /// [`Auto`](Distribution::Auto) at any time.
    OnDemand,
}
