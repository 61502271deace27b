#![no_main]

#[path = "../../tests/properties/response.rs"]
mod response;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/wire/mod.rs"]
mod wire;

use kinesis_sink::service::PutRecords;
use response::Answered;

thread_local! {
    static ANSWERED: Answered = Answered::new(|client| PutRecords::new(client));
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| ANSWERED.with(|answered| answered.check(input)));
