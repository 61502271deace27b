//! Tests of partial failures in CBOR, truncated responses, and corrupted responses, which must be parsed as by the SDK.

use aws_sdk_kinesis::Client;
use kinesis_sink::service::{
    Entry, EntryError, Placement, PutRecords, PutRecordsError, PutRecordsErrorKind,
    PutRecordsRequest, PutRecordsResponse,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::encoding::{cbor, cbor_indefinite};
use super::{CBOR, JSON};
use crate::support::http::{Answer, Wire};
use crate::support::response_shapes;

fn service() -> (PutRecords, Wire) {
    let wire = Wire::new(Answer::new(500, CBOR, ""));
    (PutRecords::new(&Client::from_conf(wire.config().build())).with_cbor(), wire)
}

async fn put_two_entries(
    (service, wire): &(PutRecords, Wire),
    answer: Answer,
) -> Result<PutRecordsResponse, PutRecordsError> {
    wire.answer_with(answer);
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let entries = vec![entry.clone(), entry];
    let request = PutRecordsRequest::new("example".parse().unwrap(), entries);
    service.clone().oneshot(request).await
}

async fn read(body: Vec<u8>) -> Result<PutRecordsResponse, PutRecordsError> {
    put_two_entries(&service(), Answer::new(200, CBOR, body)).await
}

fn answer() -> Value {
    json!({
        "FailedRecordCount": 1,
        "Records": [
            { "ShardId": "shardId-000000000003", "SequenceNumber": "4".repeat(56) },
            { "ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded" },
        ],
        "EncryptionType": "KMS",
    })
}

fn expected() -> [Result<Placement, EntryError>; 2] {
    let throttled = EntryError::new("ProvisionedThroughputExceededException", "Rate exceeded");
    [Ok(Placement::new("shardId-000000000003", "4".repeat(56))), Err(throttled)]
}

#[tokio::test]
async fn partial_failure_is_parsed() {
    for body in [cbor(&answer()), cbor_indefinite(&answer())] {
        assert_eq!(read(body).await.unwrap().results(), expected());
    }
    let in_json = Answer::new(200, JSON, answer().to_string());
    assert_eq!(put_two_entries(&service(), in_json).await.unwrap().results(), expected());
}

#[tokio::test]
async fn nonstandard_cbor_results_are_interpreted() {
    let (direct, wire) = service();
    let services = [direct.clone(), direct.with_sdk_serialization()];
    for encode in [cbor, cbor_indefinite] {
        response_shapes::check(&wire, &services, |answer| Answer::new(200, CBOR, encode(answer)))
            .await;
    }
}

#[tokio::test]
async fn unknown_fields_and_nulls_are_ignored() {
    let mut answer = answer();
    answer["New"] = json!({ "a": [1, 2.5, { "b": [] }], "c": null });
    answer["EncryptionType"] = json!("ROT13");
    answer["FailedRecordCount"] = json!(null);
    answer["Records"][0]["New"] = json!([true, "x"]);
    answer["Records"][0]["ErrorCode"] = json!(null);
    answer["Records"][0]["ErrorMessage"] = json!(null);
    answer["Records"][1]["ShardId"] = json!(null);
    for body in [cbor(&answer), cbor_indefinite(&answer)] {
        assert_eq!(read(body).await.unwrap().results(), expected());
    }
}

#[tokio::test]
async fn truncated_response_is_error() {
    for body in [cbor(&answer()), cbor_indefinite(&answer())] {
        for length in 0..body.len() {
            let error = read(body[..length].to_vec()).await.unwrap_err();
            let expected = match length {
                // As in JSON, an empty body is a response without results.
                0 => PutRecordsErrorKind::WrongLength { entries: 2, results: 0 },
                _ => PutRecordsErrorKind::Response,
            };
            assert_eq!(error.kind(), expected, "{length}");
        }
        let with_trailing_byte = [&body[..], b"\x00"].concat();
        assert_eq!(
            read(with_trailing_byte).await.unwrap_err().kind(),
            PutRecordsErrorKind::Response
        );
    }
}

#[tokio::test]
async fn truncated_error_has_no_code() {
    let error = json!({ "__type": "ResourceNotFoundException", "message": "no such stream" });
    for body in [cbor(&error), cbor_indefinite(&error)] {
        for length in 0..body.len() {
            let answer = Answer::new(400, CBOR, body[..length].to_vec());
            let error = put_two_entries(&service(), answer).await.unwrap_err();
            assert!(error.code().is_none(), "{length}: {error}");
        }
    }
}

#[tokio::test]
async fn wrong_result_count_is_error() {
    for results in [0, 1, 3] {
        let body =
            json!({ "Records": vec![json!({ "ShardId": "s", "SequenceNumber": "1" }); results] });
        let error = read(cbor(&body)).await.unwrap_err();
        assert_eq!(error.kind(), PutRecordsErrorKind::WrongLength { entries: 2, results });
    }
}

#[tokio::test]
async fn corrupted_response_is_parsed_like_sdk() {
    let (service, wire) = service();
    let sdk = (service.clone().with_sdk_serialization(), wire.clone());
    let direct = (service, wire);
    let outcome = |result: Result<PutRecordsResponse, PutRecordsError>| {
        result.map(PutRecordsResponse::into_results).map_err(|error| error.kind())
    };
    for body in [cbor(&answer()), cbor_indefinite(&answer())] {
        for bit in 0..body.len() * 8 {
            let mut body = body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            for status in [200, 400] {
                let answer = Answer::new(status, CBOR, body.clone());
                let expected = outcome(put_two_entries(&sdk, answer.clone()).await);
                assert_eq!(
                    outcome(put_two_entries(&direct, answer).await),
                    expected,
                    "{status} {body:x?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn duplicate_field_is_parsed_like_sdk() {
    let (service, wire) = service();
    let result = [
        b"\xbf\x69ErrorCode\x61e\x69ErrorCode\xf6\x67ShardId\x61s\x67ShardId\xf6".as_slice(),
        b"\x6eSequenceNumber\x611\x6eSequenceNumber\x612\xff",
    ];
    let result = result.concat();
    let body = [b"\xa1\x67Records\x82", &result[..], &result[..]].concat();
    let answer = Answer::new(200, CBOR, body);
    let sdk = (service.clone().with_sdk_serialization(), wire.clone());
    let sdk = put_two_entries(&sdk, answer.clone()).await.unwrap();
    assert_eq!(sdk.results()[0], Err(EntryError::new("e", "")));
    assert_eq!(put_two_entries(&(service, wire), answer).await.unwrap(), sdk);
}
