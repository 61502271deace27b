//! Tests of a region: requests reach the stream that they name, and streams are deleted while they are used.

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::types::ShardIteratorType;
use futures::{StreamExt, stream};
use kinesis_sink::sim::{Faults, SimRegion};
use kinesis_sink::stream::StreamInfo;
use kinesis_sink::{KinesisSink, Record};
use tokio::time::{Instant, sleep};

use super::*;

fn region(names: [&str; 2]) -> SimRegion {
    let region = SimRegion::new();
    for name in names {
        assert!(region.add(no_latency().with_name(name).build().unwrap()).is_none());
    }
    region
}

async fn put_to(region: &SimRegion, stream: &str) -> Result<usize, PutRecordsError> {
    let request = PutRecordsRequest::new(stream.parse().unwrap(), vec![entry("k", "x")]);
    region.service().ready().await?.call(request).await.map(|response| response.delivered())
}

async fn code(region: &SimRegion, stream: &str) -> Option<String> {
    put_to(region, stream).await.unwrap_err().code().map(str::to_owned)
}

fn written(region: &SimRegion) -> Vec<usize> {
    region.streams().iter().map(|stream| stream.written().len()).collect()
}

const NO_STREAM: &str = "ResourceNotFoundException";

#[tokio::test(start_paused = true)]
async fn requests_reach_named_stream() {
    let region = region(["clicks", "orders"]);
    put_to(&region, "clicks").await.unwrap();
    let arn = region.get("orders").unwrap().arn().to_owned();
    for _ in 0..2 {
        put_to(&region, &arn).await.unwrap();
    }
    assert_eq!(written(&region), [1, 2]);
    assert!(format!("{region:?}").contains("streams: 2"), "{region:?}");
}

#[tokio::test(start_paused = true)]
async fn missing_stream_is_not_found() {
    let region = region(["clicks", "orders"]);
    let start = Instant::now();
    for missing in ["missing", "arn:aws:kinesis:us-east-1:999999999999:stream/clicks"] {
        let error = put_to(&region, missing).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (Some(NO_STREAM), Some(400)));
        let lookup = region.list_shards(&missing.parse().unwrap()).unwrap().await.unwrap_err();
        assert!(lookup.to_string().contains(NO_STREAM), "{lookup}");
        assert!(region.describe_stream(&missing.parse().unwrap()).unwrap().await.is_err());
    }
    // The stream of another account has the latency of the stream with this name, which is zero.
    assert_eq!(start.elapsed(), ms(3 * 20));
    assert_eq!(written(&region), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn streams_are_added_and_removed() {
    let region = region(["clicks", "orders"]);
    let removed = region.remove("clicks").unwrap();
    assert_eq!(code(&region, "clicks").await.as_deref(), Some(NO_STREAM));
    assert!(region.remove("clicks").is_none() && region.get("clicks").is_none());
    assert!(region.add(removed).is_none());
    put_to(&region, "clicks").await.unwrap();
    let replaced = region.add(no_latency().with_name("clicks").build().unwrap()).unwrap();
    assert_eq!((replaced.written().len(), written(&region)), (1, vec![0, 0]));
    assert!(region.get("not a name").is_none() && region.remove("not a name").is_none());
}

#[tokio::test(start_paused = true)]
async fn faults_affect_one_stream() {
    let region = region(["clicks", "orders"]);
    let denied = Faults::default().with_outage("AccessDeniedException", 400);
    region.get("orders").unwrap().set_faults(denied);
    put_to(&region, "clicks").await.unwrap();
    let error = put_to(&region, "orders").await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));
    assert_eq!(error.message(), Some("User is not authorized to perform this operation."));
}

#[tokio::test(start_paused = true)]
async fn deleted_stream_accepts_records_until_end() {
    let region = region(["clicks", "orders"]);
    let (clicks, client) = (region.get("clicks").unwrap(), region.client());
    let status = async || {
        let summary = client.describe_stream_summary().stream_name("clicks").send().await;
        let summary = summary.map_err(|error| error.code().map(str::to_owned))?;
        let summary = summary.stream_description_summary.expect("the response has a description");
        Ok::<_, Option<String>>(summary.stream_status.as_str().to_owned())
    };
    assert_eq!(status().await.unwrap(), "ACTIVE");
    clicks.delete(ms(100));
    // A second deletion does not postpone the first one.
    clicks.delete(ms(1_000));
    put_to(&region, "clicks").await.unwrap();
    assert_eq!(status().await.unwrap(), "DELETING");
    let listed = region.list_shards(&clicks.id()).unwrap().await.unwrap_err();
    assert!(listed.to_string().contains("ResourceInUseException"), "{listed}");
    let merged = client.merge_shards().stream_name("clicks").shard_to_merge("a");
    let merged = merged.adjacent_shard_to_merge("b").send().await.unwrap_err();
    assert_eq!(merged.code(), Some("ResourceInUseException"));
    sleep(ms(100)).await;
    assert_eq!(code(&region, "clicks").await.as_deref(), Some(NO_STREAM));
    assert_eq!(status().await.unwrap_err().as_deref(), Some(NO_STREAM));
    assert_eq!(clicks.written().len(), 1);
    put_to(&region, "orders").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletion_fails_requests_in_flight() {
    let stream = SimStream::new(1);
    let put = try_put(&stream, vec![entry("k", "x")]);
    let delete = async {
        sleep(ms(5)).await;
        stream.delete(Duration::ZERO);
    };
    let (response, ()) = futures::future::join(put, delete).await;
    assert_eq!(response.unwrap_err().code(), Some(NO_STREAM));
}

#[tokio::test(start_paused = true)]
async fn client_reaches_all_streams() {
    let region = region(["clicks", "orders"]);
    let client = region.client();
    for (name, records) in [("clicks", 700), ("orders", 300)] {
        let mut sink = KinesisSink::new(&client, name).unwrap();
        let records = (0..records).map(|number: u32| Ok(Record::from(number.to_string())));
        stream::iter(records).forward(&mut sink).await.unwrap();
    }
    assert_eq!(written(&region), [700, 300]);
    // Tokens and iterators name their stream, because requests that contain them do not.
    let iterator = client.get_shard_iterator().stream_name("orders");
    let iterator = iterator.shard_id("shardId-000000000000");
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send();
    let iterator = iterator.await.unwrap().shard_iterator.unwrap();
    let read = client.get_records().shard_iterator(iterator).send().await.unwrap();
    assert_eq!(read.records.len(), 300);
    region.get("orders").unwrap().update_shard_count(3).unwrap();
    let mut listed = 0;
    let mut page = client.list_shards().stream_name("orders").max_results(3).send().await.unwrap();
    loop {
        listed += page.shards().len();
        let Some(token) = page.next_token else { break };
        page = client.list_shards().next_token(token).max_results(3).send().await.unwrap();
    }
    assert_eq!(listed, 4);
    let missing = KinesisSink::new(&client, "missing").unwrap().check().await.unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
}
