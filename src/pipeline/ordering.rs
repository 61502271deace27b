/// Controls whether consumers read records with the same partition key in the order in which the sink accepted them.
///
/// By default, the order of records is not preserved, not even within a request. An entry can fail while the next one
/// is written, requests can overtake each other, and failed records can be retried after later ones have been
/// delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RecordOrdering {
    /// Does not preserve the order of records. The default.
    #[default]
    Unordered,
    /// Preserves the order in which the sink accepted records with the same partition key, across failures, timeouts,
    /// and resharding. The order of records without a partition key is not preserved.
    ///
    /// # Throughput
    ///
    /// For each partition key, one Kinesis record is in flight at a time. The next one is sent once its predecessor has
    /// been delivered or has failed. A request can still contain up to 500 different keys, so a stream with many keys
    /// is as fast as without ordering.
    ///
    /// The throughput of a single key is limited to one Kinesis record per round trip. With
    /// [`Aggregation`](crate::Aggregation), the records accepted during a round trip share the next aggregate, so that
    /// a single key can use the full capacity of its shard: with round trips of 20 ms, aggregates of 50 KiB result in
    /// 2.5 MB per second. Increase [`aggregate_bytes`](crate::Settings::aggregate_bytes) if round trips are longer.
    /// With [`PerShard`](crate::Aggregation::PerShard), one aggregate per shard is in flight at a time, and after each
    /// reshard the sink waits once until all requests in flight have completed.
    ///
    /// # Duplicates and gaps
    ///
    /// If the outcome of a request is unknown, for example after a timeout or a closed connection, its records are
    /// retried, so the stream can contain them twice. Both copies precede all later records with the same key. The
    /// records of an aggregate are repeated together, for example 1 2 3 1 2 3. For each key, the first copies of its
    /// records are in order, and so are the last copies. A failed record is missing from the stream, unless it was
    /// written by an attempt with an unknown outcome.
    ///
    /// Consumers that read a closed shard to its end before its child shards, as the KCL does, see the same order
    /// across resharding. With [`PerShard`](crate::Aggregation::PerShard), a reshard can cause an aggregate to be
    /// written to the wrong shard and sent again. The KCL discards the misplaced aggregate, but other consumers read
    /// its records twice, and out of order.
    ///
    /// A producer cannot prevent one case: after a [timeout](crate::Settings::request_timeout), the sink abandons the
    /// request, but the request can still be in transit, and the service can write its records after later ones. The
    /// records are then repeated out of order. A longer timeout makes this less likely.
    ///
    /// The order is not preserved on streams whose records are [distributed by the
    /// service](crate::stream::Distribution::Auto). The sink therefore rejects such a stream if it can
    /// [describe](crate::SinkBuilder::with_stream_info) the stream.
    ///
    /// Records with the same partition key and different explicit hash keys can belong to different shards. With
    /// [`Aggregation::PerShard`](crate::Aggregation::PerShard), their order is preserved within each shard. With
    /// [`Aggregation::PerKey`](crate::Aggregation::PerKey), only records with the same explicit hash key share an
    /// aggregate, so aggregates are small if records with different explicit hash keys alternate.
    PerKey,
}
