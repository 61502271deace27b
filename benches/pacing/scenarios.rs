use kinesis_sink::record::Key;
use kinesis_sink::shard::hash_of;
use kinesis_sink::sim::Faults;
use kinesis_sink::{Aggregation, RecordOrdering, SinkBuilder};

use super::figures::Figure::*;
use super::limit::{self, BUCKET_1S, BUCKET_100MS, STAGGERED};
use super::load::{Keys, RECORD_BYTES};
use super::scenario::{Event, SHARD_RECORDS, Scenario, Window};

const MIB: usize = 1024 * 1024;

const SHARD: f64 = SHARD_RECORDS as f64;

const NOISE: f64 = 0.01;
/// Factor by which noise lowers the minimum goodput.
const NOISE_FACTOR: f64 = 0.95;

pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for limit in limit::ALL {
        for noise in [0.0, NOISE] {
            let rejected = if limit.has_windows() { 0.08 } else { 0.05 };
            let bounds = [(Goodput, 0.95), (Rejected, rejected + noise), (Lost, 0.0)];
            all.push(overload().under(limit).with_noise(noise).with_bounds(bounds));
        }
    }
    all.extend(noise());
    for limit in limit::ALL {
        for noise in [0.0, NOISE] {
            let [shared, late_joiner] = shared().map(|it| it.under(limit).with_noise(noise));
            let bounds = [(Goodput, 0.95), (Rejected, 0.06 + noise), (Fairness, 0.9), (Lost, 0.0)];
            all.push(shared.with_bounds(bounds));
            if noise == 0.0 {
                all.push(late_joiner.with_bounds([(JoinerShare, 0.8), (Lost, 0.0)]));
            }
        }
    }
    all.push(shared_warm_up());
    all.extend(recovery());
    all.extend(limit::ALL.map(|limit| scaling().under(limit)));
    all.extend(hot_shard());
    for noise in [0.0, NOISE] {
        let factor = if noise > 0.0 { NOISE_FACTOR } else { 1.0 };
        let rest = [reshard(factor), reshard_ordered(factor), outage(factor)];
        all.extend(rest.map(|it| it.with_noise(noise)));
        all.push(hot_key_ordered(factor).with_noise(noise));
        all.push(many_keys_ordered(factor).with_noise(noise));
    }
    all
}

fn overload() -> Scenario {
    Scenario::new("overload", 4, 3.0 * 4.0 * SHARD, Keys::Random)
}

fn small_overload(name: &'static str) -> Scenario {
    Scenario::new(name, 2, 3.0 * 2.0 * SHARD, Keys::Random)
}

fn noise() -> Vec<Scenario> {
    let mut all = Vec::new();
    for share in [0.0001, 0.001, 0.01, 0.03, 0.1, 0.3] {
        let overload = small_overload("noise").with_noise(share);
        let goodput = match share {
            0.1 => 0.88,
            0.3 => 0.6,
            _ => 0.95,
        };
        all.push(overload.clone().with_bounds([(Goodput, goodput), (Lost, 0.0)]));
        let mut below = Scenario { offered: 0.8 * 2.0 * SHARD, measures_latency: true, ..overload };
        if share <= 0.1 {
            below = below.with_bounds([(P99, 1.0), (Lost, 0.0)]);
        }
        all.push(below);
    }
    all
}

/// Ten independent producers. In the second scenario, the last one starts after the others.
fn shared() -> [Scenario; 2] {
    let mut shared = Scenario { producers: 10, ..small_overload("shared") };
    shared.windows = vec![Window::new(10, 60, 2)];
    let late_joiner = Scenario {
        name: "shared_late_joiner",
        joins_at: Some(20),
        seconds: 50,
        windows: vec![Window::new(35, 50, 2)],
        is_variant: true,
        ..shared.clone()
    };
    [shared, late_joiner]
}

/// The first seconds of [`shared`], in which the rates have not converged yet.
fn shared_warm_up() -> Scenario {
    let [shared, _] = shared();
    Scenario {
        name: "shared_warm_up",
        seconds: 10,
        windows: vec![Window::new(0, 10, 2)],
        is_variant: true,
        ..shared
    }
}

fn recovery() -> Vec<Scenario> {
    let mut all = Vec::new();
    for limit in [BUCKET_1S, BUCKET_100MS, STAGGERED] {
        for share in [0.1, 1.0] {
            let recovery = Scenario {
                temporary_noise: Some(share),
                seconds: 40,
                events: vec![(10, Event::NoiseBegins(share)), (20, Event::FaultEnds)],
                windows: vec![Window::new(25, 40, 2)],
                ..small_overload("recovery")
            };
            all.push(recovery.under(limit).with_bounds([(Recovery, 5.0), (Lost, 0.0)]));
        }
    }
    all
}

/// An on-demand stream whose quota first doubles and later halves.
fn scaling() -> Scenario {
    let (low, high) = (SHARD_RECORDS / 2, SHARD_RECORDS);
    let window = |from, to, quota| Window { quota, ..Window::new(from, to, 2) };
    let scaling = Scenario {
        quota: low,
        events: vec![(20, Event::Quota(high)), (40, Event::Quota(low))],
        windows: vec![window(10, 20, low), window(30, 40, high), window(50, 60, low)],
        ..small_overload("scaling")
    };
    scaling.with_bounds([(Recovery, 10.0), (Rejected, 0.03), (RejectedAfterDrop, 0.1), (Lost, 0.0)])
}

