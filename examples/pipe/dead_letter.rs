//! The format of a line of the dead-letter file, in both directions.

use base64_simd::STANDARD;
use bytes::Bytes;
use kinesis_sink::limits::MAX_RECORD_BYTES;
use kinesis_sink::record::HashKey;
use kinesis_sink::{PartitionKey, Record, Undelivered};
use serde::{Deserialize, Deserializer, Serialize};

/// Maximum length of a line: JSON escapes a control character in six bytes, and a message has at most a few hundred.
pub const MAX_LINE_BYTES: usize = 6 * MAX_RECORD_BYTES + 64 * 1024;

/// Reason of a line that was no valid record.
pub const BAD_INPUT: &str = "bad_input";

#[derive(Serialize)]
pub struct DeadLetter<'a> {
    reason: &'static str,
    code: Option<&'a str>,
    message: String,
    attempts: u32,
    may_have_been_written: bool,
    partition_key: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    service_managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> DeadLetter<'a> {
    /// Creates a line for a frame that is not a valid record.
    pub fn bad_input(message: String, data: Option<&'a Bytes>) -> Self {
        Self::new(BAD_INPUT, message, data)
    }

    fn new(reason: &'static str, message: String, data: Option<&'a Bytes>) -> Self {
        let text = data.and_then(|data| std::str::from_utf8(data).ok());
        let data_base64 = data.filter(|_| text.is_none());
        Self {
            reason,
            code: None,
            message,
            attempts: 0,
            may_have_been_written: false,
            partition_key: None,
            service_managed: false,
            explicit_hash_key: None,
            data: text,
            data_base64: data_base64.map(|data| STANDARD.encode_to_string(data)),
        }
    }

    pub fn from_undelivered(undelivered: &'a Undelivered) -> Self {
        let record = undelivered.record();
        let reason = undelivered.reason();
        Self {
            code: undelivered.last_error().map(|error| error.code()),
            attempts: undelivered.attempts(),
            may_have_been_written: undelivered.may_have_been_written(),
            partition_key: match record.partition_key() {
                PartitionKey::Explicit(key) => Some(key.as_str()),
                _ => None,
            },
            service_managed: matches!(record.partition_key(), PartitionKey::ServiceManaged),
            explicit_hash_key: record.explicit_hash_key().map(|hash_key| hash_key.to_string()),
            ..Self::new(reason.code(), reason.to_string(), Some(record.data()))
        }
    }

    /// Returns the line, with its line break.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("serialization to JSON succeeds");
        line.push(b'\n');
        line
    }
}

/// A record that is read from a dead-letter file.
pub struct Resent {
    pub record: Record,
    /// Whether an earlier attempt may have written the record, so that it may be in the stream twice.
    pub may_have_been_written: bool,
}

/// The reason why a line of a dead-letter file cannot be sent again. The text contains no data of the line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    #[error("invalid JSON at byte {0}: restore the line as --dead-letter wrote it")]
    InvalidJson(usize),
    #[error(
        "not a dead letter at byte {0}: a line has partition_key, data or data_base64, and no fields other than \
         those that --dead-letter writes"
    )]
    NotDeadLetter(usize),
    #[error("{BAD_INPUT} has never been a record: fix its data and send it in its own format")]
    BadInput,
    #[error("neither data nor data_base64: the data was not kept")]
    NoData,
    #[error("both data and data_base64: remove one of them")]
    TwoData,
    #[error("data_base64 is not base64 with padding")]
    InvalidBase64,
    #[error("explicit_hash_key is not a decimal number from 0 to 2^128 - 1")]
    InvalidHashKey,
    #[error("service_managed together with a partition key: remove one of them")]
    TwoKeys,
}

/// Fields of a line. Unknown fields are errors, because they could be misspelled keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    reason: String,
    #[serde(default, rename = "code")]
    _code: Option<String>,
    #[serde(default, rename = "message")]
    _message: String,
    #[serde(default, rename = "attempts")]
    _attempts: u32,
    #[serde(default)]
    may_have_been_written: bool,
    // The function makes the field mandatory: without it, a record would silently get a random key.
    #[serde(deserialize_with = "nullable")]
    partition_key: Option<String>,
    #[serde(default)]
    service_managed: bool,
    #[serde(default)]
    explicit_hash_key: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    data_base64: Option<String>,
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Parses a line of a dead-letter file, without its line break.
pub fn parse(line: &[u8]) -> Result<Resent, DeadLetterError> {
    let line: Line = serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => DeadLetterError::NotDeadLetter(error.column()),
        _ => DeadLetterError::InvalidJson(error.column()),
    })?;
    if line.reason == BAD_INPUT {
        return Err(DeadLetterError::BadInput);
    }
    if line.service_managed && line.partition_key.is_some() {
        return Err(DeadLetterError::TwoKeys);
    }
    let data = match (line.data, line.data_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => STANDARD
            .decode_to_vec(text)
            .map(Bytes::from)
            .map_err(|_| DeadLetterError::InvalidBase64)?,
        (None, None) => return Err(DeadLetterError::NoData),
        (Some(_), Some(_)) => return Err(DeadLetterError::TwoData),
    };
    let key = match line.partition_key {
        Some(key) => PartitionKey::from(key),
        None if line.service_managed => PartitionKey::ServiceManaged,
        None => PartitionKey::Random,
    };
    let mut record = Record::from(data).with_partition_key(key);
    if let Some(text) = line.explicit_hash_key {
        let hash_key: HashKey = text.parse().map_err(|_| DeadLetterError::InvalidHashKey)?;
        record = record.with_explicit_hash_key(hash_key);
    }
    Ok(Resent { record, may_have_been_written: line.may_have_been_written })
}
