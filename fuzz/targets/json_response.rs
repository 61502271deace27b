#![no_main]

#[allow(dead_code, reason = "the tests use the rest of the module")]
#[path = "../../tests/support/http.rs"]
mod http;
#[path = "../../tests/service/fuzz_corpus/response.rs"]
mod response;

use kinesis_sink::service::PutRecords;
use response::ResponseChecker;

thread_local! {
    static CHECKER: ResponseChecker = ResponseChecker::new(|client| PutRecords::new(client));
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| CHECKER.with(|checker| checker.check(input)));
