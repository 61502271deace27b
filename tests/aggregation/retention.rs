//! Tests that the memory of an encoded aggregate is freed even if a sink keeps one of its records.

use std::time::Duration;

use futures::{FutureExt, SinkExt};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::service::{EntryError, Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::settings::Linger;
use kinesis_sink::{Aggregation, KinesisSink, Record, SinkBuilder};
use tokio::time::sleep;

use crate::support::mock_service::{service_error, unpaced};
use crate::support::{alloc, mock_service};

const MIB: usize = 1024 * 1024;
const KEYS: usize = 4;
const MEMBERS_PER_KEY: usize = 4_000;
/// In bytes. The limit is larger than the remaining records, but smaller than an aggregate.
const MAX_RETAINED: isize = MIB as isize;

fn builder() -> SinkBuilder {
    let limits = unpaced().with_request_bytes(10 * MIB).with_record_bytes(10 * MIB);
    KinesisSink::builder("example")
        .configure(|settings| {
            settings.seed = Some(1);
            settings.limits = limits;
        })
        .with_aggregation(Aggregation::PerKey)
        .configure(|settings| settings.aggregate_bytes = 10 * MIB)
        .with_linger(Linger::Fixed(Duration::from_millis(500)))
        .configure(|settings| settings.buffer_bytes = 100 * MIB)
}

fn entry_error(code: &str) -> Result<Placement, EntryError> {
    Err(EntryError::new(code, "no"))
}

/// Rejects aggregates that contain a record beginning with "stays", throttles such a record alone, delivers the rest.
fn throttling_remaining(request: &PutRecordsRequest) -> PutRecordsResponse {
    let results = request.entries().iter().map(|entry| {
        let members: Vec<_> = deaggregate(entry.data()).collect();
        let stays = members.iter().any(|member| member.data().starts_with(b"stays"));
        match (stays, members.len()) {
            (false, _) => Ok(Placement::new("shardId-000000000000", "1")),
            (true, 1) => entry_error(mock_service::THROTTLE),
            (true, _) => entry_error("InvalidArgumentException"),
        }
    });
    PutRecordsResponse::new(results.collect())
}

async fn feed_large(sink: &mut KinesisSink<Quiet>) {
    for n in 0..KEYS * MEMBERS_PER_KEY {
        // The last record of each key is large and shares its aggregate with the remaining record.
        let size = if n < KEYS * (MEMBERS_PER_KEY - 1) { 1_000 } else { MIB };
        let record = Record::from(((n % KEYS).to_string(), vec![b'x'; size]));
        sink.feed(record).await.unwrap();
    }
}

async fn feed_remaining(sink: &mut KinesisSink<Quiet>) {
    for key in 0..KEYS {
        sink.feed(Record::from((key.to_string(), "stays"))).await.unwrap();
    }
}

/// Service that does not record its requests, because they would count as allocated memory.
type Quiet = kinesis_sink::service::DefaultService;

fn quiet(answer: fn(&PutRecordsRequest) -> Result<PutRecordsResponse, tower::BoxError>) -> Quiet {
    let service = tower::service_fn(move |request: PutRecordsRequest| async move {
        sleep(Duration::from_millis(20)).await;
        answer(&request)
    });
    tower::util::BoxCloneSyncService::new(service)
}

fn assert_only_remaining(sink: &KinesisSink<Quiet>, before: isize) {
    let buffered = sink.status().buffered();
    assert_eq!((buffered.records, sink.status().failed.records), (KEYS, 0));
    assert_eq!(buffered.bytes, KEYS * 6);
    let more = alloc::current() - before;
    assert!(more < MAX_RETAINED, "{more} bytes allocated for {} bytes of records", buffered.bytes);
}

#[tokio::test(start_paused = true)]
async fn isolated_record_releases_aggregate() {
    let before = alloc::current();
    let service = quiet(|request| Ok(throttling_remaining(request)));
    let mut sink = builder().build_with(service).unwrap();
    feed_large(&mut sink).await;
    feed_remaining(&mut sink).await;
    // The sink bisects rejected aggregates until each remaining record is alone.
    let flush = tokio::time::timeout(Duration::from_secs(60), sink.flush());
    assert!(flush.await.is_err(), "the remaining records are throttled");
    assert_eq!(sink.totals().delivered as usize, KEYS * MEMBERS_PER_KEY);
    assert_only_remaining(&sink, before);
}

#[tokio::test(start_paused = true)]
async fn expired_members_release_aggregate() {
    let before = alloc::current();
    let service = quiet(|_| Err(service_error("InternalFailure")));
    let deadline = Duration::from_secs(1);
    let builder = builder().with_deadline(deadline).with_max_in_flight(10);
    let mut sink = builder.build_with(service).unwrap();
    feed_large(&mut sink).await;
    sleep(Duration::from_millis(400)).await;
    feed_remaining(&mut sink).await;
    // All requests fail. Records expire in the order in which the sink accepted them.
    let flush = tokio::time::timeout(Duration::from_millis(750), sink.flush());
    assert!(flush.await.is_err());
    assert_eq!(sink.take_failed().len(), KEYS * MEMBERS_PER_KEY);
    assert!(sink.flush().now_or_never().is_none());
    assert_only_remaining(&sink, before);
}

#[tokio::test(start_paused = true)]
async fn taken_record_releases_aggregate() {
    let before = alloc::current();
    let mut sink = builder().build_with(quiet(|_| Err(service_error("InternalFailure")))).unwrap();
    feed_large(&mut sink).await;
    feed_remaining(&mut sink).await;
    let flush = tokio::time::timeout(Duration::from_secs(2), sink.flush());
    assert!(flush.await.is_err());
    let mut taken = sink.take_undelivered();
    taken.retain(|undelivered| undelivered.record().data() == "stays");
    taken.shrink_to_fit();
    assert_eq!(taken.len(), KEYS);
    let more = alloc::current() - before;
    assert!(more < MAX_RETAINED, "{more} bytes allocated");
    drop(sink);
}
