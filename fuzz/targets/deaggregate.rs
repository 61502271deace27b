#![no_main]

#[path = "../../tests/properties/deaggregate.rs"]
mod deaggregate;
#[path = "../../tests/protobuf/mod.rs"]
mod protobuf;

libfuzzer_sys::fuzz_target!(|input: &[u8]| deaggregate::check(input));
