//! Tests of a spool whose disk space is used up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, stream as streams};
use kinesis_sink::record::FailureReason;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::spool::{Spool, WhenFull};
use kinesis_sink::{BuildError, ErrorKind, Producer, Record, Undelivered};

use crate::fixtures::{
    Directory, builder, distinct, eventually, produce, produce_with, soon, sorted, stream,
    stream_in_outage,
};
use crate::support::mock_service::text;

/// Size of the records. With 2 MiB, the spool has space for about 100 of them.
const BYTES: usize = 16 << 10;

fn small(directory: &Directory) -> Spool {
    directory.spool().with_max_bytes(2 << 20)
}

/// Returns a record that begins with a number.
fn large(number: usize) -> Record {
    Record::from((format!("key-{}", number % 7), format!("{number:<BYTES$}")))
}

fn numbers(stream: &SimStream) -> Vec<String> {
    let mut numbers: Vec<_> =
        stream.written().iter().map(|written| text(written.data()).trim().to_owned()).collect();
    numbers.sort();
    numbers
}

/// Sends records until the spool is full. Returns their number.
async fn fill(producer: &Producer) -> usize {
    for number in 0..10_000 {
        match tokio::time::timeout(Duration::from_millis(300), producer.send(large(number))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::SpoolFull, "{error}");
                assert_eq!(error.into_record(), Some(large(number)));
                return number;
            }
            Err(_) => return number,
        }
    }
    panic!("the spool is not bounded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_spool_waits_until_records_are_delivered() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, small(&directory));
    let accepted = fill(&producer).await;
    assert!((30..128).contains(&accepted), "{accepted}");
    let status = producer.status();
    let spool = status.spool.clone().unwrap();
    assert!(spool.is_full && spool.disk_bytes <= 2 << 20, "{spool:?}");
    assert!(!status.accepts_records());

    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move {
            for number in accepted..accepted + 200 {
                producer.send(large(number)).await?;
            }
            Ok::<_, kinesis_sink::Error>(())
        }
    });
    stream.set_faults(Faults::default());
    soon(waiting).await.unwrap().unwrap();
    soon(producer.close()).await.unwrap();
    assert_eq!(numbers(&stream), sorted(0..accepted + 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_spool_refuses_and_accepts_again() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, small(&directory).when_full(WhenFull::Refuse));
    let accepted = fill(&producer).await;
    let error = eventually(|| producer.try_send(large(0)).err()).await;
    assert_eq!(error.kind(), ErrorKind::SpoolFull);
    assert!(error.to_string().contains("spool is full"), "{error}");

    // A sink returns the record from `start_send`.
    let error = eventually(|| {
        let mut sink = producer.sink();
        sink.feed(large(1)).now_or_never().and_then(Result::err)
    })
    .await;
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::SpoolFull, Some(large(1))));

    stream.set_faults(Faults::default());
    soon(async {
        while producer.send(large(accepted)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    soon(producer.close()).await.unwrap();
    let numbers = numbers(&stream);
    assert!(sorted(0..accepted + 1).iter().all(|number| numbers.contains(number)), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_spool_drops_oldest_records() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let dropped = dropped.clone();
        move |undelivered: Undelivered| {
            assert_eq!(undelivered.reason(), &FailureReason::SpoolFull);
            assert_eq!(undelivered.stream().unwrap().name(), "example");
            let number = text(undelivered.record().data()).trim().parse::<usize>().unwrap();
            dropped.lock().unwrap().push(number);
        }
    };
    // Memory has space for fewer records than the disk, so that there are some only on disk.
    let builder = builder()
        .with_dead_letters(handler)
        .configure(|settings| settings.buffer_bytes = 10 * BYTES);
    let spool = directory.spool().with_max_bytes(12 << 20).when_full(WhenFull::DropOldest);
    let producer = produce_with(builder, &stream, spool);
    let tracked = 600;
    let mut receipt = None;
    for number in 0..2_000 {
        let put = soon(producer.put(large(number))).await.unwrap();
        if number == tracked {
            receipt = Some(put);
        }
    }
    // The receipt returns the record, and the handler does not get it.
    let undelivered = soon(receipt.unwrap()).await.unwrap_err();
    assert_eq!(undelivered.reason(), &FailureReason::SpoolFull);
    assert_eq!(undelivered.into_record(), large(tracked));

    stream.set_faults(Faults::default());
    soon(producer.close()).await.unwrap();
    let mut all = dropped.lock().unwrap().clone();
    assert!(all.is_sorted() && all.len() > 500, "{} dropped", all.len());
    assert!(!all.contains(&tracked));
    all.push(tracked);
    all.extend(numbers(&stream).iter().map(|number| number.parse::<usize>().unwrap()));
    all.sort_unstable();
    assert_eq!(all, (0..2_000).collect::<Vec<_>>(), "each record is delivered or dropped");
}

#[test]
fn dropping_oldest_requires_dead_letter_handler() {
    let directory = Directory::new();
    let spool = directory.spool().when_full(WhenFull::DropOldest);
    let built = builder().with_spool(spool).build_with(stream().service());
    let error = built.unwrap_err();
    assert_eq!(error, BuildError::NoDeadLetters);
    assert!(error.to_string().contains("with_dead_letters"), "{error}");
    assert!(!directory.path().exists(), "nothing was created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_send_to_full_spool_is_not_accepted() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, small(&directory));
    // The last call of `fill` was cancelled while it waited for space.
    let accepted = fill(&producer).await;
    stream.set_faults(Faults::default());
    soon(producer.close()).await.unwrap();
    assert_eq!(numbers(&stream), sorted(0..accepted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_stream_waits_for_space() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let producer = produce(&stream, small(&directory));
    let forward = tokio::spawn({
        let sink = producer.sink();
        streams::iter(0..1_500).map(large).map(Ok).forward(sink)
    });
    eventually(|| producer.status().spool.unwrap().is_full.then_some(())).await;
    stream.set_faults(Faults::default());
    soon(forward).await.unwrap().unwrap();
    assert_eq!(numbers(&stream), sorted(0..1_500));
    producer.close().await.unwrap();
    assert_eq!(distinct(&stream).len(), 1_500);
}
