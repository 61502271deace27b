use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::types::StreamStatus;

use super::CheckFailureKind;
use crate::build_error::BuildError;
use crate::service::classify::chain;
use crate::service::classify::codes::{class_of_code, rejects_credentials};
use crate::service::identity::IdentityError;
use crate::service::{ErrorClass, NO_STREAM, PutRecordsError, PutRecordsErrorKind, redact};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// The check found no problem. Contains the reason if the stream could not be described.
    Passes(Option<Pass>),
    Fails(CheckFailureKind, Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Denied,
    Overloaded,
    Unsupported,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => {
                "kinesis:DescribeStreamSummary is denied; sending needs only kinesis:PutRecords"
            }
            Self::Overloaded => "the service is overloaded or failing; requests are retried",
            Self::Unsupported => "the server does not support DescribeStreamSummary",
        })
    }
}

fn fails(kind: CheckFailureKind, detail: impl Into<Option<String>>) -> Diagnosis {
    Diagnosis::Fails(kind, detail.into().map(|text| redact::detail(redact_user(&text))))
}

/// Removes the user name and password from each URL in `text`, because the SDK quotes an invalid URL in its error.
fn redact_user(text: &str) -> String {
    let redacted = text.split(' ').map(|word| match word.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => word.to_owned(),
    });
    redacted.collect::<Vec<_>>().join(" ")
}

/// Diagnoses the status of a stream. A stream that is UPDATING passes because it accepts records, and an unknown status
/// passes as well.
pub(super) fn diagnose_status(status: Option<&StreamStatus>) -> Diagnosis {
    match status {
        Some(StreamStatus::Creating) => fails(CheckFailureKind::Creating, None),
        Some(StreamStatus::Deleting) => fails(CheckFailureKind::Deleting, None),
        _ => Diagnosis::Passes(None),
    }
}

pub(super) fn diagnose_timeout(is_sent: bool, after: Duration) -> Diagnosis {
    let (kind, detail) = if is_sent {
        (CheckFailureKind::Timeout, format!("timeout of {after:?}"))
    } else {
        (CheckFailureKind::CredentialsNotLoaded, format!("not loaded after {after:?}"))
    };
    fails(kind, detail)
}

/// Returns `true` if the request failed because its credentials were still being loaded.
pub(super) fn is_loading_credentials(error: &PutRecordsError) -> bool {
    let identity = chain(error).find_map(|error| error.downcast_ref::<IdentityError>());
    identity.is_some_and(IdentityError::is_loading)
}

/// Returns `true` if the service might accept a second request, which uses new credentials and the time from the first
/// response.
pub(super) fn can_retry(error: &PutRecordsError) -> bool {
    error.code().and_then(class_of_code) == Some(ErrorClass::Credentials)
}

pub(super) fn diagnose(error: &(dyn Error + 'static)) -> Diagnosis {
    let mismatch = chain(error)
        .filter_map(|error| error.downcast_ref())
        .find(|error| matches!(error, BuildError::Region { .. }));
    if let Some(mismatch) = mismatch {
        return fails(CheckFailureKind::Region, mismatch.to_string());
    }
    let request = chain(error).find_map(|error| error.downcast_ref::<PutRecordsError>());
    let Some(request) = request else {
        return diagnose_connection(error)
            .unwrap_or_else(|| fails(CheckFailureKind::Other, cause(error)));
    };
    match request.kind() {
        PutRecordsErrorKind::Service => match request.code() {
            Some(code) => diagnose_code(code, request),
            None => diagnose_http_status(request.status()),
        },
        PutRecordsErrorKind::Response => diagnose_http_status(request.status()),
        PutRecordsErrorKind::Construction => diagnose_construction(request),
        PutRecordsErrorKind::Dispatch => diagnose_connection(request)
            .unwrap_or_else(|| fails(CheckFailureKind::Connection, cause(request))),
        PutRecordsErrorKind::Timeout => diagnose_connection(request).unwrap_or_else(|| {
            fails(CheckFailureKind::Timeout, "timeout of the client".to_owned())
        }),
        PutRecordsErrorKind::WrongLength { .. } | PutRecordsErrorKind::Region => {
            fails(CheckFailureKind::Other, cause(request))
        }
    }
}

fn diagnose_code(code: &str, error: &PutRecordsError) -> Diagnosis {
    let message = error.message().unwrap_or_default();
    let detail = || code.to_owned();
    match code {
        NO_STREAM => return fails(CheckFailureKind::NoStream, None),
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" => {
            return Diagnosis::Passes(Some(Pass::Denied));
        }
        "UnknownOperationException" | "UnknownOperation" => {
            return Diagnosis::Passes(Some(Pass::Unsupported));
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            return fails(CheckFailureKind::CredentialsExpired, detail());
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            return fails(CheckFailureKind::UnknownAccessKey, detail());
        }
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => {
            return fails(CheckFailureKind::NoCredentials, detail());
        }
        "OptInRequired" | "SubscriptionRequiredException" => {
            return fails(CheckFailureKind::NotEnabled, detail());
        }
        _ if code.starts_with("KMS") && class_of_code(code) == Some(ErrorClass::Fatal) => {
            return fails(CheckFailureKind::KmsKey, detail());
        }
        _ => {}
    }
    match class_of_code(code) {
        Some(ErrorClass::Throttled | ErrorClass::OutcomeUnknown) => {
            Diagnosis::Passes(Some(Pass::Overloaded))
        }
        Some(ErrorClass::Invalid) => Diagnosis::Passes(Some(Pass::Unsupported)),
        // AWS Signature Version 4 reports a wrong clock with these two messages.
        Some(ErrorClass::Credentials)
            if !rejects_credentials(code)
                || message.contains("Signature expired")
                || message.contains("Signature not yet current") =>
        {
            fails(CheckFailureKind::Clock, detail())
        }
        Some(ErrorClass::Credentials) => fails(CheckFailureKind::Signature, detail()),
        None if is_outage(error.status()) => Diagnosis::Passes(Some(Pass::Overloaded)),
        _ => fails(CheckFailureKind::Other, error.to_string()),
    }
}

