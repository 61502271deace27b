use crate::record::Key;
use crate::settings::Settings;

/// Packing of several records into one Kinesis record, in the KPL's [format](crate::aggregate).
///
/// A shard takes 1,000 Kinesis records a second and bills each one rounded up, so small records use a
/// fraction of what is paid for: aggregated they use a shard's whole megabyte a second. Consumers must
/// take the aggregates apart, as every consumer made with the KCL does, or one that calls
/// [`deaggregate`](crate::aggregate::deaggregate).
///
/// A consumer of the KCL throws an aggregate away **as a whole** if one of its members hashes outside of
/// the shard that holds the aggregate. Both kinds of aggregation avoid this, through resharding too. On streams that
/// [distribute their records themselves](crate::stream::Distribution::Auto) nothing could: there a sink
/// that aggregates is refused, if it may have the stream
/// [described](crate::SinkBuilder::with_stream_info), also when the stream is switched while records are
/// sent. Records of [`PartitionKey::ServiceManaged`](crate::PartitionKey::ServiceManaged) are never aggregated.
///
/// A payload that begins like an aggregate (with the bytes `F3 89 9A C2`) is sent inside an aggregate, if
/// necessary of one record, so that consumers find it as it was accepted. Sent plain, it would make some readers
/// fail, and all readers would take apart one that is a whole aggregate. The aggregate adds some 40 bytes and a
/// second copy of the partition key. If that makes the record larger than it
/// [may be](crate::limits::Limits::with_record_bytes), it is sent plain; so are records of `ServiceManaged`. To write
/// aggregates that were made elsewhere, leave aggregation off.
///
/// With aggregation the sink waits for an aggregate to fill, see [`Linger`](crate::settings::Linger), and two more
/// defaults change, see [`SinkBuilder`](crate::SinkBuilder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Aggregation {
    /// Each record is a Kinesis record of its own. The default.
    #[default]
    Off,
    /// Records with the same partition key and explicit hash key travel together, and records without
    /// a key do, under a random key drawn for each aggregate. An aggregate is in one shard by
    /// construction, so the stream's shards need not be known. With a list of them the sink can check
    /// whether the stream still places records by their keys. Right for few keys, or none.
    PerKey,
    /// All records that hash into the same shard travel together, whatever their keys. Right for many
    /// keys. It needs to know the stream's shards: `build` asks the service (ListShards), other stacks
    /// get them from [`with_stream_info`](crate::SinkBuilder::with_stream_info). While they are not
    /// known, it is like `PerKey`. It also is like `PerKey` once aggregates of a record were written twice to shards
    /// that the list rules out, and the next list is the same: the sink then logs a warning, lists the shards once a
    /// minute, and packs by shard again as soon as the list changes. Records without a key and explicit hash key are
    /// packed as in `PerKey`.
    PerShard,
}

/// The partition key of the Kinesis record that is an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AggregateKey {
    /// That of its first member. The default: consumers that group by partition key (Lambda) go on
    /// working in parallel.
    #[default]
    FirstMember,
    /// The constant `a`, and the first member's place on the hash ring as explicit hash key, as the KPL
    /// does it.
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

/// How records are packed into aggregates: the settings within the limits.
#[derive(Debug)]
pub(crate) struct Packing {
    aggregation: Aggregation,
    /// The most bytes of an aggregate, its partition key included.
    pub(crate) max_bytes: usize,
    /// The most bytes of a record, its partition key included.
    pub(crate) max_record_bytes: usize,
    /// The most records of an aggregate.
    pub(crate) max_records: usize,
    /// The partition key of every aggregate, if it is not the first member's.
    pub(crate) constant_key: Option<Key>,
}

impl Packing {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (record, request) = (settings.limits.record_bytes(), settings.limits.request_bytes());
        Self {
            aggregation: settings.aggregation,
            // An aggregate is a record, too, and travels in a request.
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
