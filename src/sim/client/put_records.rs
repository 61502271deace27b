use futures::{FutureExt, TryFutureExt};
use serde::{Deserialize, Serialize};

use super::codec::{Blob, Format};
use super::response::ResponseFuture;
use super::{invalid_argument, parse_stream_id};
use crate::record::{HashKey, Key};
use crate::service::{
    Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use crate::sim::SimStream;
use crate::sim::validation::invalid;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Vec<InputEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InputEntry {
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    failed_record_count: usize,
    records: Vec<OutputEntry>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutputEntry {
    #[serde(rename_all = "PascalCase")]
    Written { sequence_number: String, shard_id: String },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: String, error_message: String },
}

pub(super) fn put_records(stream: &SimStream, format: Format, body: &[u8]) -> ResponseFuture {
    match request(format, body) {
        Ok(request) => {
            let response = stream.send(request);
            response.map_ok(move |response| format.write(&output(response))).boxed()
        }
        Err(error) => {
            stream.lock().count_invalid();
            stream.call(|_, _| Err(error)).boxed()
        }
    }
}

fn request(format: Format, body: &[u8]) -> Result<PutRecordsRequest, PutRecordsError> {
    let input: Input = format.read(body)?;
    let id = parse_stream_id(input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let indexed = input.records.into_iter().enumerate();
    let entries: Result<Vec<_>, _> = indexed.map(|(index, one)| entry(index + 1, one)).collect();
    Ok(PutRecordsRequest::new(id, entries?))
}

fn entry(number: usize, input: InputEntry) -> Result<Entry, PutRecordsError> {
    let Some(Blob(data)) = input.data else {
        return Err(invalid(&format!(
            "1 validation error detected: Value at 'records.{number}.member.data' failed to satisfy \
             constraint: Member must not be null"
        )));
    };
    let hash_key: Option<HashKey> = match input.explicit_hash_key.map(|text| text.parse()) {
        None => None,
        Some(Ok(hash_key)) => Some(hash_key),
        Some(Err(_)) => {
            let message = format!("The ExplicitHashKey of record {number} is not a hash key");
            return Err(invalid_argument(&message));
        }
    };
    Ok(Entry::new(data, input.partition_key.map(Key::from), hash_key))
}

fn output(response: PutRecordsResponse) -> Output {
    let failed_record_count = response.results().len() - response.delivered();
    let records = response.into_results().into_iter().map(output_entry).collect();
    Output { failed_record_count, records }
}

fn output_entry(result: Result<Placement, EntryError>) -> OutputEntry {
    match result {
        Ok(placement) => {
            let (shard_id, sequence_number) = placement.into_parts();
            OutputEntry::Written { sequence_number, shard_id: shard_id.into() }
        }
        Err(error) => {
            let (error_code, error_message) = error.into_parts();
            OutputEntry::Failed { error_code, error_message }
        }
    }
}
