//! Tests of permanently failed records: they stay in the spool until they are taken.

use std::sync::mpsc;
use std::time::Duration;

use kinesis_sink::ErrorKind;
use kinesis_sink::record::FailureReason;

use crate::fixtures::{Directory, builder, record, soon};
use crate::support::mock_service::{MockService, texts};

fn produce(directory: &Directory) -> kinesis_sink::Producer {
    let service = MockService::rejecting_bad().with_round_trip(Duration::from_millis(2));
    builder().with_spool(directory.spool()).build_with(service).unwrap().spawn()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_come_again_until_taken() {
    let directory = Directory::new();
    let producer = produce(&directory);
    for data in ["good", "bad-1", "bad-2"] {
        producer.send(record(data)).await.unwrap();
    }
    assert_eq!(soon(producer.flush()).await.unwrap_err().kind(), ErrorKind::Undelivered);
    // The last handle is dropped before the records are taken.
    drop(producer);
    let producer = tokio::task::spawn_blocking({
        let spool = directory.spool();
        let service = MockService::rejecting_bad().with_round_trip(Duration::from_millis(2));
        move || builder().with_spool(spool).build_with(service).unwrap()
    });
    let producer = soon(producer).await.unwrap().spawn();
    assert_eq!(producer.recovered(), 2);
    soon(producer.flush()).await.unwrap_err();
    let failed = producer.take_failed().await;
    assert_eq!(texts(&failed), ["bad-1", "bad-2"]);
    assert!(matches!(failed[0].reason(), FailureReason::Rejected(_)));
    producer.close().await.unwrap();
    let producer = produce(&directory);
    assert_eq!(producer.recovered(), 0);
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_in_error_of_close_are_taken() {
    let directory = Directory::new();
    let producer = produce(&directory);
    producer.send(record("bad")).await.unwrap();
    let error = soon(producer.close()).await.unwrap_err();
    assert_eq!(texts(&error.into_undelivered()), ["bad"]);
    assert_eq!(produce(&directory).recovered(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_or_handler_takes_dead_letter() {
    let directory = Directory::new();
    let (sender, letters) = mpsc::channel();
    let service = MockService::rejecting_bad().with_round_trip(Duration::from_millis(2));
    let producer = builder()
        .with_dead_letters(move |undelivered| sender.send(undelivered).unwrap())
        .with_spool(directory.spool())
        .build_with(service)
        .unwrap()
        .spawn();
    let receipt = producer.put(record("bad-1")).await.unwrap();
    producer.send(record("bad-2")).await.unwrap();
    assert_eq!(soon(receipt).await.unwrap_err().into_record(), record("bad-1"));
    soon(producer.close()).await.unwrap();
    assert_eq!(texts(&letters.try_iter().collect::<Vec<_>>()), ["bad-2"]);
    assert_eq!(produce(&directory).recovered(), 0);
}
