//! Tests of the default stack with mocked SDK responses.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{SharedCredentialsProvider, future};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, ProvideCredentials, Region};
use aws_sdk_kinesis::operation::put_records::{PutRecordsInput, PutRecordsOutput};
use aws_sdk_kinesis::types::PutRecordsResultEntry;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use futures::{SinkExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, ErrorClass, Placement, PutRecords, PutRecordsErrorKind,
    PutRecordsRequest,
};
use kinesis_sink::settings::Linger;
use kinesis_sink::{BuildError, Error, ErrorKind, KinesisSink, Record};
use tower::ServiceExt;

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/example";

fn client(rules: &[&Rule]) -> Client {
    mock_client!(aws_sdk_kinesis, RuleMode::Sequential, rules, |config| config
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::standard().with_max_attempts(5)))
}

fn sink(rules: &[&Rule]) -> KinesisSink {
    let millisecond = Duration::from_millis(1);
    KinesisSink::builder("example")
        .configure(|settings| {
            settings.backoff.base = millisecond;
            settings.backoff.ceiling = millisecond;
        })
        .build(&client(rules))
        .unwrap()
}

fn records() -> impl futures::Stream<Item = Result<Record, Error>> + Unpin {
    stream::iter((0..3).map(|n| Ok(Record::from(n.to_string()))))
}

fn delivered() -> PutRecordsResultEntry {
    PutRecordsResultEntry::builder().shard_id("shardId-000000000000").sequence_number("1").build()
}

fn failed(code: &str) -> PutRecordsResultEntry {
    PutRecordsResultEntry::builder().error_code(code).error_message("a message").build()
}

fn output(results: impl IntoIterator<Item = PutRecordsResultEntry>) -> PutRecordsOutput {
    let records = results.into_iter().collect();
    PutRecordsOutput::builder().set_records(Some(records)).build().unwrap()
}

fn all_delivered(entries: usize) -> Rule {
    mock!(Client::put_records)
        .match_requests(move |input| input.records().len() == entries)
        .then_output(move || output((0..entries).map(|_| delivered())))
}

fn results(make: impl Fn() -> Vec<PutRecordsResultEntry> + Send + Sync + 'static) -> Rule {
    mock!(Client::put_records).then_output(move || output(make()))
}

fn http_error(status: u16, code: &'static str) -> Rule {
    mock!(Client::put_records).then_http_response(move || {
        let body = format!(r#"{{"__type":"{code}","message":"a message"}}"#);
        let mut response =
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.into_bytes()));
        response.headers_mut().insert("x-amzn-requestid", "the-request-id");
        response
    })
}

#[tokio::test]
async fn http_500_is_retried_by_sink_not_sdk() {
    let error = http_error(500, "InternalFailureException");
    let success = all_delivered(3);
    let mut sink = sink(&[&error, &success]);
    sink.send_all(&mut records()).await.unwrap();
    assert_eq!((error.num_calls(), success.num_calls()), (1, 1));
    assert_eq!((sink.totals().requests, sink.totals().requeued), (2, 3));
}

#[tokio::test]
async fn throttled_request_is_retried() {
    let error = http_error(400, "ProvisionedThroughputExceededException");
    let success = all_delivered(3);
    let mut sink = sink(&[&error, &success]);
    sink.send_all(&mut records()).await.unwrap();
    assert_eq!((error.num_calls(), success.num_calls()), (1, 1));
}

#[tokio::test]
async fn fatal_error_is_reported_and_keeps_records() {
    for code in ["AccessDeniedException", "ResourceNotFoundException"] {
        let rejected = http_error(400, code);
        let success = all_delivered(3);
        let mut sink = sink(&[&rejected, &success]);
        let error = sink.send_all(&mut records()).await.unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 3), "{error}");
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        let expected = format!("{code}: a message (HTTP 400)");
        assert!(causes.contains(&expected), "{causes:?}");
        sink.flush().await.unwrap();
        assert_eq!(sink.totals().delivered, 3);
    }
}

fn gateway_response(status: u16, body: &'static str) -> Rule {
    mock!(Client::put_records).then_http_response(move || {
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        response.headers_mut().insert("x-amzn-requestid", "the-request-id");
        response
    })
}

