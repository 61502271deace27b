pub(super) mod codes;

use std::error::Error;
use std::fmt::{self, Write};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::interceptors::InterceptorError;
use tower::{buffer, load_shed, timeout as tower_timeout};

use self::codes::{
    CONSTRUCTION, DISPATCH, INCOMPLETE_RESULT, OVERLOADED, REGION, RESPONSE, TIMEOUT, UNKNOWN,
    WRONG_LENGTH, class_of_code,
};
use super::identity::IdentityError;
use super::{EntryError, PutRecordsError, PutRecordsErrorKind, redact};
use crate::record::AttemptError;
use crate::timeout::TimeoutError;

/// Class of a request-level error. The class determines how the sink handles the records of the request.
///
/// | class | errors | handling by the sink |
/// |---|---|---|
/// | `Throttled` | `ProvisionedThroughputExceededException`, `LimitExceededException`, `KMSThrottlingException`, other throttling codes, HTTP 429 | requeues and backs off |
/// | `OutcomeUnknown` | timeouts, broken connections, HTTP 5xx, responses that cannot be parsed or have a wrong number of results, a stream that is not active yet (`ResourceInUseException`, in lookups), unknown errors | requeues and backs off; the records may have been written, so a retry can duplicate them |
/// | `NotSent` | tower's `Overloaded` | requeues and backs off, without counting an attempt |
/// | `Credentials` | expired or rejected credentials, providers that fail or time out, clock skew | requeues and backs off for up to [five minutes](crate::Settings::credentials_timeout), so that the credentials can be refreshed; then handles the error as `Fatal` |
/// | `Blocked` | HTTP 4xx without an error code, sent by a proxy or firewall between the client and the service | handles the error as `OutcomeUnknown`; if no request has succeeded for the [credentials timeout](crate::Settings::credentials_timeout), handles it as `Fatal`, except for isolated records on a stream that has accepted others |
/// | `Fatal` | access denied, no such stream, KMS key unusable, no credentials provider, no region, unusable endpoint, the response to a dry run, HTTP 4xx with an unknown error code | returns the error, keeps the records, and retries after a backoff when the sink is polled |
/// | `Invalid` | `ValidationException`, `InvalidArgumentException`, `SerializationException`, HTTP 413 | bisects the request to find the rejected record; that record fails |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The stream is over its capacity. Nothing was written.
    Throttled,
    /// The error is transient. The records may have been written, so a retry can duplicate them.
    OutcomeUnknown,
    /// The request was not sent, because a layer shed it.
    NotSent,
    /// The credentials were rejected. Nothing was written.
    Credentials,
    /// A proxy or firewall between the client and the service rejected the request. It may reject only requests with a
    /// certain record, or all requests.
    Blocked,
    /// All retries will fail until the stream, the credentials or the configuration change. Nothing was written.
    Fatal,
    /// The service rejects the content of the request. Nothing was written.
    Invalid,
}

/// Class of the error of one entry in a response. The class determines how the sink handles the entry.
///
/// | class | codes | handling by the sink |
/// |---|---|---|
/// | `Throttled` | `ProvisionedThroughputExceededException`, other throttling codes | requeues and backs off; replaces a random partition key with a new one |
/// | `Transient` | `InternalFailure`, unknown codes | requeues and backs off |
/// | `OutcomeUnknown` | a result with neither an error code nor a sequence number | requeues and backs off; the record may have been written, so a retry can duplicate it |
/// | `Rejected` | `ValidationException`, `InvalidArgumentException`, `SerializationException` | fails the record permanently |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryClass {
    /// The shard of the record is over its capacity.
    Throttled,
    /// The error is transient.
    Transient,
    /// The error is transient. The record may have been written, so a retry can duplicate it.
    OutcomeUnknown,
    /// The service rejects the record. A retry would be rejected as well.
    Rejected,
}

