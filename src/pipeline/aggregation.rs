use crate::record::Key;
use crate::settings::Settings;

/// Aggregation of several records into one Kinesis record, in the [format](crate::aggregate) of the KPL.
///
/// A shard accepts 1,000 Kinesis records per second and bills each one rounded up, so that small records use a fraction
/// of its capacity. With aggregation, they use the whole megabyte per second. Consumers must deaggregate the records,
/// as those based on the KCL do, or those that call [`deaggregate`](crate::aggregate::deaggregate).
///
/// The KCL discards an aggregate **as a whole** if the hash key of one of its records is outside of the shard that
/// contains the aggregate. Both kinds of aggregation avoid this, even across resharding. They cannot avoid it on
/// streams that [distribute their records themselves](crate::stream::Distribution::Auto). A sink with aggregation
/// rejects such a stream, also if the stream is switched while records are sent, provided that it can
/// [describe](crate::SinkBuilder::with_stream_info) the stream. Records with
/// [`PartitionKey::ServiceManaged`](crate::PartitionKey::ServiceManaged) are never aggregated.
///
/// A payload that starts like an aggregate, with the bytes `F3 89 9A C2`, is sent inside of an aggregate, which may
/// contain only this record. Consumers then receive it unchanged. If it was sent plain, some consumers would fail, and
/// all of them would deaggregate a payload that is a complete aggregate. The additional aggregate takes about 40 bytes
/// and a second copy of the partition key. The payload is sent plain if this exceeds the
/// [maximum size](crate::limits::Limits::with_record_bytes) of a record, or if its record is `ServiceManaged`. Disable
/// aggregation to send existing aggregates.
///
/// With aggregation, the sink waits for aggregates to fill, see [`Linger`](crate::settings::Linger). Two more defaults
/// change, see [`SinkBuilder`](crate::SinkBuilder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Aggregation {
    /// No aggregation: each record is one Kinesis record. The default.
    #[default]
    Off,
    /// Aggregates records with the same partition key and explicit hash key. Records without a key are aggregated under
    /// a random key that is drawn for each aggregate.
    ///
    /// All records of an aggregate belong to the same shard by construction, so the shards of the stream need not be
    /// known. With a list of them, the sink can check that the stream still places records by their keys. Suitable for
    /// few keys, or none.
    PerKey,
    /// Aggregates all records that belong to the same shard, whatever their keys. Suitable for many keys.
    ///
    /// This requires the stream's shards: `build` lists them with the client (ListShards), other stacks get them from
    /// [`with_stream_info`](crate::SinkBuilder::with_stream_info). While they are not known, aggregation is by key, as
    /// in `PerKey`.
    ///
    /// Aggregation also falls back to `PerKey` if aggregates of a record were written twice to shards that the list
    /// rules out, and the next list is the same. The sink then logs a warning, lists the shards once a minute, and
    /// returns to aggregation by shard when the list changes. Records without a partition key and explicit hash key are
    /// always aggregated as in `PerKey`.
    PerShard,
}

/// Partition key of the Kinesis record that contains an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AggregateKey {
    /// The partition key of the first record in the aggregate. Consumers that group by partition key, such as Lambda,
    /// can still process aggregates in parallel. The default.
    #[default]
    FirstMember,
    /// The constant `a`, with the hash key of the first record as explicit hash key, as in the KPL.
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

/// Settings of aggregation within the limits.
#[derive(Debug)]
pub(crate) struct Packing {
    aggregation: Aggregation,
    /// Maximum size of an aggregate, including its partition key.
    pub(crate) max_bytes: usize,
    /// Maximum size of a record, including its partition key.
    pub(crate) max_record_bytes: usize,
    pub(crate) max_records: usize,
    /// Partition key of every aggregate. `None` for that of the first member.
    pub(crate) constant_key: Option<Key>,
}

impl Packing {
    pub(crate) fn new(settings: &Settings) -> Self {
        let record = settings.limits.record_bytes();
        let request = settings.limits.request_bytes();
        Self {
            aggregation: settings.aggregation,
            // An aggregate is one record of a request.
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
