//! Compares how this crate and prost decode randomly damaged aggregates. About half of the aggregates are damaged
//! before the digest is computed, so that they pass the digest check and reach the protobuf decoder.

use std::ops::Range;

use bytes::Bytes;
use fastrand::Rng;
use kinesis_sink::aggregate::deaggregate;
use prost::Message;

use crate::support::protobuf;
use crate::support::protobuf::{AggregatedRecord, Record, wrapped};

struct ReplayOnPanic(u64);

impl Drop for ReplayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "replay: AGGREGATE_SEED={seed} cargo test --test aggregation damaged_aggregates::"
            );
        }
    }
}

#[test]
fn mutated_aggregates_decode_like_prost() {
    run(10_000);
}

#[test]
#[ignore = "takes half a minute"]
fn million_mutations_decode_like_prost() {
    run(1_000_000);
}

/// Runs `cases` cases with consecutive seeds. If `AGGREGATE_SEED` is set, runs only that seed.
fn run(cases: u64) {
    let seeds = match std::env::var("AGGREGATE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("AGGREGATE_SEED is not a number");
            seed..seed + 1
        }
        Err(_) => {
            let first = fastrand::u64(..u64::MAX / 2);
            first..first + cases
        }
    };
    let is_replay = seeds.end - seeds.start == 1;
    let mut repaired = 0;
    let mut decoded = 0;
    for seed in seeds {
        let _replay = ReplayOnPanic(seed);
        let mut rng = Rng::with_seed(seed);
        let mut message = message(&mut rng);
        for _ in 0..rng.u32(0..4) {
            mutate(&mut message, &mut rng);
        }
        let mut data = wrapped(&message);
        if rng.bool() {
            repaired += 1;
            decoded += u64::from(check(&data, Some(&message)));
            continue;
        }
        let mut damaged = data.to_vec();
        mutate(&mut damaged, &mut rng);
        data = damaged.into();
        check(&data, None);
    }
    println!("{repaired} of {cases} with a valid digest, {decoded} of them aggregates");
    assert!(
        is_replay || (repaired > cases / 3 && decoded > cases / 20),
        "too few cases reach the decoder"
    );
}

/// Asserts that this crate and prost decode `data` to the same members. Returns `true` if the data is an aggregate.
fn check(data: &Bytes, message: Option<&[u8]>) -> bool {
    let members = deaggregate(data);
    let aggregate = members.is_aggregate();
    let length = members.len();
    let members: Vec<_> = members.collect();
    assert_eq!(members.len(), length);
    if !aggregate {
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].data(), data);
        assert_eq!(members[0].partition_key(), None);
        let message = message.filter(|message| !may_contain_group(message));
        assert_eq!(message.and_then(protobuf::members), None, "prost decodes it");
        return false;
    }
    let message = message.unwrap_or(&data[4..data.len() - 16]);
    let expected = protobuf::members(message).expect("prost rejects it");
    assert_eq!(members.len(), expected.len());
    for (index, (member, (key, hash_key, data))) in members.iter().zip(&expected).enumerate() {
        assert_eq!(member.partition_key().unwrap().as_str(), key);
        assert_eq!(member.explicit_hash_key(), *hash_key);
        assert_eq!(member.data(), data);
        assert_eq!(member.sub_sequence_number(), Some(index as u64));
    }
    true
}

/// Returns `true` if the message might contain a protobuf group. prost skips groups, whereas this crate rejects them.
fn may_contain_group(message: &[u8]) -> bool {
    let opens = message.iter().position(|byte| byte & 7 == 3);
    opens.is_some_and(|index| message[index..].iter().any(|byte| byte & 7 == 4))
}

fn message(rng: &mut Rng) -> Vec<u8> {
    let text = |rng: &mut Rng| {
        let letter = |rng: &mut Rng| rng.choice(['a', '7', 'ß', '🦀']).unwrap();
        (0..rng.usize(0..30)).map(|_| letter(rng)).collect::<String>()
    };
    let keys = rng.u64(1..6);
    let hash_keys = rng.u64(0..3);
    let mut tables = AggregatedRecord {
        partition_key_table: (0..keys).map(|_| text(rng)).collect(),
        explicit_hash_key_table: (0..hash_keys).map(|_| rng.u128(..).to_string()).collect(),
        records: Vec::new(),
    };
    let record = |rng: &mut Rng| Record {
        partition_key_index: Some(rng.u64(..keys)),
        explicit_hash_key_index: (hash_keys > 0 && rng.bool()).then(|| rng.u64(..hash_keys)),
        data: Some((0..rng.usize(..20)).map(|_| rng.u8(..)).collect()),
    };
    let records: Vec<_> = (0..rng.usize(1..8)).map(|_| record(rng)).collect();
    if rng.bool() {
        tables.records = records;
        return tables.encode_to_vec();
    }
    let records = AggregatedRecord { records, ..AggregatedRecord::default() };
    [records.encode_to_vec(), tables.encode_to_vec()].concat()
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    fn part(bytes: &[u8], rng: &mut Rng) -> Range<usize> {
        let from = rng.usize(..=bytes.len());
        from..rng.usize(from..=bytes.len().min(from + 20))
    }
    match rng.u32(..6) {
        0 | 1 if !bytes.is_empty() => {
            let index = rng.usize(..bytes.len());
            bytes[index] ^= 1 << rng.u32(..8);
        }
        2 => bytes.truncate(rng.usize(..=bytes.len())),
        3 => drop(bytes.drain(part(bytes, rng))),
        4 => {
            let repeated = bytes[part(bytes, rng)].to_vec();
            let index = rng.usize(..=bytes.len());
            bytes.splice(index..index, repeated);
        }
        _ => {
            let index = rng.usize(..=bytes.len());
            let fields: [&[u8]; 5] = [
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\x1a\x80",
                b"\x0a\0",
                b"\x23\x24",
                b"\x3d",
            ];
            bytes.splice(index..index, rng.choice(fields).unwrap().iter().copied());
        }
    }
}
