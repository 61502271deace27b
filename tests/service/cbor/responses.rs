//! Answers that are not what they should be: an error, never a panic, and never a wrong result.

use aws_sdk_kinesis::Client;
use kinesis_sink::service::{
    Entry, EntryError, Placement, PutRecords, PutRecordsError, PutRecordsErrorKind,
    PutRecordsRequest, PutRecordsResponse,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::encoding::{cbor, unbounded};
use super::{CBOR, JSON};
use crate::support::http::{Answer, Wire};
use crate::support::response_shapes;

/// A service that speaks CBOR, and the wire that it is on.
fn service() -> (PutRecords, Wire) {
    let wire = Wire::new(Answer::new(500, CBOR, ""));
    (PutRecords::new(&Client::from_conf(wire.config().build())).with_cbor(), wire)
}

/// Puts two entries, and reads this answer.
async fn put(
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
    put(&service(), Answer::new(200, CBOR, body)).await
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
async fn partial_failures_are_read() {
    for body in [cbor(&answer()), unbounded(&answer())] {
        assert_eq!(read(body).await.unwrap().results(), expected());
    }
    let in_json = Answer::new(200, JSON, answer().to_string());
    assert_eq!(put(&service(), in_json).await.unwrap().results(), expected());
}

#[tokio::test]
async fn foreign_result_shapes_are_read_in_cbor() {
    let (direct, wire) = service();
    let ways = [direct.clone(), direct.with_sdk_serialization()];
    for encode in [cbor, unbounded] {
        response_shapes::check(&wire, &ways, |answer| Answer::new(200, CBOR, encode(answer))).await;
    }
}

#[tokio::test]
async fn unknown_members_and_nulls_are_skipped() {
    let mut answer = answer();
    answer["New"] = json!({ "a": [1, 2.5, { "b": [] }], "c": null });
    answer["EncryptionType"] = json!("ROT13");
    answer["FailedRecordCount"] = json!(null);
    answer["Records"][0]["New"] = json!([true, "x"]);
    answer["Records"][0]["ErrorCode"] = json!(null);
    answer["Records"][0]["ErrorMessage"] = json!(null);
    answer["Records"][1]["ShardId"] = json!(null);
    for body in [cbor(&answer), unbounded(&answer)] {
        assert_eq!(read(body).await.unwrap().results(), expected());
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_is_an_error() {
    for body in [cbor(&answer()), unbounded(&answer())] {
        for length in 0..body.len() {
            let error = read(body[..length].to_vec()).await.unwrap_err();
            let expected = match length {
                // Nothing at all is an answer without results, as in JSON.
                0 => PutRecordsErrorKind::WrongLength { entries: 2, results: 0 },
                _ => PutRecordsErrorKind::Response,
            };
            assert_eq!(error.kind(), expected, "{length}");
        }
        let and_more = [&body[..], b"\x00"].concat();
        assert_eq!(read(and_more).await.unwrap_err().kind(), PutRecordsErrorKind::Response);
    }
}

#[tokio::test]
async fn an_error_that_ends_too_early_is_an_error_still() {
    let error = json!({ "__type": "ResourceNotFoundException", "message": "no such stream" });
    for body in [cbor(&error), unbounded(&error)] {
        for length in 0..body.len() {
            let answer = Answer::new(400, CBOR, body[..length].to_vec());
            let error = put(&service(), answer).await.unwrap_err();
            assert!(error.code().is_none(), "{length}: {error}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_length_is_refused() {
    for results in [0, 1, 3] {
        let body =
            json!({ "Records": vec![json!({ "ShardId": "s", "SequenceNumber": "1" }); results] });
        let error = read(cbor(&body)).await.unwrap_err();
        assert_eq!(error.kind(), PutRecordsErrorKind::WrongLength { entries: 2, results });
    }
}

#[tokio::test]
async fn no_flipped_bit_is_a_panic_or_read_otherwise_than_by_the_sdk() {
    let (service, wire) = service();
    let sdk = (service.clone().with_sdk_serialization(), wire.clone());
    let direct = (service, wire);
    let told = |read: Result<PutRecordsResponse, PutRecordsError>| {
        read.map(PutRecordsResponse::into_results).map_err(|error| error.kind())
    };
    for body in [cbor(&answer()), unbounded(&answer())] {
        for bit in 0..body.len() * 8 {
            let mut body = body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            for status in [200, 400] {
                let answer = Answer::new(status, CBOR, body.clone());
                let expected = told(put(&sdk, answer.clone()).await);
                assert_eq!(told(put(&direct, answer).await), expected, "{status} {body:x?}");
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_comes_twice_is_read_as_the_sdk_reads_it() {
    let (service, wire) = service();
    let result = [
        b"\xbf\x69ErrorCode\x61e\x69ErrorCode\xf6\x67ShardId\x61s\x67ShardId\xf6".as_slice(),
        b"\x6eSequenceNumber\x611\x6eSequenceNumber\x612\xff",
    ];
    let result = result.concat();
    let body = [b"\xa1\x67Records\x82", &result[..], &result[..]].concat();
    let answer = Answer::new(200, CBOR, body);
    let sdk = (service.clone().with_sdk_serialization(), wire.clone());
    let sdk = put(&sdk, answer.clone()).await.unwrap();
    assert_eq!(sdk.results()[0], Err(EntryError::new("e", "")));
    assert_eq!(put(&(service, wire), answer).await.unwrap(), sdk);
}
