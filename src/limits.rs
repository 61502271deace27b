//! Limits for requests, records and shards.
//!
//! The constants in this module are the limits of the service. [`Limits`] contains the limits that a sink applies.
//!
//! Sizes are counted as the service counts them: the data before any encoding, plus the UTF-8 bytes of the partition
//! key.

use crate::build_error::{BuildError, Bytes};
use crate::record::{PartitionKey, Record};
use crate::shard::Quota;

/// Maximum number of entries in a PutRecords request.
///
/// See `Records` in the PutRecords API reference: "Maximum number of 500 items".
pub const MAX_REQUEST_ENTRIES: usize = 500;

/// Maximum size of a PutRecords request in bytes, including the partition keys: 10 MiB.
///
/// See the PutRecords API reference. The limit was raised from 5 MiB in 2025.
pub const MAX_REQUEST_BYTES: usize = 10 * MIB;

/// Default of [`Limits::with_request_bytes`]: 5 MiB.
///
/// The service had this limit before 2025, and local servers and some regions still enforce it.
pub const DEFAULT_REQUEST_BYTES: usize = 5 * MIB;

/// Maximum size of a record in bytes, including its partition key, on a stream with a raised record size limit: 10 MiB.
///
/// See `MaxRecordSizeInKiB` in the UpdateMaxRecordSize API reference: 1024 to 10240.
pub const MAX_RECORD_BYTES: usize = 10 * MIB;

/// Default of [`Limits::with_record_bytes`]: 1 MiB, which is also the default record size limit of a stream.
pub const DEFAULT_RECORD_BYTES: usize = MIB;

/// Size of a PUT payload unit in bytes: 25 KiB.
///
/// On provisioned streams, each record is billed as a whole number of units. On-demand streams round the size of each
/// record up to a multiple of 1 KiB instead.
///
/// See "PUT Payload Unit" in the pricing of Kinesis Data Streams.
pub const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;

/// Maximum length of a partition key in Unicode characters (not bytes).
///
/// See `PartitionKey` in the PutRecordsRequestEntry API reference: length 1 to 256.
pub const MAX_PARTITION_KEY_CHARS: usize = 256;

/// Number of Kinesis records that a shard accepts per second.
///
/// See "Quotas and limits" in the Kinesis Data Streams developer guide.
pub const SHARD_RECORDS_PER_SECOND: usize = 1_000;

/// Number of bytes that a shard accepts per second, including the partition keys: 1 MiB.
///
/// See "Quotas and limits" in the Kinesis Data Streams developer guide.
pub const SHARD_BYTES_PER_SECOND: usize = MIB;

/// Maximum number of shards that a sink learns from responses. The sink does not trust responses that name more shards.
///
/// This is the largest default quota of an account, see "Quotas and limits" in the Kinesis Data Streams developer
/// guide.
pub(crate) const MAX_LEARNED_SHARDS: usize = 20_000;

/// Maximum length of a shard id in bytes.
///
/// See `ShardId` in the PutRecordsResultEntry API reference: 1 to 128 of `[a-zA-Z0-9_.-]`.
pub(crate) const MAX_SHARD_ID_BYTES: usize = 128;

const MIB: usize = 1024 * 1024;

