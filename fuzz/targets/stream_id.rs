#![no_main]

#[path = "../../tests/service/fuzz_corpus/stream_id.rs"]
mod stream_id;

libfuzzer_sys::fuzz_target!(|input: &[u8]| stream_id::check(input));
