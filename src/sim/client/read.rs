//! How a reader gets at what a shard has taken.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::codec::{Blob, Timestamp};
use super::{check_named, unusable};
use crate::service::PutRecordsError;
use crate::sim::builder::Config;
use crate::sim::error::SimError;
use crate::sim::state::State;
use crate::sim::validation::invalid;
use crate::sim::written::{Written, read_sequence_number};

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

/// A shard's number and the sequence number of the next record at the earliest. Its text is the iterator.
struct Place {
    shard: usize,
    sequence: u64,
}

impl Place {
    fn iterator(&self) -> String {
        format!("{}:{}", self.shard, self.sequence)
    }

    fn of_iterator(iterator: &str) -> Option<Self> {
        let (shard, sequence) = iterator.split_once(':')?;
        Some(Self { shard: shard.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

pub(super) fn get_shard_iterator(
    config: &Config,
    state: &mut State,
    input: IteratorInput,
) -> Result<IteratorOutput, PutRecordsError> {
    check_named(config, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let shard = state.ring.number(&input.shard_id).map_err(|error| no_such_shard(&error))?;
    let given = || {
        let number = input.starting_sequence_number.as_deref().and_then(read_sequence_number);
        number.ok_or_else(|| unusable("StartingSequenceNumber is not one of this stream"))
    };
    let sequence = match &*input.shard_iterator_type {
        "TRIM_HORIZON" => 0,
        "LATEST" => state.sequence,
        "AT_SEQUENCE_NUMBER" => given()?,
        "AFTER_SEQUENCE_NUMBER" => given()?.saturating_add(1),
        _ => return Err(invalid("The simulation does not know this ShardIteratorType")),
    };
    Ok(IteratorOutput { shard_iterator: Place { shard, sequence }.iterator() })
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

/// Source: GetRecords API reference, `Limit` and "the maximum size of data that GetRecords can return is
/// 10 MiB".
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 10 * 1024 * 1024;

pub(super) fn get_records(
    _: &Config,
    state: &mut State,
    input: RecordsInput,
) -> Result<RecordsOutput, PutRecordsError> {
    let limit = input.limit.unwrap_or(MOST_RECORDS);
    if !(1..=MOST_RECORDS).contains(&limit) {
        return Err(invalid("Limit must be between 1 and 10000"));
    }
    let place = Place::of_iterator(&input.shard_iterator);
    let known = place.filter(|place| place.shard < state.ring.shards.len());
    let Some(place) = known else { return Err(unusable("ShardIterator is not one")) };
    let shard = &state.ring.shards[place.shard];
    let record = |number: &usize| &state.written[*number];
    let read = shard.written.partition_point(|number| record(number).sequence() < place.sequence);
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut rest = shard.written[read..].iter().map(record).peekable();
    while let Some(next) = rest.peek().filter(|_| records.len() < limit) {
        bytes += next.size();
        if bytes > MOST_BYTES && !records.is_empty() {
            break;
        }
        records.extend(rest.next().map(output_record));
    }
    let behind = rest.peek().map(|next| next.at());
    let next = match rest.peek() {
        Some(next) => Some(next.sequence()),
        // Nothing comes any more in a closed shard.
        None if shard.closed.is_some() => None,
        None => Some(place.sequence.max(state.sequence)),
    };
    let next = next.map(|sequence| Place { sequence, ..place }.iterator());
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
