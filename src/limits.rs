//! Limits of requests, records and shards.
//!
//! Constants are the limits of the service, [`Limits`] those of a sink.
//!
//! Sizes are counted as the service counts them: data before any encoding, plus the UTF-8 bytes of the partition key.

use crate::build_error::{BuildError, Bytes};
use crate::record::{PartitionKey, Record};
use crate::shard::Quota;

/// Maximum number of entries of a PutRecords request.
///
/// Source: PutRecords API reference, `Records`, "Maximum number of 500 items".
pub const MAX_REQUEST_ENTRIES: usize = 500;

/// Maximum size of a PutRecords request in bytes, data and partition keys together: 10 MiB.
///
/// Source: PutRecords API reference (2025; it was 5 MiB before).
pub const MAX_REQUEST_BYTES: usize = 10 * MIB;

/// Default of [`Limits::with_request_bytes`]: 5 MiB.
///
/// Local servers and older regions still enforce the limit from before 2025.
pub const DEFAULT_REQUEST_BYTES: usize = 5 * MIB;

/// Maximum size in bytes of a record on a stream that is set up for large records: 10 MiB, data and partition key
/// together.
///
/// Source: UpdateMaxRecordSize API reference, `MaxRecordSizeInKiB`, 1024 to 10240.
pub const MAX_RECORD_BYTES: usize = 10 * MIB;

/// Default of [`Limits::with_record_bytes`]: 1 MiB, the maximum of a stream that is not set up for large records.
pub const DEFAULT_RECORD_BYTES: usize = MIB;

/// Size of a PUT payload unit in bytes: 25 KiB.
///
/// Provisioned streams bill a record in whole units. On-demand streams round up to 1 KiB, of which a unit holds a whole
/// number.
///
/// Source: Kinesis Data Streams pricing, "PUT Payload Unit".
pub const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;

/// Maximum length of a partition key in Unicode characters (not bytes).
///
/// Source: PutRecordsRequestEntry API reference, `PartitionKey`, length 1 to 256.
pub const MAX_PARTITION_KEY_CHARS: usize = 256;

/// Number of Kinesis records that a shard takes per second.
///
/// Source: Kinesis Data Streams developer guide, "Quotas and limits".
pub const SHARD_RECORDS_PER_SECOND: usize = 1_000;

/// Number of bytes that a shard takes per second, partition keys included: 1 MiB.
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

