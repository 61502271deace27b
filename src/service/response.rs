use std::collections::BTreeMap;

use bytes_utils::Str;
use smol_str::SmolStr;

use super::classify::codes::INCOMPLETE_RESULT;
use super::redact;

/// Response to a [`PutRecordsRequest`](super::PutRecordsRequest), with one result per entry in the same order.
///
/// The number of results must equal the number of entries. If it does not, [`PutRecords`](super::PutRecords) returns an
/// error. A sink handles a response with a wrong number of results as a failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRecordsResponse {
    results: Vec<Result<Placement, EntryError>>,
}

impl PutRecordsResponse {
    /// Creates a response from one result per entry of the request.
    #[must_use]
    pub fn new(results: Vec<Result<Placement, EntryError>>) -> Self {
        Self { results }
    }

    /// Returns the results, one per entry of the request.
    pub fn results(&self) -> &[Result<Placement, EntryError>] {
        &self.results
    }

    /// Consumes the response and returns the results, one per entry of the request.
    pub fn into_results(self) -> Vec<Result<Placement, EntryError>> {
        self.results
    }

    /// Returns the number of entries that were delivered.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.results.iter().filter(|result| result.is_ok()).count()
    }

    /// Returns the distinct errors (code and message), each with the number of entries that failed with it.
    #[must_use]
    pub fn errors(&self) -> Vec<ErrorCount> {
        let mut counts = BTreeMap::new();
        for error in self.results.iter().filter_map(|result| result.as_ref().err()) {
            *counts.entry((error.code(), error.message())).or_insert(0) += 1;
        }
        let count = |((code, message), count): ((&str, &str), usize)| ErrorCount {
            code: code.to_owned(),
            message: message.to_owned(),
            count,
        };
        counts.into_iter().map(count).collect()
    }
}

/// Position of a delivered entry in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub(super) shard_id: SmolStr,
    /// Usually a slice of the response body.
    sequence_number: Str,
}

impl Placement {
    /// Creates a placement.
    #[must_use]
    pub fn new(shard_id: impl AsRef<str>, sequence_number: impl Into<String>) -> Self {
        let sequence_number = Str::from(sequence_number.into());
        Self { shard_id: SmolStr::new(shard_id), sequence_number }
    }

    /// Returns the id of the shard.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// Returns the sequence number of the entry in its shard.
    ///
    /// The sequence number can be a slice of the response body, in which case the placement keeps the whole body in
    /// memory. To store a sequence number for a long time, copy it and drop the placement.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.sequence_number
    }

    /// Copies the sequence number, so that the response body can be freed.
    pub(crate) fn detach(self) -> Self {
        let (shard_id, sequence_number) = self.into_parts();
        Self { shard_id, sequence_number: Str::from(sequence_number) }
    }

    #[cfg(test)]
    pub(crate) fn from_response(shard_id: &str, sequence_number: bytes::Bytes) -> Self {
        let sequence_number = Str::try_from(sequence_number).expect("the sequence number is UTF-8");
        Self { shard_id: SmolStr::new(shard_id), sequence_number }
    }

    pub(crate) fn into_parts(self) -> (SmolStr, String) {
        (self.shard_id, self.sequence_number.to_string())
    }
}

/// Error of one entry of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct EntryError {
    code: String,
    message: String,
}

impl EntryError {
    /// Creates an error from the code and message of the service.
    ///
    /// The code is truncated to 128 characters and the message to 1,024 characters. Line breaks in both are replaced
    /// with spaces. Values quoted from the entry are removed from the message.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl AsRef<str>) -> Self {
        Self { code: redact::code(code.into()), message: redact::entry_message(message.as_ref()) }
    }

    /// Returns the error code of the service, such as `ProvisionedThroughputExceededException`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the message of the service, without the values quoted from the entry.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_parts(self) -> (String, String) {
        (self.code, self.message)
    }
}

#[derive(Debug, Default)]
pub(super) struct ResultMembers {
    pub(super) shard_id: Option<SmolStr>,
    pub(super) sequence_number: Option<Str>,
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
}

impl ResultMembers {
    /// Treats an empty member as missing, because some servers send an empty string for a missing member.
    pub(super) fn into_result(self) -> Result<Placement, EntryError> {
        if let Some(code) = self.error_code.filter(|code| !code.is_empty()) {
            return Err(EntryError::new(code, self.error_message.unwrap_or_default()));
        }
        let shard_id = self.shard_id.filter(|id| !id.is_empty());
        let sequence_number = self.sequence_number.filter(|number| !number.is_empty());
        if let (Some(shard_id), Some(sequence_number)) = (shard_id, sequence_number) {
            return Ok(Placement { shard_id, sequence_number });
        }
        let message = "result has neither an error code nor a shard id and sequence number";
        Err(EntryError::new(INCOMPLETE_RESULT, message))
    }
}

/// Number of entries that failed with the same error code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ErrorCount {
    /// The error code of the service, or a code of this crate such as `Timeout`.
    pub code: String,
    /// The message of the error.
    pub message: String,
    /// The number of entries of the request that failed with the error.
    pub count: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code_and_message() {
        let throttled = |shard: &str| Err(EntryError::new("Throttled", shard));
        let response = PutRecordsResponse::new(vec![
            throttled("shard 2"),
            Ok(Placement::new("shard 0", "1")),
            throttled("shard 1"),
            throttled("shard 2"),
        ]);
        assert_eq!(response.delivered(), 1);
        let counts: Vec<_> =
            response.errors().into_iter().map(|error| (error.message, error.count)).collect();
        assert_eq!(counts, [("shard 1".to_owned(), 1), ("shard 2".to_owned(), 2)]);
    }
}
