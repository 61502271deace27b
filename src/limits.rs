//! The service's numbers, in one place, and the ones a user may lower or raise.

use crate::build_error::SettingError;
use crate::record::{PartitionKey, Record};
use crate::shard::Quota;

/// Most entries one PutRecords request may carry.
///
/// Source: PutRecords API reference, `Records`, "Maximum number of 500 items".
pub const MAX_REQUEST_ENTRIES: usize = 500;

/// Most bytes one PutRecords request may carry, data and partition keys together: 10 MiB.
///
/// Source: PutRecords API reference (2025; it was 5 MiB before).
pub const MAX_REQUEST_BYTES: usize = 10 * MIB;

/// Bytes of one request unless [`Limits::with_request_bytes`] says otherwise: 5 MiB.
///
/// Local servers and older regions still enforce the limit from before 2025.
pub const DEFAULT_REQUEST_BYTES: usize = 5 * MIB;

/// Most bytes one record may have on a stream set up for large records: 10 MiB, data and partition
/// key together.
///
/// Source: UpdateMaxRecordSize API reference, `MaxRecordSizeInKiB`, 1024 to 10240.
pub const MAX_RECORD_BYTES: usize = 10 * MIB;

/// Bytes of one record unless [`Limits::with_record_bytes`] says otherwise: 1 MiB, what a stream takes
/// when it was not set up for large records.
pub const DEFAULT_RECORD_BYTES: usize = MIB;

/// Bytes of a PUT payload unit: a record of a provisioned stream is billed in units of 25 KiB, the last one
/// rounded up. On-demand streams round up to 1 KiB, of which a unit holds a whole number.
///
/// Source: Kinesis Data Streams pricing, "PUT Payload Unit".
pub const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;

/// Most Unicode characters (not bytes) of a partition key.
///
/// Source: PutRecordsRequestEntry API reference, `PartitionKey`, length 1 to 256.
pub const MAX_PARTITION_KEY_CHARS: usize = 256;

/// Kinesis records that a shard takes in a second.
///
/// Source: Kinesis Data Streams developer guide, "Quotas and limits".
pub const SHARD_RECORDS_PER_SECOND: usize = 1_000;

/// Bytes that a shard takes in a second, partition keys included: 1 MiB.
///
/// Source: Kinesis Data Streams developer guide, "Quotas and limits".
pub const SHARD_BYTES_PER_SECOND: usize = MIB;

/// Shards that are learned from answers: more than that, and the answers are not believed.
///
/// Source: Kinesis Data Streams developer guide, "Quotas and limits": the largest default quota of an account,
/// 20,000 shards, which is that of three regions.
pub(crate) const MOST_LEARNED_SHARDS: usize = 20_000;

/// Bytes of a shard's id.
///
/// Source: Kinesis API reference, `ShardId` of `PutRecordsResultEntry`: 1 to 128 of `[a-zA-Z0-9_.-]`.
pub(crate) const LONGEST_SHARD_ID: usize = 128;

const MIB: usize = 1024 * 1024;

/// What one request and one record may hold.
///
/// Sizes are counted as the service counts them: data before any encoding, plus the UTF-8 bytes of the
/// partition key.
///
/// | limit | default | range |
/// |---|---|---|
/// | [request entries](Self::with_request_entries) | 500 | 1 to 500 |
/// | [request bytes](Self::with_request_bytes) | 5 MiB | 1 B to 10 MiB, at least the record bytes |
/// | [record bytes](Self::with_record_bytes) | 1 MiB | 1 B to 10 MiB |
/// | [shard records](Self::with_shard_records) | 1,000 a second | 1 to 1,000,000,000 |
/// | [shard bytes](Self::with_shard_bytes) | 1 MiB a second | 1 B to 1 TiB |
///
/// ```
/// use kinesis_sink::Limits;
///
/// // A stream whose MaxRecordSizeInKiB was raised to 10240.
/// let limits = Limits::default()
///     .with_request_bytes(10 * 1024 * 1024)
///     .with_record_bytes(10 * 1024 * 1024);
/// assert_eq!(limits.record_bytes(), 10_485_760);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Limits {
    request_entries: usize,
    request_bytes: usize,
    /// None unless it was set.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    record_bytes: Option<usize>,
    /// Kinesis records a second.
    shard_records: usize,
    /// Bytes a second.
    shard_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_entries: MAX_REQUEST_ENTRIES,
            request_bytes: DEFAULT_REQUEST_BYTES,
            record_bytes: None,
            shard_records: SHARD_RECORDS_PER_SECOND,
            shard_bytes: SHARD_BYTES_PER_SECOND as u64,
        }
    }
}

