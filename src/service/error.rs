use std::error::Error;
use std::fmt;

use tower::BoxError;

use super::redact;
use crate::stream::StreamId;

/// Error of a whole request: of PutRecords, or of a lookup by [`SdkStreamInfo`](super::SdkStreamInfo).
///
/// Its API has no type of the SDK, since those change between minor releases. The SDK's error is the
/// [`source`](Error::source).
///
/// The error of a lookup has the [operation](Self::operation) and the [stream](Self::stream). A lookup writes no
/// records, also where the kind leaves that open.
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
    /// The service answered with an error, see [`PutRecordsError::code`].
    Service,
    /// One of the SDK's own timeouts passed. Whether the records were written is unknown.
    Timeout,
    /// No response came: connection, TLS. Whether the records were written is unknown.
    Dispatch,
    /// The request could not be built: credentials, region, endpoint. Nothing was sent.
    Construction,
    /// The response cannot be read: truncated, or not of Kinesis. Whether the records were written is
    /// unknown, unless its [status](PutRecordsError::status) is 413 or 429.
    Response,
    /// The answer has another number of results than the request has entries, so that nobody knows
    /// which entry a result belongs to.
    WrongLength {
        /// Entries of the request.
        entries: usize,
        /// Results of the response.
        results: usize,
    },
    /// The stream's ARN names another region than the client. Nothing was sent.
    Region,
}

impl PutRecordsError {
    /// Creates an error with its source.
    #[must_use]
    pub fn new(kind: PutRecordsErrorKind, source: Option<BoxError>) -> Self {
        let (code, message, status) = (None, None, None);
        Self { kind, code, message, status, request_id: None, source, lookup: None }
    }

    /// Creates an error from an error response of the service: its code, its message and the HTTP status.
    ///
    /// The message is truncated to 1,024 characters and the code to 128, without line breaks.
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

    /// Returns the operation of a failed lookup, such as `ListShards`. `None` for PutRecords.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.lookup.as_ref().map(|lookup| lookup.operation)
    }

    /// Returns the stream of a failed lookup. `None` for PutRecords.
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
    /// Values and headers that the service quotes from the request are left out.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns the request id, for AWS support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the status of the HTTP response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the text for the history of a record, beside the code.
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
                f.write_str(self.code().unwrap_or("an error without a code"))?;
                if let Some(message) = self.message() {
                    write!(f, ": {message}")?;
                }
            }
            PutRecordsErrorKind::Timeout => f.write_str("the SDK's timeout passed")?,
            PutRecordsErrorKind::Dispatch => f.write_str("the request got no answer")?,
            PutRecordsErrorKind::Construction => f.write_str("the request could not be built")?,
            PutRecordsErrorKind::Response => f.write_str("the answer cannot be read")?,
            PutRecordsErrorKind::WrongLength { entries, results } => {
                write!(f, "{results} results came back for {entries} entries")?;
            }
            PutRecordsErrorKind::Region => f.write_str("the request was not sent")?,
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
    fn a_lookup_tells_its_code_and_the_whole_story() {
        let told = |reason| {
            let stream = "clicks".parse().unwrap();
            let error: BoxError = PutRecordsError::for_lookup(reason, "ListShards", stream).into();
            let noted = attempt_error(&*error);
            (noted.code().to_owned(), noted.message().to_owned())
        };
        let (code, denied) = ("AccessDeniedException", "not authorized");
        let (read, message) = told(PutRecordsError::service(Some(code), Some(denied), Some(400)));
        assert_eq!((&*read, &*message), (code, "ListShards of clicks failed: not authorized"));
        let refused = std::io::Error::other("connection refused");
        let dispatch = PutRecordsError::new(PutRecordsErrorKind::Dispatch, Some(refused.into()));
        let (read, message) = told(dispatch);
        assert_eq!(read, "Dispatch");
        assert!(message.ends_with("got no answer: connection refused"), "{message}");
    }
}
