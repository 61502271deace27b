//! Tests of the real SDK with slow, failing, and rejected credentials, and with clock skew.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::{
    BehaviorVersion, Builder, Config, Credentials, ProvideCredentials, Region,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt};
use kinesis_sink::service::{Classify, DefaultClassify, ErrorClass, PutRecords, SdkStreamInfo};
use kinesis_sink::stream::StreamInfo;
use kinesis_sink::{Error, ErrorKind, KinesisSink, Record};
use tokio::time::{Instant, sleep, timeout};

#[derive(Clone)]
struct Provider {
    provide: Arc<Provide>,
    calls: Arc<AtomicUsize>,
}

type Provided = Result<Credentials, CredentialsError>;
type Provide = dyn Fn(usize) -> BoxFuture<'static, Provided> + Send + Sync;

impl Provider {
    fn new<F>(provide: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Provided> + Send + 'static,
    {
        let provide: Arc<Provide> = Arc::new(move |call| provide(call).boxed());
        Self { provide, calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        future::ProvideCredentials::new((self.provide)(call))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

fn credentials(call: usize) -> Credentials {
    Credentials::new(format!("KEY{call}"), "secret", None, None, "test")
}

#[derive(Clone)]
struct Service(Arc<Answer>);

type Answer = dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync;

impl Service {
    fn new(answer: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    fn config(&self) -> Builder {
        let service = self.clone();
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(service.clone())))
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok((self.0)(&request)))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

fn answer(status: u16, body: impl Into<String>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.into()))
}

fn accepted(request: &HttpRequest) -> HttpResponse {
    let operation = request.headers().get("x-amz-target").unwrap();
    let body = match operation {
        "Kinesis_20131202.PutRecords" => {
            r#"{"FailedRecordCount":0,"Records":[{"ShardId":"s","SequenceNumber":"1"}]}"#
        }
        "Kinesis_20131202.ListShards" => r#"{"Shards":[]}"#,
        _ => r#"{"StreamDescriptionSummary":{"StreamName":"example","OpenShardCount":1}}"#,
    };
    answer(200, body)
}

fn refused(code: &str) -> HttpResponse {
    answer(400, format!(r#"{{"__type":"{code}","message":"the reason"}}"#))
}

fn signed_with(request: &HttpRequest, call: usize) -> bool {
    request.headers().get("authorization").unwrap().contains(&format!("Credential=KEY{call}/"))
}

fn client(service: &Service, provider: &Provider) -> Client {
    Client::from_conf(service.config().credentials_provider(provider.clone()).build())
}

async fn send(client: &Client) -> Result<(), Error> {
    let mut sink = KinesisSink::new(client, "example").unwrap();
    sink.send(Record::from("x")).await
}

#[tokio::test(start_paused = true)]
async fn slow_provider_delays_delivery() {
    for seconds in [7, 12, 20] {
        let provider = Provider::new(move |call| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(credentials(call))
        });
        let began = Instant::now();
        let client = client(&Service::new(accepted), &provider);
        let producer = KinesisSink::new(&client, "example").unwrap().spawn();
        let receipt = producer.put(Record::from("x")).await.unwrap();
        receipt.await.unwrap_or_else(|error| panic!("{seconds} s: {error}"));
        let elapsed = began.elapsed();
        assert!((seconds..seconds + 4).contains(&elapsed.as_secs()), "{seconds} s: {elapsed:?}");
        assert_eq!(provider.calls(), 1, "{seconds} s: concurrent requests share one load");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_provider_delays_delivery() {
    let began = Instant::now();
    let errors: [fn() -> CredentialsError; 3] = [
        || CredentialsError::provider_error("STS answered 503"),
        || CredentialsError::provider_timed_out(Duration::from_secs(1)),
        || CredentialsError::unhandled("something else"),
    ];
    for error in errors {
        let provider = Provider::new(move |call| async move {
            if began.elapsed().as_secs() % 1000 < 120 {
                Err(error())
            } else {
                Ok(credentials(call))
            }
        });
        let client = client(&Service::new(accepted), &provider);
        let producer = KinesisSink::new(&client, "example").unwrap().spawn();
        let receipt = producer.put(Record::from("x")).await.unwrap();
        receipt.await.unwrap_or_else(|failed| panic!("{}: {failed}", error()));
        sleep(Duration::from_secs(1000 - began.elapsed().as_secs() % 1000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_provider_fails_as_credentials_error() {
    let provider = Provider::new(|_| pending());
    let began = Instant::now();
    let client = client(&Service::new(accepted), &provider);
    let mut sink = KinesisSink::new(&client, "example").unwrap();
    let error = sink.send(Record::from("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(DefaultClassify.classify_error(source), ErrorClass::Credentials);
    // The first load fails after 5 s, the sink retries for 300 s, and the backoff delays the last attempt by up to 8 s.
    assert!((305..314).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(provider.calls() <= 20, "concurrent loads: {}", provider.calls());
    assert!(!sink.take_undelivered()[0].may_have_been_written());
}

#[tokio::test(start_paused = true)]
async fn provider_outage_after_success_is_retried() {
    let service = Service::new(|request| {
        if signed_with(request, 5) { accepted(request) } else { refused("ExpiredTokenException") }
    });
    let provider = Provider::new(|call| async move {
        match call {
            // The SDK's provider returns this error if the instance metadata service does not respond.
            1..5 => Err(CredentialsError::not_loaded("no communication with IMDS")),
            _ => Ok(credentials(call)),
        }
    });
    send(&client(&service, &provider)).await.unwrap();
    assert_eq!(provider.calls(), 6);
}

/// Returns the error classes of PutRecords, ListShards and DescribeStreamSummary, in this order.
async fn classes(client: &Client) -> [ErrorClass; 3] {
    let class = |error: &(dyn std::error::Error + 'static)| DefaultClassify.classify_error(error);
    let stream = "example".parse().unwrap();
    let list = SdkStreamInfo::new(client).list_shards(&stream).unwrap().await.unwrap_err();
    let describe = SdkStreamInfo::new(client).describe_stream(&stream).unwrap().await.unwrap_err();
    let request = kinesis_sink::service::PutRecordsRequest::new(stream, vec![]);
    let put = tower::ServiceExt::oneshot(PutRecords::new(client), request).await.unwrap_err();
    [class(&put), class(&*list), class(&*describe)]
}

#[tokio::test(start_paused = true)]
async fn only_configuration_errors_are_fatal() {
    use ErrorClass::{Credentials as Transient, Fatal};
    let config = || Service::new(accepted).config();
    let with_credentials = || config().credentials_provider(credentials(0));
    let failing = |error: fn() -> CredentialsError| {
        config().credentials_provider(Provider::new(move |_| async move { Err(error()) }))
    };
    let without_region = Config::builder().behavior_version(BehaviorVersion::latest());
    let cases = [
        ("no provider", config(), Fatal),
        ("no region", without_region.credentials_provider(credentials(0)), Fatal),
        ("bad endpoint", with_credentials().endpoint_url("no scheme"), Fatal),
        ("nothing provided", failing(|| CredentialsError::not_loaded("none")), Fatal),
        ("bad profile", failing(|| CredentialsError::invalid_configuration("x")), Fatal),
        ("provider error", failing(|| CredentialsError::provider_error("503")), Transient),
        ("unhandled", failing(|| CredentialsError::unhandled("?")), Transient),
        (
            "provider timeout",
            failing(|| CredentialsError::provider_timed_out(Duration::from_secs(1))),
            Transient,
        ),
        (
            "hanging provider",
            config().credentials_provider(Provider::new(|_| pending())),
            Transient,
        ),
        (
            "panicking provider",
            config().credentials_provider(Provider::new(|_| async { panic!("a provider") })),
            Transient,
        ),
    ];
    for (case, config, expected) in cases {
        let client = Client::from_conf(config.build());
        assert_eq!(classes(&client).await, [expected; 3], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_are_reloaded() {
    for code in ["ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"] {
        for has_identity_cache in [false, true] {
            let service = Service::new(move |request| {
                if signed_with(request, 1) { accepted(request) } else { refused(code) }
            });
            let provider = Provider::new(|call| async move { Ok(credentials(call)) });
            let mut config = service.config().credentials_provider(provider.clone());
            if has_identity_cache {
                // Clients configured with `aws_config` also have an identity cache.
                let cache = aws_sdk_kinesis::config::IdentityCache::lazy().build();
                config = config.identity_cache(cache);
            }
            let began = Instant::now();
            let client = Client::from_conf(config.build());
            timeout(Duration::from_secs(60), send(&client)).await.expect(code).unwrap();
            assert_eq!(provider.calls(), 2, "{code}");
            assert!(began.elapsed() < Duration::from_secs(1), "{code}: {:?}", began.elapsed());
            send(&client).await.unwrap();
            assert_eq!(provider.calls(), 2, "{code}: the new credentials are not cached");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_reload_at_most_every_5_s() {
    let service = Service::new(|_| refused("ExpiredTokenException"));
    let provider = Provider::new(|_| async { Ok(credentials(0)) });
    send(&client(&service, &provider)).await.unwrap_err();
    // The sink fails after 5 minutes, and loads credentials at most every 5 s until then.
    assert!((20..=61).contains(&provider.calls()), "{}", provider.calls());
}

#[tokio::test]
async fn sinks_with_same_client_share_credentials() {
    let provider = Provider::new(|call| async move { Ok(credentials(call)) });
    let client = client(&Service::new(accepted), &provider);
    for n in 0..10 {
        let mut sink = KinesisSink::builder(format!("example-{n}"))
            .with_aggregation(kinesis_sink::Aggregation::PerShard)
            .with_linger(kinesis_sink::settings::Linger::Fixed(Duration::ZERO))
            .build(&client)
            .unwrap();
        sink.send(Record::from("x")).await.unwrap();
    }
    assert_eq!(provider.calls(), 1);
}

/// A process has many providers if, for example, it assumes one role per tenant.
#[tokio::test(start_paused = true)]
async fn hundreds_of_providers_load_once_each() {
    let service = Service::new(accepted);
    let new_provider = || Provider::new(|call| async move { Ok(credentials(call)) });
    let providers: Vec<_> = std::iter::repeat_with(new_provider).take(300).collect();
    let clients: Vec<_> = providers.iter().map(|provider| client(&service, provider)).collect();
    for _ in 0..2 {
        for client in &clients {
            send(client).await.unwrap();
        }
    }
    let loads: usize = providers.iter().map(Provider::calls).sum();
    assert_eq!(loads, providers.len());
}

#[tokio::test(start_paused = true)]
async fn concurrent_sends_refresh_credentials_once() {
    let service = Service::new(|request| {
        if signed_with(request, 1) { accepted(request) } else { refused("ExpiredTokenException") }
    });
    let provider = Provider::new(|call| async move {
        sleep(Duration::from_millis(100)).await;
        Ok(credentials(call))
    });
    let client = client(&service, &provider);
    let sends = (0..10).map(|_| send(&client));
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
    // One call loads the credentials, the other refreshes them.
    assert_eq!(provider.calls(), 2);
}

/// Returns a service whose clock is `seconds` ahead, and that rejects signatures that differ by more than five minutes.
/// `date` maps the index of a response to the offset of its `Date` header in seconds, or to `None` for no offset.
fn service_ahead_by(seconds: i64, code: &'static str, date: fn(usize) -> Option<i64>) -> Service {
    let calls = AtomicUsize::new(0);
    Service::new(move |request| {
        let now = DateTime::from(SystemTime::now()).secs() + seconds;
        let signed = request.headers().get("x-amz-date").unwrap();
        let signed = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &signed[..4],
            &signed[4..6],
            &signed[6..8],
            &signed[9..11],
            &signed[11..13],
            &signed[13..15]
        );
        let signed = DateTime::from_str(&signed, Format::DateTime).unwrap().secs();
        let mut response =
            if (now - signed).abs() <= 300 { accepted(request) } else { refused(code) };
        let date = now + date(calls.fetch_add(1, Ordering::SeqCst)).unwrap_or(0);
        let date = DateTime::from_secs(date).fmt(Format::HttpDate).unwrap();
        response.headers_mut().insert("date", date);
        response
    })
}

#[tokio::test]
async fn clock_skew_is_corrected_from_response() {
    let codes = [
        "RequestTimeTooSkewed",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "RequestExpired",
        "RequestInTheFuture",
    ];
    for (minutes, code) in codes.into_iter().flat_map(|code| [(10, code), (-10, code)]) {
        let service = service_ahead_by(minutes * 60, code, |_| None);
        let config = service.config().credentials_provider(credentials(0));
        let client = Client::from_conf(config.build());
        let mut sink = KinesisSink::builder("example")
            .with_aggregation(kinesis_sink::Aggregation::PerShard)
            .with_linger(kinesis_sink::settings::Linger::Fixed(Duration::ZERO))
            .build(&client)
            .unwrap();
        let sent = timeout(Duration::from_secs(20), sink.send(Record::from("x"))).await;
        sent.unwrap_or_else(|_| panic!("{code}, {minutes} min")).unwrap();
        sink.send(Record::from("x")).await.unwrap();
        assert_eq!(sink.totals().delivered, 2);
        assert_eq!(
            sink.status().last_request.unwrap().errors,
            [],
            "{code}: the correction is lost"
        );
    }
}

#[tokio::test]
async fn clock_skew_is_corrected_in_cbor() {
    for minutes in [10, -10] {
        let service = Service::new({
            let json = service_ahead_by(minutes * 60, "InvalidSignatureException", |_| None);
            move |request| {
                let response = (json.0)(request);
                let is_error = !response.status().is_success();
                cbor_answer(&response, is_error.then_some("InvalidSignatureException"))
            }
        });
        let config = service.config().credentials_provider(credentials(0));
        let service = PutRecords::new(&Client::from_conf(config.build())).with_cbor();
        let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
        sink.send(Record::from("x")).await.unwrap();
        assert_eq!(sink.totals().delivered, 1);
    }
}

fn cbor_answer(json: &HttpResponse, code: Option<&str>) -> HttpResponse {
    use ciborium::Value;
    let text = |text: &str| Value::Text(text.to_owned());
    let value = match code {
        Some(code) => Value::Map(vec![(text("__type"), text(code))]),
        None => Value::Map(vec![(
            text("Records"),
            Value::Array(vec![Value::Map(vec![
                (text("ShardId"), text("s")),
                (text("SequenceNumber"), text("1")),
            ])]),
        )]),
    };
    let mut body = Vec::new();
    ciborium::into_writer(&value, &mut body).unwrap();
    let mut response = HttpResponse::new(json.status(), SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-cbor-1.1");
    response.headers_mut().insert("date", json.headers().get("date").unwrap().to_owned());
    response
}

#[tokio::test]
async fn wrong_date_header_causes_at_most_one_retry() {
    // Although the clocks agree, the `Date` of the first response is an hour ahead.
    let service =
        service_ahead_by(0, "InvalidSignatureException", |call| (call == 0).then_some(3600));
    let config = service.config().credentials_provider(credentials(0));
    let mut sink = KinesisSink::new(&Client::from_conf(config.build()), "example").unwrap();
    for _ in 0..3 {
        sink.send(Record::from("x")).await.unwrap();
    }
    let totals = sink.totals();
    assert_eq!(totals.delivered, 3);
    assert!(totals.requeued <= 1, "{totals:?}");
}

#[cfg(feature = "aws-config")]
mod container {
    //! Credentials from a container endpoint that is unavailable for the first eight seconds.

    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::process::Command;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    async fn serve(listener: TcpListener, body: &'static str) {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = move |_: Request<_>| async move {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
            };
            let connection = http1::Builder::new();
            let connection = connection.serve_connection(TokioIo::new(socket), service_fn(answer));
            tokio::spawn(connection);
        }
    }

    #[tokio::test]
    async fn container_endpoint_outage_delays_delivery() {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let kinesis = TcpListener::bind(any_port).await.unwrap();
        let endpoint = format!("http://{}", kinesis.local_addr().unwrap());
        let placed = r#"{"Records":[{"ShardId":"s","SequenceNumber":"1"}]}"#;
        tokio::spawn(serve(kinesis, placed));
        // A bound port refuses connections until the socket listens, as if the endpoint had not started.
        let container = TcpSocket::new_v4().unwrap();
        container.bind(any_port).unwrap();
        let uri = format!("http://{}/credentials", container.local_addr().unwrap());
        tokio::spawn(async move {
            sleep(Duration::from_secs(8)).await;
            let credentials = r#"{"AccessKeyId":"KEY","SecretAccessKey":"secret","Token":"token",
                "Expiration":"2100-01-01T00:00:00Z"}"#;
            serve(container.listen(16).unwrap(), credentials).await;
        });
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "credentials::container::record_is_sent_from_environment",
            "--ignored",
        ]);
        child.env_clear().env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL", endpoint);
        child.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri).env("HOME", "/nonexistent");
        let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    }

    #[tokio::test]
    #[ignore = "started by container_endpoint_outage_delays_delivery in its environment"]
    async fn record_is_sent_from_environment() {
        // The check of `from_env` would report the outage as an error.
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let sink = KinesisSink::new(&Client::new(&config), "example").unwrap();
        let producer = sink.spawn();
        let receipt = producer.put(Record::from("x")).await.unwrap();
        let delivered =
            timeout(Duration::from_secs(60), receipt).await.expect("no delivery within 60 s");
        delivered.unwrap();
    }
}
