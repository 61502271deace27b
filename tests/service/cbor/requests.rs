//! Tests that compare CBOR requests with the output of the SDK's serializer and of AWS's codec.

use aws_sdk_kinesis::operation::put_records::PutRecordsInput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};
use aws_sdk_kinesis::{Client, primitives::DateTime};
use aws_smithy_cbor::codec::{CborCodec, CborCodecSettings};
use aws_smithy_schema::codec::{Codec, FinishSerializer};
use aws_smithy_schema::serde::ShapeSerializer;
use ciborium::Value;
use kinesis_sink::service::{Entry, KinesisCbor, PutRecords, PutRecordsRequest};
use proptest::prelude::*;
use tower::ServiceExt;

use super::CBOR;
use super::encoding::{member, read};
use crate::support::http::{Answer, Wire};
use crate::support::requests::{assert_same_bytes, full_request, request};

fn wire() -> Wire {
    Wire::new(Answer::new(200, CBOR, *b"\xbf\xff"))
}

/// Uses AWS's codec, which differs from the protocol only in the format of times. The body contains no times.
fn encode_with_aws_codec(request: &PutRecordsRequest) -> Vec<u8> {
    let entry = |entry: &Entry| {
        PutRecordsRequestEntry::builder()
            .data(Blob::new(entry.data().to_vec()))
            .set_partition_key(entry.partition_key().map(|key| key.to_string()))
            .set_explicit_hash_key(entry.explicit_hash_key().map(|key| key.to_string()))
            .build()
            .unwrap()
    };
    let stream = request.stream();
    let input = PutRecordsInput::builder()
        .set_records(Some(request.entries().iter().map(entry).collect()))
        .set_stream_name(stream.arn().is_none().then(|| stream.name().to_owned()))
        .set_stream_arn(stream.arn().map(str::to_owned))
        .build()
        .unwrap();
    let mut serializer = CborCodec::new(CborCodecSettings::default()).create_serializer();
    serializer.write_struct(PutRecordsInput::SCHEMA, &input).unwrap();
    serializer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_request_matches_sdk_bytes(request in request()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let wire = wire();
        let client = Client::from_conf(wire.config().protocol(KinesisCbor::new()).build());
        let sent = runtime.block_on(assert_same_bytes(&wire, &client, &request));
        assert!(sent.body == encode_with_aws_codec(&request), "AWS's codec writes other bytes");
    }
}

#[tokio::test]
async fn full_request_matches_sdk_bytes() {
    let wire = wire();
    let client = Client::from_conf(wire.config().protocol(KinesisCbor::new()).build());
    let request = full_request();
    let sent = assert_same_bytes(&wire, &client, &request).await;
    assert!(sent.body == encode_with_aws_codec(&request), "AWS's codec writes other bytes");
    assert_eq!(
        (sent.method.as_str(), sent.uri.as_str()),
        ("POST", "https://kinesis.us-east-1.amazonaws.com/")
    );
    assert_eq!(sent.header("content-type"), Some(CBOR));
    assert_eq!(sent.header("x-amz-target"), Some("Kinesis_20131202.PutRecords"));
    assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string().as_str()));
    let body = read(&sent.body);
    let records = member(&body, "Records").as_array().unwrap();
    let data = |record: &Value| member(record, "Data").as_bytes().unwrap().clone();
    assert!(
        records.iter().map(data).eq(request.entries().iter().map(|entry| entry.data().to_vec()))
    );
}

#[tokio::test]
async fn with_cbor_overrides_client_protocol() {
    let wire = wire();
    let json = Client::from_conf(wire.config().build());
    let cbor = Client::from_conf(wire.config().protocol(KinesisCbor::new()).build());
    for request in [full_request(), PutRecordsRequest::new("example".parse().unwrap(), vec![])] {
        let _ = PutRecords::new(&json).with_cbor().oneshot(request.clone()).await;
        let _ = PutRecords::new(&cbor).oneshot(request.clone()).await;
        let [one, other] = wire.take().try_into().unwrap();
        assert!(one == other, "with_cbor and KinesisCbor send different bytes");
        let sdk = PutRecords::new(&json).with_sdk_serialization().with_cbor();
        let _ = sdk.oneshot(request.clone()).await;
        assert!(wire.take() == [one], "the serializers send different bytes");
    }
}

#[tokio::test]
async fn other_operations_are_encoded_in_cbor() {
    let wire = wire();
    let client = Client::from_conf(wire.config().protocol(KinesisCbor::new()).build());
    let filter = ShardFilter::builder()
        .r#type(ShardFilterType::AtTimestamp)
        .timestamp(DateTime::from_millis(1_767_225_600_123))
        .build()
        .unwrap();
    let call = client.list_shards().stream_name("example").shard_filter(filter).max_results(7);
    call.send().await.unwrap();
    let [sent] = wire.take().try_into().unwrap();
    assert_eq!(sent.header("x-amz-target"), Some("Kinesis_20131202.ListShards"));
    let body = read(&sent.body);
    assert_eq!(member(&body, "MaxResults").as_integer(), Some(7.into()));
    let time = member(member(&body, "ShardFilter"), "Timestamp");
    assert_eq!(time, &Value::Tag(1, Box::new(1_767_225_600_123_i64.into())));
    // Tags are a map with arbitrary keys, and metrics are a list.
    let call = client.add_tags_to_stream().stream_name("example").tags("a", "b").tags("é", "");
    call.send().await.unwrap();
    client
        .enable_enhanced_monitoring()
        .stream_name("s")
        .shard_level_metrics("ALL".into())
        .send()
        .await
        .unwrap();
    let [tags, metrics] = wire.take().try_into().unwrap();
    let mut tags = member(&read(&tags.body), "Tags").clone().into_map().unwrap();
    tags.sort_by(|(one, _), (other, _)| one.as_text().cmp(&other.as_text()));
    assert_eq!(tags, [("a".into(), "b".into()), ("é".into(), "".into())]);
    assert_eq!(
        member(&read(&metrics.body), "ShardLevelMetrics"),
        &Value::Array(vec!["ALL".into()])
    );
}
