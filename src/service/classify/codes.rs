//! The codes of errors: the service's, and this crate's words for what is no answer of the service.

use super::ErrorClass;

/// The code of every answer about a stream that does not exist.
pub(crate) const NO_STREAM: &str = "ResourceNotFoundException";

/// The codes that the sink tells apart. Sources: the errors of PutRecords, ListShards and
/// DescribeStreamSummary in the Kinesis API reference, its common errors, and the codes that the AWS
/// SDKs treat as throttles or clock skew.
const CODES: &[(&str, ErrorClass)] = &[
    ("ProvisionedThroughputExceededException", ErrorClass::Throttled),
    ("LimitExceededException", ErrorClass::Throttled),
    ("KMSThrottlingException", ErrorClass::Throttled),
    ("ThrottlingException", ErrorClass::Throttled),
    ("Throttling", ErrorClass::Throttled),
    ("RequestLimitExceeded", ErrorClass::Throttled),
    ("TooManyRequestsException", ErrorClass::Throttled),
    ("InternalFailure", ErrorClass::OutcomeUnknown),
    ("InternalFailureException", ErrorClass::OutcomeUnknown),
    ("InternalServerError", ErrorClass::OutcomeUnknown),
    ("ServiceUnavailable", ErrorClass::OutcomeUnknown),
    ("ServiceUnavailableException", ErrorClass::OutcomeUnknown),
    ("RequestTimeout", ErrorClass::OutcomeUnknown),
    ("RequestTimeoutException", ErrorClass::OutcomeUnknown),
    // Of the lookups: a stream that is not active yet, a listing that took too long between two pages.
    ("ResourceInUseException", ErrorClass::OutcomeUnknown),
    ("ExpiredNextTokenException", ErrorClass::OutcomeUnknown),
    ("ExpiredToken", ErrorClass::Credentials),
    ("ExpiredTokenException", ErrorClass::Credentials),
    ("RequestExpired", ErrorClass::Credentials),
    ("RequestTimeTooSkewed", ErrorClass::Credentials),
    ("RequestInTheFuture", ErrorClass::Credentials),
    ("InvalidSignatureException", ErrorClass::Credentials),
    ("SignatureDoesNotMatch", ErrorClass::Credentials),
    ("IncompleteSignature", ErrorClass::Credentials),
    ("UnrecognizedClientException", ErrorClass::Credentials),
    ("InvalidClientTokenId", ErrorClass::Credentials),
    ("AuthFailure", ErrorClass::Credentials),
    ("AccessDenied", ErrorClass::Fatal),
    ("AccessDeniedException", ErrorClass::Fatal),
    ("NotAuthorized", ErrorClass::Fatal),
    ("MissingAuthenticationToken", ErrorClass::Fatal),
    ("MissingAuthenticationTokenException", ErrorClass::Fatal),
    ("KMSAccessDeniedException", ErrorClass::Fatal),
    ("KMSDisabledException", ErrorClass::Fatal),
    ("KMSInvalidStateException", ErrorClass::Fatal),
    ("KMSNotFoundException", ErrorClass::Fatal),
    ("KMSOptInRequired", ErrorClass::Fatal),
    ("OptInRequired", ErrorClass::Fatal),
    (NO_STREAM, ErrorClass::Fatal),
    // The answer to a dry run: nothing was written, and nothing will be while dry runs are asked for.
    ("DryRunOperationException", ErrorClass::Fatal),
    ("InvalidArgumentException", ErrorClass::Invalid),
    ("ValidationException", ErrorClass::Invalid),
    ("ValidationError", ErrorClass::Invalid),
    ("SerializationException", ErrorClass::Invalid),
];

/// What the sink takes a code of the service's for, if it knows it.
pub(in crate::service) fn class_of_code(code: &str) -> Option<ErrorClass> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class)
}

/// Whether other credentials may be accepted after this code. The remaining codes of the class are about the clock.
pub(in crate::service) fn refuses_credentials(code: &str) -> bool {
    let clock = ["RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"];
    class_of_code(code) == Some(ErrorClass::Credentials) && !clock.contains(&code)
}

/// Of an entry that came back with neither a code nor a sequence number.
pub(in crate::service) const INCOMPLETE_RESULT: &str = "IncompleteResult";
pub(crate) const TIMEOUT: &str = "Timeout";
pub(in crate::service) const OVERLOADED: &str = "Overloaded";
pub(in crate::service) const DISPATCH: &str = "Dispatch";
pub(in crate::service) const CONSTRUCTION: &str = "Construction";
pub(in crate::service) const RESPONSE: &str = "Response";
pub(in crate::service) const WRONG_LENGTH: &str = "WrongLength";
pub(in crate::service) const REGION: &str = "Region";
/// Of an error that nobody here knows.
pub(crate) const UNKNOWN: &str = "Unknown";

/// The words of this crate.
#[cfg(feature = "metrics")]
const OWN_CODES: [&str; 9] = [
    INCOMPLETE_RESULT,
    TIMEOUT,
    OVERLOADED,
    DISPATCH,
    CONSTRUCTION,
    RESPONSE,
    WRONG_LENGTH,
    REGION,
    UNKNOWN,
];

/// `code` as a metrics label: one of a bounded number of words, whatever a server answers.
#[cfg(feature = "metrics")]
pub(crate) fn code_label(code: &str) -> &'static str {
    let known = CODES.iter().map(|(known, _)| *known);
    known.chain(OWN_CODES).find(|known| *known == code).unwrap_or("other")
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use tower::{BoxError, load_shed};

    use super::*;
    use crate::service::{PutRecordsError, PutRecordsErrorKind, attempt_error};

    #[test]
    fn labels_are_bounded() {
        assert_eq!(code_label("InternalFailure"), "InternalFailure");
        assert_eq!(code_label("Timeout"), "Timeout");
        assert_eq!(code_label("made up by a server"), "other");
    }

    #[test]
    fn every_word_of_this_crate_is_a_label() {
        let kinds = [
            PutRecordsErrorKind::Timeout,
            PutRecordsErrorKind::Dispatch,
            PutRecordsErrorKind::Construction,
            PutRecordsErrorKind::Response,
            PutRecordsErrorKind::WrongLength { entries: 2, results: 1 },
            PutRecordsErrorKind::Region,
        ];
        let others: [BoxError; 2] = [load_shed::error::Overloaded::new().into(), "unknown".into()];
        let errors = kinds.map(|kind| BoxError::from(PutRecordsError::new(kind, None)));
        for error in errors.into_iter().chain(others) {
            let noted = attempt_error(&*error);
            assert_eq!(code_label(noted.code()), noted.code());
        }
    }
}
