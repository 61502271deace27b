//! What a server does not take, and where its records are then.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::record::{AttemptError, FailureReason};
use kinesis_sink::service::{PutRecordsError, PutRecordsErrorKind};
use kinesis_sink::settings::Linger;
use kinesis_sink::{ErrorKind, Record, Undelivered};

use super::server::Server;

const MIB: usize = 1024 * 1024;

fn numbers(count: usize) -> impl Iterator<Item = Record> {
    (0..count).map(|number| Record::from(number.to_string()))
}

fn assert_all_there(undelivered: &[Undelivered], count: usize) {
    let data = undelivered.iter().map(|one| one.record().data());
    let expected: Vec<_> = (0..count).map(|number| Bytes::from(number.to_string())).collect();
    assert!(data.eq(expected.iter()), "they come back in order");
    assert!(undelivered.iter().all(|one| !one.may_have_been_written()), "nothing was written");
}

/// What the service failed with, below whatever wraps it.
fn refused<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a PutRecordsError> {
    error.downcast_ref().or_else(|| refused(error.source()?))
}

pub async fn sink_returns_records_of_missing_stream(server: &Server) {
    let mut sink =
        server.builder("no-such-stream").build(server.client()).expect("the name is valid");
    let mut records = stream::iter(numbers(7).map(Ok));
    let error = sink.send_all(&mut records).await.expect_err("there is no such stream");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 7), "{error}");
    let refused = refused(&error).expect("what the server said is inside");
    assert_eq!(refused.kind(), PutRecordsErrorKind::Service);
    assert_eq!(refused.code(), Some("ResourceNotFoundException"));
    assert_all_there(&sink.take_undelivered(), 7);
    assert_eq!((sink.status().queued.records, sink.totals().delivered), (0, 0));
}

pub async fn producer_returns_records_of_missing_stream(server: &Server) {
    let sink = server.builder("no-such-stream").build(server.client()).expect("the name is valid");
    let (producer, driver) = sink.into_producer();
    for record in numbers(7) {
        producer.send(record).await.expect("nothing is known of the stream yet");
    }
    let driver = tokio::spawn(driver);
    let error = producer.close().await.expect_err("there is no such stream");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Stopped, 7), "{error}");
    let cause: &AttemptError = error.source().unwrap().downcast_ref().expect("it was an answer");
    assert_eq!(cause.code(), "ResourceNotFoundException");
    assert_all_there(error.undelivered(), 7);
    driver.await.expect("it does not panic");
}

pub async fn oversize_record_fails_without_request(server: &Server) {
    let stream = server.stream(1).await;
    let mut sink = stream.sink(server.builder(stream.name()));
    let oversize = Record::from(("key", vec![7; MIB - 2]));
    let error = sink.send(oversize).await.expect_err("it has a byte too many");
    let record = error.into_record().expect("it comes back");
    assert_eq!(record.data().len(), MIB - 2);
    assert_eq!(sink.totals().requests, 0);
    sink.send(Record::from(("key", vec![7; MIB - 3]))).await.expect("this one is delivered");
    let found = stream.read().await;
    assert_eq!(found.len(), 1);
    assert!(found[0].data == vec![7; MIB - 3]);
}

/// The sink is told that records may be larger than they may.
pub async fn poison_record_fails_alone(server: &Server) {
    let stream = server.stream(1).await;
    let limits = server.limits().with_record_bytes(2 * MIB);
    let mut sink =
        stream.sink(server.builder(stream.name()).configure(|settings| settings.limits = limits));
    for number in 0..9 {
        let record = match number {
            4 => Record::from(("key", vec![4; MIB + 1])),
            _ => Record::from(("key", vec![number; 10])),
        };
        sink.feed(record).await.expect("it is accepted");
    }
    let error = sink.flush().await.expect_err("one of them is refused");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    assert!(matches!(error.reason(), Some(FailureReason::Rejected(_))), "{error}");
    let failed = sink.take_failed();
    assert_eq!((failed.len(), failed[0].record().data().len()), (1, MIB + 1));
    sink.close().await.expect("the others are delivered");
    let mut found: Vec<_> = stream.read().await.into_iter().map(|found| found.data).collect();
    found.sort();
    let others = (0..9).filter(|number| *number != 4);
    assert!(found.into_iter().eq(others.map(|number| Bytes::from(vec![number; 10]))));
}

/// 8 MiB, where these servers take 5 in a request.
pub async fn oversize_request_is_bisected(server: &Server) {
    let stream = server.stream(1).await;
    let limits = server.limits().with_request_bytes(8 * MIB);
    // However slowly they come: all of them are one request.
    let builder = server.builder(stream.name()).with_linger(Linger::Fixed(Duration::from_secs(30)));
    let mut sink = stream.sink(builder.configure(|settings| {
        settings.limits = limits;
        settings.buffer_bytes = 8 * MIB;
    }));
    let record = |number: u8| Record::from(("key", vec![number; MIB - 3]));
    let large = stream::iter((0..8).map(|number| Ok(record(number))));
    large.forward(&mut sink).await.expect("everything is delivered");
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (8, 0));
    assert!(sink.totals().requests > 2, "{} requests", sink.totals().requests);
    let mut found: Vec<_> = stream.read().await.into_iter().map(|found| found.data).collect();
    found.sort();
    assert!(
        found
            .iter()
            .eq((0..8).map(|number| Bytes::from(vec![number; MIB - 3])).collect::<Vec<_>>().iter())
    );
}