/// Scenarios with eight shards. Half of the records have the same key and therefore go to the same shard.
fn hot_shard() -> [Scenario; 2] {
    let is_in_first_shard = |key: &Key| hash_of(key).get() >> 125 == 0;
    let keys = (0_u32..).map(|number| Key::from(format!("k{number:07}")));
    let (hot, cold): (Vec<_>, Vec<_>) = keys.take(8_000).partition(is_in_first_shard);
    let keys = Keys::HotAndCold { hot: hot[..1].into(), cold: cold.into() };
    let mut hot_shard = Scenario::new("hot_shard", 8, 7_000.0, keys);
    // The source yields records in order, so all shards wait when those for the hot shard fill the buffer.
    hot_shard.windows = vec![Window::new(10, 60, 1)];
    hot_shard.counts_cold = true;
    let with_reference = |scenario: Scenario| {
        let reference = Scenario { without_hot: true, ..scenario.clone() };
        Scenario { reference: Some(Box::new(reference)), ..scenario }
    };
    // The sink reaches its record limit, and it accepts the record that exceeds the limit.
    let max_buffered = (10_000 + 1) * RECORD_BYTES;
    let by_default = with_reference(hot_shard.clone()).with_bounds([
        (Goodput, 0.95),
        (ColdP99Ratio, 1.5),
        (MaxBufferedBytes, max_buffered as f64),
        (Lost, 0.0),
    ]);
    // This buffer is large enough for the backlog of the hot shard after a minute.
    let settings = |builder: SinkBuilder| {
        builder.configure(|settings| {
            settings.buffer_records = Some(400_000);
            settings.buffer_bytes = 512 * MIB;
        })
    };
    let max_buffered = 512 * MIB + RECORD_BYTES;
    let large_buffer =
        Scenario { name: "hot_shard_large_buffer", settings, is_variant: true, ..hot_shard };
    let large_buffer = with_reference(large_buffer).with_bounds([
        (ColdP99Ratio, 1.5),
        (MaxBufferedBytes, max_buffered as f64),
        (Lost, 0.0),
    ]);
    [by_default, large_buffer]
}

fn reshard(factor: f64) -> Scenario {
    let mut reshard = Scenario::new("reshard", 4, 3.0 * 8.0 * SHARD, Keys::Random);
    reshard.events = vec![(20, Event::Shards(8)), (40, Event::Shards(3))];
    reshard.windows = vec![Window::new(30, 40, 8), Window::new(50, 60, 3)];
    reshard.with_bounds([(Goodput, 0.95 * factor), (Lost, 0.0)])
}

fn reshard_ordered(factor: f64) -> Scenario {
    let ordered = Scenario {
        name: "reshard_ordered",
        keys: Keys::drawn(10_000),
        settings: |builder| builder.with_ordering(RecordOrdering::PerKey),
        checks_order: true,
        is_variant: true,
        ..reshard(factor)
    };
    ordered.with_bounds([(Goodput, 0.95 * factor), (OutOfOrder, 0.0), (Lost, 0.0)])
}

fn outage(factor: f64) -> Scenario {
    let mut outage = Scenario::new("outage", 4, 0.8 * 4.0 * SHARD, Keys::Random);
    outage.seconds = 70;
    outage.events = vec![(20, Event::OutageBegins), (50, Event::FaultEnds)];
    outage.windows = vec![Window::new(55, 70, 4)];
    outage.seeds = 1..21;
    outage.with_bounds([
        (RequestsInOutage, 40.0),
        (Recovery, 5.0),
        (Goodput, 0.95 * factor),
        (Lost, 0.0),
    ])
}

/// A scenario in which the aggregates of one key reach the byte quota of their shard.
fn hot_key_ordered(factor: f64) -> Scenario {
    let shard_records = (MIB / RECORD_BYTES) as f64;
    let mut hot_key = Scenario::new("hot_key_ordered", 1, 2.0 * shard_records, Keys::drawn(1));
    hot_key.shard_records = Some(shard_records);
    hot_key.keeps_payloads = true;
    hot_key.checks_order = true;
    hot_key.settings = |builder| {
        builder.with_aggregation(Aggregation::PerKey).with_ordering(RecordOrdering::PerKey)
    };
    hot_key.with_bounds([(Goodput, 0.95 * factor), (OutOfOrder, 0.0), (Lost, 0.0)])
}

/// A sink with ordering, compared with a sink without ordering and without noise.
fn many_keys_ordered(factor: f64) -> Scenario {
    let keys = Keys::drawn(10_000);
    let unordered = Scenario {
        faults: Faults::default().with_internal_failures(0.01),
        checks_order: true,
        ..Scenario::new("many_keys_ordered", 4, 3.0 * 4.0 * SHARD, keys)
    };
    let many_keys = Scenario {
        settings: |builder| builder.with_ordering(RecordOrdering::PerKey),
        reference: Some(Box::new(unordered.clone())),
        of_reference: Some(0.9 * factor),
        ..unordered
    };
    many_keys.with_bounds([(OutOfOrder, 0.0), (Lost, 0.0)])
}
