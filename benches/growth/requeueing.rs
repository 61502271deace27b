//! What an attempt costs, by the number of records that wait while all of them fail over and over.

use futures::SinkExt;
use kinesis_sink::{Record, SinkBuilder};

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build, without_quotas};
use super::pool::{Pool, send};
use super::row::Row;
use super::service::{Attempts, CULPRIT, InProcess, Trouble};

const WHAT: &str = "requeueing";
const SIZES: &[usize] = &[1_000, 10_000, 100_000];
const SHARDS: usize = 16;
/// As many as a request carries entries: also in order requests are full.
const KEYS: usize = 500;
/// With more the smallest size would not fill a request.
const AGGREGATE_RECORDS: usize = 2;
/// So often each entry fails at least, where all are tried in turn.
const PASSES: usize = 4;
/// One record in so many is refused.
const RECORDS_TO_A_CULPRIT: usize = 500;

/// The codes, as they come with entries and with whole requests.
const THROTTLE: &str = "ProvisionedThroughputExceededException";
const FAILURE: &str = "InternalFailure";

pub fn rows(attempts: usize) -> Vec<Row> {
    let requeueing = [
        ("entries throttled", Mode::PLAIN, entries_throttled as Troubles),
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
    let requeueing = requeueing.map(|(name, mode, trouble)| {
        Row::new(WHAT, name, SIZES, move |waiting| {
            // All are tried once before, and aggregates encoded.
            let first = waiting as u64;
            let measured = attempts.max(PASSES * waiting) as u64;
            requeue(mode, trouble(Attempts { first, measured }), waiting)
        })
    });
    let culprits = [
        ("one culprit in 500", Mode::PLAIN),
        ("one culprit in 500, ordered", Mode::ORDERED),
        ("one culprit in 500, PerShard", Mode::PER_SHARD),
    ];
    let culprits = culprits.map(|(name, mode)| {
        Row::new(WHAT, name, SIZES, move |waiting| split(mode, waiting, waiting))
    });
    requeueing.into_iter().chain(culprits).chain([splitting()]).collect()
}

type Troubles = fn(Attempts) -> Trouble;

fn entries_throttled(attempts: Attempts) -> Trouble {
    Trouble::Entries(THROTTLE, attempts)
}

fn entries_failed(attempts: Attempts) -> Trouble {
    Trouble::Entries(FAILURE, attempts)
}

fn requests_failed(attempts: Attempts) -> Trouble {
    Trouble::Requests(FAILURE, attempts)
}

fn requests_throttled(attempts: Attempts) -> Trouble {
    Trouble::Requests(THROTTLE, attempts)
}

/// The more records a request carries, the more halves lead to its culprit: as many as its logarithm.
fn splitting() -> Row {
    Row::new("entries of a refused request", "plain", &[4, 32, 500], |entries| {
        let shards = EvenShards::new(SHARDS);
        let limits = without_quotas().with_request_entries(entries);
        let builder = Mode::PLAIN.builder(&shards).configure(|settings| settings.limits = limits);
        refuse(builder, shards, 100 * entries, entries)
    })
}

fn builder(mode: Mode, shards: &EvenShards, waiting: usize) -> SinkBuilder {
    let builder =
        mode.builder(shards).configure(|settings| settings.aggregate_records = AGGREGATE_RECORDS);
    builder.configure(|settings| settings.buffer_records = Some(2 * waiting))
}

/// The service fails until there were enough attempts, and then takes all. Nothing goes before all wait.
fn requeue(mode: Mode, trouble: Trouble, waiting: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    let pool = Pool::new(waiting, KEYS, &shards);
    let service = InProcess::new(shards.clone(), trouble);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(builder(mode, &shards, waiting), service);
        counter.hold();
        for record in pool.take(waiting) {
            sink.feed(record).await.expect("there is room");
        }
        assert_eq!(sink.status().queued.records, waiting);
        counter.let_go();
        sink.flush().await.expect("everything is delivered");
        assert_eq!(sink.totals().delivered, waiting as u64);
        counter.window()
    })
}

fn split(mode: Mode, waiting: usize, records: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    refuse(builder(mode, &shards, waiting), shards, records, RECORDS_TO_A_CULPRIT)
}

/// One record in so many is refused: the cost for each record.
fn refuse(builder: SinkBuilder, shards: EvenShards, records: usize, to_a_culprit: usize) -> Cost {
    let pool = Pool::new(records, KEYS, &shards);
    let service = InProcess::new(shards, Trouble::Culprits);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(builder.with_dead_letters(|_| ()), service);
        let records_with_culprits =
            pool.take(records).enumerate().map(|(number, record)| match number % to_a_culprit {
                0 => Record::from(("culprit", CULPRIT.to_vec())),
                _ => record,
            });
        let meter = Meter::start(&counter);
        send(&mut sink, records_with_culprits).await;
        assert_eq!(sink.totals().failed, records.div_ceil(to_a_culprit) as u64);
        meter.records(records)
    })
}
