/// Why a stream cannot be changed as was asked.
///
/// Needs the feature `sim`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The stream never had such a shard.
    #[error("the stream has no shard {shard_id}")]
    NoSuchShard {
        /// The id that was given.
        shard_id: String,
    },
    /// The shard was split or merged before.
    #[error("the shard {shard_id} is closed")]
    Closed {
        /// Its id.
        shard_id: String,
    },
    /// The range of the shard has one hash key only.
    #[error("the shard {shard_id} has a single hash key and cannot be split")]
    Indivisible {
        /// Its id.
        shard_id: String,
    },
    /// The ranges of the two shards do not touch.
    #[error("the shards {shard_id} and {adjacent} are not neighbours")]
    NotAdjacent {
        /// One of them.
        shard_id: String,
        /// The other.
        adjacent: String,
    },
    /// Only on-demand streams have a distribution strategy.
    #[error(
        "the stream is provisioned: build it with StreamMode::OnDemand to set its distribution"
    )]
    Provisioned,
    /// No stream of the simulation has so many shards.
    #[error("{shards} shards were asked for; a stream has 1 to {most}", most = super::MAX_SHARDS)]
    ShardCount {
        /// The number that was given.
        shards: usize,
    },
}
