use serde::{Deserialize, Serialize};

use super::{check_active, invalid_argument};
use crate::service::PutRecordsError;
use crate::sim::builder::Config;
use crate::sim::ring::{Ring, SimShard};
use crate::sim::state::State;
use crate::sim::validation::invalid;
use crate::sim::written::sequence_number;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<usize>,
    exclusive_start_shard_id: Option<String>,
    shard_filter: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    r#type: String,
    shard_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    shards: Vec<OutputShard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OutputShard {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

/// Default number of shards in a page, followed by the maximum. See `MaxResults` in the ListShards API reference.
const DEFAULT_PAGE_SIZE: usize = 1_000;
const MAX_PAGE_SIZE: usize = 10_000;

/// Start of a page, and the filter of the shard list. Serialized as `NextToken`, with the name of the stream.
struct Cursor {
    open_only: bool,
    next: usize,
}

impl Cursor {
    fn token(&self, config: &Config) -> String {
        let which = if self.open_only { "open" } else { "all" };
        format!("{}:{which}:{}", config.id.name(), self.next)
    }

    fn from_token(token: &str) -> Option<Self> {
        let (_, position) = token.split_once(':')?;
        let (which, next) = position.split_once(':')?;
        let open_only = match which {
            "open" => true,
            "all" => false,
            _ => return None,
        };
        Some(Self { open_only, next: next.parse().ok()? })
    }
}

pub(super) fn list_shards(
    config: &Config,
    state: &mut State,
    input: Input,
) -> Result<Output, PutRecordsError> {
    let page_size = input.max_results.unwrap_or(DEFAULT_PAGE_SIZE);
    if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
        return Err(invalid("MaxResults must be between 1 and 10000"));
    }
    let mut cursor = cursor(config, state, input)?;
    let mut shards = Vec::new();
    while let Some(shard) = state.ring.shards.get(cursor.next) {
        let listed = shard.closed.is_none() || !cursor.open_only;
        if listed && shards.len() == page_size {
            return Ok(Output { shards, next_token: Some(cursor.token(config)) });
        }
        shards.extend(listed.then(|| output_shard(&state.ring, shard)));
        cursor.next += 1;
    }
    Ok(Output { shards, next_token: None })
}

fn cursor(config: &Config, state: &State, input: Input) -> Result<Cursor, PutRecordsError> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    if let Some(token) = &input.next_token {
        // The token contains the values of these parameters.
        let others = (name, &input.exclusive_start_shard_id, &input.shard_filter);
        if !matches!(others, (None, None, None)) {
            return Err(invalid_argument(
                "NextToken cannot be combined with the parameters of a first page",
            ));
        }
        return Cursor::from_token(token).ok_or_else(|| invalid_argument("NextToken is invalid"));
    }
    check_active(config, state, name, arn)?;
    let after = |id: &str| match state.ring.number(id) {
        Ok(number) => Ok(number + 1),
        Err(error) => Err(invalid_argument(&error.to_string())),
    };
    let mut cursor = Cursor { open_only: false, next: 0 };
    if let Some(id) = &input.exclusive_start_shard_id {
        cursor.next = after(id)?;
    }
    if let Some(filter) = input.shard_filter {
        match (&*filter.r#type, filter.shard_id) {
            ("AT_LATEST", _) => cursor.open_only = true,
            ("AT_TRIM_HORIZON" | "FROM_TRIM_HORIZON", _) => {}
            ("AFTER_SHARD_ID", Some(id)) => cursor.next = after(&id)?,
            _ => return Err(invalid_argument("The simulation does not support this filter")),
        }
    }
    Ok(cursor)
}

fn output_shard(ring: &Ring, shard: &SimShard) -> OutputShard {
    let mut parents = shard.parents.iter().map(|&number| ring.shards[number].id.to_string());
    let range = shard.shard.range();
    OutputShard {
        shard_id: shard.id.to_string(),
        parent_shard_id: parents.next(),
        adjacent_parent_shard_id: parents.next(),
        hash_key_range: HashKeyRange {
            starting_hash_key: range.start().to_string(),
            ending_hash_key: range.end().to_string(),
        },
        sequence_number_range: SequenceNumberRange {
            starting_sequence_number: sequence_number(shard.opened),
            ending_sequence_number: shard.closed.map(sequence_number),
        },
    }
}
