//! What a record costs, by the number of shards.

use kinesis_sink::limits::Limits;

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build};
use super::pool::{Pool, send};
use super::row::Row;
use super::service::{InProcess, Trouble};

const WHAT: &str = "shards";
const SIZES: &[usize] = &[1, 16, 256, 4_096];
/// Four to a shard where there are most shards.
const KEYS: usize = 16_384;
/// What a shard takes in a second where quotas are what is measured.
const QUOTA: usize = 100;

pub fn rows(records: usize) -> Vec<Row> {
    let modes = Mode::ALL.map(|mode| {
        Row::new(WHAT, mode.name, SIZES, move |shards| without_quotas(mode, shards, records))
    });
    let others = [
        Row::new(WHAT, "plain, learned", SIZES, move |shards| learned(shards, records)),
        Row::new(WHAT, "plain, paced", SIZES, move |shards| paced(Mode::PLAIN, shards, records)),
        Row::new(WHAT, "ordered, paced", SIZES, move |shards| {
            paced(Mode::ORDERED, shards, records)
        }),
    ];
    modes.into_iter().chain(others).collect()
}

fn without_quotas(mode: Mode, shards: usize, records: usize) -> Cost {
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = InProcess::new(shards.clone(), Trouble::None);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(mode.builder(&shards), service);
        send(&mut sink, pool.take(KEYS)).await;
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}

/// Nobody lists the shards. From the first record on, since it is the learning that is measured.
fn learned(shards: usize, records: usize) -> Cost {
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = InProcess::new(shards, Trouble::None);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(Mode::PLAIN.builder_without_list(), service);
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}

/// More is there than the shards take, so that every lane waits for tokens. For two seconds of the stream,
/// or for longer where that is nearly nothing.
fn paced(mode: Mode, shards: usize, records: usize) -> Cost {
    let records = (2 * QUOTA * shards).max(records / 10);
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = InProcess::new(shards.clone(), Trouble::None);
    let counter = service.counter();
    on_virtual_time(async {
        let limits = Limits::default().with_shard_records(QUOTA).with_shard_bytes(1 << 40);
        let builder = mode
            .builder(&shards)
            .configure(|settings| settings.limits = limits)
            .with_max_in_flight(8);
        let mut sink = build(builder, service);
        send(&mut sink, pool.take(KEYS)).await;
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}
