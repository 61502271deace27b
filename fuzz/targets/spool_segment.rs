#![no_main]

// The reader of segments is private, so the target includes its modules.
mod record {
    pub(crate) use kinesis_sink::Record;
    pub(crate) use kinesis_sink::record::{HashKey, Key, PartitionKey};
}

#[allow(dead_code, unused_imports, reason = "the crate uses the rest of the modules")]
#[path = "../../src/spool"]
mod spool {
    pub(crate) mod format;
    pub(crate) mod fuzz_corpus;
    pub(crate) mod log;

    pub(crate) mod files {
        mod fake;
        mod interface;

        pub(crate) use fake::{FakeFiles, Faults};
        pub(crate) use interface::Files;
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| spool::fuzz_corpus::check(input));