/// Diagnoses a response without an error code. Kinesis always includes a code, so another server sent the response.
fn diagnose_http_status(status: Option<u16>) -> Diagnosis {
    match status {
        status if is_outage(status) => Diagnosis::Passes(Some(Pass::Overloaded)),
        Some(407) => fails(CheckFailureKind::ProxyRejected, "HTTP 407".to_owned()),
        Some(403) => fails(CheckFailureKind::Blocked, "HTTP 403".to_owned()),
        Some(status) => fails(CheckFailureKind::NotKinesis, format!("HTTP {status}")),
        None => fails(CheckFailureKind::NotKinesis, None),
    }
}

fn is_outage(status: Option<u16>) -> bool {
    matches!(status, Some(408 | 429 | 500..=599))
}

fn diagnose_construction(error: &PutRecordsError) -> Diagnosis {
    let identity = chain(error).find_map(|error| error.downcast_ref::<IdentityError>());
    let credentials = chain(error).find_map(|error| error.downcast_ref::<CredentialsError>());
    let is_new = !identity.is_some_and(IdentityError::has_loaded);
    match credentials {
        Some(CredentialsError::CredentialsNotLoaded(_)) if is_new => {
            fails(CheckFailureKind::NoCredentials, None)
        }
        Some(_) => fails(CheckFailureKind::CredentialsNotLoaded, cause(error)),
        None if identity.is_some() => fails(CheckFailureKind::CredentialsNotLoaded, cause(error)),
        None if has_text(error, "identity resolver") => {
            fails(CheckFailureKind::NoCredentials, None)
        }
        None => fails(CheckFailureKind::Configuration, cause(error)),
    }
}

/// Diagnoses a connection error by its message, because its type is private or belongs to a crate that is not a
/// dependency.
fn diagnose_connection(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    if has_text(error, "proxy authorization required") {
        return Some(fails(CheckFailureKind::ProxyRejected, "HTTP 407".to_owned()));
    }
    if let Some(invalid) = text_with(error, "invalid peer certificate") {
        return Some(fails(CheckFailureKind::Certificate, invalid));
    }
    if has_text(error, "failed to create underlying connection") {
        return Some(fails(CheckFailureKind::ProxyUnreachable, cause(error)));
    }
    if has_text(error, "tunnel error") {
        return Some(fails(CheckFailureKind::ProxyRejected, cause(error)));
    }
    if has_text(error, "dns error") || has_text(error, "failed to lookup address") {
        return Some(fails(CheckFailureKind::Dns, None));
    }
    if io_errors(error).any(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
        return Some(fails(CheckFailureKind::ConnectionRefused, None));
    }
    if let Some(elapsed) = text_with(error, "connect timeout") {
        return Some(fails(CheckFailureKind::ConnectTimeout, elapsed));
    }
    // rustls returns these errors if the server does not use TLS, uses another TLS version, or requires a client
    // certificate.
    const TLS: [&str; 5] =
        ["TLS handshake", "corrupt message", "fatal alert", "peer is incompatible", "misbehaved"];
    if TLS.iter().any(|text| has_text(error, text)) {
        return Some(fails(CheckFailureKind::Tls, cause(error)));
    }
    if has_text(error, "invalid HTTP version") || has_text(error, "invalid HTTP status") {
        return Some(fails(CheckFailureKind::NotHttp, None));
    }
    None
}

fn cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn has_text(error: &(dyn Error + 'static), text: &str) -> bool {
    text_with(error, text).is_some()
}

fn text_with(error: &(dyn Error + 'static), text: &str) -> Option<String> {
    causes(error).map(ToString::to_string).find(|message| message.contains(text))
}

fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    causes(error).filter_map(|error| error.downcast_ref())
}

/// Returns the errors of [`chain`] and the inner error of each `io::Error`, which `io::Error::source` skips.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    const MAX_DEPTH: usize = 32;
    let below = |&error: &&'a (dyn Error + 'static)| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    };
    std::iter::successors(Some(error), below).take(MAX_DEPTH)
}