#[tokio::test]
async fn unreadable_response_has_http_status() {
    for (status, body) in
        [(502, "<html>Bad Gateway</html>"), (403, r#"{"message":"Forbidden"}"#), (200, "garbage")]
    {
        let service = PutRecords::new(&client(&[&gateway_response(status, body)]));
        let entry = Entry::new("data".into(), Some("key".into()), None);
        let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
        let error = service.oneshot(request).await.unwrap_err();
        let fields = (error.kind(), error.status(), error.request_id());
        assert_eq!(fields, (PutRecordsErrorKind::Response, Some(status), Some("the-request-id")));
        assert_eq!(error.to_string(), format!("response cannot be read (HTTP {status})"));
    }
}

#[tokio::test]
async fn http_413_splits_request() {
    let too_large = gateway_response(413, "");
    let one = all_delivered(1);
    let two = all_delivered(2);
    let mut sink = sink(&[&too_large, &one, &two]);
    sink.send_all(&mut records()).await.unwrap();
    assert_eq!((too_large.num_calls(), sink.totals().delivered), (1, 3));
    let error = too_large_alone().await;
    assert!(error.to_string().contains("HTTP 413"), "{error}");
}

async fn too_large_alone() -> Error {
    let mut sink = sink(&[&gateway_response(413, "<html>Too Large</html>")]);
    sink.send(Record::from("large")).await.unwrap_err()
}

#[tokio::test]
async fn http_429_is_classified_as_throttled() {
    let service = PutRecords::new(&client(&[&gateway_response(429, "slow down")]));
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!(DefaultClassify.classify_error(&error), ErrorClass::Throttled);
}

#[tokio::test]
async fn wrong_result_count_retries_all_records() {
    for length in [0, 2, 4] {
        let wrong = results(move || (0..length).map(|_| delivered()).collect());
        let success = all_delivered(3);
        let mut sink = sink(&[&wrong, &success]);
        sink.send_all(&mut records()).await.unwrap();
        assert_eq!((sink.totals().requeued, sink.totals().delivered), (3, 3));
    }
}

#[tokio::test]
async fn unknown_error_codes_do_not_lose_records() {
    let entry = results(|| vec![delivered(), failed("NewEntryError"), delivered()]);
    let server_error = http_error(503, "NewServerError");
    let client_error = http_error(400, "NewClientError");
    let success = all_delivered(1);
    let mut sink = sink(&[&entry, &server_error, &client_error, &success]);
    let error = sink.send_all(&mut records()).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 1), "{error}");
    sink.flush().await.unwrap();
    assert_eq!(sink.totals().delivered, 3);
}

#[tokio::test]
async fn html_response_is_retried() {
    let garbage = mock!(Client::put_records).then_http_response(|| {
        HttpResponse::new(200.try_into().unwrap(), SdkBody::from("<html>hello</html>"))
    });
    let success = all_delivered(3);
    let mut sink = sink(&[&garbage, &success]);
    sink.send_all(&mut records()).await.unwrap();
    assert_eq!((sink.totals().requeued, sink.totals().delivered), (3, 3));
}

#[tokio::test]
async fn partial_failure_retries_failed_entries() {
    let throttle = "ProvisionedThroughputExceededException";
    let partial = results(move || vec![failed(throttle), delivered(), failed("InternalFailure")]);
    let retry = mock!(Client::put_records)
        .match_requests(|input| {
            let data: Vec<_> = input.records().iter().map(|entry| entry.data().as_ref()).collect();
            data == [b"0", b"2"]
        })
        .then_output(|| output([delivered(), delivered()]));
    let mut sink = sink(&[&partial, &retry]);
    sink.send_all(&mut records()).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.totals().throttled), (3, 1));
}

#[tokio::test]
async fn error_has_code_status_and_request_id() {
    let error = http_error(400, "KMSThrottlingException");
    let service = PutRecords::new(&client(&[&error, &all_delivered(1)]));
    let entry = Entry::new("data".into(), Some("key".into()), None);
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry]);
    let error = service.clone().oneshot(request.clone()).await.unwrap_err();
    assert_eq!(error.kind(), PutRecordsErrorKind::Service);
    assert_eq!((error.code(), error.status()), (Some("KMSThrottlingException"), Some(400)));
    assert_eq!(error.request_id(), Some("the-request-id"));
    assert_eq!(DefaultClassify.classify_error(&error), ErrorClass::Throttled);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.results(), [Ok(Placement::new("shardId-000000000000", "1"))]);
}

#[tokio::test]
async fn stream_is_addressed_by_name_or_arn() {
    let matching = |matches: fn(&PutRecordsInput) -> bool| {
        mock!(Client::put_records).match_requests(matches).then_output(|| output([delivered()]))
    };
    let by_name =
        matching(|input| input.stream_name() == Some("example") && input.stream_arn().is_none());
    let mut sink = KinesisSink::new(&client(&[&by_name]), "example").unwrap();
    sink.send(Record::from("x")).await.unwrap();
    let by_arn = matching(|input| input.stream_arn() == Some(ARN) && input.stream_name().is_none());
    let mut sink = KinesisSink::new(&client(&[&by_arn]), ARN).unwrap();
    sink.send(Record::from("x")).await.unwrap();
}

