/// Order in which consumers read the records of a partition key.
///
/// By default, records have no order, not even those of one request: an entry can fail while the next one is written,
/// requests overtake each other, and failed records are retried after later ones were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RecordOrdering {
    /// No order. The default.
    #[default]
    Unordered,
    /// Records with the same partition key keep the order in which the sink accepted them, across failures, timeouts,
    /// and resharding. Records without a key have no order.
    ///
    /// # Throughput
    ///
    /// One Kinesis record of a key is in flight at a time. The next one is sent when it was delivered or has failed. A
    /// request still contains up to 500 different keys, so a stream of many keys is as fast as without ordering.
    ///
    /// A single key is limited to one Kinesis record per round trip. With [`Aggregation`](crate::Aggregation), the
    /// records accepted in the meantime share the next aggregate, and one key can fill its shard: with round trips of
    /// 20 ms, aggregates of 50 KiB result in 2.5 MB per second. Increase
    /// [`aggregate_bytes`](crate::Settings::aggregate_bytes) if round trips are longer. With
    /// [`PerShard`](crate::Aggregation::PerShard), a shard has one aggregate in flight at a time, and the sink waits
    /// for all requests in flight once if the stream is resharded.
    ///
    /// # Duplicates and gaps
    ///
    /// A record whose request has an unknown outcome, such as a timeout or a closed connection, is retried and can be
    /// in the stream twice. Both copies precede all later records. The records of an aggregate are repeated together: 1
    /// 2 3 1 2 3. The first copies of a key's records are in order, and so are the last copies. A failed record is
    /// missing, unless an attempt with an unknown outcome has written it.
    ///
    /// Consumers that read a closed shard to its end before its children, as the KCL does, see the same order across
    /// resharding. With [`PerShard`](crate::Aggregation::PerShard), a reshard can misplace an aggregate. The KCL
    /// discards it, but other consumers read its records a second time, out of order.
    ///
    /// One case cannot be excluded by a producer: a request that was abandoned after its
    /// [timeout](crate::Settings::request_timeout) can still be in the network, and be written after later records. Its
    /// records are then repeated out of order. A longer timeout makes this less likely.
    ///
    /// Keys have no order on streams that [distribute their records themselves](crate::stream::Distribution::Auto). The
    /// sink rejects such a stream if it can [describe](crate::SinkBuilder::with_stream_info) it.
    ///
    /// Records with the same partition key and different explicit hash keys can belong to different shards. With
    /// `PerShard`, their order is kept within each shard. With `PerKey`, only records with the same explicit hash key
    /// share an aggregate, so that aggregates are small where such records alternate.
    PerKey,
}
