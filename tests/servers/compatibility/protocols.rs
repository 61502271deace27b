//! Tests that requests in JSON and in CBOR have the same effects.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, PutRecords, PutRecordsRequest};
use tower::ServiceExt;

use super::server::Server;
use super::stream::Stream;
use crate::support::embedded::{Embedded, STREAM};

fn in_both_protocols(server: &Server) -> [PutRecords; 2] {
    [PutRecords::new(server.json()), PutRecords::new(server.json()).with_cbor()]
}

fn request(stream: &str, label: &str) -> PutRecordsRequest {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let entry = |number: usize| {
        let data = [label.as_bytes(), &every_byte[..number * 25]].concat();
        let key = format!("ключ \"{number}\" 🦀");
        let hash_key =
            number.is_multiple_of(2).then(|| HashKey::new(u128::MAX / 10 * number as u128));
        Entry::new(data.into(), Some(key.as_str().into()), hash_key)
    };
    PutRecordsRequest::new(stream.parse().unwrap(), (0..10).map(entry).collect::<Vec<_>>())
}

async fn read(client: &Client, stream: &Stream, from: Option<DateTime>) -> Vec<Record> {
    let kind = match from {
        Some(_) => ShardIteratorType::AtTimestamp,
        None => ShardIteratorType::TrimHorizon,
    };
    let mut found = Vec::new();
    for shard in stream.shards().await {
        let call = client.get_shard_iterator().stream_name(stream.name()).shard_id(shard.id);
        let call = call.shard_iterator_type(kind.clone()).set_timestamp(from);
        let iterator = call.send().await.unwrap().shard_iterator.unwrap();
        found.extend(client.get_records().shard_iterator(iterator).send().await.unwrap().records);
    }
    found
}

/// Returns the fields to compare. Times are rounded to milliseconds, because JSON contains fractions of seconds.
fn comparable(record: &Record) -> (Vec<u8>, Option<&str>, &str, Option<i64>) {
    let millis =
        record.approximate_arrival_timestamp.map(|at| (at.as_secs_f64() * 1_000.0).round());
    let data = record.data.as_ref().to_vec();
    (data, record.partition_key.as_deref(), &record.sequence_number, millis.map(|at| at as i64))
}

pub async fn json_and_cbor_store_same_records(server: &Server) {
    let stream = server.stream(2).await;
    let mut sent = Vec::new();
    for (service, label) in in_both_protocols(server).into_iter().zip(["json", "cbor"]) {
        let request = request(stream.name(), label);
        sent.extend(request.entries().iter().map(|entry| entry.data().to_vec()));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.delivered(), 10, "{:?}", response.errors());
    }
    let json = read(server.json(), &stream, None).await;
    let cbor = read(server.client(), &stream, None).await;
    assert!(json.iter().map(comparable).eq(cbor.iter().map(comparable)), "the records differ");
    let mut found: Vec<_> = cbor.iter().map(|record| record.data.as_ref().to_vec()).collect();
    found.sort();
    sent.sort();
    assert!(found == sent, "the payloads differ");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let arrived = |record: &Record| record.approximate_arrival_timestamp.unwrap().as_secs_f64();
    let is_recent = |record: &Record| (-5.0..300.0).contains(&(now - arrived(record)));
    assert!(cbor.iter().all(is_recent), "an arrival time is not recent");
}

pub async fn json_and_cbor_select_same_shards(server: &Server) {
    let stream = server.stream(3).await;
    let shards = async |service: PutRecords| {
        let response = service.oneshot(request(stream.name(), "")).await.unwrap();
        let placements = response.into_results().into_iter().map(Result::unwrap);
        placements.map(|placement| placement.shard_id().to_owned()).collect::<Vec<_>>()
    };
    let [json, cbor] = in_both_protocols(server);
    assert_eq!(shards(json).await, shards(cbor).await);
}

pub async fn json_and_cbor_report_same_errors(server: &Server) {
    let error_of = async |service: PutRecords| {
        let error = service.oneshot(request("no-such-stream", "")).await.unwrap_err();
        (error.kind(), error.code().map(str::to_owned), error.status())
    };
    let [json, cbor] = in_both_protocols(server);
    let json = error_of(json).await;
    assert_eq!(error_of(cbor).await, json);
    assert_eq!(json.1.as_deref(), Some("ResourceNotFoundException"));
}

pub async fn json_and_cbor_describe_same_stream(server: &Server) {
    let stream = server.stream(2).await;
    let describe = async |client: &Client| {
        let summary = client.describe_stream_summary().stream_name(stream.name()).send().await;
        let summary = summary.unwrap().stream_description_summary.unwrap();
        let created = summary.stream_creation_timestamp.as_secs_f64().round();
        (summary.stream_arn, created, summary.open_shard_count, summary.retention_period_hours)
    };
    assert_eq!(describe(server.json()).await, describe(server.client()).await);
}

pub async fn get_records_starts_at_timestamp(server: &Server) {
    let stream = server.stream(2).await;
    PutRecords::new(server.json()).oneshot(request(stream.name(), "")).await.unwrap();
    let put = DateTime::from(SystemTime::now()).secs();
    // Servers reject a timestamp in the future.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (from, expected) in [(put - 600, 10), (put + 2, 0)] {
        let from = Some(DateTime::from_secs(from));
        assert_eq!(read(server.json(), &stream, from).await.len(), expected, "in JSON");
        assert_eq!(read(server.client(), &stream, from).await.len(), expected, "in CBOR");
    }
}

#[tokio::test]
async fn cbor_reports_throttled_entries() {
    let embedded = Embedded::start(1, true).await.unwrap();
    let entry = Entry::new(vec![7; 4_000].into(), Some("k".into()), None);
    let request = PutRecordsRequest::new(STREAM.parse().unwrap(), vec![entry; 400]);
    let service = PutRecords::new(embedded.client()).with_cbor();
    let response = service.oneshot(request).await.unwrap();
    let [throttled] = &response.errors()[..] else { panic!("{:?}", response.errors()) };
    assert_eq!(throttled.code, "ProvisionedThroughputExceededException");
    assert_eq!(response.delivered() + throttled.count, 400);
    assert!(response.delivered() > 0, "a part of the entries is delivered");
}
