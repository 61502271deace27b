//! The sink, fed by `forward`.

use aws_sdk_kinesis::Client;
use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{PutRecords, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::shard::{HashRange, Shard};
use kinesis_sink::status::Totals;
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, SinkBuilder, StreamId};
use tower::{BoxError, Service};

use super::{STREAM, Told, Way, limits, put_records};
use crate::case::Case;
use crate::load::Load;
use crate::server::SHARD_ID;

pub struct ThroughSink<S> {
    sink: KinesisSink<S>,
}

impl ThroughSink<PutRecords> {
    /// Over the SDK's call alone.
    pub fn new(case: Case, client: &Client, in_flight: usize) -> Self {
        let sink = builder(case, in_flight).build_with(put_records(case, client));
        Self { sink: sink.expect("it is valid") }
    }
}

impl ThroughSink<kinesis_sink::service::DefaultService> {
    /// Over the stack that it has by default.
    pub fn with_layers(case: Case, client: &Client, in_flight: usize) -> Self {
        let sink = builder(case, in_flight).build(client);
        Self { sink: sink.expect("it is valid") }
    }
}

/// The defaults, but for no quotas, and room for what is in flight and some more where there is much.
pub fn builder(case: Case, in_flight: usize) -> SinkBuilder {
    let limits = limits();
    let mut builder = KinesisSink::builder(STREAM)
        .configure(|settings| settings.limits = limits)
        .with_max_in_flight(in_flight);
    if case == Case::SinkOrdered {
        builder = builder.with_ordering(RecordOrdering::PerKey);
    }
    if case.aggregates() {
        return builder
            .with_aggregation(Aggregation::PerShard)
            .with_stream_info(list_shards_fn(one_shard));
    }
    let records = 2 * in_flight * limits.request_entries();
    let bytes = (in_flight + 2) * limits.request_bytes();
    builder.configure(|settings| {
        settings.buffer_records = Some(records.max(10_000));
        settings.buffer_bytes = bytes.max(DEFAULT_BUFFER_BYTES);
    })
}

/// Of the builder.
pub const DEFAULT_BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// The one that the null server's answers tell of.
async fn one_shard(_: StreamId) -> Result<Vec<Shard>, BoxError> {
    let ring = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).expect("in order");
    Ok(vec![Shard::new(SHARD_ID, ring)])
}

fn told(totals: &Totals) -> Told {
    assert_eq!((totals.requeued, totals.failed), (0, 0), "everything is taken at once");
    Told { delivered: totals.delivered, entries: totals.entries }
}

impl<S> ThroughSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    /// Calls `each` with the number of every record that it is about to take.
    async fn forward(
        &mut self,
        load: &Load,
        records: usize,
        mut each: impl FnMut(usize) + Unpin,
    ) -> Told {
        let before = told(self.sink.totals());
        let records = stream::iter(0..records).map(|number| {
            each(number);
            Ok(Record::from(load.record(number)))
        });
        records.forward(&mut self.sink).await.expect("everything is delivered");
        let after = told(self.sink.totals());
        Told {
            delivered: after.delivered - before.delivered,
            entries: after.entries - before.entries,
        }
    }
}

impl<S> Way for ThroughSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    async fn warm_up(&mut self, load: &Load, records: usize) {
        let records = (0..records).map(|number| Ok(Record::from(load.record(number))));
        self.sink.send_all(&mut stream::iter(records)).await.expect("everything is delivered");
    }

    async fn send(mut self, load: &Load, records: usize) -> Told {
        self.forward(load, records, |_| ()).await
    }
}

/// The sink over a long time, which is watched meanwhile.
pub struct Soak<F>(pub ThroughSink<PutRecords>, pub F);

impl<F: FnMut(usize) + Unpin> Way for Soak<F> {
    async fn warm_up(&mut self, load: &Load, records: usize) {
        self.0.warm_up(load, records).await;
    }

    async fn send(mut self, load: &Load, records: usize) -> Told {
        self.0.forward(load, records, self.1).await
    }
}
