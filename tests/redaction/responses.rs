//! Tests with malformed responses and with responses that quote the request, as those of the service can.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use futures::SinkExt;
use kinesis_sink::KinesisSink;
use serde_json::json;

use super::failures::credentials;
use super::logs;
use super::secrets::{self, ACCESS_KEY_ID, HASH_KEY, KEY, PAYLOAD, TOKEN};
use crate::support::http::{Answer, Wire};

const JSON: &str = "application/x-amz-json-1.1";

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, JSON, json!({ "__type": code, "message": message }).to_string())
}

fn entry_error(code: &str, message: &str) -> Answer {
    let failed = json!({ "ErrorCode": code, "ErrorMessage": message });
    let records = json!({ "FailedRecordCount": 2, "Records": [failed, failed] });
    Answer::new(200, JSON, records.to_string())
}

async fn assert_response_redacted(answer: Answer) {
    let wire = Wire::new(answer);
    let client = Client::from_conf(wire.config().credentials_provider(credentials()).build());
    let millisecond = Duration::from_millis(1);
    let mut sink = KinesisSink::builder("example")
        .configure(|settings| {
            settings.max_attempts = Some(2);
            settings.backoff.base = millisecond;
            settings.backoff.ceiling = millisecond;
            settings.credentials_timeout = Duration::ZERO;
        })
        .build(&client)
        .unwrap();
    let (record, receipt) = secrets::record().tracked();
    sink.feed(record).await.unwrap();
    sink.feed(secrets::record()).await.unwrap();
    secrets::assert_error_redacted(&sink.flush().await.unwrap_err());
    secrets::assert_debug_redacted(&(&sink, sink.status().last_request));
    let mut left = sink.take_failed();
    left.extend(sink.take_undelivered());
    left.push(receipt.await.unwrap_err());
    for undelivered in left {
        secrets::assert_error_redacted(&undelivered);
        for attempt in undelivered.history() {
            secrets::assert_debug_redacted(attempt);
        }
    }
    assert!(!wire.take().is_empty(), "a request was sent");
}

#[tokio::test(start_paused = true)]
async fn quoted_keys_are_redacted() {
    logs::listen();
    let member = "failed to satisfy constraint: Member must have length less than or equal to 256";
    let value = format!("Value '{KEY}' at 'records.1.member.partitionKey' {member}");
    let validation = format!("1 validation error detected: {value}");
    let twice = format!("2 validation errors detected: {value}; {value}");
    let hash_key = format!(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
         Specified value was {HASH_KEY}"
    );
    for message in [&validation, &twice, &hash_key] {
        for code in ["ValidationException", "InvalidArgumentException", "NeverSeen"] {
            assert_response_redacted(error(400, code, message)).await;
            assert_response_redacted(entry_error(code, message)).await;
        }
    }
    logs::assert_redacted_except_responses();
}

#[tokio::test(start_paused = true)]
async fn signature_error_is_redacted() {
    logs::listen();
    let signed = format!(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details.\n\n\
         The Canonical String for this request should have been\n'POST\n/\n\n\
         content-type:{JSON}\nhost:kinesis.us-east-1.amazonaws.com\nx-amz-date:20261123T000000Z\n\
         x-amz-security-token:{TOKEN}\n\ncontent-type;host;x-amz-date;x-amz-security-token\n0a1b'\n"
    );
    let header = format!(
        "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 \
         Credential={ACCESS_KEY_ID}/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host"
    );
    let codes = ["InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"];
    for (code, message) in codes.into_iter().zip([&signed, &signed, &header]) {
        assert_response_redacted(error(403, code, message)).await;
    }
    logs::assert_redacted_except_responses();
}

#[tokio::test(start_paused = true)]
async fn malformed_responses_are_not_quoted() {
    logs::listen();
    let one = json!({ "ShardId": PAYLOAD, "SequenceNumber": PAYLOAD });
    let bodies = [
        format!("<html>{PAYLOAD} {KEY}</html>"),
        format!(r#"{{"Records":[{{"ShardId":"{PAYLOAD}"#),
        format!(r#"{{"Records":"{PAYLOAD}"}}"#),
        format!(r#"{{"Records":[{{"{PAYLOAD}":{KEY}}}]}}"#),
        format!(r#""{PAYLOAD}""#),
        json!({ "Records": [one] }).to_string(),
        json!({ "Records": [one, one, one] }).to_string(),
    ];
    for body in bodies {
        assert_response_redacted(Answer::new(200, JSON, body.clone())).await;
        assert_response_redacted(Answer::new(500, JSON, body.clone())).await;
        assert_response_redacted(Answer::new(400, "text/html", body)).await;
    }
    logs::assert_redacted_except_responses();
}

/// Error texts from a server must not forge log lines, and must be limited in length.
#[tokio::test(start_paused = true)]
async fn error_texts_are_sanitized_and_truncated() {
    logs::listen();
    let forged = format!("\n2026-11-23T00:00:00Z WARN forged: {}\r\u{1b}[31m", "x".repeat(100_000));
    for (code, message) in [("InvalidArgumentException", &*forged), (&forged, "a message")] {
        assert_response_redacted(error(400, code, message)).await;
        assert_response_redacted(entry_error(code, message)).await;
        assert_response_redacted(error(500, code, message)).await;
    }
    for line in logs::ours() {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 10_000, "{} bytes: {line:.100}", line.len());
    }
}
