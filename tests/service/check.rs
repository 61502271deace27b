//! Tests that `KinesisSink::check` reports an unusable stream in one sentence.

use std::collections::VecDeque;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{
    BehaviorVersion, Builder, Config, Credentials, ProvideCredentials, Region,
};
use kinesis_sink::KinesisSink;
use kinesis_sink::service::{PutRecords, PutRecordsError, SdkStreamInfo};
use kinesis_sink::sim::SimStream;
use kinesis_sink::stream::{StreamDescription, describe_stream_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::Level;

use crate::support::logs::Logs;

const CERTIFICATE: &[u8] = include_bytes!("../servers/sockets/certificates/server.pem");
const KEY: &[u8] = include_bytes!("../servers/sockets/certificates/server.key");

const SECRETS: [&str; 3] = ["AKIDMARKER", "SECRETMARKER", "TOKENMARKER"];

fn credentials() -> Credentials {
    let [key, secret, token] = SECRETS;
    Credentials::new(key, secret, Some(token.to_owned()), None, "test")
}

/// Returns a configuration that uses the SDK's default HTTP client, as `from_env` does.
fn config(endpoint: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
}

fn sink(config: Builder) -> KinesisSink {
    KinesisSink::new(&Client::from_conf(config.build()), "clicks").unwrap()
}

async fn failure(config: Builder) -> String {
    let error = sink(config).check().await.expect_err("the check passed");
    let sentence = error.to_string();
    let mut chain = format!("{error:?}");
    let mut source: Option<&dyn Error> = error.source();
    while let Some(error) = source {
        chain += &format!("\n{error}");
        source = error.source();
    }
    assert!(!sentence.contains('\n') && sentence.chars().count() < 500, "{sentence}");
    assert!(sentence.contains(": "), "no fix in: {sentence}");
    for secret in SECRETS {
        assert!(!sentence.contains(secret) && !chain.contains(secret), "{sentence}\n{chain}");
    }
    sentence
}

fn assert_has(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("content-type: {content_type}\r\ncontent-length: {length}");
    format!("HTTP/1.1 {status}\r\n{head}\r\nconnection: close\r\n\r\n{body}")
}

/// Starts a server that returns these responses in order and then repeats the last one.
async fn server_of(answers: impl IntoIterator<Item = String>) -> String {
    let mut answers: VecDeque<_> = answers.into_iter().collect();
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1 << 14]).await;
            let answer =
                if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
            let _ = socket.write_all(answer.unwrap().as_bytes()).await;
        }
    });
    format!("http://{address}")
}

async fn server(status: &str, content_type: &str, body: &str) -> String {
    server_of([answer(status, content_type, body)]).await
}

const JSON: &str = "application/x-amz-json-1.1";

