//! Tests of how `SdkStreamInfo` looks up descriptions and shard lists, also with responses that no local server sends.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::operation::describe_stream_summary::DescribeStreamSummaryInput;
use aws_sdk_kinesis::operation::list_shards::{ListShardsInput, ListShardsOutput};
use aws_sdk_kinesis::types::{
    HashKeyRange, SequenceNumberRange, Shard as SdkShard, ShardFilter, ShardFilterType,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{
    Classify, DefaultClassify, ErrorClass, PutRecordsError, PutRecordsErrorKind, SdkStreamInfo,
};
use kinesis_sink::shard::{HashRange, Shard};
use kinesis_sink::stream::{Distribution, StreamDescription, StreamInfo, StreamMode};
use kinesis_sink::{Aggregation, KinesisSink, Record, StreamId};
use tokio::sync::Semaphore;
use tower::BoxError;

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/example";
const REGION: Region = Region::from_static("eu-west-1");

fn client(rules: &[&Rule]) -> Client {
    mock_client!(aws_sdk_kinesis, RuleMode::Sequential, rules, |config| config
        .region(REGION)
        .retry_config(RetryConfig::standard().with_max_attempts(5)))
}

fn stream(id: &str) -> StreamId {
    id.parse().unwrap()
}

fn hash_keys(n: usize) -> (u128, u128) {
    (n as u128 * 100, n as u128 * 100 + 99)
}

fn sdk_shard(n: usize, closed: bool) -> SdkShard {
    let (start, end) = hash_keys(n);
    let range = HashKeyRange::builder()
        .starting_hash_key(start.to_string())
        .ending_hash_key(end.to_string())
        .build()
        .unwrap();
    let numbers = SequenceNumberRange::builder()
        .starting_sequence_number("1")
        .set_ending_sequence_number(closed.then(|| "2".to_owned()))
        .build()
        .unwrap();
    let shard = SdkShard::builder().shard_id(format!("shardId-{n:012}")).hash_key_range(range);
    shard.sequence_number_range(numbers).build().unwrap()
}

fn expected(n: usize) -> Shard {
    let (start, end) = hash_keys(n);
    let range = HashRange::new(HashKey::new(start), HashKey::new(end)).unwrap();
    Shard::new(format!("shardId-{n:012}"), range)
}

fn page(input: ListShardsInput, shards: Vec<SdkShard>, next: Option<&str>) -> Rule {
    let output =
        ListShardsOutput::builder().set_shards(Some(shards)).set_next_token(next.map(Into::into));
    let output = output.build();
    mock!(Client::list_shards)
        .match_requests(move |given| *given == input)
        .then_output(move || output.clone())
}

fn at_latest() -> ShardFilter {
    ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap()
}

fn by_name() -> ListShardsInput {
    let input = ListShardsInput::builder().stream_name("example").shard_filter(at_latest());
    input.build().unwrap()
}

fn by_token(token: &str) -> ListShardsInput {
    ListShardsInput::builder().next_token(token).build().unwrap()
}

#[tokio::test]
async fn list_shards_follows_page_tokens() {
    let shards = |from: usize, to: usize| (from..to).map(|n| sdk_shard(n, false)).collect();
    let rules = [
        page(by_name(), shards(0, 1_000), Some("first")),
        page(by_token("first"), shards(1_000, 2_000), Some("second")),
        // A page can be empty even if more pages follow.
        page(by_token("second"), vec![], Some("third")),
        page(by_token("third"), shards(2_000, 2_345), None),
    ];
    let lister = SdkStreamInfo::new(&client(&rules.each_ref()));
    let listed = lister.list_shards(&stream("example")).unwrap().await.unwrap();
    assert_eq!(listed.len(), 2_345);
    let listed: HashSet<_> = listed.into_iter().collect();
    assert_eq!(listed, (0..2_345).map(expected).collect());
    assert!(rules.iter().all(|rule| rule.num_calls() == 1));
}

#[tokio::test]
async fn list_shards_skips_closed_shards() {
    let shards = vec![sdk_shard(0, true), sdk_shard(1, false), sdk_shard(2, true)];
    let lister = SdkStreamInfo::new(&client(&[&page(by_name(), shards, Some(""))]));
    let listed = lister.list_shards(&stream("example")).unwrap().await.unwrap();
    assert_eq!(listed, [expected(1)]);
}

#[tokio::test]
async fn lookup_accepts_arn() {
    let input = ListShardsInput::builder().stream_arn(ARN).shard_filter(at_latest());
    let list = page(input.build().unwrap(), vec![sdk_shard(0, false)], None);
    let listed =
        SdkStreamInfo::new(&client(&[&list])).list_shards(&stream(ARN)).unwrap().await.unwrap();
    assert_eq!(listed, [expected(0)]);
    let input = DescribeStreamSummaryInput::builder().stream_arn(ARN).build().unwrap();
    let describe = summary(input, "");
    let describer = SdkStreamInfo::new(&client(&[&describe]));
    assert!(describer.describe_stream(&stream(ARN)).unwrap().await.is_ok());
}

#[tokio::test]
async fn list_shards_fails_on_repeated_token() {
    let first = page(by_name(), vec![sdk_shard(0, false)], Some("again"));
    let again = page(by_token("again"), vec![sdk_shard(1, false)], Some("again"));
    let lister = SdkStreamInfo::new(&client(&[&first, &again]));
    let error = lister.list_shards(&stream("example")).unwrap().await.unwrap_err();
    assert_eq!(again.num_calls(), 1);
    assert_lookup_error(&error, "ListShards", &["response cannot be read", "the same token again"]);
    assert_eq!(DefaultClassify.classify_error(&*error), ErrorClass::OutcomeUnknown);
}

#[tokio::test]
async fn list_shards_fails_after_1000_pages() {
    let endless =
        GatedServer::new(|number| Ok((200, format!(r#"{{"NextToken":"token {number}"}}"#))));
    endless.release(2_000);
    let lister = SdkStreamInfo::new(&endless.client());
    let error = lister.list_shards(&stream("example")).unwrap().await.unwrap_err();
    assert_eq!(endless.requests(), 1_000);
    assert_lookup_error(&error, "ListShards", &["list has more than 1000 pages"]);
}

fn described(fields: &str) -> String {
    format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"example","StreamARN":"{ARN}",
        "StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,
        "EnhancedMonitoring":[],"OpenShardCount":4{fields}}}}}"#
    )
}

