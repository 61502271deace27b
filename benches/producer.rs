//! What a record costs on its way through the sink and through the producer, with and without a receipt.
//!
//! The service answers at once, so that only this crate, the runtime and the answer's two strings per
//! record are measured. `cargo bench --bench producer`.

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

/// Records in one run.
const RECORDS: usize = 64_000;
/// Receipts that one task holds before it waits for the oldest.
const WINDOW: usize = 500;

/// Delivers everything at once.
#[derive(Clone)]
struct Instantly;

impl Service<PutRecordsRequest> for Instantly {
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

fn sink() -> KinesisSink<Instantly> {
    // The one shard has no quota: what it takes is not what is measured.
    let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = limits;
    });
    builder.build_with(Instantly).expect("it is valid")
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
        sender.send(receipt).expect("the other future reads them");
        Ok(record)
    });
    let read = async {
        while let Some(receipt) = receiver.recv().await {
            settle(Some(receipt)).await;
        }
    };
    let (forwarded, ()) = future::join(records.forward(&mut sink), read).await;
    forwarded.expect("everything is delivered");
    assert_eq!(sink.totals().delivered, RECORDS as u64);
}

async fn send_some(producer: Producer, records: usize) {
    for _ in 0..records {
        producer.send(record()).await.expect("it is open");
    }
}

async fn put_some(producer: Producer, records: usize) {
    let mut waiting = VecDeque::new();
    for _ in 0..records {
        if waiting.len() == WINDOW {
            settle(waiting.pop_front()).await;
        }
        waiting.push_back(producer.put(record()).await.expect("it is open"));
    }
    while !waiting.is_empty() {
        settle(waiting.pop_front()).await;
    }
}

async fn settle(receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        black_box(receipt.await.expect("everything is delivered"));
    }
}

async fn through_a_producer(tasks: usize, receipts: bool) {
    let producer = sink().spawn();
    let some = |_| {
        let producer = producer.clone();
        match receipts {
            true => tokio::spawn(put_some(producer, RECORDS / tasks)),
            false => tokio::spawn(send_some(producer, RECORDS / tasks)),
        }
    };
    future::join_all((0..tasks).map(some))
        .await
        .into_iter()
        .for_each(|task| task.expect("no panic"));
    producer.close().await.expect("everything is delivered");
    assert_eq!(producer.status().totals.delivered, RECORDS as u64);
}

fn timed<F: Future<Output = ()>>(runtime: &Runtime, runs: u64, run: impl Fn() -> F) -> Duration {
    let began = Instant::now();
    (0..runs).for_each(|_| runtime.block_on(run()));
    began.elapsed()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    let one_thread = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let two_threads =
        Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    for receipts in [false, true] {
        let how = if receipts { "with receipts" } else { "without receipts" };
        group.bench_function(BenchmarkId::new("sink", how), |bencher| {
            bencher.iter_custom(|runs| timed(&one_thread, runs, || through_the_sink(receipts)));
        });
        for (tasks, name) in [(1, "producer, 1 task"), (64, "producer, 64 tasks")] {
            let run = || through_a_producer(tasks, receipts);
            group.bench_function(BenchmarkId::new(name, how), |bencher| {
                bencher.iter_custom(|runs| timed(&one_thread, runs, run));
            });
            group.bench_function(
                BenchmarkId::new(format!("{name}, two threads"), how),
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
