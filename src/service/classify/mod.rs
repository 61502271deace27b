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

/// What a failed request means for its records. None of them is ever lost.
///
/// | class | errors | the sink |
/// |---|---|---|
/// | `Throttled` | `ProvisionedThroughputExceededException`, `LimitExceededException`, `KMSThrottlingException`, other throttles, HTTP 429 | requeues and backs off |
/// | `OutcomeUnknown` | timeouts, broken connections, HTTP 5xx, unreadable answers, answers of the wrong length, a stream that is not active yet (`ResourceInUseException`, of lookups), unknown errors | the same, and notes that the records may be written |
/// | `NotSent` | tower's `Overloaded` | the same, without counting an attempt |
/// | `Credentials` | expired or rejected credentials, providers that fail or time out, clock skew | the same for [five minutes](crate::Settings::credentials_timeout), since credentials refresh; then as `Fatal` |
/// | `Blocked` | HTTP 4xx without an error code, as a proxy or firewall between the client and the service answers | as `OutcomeUnknown`; as `Fatal` once nothing has succeeded for the [credentials timeout](crate::Settings::credentials_timeout), records aside that failed alone on a stream that has taken others |
/// | `Fatal` | access denied, no such stream, KMS key unusable, no credentials provider, no region, unusable endpoint, the answer to a dry run, HTTP 4xx with an unknown error code | reports the error, keeps the records, tries again after a backoff when it is polled |
/// | `Invalid` | `ValidationException`, `InvalidArgumentException`, `SerializationException`, HTTP 413 | splits the request to find the record that is refused; that one fails |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The whole stream is over its capacity; nothing was written.
    Throttled,
    /// It may pass; whether the records were written is unknown, so that trying again can duplicate
    /// them.
    OutcomeUnknown,
    /// The request never left: a layer shed it.
    NotSent,
    /// The credentials were not accepted; nothing was written.
    Credentials,
    /// Something between the client and the service answered with an error. It may refuse one of the
    /// records, or everything.
    Blocked,
    /// Trying again does not help until something outside changes; nothing was written.
    Fatal,
    /// The service refuses the request for what it contains; nothing was written.
    Invalid,
}

/// What the failure of one entry in an answered request means.
///
/// | class | codes | the sink |
/// |---|---|---|
/// | `Throttled` | `ProvisionedThroughputExceededException`, other throttles | requeues, backs off, draws a new random key |
/// | `Transient` | `InternalFailure`, unknown codes | requeues, backs off |
/// | `OutcomeUnknown` | a result with neither code nor sequence number | the same, and notes that the record may be written |
/// | `Rejected` | `ValidationException`, `InvalidArgumentException`, `SerializationException` | the record fails for good |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryClass {
    /// The record's shard is over its capacity.
    Throttled,
    /// It will pass.
    Transient,
    /// It may pass; whether the record was written is unknown.
    OutcomeUnknown,
    /// The service refuses this record, and would again.
    Rejected,
}

/// Decides what errors mean. Should one of the methods panic, the outcome counts as unknown and the
/// records are sent again. The methods' defaults are the tables of [`ErrorClass`] and [`EntryClass`];
/// override one to treat an error of your own layer, and leave the rest to [`DefaultClassify`]:
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
    /// What a whole request's error means. Looks at the error and at each of its
    /// [sources](Error::source), and takes the first that it knows.
    fn classify_error(&self, error: &(dyn Error + 'static)) -> ErrorClass {
        chain(error).find_map(class_of).unwrap_or(ErrorClass::OutcomeUnknown)
    }

    /// What one entry's error means.
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

/// The tables of [`ErrorClass`] and [`EntryClass`].
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

/// The service itself always gives a code.
fn class_without_code(status: Option<u16>) -> ErrorClass {
    match class_of_status(status) {
        ErrorClass::Fatal => ErrorClass::Blocked,
        class => class,
    }
}

/// The error and everything below it. Cut off where a source points back at itself.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    const DEEPEST: usize = 32;
    std::iter::successors(Some(error), |&error| error.source()).take(DEEPEST)
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
    // A buffer whose worker has ended never works again, whatever ended it.
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
        // Whoever answers so, with a text or without: a gateway, an emulator, a firewall.
        PutRecordsErrorKind::Response => class_without_code(error.status()),
        PutRecordsErrorKind::Dispatch
        | PutRecordsErrorKind::Timeout
        | PutRecordsErrorKind::WrongLength { .. } => ErrorClass::OutcomeUnknown,
    }
}

