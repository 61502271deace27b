//! Demonstrates the limitations in `features.rs` without this crate. If a test fails, its row must be removed there.

use serde_json::json;

use super::raw;
use super::server::{Protocol, Server, ServerKind};

async fn start_json(kind: ServerKind) -> Option<Server> {
    Server::start(kind, Protocol::Json, &[]).await
}

fn zeros(triples: usize) -> String {
    "AAAA".repeat(triples)
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_rejects_lookups_by_arn() {
    let Some(server) = start_json(ServerKind::Embedded).await else { return };
    let arn = server.stream(1).await.arn().await;
    for operation in ["ListShards", "DescribeStreamSummary"] {
        let response = raw::json(server.endpoint(), operation, json!({ "StreamARN": arn })).await;
        assert_eq!(response.status, 400, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinesalite_rejects_arns() {
    let Some(server) = start_json(ServerKind::Kinesalite).await else { return };
    let arn = server.stream(1).await.arn().await;
    let records = json!([{ "Data": "eA==", "PartitionKey": "k" }]);
    for operation in ["ListShards", "DescribeStreamSummary", "PutRecords"] {
        let mut body = json!({ "StreamARN": arn });
        if operation == "PutRecords" {
            body["Records"] = records.clone();
        }
        let response = raw::json(server.endpoint(), operation, body).await;
        assert_eq!(response.status, 400, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_limits_keys_in_bytes() {
    let Some(server) = start_json(ServerKind::Embedded).await else { return };
    let stream = server.stream(1).await;
    for (characters, status) in [(128, 200), (129, 400)] {
        let key = "ß".repeat(characters);
        let body = json!({ "StreamName": stream.name(), "Data": "eA==", "PartitionKey": key });
        let response = raw::json(server.endpoint(), "PutRecord", body).await;
        assert_eq!(response.status, status, "{characters} characters");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_servers_limit_keys_in_utf16_units() {
    for kind in [ServerKind::KinesisLocal, ServerKind::Kinesalite] {
        let Some(server) = start_json(kind).await else { continue };
        let stream = server.stream(1).await;
        for (characters, status) in [(128, 200), (129, 400)] {
            let key = "🦀".repeat(characters);
            let body = json!({ "StreamName": stream.name(), "Data": "eA==", "PartitionKey": key });
            let response = raw::json(server.endpoint(), "PutRecord", body).await;
            assert_eq!(response.status, status, "{kind:?}: {characters} characters");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinesis_local_accepts_any_request_size() {
    let Some(server) = start_json(ServerKind::KinesisLocal).await else { return };
    let stream = server.stream(1).await;
    // Six records of 1,023 KiB exceed 5 MiB, a former limit of the service.
    let record = json!({ "Data": zeros(349_184), "PartitionKey": "k" });
    let body = json!({ "StreamName": stream.name(), "Records": vec![record; 6] });
    assert_eq!(raw::json(server.endpoint(), "PutRecords", body).await.status, 200);
}

mod in_cbor {
    use ciborium::{Value, cbor};

    use super::*;
    use crate::compatibility::stream::Stream;

    fn bytes(data: &[u8]) -> Value {
        Value::Bytes(data.to_vec())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kinesalite_stores_data_as_node_buffer() {
        let Some(server) = start_json(ServerKind::Kinesalite).await else { return };
        let stream = server.stream(1).await;
        let endpoint = server.endpoint();
        let body =
            cbor!({ "StreamName" => stream.name(), "Data" => bytes(b"hi"), "PartitionKey" => "k" });
        assert_eq!(raw::cbor(endpoint, "PutRecord", body.unwrap()).await.status, 200);
        let body = json!({
            "StreamName": stream.name(), "ShardId": stream.shards().await[0].id,
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let response = raw::json(endpoint, "GetShardIterator", body).await;
        let iterator: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let response = raw::json(endpoint, "GetRecords", iterator).await;
        let response: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let stored = &response["Records"][0]["Data"];
        assert_eq!(*stored, json!({ "type": "Buffer", "data": [b'h', b'i'] }));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kinesalite_truncates_responses_above_16_kib() {
        let Some(server) = start_json(ServerKind::Kinesalite).await else { return };
        let stream = server.stream(1).await;
        for (records, whole) in [(100, true), (400, false)] {
            let record = cbor!({ "Data" => bytes(b"hi"), "PartitionKey" => "k" }).unwrap();
            let body = cbor!({ "StreamName" => stream.name(), "Records" => vec![record; records] });
            let response = raw::cbor(server.endpoint(), "PutRecords", body.unwrap()).await;
            assert_eq!(response.status, 200);
            let read = ciborium::from_reader::<Value, _>(&response.body[..]);
            assert_eq!(read.is_ok(), whole, "{records} results in {} bytes", response.body.len());
        }
    }

    async fn from_time(server: &Server, stream: &Stream, time: Value) -> u16 {
        let shard = stream.shards().await.remove(0).id;
        let body = cbor!({
            "StreamName" => stream.name(), "ShardId" => shard, "ShardIteratorType" => "AT_TIMESTAMP", "Timestamp" => time,
        });
        raw::cbor(server.endpoint(), "GetShardIterator", body.unwrap()).await.status
    }

    /// Returns the time in seconds. The service expects tagged milliseconds, as the SDK for Java writes them.
    fn a_minute_ago() -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() - 60
    }

    fn tagged(time: u64) -> Value {
        Value::Tag(1, Box::new(time.into()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn embedded_parses_timestamps_as_seconds() {
        let Some(server) = start_json(ServerKind::Embedded).await else { return };
        let stream = server.stream(1).await;
        assert_eq!(from_time(&server, &stream, tagged(a_minute_ago())).await, 200);
        assert_eq!(from_time(&server, &stream, tagged(a_minute_ago() * 1_000)).await, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kinesalite_rejects_tagged_timestamps() {
        let Some(server) = start_json(ServerKind::Kinesalite).await else { return };
        let stream = server.stream(1).await;
        // The server responds only if the stream contains a record since that time.
        let body = json!({ "StreamName": stream.name(), "Data": "eA==", "PartitionKey": "k" });
        assert_eq!(raw::json(server.endpoint(), "PutRecord", body).await.status, 200);
        assert_eq!(from_time(&server, &stream, a_minute_ago().into()).await, 200);
        assert_ne!(from_time(&server, &stream, tagged(a_minute_ago() * 1_000)).await, 200);
    }
}
