//! Benchmarks parts of the delivery path without a network: sending 10,000 records through the sink, hashing a
//! partition key, and sending one request of 500 entries through the SDK.
//!
//! Run with `cargo bench --bench micro`. The bench `instructions` counts the instructions of the same code.

mod sdk_call;
mod through_sink;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinesis_sink::shard::hash_of;

use self::sdk_call::{ENTRIES, PROTOCOLS, SdkCall};
use self::through_sink::{Case, RECORDS, ThroughSink};

const CASES: [(&str, Case); 5] = [
    ("plain", Case::PLAIN),
    ("plain, 4096 shards", Case::MANY_SHARDS),
    ("PerShard", Case::PER_SHARD),
    ("ordered", Case::ORDERED),
    ("ordered, PerShard", Case::ORDERED_PER_SHARD),
];

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("through the sink");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    for (name, case) in CASES {
        let mut sink = ThroughSink::new(case);
        group.bench_function(name, |bencher| bencher.iter(|| sink.send()));
    }
    group.finish();

    let mut group = criterion.benchmark_group("hash of a key");
    for bytes in [8, 36, 256] {
        let key = "k".repeat(bytes);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(format!("{bytes} B")), |bencher| {
            bencher.iter(|| hash_of(black_box(&key)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("through the SDK");
    group.throughput(Throughput::Elements(ENTRIES as u64)).sample_size(20);
    for bytes in [100, 1_000] {
        for (name, protocol) in PROTOCOLS {
            let mut call = SdkCall::new(*protocol, bytes);
            group.bench_function(BenchmarkId::new(*name, format!("{bytes} B")), |bencher| {
                bencher.iter(|| call.send());
            });
        }
    }
    group.finish();
}

criterion_group!(micro, benches);
criterion_main!(micro);