impl Limits {
    /// Sets the most entries of one request: 1 to [`MAX_REQUEST_ENTRIES`], which is the default.
    #[must_use]
    pub fn with_request_entries(mut self, entries: usize) -> Self {
        self.request_entries = entries;
        self
    }

    /// Sets the most bytes of one request: up to [`MAX_REQUEST_BYTES`], by default
    /// [`DEFAULT_REQUEST_BYTES`].
    #[must_use]
    pub fn with_request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Sets the most bytes of one record, data and partition key together: up to [`MAX_RECORD_BYTES`],
    /// by default [`DEFAULT_RECORD_BYTES`].
    ///
    /// Raise it only for a stream whose `MaxRecordSizeInKiB` was raised: elsewhere the service refuses
    /// the whole request that carries a larger record.
    #[must_use]
    pub fn with_record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = Some(bytes);
        self
    }

    /// Sets the most Kinesis records (records, or aggregates) that are sent to one shard in a second: 1 to
    /// 1,000,000,000, by default [`SHARD_RECORDS_PER_SECOND`].
    ///
    /// Lower it to leave others their part of the stream; it holds for shards that are
    /// [known](crate::guide::pacing), which they are from the first answer on. Raise it, and the
    /// [bytes](Self::with_shard_bytes), for a server that has no such quota.
    #[must_use]
    pub fn with_shard_records(mut self, records: usize) -> Self {
        self.shard_records = records;
        self
    }

    /// Sets the most bytes, data and partition keys together, that are sent to one shard in a second: 1 B
    /// to 1 TiB, by default [`SHARD_BYTES_PER_SECOND`].
    #[must_use]
    pub fn with_shard_bytes(mut self, bytes: u64) -> Self {
        self.shard_bytes = bytes;
        self
    }

    /// Most Kinesis records that are sent to one shard in a second.
    #[must_use]
    pub fn shard_records(&self) -> usize {
        self.shard_records
    }

    /// Most bytes, data and partition keys together, that are sent to one shard in a second.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.shard_bytes
    }

    /// The two together.
    pub(crate) fn quota(&self) -> Quota {
        Quota { records: self.shard_records as f64, bytes: self.shard_bytes as f64 }
    }

    /// Most entries of one request.
    #[must_use]
    pub fn request_entries(&self) -> usize {
        self.request_entries
    }

    /// Most bytes of one request, data and partition keys together.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Most bytes of one record, data and partition key together.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes.unwrap_or(DEFAULT_RECORD_BYTES)
    }

    /// These limits for a stream whose records may have so many bytes. A lower one that was set stays. A
    /// record that is larger than a request should be goes in one by itself.
    pub(crate) fn for_stream(mut self, max_record_bytes: usize) -> Self {
        let most = max_record_bytes.clamp(1, MAX_RECORD_BYTES);
        self.record_bytes = Some(self.record_bytes.map_or(most, |set| set.min(most)));
        self
    }

    /// These limits for a stream that nobody has described: with what every stream takes.
    pub(crate) fn for_any_stream(self) -> Self {
        self.with_record_bytes(self.record_bytes().min(DEFAULT_RECORD_BYTES))
    }

    /// These limits for the stream that takes the largest records.
    pub(crate) fn for_most_lenient_stream(self) -> Self {
        self.for_stream(MAX_RECORD_BYTES)
    }

    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        SettingError::check("request_entries", self.request_entries, 1..=MAX_REQUEST_ENTRIES)?;
        SettingError::check("record_bytes", self.record_bytes(), 1..=MAX_RECORD_BYTES)?;
        SettingError::check("shard_records", self.shard_records, 1..=1_000_000_000)?;
        SettingError::check("shard_bytes", self.shard_bytes, 1..=1 << 40)?;
        // A request must be able to carry the largest record.
        SettingError::check(
            "request_bytes",
            self.request_bytes,
            self.record_bytes()..=MAX_REQUEST_BYTES,
        )
    }

    /// Says whether `record` can ever be sent under these limits.
    ///
    /// # Errors
    ///
    /// The partition key is empty or too long, or data and key together are too large.
    pub fn check(&self, record: &Record) -> Result<(), RecordError> {
        if let PartitionKey::Explicit(key) = record.partition_key() {
            if key.is_empty() {
                return Err(RecordError::EmptyPartitionKey);
            }
            // A key of n bytes has at most n characters, so most keys need no counting.
            if key.len() > MAX_PARTITION_KEY_CHARS {
                let chars = key.chars().count();
                if chars > MAX_PARTITION_KEY_CHARS {
                    return Err(RecordError::PartitionKeyTooLong { chars });
                }
            }
        }
        let bytes = record.size();
        let limit = self.record_bytes();
        if bytes > limit {
            return Err(RecordError::TooLarge { bytes, limit });
        }
        Ok(())
    }
}

