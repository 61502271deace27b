//! Tests that records are returned when the server rejects a request or a record.

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

fn assert_numbers(undelivered: &[Undelivered], count: usize) {
    let data = undelivered.iter().map(|one| one.record().data());
    let expected: Vec<_> = (0..count).map(|number| Bytes::from(number.to_string())).collect();
    assert!(data.eq(expected.iter()), "the records are returned in order");
    assert!(undelivered.iter().all(|one| !one.may_have_been_written()), "nothing was written");
}

fn service_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a PutRecordsError> {
    error.downcast_ref().or_else(|| service_error(error.source()?))
}

pub async fn sink_returns_records_of_missing_stream(server: &Server) {
    let mut sink =
        server.builder("no-such-stream").build(server.client()).expect("the name is valid");
    let mut records = stream::iter(numbers(7).map(Ok));
    let error = sink.send_all(&mut records).await.expect_err("the stream does not exist");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 7), "{error}");
    let cause = service_error(&error).expect("the source is a service error");
    assert_eq!(cause.kind(), PutRecordsErrorKind::Service);
    assert_eq!(cause.code(), Some("ResourceNotFoundException"));
    assert_numbers(&sink.take_undelivered(), 7);
    assert_eq!((sink.status().queued.records, sink.totals().delivered), (0, 0));
}

pub async fn producer_returns_records_of_missing_stream(server: &Server) {
    let sink = server.builder("no-such-stream").build(server.client()).expect("the name is valid");
    let (producer, driver) = sink.into_producer();
    for record in numbers(7) {
        producer.send(record).await.expect("the record is accepted");
    }
    let driver = tokio::spawn(driver);
    let error = producer.close().await.expect_err("the stream does not exist");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Stopped, 7), "{error}");
    let cause: &AttemptError =
        error.source().unwrap().downcast_ref().expect("the source is an AttemptError");
    assert_eq!(cause.code(), "ResourceNotFoundException");
    assert_numbers(error.undelivered(), 7);
    driver.await.expect("the driver does not panic");
}

pub async fn oversize_record_fails_without_request(server: &Server) {
    let stream = server.stream(1).await;
    let mut sink = stream.sink(server.builder(stream.name()));
    let oversize = Record::from(("key", vec![7; MIB - 2]));
    let error = sink.send(oversize).await.expect_err("the record is one byte too long");
    let record = error.into_record().expect("the error returns the record");
    assert_eq!(record.data().len(), MIB - 2);
    assert_eq!(sink.totals().requests, 0);
    sink.send(Record::from(("key", vec![7; MIB - 3]))).await.expect("the record is delivered");
    let found = stream.read().await;
    assert_eq!(found.len(), 1);
    assert!(found[0].data == vec![7; MIB - 3]);
}

/// The sink has a higher record size limit than the server, so the server rejects one record.
pub async fn poison_record_fails_alone(server: &Server) {
    let stream = server.stream(1).await;
    let limits = server.limits().with_record_bytes(2 * MIB);
    let mut sink =
        stream.sink(server.builder(stream.name()).configure(|settings| settings.limits = limits));
    for number in 0..9 {
        let size = if number == 4 { MIB + 1 } else { 10 };
        let record = Record::from(("key", vec![number; size]));
        sink.feed(record).await.expect("the record is accepted");
    }
    let error = sink.flush().await.expect_err("one record is rejected");
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    assert!(matches!(error.reason(), Some(FailureReason::Rejected(_))), "{error}");
    let failed = sink.take_failed();
    assert_eq!((failed.len(), failed[0].record().data().len()), (1, MIB + 1));
    sink.close().await.expect("the other records are delivered");
    let mut found: Vec<_> = stream.read().await.into_iter().map(|found| found.data).collect();
    found.sort();
    let others = (0..9).filter(|number| *number != 4);
    assert!(found.into_iter().eq(others.map(|number| Bytes::from(vec![number; 10]))));
}

/// Sends 8 MiB to servers that accept 5 MiB per request.
pub async fn oversize_request_is_bisected(server: &Server) {
    let stream = server.stream(1).await;
    let limits = server.limits().with_request_bytes(8 * MIB);
    // The linger is long enough to collect all records in one request.
    let builder = server.builder(stream.name()).with_linger(Linger::Fixed(Duration::from_secs(30)));
    let mut sink = stream.sink(builder.configure(|settings| {
        settings.limits = limits;
        settings.buffer_bytes = 8 * MIB;
    }));
    let record = |number: u8| Record::from(("key", vec![number; MIB - 3]));
    let large = stream::iter((0..8).map(|number| Ok(record(number))));
    large.forward(&mut sink).await.expect("all records are delivered");
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