fn answer(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.into_bytes()))
}

fn summary(input: DescribeStreamSummaryInput, fields: &'static str) -> Rule {
    mock!(Client::describe_stream_summary)
        .match_requests(move |given| *given == input)
        .then_http_response(move || answer(200, described(fields)))
}

#[tokio::test]
async fn description_is_parsed() {
    use Distribution::{Auto, UserPartitionKey};
    const KIB: usize = 1024;
    for (fields, bytes, distribution) in [
        ("", 1024 * KIB, UserPartitionKey),
        (r#","MaxRecordSizeInKiB":null"#, 1024 * KIB, UserPartitionKey),
        (r#","MaxRecordSizeInKiB":10240"#, 10240 * KIB, UserPartitionKey),
        (r#","MaxRecordSizeInKiB":1024"#, 1024 * KIB, UserPartitionKey),
        // An invalid size is ignored.
        (r#","MaxRecordSizeInKiB":0"#, 1024 * KIB, UserPartitionKey),
        (r#","MaxRecordSizeInKiB":-1"#, 1024 * KIB, UserPartitionKey),
        (r#","RecordDistributionStrategy":"USER_PARTITION_KEY""#, 1024 * KIB, UserPartitionKey),
        (r#","RecordDistributionStrategy":"AUTO""#, 1024 * KIB, Auto),
        (r#","RecordDistributionStrategy":"OF_NEXT_YEAR""#, 1024 * KIB, Auto),
        (r#","MaxRecordSizeInKiB":2048,"RecordDistributionStrategy":"AUTO""#, 2048 * KIB, Auto),
    ] {
        let input = DescribeStreamSummaryInput::builder().stream_name("example");
        let rule = summary(input.build().unwrap(), fields);
        let describer = SdkStreamInfo::new(&client(&[&rule]));
        let found = describer.describe_stream(&stream("example")).unwrap().await.unwrap();
        assert_eq!((found.max_record_bytes(), found.distribution()), (bytes, distribution));
    }
}

#[tokio::test]
async fn lookup_fails_without_description() {
    let server = GatedServer::new(|_| Ok((200, "{}".to_owned())));
    server.release(1);
    let describer = SdkStreamInfo::new(&server.client());
    let error = describer.describe_stream(&stream("example")).unwrap().await.unwrap_err();
    assert_lookup_error(&error, "DescribeStreamSummary", &["has no description"]);
}

fn assert_lookup_error(error: &BoxError, operation: &str, expected: &[&str]) {
    let lookup: &PutRecordsError = error.downcast_ref().unwrap();
    let stream = lookup.stream().unwrap();
    assert_eq!((lookup.operation(), stream.name()), (Some(operation), "example"));
    let chain = std::iter::successors(Some(&**error as &dyn std::error::Error), |e| e.source());
    let message = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let begin = format!("{operation} of {stream} failed: ");
    assert!(
        message.starts_with(&begin) && expected.iter().all(|e| message.contains(e)),
        "{message}"
    );
}

async fn both_errors(client: &Client, id: &str) -> [(BoxError, &'static str); 2] {
    let list = SdkStreamInfo::new(client).list_shards(&stream(id)).unwrap().await.unwrap_err();
    let describe =
        SdkStreamInfo::new(client).describe_stream(&stream(id)).unwrap().await.unwrap_err();
    [(list, "ListShards"), (describe, "DescribeStreamSummary")]
}

#[tokio::test]
async fn lookup_error_is_classified_not_retried() {
    for (status, code, class) in [
        (400, "ResourceNotFoundException", ErrorClass::Fatal),
        (400, "AccessDeniedException", ErrorClass::Fatal),
        (400, "LimitExceededException", ErrorClass::Throttled),
        (400, "ResourceInUseException", ErrorClass::OutcomeUnknown),
        (400, "ExpiredNextTokenException", ErrorClass::OutcomeUnknown),
        (400, "ExpiredTokenException", ErrorClass::Credentials),
        (400, "UnknownOperationException", ErrorClass::Fatal),
        (500, "InternalFailure", ErrorClass::OutcomeUnknown),
    ] {
        let body = format!(r#"{{"__type":"{code}","message":"the reason"}}"#);
        let server = GatedServer::new(move |_| Ok((status, body.clone())));
        server.release(10);
        for (error, operation) in both_errors(&server.client(), "example").await {
            let expected = format!("{code}: the reason (HTTP {status})");
            assert_lookup_error(&error, operation, &[&expected]);
            let reason = error.downcast_ref::<PutRecordsError>().unwrap();
            assert_eq!((reason.code(), reason.status()), (Some(code), Some(status)));
            assert_eq!(DefaultClassify.classify_error(&*error), class, "{code}");
        }
        assert_eq!(server.requests(), 2, "requests, without retries");
    }
}

#[tokio::test]
async fn refused_connection_is_dispatch_error() {
    let server = GatedServer::new(|_| Err(io::ErrorKind::ConnectionRefused.into()));
    server.release(2);
    for (error, operation) in both_errors(&server.client(), "example").await {
        assert_lookup_error(&error, operation, &["no response received", "connection refused"]);
        let reason = error.downcast_ref::<PutRecordsError>().unwrap();
        assert_eq!(reason.kind(), PutRecordsErrorKind::Dispatch);
        assert_eq!(DefaultClassify.classify_error(&*error), ErrorClass::OutcomeUnknown);
    }
}

#[tokio::test]
async fn region_mismatch_sends_no_request() {
    let server = GatedServer::new(|_| Ok((200, described(""))));
    for (error, operation) in both_errors(&server.client(), &ARN.replace("eu", "us")).await {
        assert_lookup_error(&error, operation, &["the client's region is"]);
        assert_eq!(DefaultClassify.classify_error(&*error), ErrorClass::Fatal);
    }
    assert_eq!(server.requests(), 0);
}

#[derive(Clone)]
struct GatedServer(Arc<GatedState>);

struct GatedState {
    /// Returns the response to the request with this number. Numbers start at 0.
    answer: Box<dyn Fn(usize) -> io::Result<(u16, String)> + Send + Sync>,
    requests: AtomicUsize,
    gate: Semaphore,
}

impl GatedServer {
    fn new(answer: impl Fn(usize) -> io::Result<(u16, String)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(GatedState {
            answer: Box::new(answer),
            requests: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        }))
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(server.clone()));
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(REGION)
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .http_client(http);
        Client::from_conf(config.build())
    }

    fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    fn release(&self, requests: usize) {
        self.0.gate.add_permits(requests);
    }

    /// Waits until `requests` requests have been sent in total, and asserts that no more follow.
    async fn wait_for_requests(&self, requests: usize) {
        while self.requests() < requests {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.requests(), requests);
    }
}

impl std::fmt::Debug for GatedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GatedServer")
    }
}

impl HttpConnector for GatedServer {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let number = self.0.requests.fetch_add(1, Ordering::SeqCst);
        let server = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            server.gate.acquire().await.expect("gate is never closed").forget();
            match (server.answer)(number) {
                Ok((status, body)) => Ok(answer(status, body)),
                Err(error) => Err(ConnectorError::io(error.into())),
            }
        })
    }
}

fn start(
    describer: &SdkStreamInfo,
    id: &str,
) -> tokio::task::JoinHandle<Result<StreamDescription, BoxError>> {
    tokio::spawn(describer.clone().describe_stream(&stream(id)).unwrap())
}

#[tokio::test]
async fn clones_share_one_lookup_per_stream() {
    let server = GatedServer::new(|_| Ok((200, described(""))));
    let describer = SdkStreamInfo::new(&server.client());
    let waiting: Vec<_> = (0..50).map(|_| start(&describer, "example")).collect();
    server.wait_for_requests(1).await;
    // A lookup of another stream does not wait for the first one.
    let other = start(&describer, "other");
    server.wait_for_requests(2).await;
    server.release(2);
    for task in waiting.into_iter().chain([other]) {
        assert_eq!(task.await.unwrap().unwrap(), StreamDescription::default());
    }
    assert!(start(&describer, "example").await.unwrap().is_ok());
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn lookup_error_is_not_cached() {
    let denied = r#"{"__type":"AccessDeniedException"}"#;
    let server = GatedServer::new(move |number| match number {
        0 | 1 => Ok((400, denied.to_owned())),
        _ => Ok((200, described(""))),
    });
    server.release(3);
    let describer = SdkStreamInfo::new(&server.client());
    let tasks: Vec<_> = (0..5).map(|_| start(&describer, "example")).collect();
    let outcomes = futures::future::join_all(tasks).await;
    let failed = outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().is_err()).count();
    assert_eq!((failed, server.requests()), (2, 3));
}

#[tokio::test]
async fn auto_distribution_is_not_cached() {
    let server = GatedServer::new(move |number| match number {
        0 => Ok((200, described(r#","RecordDistributionStrategy":"AUTO""#))),
        _ => Ok((200, described(""))),
    });
    server.release(2);
    let describer = SdkStreamInfo::new(&server.client());
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(start(&describer, "example").await.unwrap().unwrap().distribution());
    }
    let by_key = Distribution::UserPartitionKey;
    assert_eq!((found, server.requests()), (vec![Distribution::Auto, by_key, by_key], 2));
}

#[tokio::test]
async fn uncached_lookup_bypasses_cache() {
    let server = GatedServer::new(move |number| match number {
        0 => Ok((200, described(r#","StreamModeDetails":{"StreamMode":"PROVISIONED"}"#))),
        _ => Ok((200, described(r#","StreamModeDetails":{"StreamMode":"ON_DEMAND"}"#))),
    });
    let describer = SdkStreamInfo::new(&server.client());
    let describe_uncached =
        || tokio::spawn(describer.describe_stream_uncached(&stream("example")).unwrap());
    server.release(1);
    let first = start(&describer, "example").await.unwrap().unwrap();
    assert_eq!(first.mode(), StreamMode::Provisioned);
    // Concurrent calls share one request. Its response replaces the cached description.
    let tasks: Vec<_> = (0..20).map(|_| describe_uncached()).collect();
    server.wait_for_requests(2).await;
    server.release(1);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().mode(), StreamMode::OnDemand);
    }
    let cached = start(&describer, "example").await.unwrap().unwrap();
    assert_eq!((cached.mode(), server.requests()), (StreamMode::OnDemand, 2));
    server.release(1);
    describe_uncached().await.unwrap().unwrap();
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn cancelled_lookup_does_not_fail_others() {
    let server = GatedServer::new(|_| Ok((200, described(""))));
    let describer = SdkStreamInfo::new(&server.client());
    let requester = start(&describer, "example");
    server.wait_for_requests(1).await;
    let waiter = start(&describer, "example");
    let remaining = start(&describer, "example");
    server.wait_for_requests(1).await;
    // Dropping a lookup has no effect if it only waits for the request of another lookup.
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    server.wait_for_requests(1).await;
    // If the lookup that sent the request is dropped, a waiting lookup sends a new request.
    requester.abort();
    assert!(requester.await.unwrap_err().is_cancelled());
    server.wait_for_requests(2).await;
    server.release(1);
    assert!(remaining.await.unwrap().is_ok());
    assert!(start(&describer, "example").await.unwrap().is_ok());
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn listing_after_cancelled_one_succeeds() {
    let server = GatedServer::new(|_| Ok((200, r#"{"Shards":[]}"#.to_owned())));
    let lister = SdkStreamInfo::new(&server.client());
    let first = tokio::spawn(lister.list_shards(&stream("example")).unwrap());
    server.wait_for_requests(1).await;
    first.abort();
    server.release(1);
    assert_eq!(lister.list_shards(&stream("example")).unwrap().await.unwrap(), []);
}

/// A server that pauses for eight seconds before the second half of each response.
#[derive(Debug, Clone, Default)]
struct SlowServer(Arc<AtomicUsize>);

impl HttpConnector for SlowServer {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap();
        let whole = match operation {
            "Kinesis_20131202.PutRecords" => {
                let placed = r#"{"Records":[{"ShardId":"s","SequenceNumber":"1"}]}"#;
                return HttpConnectorFuture::ready(Ok(answer(200, placed.to_owned())));
            }
            "Kinesis_20131202.ListShards" => {
                let range = format!(r#"{{"StartingHashKey":"0","EndingHashKey":"{}"}}"#, u128::MAX);
                let numbers = r#"{"StartingSequenceNumber":"1"}"#;
                format!(
                    r#"{{"Shards":[{{"ShardId":"s","HashKeyRange":{range},
                    "SequenceNumberRange":{numbers}}}]}}"#
                )
            }
            _ => described(""),
        };
        self.0.fetch_add(1, Ordering::SeqCst);
        let (first, second) = whole.split_at(whole.len() / 2);
        let first = first.to_owned();
        let second = second.to_owned();
        let later = async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            second
        };
        let halves = stream::iter([first]).chain(stream::once(later));
        let frames = halves.map(|half| Ok::<_, io::Error>(Frame::data(Bytes::from(half))));
        let body = SdkBody::from_body_1_x(StreamBody::new(Box::pin(frames)));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), body)))
    }
}

#[tokio::test]
async fn slow_lookup_response_is_awaited() {
    let slow = SlowServer::default();
    let server = slow.clone();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(REGION)
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(server.clone())));
    let mut sink = KinesisSink::builder("example")
        .with_aggregation(Aggregation::PerShard)
        .build(&Client::from_conf(config.build()))
        .unwrap();
    let began = Instant::now();
    sink.send(Record::from("first")).await.unwrap();
    let after = began.elapsed();
    let lookups = slow.0.load(Ordering::SeqCst);
    println!("first record after {after:?}, {lookups} lookups");
    assert!(after < Duration::from_secs(15) && lookups == 2, "{after:?}, {lookups} lookups");
}
