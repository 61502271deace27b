//! Tests that accepted records survive a kill and are sent after a restart.
//!
//! A kill is simulated by a copy of the files: the next process would find the same.

use std::time::Duration;

use kinesis_sink::sim::Faults;
use kinesis_sink::spool::Sync;
use kinesis_sink::stream::{StreamDescription, describe_stream_fn};
use kinesis_sink::{Record, RecordOrdering};

use crate::fixtures::{
    Directory, builder, distinct, eventually, produce, produce_with, record, soon, sorted, stream,
    stream_in_outage, written,
};
use crate::support::mock_service::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_record_survives_kill() {
    for sync in [Sync::Always, Sync::default(), Sync::Never] {
        let directory = Directory::new();
        let producer = produce(&stream_in_outage(), directory.spool().with_sync(sync));
        for number in 0..10 {
            let put = producer.put(record(number)).await;
            let image = directory.image();
            drop(put.unwrap());
            let after = stream();
            let restarted = produce(&after, image.spool());
            assert_eq!(restarted.recovered(), number + 1, "{sync:?}");
            restarted.close().await.unwrap();
            assert_eq!(distinct(&after), sorted(0..number as usize + 1), "{sync:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_records_do_not_come_again() {
    let (directory, stream) = (Directory::new(), stream());
    for start in 0..3 {
        let producer = produce(&stream, directory.spool());
        assert_eq!(producer.recovered(), 0);
        for number in start * 100..(start + 1) * 100 {
            producer.send(record(number)).await.unwrap();
        }
        producer.close().await.unwrap();
    }
    assert_eq!(written(&stream).len(), 300);
    assert_eq!(distinct(&stream), sorted(0..300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_repeats_records_without_acknowledgement() {
    let (directory, before) = (Directory::new(), stream());
    let producer = produce(&before, directory.spool());
    for number in 0..100 {
        producer.send(record(number)).await.unwrap();
    }
    producer.flush().await.unwrap();
    before.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
    producer.send(record("rest")).await.unwrap();
    // The acknowledgements are written within 100 ms.
    eventually(|| {
        let image = directory.image();
        let after = stream();
        let restarted = builder().with_spool(image.spool()).build_with(after.service()).unwrap();
        (restarted.recovered() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovered_is_known_before_first_request() {
    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    for number in 0..50 {
        producer.send(record(number)).await.unwrap();
    }
    producer.close_within(Duration::ZERO).await.unwrap();

    let stream = stream();
    let sink = builder().with_spool(directory.spool()).build_with(stream.service()).unwrap();
    assert_eq!(sink.recovered(), 50);
    let (producer, driver) = sink.into_producer();
    assert_eq!((producer.recovered(), written(&stream).len()), (50, 0));
    assert_eq!(producer.status().spool.unwrap().records, 50);
    tokio::spawn(driver);
    producer.close().await.unwrap();
    assert_eq!(written(&stream), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_per_key_survives_kills() {
    let keys = 4;
    let ordered = || builder().with_ordering(RecordOrdering::PerKey);
    let numbered =
        |number: usize| Record::from((format!("key-{}", number % keys), number.to_string()));
    let mut directory = Directory::new();
    let mut streams = Vec::new();
    for start in 0..4 {
        let stream = stream();
        // Some records are delivered before the kill, and come again.
        stream.set_faults(Faults::default().with_throttles(0.5).with_internal_failures(0.2));
        let producer = produce_with(ordered(), &stream, directory.spool());
        for number in start * 200..(start + 1) * 200 {
            producer.send(numbered(number)).await.unwrap();
        }
        directory = directory.image();
        streams.push((stream, producer));
    }
    let last = stream();
    let producer = produce_with(ordered(), &last, directory.spool());
    producer.close().await.unwrap();
    // Each process continues to send, so that the streams contain what it would have sent before it was killed.
    let mut first_seen = vec![Vec::new(); keys];
    for written in streams.iter().flat_map(|(stream, _)| stream.written()).chain(last.written()) {
        let number: usize = text(written.data()).parse().unwrap();
        if !first_seen[number % keys].contains(&number) {
            first_seen[number % keys].push(number);
        }
    }
    for numbers in &first_seen {
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    assert_eq!(first_seen.concat().len(), 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_survive_restart() {
    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    let long = "ß".repeat(256);
    producer.send(Record::from((long.clone(), "keyed"))).await.unwrap();
    producer.send(Record::from("placed").with_explicit_hash_key(7_u128)).await.unwrap();
    producer.send(Record::from("random")).await.unwrap();
    producer.close_within(Duration::ZERO).await.unwrap();
    let stream = stream();
    produce(&stream, directory.spool()).close().await.unwrap();
    let written = stream.written();
    let of = |data: &str| written.iter().find(|written| written.data() == data).unwrap();
    assert_eq!(of("keyed").partition_key().unwrap(), &*long);
    assert_eq!(of("placed").explicit_hash_key().map(|key| key.get()), Some(7));
    assert_eq!(of("random").partition_key().unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_is_sent_after_late_description() {
    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    for number in 0..100 {
        producer.send(record(number)).await.unwrap();
    }
    producer.close_within(Duration::ZERO).await.unwrap();
    let stream = stream();
    let describe = describe_stream_fn(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(StreamDescription::default())
    });
    let described = builder().with_ordering(RecordOrdering::PerKey).with_stream_info(describe);
    let producer = produce_with(described, &stream, directory.spool());
    soon(producer.close()).await.unwrap();
    assert_eq!(written(&stream).len(), 100);
}
