//! Tests that a sink behaves like the Python class `KinesisWriter`, which this crate replaces.

use futures::{FutureExt, SinkExt, StreamExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::ServiceBuilderExt;
use kinesis_sink::{KinesisSink, Record, StreamId};
use tower::ServiceBuilder;
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service;
use crate::support::mock_service::{MockService, answer_each, numbers, records};

fn writer(service: &MockService) -> KinesisSink<MockService> {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(service.clone())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn partition_key_is_optional() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    writer.feed(Record::from(("own", "with"))).await.unwrap();
    for record in records(0..400) {
        writer.feed(record).await.unwrap();
    }
    writer.flush().await.unwrap();
    let requests = service.requests();
    let keys: Vec<_> =
        requests[0].entries().iter().map(|entry| entry.partition_key().unwrap().as_str()).collect();
    assert_eq!(keys[0], "own");
    let distinct: std::collections::HashSet<_> = keys[1..].iter().collect();
    assert_eq!(distinct.len(), 400, "random keys of records without a key");
    assert!(keys[1..].iter().all(|key| (1..=256).contains(&key.chars().count())));
}

#[tokio::test(start_paused = true)]
async fn random_keys_spread_over_hash_ring() {
    const RECORDS: usize = 10_000;
    const SHARDS: usize = 16;
    let service = MockService::delivering();
    stream::iter(records(0..RECORDS).map(Ok)).forward(&mut writer(&service)).await.unwrap();
    let mut shards = [0; SHARDS];
    for request in service.requests() {
        for entry in request.entries() {
            let hash = <md5::Md5 as md5::Digest>::digest(entry.partition_key().unwrap().as_bytes());
            shards[usize::from(hash[0] >> 4)] += 1;
        }
    }
    // The expected count per shard is 625, with a standard deviation of 24.
    assert!(shards.iter().all(|count| (505..745).contains(count)), "{shards:?}");
}

#[tokio::test(start_paused = true)]
async fn binary_data_is_unchanged() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    let data: Vec<u8> = (0..=255).collect();
    writer.send(Record::from(data.clone())).await.unwrap();
    assert_eq!(service.requests()[0].entries()[0].data(), &data);
}

#[tokio::test(start_paused = true)]
async fn request_is_sent_at_500_records() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    for record in records(0..501) {
        assert_eq!(service.requests().len(), 0);
        writer.feed(record).await.unwrap();
    }
    assert_eq!(service.sizes(), [500], "sent when record 501 arrives");
}

#[tokio::test(start_paused = true)]
async fn request_is_sent_at_byte_limit() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    const MIB: usize = 1024 * 1024;
    for _ in 0..5 {
        writer.feed(Record::from(("k", vec![0; MIB - 1]))).await.unwrap();
        assert_eq!(service.requests().len(), 0);
    }
    writer.feed(Record::from("one more")).await.unwrap();
    assert_eq!(service.sizes(), [5]);
    assert_eq!(service.requests()[0].bytes(), 5 * MIB, "bytes of the request");
}

#[tokio::test(start_paused = true)]
async fn flush_sends_partial_batch() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    for record in records(0..7) {
        writer.feed(record).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(service.sizes(), [7]);
}

#[tokio::test(start_paused = true)]
async fn empty_flush_sends_no_request() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    writer.flush().now_or_never().expect("flush of an empty sink should be ready").unwrap();
    assert_eq!(service.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn failed_entries_are_requeued_in_front() {
    let fails = |call: usize, index: usize| call < 2 && index.is_multiple_of(100);
    let service = MockService::new(move |call, request| {
        Ok(answer_each(request, |index| !fails(call, index)))
    });
    // `KinesisWriter` sends one request at a time and has no rate limit.
    let limits = Limits::default().with_shard_records(1_000_000);
    let builder = KinesisSink::builder("example")
        .with_max_in_flight(1)
        .configure(|settings| settings.limits = limits);
    let mut writer = builder.build_with(service.clone()).unwrap();
    for record in records(0..600) {
        writer.feed(record).await.unwrap();
    }
    writer.flush().await.unwrap();
    let sent = |call: usize| -> Vec<String> {
        let requests = service.requests();
        let data = requests[call].entries().iter().map(|entry| mock_service::text(entry.data()));
        data.collect()
    };
    assert_eq!(sent(0), numbers(0..500));
    let returned = ["0", "100", "200", "300", "400"].map(str::to_owned);
    assert_eq!(sent(1), [&returned[..], &numbers(500..600)].concat());
    assert_eq!(sent(2), ["0", "595"], "entries 0 and 100 of the second request");
    assert_eq!(service.delivered().len(), 600);
}

#[tokio::test(start_paused = true)]
async fn failed_request_keeps_queue_in_order() {
    let service = MockService::failing(1, "ResourceNotFoundException");
    let mut writer = writer(&service);
    for record in records(0..5) {
        writer.feed(record).await.unwrap();
    }
    writer.flush().await.unwrap_err();
    let queue: Vec<_> =
        writer.buffered_records().iter().map(|record| mock_service::text(record.data())).collect();
    assert_eq!(queue, numbers(0..5));
    writer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..5));
}

