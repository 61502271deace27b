use kinesis_sink::limits::Limits;

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build};
use super::pool::{Pool, send};
use super::row::Row;
use super::service::{Fault, MockService};

const DIMENSION: &str = "shards";
const SIZES: &[usize] = &[1, 16, 256, 4_096];
const KEYS: usize = 16_384;
/// Quota of a shard in records per second, in the modes with a rate limit.
const QUOTA: usize = 100;

pub fn rows(records: usize) -> Vec<Row> {
    let modes = Mode::ALL.map(|mode| {
        Row::new(DIMENSION, mode.name, SIZES, move |shards| without_quotas(mode, shards, records))
    });
    let others = [
        Row::new(DIMENSION, "plain, learned", SIZES, move |shards| learned(shards, records)),
        Row::new(DIMENSION, "plain, rate limited", SIZES, move |shards| {
            rate_limited(Mode::PLAIN, shards, records)
        }),
        Row::new(DIMENSION, "ordered, rate limited", SIZES, move |shards| {
            rate_limited(Mode::ORDERED, shards, records)
        }),
    ];
    modes.into_iter().chain(others).collect()
}

fn without_quotas(mode: Mode, shards: usize, records: usize) -> Cost {
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = MockService::new(shards.clone(), Fault::None);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(mode.builder(&shards), service);
        send(&mut sink, pool.take(KEYS)).await;
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}

/// Measures a sink without a shard list. Includes the first requests, because the sink learns the shards from them.
fn learned(shards: usize, records: usize) -> Cost {
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = MockService::new(shards, Fault::None);
    let counter = service.counter();
    on_virtual_time(async {
        let mut sink = build(Mode::PLAIN.builder_without_list(), service);
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}

/// Offers more records than the quotas allow for at least two seconds, so that all lanes wait for tokens.
fn rate_limited(mode: Mode, shards: usize, records: usize) -> Cost {
    let records = (2 * QUOTA * shards).max(records / 10);
    let shards = EvenShards::new(shards);
    let pool = Pool::new(KEYS, KEYS, &shards);
    let service = MockService::new(shards.clone(), Fault::None);
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
