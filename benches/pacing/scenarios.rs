//! The scenarios, and what is expected of the sink in them.

use std::time::Duration;

use kinesis_sink::shard::hash_of;
use kinesis_sink::sim::Faults;
use kinesis_sink::{Aggregation, Key, Ordering, SinkBuilder};

use super::figures::Bound;
use super::figures::Figure::*;
use super::load::{Keys, RECORD_BYTES};
use super::scenario::{Event, SHARD_RECORDS, Scenario, Window};

const MIB: usize = 1024 * 1024;

pub fn all() -> Vec<Scenario> {
    let [shared, shared_small_buckets, shared_warm_up] = shared();
    let [hot_shard, hot_shard_default_buffer] = hot_shard();
    let [reshard, reshard_ordered] = reshard();
    vec![
        overload(),
        shared,
        shared_small_buckets,
        shared_warm_up,
        hot_shard,
        hot_shard_default_buffer,
        reshard,
        reshard_ordered,
        outage(),
        hot_key_ordered(),
        many_keys_ordered(),
    ]
}

fn overload() -> Scenario {
    let mut overload = Scenario::new("overload", 4, 3.0 * 4.0 * SHARD_RECORDS, Keys::Random);
    overload.bounds =
        |_| vec![Bound::new(Goodput, 0.98), Bound::new(Rejected, 0.02), Bound::new(Lost, 0.0)];
    overload
}

/// Ten producers that know nothing of each other. The worst of three seeds counts.
fn shared() -> [Scenario; 3] {
    let mut shared = Scenario { name: "shared", producers: 10, ..overload() };
    shared.windows[0].from = 10;
    shared.seeds = 1..4;
    shared.bounds = |_| {
        let [goodput, rejected] = [Bound::new(Goodput, 0.97), Bound::new(Rejected, 0.02)];
        vec![goodput, rejected, Bound::new(Fairness, 0.9), Bound::new(Lost, 0.0)]
    };
    let mut small_buckets = Scenario { name: "shared_small_buckets", ..shared.clone() };
    small_buckets.stream = |builder| builder.with_burst(Duration::from_millis(100));
    small_buckets.bounds = |_| vec![Bound::new(Lost, 0.0)];
    let mut warm_up = Scenario { name: "shared_warm_up", seconds: 10, ..shared.clone() };
    warm_up.windows = vec![Window { from: 0, to: 10, shards: 4 }];
    warm_up.bounds = |_| vec![Bound::new(Lost, 0.0)];
    [shared, small_buckets, warm_up]
}

/// One of eight shards gets half of the records; the others have half of what they take.
fn hot_shard() -> [Scenario; 2] {
    let keys = (0_u32..).map(|number| Key::from(format!("k{number:07}")));
    let (hot, cold): (Vec<_>, Vec<_>) =
        keys.take(8_000).partition(|key| hash_of(key).get() >> 125 == 0);
    let keys = Keys::HotAndCold { hot: hot.into(), cold: cold.into() };
    let mut default_buffer = Scenario::new("hot_shard_default_buffer", 8, 7_000.0, keys);
    default_buffer.bounds = |_| {
        // The records are the bound that is reached; the one that crosses it is taken.
        let held = (10_000 + 1) * RECORD_BYTES;
        vec![Bound::new(MaxBufferedBytes, held as f64), Bound::new(Lost, 0.0)]
    };
    let mut hot_shard = Scenario { name: "hot_shard", ..default_buffer.clone() };
    // What the hot shard does not take in a minute must not fill it.
    hot_shard.settings =
        |builder: SinkBuilder| builder.with_buffer_records(400_000).with_buffer_bytes(512 * MIB);
    hot_shard.bounds = |_| {
        let held = 512 * MIB + RECORD_BYTES;
        let held = Bound::new(MaxBufferedBytes, held as f64);
        vec![Bound::new(ColdP99Ratio, 1.5), held, Bound::new(Lost, 0.0)]
    };
    let without = Scenario { without_hot: true, ..hot_shard.clone() };
    hot_shard.reference = Some(Box::new(without));
    [hot_shard, default_buffer]
}

/// From four shards to eight, and to three.
fn reshard() -> [Scenario; 2] {
    let mut reshard = Scenario::new("reshard", 4, 3.0 * 8.0 * SHARD_RECORDS, Keys::Random);
    reshard.events = vec![(20, Event::Shards(8)), (40, Event::Shards(3))];
    let (split, merged) =
        (Window { from: 30, to: 40, shards: 8 }, Window { from: 50, to: 60, shards: 3 });
    reshard.windows = vec![split, merged];
    reshard.bounds = |_| vec![Bound::new(Goodput, 0.95), Bound::new(Lost, 0.0)];
    let mut ordered =
        Scenario { name: "reshard_ordered", keys: Keys::drawn(10_000), ..reshard.clone() };
    ordered.settings = |builder| builder.with_ordering(Ordering::PerKey);
    ordered.tells_order = true;
    ordered.bounds = |_| {
        let [goodput, lost] = [Bound::new(Goodput, 0.95), Bound::new(Lost, 0.0)];
        vec![goodput, lost, Bound::new(OutOfOrder, 0.0)]
    };
    [reshard, ordered]
}

/// Half a minute without service. The worst of twenty seeds counts.
fn outage() -> Scenario {
    let mut outage = Scenario::new("outage", 4, 0.8 * 4.0 * SHARD_RECORDS, Keys::Random);
    outage.seconds = 70;
    outage.events = vec![(20, Event::OutageBegins), (50, Event::OutageEnds)];
    outage.windows = vec![Window { from: 55, to: 70, shards: 4 }];
    outage.seeds = 1..21;
    outage.bounds = |_| {
        let [requests, recovery] = [Bound::new(RequestsInOutage, 40.0), Bound::new(Recovery, 5.0)];
        vec![requests, recovery, Bound::new(Goodput, 0.95), Bound::new(Lost, 0.0)]
    };
    outage
}

/// One key fills its shard, in aggregates. Their bytes are the limit, not their number.
fn hot_key_ordered() -> Scenario {
    let shard_records = (MIB / RECORD_BYTES) as f64;
    let mut hot_key = Scenario::new("hot_key_ordered", 1, 2.0 * shard_records, Keys::drawn(1));
    hot_key.shard_records = shard_records;
    hot_key.keeps_payloads = true;
    hot_key.tells_order = true;
    hot_key.settings =
        |builder| builder.with_aggregation(Aggregation::PerKey).with_ordering(Ordering::PerKey);
    hot_key.bounds = |_| {
        let [goodput, order] = [Bound::new(Goodput, 0.95), Bound::new(OutOfOrder, 0.0)];
        vec![goodput, order, Bound::new(Lost, 0.0)]
    };
    hot_key
}

/// Compared with the same run without order.
fn many_keys_ordered() -> Scenario {
    let keys = Keys::drawn(10_000);
    let mut unordered = Scenario::new("many_keys_ordered", 4, 3.0 * 4.0 * SHARD_RECORDS, keys);
    unordered.stream =
        |builder| builder.with_faults(Faults::default().with_internal_failures(0.01));
    unordered.tells_order = true;
    let mut many_keys = unordered.clone();
    many_keys.settings = |builder| builder.with_ordering(Ordering::PerKey);
    many_keys.reference = Some(Box::new(unordered));
    many_keys.bounds = |unordered| {
        let goodput = Bound::new(Goodput, 0.9 * unordered.goodput.unwrap_or(1.0));
        vec![goodput, Bound::new(OutOfOrder, 0.0), Bound::new(Lost, 0.0)]
    };
    many_keys
}
