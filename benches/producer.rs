//! Measures the time per record in the sink and in the producer, with and without a receipt.
//!
//! The service responds immediately, so the time is spent in this crate, in the runtime, and on the two strings per
//! record in the response. Run with `cargo bench --bench producer`.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, future, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{KinesisSink, Producer, Receipt, Record};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tower::{BoxError, Service};

const RECORDS: usize = 64_000;
/// Maximum number of pending receipts per task.
const WINDOW: usize = 500;

#[derive(Clone)]
struct MockService;

impl Service<PutRecordsRequest> for MockService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Ready<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let placement = |_| {
            let sequence_number = "49590338271490256608559692538361571095921575989136588898";
            Ok(Placement::new("shardId-000000000000", sequence_number))
        };
        ready(Ok(PutRecordsResponse::new(request.entries().iter().map(placement).collect())))
    }
}

fn sink() -> KinesisSink<MockService> {
    // Disables the rate limit.
    let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = limits;
    });
    builder.build_with(MockService).expect("the settings are valid")
}

fn record() -> Record {
    Record::from(("device-7", Bytes::from_static(&[b'.'; 100])))
}

async fn through_the_sink(receipts: bool) {
    let mut sink = sink();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let records = stream::iter(0..RECORDS).map(move |_| {
        if !receipts {
            return Ok(record());
        }
        let (record, receipt) = record().tracked();
        sender.send(receipt).expect("the receiver is open");
        Ok(record)
    });
    let read = async {
        while let Some(receipt) = receiver.recv().await {
            wait_for(Some(receipt)).await;
        }
    };
    let (forwarded, ()) = future::join(records.forward(&mut sink), read).await;
    forwarded.expect("all records are delivered");
    assert_eq!(sink.totals().delivered, RECORDS as u64);
}

async fn send_all(producer: Producer, records: usize) {
    for _ in 0..records {
        producer.send(record()).await.expect("the producer is open");
    }
}

async fn put_all(producer: Producer, records: usize) {
    let mut receipts = VecDeque::new();
    for _ in 0..records {
        if receipts.len() == WINDOW {
            wait_for(receipts.pop_front()).await;
        }
        receipts.push_back(producer.put(record()).await.expect("the producer is open"));
    }
    while !receipts.is_empty() {
        wait_for(receipts.pop_front()).await;
    }
}

async fn wait_for(receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        black_box(receipt.await.expect("all records are delivered"));
    }
}

async fn through_a_producer(tasks: usize, receipts: bool) {
    let producer = sink().spawn();
    let spawn = |_| {
        let producer = producer.clone();
        if receipts {
            tokio::spawn(put_all(producer, RECORDS / tasks))
        } else {
            tokio::spawn(send_all(producer, RECORDS / tasks))
        }
    };
    for task in future::join_all((0..tasks).map(spawn)).await {
        task.expect("the task does not panic");
    }
    producer.close().await.expect("all records are delivered");
    assert_eq!(producer.status().totals.delivered, RECORDS as u64);
}

fn timed<F: Future<Output = ()>>(runtime: &Runtime, runs: u64, run: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        runtime.block_on(run());
    }
    start.elapsed()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    let one_thread =
        Builder::new_current_thread().enable_time().build().expect("failed to build a runtime");
    let two_threads = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("failed to build a runtime");
    for receipts in [false, true] {
        let mode = if receipts { "with receipts" } else { "without receipts" };
        group.bench_function(BenchmarkId::new("sink", mode), |bencher| {
            bencher.iter_custom(|runs| timed(&one_thread, runs, || through_the_sink(receipts)));
        });
        for (tasks, name) in [(1, "producer, 1 task"), (64, "producer, 64 tasks")] {
            let run = || through_a_producer(tasks, receipts);
            group.bench_function(BenchmarkId::new(name, mode), |bencher| {
                bencher.iter_custom(|runs| timed(&one_thread, runs, run));
            });
            group.bench_function(
                BenchmarkId::new(format!("{name}, two threads"), mode),
                |bencher| {
                    bencher.iter_custom(|runs| timed(&two_threads, runs, run));
                },
            );
        }
    }
    group.finish();
}

criterion_group!(producer, benches);
criterion_main!(producer);
