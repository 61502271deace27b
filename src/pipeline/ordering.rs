/// Order in which consumers read the records of a partition key.
///
/// An entry of a request can fail while the next one is written, requests overtake each other, and what
/// failed is sent again after what did not. So by default there is no order, not even among records
/// of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RecordOrdering {
    /// No order. The default.
    #[default]
    Unordered,
    /// In the order in which the sink accepted them, for records with the same partition key: through
    /// failures, timeouts and resharding. Records without a key have no order to keep.
    ///
    /// # What it costs
    ///
    /// Of a key one Kinesis record is in flight at a time: the next one goes when it was delivered or
    /// given up. A request still carries up to 500 different keys, so a stream of many keys is as fast as
    /// without. A single key moves one record in each round trip; with [`Aggregation`](crate::Aggregation)
    /// what comes in the meantime gathers in its next aggregate, and one key can fill its shard: at 20 ms
    /// a round trip, aggregates of 50 KiB make 2.5 MB a second. With longer round trips raise
    /// [`aggregate_bytes`](crate::Settings::aggregate_bytes). With
    /// [`PerShard`](crate::Aggregation::PerShard) a shard has one aggregate in flight at a time, and when
    /// the stream is resharded the sink waits once for what is in flight.
    ///
    /// # What consumers find
    ///
    /// A record whose request has an unknown outcome (a timeout, a broken connection) is sent again, and
    /// can be in the stream twice: both times before everything that is sent after it. The members of an
    /// aggregate come again together: 1 2 3 1 2 3. The first copies of a key's records are in order, and so
    /// are the last ones. A record that fails for good is left out, unless an attempt of unknown outcome
    /// has written it. Consumers that read a closed shard to its end before its children, as
    /// the KCL does, find the order across resharding, too. With
    /// [`PerShard`](crate::Aggregation::PerShard) a reshard can misplace an aggregate, which the KCL discards;
    /// consumers without that rule find its records a second time, out of order.
    ///
    /// One thing no producer can rule out: a request that was given up after its
    /// [timeout](crate::Settings::request_timeout) can still lie somewhere on its way, and be
    /// written when later records are. Its records then come once more, out of order. A longer timeout
    /// makes that rarer.
    ///
    /// On streams that [distribute their records themselves](crate::stream::Distribution::Auto) no key has an
    /// order. The sink refuses such a stream if it may have it
    /// [described](crate::SinkBuilder::with_stream_info).
    ///
    /// Records with the same partition key and different explicit hash keys can lie in different shards;
    /// with `PerShard` their order is kept within each shard. Where such records alternate, aggregates are
    /// small: of one key only records with the same hash key share one.
    PerKey,
}
