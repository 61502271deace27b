//! JSON shapes of entry results written by emulators and proxies, and how this crate must interpret them.

use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, EntryClass, Placement, PutRecords, PutRecordsErrorKind,
    PutRecordsRequest,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::http::{Answer, Wire};

enum Meaning {
    Delivered,
    /// The record might have been written.
    Unknown,
    Failed(&'static str),
    Unreadable,
}

fn results() -> Vec<(Value, Meaning)> {
    use Meaning::{Delivered, Failed, Unknown, Unreadable};
    vec![
        (json!({"ShardId": "s", "SequenceNumber": "1"}), Delivered),
        (json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": null}), Delivered),
        (json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": ""}), Delivered),
        (
            json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": "", "ErrorMessage": ""}),
            Delivered,
        ),
        (
            json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": null, "ErrorMessage": "x"}),
            Delivered,
        ),
        (json!({"ShardId": "s", "SequenceNumber": "1", "New": {"a": [1, null]}}), Delivered),
        (json!({"ShardId": "", "SequenceNumber": "", "ErrorCode": "Busy"}), Failed("Busy")),
        (json!({"ShardId": null, "SequenceNumber": null, "ErrorCode": "Busy"}), Failed("Busy")),
        (json!({"ErrorCode": "Busy", "ErrorMessage": null}), Failed("Busy")),
        // A contradictory result counts as failed, because a retry risks a duplicate, a reported delivery a loss.
        (json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": "Busy"}), Failed("Busy")),
        (json!({"ShardId": "", "SequenceNumber": "1"}), Unknown),
        (json!({"ShardId": "s", "SequenceNumber": ""}), Unknown),
        (json!({"ShardId": "s", "SequenceNumber": null}), Unknown),
        (json!({"ShardId": "s"}), Unknown),
        (json!({"ErrorCode": "", "ErrorMessage": "x"}), Unknown),
        (json!({}), Unknown),
        (json!({"ShardId": "s", "SequenceNumber": 1}), Unreadable),
        (json!({"ShardId": 1, "SequenceNumber": "1"}), Unreadable),
        (json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": 0}), Unreadable),
        (json!({"ShardId": "s", "SequenceNumber": "1", "ErrorCode": false}), Unreadable),
        (json!("s"), Unreadable),
        (json!([]), Unreadable),
    ]
}

/// Returns responses that contain this result and other members that do not change its meaning.
fn around(result: &Value) -> [Value; 5] {
    let records = json!([result]);
    [
        json!({"Records": records}),
        json!({"Records": records, "FailedRecordCount": 0, "EncryptionType": "NONE"}),
        json!({"FailedRecordCount": 1, "Records": records}),
        json!({"FailedRecordCount": 500, "Records": records, "EncryptionType": ""}),
        json!({"FailedRecordCount": null, "Records": records, "EncryptionType": null}),
    ]
}

pub async fn check(wire: &Wire, services: &[PutRecords], encode: impl Fn(&Value) -> Answer) {
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
    for (result, meaning) in results() {
        for (answer, service) in around(&result)
            .iter()
            .flat_map(|answer| services.iter().map(move |service| (answer, service)))
        {
            wire.answer_with(encode(answer));
            let read = service.clone().oneshot(request.clone()).await;
            let read = read.map(|response| response.into_results().remove(0));
            let is_expected = match (&meaning, &read) {
                (Meaning::Delivered, Ok(Ok(placement))) => *placement == Placement::new("s", "1"),
                (Meaning::Unknown, Ok(Err(error))) => {
                    DefaultClassify.classify_entry(error) == EntryClass::OutcomeUnknown
                }
                (Meaning::Failed(code), Ok(Err(error))) => error.code() == *code,
                (Meaning::Unreadable, Err(error)) => error.kind() == PutRecordsErrorKind::Response,
                _ => false,
            };
            assert!(is_expected, "{answer}: {read:?}");
        }
    }
}