/// Limits applied to requests, records and shards.
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
/// use kinesis_sink::limits::Limits;
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
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::settings::read::request_entries")
    )]
    request_entries: usize,
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::settings::read::request_bytes")
    )]
    request_bytes: usize,
    /// None unless it was set.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "crate::settings::read::record_bytes",
            skip_serializing_if = "Option::is_none"
        )
    )]
    record_bytes: Option<usize>,
    /// Kinesis records a second.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::settings::read::shard_records")
    )]
    shard_records: usize,
    /// Bytes a second.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::settings::read::shard_bytes"))]
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
    /// Sets the maximum number of entries of a request: 1 to [`MAX_REQUEST_ENTRIES`], which is the default.
    #[must_use]
    pub fn with_request_entries(mut self, entries: usize) -> Self {
        self.request_entries = entries;
        self
    }

    /// Sets the maximum size of a request in bytes: [`record_bytes`](Self::record_bytes) to [`MAX_REQUEST_BYTES`], by
    /// default [`DEFAULT_REQUEST_BYTES`].
    #[must_use]
    pub fn with_request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Sets the maximum size of a record in bytes, data and partition key together: 1 to [`MAX_RECORD_BYTES`], by
    /// default [`DEFAULT_RECORD_BYTES`].
    ///
    /// Raise it only for a stream whose `MaxRecordSizeInKiB` was raised: elsewhere the service refuses
    /// the whole request that carries a larger record.
    #[must_use]
    pub fn with_record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = Some(bytes);
        self
    }

    /// Sets the maximum number of Kinesis records (records or aggregates) that are sent to a shard per second: 1 to
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

    /// Sets the maximum number of bytes, data and partition keys together, that are sent to a shard per second: 1 B
    /// to 1 TiB, by default [`SHARD_BYTES_PER_SECOND`].
    #[must_use]
    pub fn with_shard_bytes(mut self, bytes: u64) -> Self {
        self.shard_bytes = bytes;
        self
    }

    /// Returns the maximum number of Kinesis records that are sent to a shard per second.
    #[must_use]
    pub fn shard_records(&self) -> usize {
        self.shard_records
    }

    /// Returns the maximum number of bytes, data and partition keys together, that are sent to a shard per second.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.shard_bytes
    }

    /// The two together.
    pub(crate) fn quota(&self) -> Quota {
        Quota { records: self.shard_records as f64, bytes: self.shard_bytes as f64 }
    }

    /// Returns the maximum number of entries of a request.
    #[must_use]
    pub fn request_entries(&self) -> usize {
        self.request_entries
    }

    /// Returns the maximum size of a request in bytes, data and partition keys together.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Returns the maximum size of a record in bytes, data and partition key together.
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

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        const REQUEST: &str = "limits.request_bytes";
        const RECORD: &str = "limits.record_bytes";
        let entries = 1..=MAX_REQUEST_ENTRIES;
        BuildError::check_range("limits.request_entries", self.request_entries, entries)?;
        let [request, record] = [self.request_bytes, self.record_bytes()].map(Bytes::from);
        BuildError::check_range(REQUEST, request, Bytes(1)..=MAX_REQUEST_BYTES.into())?;
        BuildError::check_range(RECORD, record, Bytes(1)..=MAX_RECORD_BYTES.into())?;
        BuildError::check_range("limits.shard_records", self.shard_records, 1..=1_000_000_000)?;
        let shard_bytes = Bytes(1)..=Bytes(1 << 40);
        BuildError::check_range("limits.shard_bytes", Bytes(self.shard_bytes), shard_bytes)?;
        // A request must be able to carry the largest record.
        BuildError::check_order(
            (RECORD, record, DEFAULT_RECORD_BYTES.into()),
            (REQUEST, request, DEFAULT_REQUEST_BYTES.into()),
        )
    }

    /// Checks whether `record` can ever be sent under these limits.
    ///
    /// # Errors
    ///
    /// The partition key is empty or too long, or data and key together are too large.
    pub(crate) fn check(&self, record: &Record) -> Result<(), RecordError> {
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

/// Error of a record that can never be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordError {
    /// Data and partition key together are over the limit for a record.
    #[error(
        "record is {bytes} bytes with its partition key; split it to at most {limit}, or raise \
         limits.record_bytes if the stream allows it"
    )]
    TooLarge {
        /// Bytes of data and partition key.
        bytes: usize,
        /// The limit in force, see [`Limits::with_record_bytes`](crate::limits::Limits::with_record_bytes).
        limit: usize,
    },
    /// The partition key is the empty string.
    #[error(
        "partition key is empty; use 1 to {MAX_PARTITION_KEY_CHARS} characters, or a random key"
    )]
    EmptyPartitionKey,
    /// The partition key has more than 256 characters.
    #[error(
        "partition key is {chars} characters; shorten or hash it to at most {MAX_PARTITION_KEY_CHARS}"
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
    fn validate_names_limit_and_range() {
        let told = |limits: Limits| limits.validate().unwrap_err().to_string();
        for entries in [0, 501] {
            assert_eq!(
                told(Limits::default().with_request_entries(entries)),
                format!("limits.request_entries is {entries}; set it between 1 and 500")
            );
        }
        assert_eq!(
            told(Limits::default().with_request_bytes(MAX_REQUEST_BYTES + 1)),
            "limits.request_bytes is 10485761B; set it between 1B and 10MiB"
        );
        assert_eq!(
            told(Limits::default().with_record_bytes(MAX_RECORD_BYTES + 1)),
            "limits.record_bytes is 10485761B; set it between 1B and 10MiB"
        );
        let largest = Limits::default()
            .with_request_bytes(MAX_REQUEST_BYTES)
            .with_record_bytes(MAX_RECORD_BYTES);
        assert_eq!(largest.validate(), Ok(()));
    }

    #[test]
    fn validate_names_changed_limit_of_conflict() {
        let error = Limits::default().with_record_bytes(MAX_RECORD_BYTES).validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "limits.record_bytes is 10MiB, more than limits.request_bytes (5MiB): \
             raise limits.request_bytes or lower limits.record_bytes"
        );
        let error = Limits::default().with_request_bytes(MIB - 1).validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "limits.request_bytes is 1048575B, less than limits.record_bytes (1MiB): \
             raise limits.request_bytes or lower limits.record_bytes"
        );
    }
}
