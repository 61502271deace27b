use kinesis_sink::limits::Limits;
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, BuildError, KinesisSink, RecordOrdering, SinkBuilder, StreamId};
use tower::BoxError;

use super::even_shards::EvenShards;
use super::service::MockService;

pub type Sink = KinesisSink<MockService>;

/// Records per aggregate, few enough that aggregates are full before the buffer is, with any number of shards.
const AGGREGATE_RECORDS: usize = 20;
const BUFFER_RECORDS: usize = 200_000;

#[derive(Clone, Copy)]
pub struct Mode {
    pub name: &'static str,
    pub aggregation: Aggregation,
    pub ordering: RecordOrdering,
}

impl Mode {
    pub const PLAIN: Self = Self::new("plain", Aggregation::Off, RecordOrdering::Unordered);
    pub const PER_SHARD: Self =
        Self::new("PerShard", Aggregation::PerShard, RecordOrdering::Unordered);
    pub const ORDERED: Self = Self::new("ordered", Aggregation::Off, RecordOrdering::PerKey);
    pub const ORDERED_PER_SHARD: Self =
        Self::new("ordered, PerShard", Aggregation::PerShard, RecordOrdering::PerKey);
    pub const ALL: [Self; 4] =
        [Self::PLAIN, Self::PER_SHARD, Self::ORDERED, Self::ORDERED_PER_SHARD];

    const fn new(name: &'static str, aggregation: Aggregation, ordering: RecordOrdering) -> Self {
        Self { name, aggregation, ordering }
    }

    /// Returns a builder for sinks that list the shards. The shards have no quotas.
    pub fn builder(self, shards: &EvenShards) -> SinkBuilder {
        let shards = shards.listed();
        self.builder_without_list().with_stream_info(list_shards_fn(move |_: StreamId| {
            let shards = shards.clone();
            async { Ok::<_, BoxError>(shards) }
        }))
    }

    /// Returns a builder for sinks that learn the shards from the responses.
    pub fn builder_without_list(self) -> SinkBuilder {
        KinesisSink::builder("example")
            .configure(|settings| {
                settings.seed = Some(1);
                settings.limits = without_quotas();
            })
            .with_aggregation(self.aggregation)
            .configure(|settings| settings.aggregate_records = AGGREGATE_RECORDS)
            .with_ordering(self.ordering)
            .configure(|settings| {
                settings.buffer_records = Some(BUFFER_RECORDS);
                settings.buffer_bytes = 1 << 32;
            })
    }
}

pub fn without_quotas() -> Limits {
    Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
}

pub fn build(builder: SinkBuilder, service: MockService) -> Sink {
    let sink: Result<_, BuildError> = builder.build_with(service);
    sink.expect("the settings are valid")
}
