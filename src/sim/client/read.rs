//! GetShardIterator and GetRecords.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::codec::{Blob, Timestamp};
use super::{check_named, invalid_argument};
use crate::service::PutRecordsError;
use crate::sim::builder::Config;
use crate::sim::error::SimError;
use crate::sim::state::State;
use crate::sim::validation::invalid;
use crate::sim::written::{Written, parse_sequence_number};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IteratorInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_id: String,
    shard_iterator_type: String,
    starting_sequence_number: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IteratorOutput {
    shard_iterator: String,
}

/// Position in a shard. The next record to read has this sequence number or a later one. Serialized as `ShardIterator`,
/// with the name of the stream.
struct ShardIterator {
    shard: usize,
    sequence: u64,
}

impl ShardIterator {
    fn token(&self, config: &Config) -> String {
        format!("{}:{}:{}", config.id.name(), self.shard, self.sequence)
    }

    fn from_token(token: &str) -> Option<Self> {
        let (_, position) = token.split_once(':')?;
        let (shard, sequence) = position.split_once(':')?;
        Some(Self { shard: shard.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

pub(super) fn get_shard_iterator(
    config: &Config,
    state: &mut State,
    input: IteratorInput,
) -> Result<IteratorOutput, PutRecordsError> {
    check_named(config, state, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let shard = state.ring.number(&input.shard_id).map_err(|error| no_such_shard(&error))?;
    let starting_sequence = || {
        let number = input.starting_sequence_number.as_deref().and_then(parse_sequence_number);
        number.ok_or_else(|| invalid_argument("StartingSequenceNumber is invalid"))
    };
    let sequence = match &*input.shard_iterator_type {
        "TRIM_HORIZON" => 0,
        "LATEST" => state.sequence,
        "AT_SEQUENCE_NUMBER" => starting_sequence()?,
        "AFTER_SEQUENCE_NUMBER" => starting_sequence()?.saturating_add(1),
        _ => return Err(invalid("The simulation does not support this ShardIteratorType")),
    };
    Ok(IteratorOutput { shard_iterator: ShardIterator { shard, sequence }.token(config) })
}

fn no_such_shard(error: &SimError) -> PutRecordsError {
    let code = Some("ResourceNotFoundException");
    PutRecordsError::service(code, Some(&error.to_string()), Some(400))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordsInput {
    shard_iterator: String,
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordsOutput {
    records: Vec<OutputRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OutputRecord {
    sequence_number: String,
    approximate_arrival_timestamp: Timestamp,
    data: Blob,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
}

// See the GetRecords API reference: `Limit`, and "the maximum size of data that GetRecords can return is 10 MiB".
const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: usize = 10 * 1024 * 1024;

pub(super) fn get_records(
    config: &Config,
    state: &mut State,
    input: RecordsInput,
) -> Result<RecordsOutput, PutRecordsError> {
    let limit = input.limit.unwrap_or(MAX_RECORDS);
    if !(1..=MAX_RECORDS).contains(&limit) {
        return Err(invalid("Limit must be between 1 and 10000"));
    }
    let iterator = ShardIterator::from_token(&input.shard_iterator);
    let valid = iterator.filter(|iterator| iterator.shard < state.ring.shards.len());
    let Some(iterator) = valid else { return Err(invalid_argument("ShardIterator is invalid")) };
    let shard = &state.ring.shards[iterator.shard];
    let record = |number: &usize| &state.written[*number];
    let read =
        shard.written.partition_point(|number| record(number).sequence() < iterator.sequence);
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut rest = shard.written[read..].iter().map(record).peekable();
    while let Some(next) = rest.peek().filter(|_| records.len() < limit) {
        bytes += next.size();
        if bytes > MAX_BYTES && !records.is_empty() {
            break;
        }
        records.extend(rest.next().map(output_record));
    }
    let behind = rest.peek().map(|next| next.at());
    let next = match rest.peek() {
        Some(next) => Some(next.sequence()),
        // No more records are written to a closed shard, so there is no next iterator.
        None if shard.closed.is_some() => None,
        None => Some(iterator.sequence.max(state.sequence)),
    };
    let next = next.map(|sequence| ShardIterator { sequence, ..iterator }.token(config));
    let age = |at| Instant::now().saturating_duration_since(state.started + at).as_millis() as u64;
    let millis_behind_latest = behind.map_or(0, age);
    Ok(RecordsOutput { records, next_shard_iterator: next, millis_behind_latest })
}

fn output_record(written: &Written) -> OutputRecord {
    OutputRecord {
        sequence_number: written.sequence_number(),
        approximate_arrival_timestamp: Timestamp(written.at()),
        data: Blob(written.data().clone()),
        partition_key: written.partition_key().map(|key| key.to_string()),
    }
}
