use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::types::StreamStatus;

use super::CheckFailureKind;
use crate::build_error::BuildError;
use crate::service::classify::chain;
use crate::service::classify::codes::{class_of_code, refuses_credentials};
use crate::service::identity::IdentityError;
use crate::service::{ErrorClass, NO_STREAM, PutRecordsError, PutRecordsErrorKind, redact};

/// What the result of a check means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// Nothing is known to be wrong; the reason is given if the stream was not described.
    Passes(Option<Pass>),
    /// Something is wrong. The text is for the sentence: a code, or the cause.
    Fails(CheckFailureKind, Option<String>),
}

/// Why a stream that was not described passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Denied,
    Busy,
    Unsupported,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => {
                "kinesis:DescribeStreamSummary is denied; sending needs only kinesis:PutRecords"
            }
            Self::Busy => "the service is busy or failing; requests are retried",
            Self::Unsupported => "the server does not support DescribeStreamSummary for it",
        })
    }
}

fn fails(kind: CheckFailureKind, detail: impl Into<Option<String>>) -> Diagnosis {
    Diagnosis::Fails(kind, detail.into().map(|text| redact::detail(without_user(&text))))
}

/// Without the user and password of a URL, which the SDK quotes if it is invalid.
fn without_user(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Diagnoses the status of a stream that was described. UPDATING streams take records; an unknown status is not
/// known to be wrong.
pub(super) fn of_status(status: Option<&StreamStatus>) -> Diagnosis {
    match status {
        Some(StreamStatus::Creating) => fails(CheckFailureKind::Creating, None),
        Some(StreamStatus::Deleting) => fails(CheckFailureKind::Deleting, None),
        _ => Diagnosis::Passes(None),
    }
}

/// Diagnoses a check that was not done in time.
pub(super) fn of_elapsed(is_sent: bool, after: Duration) -> Diagnosis {
    let (kind, detail) = if is_sent {
        (CheckFailureKind::Timeout, format!("waited {after:?}"))
    } else {
        (CheckFailureKind::CredentialsNotLoaded, format!("not loaded after {after:?}"))
    };
    fails(kind, detail)
}

/// Whether the request was given up because its credentials are still being loaded.
pub(super) fn is_loading_credentials(error: &PutRecordsError) -> bool {
    let identity = chain(error).find_map(|error| error.downcast_ref::<IdentityError>());
    identity.is_some_and(IdentityError::is_loading)
}

/// Whether the service refused credentials or clock. The next request has other credentials if the provider has
/// some, and the time that the SDK has learned from the response.
pub(super) fn may_succeed_again(error: &PutRecordsError) -> bool {
    error.code().and_then(class_of_code) == Some(ErrorClass::Credentials)
}

/// Diagnoses an error of the call, or of a user's source.
pub(super) fn diagnose(error: &(dyn Error + 'static)) -> Diagnosis {
    let mismatch = chain(error)
        .filter_map(|error| error.downcast_ref())
        .find(|error| matches!(error, BuildError::Region { .. }));
    if let Some(mismatch) = mismatch {
        return fails(CheckFailureKind::Region, mismatch.to_string());
    }
    let request = chain(error).find_map(|error| error.downcast_ref::<PutRecordsError>());
    let Some(request) = request else {
        return of_connection(error)
            .unwrap_or_else(|| fails(CheckFailureKind::Other, cause(error)));
    };
    match request.kind() {
        PutRecordsErrorKind::Service => match request.code() {
            Some(code) => of_code(code, request),
            None => of_status_code(request.status()),
        },
        PutRecordsErrorKind::Response => of_status_code(request.status()),
        PutRecordsErrorKind::Construction => of_construction(request),
        PutRecordsErrorKind::Dispatch => of_connection(request)
            .unwrap_or_else(|| fails(CheckFailureKind::Unreachable, cause(request))),
        PutRecordsErrorKind::Timeout => of_connection(request).unwrap_or_else(|| {
            fails(CheckFailureKind::Timeout, "a time limit of the client".to_owned())
        }),
        PutRecordsErrorKind::WrongLength { .. } | PutRecordsErrorKind::Region => {
            fails(CheckFailureKind::Other, cause(request))
        }
    }
}

fn of_code(code: &str, error: &PutRecordsError) -> Diagnosis {
    let message = error.message().unwrap_or_default();
    let named = || code.to_owned();
    match code {
        NO_STREAM => return fails(CheckFailureKind::NoStream, None),
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" => {
            return Diagnosis::Passes(Some(Pass::Denied));
        }
        "UnknownOperationException" | "UnknownOperation" => {
            return Diagnosis::Passes(Some(Pass::Unsupported));
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            return fails(CheckFailureKind::CredentialsExpired, named());
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            return fails(CheckFailureKind::UnknownAccessKey, named());
        }
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => {
            return fails(CheckFailureKind::NoCredentials, named());
        }
        "OptInRequired" | "SubscriptionRequiredException" => {
            return fails(CheckFailureKind::NotEnabled, named());
        }
        _ if code.starts_with("KMS") && class_of_code(code) == Some(ErrorClass::Fatal) => {
            return fails(CheckFailureKind::Key, named());
        }
        _ => {}
    }
    match class_of_code(code) {
        Some(ErrorClass::Throttled | ErrorClass::OutcomeUnknown) => {
            Diagnosis::Passes(Some(Pass::Busy))
        }
        Some(ErrorClass::Invalid) => Diagnosis::Passes(Some(Pass::Unsupported)),
        // Source: "Signature expired" and "Signature not yet current" of AWS's Signature Version 4.
        Some(ErrorClass::Credentials)
            if !refuses_credentials(code)
                || message.contains("Signature expired")
                || message.contains("Signature not yet current") =>
        {
            fails(CheckFailureKind::Clock, named())
        }
        Some(ErrorClass::Credentials) => fails(CheckFailureKind::Signature, named()),
        None if is_outage(error.status()) => Diagnosis::Passes(Some(Pass::Busy)),
        _ => fails(CheckFailureKind::Other, error.to_string()),
    }
}

/// Diagnoses an answer without a code, which Kinesis always gives.
fn of_status_code(status: Option<u16>) -> Diagnosis {
    match status {
        status if is_outage(status) => Diagnosis::Passes(Some(Pass::Busy)),
        Some(407) => fails(CheckFailureKind::Proxy, "HTTP 407".to_owned()),
        Some(403) => fails(CheckFailureKind::Blocked, "HTTP 403".to_owned()),
        Some(status) => fails(CheckFailureKind::NotKinesis, format!("HTTP {status}")),
        None => fails(CheckFailureKind::NotKinesis, None),
    }
}

fn is_outage(status: Option<u16>) -> bool {
    matches!(status, Some(408 | 429 | 500..=599))
}

/// Diagnoses an error from before the request was sent.
fn of_construction(error: &PutRecordsError) -> Diagnosis {
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

/// Diagnoses an error of the connection, from its kinds and its texts: the types are private, or of crates that
/// this one does not depend on.
fn of_connection(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    // First, since everything else happens within the tunnel.
    if has_text(error, "proxy authorization required") {
        return Some(fails(CheckFailureKind::Proxy, "HTTP 407".to_owned()));
    }
    if let Some(invalid) = text_with(error, "invalid peer certificate") {
        return Some(fails(CheckFailureKind::Certificate, invalid));
    }
    if has_text(error, "failed to create underlying connection") {
        return Some(fails(CheckFailureKind::NoProxy, cause(error)));
    }
    if has_text(error, "tunnel error") {
        return Some(fails(CheckFailureKind::Proxy, cause(error)));
    }
    if has_text(error, "dns error") || has_text(error, "failed to lookup address") {
        return Some(fails(CheckFailureKind::Dns, None));
    }
    if io_errors(error).any(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
        return Some(fails(CheckFailureKind::Refused, None));
    }
    if let Some(elapsed) = text_with(error, "connect timeout") {
        return Some(fails(CheckFailureKind::NoConnection, elapsed));
    }
    // What rustls says if the other side speaks no TLS, another version, or wants a client certificate.
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

/// The text of the innermost error.
fn cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn has_text(error: &(dyn Error + 'static), text: &str) -> bool {
    text_with(error, text).is_some()
}

fn text_with(error: &(dyn Error + 'static), text: &str) -> Option<String> {
    causes(error).map(ToString::to_string).find(|said| said.contains(text))
}

fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    causes(error).filter_map(|error| error.downcast_ref())
}

/// As [`chain`], with what is inside of an `io::Error`, which its `source` passes over.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    const DEEPEST: usize = 32;
    let below = |&error: &&'a (dyn Error + 'static)| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    };
    std::iter::successors(Some(error), below).take(DEEPEST)
}
