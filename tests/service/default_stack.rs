//! Tests of when a sink created by `build` looks up its stream and shards, with a mocked SDK.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Region;
use aws_sdk_kinesis::operation::describe_stream_summary::DescribeStreamSummaryOutput;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    HashKeyRange, PutRecordsResultEntry, RecordDistributionStrategy, SequenceNumberRange, Shard,
    StreamDescriptionSummary, StreamStatus,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use futures::SinkExt;
use kinesis_sink::stream::{StreamDescription, StreamInfo, describe_stream_fn, list_shards_fn};
use kinesis_sink::{Aggregation, ErrorKind, KinesisSink, Record, RecordOrdering, SinkBuilder};

struct Service {
    put_records: Rule,
    describe: Rule,
    list_shards: Rule,
}

impl Service {
    fn with(strategy: RecordDistributionStrategy) -> Self {
        let result = PutRecordsResultEntry::builder().shard_id("shard").sequence_number("1");
        let put = PutRecordsOutput::builder().records(result.build()).build().unwrap();
        let summary = StreamDescriptionSummary::builder()
            .stream_name("example")
            .stream_arn("arn:aws:kinesis:eu-west-1:123456789012:stream/example")
            .stream_status(StreamStatus::Active)
            .retention_period_hours(24)
            .stream_creation_timestamp(DateTime::from_secs(0))
            .set_enhanced_monitoring(Some(Vec::new()))
            .open_shard_count(1)
            .record_distribution_strategy(strategy);
        let summary = summary.build().unwrap();
        let described =
            DescribeStreamSummaryOutput::builder().stream_description_summary(summary).build();
        let ring = HashKeyRange::builder().starting_hash_key("0");
        let ring = ring.ending_hash_key(u128::MAX.to_string()).build().unwrap();
        let begin = SequenceNumberRange::builder().starting_sequence_number("1").build().unwrap();
        let shard = Shard::builder().shard_id("shard").hash_key_range(ring);
        let shard = shard.sequence_number_range(begin).build().unwrap();
        let listed = ListShardsOutput::builder().shards(shard).build();
        Self {
            put_records: mock!(Client::put_records).then_output(move || put.clone()),
            describe: mock!(Client::describe_stream_summary).then_output(move || described.clone()),
            list_shards: mock!(Client::list_shards).then_output(move || listed.clone()),
        }
    }

    fn sink(&self, builder: SinkBuilder) -> KinesisSink {
        let rules = [&self.put_records, &self.describe, &self.list_shards];
        let client = mock_client!(aws_sdk_kinesis, RuleMode::MatchAny, &rules, |config| config
            .region(Region::from_static("eu-west-1")));
        builder.build(&client).unwrap()
    }

    /// Returns the numbers of PutRecords, DescribeStreamSummary and ListShards calls, in this order.
    fn calls(&self) -> [usize; 3] {
        [&self.put_records, &self.describe, &self.list_shards].map(Rule::num_calls)
    }
}

#[tokio::test]
async fn lookups_are_skipped_without_aggregation() {
    for (aggregation, expected) in [
        (Aggregation::Off, [1, 0, 0]),
        (Aggregation::PerKey, [1, 1, 1]),
        (Aggregation::PerShard, [1, 1, 1]),
    ] {
        let service = Service::with(RecordDistributionStrategy::UserPartitionKey);
        let mut sink = service.sink(KinesisSink::builder("example").with_aggregation(aggregation));
        sink.send(Record::from(("k", "data"))).await.unwrap();
        assert_eq!(service.calls(), expected, "{aggregation:?}");
    }
}

#[tokio::test]
async fn aggregating_sink_rejects_auto_stream() {
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        let service = Service::with(RecordDistributionStrategy::Auto);
        let mut sink = service.sink(KinesisSink::builder("example").with_aggregation(aggregation));
        for _ in 0..2 {
            let refused = sink.send(Record::from(("k", "data"))).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
        }
        let [put, described, _] = service.calls();
        assert_eq!((put, described), (0, 2), "the stream is described again after a refusal");
    }
    let service = Service::with(RecordDistributionStrategy::Auto);
    let mut sink = service.sink(KinesisSink::builder("example"));
    sink.send(Record::from(("k", "data"))).await.unwrap();
}

#[tokio::test]
async fn disabled_and_replaced_lookups_are_skipped() {
    let service = Service::with(RecordDistributionStrategy::Auto);
    let builder = KinesisSink::builder("example").with_aggregation(Aggregation::PerKey);
    let mut sink = service.sink(builder.configure(|settings| settings.describe_stream = false));
    sink.send(Record::from(("k", "data"))).await.unwrap();
    assert_eq!(service.calls(), [1, 0, 1]);

    let service = Service::with(RecordDistributionStrategy::Auto);
    let builder =
        KinesisSink::builder("example").with_aggregation(Aggregation::PerShard).with_stream_info((
            list_shards_fn(|_| async { Err("none".into()) }),
            describe_stream_fn(|_| async { Ok(Default::default()) }),
        ));
    let mut sink = service.sink(builder);
    sink.send(Record::from(("k", "data"))).await.unwrap();
    assert_eq!(service.calls(), [1, 0, 0]);
}

struct WithoutLookups;

impl StreamInfo for WithoutLookups {}

#[tokio::test]
async fn client_makes_lookups_missing_in_stream_info() {
    let aggregating = || KinesisSink::builder("example").with_aggregation(Aggregation::PerKey);
    let ordered = || KinesisSink::builder("example").with_ordering(RecordOrdering::PerKey);
    let describes = || describe_stream_fn(|_| async { Ok(StreamDescription::default()) });
    let lists = || list_shards_fn(|_| async { Err("none".into()) });
    for (case, builder, expected) in [
        ("aggregating, describes", aggregating().with_stream_info(describes()), [1, 0, 1]),
        ("aggregating, lists", aggregating().with_stream_info(lists()), [1, 1, 0]),
        ("aggregating, neither", aggregating().with_stream_info(WithoutLookups), [1, 1, 1]),
        ("ordered", ordered(), [1, 1, 0]),
        ("ordered, describes", ordered().with_stream_info(describes()), [1, 0, 0]),
        ("ordered, neither", ordered().with_stream_info(WithoutLookups), [1, 1, 0]),
        (
            "ordered, undescribed",
            ordered().configure(|settings| settings.describe_stream = false),
            [1, 0, 0],
        ),
        (
            "neither, neither",
            KinesisSink::builder("example").with_stream_info(WithoutLookups),
            [1, 0, 0],
        ),
    ] {
        let service = Service::with(RecordDistributionStrategy::UserPartitionKey);
        let mut sink = service.sink(builder);
        sink.send(Record::from(("k", "data"))).await.unwrap();
        assert_eq!(service.calls(), expected, "{case}");
    }
}
