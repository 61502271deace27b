use std::hint::black_box;

use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::shard::hash_of;

use super::sdk_call::{ENTRIES, PROTOCOLS, Protocol, SdkCall};
use super::through_sink::{Case, RECORDS, ThroughSink};

/// Number of members in an aggregate of about 50 KiB.
const MEMBERS: usize = 400;
const HASHED_KEYS: usize = 1_000;

pub struct Benchmark {
    pub name: String,
    /// Noun for one operation, such as "record".
    pub operation: &'static str,
    pub operations: usize,
    /// Performs the setup and returns the code to count.
    setup: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

impl Benchmark {
    fn new<R: FnMut() + 'static>(
        name: impl Into<String>,
        operation: &'static str,
        operations: usize,
        setup: impl Fn() -> R + 'static,
    ) -> Self {
        let name = name.into();
        Self { name, operation, operations, setup: Box::new(move || Box::new(setup())) }
    }

    pub fn run(&self, times: u32) {
        let mut run = (self.setup)();
        for _ in 0..times {
            run();
        }
    }
}

pub fn all() -> Vec<Benchmark> {
    let mut benchmarks = vec![
        through_the_sink("sink, plain", Case::PLAIN),
        through_the_sink("sink, plain, 4096 shards", Case::MANY_SHARDS),
        through_the_sink("sink, PerShard", Case::PER_SHARD),
        through_the_sink("sink, ordered", Case::ORDERED),
        through_the_sink("sink, ordered, PerShard", Case::ORDERED_PER_SHARD),
        write_aggregate("write aggregate, 1 key", 1),
        write_aggregate("write aggregate, 400 keys", MEMBERS),
        read_aggregate("read aggregate, 400 keys", MEMBERS),
        hash("hash of a key, 8 B", "device-7"),
        hash("hash of a key, 36 B", "4c8f3f0e-5c1a-4f0e-9a53-0d3a5d1f2b6c"),
    ];
    for data_bytes in [100, 1_000] {
        let calls = PROTOCOLS.iter().map(|(name, protocol)| {
            through_the_sdk(format!("SDK, {name}, {data_bytes} B"), *protocol, data_bytes)
        });
        benchmarks.extend(calls);
    }
    benchmarks
}

fn through_the_sink(name: &'static str, case: Case) -> Benchmark {
    Benchmark::new(name, "record", RECORDS, move || {
        let mut sink = ThroughSink::new(case);
        move || sink.send()
    })
}

fn through_the_sdk(name: String, protocol: Protocol, data_bytes: usize) -> Benchmark {
    Benchmark::new(name, "entry", ENTRIES, move || {
        let mut call = SdkCall::new(protocol, data_bytes);
        move || call.send()
    })
}

fn members(keys: usize) -> Vec<Member> {
    let member = |number| Member::new(format!("device-{:04}", number % keys), vec![b'.'; 100]);
    (0..MEMBERS).map(member).collect()
}

fn write_aggregate(name: &'static str, keys: usize) -> Benchmark {
    Benchmark::new(name, "member", MEMBERS, move || {
        let members = members(keys);
        move || {
            drop(black_box(encode(black_box(&members)).expect("the members fit in an aggregate")))
        }
    })
}

fn read_aggregate(name: &'static str, keys: usize) -> Benchmark {
    Benchmark::new(name, "member", MEMBERS, move || {
        let aggregate = encode(&members(keys)).expect("the members fit in an aggregate");
        move || {
            for member in deaggregate(black_box(&aggregate)) {
                black_box(member);
            }
        }
    })
}

fn hash(name: &'static str, key: &'static str) -> Benchmark {
    Benchmark::new(name, "key", HASHED_KEYS, move || {
        move || {
            for _ in 0..HASHED_KEYS {
                black_box(hash_of(black_box(key)));
            }
        }
    })
}