fn refusal(status: &str, code: &str, message: &str) -> String {
    answer(status, JSON, &format!(r#"{{"__type":"{code}","message":"{message}"}}"#))
}

async fn refusing(status: &str, code: &str, message: &str) -> String {
    server_of([refusal(status, code, message)]).await
}

fn description(status: &str) -> String {
    let rest = r#""RetentionPeriodHours":24,"StreamCreationTimestamp":0,"EnhancedMonitoring":[]"#;
    let stream = r#""StreamName":"clicks","StreamARN":"arn","OpenShardCount":1"#;
    let summary = format!(r#"{{{stream},{rest},"StreamStatus":"{status}"}}"#);
    answer("200 OK", JSON, &format!(r#"{{"StreamDescriptionSummary":{summary}}}"#))
}

async fn described(status: &str) -> String {
    server_of([description(status)]).await
}

#[tokio::test]
async fn check_passes_on_existing_stream() {
    let stream = SimStream::new(2);
    KinesisSink::new(&stream.client(), "example").unwrap().check().await.unwrap();
    for status in ["ACTIVE", "UPDATING", "SOMETHING_NEW"] {
        sink(config(&described(status).await)).check().await.unwrap();
    }
}

#[tokio::test]
async fn check_reports_missing_stream() {
    let error = KinesisSink::new(&SimStream::new(2).client(), "other").unwrap().check().await;
    assert_has(&error.unwrap_err().to_string(), &["stream other does not exist in region"]);
    let message = "Stream clicks under account 123456789012 not found.";
    let endpoint = refusing("400 Bad Request", "ResourceNotFoundException", message).await;
    let sentence = failure(config(&endpoint)).await;
    assert_has(&sentence, &["stream clicks does not exist in region eu-west-1", &endpoint]);
}

#[tokio::test]
async fn check_fails_on_inactive_stream() {
    let creating = failure(config(&described("CREATING").await)).await;
    assert_has(&creating, &["clicks is being created", "wait until"]);
    assert_has(&failure(config(&described("DELETING").await)).await, &["is being deleted"]);
}

#[tokio::test]
async fn check_passes_when_describe_is_not_possible() {
    for (status, code) in [
        ("400 Bad Request", "AccessDeniedException"),
        ("400 Bad Request", "LimitExceededException"),
        ("400 Bad Request", "ThrottlingException"),
        ("400 Bad Request", "UnknownOperationException"),
        ("400 Bad Request", "ValidationException"),
        ("500 Internal Server Error", "InternalFailure"),
        ("503 Service Unavailable", "SomethingNew"),
    ] {
        let endpoint = refusing(status, code, "no").await;
        sink(config(&endpoint)).check().await.unwrap();
    }
    let endpoint = server("502 Bad Gateway", "text/html", "<html>").await;
    sink(config(&endpoint)).check().await.unwrap();
}

#[tokio::test]
async fn check_logs_ignored_error() {
    let logs = Logs::listen(Level::INFO);
    let endpoint = refusing("400 Bad Request", "AccessDeniedException", "not you").await;
    sink(config(&endpoint)).check().await.unwrap();
    let [line] = &logs.with("stream clicks was not checked")[..] else {
        panic!("{:?}", logs.lines())
    };
    assert_has(line, &["INFO", "kinesis:PutRecords", "AccessDeniedException", "not you"]);
}

#[tokio::test]
async fn check_retries_rejected_credentials_once() {
    for code in ["ExpiredTokenException", "RequestTimeTooSkewed"] {
        let refused = refusal("400 Bad Request", code, "");
        let endpoint = server_of([refused.clone(), description("ACTIVE")]).await;
        sink(config(&endpoint)).check().await.unwrap();
        let endpoint = server_of([refused.clone(), refused, description("ACTIVE")]).await;
        assert_has(&failure(config(&endpoint)).await, &[code]);
    }
}

#[tokio::test]
async fn check_explains_error_codes() {
    for (code, message, parts) in [
        ("ExpiredTokenException", "", ["have expired", "renew them"]),
        ("UnrecognizedClientException", "", ["unknown access key", "check the access key"]),
        ("InvalidClientTokenId", "", ["unknown access key", "session token"]),
        ("InvalidSignatureException", "", ["rejects the signature", "secret access key"]),
        ("IncompleteSignature", "", ["rejects the signature", "proxy"]),
        ("InvalidSignatureException", "Signature expired: 1 < 2", ["time of the request", "clock"]),
        ("RequestExpired", "", ["rejects the time", "clock"]),
        ("MissingAuthenticationTokenException", "", ["no credentials", "AWS_ACCESS_KEY_ID"]),
        ("SubscriptionRequiredException", "", ["the account cannot use Kinesis", "enable"]),
        ("KMSAccessDeniedException", "", ["the KMS key", "kms:GenerateDataKey"]),
        ("SomethingNewException", "no such luck", ["SomethingNewException", "no such luck"]),
    ] {
        let endpoint = refusing("400 Bad Request", code, message).await;
        let sentence = failure(config(&endpoint)).await;
        assert_has(&sentence, &[code]);
        assert_has(&sentence, &parts);
    }
}

#[tokio::test]
async fn check_reports_endpoint_other_than_kinesis() {
    let html = async |status| server(status, "text/html", "<html>not found</html>").await;
    for status in ["404 Not Found", "200 OK", "301 Moved Permanently"] {
        let endpoint = html(status).await;
        let sentence = failure(config(&endpoint)).await;
        assert_has(&sentence, &[&endpoint, "does not respond like Kinesis", &status[..3]]);
    }
    let sentence = failure(config(&server("200 OK", JSON, "{}").await)).await;
    assert_has(&sentence, &["does not respond like Kinesis"]);
    let sentence = failure(config(&html("407 Proxy Authentication Required").await)).await;
    assert_has(&sentence, &["a proxy", "HTTP 407", "credentials"]);
    let sentence = failure(config(&html("403 Forbidden").await)).await;
    assert_has(&sentence, &["a proxy or firewall", "HTTP 403"]);
}

#[tokio::test]
async fn check_reports_refused_connection() {
    let (listener, address) = listen().await;
    drop(listener);
    for scheme in ["http", "https"] {
        let endpoint = format!("{scheme}://user:SECRETMARKER@{address}");
        let sentence = failure(config(&endpoint)).await;
        let shown = format!("{scheme}://{address} refused the connection");
        assert_has(&sentence, &[&shown, "AWS_ENDPOINT_URL_KINESIS"]);
    }
}

#[tokio::test]
async fn check_reports_invalid_endpoint() {
    for (endpoint, shown) in
        [("localhost:4567", "`localhost:4567`"), ("user:pass@localhost:4567", "…@localhost:4567`")]
    {
        let error = sink(config(endpoint)).check().await.unwrap_err().to_string();
        assert_has(&error, &["cannot be built", shown, "must contain scheme", "endpoint URL"]);
        assert!(!error.contains("pass@"), "{error}");
    }
    let sentence = failure(config("ftp://127.0.0.1")).await;
    assert_has(&sentence, &["ftp://127.0.0.1", "unsupported scheme ftp"]);
}

#[tokio::test]
async fn check_reports_unknown_host() {
    for endpoint in ["https://kinesis.invalid:4567", "http://kinesis.invalid"] {
        let sentence = failure(config(endpoint)).await;
        assert_has(&sentence, &["host kinesis.invalid cannot be resolved"]);
    }
}

#[tokio::test]
async fn check_reports_untrusted_certificate() {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let tls = ServerConfig::builder().with_no_client_auth();
    let acceptor =
        TlsAcceptor::from(Arc::new(tls.with_single_cert(vec![certificate], key).unwrap()));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    let sentence = failure(config(&format!("https://{address}"))).await;
    assert_has(&sentence, &["is not trusted", "UnknownIssuer", "SSL_CERT_FILE", "trust store"]);
}

#[tokio::test]
async fn check_reports_tls_mismatch() {
    let plain = server("400 Bad Request", "text/html", "").await;
    let sentence = failure(config(&plain.replace("http:", "https:"))).await;
    assert_has(&sentence, &["the TLS handshake with https://127.0.0.1", "http://"]);
    // A TLS server responds to a plain request with a fatal alert.
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(&[21, 3, 3, 0, 2, 2, 10]).await;
        }
    });
    let sentence = failure(config(&format!("http://{address}"))).await;
    assert_has(&sentence, &["does not respond with HTTP", "https://"]);
}

#[tokio::test]
async fn check_reports_closed_connection() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
        }
    });
    for scheme in ["http", "https"] {
        let sentence = failure(config(&format!("{scheme}://{address}"))).await;
        assert_has(&sentence, &[&format!("{scheme}://{address}")]);
    }
}

