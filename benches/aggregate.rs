//! Compares the time to encode and decode aggregates with that of prost's derived messages. Also measures the MD5
//! digest alone, because the format requires it.
//!
//! Both decoders visit each payload and key, and share the payloads with their input. The decoder of this crate
//! validates the aggregate before it returns the first member, so it parses each record twice.
//!
//! Run with `cargo bench --bench aggregate`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::record::Key;
use md5::{Digest, Md5};
use prost::Message;

/// Size of an aggregate in bytes, which is the KPL's default.
const AGGREGATE_BYTES: usize = 51_200;
const DATA_BYTES: usize = 100;

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// Returns as many members as fit in an aggregate. The members use `keys` partition keys in rotation.
fn members(keys: usize) -> Vec<Member> {
    let member =
        |number| Member::new(format!("device-{:06}", number % keys), vec![b'.'; DATA_BYTES]);
    let mut members: Vec<_> = (0..AGGREGATE_BYTES / DATA_BYTES).map(member).collect();
    while encode(&members).expect("the members fit in an aggregate").len() > AGGREGATE_BYTES {
        members.pop();
    }
    members
}

fn prost_encode(members: &[Member]) -> Bytes {
    let mut message = AggregatedRecord::default();
    let mut indices = std::collections::HashMap::new();
    for member in members {
        let key = member.partition_key().expect("members have keys");
        let index = *indices.entry(key.clone()).or_insert_with(|| {
            message.partition_key_table.push(key.to_string());
            message.partition_key_table.len() as u64 - 1
        });
        message.records.push(Record {
            partition_key_index: Some(index),
            explicit_hash_key_index: None,
            data: Some(member.data().clone()),
        });
    }
    let mut out = Vec::with_capacity(20 + message.encoded_len());
    out.extend(b"\xf3\x89\x9a\xc2");
    message.encode(&mut out).expect("writing to a Vec does not fail");
    let digest = Md5::digest(&out[4..]);
    out.extend_from_slice(&digest);
    out.into()
}

fn prost_decode(data: &Bytes) -> impl Iterator<Item = (Key, Bytes)> {
    let message = data.slice(4..data.len() - 16);
    assert_eq!(Md5::digest(&message)[..], data[data.len() - 16..]);
    let message = AggregatedRecord::decode(message).expect("the message is valid");
    let keys: Vec<_> = message.partition_key_table.into_iter().map(Key::from).collect();
    message.records.into_iter().map(move |record| {
        let index = record.partition_key_index.expect("records have keys") as usize;
        (keys[index].clone(), record.data.expect("records have data"))
    })
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregate");
    for keys in [1, 500] {
        let members = members(keys);
        let aggregate = encode(&members).expect("the members fit in an aggregate");
        assert_eq!(aggregate, prost_encode(&members));
        let named =
            |what| BenchmarkId::new(what, format!("{} members, {keys} keys", members.len()));
        group.throughput(Throughput::Bytes(aggregate.len() as u64));
        group.bench_function(named("md5 alone"), |bencher| {
            bencher.iter(|| Md5::digest(&black_box(&aggregate)[4..]));
        });
        group.bench_function(named("encode"), |bencher| {
            bencher.iter(|| encode(black_box(&members)));
        });
        group.bench_function(named("encode, prost"), |bencher| {
            bencher.iter(|| prost_encode(black_box(&members)));
        });
        group.bench_function(named("deaggregate"), |bencher| {
            bencher.iter(|| {
                for member in deaggregate(black_box(&aggregate)) {
                    black_box(member);
                }
            });
        });
        group.bench_function(named("deaggregate, prost"), |bencher| {
            bencher.iter(|| {
                for member in prost_decode(black_box(&aggregate)) {
                    black_box(member);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(aggregate, benches);
criterion_main!(aggregate);