#[tokio::test(start_paused = true)]
async fn oversized_record_or_key_is_rejected() {
    let service = MockService::delivering();
    let mut writer = writer(&service);
    writer.feed(Record::from("queued")).await.unwrap();
    let record = Record::from(("k", vec![0; 1024 * 1024]));
    let error = writer.feed(record).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("1048577 bytes") && message.contains("1048576"), "{message}");
    let record = Record::from(("ä".repeat(257), "data"));
    let error = writer.feed(record).await.unwrap_err();
    assert!(error.to_string().contains("257 characters"), "{error}");
    assert_eq!(writer.buffered_records(), [&Record::from("queued")]);
}

#[tokio::test(start_paused = true)]
async fn stream_accepts_name_or_arn() {
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/example";
    for stream in ["example", arn] {
        let service = MockService::delivering();
        let mut writer = KinesisSink::builder(stream).build_with(service.clone()).unwrap();
        writer.send(Record::from("x")).await.unwrap();
        assert_eq!(service.requests()[0].stream(), &stream.parse::<StreamId>().unwrap());
        assert_eq!(writer.stream().name(), "example");
    }
    assert!(KinesisSink::builder("no such/name").build_with(MockService::delivering()).is_err());
}

#[tokio::test(start_paused = true)]
async fn json_values_are_sent() {
    #[derive(serde::Serialize)]
    struct Event<'a> {
        id: u32,
        text: &'a str,
    }
    let service = MockService::delivering();
    let events = (0..3).map(|id| Event { id, text: "ü" });
    let records = events.map(|event| Ok(Record::from(serde_json::to_vec(&event).unwrap())));
    stream::iter(records).forward(&mut writer(&service)).await.unwrap();
    let expected = (0..3).map(|id| format!(r#"{{"id":{id},"text":"ü"}}"#));
    assert_eq!(service.delivered(), expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn batches_are_logged_at_debug_level() {
    for (level, lines) in [(Level::DEBUG, 2), (Level::INFO, 0)] {
        let logs = Logs::listen(level);
        let stack = ServiceBuilder::new().trace_put_records().service(MockService::delivering());
        let mut writer = KinesisSink::builder("example").build_with(stack).unwrap();
        writer.send_all(&mut stream::iter(records(0..500).map(Ok))).await.unwrap();
        assert_eq!(logs.with("500 records").len(), lines, "{level}: {:#?}", logs.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn status_reports_last_request() {
    let service = MockService::new(|call, request| Ok(answer_each(request, |n| call > 0 || n > 1)));
    let mut writer = writer(&service);
    assert!(writer.status().last_request.is_none());
    for record in records(0..500) {
        writer.feed(record).await.unwrap();
    }
    // The second `flush` handles the response to the first request but does not wait for the retry.
    assert!(writer.flush().now_or_never().is_none());
    tokio::time::sleep(std::time::Duration::from_millis(21)).await;
    assert!(writer.flush().now_or_never().is_none());
    let last = writer.status().last_request.unwrap();
    assert_eq!((last.records, last.delivered), (500, 498));
    let messages: Vec<_> = last.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages, ["Rate exceeded for shard shardId-000000000000"]);
    writer.flush().await.unwrap();
    let last = writer.status().last_request.unwrap();
    assert_eq!((last.records, last.delivered, last.errors.len()), (2, 2, 0));
    let totals = writer.totals();
    assert_eq!((totals.accepted, totals.delivered, totals.requests), (500, 500, 2));
}