/// Classifies an error from before the request was sent. Credentials that cannot be loaded, and errors of the
/// user's interceptors, may pass. Everything else is configuration: no provider, no region, no usable endpoint, no
/// HTTP client.
fn class_of_construction(error: &PutRecordsError) -> ErrorClass {
    let identity = chain(error).find_map(|error| error.downcast_ref::<IdentityError>());
    match chain(error).find_map(|error| error.downcast_ref()) {
        Some(CredentialsError::InvalidConfiguration(_)) => ErrorClass::Fatal,
        // No provider has credentials. An instance metadata service that does not answer looks the same, but it
        // has answered before.
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

/// What to note with the records of a request that failed as a whole.
pub(crate) fn attempt_error(error: &(dyn Error + 'static)) -> AttemptError {
    let mut message = String::new();
    for (depth, error) in chain(error).enumerate() {
        // The code has a place of its own.
        let text = match error.downcast_ref::<PutRecordsError>() {
            Some(error) => error.attempt_message(),
            None => error.to_string(),
        };
        // Wrappers often repeat what they wrap.
        if !message.contains(&text) {
            let separator = if depth == 0 { "" } else { ": " };
            write!(message, "{separator}{text}").expect("a string takes everything");
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

/// The service's id of the request that failed, if it gave one.
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
    fn requests_are_classified_by_the_table() {
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
            // Codes that nobody has seen yet go by their status.
            ("NewServerError", 503, OutcomeUnknown),
            ("NewClientError", 400, Fatal),
            ("NewTooLarge", 413, Invalid),
            ("NewThrottle", 429, Throttled),
        ] {
            assert_eq!(class(service(code, status)), expected, "{code}");
        }
        assert_eq!(class(PutRecordsError::service(None, None, None)), OutcomeUnknown);
        assert_eq!(service("", 403).code(), None, "an empty code is a missing one");
        assert_eq!(class(PutRecordsError::wrong_length(2, 1)), OutcomeUnknown);
        assert_eq!(class(std::io::Error::other("reset")), OutcomeUnknown);
    }

    #[test]
    fn missing_credentials_are_fatal_and_failing_ones_are_not() {
        let construction = |error: CredentialsError| {
            PutRecordsError::new(PutRecordsErrorKind::Construction, Some(error.into()))
        };
        let absent = CredentialsError::not_loaded("none found");
        assert_eq!(class(construction(absent)), ErrorClass::Fatal);
        let failing = CredentialsError::provider_error("STS answered 503");
        assert_eq!(class(construction(failing)), ErrorClass::Credentials);
    }

    #[test]
    fn errors_are_read_through_layers() {
        let inner = service("AccessDeniedException", 400);
        assert_eq!(class(TimeoutError::Service(inner.into())), ErrorClass::Fatal);
        let ours = TimeoutError::Elapsed { after: Duration::from_secs(1) };
        assert_eq!(class(TimeoutError::Service(ours.into())), ErrorClass::OutcomeUnknown);
        assert_eq!(class(tower_timeout::error::Elapsed::new()), ErrorClass::OutcomeUnknown);
        assert_eq!(class(load_shed::error::Overloaded::new()), ErrorClass::NotSent);
        let nested = |error: BoxError| class(TimeoutError::Service(error));
        assert_eq!(nested(load_shed::error::Overloaded::new().into()), ErrorClass::NotSent);
        let elapsed = tower_timeout::error::Elapsed::new();
        assert_eq!(nested(elapsed.into()), ErrorClass::OutcomeUnknown);
    }

    #[test]
    fn entries_are_classified_by_the_table() {
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
    fn an_attempts_error_tells_the_whole_chain_once() {
        let elapsed = TimeoutError::Elapsed { after: Duration::from_secs(10) };
        let noted = attempt_error(&elapsed);
        assert_eq!(noted.code(), "Timeout");
        let refused = std::io::Error::other("connection refused");
        let error = PutRecordsError::new(PutRecordsErrorKind::Dispatch, Some(refused.into()));
        let noted = attempt_error(&TimeoutError::Service(error.into()));
        assert_eq!(noted.code(), "Dispatch");
        assert!(noted.message().ends_with("got no answer: connection refused"), "{noted}");
    }
}
