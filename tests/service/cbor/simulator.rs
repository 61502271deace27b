//! Tests that send CBOR requests to a simulated stream, which supports both protocols.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Record as Read, ShardIteratorType};
use futures::{StreamExt, stream};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, KinesisCbor, PutRecords, PutRecordsRequest};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, Record};
use tower::{Service, ServiceExt};

fn entries(count: usize) -> Vec<Entry> {
    let entry = |number: usize| {
        let data: Vec<u8> = (0..number * 7).map(|byte| byte as u8).collect();
        let hash_key =
            number.is_multiple_of(2).then(|| HashKey::new(u128::MAX / 500 * number as u128));
        Entry::new(data.into(), Some(format!("ключ {number}").as_str().into()), hash_key)
    };
    (0..count).map(entry).collect()
}

#[tokio::test(start_paused = true)]
async fn cbor_request_writes_all_records() {
    let kinesis =
        SimStream::builder().with_shards(3).with_shard_quota(1_000, 10_000_000).build().unwrap();
    let entries = entries(500);
    let request = PutRecordsRequest::new(kinesis.id(), entries.clone());
    let response = PutRecords::new(&kinesis.client()).with_cbor().oneshot(request).await.unwrap();
    assert_eq!(response.delivered(), 500);
    let written = kinesis.written();
    assert_eq!(written.len(), 500);
    for (written, entry) in written.iter().zip(&entries) {
        assert_eq!(written.data(), entry.data());
        assert_eq!(written.partition_key(), entry.partition_key());
        assert_eq!(written.explicit_hash_key(), entry.explicit_hash_key());
    }
}

#[tokio::test(start_paused = true)]
async fn partial_failures_match_json() {
    let results = async |in_cbor: bool| {
        let faults = Faults::default().with_throttles(0.3).with_internal_failures(0.3);
        let kinesis = SimStream::builder().with_seed(5).with_faults(faults).build().unwrap();
        let mut service = PutRecords::new(&kinesis.client());
        if in_cbor {
            service = service.with_cbor();
        }
        let request = PutRecordsRequest::new(kinesis.id(), entries(100));
        service.call(request).await.unwrap().into_results()
    };
    let json = results(false).await;
    let cbor = results(true).await;
    assert_eq!(json, cbor);
    assert!(cbor.iter().any(Result::is_ok) && cbor.iter().any(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn read_operations_match_json() {
    let kinesis = SimStream::new(1);
    let request = PutRecordsRequest::new(kinesis.id(), entries(30));
    PutRecords::new(&kinesis.client()).oneshot(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let read = async |client: &Client| {
        let summary = client.describe_stream_summary().stream_name("example").send().await.unwrap();
        let shards = client.list_shards().stream_name("example").send().await.unwrap();
        let first = client
            .get_shard_iterator()
            .stream_name("example")
            .shard_id("shardId-000000000000")
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = first.send().await.unwrap().shard_iterator.unwrap();
        let page = client.get_records().shard_iterator(iterator).send().await.unwrap();
        (summary.stream_description_summary, shards.shards, page.records, page.millis_behind_latest)
    };
    let json = read(&kinesis.client()).await;
    let config = kinesis.client().config().to_builder().protocol(KinesisCbor::new());
    let mut cbor = read(&Client::from_conf(config.build())).await;
    assert_eq!(cbor.2.len(), 30);
    for (cbor, json) in cbor.2.iter_mut().zip(&json.2) {
        let arrived = |record: &Read| record.approximate_arrival_timestamp.unwrap().as_secs_f64();
        // Both timestamps are rounded to milliseconds, because JSON timestamps are fractions of seconds.
        assert_eq!((arrived(cbor) * 1_000.0).round(), (arrived(json) * 1_000.0).round());
        cbor.approximate_arrival_timestamp = json.approximate_arrival_timestamp;
    }
    assert!(cbor == json, "the responses differ");
}

#[tokio::test(start_paused = true)]
async fn sink_over_cbor_client_delivers_all() {
    let faults = Faults::default().with_internal_failures(0.1);
    let kinesis = SimStream::builder().with_shards(4).with_faults(faults).build().unwrap();
    let config = kinesis.client().config().to_builder().protocol(KinesisCbor::new());
    let builder = KinesisSink::builder("example").with_aggregation(Aggregation::PerShard);
    let mut sink = builder.build(&Client::from_conf(config.build())).unwrap();
    let records = stream::iter(0..3_000_u32)
        .map(|number| Ok(Record::from((number.to_string(), number.to_be_bytes().to_vec()))));
    records.forward(&mut sink).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (3_000, 0));
    let stats = kinesis.stats();
    assert!(stats.listings > 0 && stats.descriptions > 0, "no lookups in {stats:?}");
    let aggregates = kinesis.written();
    assert!(aggregates.len() < 300, "{} Kinesis records", aggregates.len());
    let members = aggregates.iter().flat_map(|written| deaggregate(written.data()));
    let mut found: Vec<_> = members.map(|member| member.into_data().to_vec()).collect();
    found.sort();
    assert!(found.into_iter().eq((0..3_000_u32).map(|number| number.to_be_bytes().to_vec())));
}
