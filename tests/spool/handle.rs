//! Tests of receipts, flushes, cancelled calls, and the other ways to send with a spool.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{StreamExt, stream as streams};
use kinesis_sink::sim::Faults;
use kinesis_sink::spool::Sync;
use kinesis_sink::{Record, budget};
use tower::{Service, ServiceExt};

use crate::fixtures::{
    Directory, builder, distinct, produce, produce_with, record, soon, sorted, stream,
    stream_in_outage, written,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_records_on_disk_complete() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let builder = builder().configure(|settings| settings.buffer_records = Some(10));
    let producer = produce_with(builder, &stream, directory.spool());
    // More than the outlet holds.
    let mut receipts = Vec::new();
    for number in 0..20_000 {
        let receipt = producer.put(record(number)).await.unwrap();
        if number % 2 == 0 {
            receipts.push(receipt);
        }
    }
    assert!(!receipts.iter().any(|receipt| receipt.is_settled()));
    stream.set_faults(Faults::default());
    for receipt in receipts {
        let delivery = soon(receipt).await.unwrap();
        assert!(delivery.shard_id().starts_with("shardId-"));
    }
    producer.close().await.unwrap();
    assert_eq!(distinct(&stream), sorted(0..20_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flush_waits_for_staged_records_and_disk() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let builder = builder().configure(|settings| settings.buffer_records = Some(10));
    let producer = produce_with(builder, &stream, directory.spool());
    producer.flush().await.unwrap();
    for number in 0..3_000 {
        producer.try_send(record(number)).unwrap();
    }
    let mut flush = Box::pin(producer.flush());
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut flush).await.is_err();
    assert!(waits, "the stream has no record");
    stream.set_faults(Faults::default());
    soon(flush).await.unwrap();
    assert_eq!(written(&stream).len(), 3_000);
    soon(producer.flush()).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(producer.flush().await.map_err(|error| error.kind()), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flush_does_not_wait_for_later_records() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce(&stream, directory.spool());
    let endless = tokio::spawn({
        let producer = producer.clone();
        async move {
            for number in 0.. {
                if producer.send(record(number)).await.is_err() {
                    return;
                }
            }
        }
    });
    for _ in 0..10 {
        soon(producer.flush()).await.unwrap();
    }
    soon(producer.close()).await.unwrap();
    soon(endless).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_put_is_sent_at_most_once() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce(&stream, directory.spool().with_sync(Sync::Always));
    let mut accepted = Vec::new();
    for number in 0..500 {
        let mut put = Box::pin(producer.put(record(number)));
        // The record is dropped while it is staged or written.
        if let Poll::Ready(put) = put.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            accepted.push(number.to_string());
            drop(put.unwrap());
        }
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.send(record("last")).await.unwrap();
    producer.close().await.unwrap();
    let all = written(&stream);
    assert_eq!(all.len(), distinct(&stream).len(), "no record is sent twice");
    assert!(accepted.iter().all(|number| all.contains(number)));
    assert!(all.contains(&"last".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ways_to_send_use_spool() {
    let (directory, stream) = (Directory::new(), stream());
    let mut producer = produce(&stream, directory.spool());
    let numbers = |start: usize| streams::iter(start..start + 100);
    numbers(0).map(record).map(Ok).forward(producer.sink()).await.unwrap();
    let mut outcomes = producer.put_all(numbers(100).map(|number| (record(number), number)));
    for number in 100..200 {
        let (context, outcome) = soon(outcomes.next()).await.unwrap();
        assert_eq!(context, number);
        outcome.unwrap();
    }
    drop(outcomes);
    for number in 200..300 {
        let delivery = producer.ready().await.unwrap().call(record(number));
        soon(delivery).await.unwrap();
    }
    for number in 300..400 {
        drop(producer.try_put(record(number)).unwrap());
    }
    producer.close().await.unwrap();
    assert_eq!(distinct(&stream), sorted(0..400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spool_respects_budget() {
    let mut settings = budget::BudgetSettings::default();
    settings.buffer_records = 1_000;
    let budget = budget::Budget::new(settings).unwrap();
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce_with(builder().with_budget(&budget), &stream, directory.spool());
    for number in 0..5_000 {
        producer.send(record(number)).await.unwrap();
    }
    assert!(producer.status().buffered().records <= 1_000);
    stream.set_faults(Faults::default());
    soon(producer.close()).await.unwrap();
    assert_eq!(distinct(&stream), sorted(0..5_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_record_passes_spool() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, directory.spool());
    let empty = Record::from("").with_partition_key(kinesis_sink::PartitionKey::ServiceManaged);
    producer.send(empty).await.unwrap();
    producer.send(record(1)).await.unwrap();
    assert_eq!(producer.status().spool.unwrap().records, 2);
    soon(producer.close_within(Duration::from_millis(50))).await.unwrap();
}