#[tokio::test]
async fn check_reports_timeout() {
    let (listener, address) = listen().await;
    let accepting = tokio::spawn(async move {
        let mut sockets = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            sockets.push(accepted);
        }
    });
    let short = Duration::from_millis(300);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(short).build();
    let plain = config(&format!("http://{address}")).timeout_config(timeouts);
    assert_has(&failure(plain).await, &["no response from http://127.0.0.1"]);
    let timeouts = TimeoutConfig::builder().connect_timeout(short).build();
    let tls = config(&format!("https://{address}")).timeout_config(timeouts);
    assert_has(&failure(tls).await, &["no connection to https://127.0.0.1", "300ms"]);
    accepting.abort();
}

/// Credentials provider that fails with this error, or never completes if it is `None`.
#[derive(Debug)]
struct Provider(fn() -> Option<CredentialsError>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match (self.0)() {
                Some(error) => Err(error),
                None => pending().await,
            }
        })
    }
}

#[tokio::test]
async fn check_reports_missing_credentials() {
    let without = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:9");
    assert_has(&failure(without).await, &["no credentials found", "AWS_PROFILE"]);
    let provider = Provider(|| Some(CredentialsError::not_loaded("nothing is set")));
    let with = config("http://127.0.0.1:9").credentials_provider(provider);
    assert_has(&failure(with).await, &["no credentials found", "AWS_ACCESS_KEY_ID"]);
    let provider = Provider(|| Some(CredentialsError::provider_error("the session has expired")));
    let with = config("http://127.0.0.1:9").credentials_provider(provider);
    assert_has(&failure(with).await, &["cannot be loaded (the session has expired)", "SSO"]);
}

#[tokio::test(start_paused = true)]
async fn check_times_out_credentials_after_10_s() {
    let provider = Provider(|| None);
    let begin = tokio::time::Instant::now();
    let sentence = failure(config("http://127.0.0.1:9").credentials_provider(provider)).await;
    assert_has(&sentence, &["cannot be loaded (not loaded after 10s)"]);
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn check_uses_stream_info_from_custom_stack() {
    let client = Client::from_conf(config("http://127.0.0.1:9").build());
    let stack = || PutRecords::new(&client);
    let builder = || KinesisSink::builder("clicks");
    builder().build_with(stack()).unwrap().check().await.unwrap();
    let fine = describe_stream_fn(|_| async { Ok(StreamDescription::default()) });
    builder().with_stream_info(fine).build_with(stack()).unwrap().check().await.unwrap();
    let missing = describe_stream_fn(|_| async {
        let code = "ResourceNotFoundException";
        Err(PutRecordsError::service(Some(code), None, Some(400)).into())
    });
    let sink = builder().with_stream_info(missing).build_with(stack()).unwrap();
    let error = sink.check().await.unwrap_err().to_string();
    assert_has(&error, &["stream clicks does not exist: check its name"]);
    let sink = builder().with_stream_info(SdkStreamInfo::new(&client)).build_with(stack()).unwrap();
    let error = sink.check().await.unwrap_err().to_string();
    assert_has(&error, &["the endpoint refused the connection"]);
    let foreign = KinesisSink::builder("arn:aws:kinesis:us-east-1:123456789012:stream/clicks");
    let foreign = foreign.with_stream_info(SdkStreamInfo::new(&client));
    let error = foreign.build_with(stack()).unwrap().check().await.unwrap_err().to_string();
    assert_has(&error, &["the client's region is eu-west-1, not that of arn:aws"]);
    let panics = describe_stream_fn(|_| async { panic!("on purpose") });
    let sink = builder().with_stream_info(panics).build_with(stack()).unwrap();
    assert_has(
        &sink.check().await.unwrap_err().to_string(),
        &["the check of stream clicks panicked"],
    );
}
