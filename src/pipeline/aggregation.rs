use crate::record::Key;
use crate::settings::Settings;

/// Controls whether and how the sink packs several records into one Kinesis record. Aggregates have the KPL
/// [format](crate::aggregate).
///
/// A shard accepts up to 1,000 Kinesis records per second, so small records use only a fraction of its capacity. The
/// service also rounds up the size of each Kinesis record for billing. With aggregation, small records can use the full
/// capacity of a shard, which is one megabyte per second. Consumers must deaggregate the records. Those based on the
/// KCL do this automatically, and others can call [`deaggregate`](crate::aggregate::deaggregate).
///
/// The KCL discards a **whole aggregate** if the hash key of any of its records is outside of the shard that contains
/// the aggregate. Both [`PerKey`](Self::PerKey) and [`PerShard`](Self::PerShard) avoid this, even across resharding.
/// They cannot avoid it on streams whose records are [distributed by the service](crate::stream::Distribution::Auto). A
/// sink with aggregation therefore rejects such a stream if it can [describe](crate::SinkBuilder::with_stream_info) the
/// stream, even if the distribution changes while records are sent. Records with
/// [`PartitionKey::ServiceManaged`](crate::PartitionKey::ServiceManaged) are never aggregated.
///
/// If a payload starts with `F3 89 9A C2`, the first bytes of every aggregate, a sink with aggregation sends it inside
/// an aggregate, even if it is the only record in it. This ensures that consumers receive the payload unchanged. As a
/// plain record, it would make some consumers fail, and all consumers would deaggregate it if it is a complete
/// aggregate. The additional aggregate adds about 40 bytes and a second copy of the partition key. The sink sends the
/// payload as a plain record if the aggregate would exceed the [maximum record
/// size](crate::limits::Limits::with_record_bytes), or if the record is `ServiceManaged`. To send payloads that are
/// already aggregated, disable aggregation.
///
/// With aggregation, the sink waits for aggregates to fill; see [`Linger`](crate::settings::Linger). Aggregation also
/// changes two other defaults; see [`SinkBuilder`](crate::SinkBuilder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Aggregation {
    /// No aggregation: each record is sent as one Kinesis record. The default.
    #[default]
    Off,
    /// Aggregates records with the same partition key and explicit hash key. Records without a partition key share a
    /// random key, and each aggregate has a different one.
    ///
    /// All records of an aggregate have the same hash key and therefore belong to the same shard, so the sink does not
    /// need to know the shards of the stream. If it has a shard list, it uses the list to check that the service still
    /// distributes records by partition key. This mode is suitable for few partition keys, or none.
    PerKey,
    /// Aggregates records that belong to the same shard, regardless of their partition keys. This mode is suitable for
    /// many partition keys.
    ///
    /// This mode requires the shard list of the stream. `build` requests the list with the client (ListShards), and
    /// other service stacks get it from [`with_stream_info`](crate::SinkBuilder::with_stream_info). Until the sink has
    /// the list, records are aggregated as with [`PerKey`](Self::PerKey).
    ///
    /// The sink also falls back to `PerKey` if the service does not distribute records according to the shard list. The
    /// sink assumes this if two aggregates with the same record were written to shards that do not own all of their
    /// records, and the next list is unchanged. It then logs a warning, lists the shards once a minute, and returns to
    /// aggregation by shard when the list changes. Records with neither a partition key nor an explicit hash key are
    /// always aggregated as with `PerKey`.
    PerShard,
}

/// Partition key of the Kinesis record that contains an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AggregateKey {
    /// Partition key of the first record in the aggregate. Consumers that group by partition key, such as Lambda, can
    /// still process aggregates in parallel. The default.
    #[default]
    FirstMember,
    /// Constant key `a`, as in the KPL. The hash key of the first record becomes the explicit hash key.
    Kpl,
}

impl AggregateKey {
    fn constant(self) -> Option<Key> {
        match self {
            Self::FirstMember => None,
            Self::Kpl => Some(Key::from("a")),
        }
    }
}

/// Aggregation settings, capped by the record and request limits.
#[derive(Debug)]
pub(crate) struct Packing {
    aggregation: Aggregation,
    /// Maximum size of an aggregate, including its partition key.
    pub(crate) max_bytes: usize,
    /// Maximum size of a record, including its partition key.
    pub(crate) max_record_bytes: usize,
    pub(crate) max_records: usize,
    /// Partition key of every aggregate. `None` if each aggregate uses the key of its first member.
    pub(crate) constant_key: Option<Key>,
}

impl Packing {
    pub(crate) fn new(settings: &Settings) -> Self {
        let record = settings.limits.record_bytes();
        let request = settings.limits.request_bytes();
        Self {
            aggregation: settings.aggregation,
            // An aggregate must fit into one Kinesis record and into one request.
            max_bytes: settings.aggregate_bytes.min(record).min(request),
            max_record_bytes: record,
            max_records: settings.aggregate_records,
            constant_key: settings.aggregate_key.constant(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.aggregation != Aggregation::Off
    }
}
