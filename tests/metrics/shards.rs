use std::collections::BTreeSet;
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::metrics::MetricsGranularity;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Placement, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, Record};
use tokio::time::timeout;

use super::sink::builder;
use crate::recorder::Recorded;
use crate::support::mock_service::MockService;

const PUT: &str = "shard_kinesis_records_put";
const THROTTLED: &str = "shard_kinesis_records_throttled";

/// Overloads the first of two shards, half of whose quota is used by other producers.
async fn overload_the_first_shard(granularity: MetricsGranularity) {
    let stream = SimStream::builder().with_shards(2).with_seed(1).build().unwrap();
    let shards = stream.shards();
    stream.set_shard_load(shards[0].id(), 0.5).unwrap();
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.metrics = granularity;
    });
    let builder = builder
        .with_stream_info(stream.clone())
        .configure(|settings| settings.describe_stream = false);
    let mut sink = builder.build_with(stream.service()).unwrap();
    // The sink lists the shards while this record is in flight.
    sink.send(Record::from("x")).await.unwrap();
    let records = (0..4_000).map(|number| {
        let range = shards[number % 2].range();
        Ok(Record::from("x").with_explicit_hash_key(range.start()))
    });
    stream::iter(records).forward(&mut sink).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_throttled_shard_counts_throttles() {
    let recorder = Recorded::install();
    overload_the_first_shard(MetricsGranularity::Shard).await;

    let [busy, free] = ["shardId-000000000000", "shardId-000000000001"];
    assert!(recorder.counter_of(THROTTLED, &[("shard", busy)]) > 0);
    assert_eq!(recorder.counter_of(THROTTLED, &[("shard", free)]), 0);
    let put = |name| recorder.counter_of(PUT, &[("shard", name)]);
    assert_eq!([busy, free, "unknown"].map(put).iter().sum::<u64>(), 4_001);
    assert!(recorder.gauge_of("shard_rate_limit", &[("shard", busy)]) < 1_000.0);
    assert_eq!(recorder.gauge_of("shard_rate_limit", &[("shard", free)]), 1_000.0);
}

#[tokio::test(start_paused = true)]
async fn stream_granularity_has_no_shard_labels() {
    let recorder = Recorded::install();
    overload_the_first_shard(MetricsGranularity::Stream).await;
    assert_eq!(recorder.labels(PUT, "shard"), BTreeSet::new());
    assert_eq!(recorder.counter("user_records_put"), 4_001);
}

/// The service returns a different shard for each hash key.
#[tokio::test(start_paused = true)]
async fn shard_labels_are_limited_to_1000() {
    let recorder = Recorded::install();
    let service = MockService::new(|_, request| {
        let results = request.entries().iter().map(|entry| {
            let shard = entry.explicit_hash_key().expect("each record has a hash key").get() >> 112;
            Ok(Placement::new(format!("shardId-{shard}"), "1"))
        });
        Ok(PutRecordsResponse::new(results.collect()))
    });
    let mut sink = builder().build_with(service).unwrap();
    // In the first round, the sink learns the shards from the responses.
    for _ in 0..4 {
        let hash_keys = (0..1_500_u128).map(|number| HashKey::new(number << 112));
        let records = hash_keys.map(|key| Ok(Record::from("x").with_explicit_hash_key(key)));
        let mut records = stream::iter(records);
        let sent = sink.send_all(&mut records);
        timeout(Duration::from_secs(600), sent).await.unwrap().unwrap();
    }
    let labels = recorder.labels(PUT, "shard");
    assert!(labels.contains("other"), "{} labels", labels.len());
    assert!(labels.len() <= 1_002, "{} labels", labels.len());
}
