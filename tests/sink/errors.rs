//! Tests of the kinds and texts of errors, and of the records that they return.

use std::error::Error as _;

use futures::SinkExt;
use kinesis_sink::service::{PutRecordsError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Error, ErrorKind, KinesisSink, Record};
use tower::service_fn;

fn sink_of_missing_stream() -> KinesisSink<impl kinesis_sink::service::PutRecordsService + Clone> {
    let service = service_fn(|_: PutRecordsRequest| async {
        let code = Some("ResourceNotFoundException");
        let message = Some("stream example not found");
        Err::<PutRecordsResponse, _>(PutRecordsError::service(code, message, Some(400)))
    });
    KinesisSink::builder("example").build_with(service).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_match_covers_sink_and_producer_errors() {
    fn advice(error: &Error) -> &'static str {
        match error.kind() {
            ErrorKind::Full => "later",
            ErrorKind::RecordTooLarge | ErrorKind::InvalidPartitionKey => "fix the record",
            ErrorKind::Refused | ErrorKind::Stopped => "fix the stream",
            ErrorKind::Closed | ErrorKind::Abandoned => "create a new one",
            _ => "see the log",
        }
    }
    let mut sink = sink_of_missing_stream();
    assert_eq!(advice(&sink.send(Record::from("x")).await.unwrap_err()), "fix the stream");
    let large = sink.feed(Record::from(vec![0; 2 << 20])).await.unwrap_err();
    assert_eq!(advice(&large), "fix the record");
    let producer = sink_of_missing_stream().spawn();
    producer.send(Record::from("x")).await.unwrap();
    assert_eq!(advice(&producer.flush().await.unwrap_err()), "fix the stream");
    assert_eq!(advice(&producer.try_send(Record::from("x")).unwrap_err()), "fix the stream");
}

#[tokio::test(start_paused = true)]
async fn error_returns_rejected_record() {
    let stream = SimStream::new(1);
    let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
    let error = sink.feed(Record::from(("", "data"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPartitionKey);
    assert_eq!(error.record().unwrap().data(), "data");
    let producer = sink.spawn();
    let error = producer.put(error.into_record().unwrap()).await.unwrap_err();
    assert_eq!(error.stream().unwrap().name(), "example");
    let fixed = error.into_record().unwrap().with_partition_key("key");
    producer.put(fixed).await.unwrap().await.unwrap();
    assert_eq!(stream.written()[0].data(), "data");
}

#[tokio::test(start_paused = true)]
async fn close_error_returns_undelivered() {
    let producer = sink_of_missing_stream().spawn();
    for number in 0..3 {
        producer.send(Record::from(number.to_string())).await.unwrap();
    }
    let error = producer.close().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Stopped, 3));
    let data = error.into_undelivered().into_iter().map(|lost| lost.into_record().into_data());
    assert!(data.eq(["0", "1", "2"]));
}

#[tokio::test(start_paused = true)]
async fn debug_shows_cause_and_display_does_not() {
    let mut sink = sink_of_missing_stream();
    let error = sink.send(Record::from("x")).await.unwrap_err();
    let text = "stream example refuses all requests (1 record kept); fix the cause and retry";
    assert_eq!(error.to_string(), text);
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("ResourceNotFoundException"), "{cause}");
    // If `main` returns an error, Rust prints it with `Debug`.
    assert_eq!(format!("{error:?}"), format!("{text}: {cause}"));
    for (record, text) in [
        (Record::from(("", "x")), "partition key is empty"),
        (Record::from(vec![0; 2 << 20]), "record"),
    ] {
        let error = sink.feed(record).await.unwrap_err().to_string();
        assert!(error.contains(text) && !error.ends_with('.'), "{error}");
        assert!(error.chars().next().is_some_and(char::is_lowercase), "{error}");
        assert!(error.len() < 160, "{error}");
    }
}

#[test]
fn error_is_small_and_can_be_boxed() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
    is_error::<Error>();
    is_error::<kinesis_sink::BuildError>();
    is_error::<kinesis_sink::Undelivered>();
}
