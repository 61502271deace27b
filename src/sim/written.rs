use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::record::{HashKey, Key};
use crate::service::Entry;

/// A record that the stream has accepted.
///
/// Needs the feature `sim`.
///
/// Cloning it copies no payload. `Debug` shows sizes, never the payload or the key.
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
            // A copy of the beginning: a slice would keep all of it in memory.
            data: match data.get(..kept_bytes) {
                Some(kept) if kept.len() < data.len() => Bytes::copy_from_slice(kept),
                _ => data.clone(),
            },
            data_bytes: data.len(),
            at,
        }
    }

    /// The shard that took it.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// Its sequence number, as the answer told it: 56 digits. Later records of the stream have larger
    /// ones, so that they sort as text.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        sequence_number(self.sequence)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its partition key.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// Its explicit hash key.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Its payload, or the beginning of it, see
    /// [`with_kept_bytes`](super::SimBuilder::with_kept_bytes).
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Bytes as the service counts them: the whole payload plus the partition key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data_bytes + self.partition_key.as_ref().map_or(0, |key| key.len())
    }

    /// When it was written, counted from when the stream was built.
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

/// Formats a number like the service, with 49 or 54 digits. A `u64` has at most 20; to pad the others one by one
/// would take longer than the rest of a write.
pub(super) fn sequence_number(sequence: u64) -> String {
    format!("490000000000000000000000000000000000{sequence:020}")
}

/// The reverse. `None` if no stream of the simulation has such a number.
pub(super) fn read_sequence_number(number: &str) -> Option<u64> {
    let digits = number.strip_prefix("49").filter(|digits| digits.len() == 54);
    digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok()
}
