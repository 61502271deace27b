use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::record::{HashKey, Key};
use crate::service::Entry;

/// A record accepted by a [`SimStream`](super::SimStream).
///
/// Requires the feature `sim`.
///
/// Clones share the payload. The `Debug` output shows the sizes of the payload and the partition key, but not their
/// contents.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    shard_id: SmolStr,
    sequence: u64,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
    data: Bytes,
    data_bytes: usize,
    at: Duration,
}

impl Written {
    pub(super) fn new(
        entry: &Entry,
        shard_id: SmolStr,
        sequence: u64,
        kept_bytes: usize,
        at: Duration,
    ) -> Self {
        let data = entry.data();
        Self {
            shard_id,
            sequence,
            partition_key: entry.partition_key().cloned(),
            explicit_hash_key: entry.explicit_hash_key(),
            // A slice of the payload would keep the whole payload in memory, so the beginning is copied.
            data: match data.get(..kept_bytes) {
                Some(kept) if kept.len() < data.len() => Bytes::copy_from_slice(kept),
                _ => data.clone(),
            },
            data_bytes: data.len(),
            at,
        }
    }

    /// Returns the id of the shard that contains the record.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// Returns the sequence number, a string of 56 digits as in the response.
    ///
    /// Later records have larger sequence numbers, even if the numbers are compared as strings.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        sequence_number(self.sequence)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the partition key.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// Returns the explicit hash key.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Returns the payload, or only its beginning if the payload is longer than
    /// [`with_kept_bytes`](super::SimBuilder::with_kept_bytes).
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the size in bytes as counted by the service: the complete payload and the partition key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data_bytes + self.partition_key.as_ref().map_or(0, |key| key.len())
    }

    /// Returns the time between the creation of the stream and the write of the record.
    #[must_use]
    pub fn at(&self) -> Duration {
        self.at
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("shard_id", &self.shard_id)
            .field("sequence", &self.sequence)
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key)
            .field("data_bytes", &self.data_bytes)
            .field("at", &self.at)
            .finish()
    }
}

/// Formats a sequence number. Leading digits are a literal, because padding takes longer than the rest of a write.
pub(super) fn sequence_number(sequence: u64) -> String {
    format!("490000000000000000000000000000000000{sequence:020}")
}

pub(super) fn parse_sequence_number(number: &str) -> Option<u64> {
    let digits = number.strip_prefix("49").filter(|digits| digits.len() == 54);
    digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok()
}