/// Trait for classifying errors.
///
/// The provided methods implement the tables of [`ErrorClass`] and [`EntryClass`]. Override a method to classify the
/// errors of a custom layer, and call [`DefaultClassify`] for all other errors. If a method panics, the sink uses
/// [`ErrorClass::OutcomeUnknown`] or [`EntryClass::Transient`].
///
/// ```
/// use std::error::Error;
/// use kinesis_sink::service::{Classify, DefaultClassify, ErrorClass};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("paused by the operator")]
/// struct Paused;
///
/// struct PausedIsNotSent;
///
/// impl Classify for PausedIsNotSent {
///     fn classify_error(&self, error: &(dyn Error + 'static)) -> ErrorClass {
///         if error.is::<Paused>() {
///             return ErrorClass::NotSent;
///         }
///         DefaultClassify.classify_error(error)
///     }
/// }
/// # assert_eq!(PausedIsNotSent.classify_error(&Paused), ErrorClass::NotSent);
/// ```
pub trait Classify: Send + Sync {
    /// Classifies the error of a whole request.
    ///
    /// The provided method classifies the first known error among `error` and its [sources](Error::source).
    fn classify_error(&self, error: &(dyn Error + 'static)) -> ErrorClass {
        chain(error).find_map(class_of).unwrap_or(ErrorClass::OutcomeUnknown)
    }

    /// Classifies the error of one entry.
    fn classify_entry(&self, error: &EntryError) -> EntryClass {
        match class_of_code(error.code()) {
            _ if error.code() == INCOMPLETE_RESULT => EntryClass::OutcomeUnknown,
            Some(ErrorClass::Throttled) => EntryClass::Throttled,
            Some(ErrorClass::Invalid) => EntryClass::Rejected,
            _ => EntryClass::Transient,
        }
    }
}

impl fmt::Debug for dyn Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Classify")
    }
}

/// Default [`Classify`] implementation, which follows the tables of [`ErrorClass`] and [`EntryClass`].
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultClassify;

impl Classify for DefaultClassify {}

fn class_of_status(status: Option<u16>) -> ErrorClass {
    match status {
        Some(408) => ErrorClass::OutcomeUnknown,
        Some(413) => ErrorClass::Invalid,
        Some(429) => ErrorClass::Throttled,
        Some(400..=499) => ErrorClass::Fatal,
        _ => ErrorClass::OutcomeUnknown,
    }
}

/// Classifies a response without an error code. The service always includes a code, so another server responded.
fn class_without_code(status: Option<u16>) -> ErrorClass {
    match class_of_status(status) {
        ErrorClass::Fatal => ErrorClass::Blocked,
        class => class,
    }
}

/// Returns the error and its sources. The number of sources is limited, because sources can form a cycle.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    const MAX_DEPTH: usize = 32;
    std::iter::successors(Some(error), |&error| error.source()).take(MAX_DEPTH)
}

