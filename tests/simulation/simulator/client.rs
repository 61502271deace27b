//! Tests that call the simulated stream through an AWS SDK client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ScalingType, ShardFilter, ShardFilterType, ShardIteratorType,
};
use futures::{StreamExt, stream};
use kinesis_sink::service::{PutRecords, PutRecordsErrorKind, SdkStreamInfo};
use kinesis_sink::sim::Faults;
use kinesis_sink::stream::{Distribution, StreamInfo};
use kinesis_sink::{KinesisSink, Record};
use tokio::time::{Instant, sleep};
use tower::BoxError;

use super::*;

fn sdk_entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().partition_key(key);
    entry.data(Blob::new(data)).build().unwrap()
}

async fn read_all(client: &Client) -> HashMap<String, Vec<Vec<u8>>> {
    let shards = client.list_shards().stream_name("example").send().await.unwrap();
    let mut read = HashMap::new();
    for shard in shards.shards() {
        let first = client
            .get_shard_iterator()
            .stream_name("example")
            .shard_id(shard.shard_id())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut iterator = first.send().await.unwrap().shard_iterator;
        let found: &mut Vec<Vec<u8>> = read.entry(shard.shard_id.clone()).or_default();
        while let Some(next) = iterator {
            let page = client.get_records().shard_iterator(next).limit(700).send().await.unwrap();
            found.extend(page.records.into_iter().map(|record| record.data.into_inner()));
            iterator = page.next_shard_iterator.filter(|_| page.millis_behind_latest > Some(0));
        }
    }
    read
}

#[tokio::test(start_paused = true)]
async fn get_records_returns_sink_data_in_order() {
    let kinesis = SimStream::new(4);
    let client = kinesis.client();
    let mut sink = KinesisSink::builder("example").build(&client).unwrap();
    let records = stream::iter(0..6_000_u32).map(|number| {
        if number == 3_000 {
            kinesis.split("shardId-000000000002").unwrap();
        }
        Ok(Record::from(number.to_be_bytes().to_vec()))
    });
    records.forward(&mut sink).await.unwrap();
    assert_eq!((sink.totals().delivered, kinesis.written().len()), (6_000, 6_000));
    sleep(ms(5)).await;
    let read = read_all(&client).await;
    assert_eq!(read.len(), 6);
    for (shard_id, data) in &read {
        let written = kinesis.written_to(shard_id);
        assert!(data.iter().eq(written.iter().map(|record| record.data().as_ref())), "{shard_id}");
    }
    let mut all: Vec<_> = read.into_values().flatten().collect();
    all.sort();
    assert!(all.into_iter().eq((0..6_000_u32).map(|number| number.to_be_bytes().to_vec())));
}

#[tokio::test(start_paused = true)]
async fn sdk_request_uses_latency_and_quota() {
    let kinesis = SimStream::builder().with_shard_quota(2, 1_000_000).build().unwrap();
    let service = || PutRecords::new(&kinesis.client());
    let began = Instant::now();
    let entries = vec![entry("ключ", "a\0b"), at_hash(7, ""), entry("k", "c")];
    let response = service().call(request(&kinesis, entries)).await.unwrap();
    assert_eq!(began.elapsed(), ms(20));
    let written = kinesis.written();
    assert_eq!(written[0].at(), ms(10));
    assert_eq!(texts(&written), ["a\0b", ""]);
    assert_eq!(written[0].partition_key().map(|key| key.as_str()), Some("ключ"));
    assert_eq!(written[1].explicit_hash_key(), Some(HashKey::new(7)));
    let placed = response.results()[1].as_ref().unwrap();
    assert_eq!(placed.sequence_number(), written[1].sequence_number());
    let throttled = response.results()[2].as_ref().unwrap_err();
    assert_eq!(throttled.code(), THROTTLE);
    assert_eq!(
        throttled.message(),
        "Rate exceeded for shard shardId-000000000000 in stream example under account 123456789012."
    );
}

