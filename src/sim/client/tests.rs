//! Tests with handwritten request bodies. Most bodies are in CBOR, because the SDK sends only JSON.

use std::time::Duration;

use aws_sdk_kinesis::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::HttpConnector;
use ciborium::{Value, cbor};

use super::http::SimHttp;
use crate::sim::region::Target;
use crate::sim::{Latency, SimStream};

fn stream() -> SimStream {
    SimStream::builder().with_latency(Latency::constant(Duration::ZERO)).build().unwrap()
}

async fn post(
    stream: &SimStream,
    content_type: &'static str,
    target: &'static str,
    body: Vec<u8>,
) -> (u16, String, Vec<u8>) {
    let mut request = HttpRequest::new(body.into());
    request.headers_mut().insert("content-type", content_type);
    request.headers_mut().insert("x-amz-target", target);
    let response = SimHttp::new(Target::Stream(stream.clone())).call(request).await.unwrap();
    let content_type = response.headers().get("content-type").unwrap().to_owned();
    (response.status().as_u16(), content_type, response.body().bytes().unwrap().to_vec())
}

async fn post_cbor(stream: &SimStream, target: &'static str, body: Vec<u8>) -> (u16, Value) {
    let (status, content_type, body) =
        post(stream, "application/x-amz-cbor-1.1", target, body).await;
    assert_eq!(content_type, "application/x-amz-cbor-1.1");
    (status, ciborium::from_reader(&body[..]).unwrap())
}

fn encode(value: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).unwrap();
    body
}

fn get<'a>(value: &'a Value, member: &str) -> &'a Value {
    let found = value.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(member));
    &found.unwrap_or_else(|| panic!("no {member} in {value:?}")).1
}

/// Encodes a text string: major type 3, with the length in one byte.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x78, text.len() as u8];
    bytes.extend(text.as_bytes());
    bytes
}

#[tokio::test(start_paused = true)]
async fn cbor_accepts_indefinite_lengths() {
    // The Java SDK writes maps and arrays of indefinite length.
    let body = [
        vec![0xbf],
        text("Records"),
        vec![0x9f, 0xbf],
        text("Data"),
        vec![0x43, 0x00, 0xff, 0x80],
        text("PartitionKey"),
        text("key"),
        vec![0xff, 0xff],
        text("StreamName"),
        text("example"),
        vec![0xff],
    ];
    let stream = stream();
    let (status, response) = post_cbor(&stream, "Kinesis_20131202.PutRecords", body.concat()).await;
    assert_eq!((status, get(&response, "FailedRecordCount")), (200, &Value::from(0)));
    let written = stream.written();
    assert_eq!(&written[0].data()[..], [0x00, 0xff, 0x80]);
    let result = &get(&response, "Records").as_array().unwrap()[0];
    let actual = ["ShardId", "SequenceNumber"].map(|member| get(result, member).as_text().unwrap());
    assert_eq!(actual, [written[0].shard_id(), &written[0].sequence_number()]);
}

#[tokio::test(start_paused = true)]
async fn cbor_round_trips_large_payload() {
    let stream = stream();
    let data: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let record = cbor!({ "Data" => Value::Bytes(data.clone()), "PartitionKey" => "k" }).unwrap();
    let body = cbor!({ "StreamARN" => stream.arn(), "Records" => [record] }).unwrap();
    post_cbor(&stream, "Kinesis_20131202.PutRecords", encode(&body)).await;
    let body = cbor!({
        "StreamName" => "example",
        "ShardId" => "shardId-000000000000",
        "ShardIteratorType" => "TRIM_HORIZON",
    });
    let target = "Kinesis_20131202.GetShardIterator";
    let (_, response) = post_cbor(&stream, target, encode(&body.unwrap())).await;
    let body = cbor!({ "ShardIterator" => get(&response, "ShardIterator") }).unwrap();
    let (status, response) = post_cbor(&stream, "Kinesis_20131202.GetRecords", encode(&body)).await;
    let record = &get(&response, "Records").as_array().unwrap()[0];
    assert_eq!((status, get(record, "Data")), (200, &Value::Bytes(data)));
    let at = get(record, "ApproximateArrivalTimestamp").as_tag().unwrap();
    assert_eq!((at.0, at.1.as_integer()), (1, Some(1_767_225_600_000_i64.into())));
}

#[tokio::test(start_paused = true)]
async fn cbor_request_returns_cbor_error() {
    let stream = stream();
    let body = encode(&cbor!({ "StreamName" => "other" }).unwrap());
    let target = "Kinesis_20131202.DescribeStreamSummary";
    let (status, response) = post_cbor(&stream, target, body).await;
    assert_eq!((status, get(&response, "__type")), (400, &"ResourceNotFoundException".into()));
    let message = get(&response, "message").as_text().unwrap();
    assert_eq!(message, "Stream other under account 123456789012 not found.");
    let (status, response) = post_cbor(&stream, target, vec![0xff]).await;
    assert_eq!((status, get(&response, "__type")), (400, &"SerializationException".into()));
}

#[tokio::test(start_paused = true)]
async fn unknown_operation_returns_error() {
    const JSON: &str = "application/x-amz-json-1.1";
    let stream = stream();
    for (content_type, target) in [
        (JSON, "Kinesis_20131202.DeleteStream"),
        (JSON, "PutRecords"),
        ("text/plain", "Kinesis_20131202.PutRecords"),
    ] {
        let (status, _, body) = post(&stream, content_type, target, b"{}".to_vec()).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &body["__type"]), (400, &"UnknownOperationException".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_body_error_hides_payload() {
    let stream = stream();
    let request = |record| format!(r#"{{"StreamName":"example","Records":[{record}]}}"#);
    for (record, code) in [
        (r#"{"Data":"MARKER!","PartitionKey":"k"}"#, "SerializationException"),
        (r#"{"Data":{"MARKER":1},"PartitionKey":"k"}"#, "SerializationException"),
        (r#"{"Data":"MARKER"#, "SerializationException"),
        (r#"{"PartitionKey":"MARKER"}"#, "ValidationException"),
        (
            r#"{"Data":"","PartitionKey":"k","ExplicitHashKey":"MARKER"}"#,
            "InvalidArgumentException",
        ),
    ] {
        let (json, target) = ("application/x-amz-json-1.1", "Kinesis_20131202.PutRecords");
        let (status, _, body) = post(&stream, json, target, request(record).into_bytes()).await;
        let body = String::from_utf8(body).unwrap();
        assert!(status == 400 && body.contains(code) && !body.contains("MARKER"), "{body}");
    }
    assert_eq!((stream.stats().requests, stream.stats().failed_requests), (5, 5));
}
