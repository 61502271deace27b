//! Tests of how `Producer`, a handle without `Sink` methods, differs from `ProducerSink`, which implements `Sink`.

use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{ErrorKind, KinesisSink, Producer, Record};

fn producer(stream: &SimStream) -> Producer {
    KinesisSink::new(&stream.client(), "example").unwrap().spawn()
}

#[tokio::test(start_paused = true)]
async fn send_completes_on_acceptance() {
    let stream = SimStream::new(1);
    let mut producer = producer(&stream);
    producer.send(Record::from("one")).await.unwrap();
    let reference = &mut producer;
    reference.send(Record::from("two")).await.unwrap();
    assert_eq!(stream.written().len(), 0, "accepted, not yet delivered");
    reference.flush().await.unwrap();
    assert_eq!(stream.written().len(), 2);
    reference.close().await.unwrap();
    assert!(producer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn sink_send_completes_on_delivery() {
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    producer.sink().send(Record::from("one")).await.unwrap();
    assert_eq!(stream.written().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_one_sink_leaves_producer_open() {
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    let (mut first, mut second) = (producer.sink(), producer.sink());
    first.feed(Record::from("first")).await.unwrap();
    first.close().await.unwrap();
    assert_eq!(stream.written().len(), 1, "close flushes");
    assert!(first.is_closed() && !second.is_closed() && !producer.is_closed());
    let late = first.feed(Record::from("late")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    second.send(Record::from("second")).await.unwrap();
    producer.send(Record::from("third")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn producer_accepts_many_forwarded_streams() {
    let stream = SimStream::new(2);
    let producer = producer(&stream);
    let forwards = (0..10).map(|task| {
        let lines =
            stream::iter(0..100).map(move |line| Ok(Record::from(format!("{task}-{line}"))));
        lines.forward(producer.sink())
    });
    futures::future::try_join_all(forwards).await.unwrap();
    assert_eq!(stream.written().len(), 1_000);
    assert!(!producer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn open_sink_keeps_producer_open() {
    let stream = SimStream::new(1);
    let (producer, driver) = KinesisSink::new(&stream.client(), "example").unwrap().into_producer();
    let driver = tokio::spawn(driver);
    let mut sink = producer.sink();
    let watch = producer.watch();
    drop(producer);
    sink.send(Record::from("a record")).await.unwrap();
    assert!(watch.current().is_working());
    drop(sink);
    driver.await.unwrap();
    assert_eq!(stream.written().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn handle_is_small_and_shared_by_tasks() {
    assert!(size_of::<Producer>() <= 64, "{}", size_of::<Producer>());
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    // `?` works on both results, because the errors of `put` and of its receipt convert into one type.
    async fn put(producer: Producer, text: String) -> Result<(), kinesis_sink::Error> {
        producer.put(Record::from(text)).await?.await?;
        Ok(())
    }
    let tasks = (0..10).map(|task| tokio::spawn(put(producer.clone(), task.to_string())));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 10);
}
