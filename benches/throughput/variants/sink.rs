use aws_sdk_kinesis::Client;
use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{PutRecords, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::shard::{HashRange, Shard};
use kinesis_sink::status::Totals;
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, SinkBuilder, StreamId};
use tower::{BoxError, Service};

use super::{Counts, STREAM, Variant, limits, put_records};
use crate::case::Case;
use crate::load::Load;
use crate::server::SHARD_ID;

pub struct ThroughSink<S> {
    sink: KinesisSink<S>,
}

impl ThroughSink<PutRecords> {
    pub fn new(case: Case, client: &Client, in_flight: usize) -> Self {
        let sink = builder(case, in_flight).build_with(put_records(case, client));
        Self { sink: sink.expect("the settings are valid") }
    }
}

impl ThroughSink<kinesis_sink::service::DefaultService> {
    pub fn with_layers(case: Case, client: &Client, in_flight: usize) -> Self {
        let sink = builder(case, in_flight).build(client);
        Self { sink: sink.expect("the settings are valid") }
    }
}

/// Returns a builder without shard quotas, whose buffer can contain twice the records in flight.
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

pub const DEFAULT_BUFFER_BYTES: usize = 32 * 1024 * 1024;

async fn one_shard(_: StreamId) -> Result<Vec<Shard>, BoxError> {
    let ring =
        HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).expect("the range is not empty");
    Ok(vec![Shard::new(SHARD_ID, ring)])
}

fn counts(totals: &Totals) -> Counts {
    assert_eq!((totals.requeued, totals.failed), (0, 0), "requeued and failed records");
    Counts { delivered: totals.delivered, entries: totals.entries }
}

impl<S> ThroughSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    /// Sends the records, and calls `each` with the number of each record before it is sent.
    async fn forward(
        &mut self,
        load: &Load,
        records: usize,
        mut each: impl FnMut(usize) + Unpin,
    ) -> Counts {
        let before = counts(self.sink.totals());
        let records = stream::iter(0..records).map(|number| {
            each(number);
            Ok(Record::from(load.record(number)))
        });
        records.forward(&mut self.sink).await.expect("all records are delivered");
        let after = counts(self.sink.totals());
        Counts {
            delivered: after.delivered - before.delivered,
            entries: after.entries - before.entries,
        }
    }
}

impl<S> Variant for ThroughSink<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    async fn warm_up(&mut self, load: &Load, records: usize) {
        let records = (0..records).map(|number| Ok(Record::from(load.record(number))));
        self.sink.send_all(&mut stream::iter(records)).await.expect("all records are delivered");
    }

    async fn send(mut self, load: &Load, records: usize) -> Counts {
        self.forward(load, records, |_| ()).await
    }
}

/// A sink that calls the function with the number of each record before the record is sent.
pub struct Soak<F>(pub ThroughSink<PutRecords>, pub F);

impl<F: FnMut(usize) + Unpin> Variant for Soak<F> {
    async fn warm_up(&mut self, load: &Load, records: usize) {
        self.0.warm_up(load, records).await;
    }

    async fn send(mut self, load: &Load, records: usize) -> Counts {
        self.0.forward(load, records, self.1).await
    }
}