#[tokio::test(start_paused = true)]
async fn sdk_parses_service_errors() {
    let kinesis = no_latency().build().unwrap();
    let client = kinesis.client();
    let config = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
    let client = Client::from_conf(config);
    let put = async |name: &str, key: &str| {
        let call = client.put_records().stream_name(name).records(sdk_entry(key, b"x"));
        call.send().await.unwrap_err()
    };
    let unknown = put("other", "k").await;
    assert!(unknown.as_service_error().unwrap().is_resource_not_found_exception());
    assert_eq!(unknown.message(), Some("Stream other under account 123456789012 not found."));
    assert_eq!(put("example", "").await.code(), Some("ValidationException"));
    kinesis.set_faults(Faults::default().with_throttles(1.0));
    let two = client.put_records().stream_name("example").records(sdk_entry("k", b"x"));
    let response = two.records(sdk_entry("k", b"y")).send().await.unwrap();
    assert_eq!((response.failed_record_count(), response.records().len()), (Some(2), 2));
    for (code, status) in [("InternalFailure", 500), ("ServiceUnavailable", 503)] {
        kinesis.set_faults(Faults::default().with_outage(code, status));
        let error = put("example", "k").await;
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status);
    }
}

/// An interceptor that records for each request whether it is signed, and its date header.
#[derive(Debug, Clone, Default)]
struct Signed(Arc<Mutex<Vec<(bool, String)>>>);

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "Signed"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = |name| context.request().headers().get(name).unwrap_or_default();
        let signed = header("authorization").contains("Credential=SIMULATED/20260101/us-east-1/");
        self.0.lock().unwrap().push((signed, header("x-amz-date").to_owned()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn sdk_signs_with_virtual_time() {
    let kinesis = no_latency().build().unwrap();
    let signed = Signed::default();
    let config = kinesis.client().config().to_builder().interceptor(signed.clone()).build();
    let mut service = PutRecords::new(&Client::from_conf(config));
    for _ in 0..2 {
        service.call(request(&kinesis, vec![entry("k", "x")])).await.unwrap();
        sleep(ms(3_600_000)).await;
    }
    let dates = ["20260101T000000Z", "20260101T010000Z"].map(|date| (true, date.to_owned()));
    assert_eq!(*signed.0.lock().unwrap(), dates);
}

#[tokio::test(start_paused = true)]
async fn sdk_retries_in_virtual_time() {
    let kinesis = no_latency().build().unwrap();
    kinesis.set_faults(Faults::default().with_outage("InternalFailure", 500));
    let client = kinesis.client();
    let call = client.put_records().stream_name("example").records(sdk_entry("k", b"x")).send();
    let began = (Instant::now(), std::time::Instant::now());
    assert!(call.await.is_err());
    assert_eq!(kinesis.stats().requests, 3, "the SDK's default number of attempts");
    assert!(began.0.elapsed() > ms(0) && began.1.elapsed() < ms(10_000));
}

#[tokio::test(start_paused = true)]
async fn sdk_timeouts_use_virtual_time() {
    let kinesis = SimStream::new(1);
    kinesis.set_faults(Faults::default().with_lost_answers(1.0));
    let wait = |timeouts| {
        let config = kinesis.client().config().to_builder().timeout_config(timeouts).build();
        PutRecords::new(&Client::from_conf(config)).without_stalled_stream_protection()
    };
    let whole = TimeoutConfig::builder().operation_timeout(ms(3_600_000)).build();
    let read = TimeoutConfig::builder().read_timeout(ms(7_000)).build();
    for (timeouts, expected) in [(whole, 3_600_000), (read, 7_000)] {
        let began = (Instant::now(), std::time::Instant::now());
        let error = wait(timeouts).call(request(&kinesis, vec![entry("k", "x")])).await;
        assert_eq!(error.unwrap_err().kind(), PutRecordsErrorKind::Timeout);
        assert_eq!(began.0.elapsed(), ms(expected));
        assert!(began.1.elapsed() < ms(60_000), "the timeout took real time");
    }
    assert_eq!((kinesis.written().len(), kinesis.stats().lost_answers), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn late_write_lands_after_sdk_timeout() {
    let kinesis = SimStream::new(1);
    kinesis.set_faults(Faults::default().with_late_writes(1.0, ms(30_000)));
    let timeouts = TimeoutConfig::builder().operation_timeout(ms(1_000)).build();
    let config = kinesis.client().config().to_builder().timeout_config(timeouts).build();
    let mut service = PutRecords::new(&Client::from_conf(config));
    let error = service.call(request(&kinesis, vec![entry("k", "x")])).await.unwrap_err();
    assert_eq!(error.kind(), PutRecordsErrorKind::Timeout);
    assert_eq!(kinesis.written().len(), 0);
    sleep(ms(30_000)).await;
    assert_eq!(kinesis.written()[0].at(), ms(30_010));
}

#[tokio::test(start_paused = true)]
async fn sdk_lookups_return_stream_info() {
    for distribution in [Distribution::UserPartitionKey, Distribution::Auto] {
        let kinesis = SimStream::builder()
            .with_shards(3)
            .with_max_record_bytes(3 * 1024 * 1024)
            .with_distribution(distribution)
            .build()
            .unwrap();
        kinesis.split("shardId-000000000001").unwrap();
        for id in [kinesis.id(), kinesis.arn().parse().unwrap()] {
            let listed =
                SdkStreamInfo::new(&kinesis.client()).list_shards(&id).unwrap().await.unwrap();
            let mut expected = kinesis.shards();
            expected.sort_by_key(|shard| shard.id().to_owned());
            assert_eq!(listed, expected);
            let describer = SdkStreamInfo::new(&kinesis.client());
            let description = describer.describe_stream(&id).unwrap().await.unwrap();
            assert_eq!(description.max_record_bytes(), 3 * 1024 * 1024);
            assert_eq!(description.distribution(), distribution);
        }
        let described = kinesis.stats().descriptions;
        let summary = kinesis.client().describe_stream_summary().stream_name("example");
        let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
        assert_eq!((summary.open_shard_count, &*summary.stream_arn), (4, kinesis.arn()));
        assert_eq!(summary.stream_creation_timestamp.secs(), 1_767_225_600);
        assert_eq!((described, kinesis.stats().descriptions), (2, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn list_shards_returns_pages_and_parents() {
    let kinesis = no_latency().with_shards(3).build().unwrap();
    let client = kinesis.client();
    put(&kinesis, vec![entry("k", "x")]).await;
    kinesis.split("shardId-000000000001").unwrap();
    kinesis.merge("shardId-000000000000", "shardId-000000000003").unwrap();
    let list = async |filter: Option<ShardFilterType>| {
        let filter = filter.map(|kind| ShardFilter::builder().r#type(kind).build().unwrap());
        let first = client.list_shards().stream_name("example").set_shard_filter(filter);
        let mut page = first.max_results(2).send().await.unwrap();
        let mut all = Vec::new();
        loop {
            assert!(page.shards().len() <= 2);
            all.extend(page.shards.unwrap_or_default());
            let Some(token) = page.next_token else { return all };
            page = client.list_shards().next_token(token).max_results(2).send().await.unwrap();
        }
    };
    let all = list(None).await;
    assert_eq!(kinesis.stats().listings, 3);
    let number = |id: &str| id["shardId-".len()..].parse::<usize>().unwrap();
    let family: Vec<_> = all
        .iter()
        .map(|shard| {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let parents = parents.map(|parent| parent.map(number));
            let range = shard.sequence_number_range().unwrap();
            (number(shard.shard_id()), parents, range.ending_sequence_number().is_some())
        })
        .collect();
    let of_one = [Some(1), None];
    let expected = [
        (0, [None, None], true),
        (1, [None, None], true),
        (2, [None, None], false),
        (3, of_one, true),
        (4, of_one, false),
        (5, [Some(0), Some(3)], false),
    ];
    assert_eq!(family, expected);
    let open = list(Some(ShardFilterType::AtLatest)).await;
    let open: Vec<_> = open.iter().map(|shard| number(shard.shard_id())).collect();
    assert_eq!(open, [2, 4, 5]);
    let both = client.list_shards().stream_name("example").next_token("open:1").send().await;
    assert_eq!(both.unwrap_err().code(), Some("InvalidArgumentException"));
}

#[tokio::test(start_paused = true)]
async fn shard_iterator_honors_type_and_shard_end() {
    let kinesis = no_latency().build().unwrap();
    let client = kinesis.client();
    put(&kinesis, ["a", "b", "c", "d"].map(|data| entry("k", data)).to_vec()).await;
    sleep(ms(4_000)).await;
    let second = kinesis.written()[1].sequence_number();
    let begin = async |kind: ShardIteratorType, number: Option<&str>| {
        let call = client.get_shard_iterator().stream_name("example");
        let call = call.shard_id("shardId-000000000000").shard_iterator_type(kind);
        let call = call.set_starting_sequence_number(number.map(str::to_owned));
        call.send().await.map(|response| response.shard_iterator.unwrap())
    };
    let read = async |iterator: String, limit: i32| {
        client.get_records().shard_iterator(iterator).limit(limit).send().await.unwrap()
    };
    for (kind, expected) in [
        (ShardIteratorType::TrimHorizon, "abcd"),
        (ShardIteratorType::AtSequenceNumber, "bcd"),
        (ShardIteratorType::AfterSequenceNumber, "cd"),
        (ShardIteratorType::Latest, ""),
    ] {
        let page = read(begin(kind, Some(&second)).await.unwrap(), 10).await;
        let data = page.records().iter().flat_map(|record| record.data().as_ref().to_vec());
        assert_eq!(String::from_utf8(data.collect()).unwrap(), expected);
        assert_eq!(page.millis_behind_latest(), Some(0));
    }
    assert!(begin(ShardIteratorType::AtSequenceNumber, Some("7")).await.is_err());
    let first = read(begin(ShardIteratorType::TrimHorizon, None).await.unwrap(), 3).await;
    assert_eq!((first.records().len(), first.millis_behind_latest()), (3, Some(4_000)));
    assert_eq!(first.records()[0].partition_key(), Some("k"));
    let arrival = first.records()[0].approximate_arrival_timestamp().unwrap();
    assert_eq!(arrival.secs(), 1_767_225_600);
    let open = read(first.next_shard_iterator.clone().unwrap(), 3).await;
    assert!(open.next_shard_iterator().is_some());
    kinesis.split("shardId-000000000000").unwrap();
    put(&kinesis, vec![entry("k", "e")]).await;
    let last = read(first.next_shard_iterator.unwrap(), 3).await;
    assert_eq!((last.records().len(), last.next_shard_iterator()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn sdk_calls_split_and_merge_shards() {
    let kinesis = no_latency().build().unwrap();
    let client = kinesis.client();
    let split = async |shard_id: &str, at: u128| {
        let call = client.split_shard().stream_name("example").shard_to_split(shard_id);
        call.new_starting_hash_key(at.to_string()).send().await
    };
    split("shardId-000000000000", 1_000).await.unwrap();
    let starts =
        || kinesis.shards().iter().map(|one| one.range().start().get()).collect::<Vec<_>>();
    assert_eq!(starts(), [0, 1_000]);
    let error = split("shardId-000000000001", 1_000).await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_invalid_argument_exception());
    let error = split("shardId-000000000009", 1_000).await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
    let merge = client.merge_shards().stream_name("example");
    let merge = merge.shard_to_merge("shardId-000000000001");
    merge.adjacent_shard_to_merge("shardId-000000000002").send().await.unwrap();
    assert_eq!(starts(), [0]);
    let update = client.update_shard_count().stream_name("example").target_shard_count(2);
    let updated = update.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    assert_eq!((updated.current_shard_count, updated.target_shard_count), (Some(1), Some(2)));
    assert_eq!(starts(), [0, 1 << 127]);
    let open = SdkStreamInfo::new(&client).list_shards(&kinesis.id()).unwrap().await.unwrap();
    assert_eq!(open, kinesis.shards(), "old shards are listed as open");
}
