//! Tests lookups of shards and streams on a Kinesis server in this process.
#![cfg(feature = "aws-config")]

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kinesis_sink::service::{
    Classify, DefaultClassify, ErrorClass, PutRecordsError, PutRecordsErrorKind, SdkStreamInfo,
};
use kinesis_sink::shard::{Shard, hash_of};
use kinesis_sink::stream::{Distribution, StreamDescription, StreamInfo, StreamMode};

use crate::support::embedded::{Embedded, STREAM};

async fn list(client: &Client) -> Vec<Shard> {
    SdkStreamInfo::new(client).list_shards(&STREAM.parse().unwrap()).unwrap().await.unwrap()
}

fn ids(shards: &[Shard]) -> HashSet<&str> {
    shards.iter().map(Shard::id).collect()
}

async fn split(client: &Client, shard: &Shard) {
    let (start, end) = (shard.range().start().get(), shard.range().end().get());
    let middle = (start + (end - start) / 2).to_string();
    let call = client.split_shard().stream_name(STREAM).shard_to_split(shard.id());
    call.new_starting_hash_key(middle).send().await.unwrap();
    let done = async {
        while list(client).await.iter().any(|listed| listed.id() == shard.id()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), done).await.expect("the split ends");
}

/// Puts records with 200 random keys and asserts that each record is in the shard whose range contains the key's hash.
async fn assert_keys_map_to(client: &Client, shards: &[Shard], seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut key = || (0..rng.usize(1..40)).map(|_| rng.char(..)).collect::<String>();
    let keys: Vec<_> = (0..200).map(|_| key()).collect();
    let entry = |key: &String| {
        let entry = PutRecordsRequestEntry::builder().data(Blob::new("data"));
        entry.partition_key(key).build().unwrap()
    };
    let entries = keys.iter().map(entry).collect();
    let call = client.put_records().stream_name(STREAM).set_records(Some(entries));
    let output = call.send().await.unwrap();
    assert_eq!(output.records().len(), keys.len());
    for (key, result) in keys.iter().zip(output.records()) {
        let predicted = shards.iter().find(|shard| shard.range().contains(hash_of(key)));
        assert_eq!(result.shard_id(), predicted.map(Shard::id), "{key:?}, seed {seed}");
    }
}

#[tokio::test]
async fn listed_shards_predict_shard_of_key() {
    let server = Embedded::start(4, false).await.unwrap();
    let before = list(server.client()).await;
    assert_eq!(ids(&before).len(), 4);
    assert_keys_map_to(server.client(), &before, 1).await;
    split(server.client(), &before[2]).await;
    let after = list(server.client()).await;
    assert_eq!((after.len(), ids(&after).len()), (5, 5));
    assert!(!ids(&after).contains(before[2].id()), "the parent is closed");
    assert_keys_map_to(server.client(), &after, 2).await;
}

#[tokio::test]
async fn describe_stream_returns_defaults() {
    let server = Embedded::start(1, false).await.unwrap();
    let describer = SdkStreamInfo::new(server.client());
    let found = describer.describe_stream(&STREAM.parse().unwrap()).unwrap().await.unwrap();
    assert_eq!(found, StreamDescription::default().with_mode(StreamMode::Provisioned));
    assert_eq!(found.max_record_bytes(), 1024 * 1024);
    assert_eq!(found.distribution(), Distribution::UserPartitionKey);
}

#[tokio::test]
async fn lookup_errors_are_classified() {
    let server = Embedded::start(1, false).await.unwrap();
    let missing = "no-such-stream".parse().unwrap();
    let unreachable =
        server.client().config().to_builder().endpoint_url("http://127.0.0.1:1").build();
    let unreachable = Client::from_conf(unreachable);
    for (client, code, kind, class) in [
        (
            server.client(),
            Some("ResourceNotFoundException"),
            PutRecordsErrorKind::Service,
            ErrorClass::Fatal,
        ),
        (&unreachable, None, PutRecordsErrorKind::Dispatch, ErrorClass::OutcomeUnknown),
    ] {
        let list = SdkStreamInfo::new(client).list_shards(&missing).unwrap().await.unwrap_err();
        let describe =
            SdkStreamInfo::new(client).describe_stream(&missing).unwrap().await.unwrap_err();
        for error in [list, describe] {
            let reason = error.downcast_ref::<PutRecordsError>().unwrap();
            assert_eq!((reason.code(), reason.kind()), (code, kind), "{reason}");
            assert_eq!(DefaultClassify.classify_error(&*error), class);
        }
    }
}
