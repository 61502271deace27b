//! Tests that error responses in CBOR and JSON yield the same fields and the same error class.

use aws_sdk_kinesis::Client;
use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, ErrorClass, PutRecords, PutRecordsError, PutRecordsErrorKind,
    PutRecordsRequest,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::encoding::{cbor, cbor_indefinite};
use super::{CBOR, JSON};
use crate::support::http::{Answer, Wire};

const ERRORS: [(&str, u16, ErrorClass); 27] = [
    ("ProvisionedThroughputExceededException", 400, ErrorClass::Throttled),
    ("LimitExceededException", 400, ErrorClass::Throttled),
    ("KMSThrottlingException", 400, ErrorClass::Throttled),
    ("ThrottlingException", 400, ErrorClass::Throttled),
    ("InternalFailure", 500, ErrorClass::OutcomeUnknown),
    ("InternalFailureException", 500, ErrorClass::OutcomeUnknown),
    ("ServiceUnavailable", 503, ErrorClass::OutcomeUnknown),
    ("RequestTimeout", 400, ErrorClass::OutcomeUnknown),
    ("ExpiredToken", 400, ErrorClass::Credentials),
    ("ExpiredTokenException", 400, ErrorClass::Credentials),
    ("RequestExpired", 400, ErrorClass::Credentials),
    ("RequestTimeTooSkewed", 400, ErrorClass::Credentials),
    ("InvalidSignatureException", 400, ErrorClass::Credentials),
    ("AccessDenied", 400, ErrorClass::Fatal),
    ("AccessDeniedException", 400, ErrorClass::Fatal),
    ("KMSAccessDeniedException", 400, ErrorClass::Fatal),
    ("KMSDisabledException", 400, ErrorClass::Fatal),
    ("KMSNotFoundException", 400, ErrorClass::Fatal),
    ("KMSInvalidStateException", 400, ErrorClass::Fatal),
    ("KMSOptInRequired", 400, ErrorClass::Fatal),
    ("ResourceNotFoundException", 400, ErrorClass::Fatal),
    ("DryRunOperationException", 400, ErrorClass::Fatal),
    ("InvalidArgumentException", 400, ErrorClass::Invalid),
    ("ValidationException", 400, ErrorClass::Invalid),
    ("SerializationException", 400, ErrorClass::Invalid),
    ("MadeUpException", 400, ErrorClass::Fatal),
    ("MadeUpException", 502, ErrorClass::OutcomeUnknown),
];

/// Kind, code, message, status, request ID and class of an error.
type Fields =
    (PutRecordsErrorKind, Option<String>, Option<String>, Option<u16>, Option<String>, ErrorClass);

fn fields(error: PutRecordsError) -> Fields {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let code = owned(error.code());
    let message = owned(error.message());
    let class = DefaultClassify.classify_error(&error);
    (error.kind(), code, message, error.status(), owned(error.request_id()), class)
}

async fn put(answer: Answer, in_cbor: bool) -> Fields {
    let client = Client::from_conf(Wire::new(answer).config().build());
    let service = PutRecords::new(&client);
    let service = if in_cbor { service.with_cbor() } else { service };
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
    fields(service.oneshot(request).await.unwrap_err())
}

/// Asserts that an error yields the same fields in JSON, in CBOR, and with the wrong content type. Returns the fields.
async fn assert_same(status: u16, body: &Value, header: Option<&str>) -> Fields {
    let answer = |content_type, body: Vec<u8>| {
        let mut answer = Answer::new(status, content_type, body);
        answer.headers.push(("x-amzn-requestid", "the-request-id".to_owned()));
        answer.headers.extend(header.map(|code| ("x-amzn-errortype", code.to_owned())));
        answer
    };
    let in_json = body.to_string().into_bytes();
    let expected = put(answer(JSON, in_json.clone()), false).await;
    for (content_type, bytes) in [
        (CBOR, cbor(body)),
        (CBOR, cbor_indefinite(body)),
        (JSON, in_json.clone()),
        (CBOR, in_json),
    ] {
        assert_eq!(put(answer(content_type, bytes), true).await, expected, "{status} {body}");
    }
    expected
}

#[tokio::test]
async fn errors_match_json() {
    for (code, status, class) in ERRORS {
        let message = "a message";
        for (body, header) in [
            (json!({ "__type": code, "message": message }), None),
            (
                json!({ "message": message, "__type": format!("com.amazonaws.kinesis#{code}") }),
                None,
            ),
            (
                json!({ "__type": format!("a.b#{code}:http://internal.example.com/x"), "Message": message }),
                None,
            ),
            (json!({ "code": code, "__type": "Other", "message": message }), None),
            (json!({ "message": message }), Some(code)),
            (json!({ "__type": "Other", "message": message }), Some(code)),
            (json!({ "message": message }), Some(&*format!("{code}:http://internal.example.com/"))),
            (
                json!({ "new": { "a": [1, { "b": null }], "c": 2.5 }, "__type": code, "more": [[]], "message": message }),
                None,
            ),
        ] {
            let (kind, found_code, found_message, found_status, id, found_class) =
                assert_same(status, &body, header).await;
            assert_eq!(kind, PutRecordsErrorKind::Service);
            assert_eq!(
                (found_code.as_deref(), found_message.as_deref()),
                (Some(code), Some(message)),
                "{body}"
            );
            assert_eq!(
                (found_status, id.as_deref(), found_class),
                (Some(status), Some("the-request-id"), class)
            );
        }
    }
}

#[tokio::test]
async fn incomplete_errors_match_json() {
    for status in [400, 403, 413, 429, 500, 503] {
        for body in [
            json!({}),
            json!({ "__type": "ResourceNotFoundException" }),
            json!({ "__type": "ResourceNotFoundException", "message": null }),
            json!({ "__type": null, "message": "m" }),
            json!({ "__type": 7, "message": "m" }),
            json!({ "__type": ["x"], "message": "m" }),
            json!({ "__type": "", "message": "" }),
            json!({ "__type": "NewException", "message": { "text": "m" } }),
            json!({ "unrelated": true }),
        ] {
            assert_same(status, &body, None).await;
        }
    }
}

/// Uses responses of load balancers and proxies.
#[tokio::test]
async fn proxy_responses_match_json() {
    for status in [200, 400, 403, 413, 429, 500, 502, 503] {
        for (content_type, body) in [
            ("text/html", "<html><body>Bad Gateway</body></html>"),
            ("text/plain", "upstream connect error"),
            ("application/json", r#"{"message":"Forbidden"}"#),
            ("application/json", r#"{"__type":"AccessDenied""#),
            ("application/json", r#"["AccessDenied"]"#),
            (CBOR, ""),
            (JSON, ""),
            (CBOR, "{"),
            (CBOR, "null"),
        ] {
            let expected = put(Answer::new(status, content_type, body), false).await;
            let found = put(Answer::new(status, content_type, body), true).await;
            assert_eq!(found, expected, "{status} {content_type} {body}");
        }
    }
}
