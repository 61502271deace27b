/// What a stream has seen until now.
///
/// Needs the feature `sim`.
///
/// Of the entries that arrived, each was accepted, throttled or failed: the three add up to
/// [`entries`](Self::entries).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SimStats {
    /// PutRecords requests that were sent, arrived or not.
    pub requests: u64,
    /// Requests answered with an error as a whole: by a fault, or because they were not valid.
    pub failed_requests: u64,
    /// Requests that never arrived.
    pub lost_requests: u64,
    /// Requests that were written, but whose answer never came.
    pub lost_answers: u64,
    /// Requests that arrived late, or still will, without an answer.
    pub late_requests: u64,
    /// Entries of the requests that arrived and were valid.
    pub entries: u64,
    /// Entries that were written.
    pub accepted_entries: u64,
    /// Bytes of those, data and partition keys together.
    pub accepted_bytes: u64,
    /// Entries that were throttled, by the shard's quota or by a fault.
    pub throttled_entries: u64,
    /// Entries that failed with `InternalFailure`.
    pub failed_entries: u64,
    /// ListShards requests that were sent, one for each page. They are none of the
    /// [`requests`](Self::requests).
    pub listings: u64,
    /// DescribeStreamSummary requests that were sent, none of the [`requests`](Self::requests) either.
    pub descriptions: u64,
}
