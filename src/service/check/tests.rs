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
async fn check_ends_at_its_timeout() {
    let silent = describe_stream_fn(|_| pending::<Result<StreamDescription, BoxError>>());
    let mut check = StreamCheck::with_stream_info(Some(Arc::new(silent)), stream());
    check.timeout = Duration::from_millis(20);
    let failure = check.run().await.unwrap_err();
    assert_eq!(failure.kind(), CheckFailureKind::Timeout);
    let sentence = failure.to_string();
    assert!(sentence.starts_with("no answer from the endpoint (waited 20ms): "), "{sentence}");
}

#[tokio::test]
async fn check_without_a_source_passes() {
    StreamCheck::with_stream_info(None, stream()).run().await.unwrap();
    let lists = crate::stream::list_shards_fn(|_| async { Ok(Vec::new()) });
    let check = StreamCheck::with_stream_info(Some(Arc::new(lists)), stream());
    check.run().await.unwrap();
}

#[tokio::test]
async fn connection_errors_are_told_apart() {
    use CheckFailureKind::*;
    let errors: [(fn() -> BoxError, _); 11] = [
        (|| dispatch(io::Error::from(io::ErrorKind::ConnectionRefused)), Refused),
        // An `io::Error` around another is passed over by its `source`.
        (|| dispatch(io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused))), Refused),
        (|| io::Error::from(io::ErrorKind::ConnectionRefused).into(), Refused),
        (|| dispatch("failed to lookup address information: Name unknown"), Dns),
        (|| dispatch("invalid peer certificate: UnknownIssuer"), Certificate),
        (|| dispatch("tunnel error: proxy authorization required"), Proxy),
        (|| dispatch("tunnel error: failed to create underlying connection"), NoProxy),
        (|| dispatch("tunnel error: unsuccessful"), Proxy),
        (|| dispatch("received fatal alert: HandshakeFailure"), Tls),
        (|| dispatch(io::Error::from(io::ErrorKind::ConnectionReset)), Unreachable),
        (|| "made up".into(), Other),
    ];
    for (error, expected) in errors {
        let (kind, sentence) = failure(error).await;
        assert_eq!(kind, expected, "{sentence}");
    }
}

#[tokio::test]
async fn detail_is_short_and_in_one_line() {
    let (_, sentence) = failure(|| dispatch(format!("a\nb{}", "é".repeat(5_000)))).await;
    assert!(sentence.contains("(a béé") && sentence.contains("é…)"), "{sentence}");
    assert!(sentence.chars().count() < 450, "{sentence}");
}

#[tokio::test]
async fn certificate_sentence_names_the_fix() {
    let said = async |error, environment| {
        let mut check = check_of(error);
        check.environment = environment;
        check.run().await.unwrap_err().to_string()
    };
    let unset: Environment = |_| None;
    let bundle: Environment = |name| (name == "AWS_CA_BUNDLE").then(|| "/ca.pem".into());
    let untrusted = || dispatch("invalid peer certificate: UnknownIssuer");
    let sentence = said(untrusted, unset).await;
    assert!(sentence.contains("set SSL_CERT_FILE to a PEM file"), "{sentence}");
    assert!(!sentence.contains("AWS_CA_BUNDLE"), "{sentence}");
    let sentence = said(untrusted, bundle).await;
    assert!(sentence.contains("AWS_CA_BUNDLE, which the AWS SDK for Rust does not"), "{sentence}");
    let expired = || dispatch("invalid peer certificate: certificate expired: verification time 1");
    assert!(said(expired, unset).await.contains("is not valid now"));
    let other = || dispatch("invalid peer certificate: certificate not valid for name \"a\"");
    assert!(said(other, unset).await.contains("is for another host"));
}

#[tokio::test]
async fn proxy_of_the_environment_is_named() {
    let mut check = check_of(|| dispatch(io::Error::from(io::ErrorKind::ConnectionRefused)));
    check.environment = |name| (name == "HTTP_PROXY").then(|| "http://u:MARKER@proxy".into());
    let sentence = check.run().await.unwrap_err().to_string();
    assert!(sentence.ends_with("and the proxy in HTTP_PROXY"), "{sentence}");
}

#[test]
fn check_future_is_send() {
    fn assert_send<T: Send>(_: T) {}
    assert_send(StreamCheck::with_stream_info(None, stream()).run());
}
