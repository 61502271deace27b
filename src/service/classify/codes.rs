use super::ErrorClass;

/// Error code for a stream that does not exist.
pub(crate) const NO_STREAM: &str = "ResourceNotFoundException";

/// Error codes of the service. The list contains the errors of PutRecords, ListShards and DescribeStreamSummary and the
/// common errors from the Kinesis API reference, and the codes that the AWS SDKs treat as throttling or clock skew.
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
    // Errors of lookups: the stream is not active yet, or the token of a listing has expired.
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
    // The response to a dry run. A retry would not write the records either.
    ("DryRunOperationException", ErrorClass::Fatal),
    ("InvalidArgumentException", ErrorClass::Invalid),
    ("ValidationException", ErrorClass::Invalid),
    ("ValidationError", ErrorClass::Invalid),
    ("SerializationException", ErrorClass::Invalid),
];

pub(in crate::service) fn class_of_code(code: &str) -> Option<ErrorClass> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class)
}

/// Returns `true` if the service might accept other credentials. The other codes of [`ErrorClass::Credentials`]
/// indicate a wrong clock.
pub(in crate::service) fn rejects_credentials(code: &str) -> bool {
    let clock = ["RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"];
    class_of_code(code) == Some(ErrorClass::Credentials) && !clock.contains(&code)
}

/// Code of a result with neither an error code nor a sequence number.
pub(in crate::service) const INCOMPLETE_RESULT: &str = "IncompleteResult";
pub(crate) const TIMEOUT: &str = "Timeout";
pub(in crate::service) const OVERLOADED: &str = "Overloaded";
pub(in crate::service) const DISPATCH: &str = "Dispatch";
pub(in crate::service) const CONSTRUCTION: &str = "Construction";
pub(in crate::service) const RESPONSE: &str = "Response";
pub(in crate::service) const WRONG_LENGTH: &str = "WrongLength";
pub(in crate::service) const REGION: &str = "Region";
/// Code of any other error.
pub(crate) const UNKNOWN: &str = "Unknown";

/// Codes that this crate assigns to errors without a service code.
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

/// Returns the metrics label of `code`. The label of an unknown code is `other`, so that the number of labels is
/// bounded.
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
    fn code_label_is_other_for_unknown_code() {
        assert_eq!(code_label("InternalFailure"), "InternalFailure");
        assert_eq!(code_label("Timeout"), "Timeout");
        assert_eq!(code_label("invented by a server"), "other");
    }

    #[test]
    fn code_label_returns_codes_of_crate() {
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
            let error = attempt_error(&*error);
            assert_eq!(code_label(error.code()), error.code());
        }
    }
}
