//! Measures how the cost of an attempt grows with the number of queued records while all attempts fail.

use futures::SinkExt;
use kinesis_sink::{Record, SinkBuilder};

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build, without_quotas};
use super::pool::{Pool, send};
use super::row::Row;
use super::service::{Attempts, Fault, MockService, POISON};

const DIMENSION: &str = "requeueing";
const SIZES: &[usize] = &[1_000, 10_000, 100_000];
const SHARDS: usize = 16;
/// Number of keys. It equals the maximum number of entries per request, so that requests are full with ordering too.
const KEYS: usize = 500;
/// Number of records per aggregate, small enough that the smallest size fills a request.
const AGGREGATE_RECORDS: usize = 2;
/// Minimum number of failed attempts per entry, if all entries are sent in turn.
const PASSES: usize = 4;
const RECORDS_PER_POISON_RECORD: usize = 500;

const THROTTLE: &str = "ProvisionedThroughputExceededException";
const FAILURE: &str = "InternalFailure";

pub fn rows(attempts: usize) -> Vec<Row> {
    let requeueing = [
        ("entries throttled", Mode::PLAIN, entries_throttled as FaultOf),
        ("entries throttled, ordered", Mode::ORDERED, entries_throttled),
        ("entries throttled, PerShard", Mode::PER_SHARD, entries_throttled),
        ("entries failed", Mode::PLAIN, entries_failed),
        ("entries failed, ordered", Mode::ORDERED, entries_failed),
        ("entries failed, PerShard", Mode::PER_SHARD, entries_failed),
        ("requests failed", Mode::PLAIN, requests_failed),
        ("requests failed, ordered", Mode::ORDERED, requests_failed),
        ("requests failed, PerShard", Mode::PER_SHARD, requests_failed),
        ("requests throttled", Mode::PLAIN, requests_throttled),
    ];
    let requeueing = requeueing.map(|(name, mode, fault)| {
        Row::new(DIMENSION, name, SIZES, move |queued| {
            // The first attempt of each entry is not measured, because it encodes the aggregates.
            let warm_up = queued as u64;
            let measured = attempts.max(PASSES * queued) as u64;
            requeue(mode, fault(Attempts { warm_up, measured }), queued)
        })
    });
    let poison = [
        ("1 poison record in 500", Mode::PLAIN),
        ("1 poison record in 500, ordered", Mode::ORDERED),
        ("1 poison record in 500, PerShard", Mode::PER_SHARD),
    ];
    let poison = poison
        .map(|(name, mode)| Row::new(DIMENSION, name, SIZES, move |queued| bisect(mode, queued)));
    requeueing.into_iter().chain(poison).chain([request_sizes()]).collect()
}

type FaultOf = fn(Attempts) -> Fault;

fn entries_throttled(attempts: Attempts) -> Fault {
    Fault::Entries(THROTTLE, attempts)
}

fn entries_failed(attempts: Attempts) -> Fault {
    Fault::Entries(FAILURE, attempts)
}

fn requests_failed(attempts: Attempts) -> Fault {
    Fault::Requests(FAILURE, attempts)
}

fn requests_throttled(attempts: Attempts) -> Fault {
    Fault::Requests(THROTTLE, attempts)
}

/// Varies the size of the rejected request. The number of bisections is the logarithm of this size.
fn request_sizes() -> Row {
    Row::new("entries of a refused request", "plain", &[4, 32, 500], |entries| {
        let shards = EvenShards::new(SHARDS);
        let limits = without_quotas().with_request_entries(entries);
        let builder = Mode::PLAIN.builder(&shards).configure(|settings| settings.limits = limits);
        isolate(builder, shards, 100 * entries, entries)
    })
}

fn builder(mode: Mode, shards: &EvenShards, queued: usize) -> SinkBuilder {
    let builder =
        mode.builder(shards).configure(|settings| settings.aggregate_records = AGGREGATE_RECORDS);
    builder.configure(|settings| settings.buffer_records = Some(2 * queued))
}

/// Queues all records while the service is paused, and then measures failing attempts until the fault ends.
fn requeue(mode: Mode, fault: Fault, queued: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    let pool = Pool::new(queued, KEYS, &shards);
    let service = MockService::new(shards.clone(), fault);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(builder(mode, &shards, queued), service);
        counter.pause();
        for record in pool.take(queued) {
            sink.feed(record).await.expect("the buffer has capacity");
        }
        assert_eq!(sink.status().queued.records, queued);
        counter.resume();
        sink.flush().await.expect("all records are delivered");
        assert_eq!(sink.totals().delivered, queued as u64);
        counter.measured()
    })
}

fn bisect(mode: Mode, records: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    isolate(builder(mode, &shards, records), shards, records, RECORDS_PER_POISON_RECORD)
}

/// Sends records and returns the cost per record. One in `records_per_poison_record` records is rejected.
fn isolate(
    builder: SinkBuilder,
    shards: EvenShards,
    records: usize,
    records_per_poison_record: usize,
) -> Cost {
    let pool = Pool::new(records, KEYS, &shards);
    let service = MockService::new(shards, Fault::Poison);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(builder.with_dead_letters(|_| ()), service);
        let with_poison = pool.take(records).enumerate().map(|(number, record)| {
            if number % records_per_poison_record == 0 {
                Record::from(("poison", POISON.to_vec()))
            } else {
                record
            }
        });
        let meter = Meter::start(&counter);
        send(&mut sink, with_poison).await;
        assert_eq!(sink.totals().failed, records.div_ceil(records_per_poison_record) as u64);
        meter.records(records)
    })
}