#[tokio::test]
async fn region_mismatch_is_rejected() {
    let arn = ARN.replace("eu-west-1", "us-east-1");
    let error = KinesisSink::new(&client(&[]), &arn).unwrap_err();
    assert!(matches!(error, BuildError::Region { .. }), "{error}");
    // A sink with a custom stack returns this error from its first request, which is not sent.
    let service = PutRecords::new(&client(&[]));
    let mut sink = KinesisSink::builder(&arn).build_with(service).unwrap();
    let error = sink.send(Record::from("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 1), "{error}");
}

#[tokio::test]
async fn build_rejects_client_without_region() {
    let config = client(&[]).config().to_builder().region(None).build();
    let error = KinesisSink::new(&Client::from_conf(config), "example").unwrap_err();
    assert_eq!(error, BuildError::NoRegion);
}

#[derive(Debug)]
struct Hanging;

impl HttpConnector for Hanging {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(std::future::pending())
    }
}

fn hanging_client() -> aws_sdk_kinesis::config::Builder {
    aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .http_client(http_client_fn(|_, _| SharedHttpConnector::new(Hanging)))
}

#[tokio::test(start_paused = true)]
async fn default_request_timeout_is_10_s() {
    let config = with_credentials(hanging_client()).build();
    let mut sink = KinesisSink::new(&Client::from_conf(config), "example").unwrap();
    let began = tokio::time::Instant::now();
    sink.start_send_unpin(Record::from("x")).unwrap();
    while sink.status().last_request.is_none() {
        let flush = tokio::time::timeout(Duration::from_millis(1), sink.flush());
        assert!(flush.await.is_err());
    }
    assert!((10_000..10_005).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(sink.status().last_request.unwrap().errors[0].code, "Timeout");
    assert!(sink.take_undelivered()[0].may_have_been_written());
}

#[tokio::test]
async fn missing_credentials_fail_first_send() {
    let none = SharedCredentialsProvider::new(NoCredentials);
    for config in [hanging_client(), hanging_client().credentials_provider(none)] {
        assert_reported_and_not_sent(config).await;
    }
}

#[tokio::test]
async fn invalid_endpoint_fails_first_send() {
    assert_reported_and_not_sent(with_credentials(hanging_client()).endpoint_url("no scheme"))
        .await;
}

/// Requires that the feature `aws-config` is disabled, because it adds a default HTTP client.
#[cfg(not(feature = "aws-config"))]
#[tokio::test]
async fn missing_http_client_fails_first_send() {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"));
    assert_reported_and_not_sent(with_credentials(config)).await;
}

fn with_credentials(config: aws_sdk_kinesis::config::Builder) -> aws_sdk_kinesis::config::Builder {
    config.credentials_provider(Credentials::new("local", "local", None, None, "test"))
}

async fn assert_reported_and_not_sent(config: aws_sdk_kinesis::config::Builder) {
    let client = Client::from_conf(config.build());
    let mut sink = KinesisSink::new(&client, "example").unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(20), sink.send(Record::from("x"))).await;
    let error = sent.expect("the error is not reported").unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Refused, 1), "{error}");
    assert!(!sink.take_undelivered()[0].may_have_been_written());
}

/// Credentials provider that fails like the default provider chain without any credentials.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none found")))
    }
}

#[tokio::test]
async fn build_rejects_invalid_settings() {
    let client = client(&[]);
    let builders = [
        KinesisSink::builder("example")
            .configure(|settings| settings.limits = Limits::default().with_request_entries(501)),
        KinesisSink::builder("example").with_linger(Linger::Fixed(Duration::from_secs(61))),
        KinesisSink::builder("example").with_max_in_flight(0),
        KinesisSink::builder("example").configure(|settings| settings.buffer_records = Some(0)),
        KinesisSink::builder("example").configure(|settings| settings.buffer_bytes = 0),
        KinesisSink::builder("example").configure(|settings| settings.max_attempts = Some(0)),
        KinesisSink::builder("example").with_deadline(Duration::ZERO),
        KinesisSink::builder("example")
            .configure(|settings| settings.request_timeout = Duration::ZERO),
        KinesisSink::builder("example").configure(|settings| {
            settings.backoff.base = Duration::from_secs(2);
            settings.backoff.ceiling = Duration::from_secs(1);
        }),
    ];
    let fields = builders.map(|builder| match builder.build(&client) {
        Err(error) => error.setting().expect("the error names no setting").to_owned(),
        other => panic!("{other:?}"),
    });
    let expected = [
        "limits.request_entries",
        "linger",
        "max_in_flight",
        "buffer_records",
        "buffer_bytes",
        "max_attempts",
        "deadline",
        "request_timeout",
        "backoff.base",
    ];
    assert_eq!(fields, expected);
}
