#![no_main]

#[path = "../../tests/service/fuzz_corpus/deaggregate.rs"]
mod deaggregate;
#[allow(dead_code, reason = "the tests use the rest of the module")]
#[path = "../../tests/support/protobuf.rs"]
mod protobuf;

libfuzzer_sys::fuzz_target!(|input: &[u8]| deaggregate::check(input));
