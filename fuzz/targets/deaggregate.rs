#![no_main]

#[path = "../../tests/service/fuzz_corpus/deaggregate.rs"]
mod deaggregate;
#[path = "../../tests/support/protobuf.rs"]
mod protobuf;

libfuzzer_sys::fuzz_target!(|input: &[u8]| deaggregate::check(input));
