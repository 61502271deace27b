/// Counts of the requests sent to a stream and of their entries.
///
/// Requires the feature `sim`.
///
/// The field [`entries`](Self::entries) is the sum of the accepted, throttled and failed entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SimStats {
    /// Number of PutRecords requests that were sent, including requests that did not arrive.
    pub requests: u64,
    /// Number of PutRecords requests that failed as a whole because of a fault or because they were invalid.
    pub failed_requests: u64,
    /// Number of PutRecords requests that did not arrive at the stream.
    pub lost_requests: u64,
    /// Number of PutRecords requests that were written, but whose response did not arrive at the client.
    pub lost_answers: u64,
    /// Number of PutRecords requests that are written late and without a response, including requests that have not
    /// arrived yet.
    pub late_requests: u64,
    /// Number of entries in valid requests that arrived.
    pub entries: u64,
    /// Number of entries that were written.
    pub accepted_entries: u64,
    /// Size of the accepted entries in bytes, including their partition keys.
    pub accepted_bytes: u64,
    /// Number of entries that were throttled by the quota of the shard or by a fault.
    pub throttled_entries: u64,
    /// Number of entries that failed with `InternalFailure`.
    pub failed_entries: u64,
    /// Number of ListShards requests that were sent, one for each page. [`requests`](Self::requests) does not include
    /// them.
    pub listings: u64,
    /// Number of DescribeStreamSummary requests that were sent. [`requests`](Self::requests) does not include them.
    pub descriptions: u64,
}
