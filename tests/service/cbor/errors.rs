//! Every error means the same in both protocols.

use aws_sdk_kinesis::Client;
use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, ErrorClass, PutRecords, PutRecordsError, PutRecordsErrorKind,
    PutRecordsRequest,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::encoding::{cbor, unbounded};
use super::{CBOR, JSON};
use crate::support::http::{Answer, Wire};

/// The errors of a request, with the status that they come with.
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
    ("NobodyKnowsThisException", 400, ErrorClass::Fatal),
    ("NobodyKnowsThisException", 502, ErrorClass::OutcomeUnknown),
];

/// What a caller can tell of an error.
type Told =
    (PutRecordsErrorKind, Option<String>, Option<String>, Option<u16>, Option<String>, ErrorClass);

fn told(error: PutRecordsError) -> Told {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let (code, message) = (owned(error.code()), owned(error.message()));
    let class = DefaultClassify.classify_error(&error);
    (error.kind(), code, message, error.status(), owned(error.request_id()), class)
}

/// The error that a PutRecords gets from such an answer.
async fn put(answer: Answer, in_cbor: bool) -> Told {
    let client = Client::from_conf(Wire::new(answer).config().build());
    let service = PutRecords::new(&client);
    let service = if in_cbor { service.with_cbor() } else { service };
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
    told(service.oneshot(request).await.unwrap_err())
}

/// Asserts that the error is told the same way over JSON, over CBOR, and over CBOR when the answer is
/// in JSON nevertheless, and returns what is told.
async fn same(status: u16, body: &Value, header: Option<&str>) -> Told {
    let answer = |content_type, body: Vec<u8>| {
        let mut answer = Answer::new(status, content_type, body);
        answer.headers.push(("x-amzn-requestid", "the-request-id".to_owned()));
        answer.headers.extend(header.map(|code| ("x-amzn-errortype", code.to_owned())));
        answer
    };
    let in_json = body.to_string().into_bytes();
    let expected = put(answer(JSON, in_json.clone()), false).await;
    for (content_type, bytes) in
        [(CBOR, cbor(body)), (CBOR, unbounded(body)), (JSON, in_json.clone()), (CBOR, in_json)]
    {
        assert_eq!(put(answer(content_type, bytes), true).await, expected, "{status} {body}");
    }
    expected
}

#[tokio::test]
async fn the_table_of_errors_is_the_same_in_both_protocols() {
    for (code, status, class) in ERRORS {
        let message = "what is wrong";
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
            let (kind, told, said, found, id, meant) = same(status, &body, header).await;
            assert_eq!(kind, PutRecordsErrorKind::Service);
            assert_eq!((told.as_deref(), said.as_deref()), (Some(code), Some(message)), "{body}");
            assert_eq!(
                (found, id.as_deref(), meant),
                (Some(status), Some("the-request-id"), class)
            );
        }
    }
}

#[tokio::test]
async fn errors_without_their_usual_members_are_the_same_in_both_protocols() {
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
            same(status, &body, None).await;
        }
    }
}

/// From a load balancer, a proxy, or something else that is no Kinesis.
#[tokio::test]
async fn answers_of_others_are_the_same_in_both_protocols() {
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
