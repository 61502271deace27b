use std::time::Duration;

use futures::{FutureExt, StreamExt, future, stream};
use kinesis_sink::record::FailureReason;
use kinesis_sink::shard::hash_of;
use kinesis_sink::sim::{Latency, SimStream};
use kinesis_sink::{ErrorKind, KinesisSink, Record};
use tokio::time::timeout;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::put_all::{producer, rejecting};

#[tokio::test(start_paused = true)]
async fn service_call_returns_delivery() {
    let stream = SimStream::new(1);
    let mut service = producer(&stream);
    let delivery = service.ready().await.unwrap().call(Record::from("one")).await.unwrap();
    assert_eq!(delivery.shard_id(), "shardId-000000000000");
    // In a web framework, each request handler has its own clone of the service.
    let delivery = service.clone().oneshot(Record::from("two")).await.unwrap();
    assert_eq!(delivery.attempts(), 1);
    assert_eq!(stream.written().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn layers_and_call_all_apply_to_records() {
    let stream = SimStream::new(2);
    let service = ServiceBuilder::new()
        .map_request(|text: String| Record::from(text))
        .concurrency_limit(50)
        .timeout(Duration::from_secs(10))
        .service(producer(&stream));
    let texts = stream::iter(0..200).map(|number| number.to_string());
    let deliveries: Vec<_> = service.call_all(texts).unordered().collect().await;
    assert!(deliveries.iter().all(Result::is_ok));
    assert_eq!(stream.written().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn service_is_pending_while_buffer_is_full() {
    let latency = Latency::constant(Duration::from_millis(100));
    let stream = SimStream::builder().with_latency(latency).build().unwrap();
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(1));
    let mut service = builder.build(&stream.client()).unwrap().spawn();
    let first = service.ready().await.unwrap().call(Record::from("one"));
    assert!(service.ready().now_or_never().is_none(), "the buffer is full");
    let full = service.clone().call(Record::from("not ready")).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    assert_eq!(full.into_record().unwrap().data(), "not ready");
    first.await.unwrap();
    service.ready().await.unwrap().call(Record::from("two")).await.unwrap();
    service.close().await.unwrap();
    assert_eq!(service.ready().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn failed_call_returns_record() {
    let mut service = rejecting();
    let error = service.ready().await.unwrap().call(Record::from("bad")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undelivered);
    assert!(matches!(error.reason(), Some(FailureReason::Rejected(_))));
    assert_eq!(error.into_record().unwrap().data(), "bad");
    let keyless = Record::from("x").with_partition_key("");
    let error = service.ready().await.unwrap().call(keyless).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPartitionKey);
}

#[tokio::test(start_paused = true)]
async fn rejected_call_frees_capacity() {
    let stream = SimStream::new(1);
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(1));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let mut service = producer.clone();
    let large = Record::from(vec![0; 2 << 20]);
    let error = service.ready().await.unwrap().call(large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    producer.try_send(Record::from("there is capacity")).unwrap();
}

/// Returns a key that is written to a shard.
fn key_of(stream: &SimStream, shard: usize) -> String {
    let shards = stream.shards();
    let range = shards[shard].range();
    let keys = (0..).map(|number| number.to_string());
    keys.into_iter().find(|key| range.contains(hash_of(key))).expect("endless")
}

/// Each call goes through its own clone, as in a server. None of the clones may exceed the share of the shard.
#[tokio::test(start_paused = true)]
async fn cloned_services_wait_for_share_of_shard() {
    let latency = Latency::constant(Duration::from_secs(1));
    let stream = SimStream::builder().with_shards(2).with_latency(latency).build().unwrap();
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.buffer_records = Some(100);
    });
    let producer = builder.build_with(stream.service()).unwrap().spawn();
    let [busy, other] = [0, 1].map(|shard| key_of(&stream, shard));
    let call = |key: &str| {
        let record = Record::from((key.to_owned(), "data"));
        Box::pin(producer.clone().oneshot(record))
    };
    future::try_join(call(&busy), call(&other)).await.unwrap();

    let mut waiting: Vec<_> = (0..100).map(|_| call(&busy)).collect();
    for response in &mut waiting {
        assert!(response.now_or_never().is_none());
    }
    assert_eq!(producer.status().buffered().records, 38, "the share of the shard");
    let delivery = timeout(Duration::from_millis(2_100), call(&other)).await;
    delivery.expect("the other shard has capacity").unwrap();
    // Responses that are dropped before their records are accepted drop the records.
    waiting.truncate(60);
    future::try_join_all(waiting).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 63);
}

/// A service that is called in a loop must not take more records than the buffer has capacity for.
#[tokio::test(start_paused = true)]
async fn waiting_call_delays_next_one() {
    let latency = Latency::constant(Duration::from_secs(1));
    let stream = SimStream::builder().with_shards(2).with_latency(latency).build().unwrap();
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.buffer_records = Some(100);
    });
    let producer = builder.build_with(stream.service()).unwrap().spawn();
    let keys = [0, 1].map(|shard| key_of(&stream, shard));
    let record = |key: &str| Record::from((key.to_owned(), "data"));
    let calls = keys.each_ref().map(|key| producer.clone().oneshot(record(key)));
    future::try_join_all(calls).await.unwrap();

    let mut taken = 0;
    let records =
        stream::iter(0..10_000).inspect(|_| taken += 1).map(|number| record(&keys[number % 2]));
    let mut responses = producer.clone().call_all(records).unordered();
    assert!(responses.next().now_or_never().is_none());
    drop(responses);
    assert!(taken <= 103, "{taken} records were taken from the source");
}
