use std::error::Error;
use std::fmt;

use tower::BoxError;

use super::redact;
use crate::stream::StreamId;

/// Error of a whole PutRecords request, or of a lookup by [`SdkStreamInfo`](super::SdkStreamInfo).
///
/// The [`source`](Error::source) is the error of the SDK. Its type is not part of this API, because SDK types can
/// change between minor releases.
///
/// A lookup error has an [operation](Self::operation) and a [stream](Self::stream). A lookup never writes records, so
/// the statements of [`PutRecordsErrorKind`] about written records apply only to PutRecords requests.
#[derive(Debug)]
pub struct PutRecordsError {
    kind: PutRecordsErrorKind,
    code: Option<String>,
    message: Option<String>,
    status: Option<u16>,
    request_id: Option<Box<str>>,
    source: Option<BoxError>,
    lookup: Option<Box<Lookup>>,
}

#[derive(Debug)]
struct Lookup {
    operation: &'static str,
    stream: StreamId,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, stream } = self;
        write!(f, "{operation} of {stream} failed: ")
    }
}

/// Kind of a [`PutRecordsError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PutRecordsErrorKind {
    /// The service responded with an error. See [`PutRecordsError::code`].
    Service,
    /// A timeout of the SDK elapsed. The records may have been written.
    Timeout,
    /// The connection or TLS failed before a response was received. The records may have been written.
    Dispatch,
    /// The request could not be built, for example because credentials, a region or an endpoint are missing. Nothing
    /// was sent.
    Construction,
    /// The response could not be parsed, for example because it is truncated or was not sent by Kinesis.
    ///
    /// If the [status](PutRecordsError::status) is 413 or 429, the records were not written. Otherwise, they may have
    /// been written.
    Response,
    /// The number of results differs from the number of entries, so the results cannot be matched to the entries.
    WrongLength {
        /// Number of entries in the request.
        entries: usize,
        /// Number of results in the response.
        results: usize,
    },
    /// The request was not sent, because the region in the ARN of the stream differs from the region of the client.
    Region,
}

impl PutRecordsError {
    /// Creates an error of the given kind.
    #[must_use]
    pub fn new(kind: PutRecordsErrorKind, source: Option<BoxError>) -> Self {
        Self {
            kind,
            code: None,
            message: None,
            status: None,
            request_id: None,
            source,
            lookup: None,
        }
    }

    /// Creates an error from the error code, message and HTTP status of a response.
    ///
    /// The code is truncated to 128 characters and the message to 1,024 characters. Line breaks in both are replaced
    /// with spaces. Values quoted from the request are removed from the message.
    #[must_use]
    pub fn service(code: Option<&str>, message: Option<&str>, status: Option<u16>) -> Self {
        Self {
            code: code.filter(|code| !code.is_empty()).map(|code| redact::code(code.to_owned())),
            message: message.map(redact::request_message),
            status,
            ..Self::new(PutRecordsErrorKind::Service, None)
        }
    }

    pub(super) fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_request_id(mut self, request_id: Option<&str>) -> Self {
        self.request_id = request_id.map(|id| redact::code(id.to_owned()).into());
        self
    }

    pub(super) fn for_lookup(mut self, operation: &'static str, stream: StreamId) -> Self {
        self.lookup = Some(Box::new(Lookup { operation, stream }));
        self
    }

    pub(crate) fn wrong_length(entries: usize, results: usize) -> Self {
        Self::new(PutRecordsErrorKind::WrongLength { entries, results }, None)
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> PutRecordsErrorKind {
        self.kind
    }

    /// Returns the operation of a failed lookup, such as `ListShards`, or `None` for a PutRecords request.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.lookup.as_ref().map(|lookup| lookup.operation)
    }

    /// Returns the stream of a failed lookup, or `None` for a PutRecords request.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.lookup.as_ref().map(|lookup| &lookup.stream)
    }

    /// Returns the error code of the service, if the response has one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the message of the service, if the response has one.
    ///
    /// Values and headers quoted from the request are removed.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns the request id, if the response has one. AWS support can find the request by its id.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the HTTP status of the response, if a response was received.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the message without the error code, for the attempt history of a record.
    pub(super) fn attempt_message(&self) -> String {
        match (&self.lookup, &self.message) {
            (Some(lookup), Some(message)) => format!("{lookup}{message}"),
            (None, Some(message)) => message.clone(),
            (_, None) => self.to_string(),
        }
    }
}

impl fmt::Display for PutRecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lookup) = &self.lookup {
            lookup.fmt(f)?;
        }
        match self.kind {
            PutRecordsErrorKind::Service => {
                f.write_str(self.code().unwrap_or("error without a code"))?;
                if let Some(message) = self.message() {
                    write!(f, ": {message}")?;
                }
            }
            PutRecordsErrorKind::Timeout => f.write_str("timeout of the SDK elapsed")?,
            PutRecordsErrorKind::Dispatch => f.write_str("no response received")?,
            PutRecordsErrorKind::Construction => f.write_str("request cannot be built")?,
            PutRecordsErrorKind::Response => f.write_str("response cannot be read")?,
            PutRecordsErrorKind::WrongLength { entries, results } => {
                write!(f, "response has {results} results for {entries} entries")?;
            }
            PutRecordsErrorKind::Region => f.write_str("request not sent")?,
        }
        self.status.map_or(Ok(()), |status| write!(f, " (HTTP {status})"))
    }
}

impl Error for PutRecordsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::attempt_error;

    #[test]
    fn attempt_error_names_lookup_and_cause() {
        let attempt = |reason| {
            let stream = "clicks".parse().unwrap();
            let error: BoxError = PutRecordsError::for_lookup(reason, "ListShards", stream).into();
            let error = attempt_error(&*error);
            (error.code().to_owned(), error.message().to_owned())
        };
        let (code, denied) = ("AccessDeniedException", "not authorized");
        let (read, message) =
            attempt(PutRecordsError::service(Some(code), Some(denied), Some(400)));
        assert_eq!((&*read, &*message), (code, "ListShards of clicks failed: not authorized"));
        let refused = std::io::Error::other("connection refused");
        let dispatch = PutRecordsError::new(PutRecordsErrorKind::Dispatch, Some(refused.into()));
        let (read, message) = attempt(dispatch);
        assert_eq!(read, "Dispatch");
        assert!(message.ends_with("no response received: connection refused"), "{message}");
    }
}
