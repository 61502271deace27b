use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::record::{HashKey, Key};
use crate::stream::StreamId;

/// One PutRecords request: the stream and up to 500 entries.
///
/// Cloning it copies nothing, so a retrying layer can keep one.
#[derive(Clone)]
pub struct PutRecordsRequest {
    stream: StreamId,
    entries: Arc<[Entry]>,
    bytes: usize,
    timeout_factor: u32,
}

impl PutRecordsRequest {
    /// A request that puts `entries` into `stream`.
    #[must_use]
    pub fn new(stream: StreamId, entries: impl Into<Arc<[Entry]>>) -> Self {
        let entries = entries.into();
        let bytes = entries.iter().map(Entry::size).sum();
        Self { stream, entries, bytes, timeout_factor: 1 }
    }

    /// Sets by which factor the request may take longer than its time limit, at least 1; by default 1. The
    /// sink raises it while requests time out again and again, up to 64.
    ///
    /// [`TimeoutLayer`](crate::timeout::TimeoutLayer) multiplies its limit by it.
    #[must_use]
    pub fn with_timeout_factor(mut self, factor: u32) -> Self {
        self.timeout_factor = factor.max(1);
        self
    }

    /// The stream that takes the entries.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The entries, in the order in which the response must answer them.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The factor by which the request may take longer than its time limit, at least 1.
    #[must_use]
    pub fn timeout_factor(&self) -> u32 {
        self.timeout_factor
    }

    /// Bytes of data and partition keys together.
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

/// One Kinesis record of a request.
///
/// `Debug` shows sizes, never the payload or the key.
#[derive(Clone)]
pub struct Entry {
    data: Bytes,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
}

impl Entry {
    /// An entry; without a partition key the service places it itself, on streams that allow it.
    #[must_use]
    pub fn new(
        data: Bytes,
        partition_key: Option<Key>,
        explicit_hash_key: Option<HashKey>,
    ) -> Self {
        Self { data, partition_key, explicit_hash_key }
    }

    /// The payload.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The partition key as it is sent.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// The explicit hash key, if the record has one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Bytes as the service counts them: data plus partition key.
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