/// Why a record can never be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Data and partition key together are over the limit for a record.
    #[error(
        "the record has {bytes} bytes with its partition key, the limit is {limit}: split it, or \
         raise `record_bytes` if the stream's MaxRecordSizeInKiB allows it"
    )]
    TooLarge {
        /// Bytes of data and partition key.
        bytes: usize,
        /// The limit in force, see [`Limits::with_record_bytes`](crate::Limits::with_record_bytes).
        limit: usize,
    },
    /// The partition key is the empty string.
    #[error(
        "the partition key is empty: give one of 1 to 256 characters, or none to spread evenly"
    )]
    EmptyPartitionKey,
    /// The partition key has more than 256 characters.
    #[error(
        "the partition key has {chars} characters, the limit is {MAX_PARTITION_KEY_CHARS}: shorten \
         or hash it"
    )]
    PartitionKeyTooLong {
        /// Unicode characters of the key.
        chars: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: String) -> Record {
        Record::from("x").with_partition_key(key)
    }

    #[test]
    fn keys_are_counted_in_characters() {
        let limits = Limits::default();
        // 256 characters of four bytes each: 1,024 bytes, and still a valid key.
        assert_eq!(limits.check(&with_key("🦀".repeat(256))), Ok(()));
        assert_eq!(
            limits.check(&with_key("🦀".repeat(257))),
            Err(RecordError::PartitionKeyTooLong { chars: 257 })
        );
        assert_eq!(limits.check(&with_key("k".repeat(256))), Ok(()));
        assert_eq!(
            limits.check(&with_key("k".repeat(257))),
            Err(RecordError::PartitionKeyTooLong { chars: 257 })
        );
        assert_eq!(limits.check(&with_key(String::new())), Err(RecordError::EmptyPartitionKey));
    }

    #[test]
    fn sizes_are_data_plus_the_bytes_of_the_key() {
        let limits = Limits::default().with_record_bytes(10);
        // "ß" is one character and two bytes.
        let fits = Record::from("12345678").with_partition_key("ß");
        assert_eq!(limits.check(&fits), Ok(()));
        let large = Record::from("123456789").with_partition_key("ß");
        assert_eq!(limits.check(&large), Err(RecordError::TooLarge { bytes: 11, limit: 10 }));
    }

    #[test]
    fn limits_outside_their_range_are_named() {
        let error = Limits::default().with_request_entries(501).validate().unwrap_err();
        assert_eq!(error.to_string(), "request_entries is 501; set it between 1 and 500");
        let error = Limits::default().with_request_entries(0).validate().unwrap_err();
        assert_eq!(error.to_string(), "request_entries is 0; set it between 1 and 500");
        assert!(Limits::default().with_request_bytes(MAX_REQUEST_BYTES + 1).validate().is_err());
        assert!(Limits::default().with_record_bytes(MAX_RECORD_BYTES + 1).validate().is_err());
        // A request smaller than the largest record could never carry it.
        let error = Limits::default().with_request_bytes(MIB - 1).validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "request_bytes is 1048575; set it between 1048576 and 10485760"
        );
        let largest = Limits::default()
            .with_request_bytes(MAX_REQUEST_BYTES)
            .with_record_bytes(MAX_RECORD_BYTES);
        assert_eq!(largest.validate(), Ok(()));
    }
}