fn class_of(error: &(dyn Error + 'static)) -> Option<ErrorClass> {
    if let Some(error) = error.downcast_ref::<PutRecordsError>() {
        return Some(class_of_request(error));
    }
    if let Some(TimeoutError::Elapsed { .. }) = error.downcast_ref() {
        return Some(ErrorClass::OutcomeUnknown);
    }
    if error.is::<tower_timeout::error::Elapsed>() {
        return Some(ErrorClass::OutcomeUnknown);
    }
    if error.is::<load_shed::error::Overloaded>() {
        return Some(ErrorClass::NotSent);
    }
    // A buffer whose worker has ended cannot recover.
    if error.is::<buffer::error::ServiceError>() || error.is::<buffer::error::Closed>() {
        return Some(ErrorClass::Fatal);
    }
    None
}

fn class_of_request(error: &PutRecordsError) -> ErrorClass {
    match error.kind() {
        PutRecordsErrorKind::Service => match error.code() {
            Some(code) => class_of_code(code).unwrap_or_else(|| class_of_status(error.status())),
            None => class_without_code(error.status()),
        },
        PutRecordsErrorKind::Construction => class_of_construction(error),
        PutRecordsErrorKind::Region => ErrorClass::Fatal,
        PutRecordsErrorKind::Response => class_without_code(error.status()),
        PutRecordsErrorKind::Dispatch
        | PutRecordsErrorKind::Timeout
        | PutRecordsErrorKind::WrongLength { .. } => ErrorClass::OutcomeUnknown,
    }
}

/// Classifies an error that occurred before the request was sent. Failures of the credentials provider and of user
/// interceptors can be transient. All other errors are configuration errors, such as a missing credentials provider,
/// region or HTTP client, or an unusable endpoint.
fn class_of_construction(error: &PutRecordsError) -> ErrorClass {
    let identity = chain(error).find_map(|error| error.downcast_ref::<IdentityError>());
    match chain(error).find_map(|error| error.downcast_ref()) {
        Some(CredentialsError::InvalidConfiguration(_)) => ErrorClass::Fatal,
        // No provider has credentials. If credentials have been loaded before, this error means that the metadata
        // service does not respond.
        Some(CredentialsError::CredentialsNotLoaded(_))
            if !identity.is_some_and(IdentityError::has_loaded) =>
        {
            ErrorClass::Fatal
        }
        Some(_) => ErrorClass::Credentials,
        None if identity.is_some() => ErrorClass::Credentials,
        None if chain(error).any(|error| error.is::<InterceptorError>()) => ErrorClass::Credentials,
        None => ErrorClass::Fatal,
    }
}

/// Converts a request-level error into an [`AttemptError`] whose message includes the whole source chain.
pub(crate) fn attempt_error(error: &(dyn Error + 'static)) -> AttemptError {
    let mut message = String::new();
    for (depth, error) in chain(error).enumerate() {
        let text = match error.downcast_ref::<PutRecordsError>() {
            Some(error) => error.attempt_message(),
            None => error.to_string(),
        };
        // Wrappers often repeat the message of their source.
        if !message.contains(&text) {
            let separator = if depth == 0 { "" } else { ": " };
            write!(message, "{separator}{text}").expect("writing to a string cannot fail");
        }
    }
    let code = chain(error).find_map(code_of).unwrap_or(UNKNOWN).to_owned();
    AttemptError { code, message: redact::error_chain(message) }
}

fn code_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a str> {
    if let Some(TimeoutError::Elapsed { .. }) = error.downcast_ref() {
        return Some(TIMEOUT);
    }
    if error.is::<tower_timeout::error::Elapsed>() {
        return Some(TIMEOUT);
    }
    if error.is::<load_shed::error::Overloaded>() {
        return Some(OVERLOADED);
    }
    let error = error.downcast_ref::<PutRecordsError>()?;
    error.code().or(match error.kind() {
        PutRecordsErrorKind::Service => None,
        PutRecordsErrorKind::Timeout => Some(TIMEOUT),
        PutRecordsErrorKind::Dispatch => Some(DISPATCH),
        PutRecordsErrorKind::Construction => Some(CONSTRUCTION),
        PutRecordsErrorKind::Response => Some(RESPONSE),
        PutRecordsErrorKind::WrongLength { .. } => Some(WRONG_LENGTH),
        PutRecordsErrorKind::Region => Some(REGION),
    })
}

pub(crate) fn request_id<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a str> {
    chain(error).find_map(|error| error.downcast_ref::<PutRecordsError>()?.request_id())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::BoxError;

    use super::*;

    fn service(code: &str, status: u16) -> PutRecordsError {
        PutRecordsError::service(Some(code), None, Some(status))
    }

    fn class(error: impl Into<BoxError>) -> ErrorClass {
        DefaultClassify.classify_error(&*error.into())
    }

    #[test]
    fn classify_error_maps_codes_to_classes() {
        use ErrorClass::*;
        for (code, status, expected) in [
            ("ProvisionedThroughputExceededException", 400, Throttled),
            ("LimitExceededException", 400, Throttled),
            ("KMSThrottlingException", 400, Throttled),
            ("InternalFailure", 500, OutcomeUnknown),
            ("InternalFailureException", 500, OutcomeUnknown),
            ("RequestTimeout", 400, OutcomeUnknown),
            ("ExpiredTokenException", 400, Credentials),
            ("ExpiredToken", 400, Credentials),
            ("RequestExpired", 400, Credentials),
            ("RequestTimeTooSkewed", 400, Credentials),
            ("InvalidSignatureException", 400, Credentials),
            ("AccessDenied", 400, Fatal),
            ("AccessDeniedException", 400, Fatal),
            ("KMSAccessDeniedException", 400, Fatal),
            ("KMSDisabledException", 400, Fatal),
            ("KMSNotFoundException", 400, Fatal),
            ("KMSInvalidStateException", 400, Fatal),
            ("KMSOptInRequired", 400, Fatal),
            ("ResourceNotFoundException", 400, Fatal),
            ("DryRunOperationException", 400, Fatal),
            ("InvalidArgumentException", 400, Invalid),
            ("ValidationException", 400, Invalid),
            ("SerializationException", 400, Invalid),
            // Unknown codes are classified by the HTTP status.
            ("NewServerError", 503, OutcomeUnknown),
            ("NewClientError", 400, Fatal),
            ("NewTooLarge", 413, Invalid),
            ("NewThrottle", 429, Throttled),
        ] {
            assert_eq!(class(service(code, status)), expected, "{code}");
        }
        assert_eq!(class(PutRecordsError::service(None, None, None)), OutcomeUnknown);
        assert_eq!(service("", 403).code(), None, "an empty code counts as missing");
        assert_eq!(class(PutRecordsError::wrong_length(2, 1)), OutcomeUnknown);
        assert_eq!(class(std::io::Error::other("reset")), OutcomeUnknown);
    }

    #[test]
    fn only_missing_credentials_are_fatal() {
        let construction = |error: CredentialsError| {
            PutRecordsError::new(PutRecordsErrorKind::Construction, Some(error.into()))
        };
        let absent = CredentialsError::not_loaded("none found");
        assert_eq!(class(construction(absent)), ErrorClass::Fatal);
        let failing = CredentialsError::provider_error("STS responded with 503");
        assert_eq!(class(construction(failing)), ErrorClass::Credentials);
    }

    #[test]
    fn classify_error_recognizes_wrapped_errors() {
        let inner = service("AccessDeniedException", 400);
        assert_eq!(class(TimeoutError::Service(inner.into())), ErrorClass::Fatal);
        let elapsed = TimeoutError::Elapsed { after: Duration::from_secs(1) };
        assert_eq!(class(TimeoutError::Service(elapsed.into())), ErrorClass::OutcomeUnknown);
        assert_eq!(class(tower_timeout::error::Elapsed::new()), ErrorClass::OutcomeUnknown);
        assert_eq!(class(load_shed::error::Overloaded::new()), ErrorClass::NotSent);
        let nested = |error: BoxError| class(TimeoutError::Service(error));
        assert_eq!(nested(load_shed::error::Overloaded::new().into()), ErrorClass::NotSent);
        let elapsed = tower_timeout::error::Elapsed::new();
        assert_eq!(nested(elapsed.into()), ErrorClass::OutcomeUnknown);
    }

    #[test]
    fn classify_entry_maps_codes_to_classes() {
        for (code, expected) in [
            ("ProvisionedThroughputExceededException", EntryClass::Throttled),
            ("InternalFailure", EntryClass::Transient),
            ("InvalidArgumentException", EntryClass::Rejected),
            ("NeverSeen", EntryClass::Transient),
            ("", EntryClass::Transient),
            (INCOMPLETE_RESULT, EntryClass::OutcomeUnknown),
        ] {
            let error = EntryError::new(code, "");
            assert_eq!(DefaultClassify.classify_entry(&error), expected, "{code}");
        }
    }

    #[test]
    fn attempt_error_joins_messages_of_chain() {
        let elapsed = TimeoutError::Elapsed { after: Duration::from_secs(10) };
        assert_eq!(attempt_error(&elapsed).code(), "Timeout");
        let refused = std::io::Error::other("connection refused");
        let error = PutRecordsError::new(PutRecordsErrorKind::Dispatch, Some(refused.into()));
        let error = attempt_error(&TimeoutError::Service(error.into()));
        assert_eq!(error.code(), "Dispatch");
        assert!(error.message().ends_with("no response received: connection refused"), "{error}");
    }
}
