use std::future::pending;
use std::io;

use super::*;
use crate::service::PutRecordsErrorKind;
use crate::stream::{StreamDescription, describe_stream_fn};

fn stream() -> StreamId {
    "clicks".parse().unwrap()
}

fn check_of(error: fn() -> BoxError) -> StreamCheck {
    let source = describe_stream_fn(move |_| async move { Err(error()) });
    StreamCheck::with_stream_info(Some(Arc::new(source)), stream())
}

fn dispatch(error: impl Into<BoxError>) -> BoxError {
    PutRecordsError::new(PutRecordsErrorKind::Dispatch, Some(error.into())).into()
}

async fn failure(error: fn() -> BoxError) -> (CheckFailureKind, String) {
    let failure = check_of(error).run().await.unwrap_err();
    (failure.kind(), failure.to_string())
}

#[tokio::test(start_paused = true)]
async fn check_fails_after_timeout() {
    let silent = describe_stream_fn(|_| pending::<Result<StreamDescription, BoxError>>());
    let mut check = StreamCheck::with_stream_info(Some(Arc::new(silent)), stream());
    check.timeout = Duration::from_millis(20);
    let failure = check.run().await.unwrap_err();
    assert_eq!(failure.kind(), CheckFailureKind::Timeout);
    let message = failure.to_string();
    assert!(message.starts_with("no response from the endpoint (timeout of 20ms): "), "{message}");
}

#[tokio::test]
async fn check_passes_without_source() {
    StreamCheck::with_stream_info(None, stream()).run().await.unwrap();
    let lists = crate::stream::list_shards_fn(|_| async { Ok(Vec::new()) });
    let check = StreamCheck::with_stream_info(Some(Arc::new(lists)), stream());
    check.run().await.unwrap();
}

#[tokio::test]
async fn check_distinguishes_connection_errors() {
    use CheckFailureKind::*;
    let errors: [(fn() -> BoxError, _); 11] = [
        (|| dispatch(io::Error::from(io::ErrorKind::ConnectionRefused)), ConnectionRefused),
        // The `source` of an `io::Error` skips its inner `io::Error`.
        (
            || dispatch(io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused))),
            ConnectionRefused,
        ),
        (|| io::Error::from(io::ErrorKind::ConnectionRefused).into(), ConnectionRefused),
        (|| dispatch("failed to lookup address information: Name unknown"), Dns),
        (|| dispatch("invalid peer certificate: UnknownIssuer"), Certificate),
        (|| dispatch("tunnel error: proxy authorization required"), ProxyRejected),
        (|| dispatch("tunnel error: failed to create underlying connection"), ProxyUnreachable),
        (|| dispatch("tunnel error: unsuccessful"), ProxyRejected),
        (|| dispatch("received fatal alert: HandshakeFailure"), Tls),
        (|| dispatch(io::Error::from(io::ErrorKind::ConnectionReset)), Connection),
        (|| "made up".into(), Other),
    ];
    for (error, expected) in errors {
        let (kind, message) = failure(error).await;
        assert_eq!(kind, expected, "{message}");
    }
}

#[tokio::test]
async fn detail_is_truncated_to_one_line() {
    let (_, message) = failure(|| dispatch(format!("a\nb{}", "é".repeat(5_000)))).await;
    assert!(message.contains("(a béé") && message.contains("é…)"), "{message}");
    assert!(message.chars().count() < 450, "{message}");
}

#[tokio::test]
async fn certificate_failure_names_fix() {
    let failure_of = async |error, environment| {
        let mut check = check_of(error);
        check.environment = environment;
        check.run().await.unwrap_err().to_string()
    };
    let unset: Environment = |_| None;
    let bundle: Environment = |name| (name == "AWS_CA_BUNDLE").then(|| "/ca.pem".into());
    let untrusted = || dispatch("invalid peer certificate: UnknownIssuer");
    let message = failure_of(untrusted, unset).await;
    assert!(message.contains("set SSL_CERT_FILE to a PEM file"), "{message}");
    assert!(!message.contains("AWS_CA_BUNDLE"), "{message}");
    let message = failure_of(untrusted, bundle).await;
    assert!(message.contains("AWS_CA_BUNDLE, which the AWS SDK for Rust does not"), "{message}");
    let expired = || dispatch("invalid peer certificate: certificate expired: verification time 1");
    assert!(failure_of(expired, unset).await.contains("is not valid now"));
    let other = || dispatch("invalid peer certificate: certificate not valid for name \"a\"");
    assert!(failure_of(other, unset).await.contains("is for another host"));
}

#[tokio::test]
async fn failure_names_proxy_in_environment() {
    let mut check = check_of(|| dispatch(io::Error::from(io::ErrorKind::ConnectionRefused)));
    check.environment = |name| (name == "HTTP_PROXY").then(|| "http://u:MARKER@proxy".into());
    let message = check.run().await.unwrap_err().to_string();
    assert!(message.ends_with("and the proxy in HTTP_PROXY"), "{message}");
}

#[test]
fn check_future_is_send() {
    fn assert_send<T: Send>(_: T) {}
    assert_send(StreamCheck::with_stream_info(None, stream()).run());
}
