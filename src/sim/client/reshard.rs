use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::response::Empty;
use super::{check_active, invalid_argument};
use crate::record::HashKey;
use crate::service::PutRecordsError;
use crate::sim::builder::Config;
use crate::sim::error::SimError;
use crate::sim::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_split: String,
    new_starting_hash_key: String,
}

pub(super) fn split_shard(
    config: &Config,
    state: &mut State,
    input: SplitInput,
) -> Result<Empty, PutRecordsError> {
    check_active(config, state, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let at: Result<HashKey, _> = input.new_starting_hash_key.parse();
    let at = at.map_err(|_| invalid_argument("NewStartingHashKey is not a hash key"))?;
    let split = state.ring.split(&input.shard_to_split, Some(at), state.sequence, Instant::now());
    reshard_response(split)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MergeInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_merge: String,
    adjacent_shard_to_merge: String,
}

pub(super) fn merge_shards(
    config: &Config,
    state: &mut State,
    input: MergeInput,
) -> Result<Empty, PutRecordsError> {
    check_active(config, state, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let (shard, adjacent) = (&input.shard_to_merge, &input.adjacent_shard_to_merge);
    reshard_response(state.ring.merge(shard, adjacent, state.sequence, Instant::now()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CountInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    target_shard_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CountOutput {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: usize,
    target_shard_count: usize,
}

pub(super) fn update_shard_count(
    config: &Config,
    state: &mut State,
    input: CountInput,
) -> Result<CountOutput, PutRecordsError> {
    check_active(config, state, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let current_shard_count = state.ring.open.len();
    let target_shard_count = input.target_shard_count;
    reshard_response(state.ring.update_count(target_shard_count, state.sequence, Instant::now()))?;
    Ok(CountOutput {
        stream_name: config.id.name().to_owned(),
        stream_arn: config.arn.to_string(),
        current_shard_count,
        target_shard_count,
    })
}

fn reshard_response(result: Result<(), SimError>) -> Result<Empty, PutRecordsError> {
    let code = match &result {
        Ok(()) => return Ok(Empty {}),
        Err(SimError::NoSuchShard { .. }) => "ResourceNotFoundException",
        Err(_) => "InvalidArgumentException",
    };
    let message = result.err().map(|error| error.to_string());
    Err(PutRecordsError::service(Some(code), message.as_deref(), Some(400)))
}
