//! Tests of stream lookups, and of requests that identify the stream by its ARN.

use futures::{StreamExt, stream};
use kinesis_sink::limits::DEFAULT_RECORD_BYTES;
use kinesis_sink::service::{PutRecordsError, SdkStreamInfo};
use kinesis_sink::shard::Shard;
use kinesis_sink::stream::{Distribution, StreamInfo};
use kinesis_sink::{Record, StreamId};
use tower::BoxError;

use super::server::Server;
use super::stream::Stream;

async fn assert_lists_open_shards(server: &Server, stream: &Stream, id: &str) {
    let lister = SdkStreamInfo::new(server.client());
    let mut listed =
        lister.list_shards(&id.parse().unwrap()).unwrap().await.expect("ListShards succeeds");
    listed.sort_by_key(|shard| shard.range().start());
    let open = stream.open_shards().await;
    let expected: Vec<_> = open.iter().map(|shard| Shard::new(&shard.id, shard.range)).collect();
    assert_eq!(listed, expected);
}

pub async fn list_shards_returns_open_shards(server: &Server) {
    let stream = server.stream(3).await;
    assert_lists_open_shards(server, &stream, stream.name()).await;
    stream.split().await;
    stream.merge().await;
    assert_eq!(stream.shards().await.len(), 6);
    let open = stream.open_shards().await;
    assert_eq!(open.len(), 3);
    assert_eq!(open[0].range.start().get(), 0);
    assert_eq!(open[2].range.end().get(), u128::MAX);
    for pair in open.windows(2) {
        assert_eq!(pair[0].range.end().get() + 1, pair[1].range.start().get());
    }
    assert_lists_open_shards(server, &stream, stream.name()).await;
}

pub async fn list_shards_accepts_stream_arn(server: &Server) {
    let stream = server.stream(3).await;
    assert_lists_open_shards(server, &stream, &stream.arn().await).await;
}

async fn assert_describes(server: &Server, id: &str) {
    let describer = SdkStreamInfo::new(server.client());
    let description = describer.describe_stream(&id.parse().unwrap()).unwrap().await;
    let description = description.expect("DescribeStreamSummary succeeds");
    assert_eq!(description.max_record_bytes(), DEFAULT_RECORD_BYTES);
    assert_eq!(description.distribution(), Distribution::UserPartitionKey);
}

pub async fn describe_stream_returns_defaults(server: &Server) {
    assert_describes(server, server.stream(1).await.name()).await;
}

pub async fn describe_stream_accepts_stream_arn(server: &Server) {
    assert_describes(server, &server.stream(1).await.arn().await).await;
}

pub async fn lookups_fail_for_missing_stream(server: &Server) {
    let missing: StreamId = "no-such-stream".parse().unwrap();
    let code = |error: BoxError| {
        let error = error.downcast::<PutRecordsError>().expect("lookups return PutRecordsError");
        error.code().map(str::to_owned)
    };
    let listed = SdkStreamInfo::new(server.client()).list_shards(&missing).unwrap().await;
    assert_eq!(code(listed.unwrap_err()).as_deref(), Some("ResourceNotFoundException"));
    let described = SdkStreamInfo::new(server.client()).describe_stream(&missing).unwrap().await;
    assert_eq!(code(described.unwrap_err()).as_deref(), Some("ResourceNotFoundException"));
}

/// Runs even with servers that do not support lookups by ARN.
pub async fn put_records_accepts_stream_arn(server: &Server) {
    let stream = server.stream(2).await;
    let arn = stream.arn().await;
    let mut sink = server.builder(&arn).build(server.client()).expect("the settings are valid");
    let records = stream::iter((0..20).map(|number| Ok(Record::from(number.to_string()))));
    records.forward(&mut sink).await.expect("all records are delivered");
    assert_eq!(stream.read().await.len(), 20);
}
