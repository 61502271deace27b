use super::MAX_SHARDS;
use crate::build_error::BuildError;

#[derive(Debug, thiserror::Error)]
pub(super) enum SimError {
    #[error("the stream has no shard {shard_id}: use one of `shards()`")]
    NoSuchShard { shard_id: String },
    #[error("the shard {shard_id} is closed: use one of `shards()`")]
    Closed { shard_id: String },
    #[error("the shard {shard_id} has a single hash key: split another one")]
    Indivisible { shard_id: String },
    #[error("the shards {shard_id} and {adjacent} are not adjacent: merge neighbors")]
    NotAdjacent { shard_id: String, adjacent: String },
    #[error("the stream is provisioned: build it on-demand to set its distribution")]
    Provisioned,
    #[error("the number of shards is {shards}; set it between 1 and {MAX_SHARDS}")]
    ShardCount { shards: usize },
}

impl From<SimError> for BuildError {
    fn from(error: SimError) -> Self {
        Self::Simulation { reason: error.to_string() }
    }
}
