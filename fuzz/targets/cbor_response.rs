#![no_main]

#[path = "../../tests/service/fuzz_corpus/response.rs"]
mod response;
#[allow(dead_code, reason = "the tests use the rest of the module")]
#[path = "../../tests/support/http.rs"]
mod http;

use kinesis_sink::service::PutRecords;
use response::Answered;

thread_local! {
    static ANSWERED: Answered = Answered::new(|client| PutRecords::new(client).with_cbor());
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| ANSWERED.with(|answered| answered.check(input)));
