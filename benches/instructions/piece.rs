//! What is counted.

use std::hint::black_box;

use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::shard::hash_of;

use super::sdk_call::{ENTRIES, PROTOCOLS, Protocol, SdkCall};
use super::through_sink::{Case, RECORDS, ThroughSink};

/// Members of an aggregate of about 50 KiB.
const MEMBERS: usize = 400;
/// Digests of one run.
const DIGESTS: usize = 1_000;

pub struct Piece {
    pub name: String,
    /// What one of its units is.
    pub unit: &'static str,
    /// Units of one run.
    pub units: usize,
    /// Makes everything ready, and gives what is counted.
    make: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

impl Piece {
    fn new<R: FnMut() + 'static>(
        name: impl Into<String>,
        unit: &'static str,
        units: usize,
        make: impl Fn() -> R + 'static,
    ) -> Self {
        let name = name.into();
        Self { name, unit, units, make: Box::new(move || Box::new(make())) }
    }

    pub fn run(&self, times: u32) {
        let mut run = (self.make)();
        (0..times).for_each(|_| run());
    }
}

pub fn all() -> Vec<Piece> {
    let mut pieces = vec![
        through_the_sink("sink, plain", Case::PLAIN),
        through_the_sink("sink, plain, 4096 shards", Case::PLACING),
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
        pieces.extend(calls);
    }
    pieces
}

fn through_the_sink(name: &'static str, case: Case) -> Piece {
    Piece::new(name, "record", RECORDS, move || {
        let mut through = ThroughSink::new(case);
        move || through.send()
    })
}

fn through_the_sdk(name: String, protocol: Protocol, data_bytes: usize) -> Piece {
    Piece::new(name, "entry", ENTRIES, move || {
        let mut call = SdkCall::new(protocol, data_bytes);
        move || call.send()
    })
}

fn members(keys: usize) -> Vec<Member> {
    let member = |place| Member::new(format!("device-{:04}", place % keys), vec![b'.'; 100]);
    (0..MEMBERS).map(member).collect()
}

fn write_aggregate(name: &'static str, keys: usize) -> Piece {
    Piece::new(name, "member", MEMBERS, move || {
        let members = members(keys);
        move || drop(black_box(encode(black_box(&members)).expect("it is valid")))
    })
}

fn read_aggregate(name: &'static str, keys: usize) -> Piece {
    Piece::new(name, "member", MEMBERS, move || {
        let aggregate = encode(&members(keys)).expect("it is valid");
        move || deaggregate(black_box(&aggregate)).for_each(|member| drop(black_box(member)))
    })
}

fn hash(name: &'static str, key: &'static str) -> Piece {
    Piece::new(name, "key", DIGESTS, move || {
        move || {
            for _ in 0..DIGESTS {
                black_box(hash_of(black_box(key)));
            }
        }
    })
}
