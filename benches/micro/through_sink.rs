//! Sends records through a sink whose service responds immediately.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::{SinkExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, StreamId};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Service};

pub const RECORDS: usize = 10_000;
const KEYS: usize = 1_000;
const DATA_BYTES: usize = 100;
const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
const ID_BYTES: usize = "shardId-000000000000".len();

/// Settings of the sink and the number of shards. The number must be a power of two.
#[derive(Clone, Copy)]
pub struct Case {
    pub aggregation: Aggregation,
    pub ordering: RecordOrdering,
    pub shards: u32,
}

impl Case {
    pub const PLAIN: Self = Self::new(Aggregation::Off, RecordOrdering::Unordered, 4);
    pub const MANY_SHARDS: Self = Self::new(Aggregation::Off, RecordOrdering::Unordered, 4_096);
    pub const PER_SHARD: Self = Self::new(Aggregation::PerShard, RecordOrdering::Unordered, 4);
    pub const ORDERED: Self = Self::new(Aggregation::Off, RecordOrdering::PerKey, 4);
    pub const ORDERED_PER_SHARD: Self = Self::new(Aggregation::PerShard, RecordOrdering::PerKey, 4);

    const fn new(aggregation: Aggregation, ordering: RecordOrdering, shards: u32) -> Self {
        Self { aggregation, ordering, shards }
    }

    fn shard_of(self, key: &str) -> u32 {
        let prefix = (hash_of(key).get() >> 96) as u64;
        ((prefix * u64::from(self.shards)) >> 32) as u32
    }

    fn listed(self) -> Vec<Shard> {
        let width = u128::MAX / u128::from(self.shards);
        let shard = |number| {
            let start = u128::from(number) * (width + 1);
            let range = HashRange::new(HashKey::new(start), HashKey::new(start + width));
            Shard::new(id(number), range.expect("the range is not empty"))
        };
        (0..self.shards).map(shard).collect()
    }

    fn record(self, number: usize) -> Record {
        let key = format!("device-{:04}", number % KEYS);
        let mut data = id(self.shard_of(&key)).into_bytes();
        data.resize(DATA_BYTES, b'.');
        Record::from((key, data))
    }
}

fn id(shard: u32) -> String {
    format!("shardId-{shard:012}")
}

/// Delivers each entry immediately. The payload of an entry names its shard. An aggregate goes to the shard of its key.
#[derive(Clone)]
pub struct MockService(Case);

impl MockService {
    fn placement(&self, entry: &Entry) -> Placement {
        let prefix = entry.data().get(..ID_BYTES).and_then(|id| str::from_utf8(id).ok());
        match prefix.filter(|id| id.starts_with("shardId-")) {
            Some(id) => Placement::new(id, SEQUENCE_NUMBER),
            None => {
                let key = entry.partition_key().expect("entries have keys");
                Placement::new(id(self.0.shard_of(key)), SEQUENCE_NUMBER)
            }
        }
    }
}

impl Service<PutRecordsRequest> for MockService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Ready<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let results = request.entries().iter().map(|entry| Ok(self.placement(entry))).collect();
        ready(Ok(PutRecordsResponse::new(results)))
    }
}

/// A sink and the records to send. The sink has already delivered [`RECORDS`] records, so it knows its shards.
pub struct ThroughSink {
    runtime: Runtime,
    sink: KinesisSink<MockService>,
    records: Vec<Record>,
}

impl ThroughSink {
    /// Creates a sink on virtual time, so that linger takes no time and each run sends the same requests.
    pub fn new(case: Case) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime =
            builder.enable_time().start_paused(true).build().expect("failed to build a runtime");
        // Disables the rate limit.
        let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
        let sink = KinesisSink::builder("example")
            .configure(|settings| {
                settings.seed = Some(1);
                settings.limits = limits;
            })
            .with_aggregation(case.aggregation)
            .with_ordering(case.ordering)
            .with_stream_info(list_shards_fn(move |_: StreamId| async move {
                Ok::<_, BoxError>(case.listed())
            }))
            .build_with(MockService(case))
            .expect("the settings are valid");
        let records = (0..RECORDS).map(|number| case.record(number)).collect();
        let mut this = Self { runtime, sink, records };
        this.send();
        this
    }

    pub fn send(&mut self) {
        let Self { runtime, sink, records } = self;
        let delivered = sink.totals().delivered;
        let mut records = stream::iter(records.iter().cloned().map(Ok));
        runtime.block_on(sink.send_all(&mut records)).expect("all records are delivered");
        assert_eq!(sink.totals().delivered, delivered + RECORDS as u64);
    }
}
