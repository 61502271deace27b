//! Tests that query receipts without waiting, and that use channels as dead-letter handlers.

use std::time::Duration;

use futures::future::FusedFuture;
use futures::{FutureExt, SinkExt, select};
use kinesis_sink::record::{DeadLetterHandler, FailureReason};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{ErrorKind, KinesisSink, Record, SinkBuilder, Undelivered};
use tokio::sync::mpsc;

fn throttling() -> SimStream {
    SimStream::builder().with_faults(Faults::default().with_throttles(1.0)).build().unwrap()
}

fn single_attempt() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.max_attempts = Some(1))
}

#[tokio::test(start_paused = true)]
async fn receipt_reports_outcome_without_await() {
    let stream = SimStream::new(2);
    let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
    let (record, mut receipt) = Record::from("a line").tracked();
    sink.feed(record).await.unwrap();
    assert!(!receipt.is_settled() && !receipt.is_terminated());
    assert!(receipt.try_outcome().is_none());

    sink.flush().await.unwrap();
    assert!(receipt.is_settled() && !receipt.is_terminated());
    let delivery = receipt.try_outcome().unwrap().unwrap();
    assert_eq!(delivery.sequence_number(), stream.written()[0].sequence_number());
    assert!(receipt.is_settled() && receipt.is_terminated());
    assert!(receipt.try_outcome().is_none(), "the outcome was taken");
}

#[tokio::test]
async fn try_outcome_ignores_task_budget() {
    let task = tokio::spawn(async {
        let (record, mut receipt) = Record::from("a line").tracked();
        drop(record);
        while tokio::task::consume_budget().now_or_never().is_some() {}
        assert!((&mut receipt).now_or_never().is_none(), "the task has no budget left");
        assert!(receipt.is_settled());
        receipt.try_outcome().unwrap().unwrap_err()
    });
    assert_eq!(task.await.unwrap().reason(), &FailureReason::Dropped);
}

#[tokio::test(start_paused = true)]
async fn select_skips_completed_receipts() {
    let stream = SimStream::new(2);
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let mut first = producer.put(Record::from("first")).await.unwrap();
    let mut second = producer.put(Record::from("second")).await.unwrap();
    let mut delivered = 0;
    loop {
        select! {
            delivery = first => { delivery.unwrap(); }
            delivery = second => { delivery.unwrap(); }
            complete => break,
        }
        delivered += 1;
    }
    assert_eq!(delivered, 2);
}

#[tokio::test]
#[should_panic(expected = "`Receipt` polled after completion")]
async fn receipt_panics_when_polled_again() {
    let (record, mut receipt) = Record::from("a line").tracked();
    drop(record);
    (&mut receipt).await.unwrap_err();
    let _ = receipt.await;
}

#[tokio::test]
#[should_panic(expected = "`Receipt` polled after completion")]
async fn receipt_panics_when_polled_after_outcome() {
    let (record, mut receipt) = Record::from("a line").tracked();
    drop(record);
    assert!(receipt.try_outcome().is_some());
    let _ = receipt.await;
}

#[tokio::test(start_paused = true)]
async fn undelivered_record_names_its_stream() {
    let stream = SimStream::new(2);
    let mut sink = KinesisSink::new(&stream.client(), stream.arn()).unwrap();
    let (record, dropped) = Record::from("dropped").tracked();
    let (buffered, abandoned) = Record::from("buffered").tracked();
    sink.feed("withdrawn".into()).await.unwrap();
    let taken = sink.take_undelivered();
    sink.feed(buffered).await.unwrap();
    drop((record, sink));

    assert_eq!(taken[0].stream().unwrap().arn(), Some(stream.arn()));
    assert_eq!(abandoned.await.unwrap_err().stream(), taken[0].stream());
    assert_eq!(dropped.await.unwrap_err().stream(), None, "no sink accepted the record");
}

#[tokio::test(start_paused = true)]
async fn record_from_dropped_driver_names_stream() {
    let client = SimStream::new(2).client();
    let (producer, driver) = KinesisSink::new(&client, "example").unwrap().into_producer();
    let receipt = producer.put(Record::from("queued")).await.unwrap();
    drop(driver);
    assert_eq!(receipt.await.unwrap_err().stream().unwrap().name(), "example");
}

#[tokio::test(start_paused = true)]
async fn unbounded_channel_takes_dead_letters() {
    let (dead_letters, mut received) = mpsc::unbounded_channel();
    let builder = single_attempt().with_dead_letter_handler(dead_letters);
    let mut sink = builder.build(&throttling().client()).unwrap();
    sink.send("a line".into()).await.unwrap();
    assert_eq!(received.recv().await.unwrap().record().data(), "a line");

    drop(received);
    let error = sink.send("another line".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    assert_eq!(sink.take_failed()[0].record().data(), "another line");
}

#[tokio::test(start_paused = true)]
async fn full_channel_leaves_records_in_sink() {
    let (dead_letters, mut received) = mpsc::channel(1);
    let builder = single_attempt().with_dead_letter_handler(dead_letters);
    let mut sink = builder.build(&throttling().client()).unwrap();
    sink.send("first".into()).await.unwrap();
    let error = sink.send("second".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    assert_eq!(sink.take_failed()[0].record().data(), "second");

    assert_eq!(received.recv().await.unwrap().record().data(), "first");
    sink.send("third".into()).await.unwrap();
    received.close();
    assert_eq!(received.recv().await.unwrap().record().data(), "third");
    sink.send("fourth".into()).await.unwrap_err();
    assert_eq!(sink.take_failed()[0].record().data(), "fourth");
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_closes_dead_letter_channel() {
    let (dead_letters, mut received) = mpsc::channel(1_000);
    let builder = single_attempt().with_dead_letter_handler(dead_letters);
    let mut sink = builder.build(&throttling().client()).unwrap();
    let storing = tokio::spawn(async move {
        let mut stored = Vec::new();
        while let Some(undelivered) = received.recv().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stored.push(Record::from(undelivered));
        }
        stored
    });
    for line in ["one", "two", "three"] {
        sink.feed(line.into()).await.unwrap();
    }
    sink.close().await.unwrap();
    drop(sink);
    assert_eq!(storing.await.unwrap(), ["one", "two", "three"].map(Record::from));
}

#[tokio::test(start_paused = true)]
async fn closure_handler_compiles_without_annotation() {
    let (sender, received) = std::sync::mpsc::channel();
    let builder =
        single_attempt().with_dead_letters(move |lost| sender.send(lost.into_record()).unwrap());
    let mut sink = builder.build(&throttling().client()).unwrap();
    sink.send("a line".into()).await.unwrap();
    assert_eq!(received.recv().unwrap(), Record::from("a line"));
}

#[test]
fn functions_and_boxes_are_handlers() {
    fn ignore(_: Undelivered) {}
    let boxed: Box<dyn FnMut(Undelivered) + Send> = Box::new(ignore);
    let handlers: [Box<dyn DeadLetterHandler>; 3] =
        [Box::new(ignore), Box::new(boxed), Box::new(|_: Undelivered| ())];
    for mut handler in handlers {
        let (record, mut receipt) = Record::from("a line").tracked();
        drop(record);
        let undelivered = receipt.try_outcome().unwrap().unwrap_err();
        assert!(handler.put(undelivered).is_none());
    }
}
