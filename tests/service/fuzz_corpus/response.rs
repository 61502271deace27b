//! Properties that must hold for any response to PutRecords.

use std::error::Error;
use std::iter::successors;

use aws_sdk_kinesis::Client;
use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, EntryClass, ErrorClass, PutRecords, PutRecordsError,
    PutRecordsRequest, PutRecordsResponse,
};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::http::{Answer, Wire};

const HEADERS: [&str; 3] = ["content-type", "x-amzn-errortype", "x-amzn-requestid"];

pub struct ResponseChecker {
    runtime: Runtime,
    wire: Wire,
    direct: PutRecords,
    sdk: PutRecords,
}

impl ResponseChecker {
    pub fn new(service: impl FnOnce(&Client) -> PutRecords) -> Self {
        let wire = Wire::new(Answer::new(500, "", ""));
        let service = service(&Client::from_conf(wire.config().build()));
        let service = service.without_stalled_stream_protection();
        Self {
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("cannot build a runtime"),
            wire,
            direct: service.clone().with_direct_serialization(),
            sdk: service.with_sdk_serialization(),
        }
    }

    /// Checks a response. The first line of the input is `<status> <entries>`, followed by the values of [`HEADERS`],
    /// all separated by spaces. The other lines are the body.
    pub fn check(&self, input: &[u8]) {
        let (answer, entries) = parse(input);
        let direct = self.put(&self.direct, &answer, entries);
        let sdk = self.put(&self.sdk, &answer, entries);
        assert_eq!(outcome(&direct), outcome(&sdk));
        match direct {
            Ok(response) => check_response(&response, &answer, entries),
            Err(error) => check_error(&error, &answer, input.len()),
        }
    }

    fn put(
        &self,
        service: &PutRecords,
        answer: &Answer,
        entries: usize,
    ) -> Result<PutRecordsResponse, PutRecordsError> {
        self.wire.answer_with(answer.clone());
        let entry = Entry::new("data".into(), Some("key".into()), None);
        let stream = "example".parse().expect("the name is valid");
        let request = PutRecordsRequest::new(stream, vec![entry; entries]);
        let response = self.runtime.block_on(service.clone().oneshot(request));
        assert_eq!(self.wire.take().len(), 1, "number of requests");
        response
    }
}

/// Returns the response and the number of entries in the request. Any input is valid.
fn parse(input: &[u8]) -> (Answer, usize) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let body = input.get(end + 1..).unwrap_or_default();
    let mut words = input[..end].split(|&byte| byte == b' ').map(|word| {
        let letters = word.iter().filter(|byte| byte.is_ascii_graphic());
        letters.map(|&byte| char::from(byte)).collect::<String>()
    });
    let mut number = |default: u16| {
        let word = words.next().and_then(|word| word.parse().ok());
        word.unwrap_or(default)
    };
    let status = number(200).clamp(100, 599);
    let entries = number(2).clamp(1, 4);
    let headers = HEADERS.into_iter().zip(words).filter(|(_, value)| !value.is_empty());
    (Answer { status, headers: headers.collect(), body: body.to_vec() }, entries.into())
}

fn outcome(result: &Result<PutRecordsResponse, PutRecordsError>) -> String {
    match result {
        Ok(response) => format!("{:?}", response.results()),
        Err(error) => {
            format!("{:?} {error} {:?} {:?}", error.kind(), error.status(), error.request_id())
        }
    }
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

fn check_response(response: &PutRecordsResponse, answer: &Answer, entries: usize) {
    assert!(is_success(answer), "delivered with status {}", answer.status);
    assert_eq!(response.results().len(), entries);
    // A text need not appear literally in the body, because JSON can escape it and CBOR can split it into chunks.
    let is_literal = !answer.body.iter().any(|byte| matches!(byte, b'\\' | 0x7f));
    let is_in_body = |text| !is_literal || contains(&answer.body, text);
    for result in response.results() {
        match result {
            Ok(placement) => {
                assert!(is_in_body(placement.shard_id()), "shard id is not in the body");
                assert!(
                    is_in_body(placement.sequence_number()),
                    "sequence number is not in the body"
                );
            }
            Err(error) if error.code() == "IncompleteResult" => {
                assert_eq!(DefaultClassify.classify_entry(error), EntryClass::OutcomeUnknown);
            }
            Err(error) => assert!(is_in_body(error.code()), "error code is not in the body"),
        }
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes())
}

fn check_error(error: &PutRecordsError, answer: &Answer, input_bytes: usize) {
    let class = DefaultClassify.classify_error(error);
    if is_success(answer) {
        assert_eq!(class, ErrorClass::OutcomeUnknown, "{:?}", error.kind());
    }
    let chain = successors(Some(error as &dyn Error), |&error| error.source());
    let bytes: usize = chain.map(|error| error.to_string().len()).sum();
    // Each invalid byte can be replaced with a replacement character, which has three bytes.
    assert!(bytes <= 3 * input_bytes + 1_000, "{bytes} bytes of error texts");
}
