//! Tests of the mode in which only records that do not fit into memory are written.

use std::time::Duration;

use kinesis_sink::record::FailureReason;
use kinesis_sink::sim::Faults;
use kinesis_sink::spool::{Spool, SpoolMode};
use kinesis_sink::{Record, RecordOrdering, SinkBuilder};

use crate::fixtures::{
    Directory, builder, distinct, eventually, produce_with, record, soon, sorted, stream,
    stream_in_outage, written,
};
use crate::support::mock_service::text;

fn overflow(directory: &Directory) -> Spool {
    directory.spool().with_mode(SpoolMode::Overflow)
}

/// Returns a builder whose buffer holds 100 records.
fn small_buffer() -> SinkBuilder {
    builder().configure(|settings| settings.buffer_records = Some(100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflow_writes_nothing_on_good_days() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce_with(builder(), &stream, overflow(&directory));
    let empty = producer.status().spool.unwrap().disk_bytes;
    for number in 0..1_000 {
        producer.send(record(number)).await.unwrap();
        assert_eq!(producer.status().spool.unwrap().records, 0);
    }
    producer.flush().await.unwrap();
    assert_eq!(producer.status().spool.unwrap().disk_bytes, empty);
    producer.close().await.unwrap();
    assert_eq!(distinct(&stream), sorted(0..1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflow_keeps_order_through_outages() {
    let (directory, stream) = (Directory::new(), stream());
    let builder = small_buffer().with_ordering(RecordOrdering::PerKey);
    let producer = produce_with(builder, &stream, overflow(&directory));
    let mut number = 0;
    for _ in 0..5 {
        stream.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
        for _ in 0..1_000 {
            producer.send(record(number)).await.unwrap();
            number += 1;
        }
        assert!(producer.status().spool.unwrap().records > 800);
        stream.set_faults(Faults::default());
        // New records go through the spool until it has no backlog.
        for _ in 0..200 {
            producer.send(record(number)).await.unwrap();
            number += 1;
        }
        eventually(|| (producer.status().spool.unwrap().records == 0).then_some(())).await;
    }
    soon(producer.close()).await.unwrap();
    let written: Vec<usize> = written(&stream).iter().map(|data| data.parse().unwrap()).collect();
    assert_eq!(written, (0..number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_shutdown_writes_records_in_memory() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce_with(builder(), &stream, overflow(&directory));
    let mut receipts = Vec::new();
    for number in 0..500 {
        receipts.push(producer.put(record(number)).await.unwrap());
    }
    assert_eq!(producer.status().spool.unwrap().records, 0, "all records are in memory");
    soon(producer.close_within(Duration::ZERO)).await.unwrap();
    for receipt in receipts {
        let undelivered = soon(receipt).await.unwrap_err();
        assert!(matches!(undelivered.reason(), FailureReason::Spooled { .. }));
    }
    let after = crate::fixtures::stream();
    let producer = produce_with(builder(), &after, overflow(&directory));
    assert_eq!(producer.recovered(), 500);
    soon(producer.close()).await.unwrap();
    assert_eq!(written(&after), (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_per_key_survives_shutdown_with_backlog() {
    const KEYS: usize = 3;
    let directory = Directory::new();
    let ordered = || small_buffer().with_ordering(RecordOrdering::PerKey);
    let numbered =
        |number: usize| Record::from((format!("key-{}", number % KEYS), number.to_string()));
    for start in 0..3 {
        let producer = produce_with(ordered(), &stream_in_outage(), overflow(&directory));
        // The first records are in memory only, the others are diverted.
        for number in start * 500..(start + 1) * 500 {
            producer.send(numbered(number)).await.unwrap();
        }
        soon(producer.close_within(Duration::ZERO)).await.unwrap();
    }
    let after = stream();
    let producer = produce_with(ordered(), &after, overflow(&directory));
    assert_eq!(producer.recovered(), 1_500);
    soon(producer.close()).await.unwrap();
    let mut of_key = vec![Vec::new(); KEYS];
    for written in after.written() {
        let number: usize = text(written.data()).parse().unwrap();
        of_key[number % KEYS].push(number);
    }
    assert!(of_key.iter().all(|numbers| numbers.is_sorted()), "{of_key:?}");
    assert_eq!(of_key.concat().len(), 1_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_with_overflow_drains_disk() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce_with(small_buffer(), &stream, overflow(&directory));
    for number in 0..5_000 {
        producer.send(record(number)).await.unwrap();
    }
    stream.set_faults(Faults::default());
    soon(producer.flush()).await.unwrap();
    assert_eq!(written(&stream).len(), 5_000);
    soon(producer.close()).await.unwrap();
    let after = crate::fixtures::stream();
    assert_eq!(produce_with(builder(), &after, overflow(&directory)).recovered(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_driver_returns_records_in_memory() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let sink = builder().with_spool(overflow(&directory)).build_with(stream.service()).unwrap();
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    for number in 0..10 {
        producer.send(record(number)).await.unwrap();
    }
    driver.abort();
    let error = soon(producer.close()).await.unwrap_err();
    assert_eq!(error.undelivered().len(), 10);
    let reason = error.undelivered()[0].reason();
    assert!(matches!(reason, FailureReason::Abandoned { .. }), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflow_ends_after_recovered_records() {
    let directory = Directory::new();
    let producer = produce_with(builder(), &stream_in_outage(), overflow(&directory));
    for number in 0..100 {
        producer.send(record(number)).await.unwrap();
    }
    soon(producer.close_within(Duration::ZERO)).await.unwrap();
    let after = stream();
    let producer = produce_with(builder(), &after, overflow(&directory));
    soon(producer.flush()).await.unwrap();
    eventually(|| (producer.status().spool.unwrap().records == 0).then_some(())).await;
    let written = producer.status().spool.unwrap().next_sequence;
    for number in 100..200 {
        producer.send(record(number)).await.unwrap();
    }
    soon(producer.flush()).await.unwrap();
    assert_eq!(producer.status().spool.unwrap().next_sequence, written, "nothing was written");
    soon(producer.close()).await.unwrap();
    assert_eq!(distinct(&after), sorted(0..200));
}
