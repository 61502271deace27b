//! What the sink says about its work.

use crate::service::ErrorCount;

/// One request and its outcome, see [`KinesisSink::last_request`](crate::KinesisSink::last_request).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequestSummary {
    /// Records that it carried.
    pub records: usize,
    /// Entries that it carried: with aggregation fewer than records.
    pub entries: usize,
    /// Bytes of its entries: data and partition keys.
    pub bytes: usize,
    /// Records that were delivered.
    pub delivered: usize,
    /// The distinct errors; of a request that failed as a whole, its one error.
    pub errors: Vec<ErrorCount>,
}

/// Everything that the sink did since it was built, see
/// [`KinesisSink::totals`](crate::KinesisSink::totals).
///
/// At every moment `accepted` is the sum of `delivered`, `failed`, `withdrawn` and the records still
/// [waiting](crate::KinesisSink::waiting) or [in flight](crate::KinesisSink::in_flight).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Records that `start_send` took.
    pub accepted: u64,
    /// Records that the service confirmed.
    pub delivered: u64,
    /// Bytes of those records: data and partition keys.
    pub delivered_bytes: u64,
    /// Entries that carried those records. Each is one Kinesis record: with aggregation there are fewer
    /// than records, otherwise as many.
    pub entries: u64,
    /// Bytes of those entries: data and partition keys.
    pub entry_bytes: u64,
    /// Entries that came to lie in a shard that is not the shard of all their records, because the stream
    /// was resharded. Consumers throw them away, and their records were sent again.
    pub misplaced: u64,
    /// Records that failed for good.
    pub failed: u64,
    /// Records that the owner took back before they were settled, or that were given up with their sink.
    pub withdrawn: u64,
    /// Requests that were handed to the service.
    pub requests: u64,
    /// How often a record was put back into the queue after an attempt.
    pub requeued: u64,
    /// How often an entry came back throttled.
    pub throttled: u64,
}

impl Totals {
    /// Records that are accepted and not settled.
    pub(crate) fn unsettled(&self) -> usize {
        let settled = self.delivered + self.failed + self.withdrawn;
        usize::try_from(self.accepted - settled).unwrap_or(usize::MAX)
    }
}
