//! What it costs to write and to read aggregates, beside what prost's derived messages take for the same, and
//! beside the digest alone, which nobody can do without.
//!
//! Both readers go over every payload and key, and share the payloads with their input. This crate's checks the
//! whole aggregate before it gives the first member, and so reads each record twice.
//!
//! `cargo bench --bench aggregate`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::record::Key;
use md5::{Digest, Md5};
use prost::Message;

/// Bytes of one aggregate: what the KPL makes unless told otherwise.
const AGGREGATE: usize = 51_200;
/// Bytes of one payload.
const DATA: usize = 100;

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

/// As many members as fit, with so many keys in turn.
fn members(keys: usize) -> Vec<Member> {
    let member = |place| Member::new(format!("device-{:06}", place % keys), vec![b'.'; DATA]);
    let mut members: Vec<_> = (0..AGGREGATE / DATA).map(member).collect();
    while encode(&members).expect("it is valid").len() > AGGREGATE {
        members.pop();
    }
    members
}

fn prost_encode(members: &[Member]) -> Bytes {
    let mut message = AggregatedRecord::default();
    let mut places = std::collections::HashMap::new();
    for member in members {
        let key = member.partition_key().expect("it has one");
        let place = *places.entry(key.clone()).or_insert_with(|| {
            message.partition_key_table.push(key.to_string());
            message.partition_key_table.len() as u64 - 1
        });
        message.records.push(Record {
            partition_key_index: Some(place),
            explicit_hash_key_index: None,
            data: Some(member.data().clone()),
        });
    }
    let mut out = Vec::with_capacity(20 + message.encoded_len());
    out.extend(b"\xf3\x89\x9a\xc2");
    message.encode(&mut out).expect("a Vec has room");
    let digest = Md5::digest(&out[4..]);
    out.extend_from_slice(&digest);
    out.into()
}

fn prost_decode(data: &Bytes) -> impl Iterator<Item = (Key, Bytes)> {
    let message = data.slice(4..data.len() - 16);
    assert_eq!(Md5::digest(&message)[..], data[data.len() - 16..]);
    let message = AggregatedRecord::decode(message).expect("it is valid");
    let keys: Vec<_> = message.partition_key_table.into_iter().map(Key::from).collect();
    message.records.into_iter().map(move |record| {
        let place = record.partition_key_index.expect("it is there") as usize;
        (keys[place].clone(), record.data.expect("they are there"))
    })
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregate");
    for keys in [1, 500] {
        let members = members(keys);
        let aggregate = encode(&members).expect("it is valid");
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
                deaggregate(black_box(&aggregate)).for_each(|member| drop(black_box(member)))
            });
        });
        group.bench_function(named("deaggregate, prost"), |bencher| {
            bencher.iter(|| {
                prost_decode(black_box(&aggregate)).for_each(|member| drop(black_box(member)))
            });
        });
    }
    group.finish();
}

criterion_group!(aggregate, benches);
criterion_main!(aggregate);
