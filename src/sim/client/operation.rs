use futures::{FutureExt, TryFutureExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::codec::Format;
use super::describe::describe_stream_summary;
use super::list_shards::list_shards;
use super::put_records::put_records;
use super::read::{get_records, get_shard_iterator};
use super::reshard::{merge_shards, split_shard, update_shard_count};
use crate::service::PutRecordsError;
use crate::sim::SimStream;
use crate::sim::builder::Config;
use crate::sim::state::State;

pub(super) fn operate(stream: &SimStream, format: Format, operation: &str, body: &[u8]) -> Answer {
    match operation {
        "ListShards" => stream.lock().stats.listings += 1,
        "DescribeStreamSummary" => stream.lock().stats.descriptions += 1,
        _ => {}
    }
    match operation {
        "PutRecords" => put_records(stream, format, body),
        "ListShards" => ask(stream, format, body, list_shards),
        "DescribeStreamSummary" => ask(stream, format, body, describe_stream_summary),
        "GetShardIterator" => ask(stream, format, body, get_shard_iterator),
        "GetRecords" => ask(stream, format, body, get_records),
        "SplitShard" => ask(stream, format, body, split_shard),
        "MergeShards" => ask(stream, format, body, merge_shards),
        "UpdateShardCount" => ask(stream, format, body, update_shard_count),
        _ => stream.ask(|_, _| Err(unknown())).boxed(),
    }
}

fn unknown() -> PutRecordsError {
    let told = Some("The simulation does not know this operation");
    PutRecordsError::service(Some("UnknownOperationException"), told, Some(400))
}

/// A request that writes no record.
fn ask<I, O>(
    stream: &SimStream,
    format: Format,
    body: &[u8],
    answer: fn(&Config, &mut State, I) -> Result<O, PutRecordsError>,
) -> Answer
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    let input = format.read(body);
    let output = stream.ask(move |config, state| answer(config, state, input?));
    output.map_ok(move |output| format.write(&output)).boxed()
}
