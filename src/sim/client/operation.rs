use futures::{FutureExt, TryFutureExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::Format;
use super::describe::describe_stream_summary;
use super::list_shards::list_shards;
use super::put_records::put_records;
use super::read::{get_records, get_shard_iterator};
use super::reshard::{merge_shards, split_shard, update_shard_count};
use super::response::ResponseFuture;
use crate::service::PutRecordsError;
use crate::sim::SimStream;
use crate::sim::builder::Config;
use crate::sim::state::State;
use crate::stream::StreamId;

pub(super) fn dispatch(
    stream: &SimStream,
    format: Format,
    operation: &str,
    body: &[u8],
) -> ResponseFuture {
    match operation {
        "ListShards" => stream.lock().stats.listings += 1,
        "DescribeStreamSummary" => stream.lock().stats.descriptions += 1,
        _ => {}
    }
    match operation {
        "PutRecords" => put_records(stream, format, body),
        "ListShards" => call(stream, format, body, list_shards),
        "DescribeStreamSummary" => call(stream, format, body, describe_stream_summary),
        "GetShardIterator" => call(stream, format, body, get_shard_iterator),
        "GetRecords" => call(stream, format, body, get_records),
        "SplitShard" => call(stream, format, body, split_shard),
        "MergeShards" => call(stream, format, body, merge_shards),
        "UpdateShardCount" => call(stream, format, body, update_shard_count),
        _ => stream.call(|_, _| Err(unknown())).boxed(),
    }
}

/// Parameters that name the stream of a request. The tokens start with the name of the stream.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    shard_iterator: Option<String>,
}

/// Returns the stream of a request, or `None` if the request does not name it.
pub(super) fn addressed_stream(format: Format, body: &[u8]) -> Option<StreamId> {
    let Address { stream_name, stream_arn, next_token, shard_iterator } = format.read(body).ok()?;
    let of_token = || Some(next_token.or(shard_iterator)?.split_once(':')?.0.to_owned());
    stream_arn.or(stream_name).or_else(of_token)?.parse().ok()
}

fn unknown() -> PutRecordsError {
    let message = Some("The simulation does not support this operation");
    PutRecordsError::service(Some("UnknownOperationException"), message, Some(400))
}

fn call<I, O>(
    stream: &SimStream,
    format: Format,
    body: &[u8],
    handler: fn(&Config, &mut State, I) -> Result<O, PutRecordsError>,
) -> ResponseFuture
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    let input = format.read(body);
    let output = stream.call(move |config, state| handler(config, state, input?));
    output.map_ok(move |output| format.write(&output)).boxed()
}
