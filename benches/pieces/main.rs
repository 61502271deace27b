//! The pieces that a record's cost is made of, each by itself: the time of 10,000 records through the sink
//! over a service that answers at once, of a partition key's digest, and of one request of 500 entries
//! through the SDK, with no network.
//!
//! `cargo bench --bench pieces`. Writing and reading aggregates has a bench of its own, `aggregate`, and so
//! have receipts and the producer, `producer`; `instructions` counts what the same pieces execute.

mod sdk_call;
mod through_sink;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinesis_sink::shard::hash_of;

use self::sdk_call::{ENTRIES, PROTOCOLS, SdkCall};
use self::through_sink::{Case, RECORDS, ThroughSink};

const CASES: [(&str, Case); 5] = [
    ("plain", Case::PLAIN),
    ("plain, 4096 shards", Case::PLACING),
    ("PerShard", Case::PER_SHARD),
    ("ordered", Case::ORDERED),
    ("ordered, PerShard", Case::ORDERED_PER_SHARD),
];

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("through the sink");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    for (name, case) in CASES {
        let mut through = ThroughSink::new(case);
        group.bench_function(name, |bencher| bencher.iter(|| through.send()));
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

criterion_group!(pieces, benches);
criterion_main!(pieces);
