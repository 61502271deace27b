/// Numbers of requests and entries that a stream has received.
///
/// Requires the feature `sim`.
///
/// [`entries`](Self::entries) is the sum of the accepted, throttled and failed entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SimStats {
    /// PutRecords requests that were sent, including those that did not arrive.
    pub requests: u64,
    /// Requests that failed as a whole: by a fault, or because they were invalid.
    pub failed_requests: u64,
    /// Requests that did not arrive.
    pub lost_requests: u64,
    /// Requests that were written, but whose response did not arrive.
    pub lost_answers: u64,
    /// Requests that are written with a delay and without a response, including those that have not arrived yet.
    pub late_requests: u64,
    /// Entries of valid requests that arrived.
    pub entries: u64,
    /// Entries that were written.
    pub accepted_entries: u64,
    /// Bytes of the accepted entries, data and partition keys together.
    pub accepted_bytes: u64,
    /// Entries that were throttled, by the shard's quota or by a fault.
    pub throttled_entries: u64,
    /// Entries that failed with `InternalFailure`.
    pub failed_entries: u64,
    /// ListShards requests that were sent, one for each page. [`requests`](Self::requests) does not include them.
    pub listings: u64,
    /// DescribeStreamSummary requests that were sent. [`requests`](Self::requests) does not include them.
    pub descriptions: u64,
}
