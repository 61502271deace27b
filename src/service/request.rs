use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::record::{HashKey, Key};
use crate::stream::StreamId;

/// PutRecords request with up to 500 entries for one stream.
///
/// Clones share the entries, so a clone is cheap.
#[derive(Clone)]
pub struct PutRecordsRequest {
    stream: StreamId,
    entries: Arc<[Entry]>,
    bytes: usize,
    timeout_factor: u32,
    #[cfg(feature = "metrics")]
    shares_label: bool,
}

impl PutRecordsRequest {
    /// Creates a request that puts `entries` into `stream`.
    #[must_use]
    pub fn new(stream: StreamId, entries: impl Into<Arc<[Entry]>>) -> Self {
        let entries = entries.into();
        let bytes = entries.iter().map(Entry::size).sum();
        Self {
            stream,
            entries,
            bytes,
            timeout_factor: 1,
            #[cfg(feature = "metrics")]
            shares_label: false,
        }
    }

    /// Sets the factor by which [`TimeoutLayer`](crate::timeout::TimeoutLayer) multiplies its timeout. Default: 1.
    ///
    /// A factor of 0 is treated as 1. If requests time out repeatedly, the sink raises the factor to up to 64.
    #[must_use]
    pub fn with_timeout_factor(mut self, factor: u32) -> Self {
        self.timeout_factor = factor.max(1);
        self
    }

    /// Sets whether the metrics of the request have the label value of the streams that share one.
    #[cfg(feature = "metrics")]
    pub(crate) fn with_shared_label(mut self, shares_label: bool) -> Self {
        self.shares_label = shares_label;
        self
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn shares_label(&self) -> bool {
        self.shares_label
    }

    /// Returns the stream of the request.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Returns the entries. The results of the response are in the same order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the factor by which the timeout of the request is multiplied. The factor is at least 1.
    #[must_use]
    pub fn timeout_factor(&self) -> u32 {
        self.timeout_factor
    }

    /// Returns the total size of the data and partition keys of all entries in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for PutRecordsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRecordsRequest")
            .field("stream", &self.stream)
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

/// Entry of a [`PutRecordsRequest`], which the service stores as one Kinesis record.
///
/// The `Debug` output shows sizes, but neither the data nor the keys.
#[derive(Clone)]
pub struct Entry {
    data: Bytes,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
}

impl Entry {
    /// Creates an entry.
    ///
    /// Some streams accept entries without a partition key. The service then chooses the shard of the entry.
    #[must_use]
    pub fn new(
        data: Bytes,
        partition_key: Option<Key>,
        explicit_hash_key: Option<HashKey>,
    ) -> Self {
        Self { data, partition_key, explicit_hash_key }
    }

    /// Returns the data.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the partition key, if there is one.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// Returns the explicit hash key, if there is one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Returns the size of the data and the partition key in bytes. The limits of the service apply to this size.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len() + self.partition_key.as_ref().map_or(0, |key| key.len())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("data_bytes", &self.data.len())
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key)
            .finish()
    }
}