/// Limits that a sink applies to requests, records and shards.
///
/// | limit | default | range |
/// |---|---|---|
/// | [request entries](Self::with_request_entries) | 500 | 1 to 500 |
/// | [request bytes](Self::with_request_bytes) | 5 MiB | 1 B to 10 MiB, at least the record bytes |
/// | [record bytes](Self::with_record_bytes) | 1 MiB | 1 B to 10 MiB |
/// | [shard records](Self::with_shard_records) | 1,000 per second | 1 to 1,000,000,000 |
/// | [shard bytes](Self::with_shard_bytes) | 1 MiB per second | 1 B to 1 TiB |
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
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "crate::settings::read::record_bytes",
            serialize_with = "crate::settings::read::number_or_none"
        )
    )]
    record_bytes: Option<usize>,
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::settings::read::shard_records")
    )]
    shard_records: usize,
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
    /// Sets the maximum number of entries in a request: 1 to 500. Default: 500 ([`MAX_REQUEST_ENTRIES`]).
    #[must_use]
    pub fn with_request_entries(mut self, entries: usize) -> Self {
        self.request_entries = entries;
        self
    }

    /// Sets the maximum size of a request in bytes, including the partition keys: 1 B to 10 MiB
    /// ([`MAX_REQUEST_BYTES`]). Default: 5 MiB ([`DEFAULT_REQUEST_BYTES`]).
    ///
    /// The request limit must be at least the record limit, [`record_bytes`](Self::record_bytes).
    #[must_use]
    pub fn with_request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Sets the maximum size of a record in bytes, including its partition key: 1 B to 10 MiB ([`MAX_RECORD_BYTES`]).
    /// Default: 1 MiB ([`DEFAULT_RECORD_BYTES`]).
    ///
    /// Raise this limit only for a stream with a raised `MaxRecordSizeInKiB`. If a record exceeds the stream's limit,
    /// the service rejects the whole request.
    #[must_use]
    pub fn with_record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = Some(bytes);
        self
    }

    /// Sets the maximum number of Kinesis records (single records or aggregates) that are sent to each shard per
    /// second, from 1 to 1,000,000,000. Default: 1,000 ([`SHARD_RECORDS_PER_SECOND`]).
    ///
    /// Lower this limit to reserve capacity for other producers. The limit applies only to [known
    /// shards](crate::guide::pacing). The sink knows a shard after the first response that names it. For a server that
    /// does not enforce this quota, raise both this limit and [`with_shard_bytes`](Self::with_shard_bytes).
    #[must_use]
    pub fn with_shard_records(mut self, records: usize) -> Self {
        self.shard_records = records;
        self
    }

    /// Sets the maximum number of bytes, including partition keys, that are sent to each shard per second, from 1 B to
    /// 1 TiB. Default: 1 MiB ([`SHARD_BYTES_PER_SECOND`]).
    ///
    /// As with [`with_shard_records`](Self::with_shard_records), the limit applies only to known shards.
    #[must_use]
    pub fn with_shard_bytes(mut self, bytes: u64) -> Self {
        self.shard_bytes = bytes;
        self
    }

    /// Returns the maximum number of Kinesis records that are sent to each shard per second.
    #[must_use]
    pub fn shard_records(&self) -> usize {
        self.shard_records
    }

    /// Returns the maximum number of bytes, including partition keys, that are sent to each shard per second.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.shard_bytes
    }

    pub(crate) fn quota(&self) -> Quota {
        Quota { records: self.shard_records as f64, bytes: self.shard_bytes as f64 }
    }

    /// Returns the maximum number of entries in a request.
    #[must_use]
    pub fn request_entries(&self) -> usize {
        self.request_entries
    }

    /// Returns the maximum size of a request in bytes, including the partition keys.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Returns the maximum size of a record in bytes, including its partition key.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes.unwrap_or(DEFAULT_RECORD_BYTES)
    }

    /// Applies the record size limit of a stream. If a lower limit was set, that limit is kept.
    pub(crate) fn for_stream(mut self, max_record_bytes: usize) -> Self {
        let max = max_record_bytes.clamp(1, MAX_RECORD_BYTES);
        self.record_bytes = Some(self.record_bytes.map_or(max, |set| set.min(max)));
        self
    }

    /// Applies the lowest record size limit that a stream can have.
    pub(crate) fn with_default_record_limit(self) -> Self {
        self.with_record_bytes(self.record_bytes().min(DEFAULT_RECORD_BYTES))
    }

    /// Applies the largest record size limit that a stream can have.
    pub(crate) fn with_max_record_limit(self) -> Self {
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
        // A request must fit the largest record.
        BuildError::check_order(
            (RECORD, record, DEFAULT_RECORD_BYTES.into()),
            (REQUEST, request, DEFAULT_REQUEST_BYTES.into()),
        )
    }

    /// Returns an error if the record can never be sent: it is too large, or its partition key is invalid.
    pub(crate) fn check(&self, record: &Record) -> Result<(), RecordError> {
        if let PartitionKey::Explicit(key) = record.partition_key() {
            if key.is_empty() {
                return Err(RecordError::EmptyPartitionKey);
            }
            // A key has at most as many characters as bytes, so the characters of short keys need not be counted.
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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordError {
    #[error(
        "record is {bytes} bytes with its partition key; split it to at most {limit}, or raise \
         limits.record_bytes if the stream allows it"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[cfg(feature = "spool")]
    #[error(
        "record is {bytes} bytes with its partition key, but a segment of the spool holds at most {limit}; raise \
         segment_bytes or max_bytes of the spool"
    )]
    ExceedsSegment { bytes: usize, limit: usize },
    #[error(
        "partition key is empty; use 1 to {MAX_PARTITION_KEY_CHARS} characters, or a random key"
    )]
    EmptyPartitionKey,
    #[error(
        "partition key is {chars} characters; shorten or hash it to at most {MAX_PARTITION_KEY_CHARS}"
    )]
    PartitionKeyTooLong { chars: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: String) -> Record {
        Record::from("x").with_partition_key(key)
    }

    #[test]
    fn partition_key_length_counts_characters() {
        let limits = Limits::default();
        // Each character has four bytes.
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
    fn record_size_includes_partition_key() {
        let limits = Limits::default().with_record_bytes(10);
        // "ß" is one character and two bytes.
        let fits = Record::from("12345678").with_partition_key("ß");
        assert_eq!(limits.check(&fits), Ok(()));
        let large = Record::from("123456789").with_partition_key("ß");
        assert_eq!(limits.check(&large), Err(RecordError::TooLarge { bytes: 11, limit: 10 }));
    }

    #[test]
    fn range_error_names_limit_and_range() {
        let message = |limits: Limits| limits.validate().unwrap_err().to_string();
        for entries in [0, 501] {
            assert_eq!(
                message(Limits::default().with_request_entries(entries)),
                format!("limits.request_entries is {entries}; set it between 1 and 500")
            );
        }
        assert_eq!(
            message(Limits::default().with_request_bytes(MAX_REQUEST_BYTES + 1)),
            "limits.request_bytes is 10485761B; set it between 1B and 10MiB"
        );
        assert_eq!(
            message(Limits::default().with_record_bytes(MAX_RECORD_BYTES + 1)),
            "limits.record_bytes is 10485761B; set it between 1B and 10MiB"
        );
        let largest = Limits::default()
            .with_request_bytes(MAX_REQUEST_BYTES)
            .with_record_bytes(MAX_RECORD_BYTES);
        assert_eq!(largest.validate(), Ok(()));
    }

    #[test]
    fn conflict_error_names_changed_limit() {
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
