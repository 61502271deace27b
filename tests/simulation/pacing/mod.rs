//! Checks small seeded scenarios on virtual time for lost, reordered, and duplicate records and for buffer bounds.
//!
//! `PACING_SEEDS=1000 cargo test --release --test simulation pacing::` runs 1,000 seeds instead of 50.
//! `PACING_SEED=<n>` runs a single seed.
#![cfg(feature = "sim")]

#[path = "../../../benches/pacing/account.rs"]
pub mod account;
pub mod events;
mod faults;
#[path = "../../../benches/pacing/load.rs"]
#[expect(dead_code, reason = "the benchmark also has hot shards")]
mod load;
mod rate_limiter;
mod run;
mod scenario;
mod shard_borders;
#[path = "../../../benches/pacing/watched.rs"]
mod watched;

use self::scenario::{Routing, Scenario};
use crate::support::seeds;

#[test]
fn sink_keeps_guarantees_for_every_seed() {
    let _ = seeds::check_all("pacing", 50, |seed| run::check(seed).map(drop));
}

#[test]
fn same_seed_reproduces_run() {
    for seed in [3, 7, 11] {
        let runs = [run::check(seed), run::check(seed)];
        let [one, other] = runs.map(|run| run.unwrap_or_else(|error| panic!("{seed}: {error}")));
        assert!(one.written == other.written, "seed {seed} gives different runs");
    }
}

#[test]
fn seeds_cover_required_events() {
    let mut totals = [
        ("a throttle", 0),
        ("a failed entry", 0),
        ("a failed request", 0),
        ("a lost request", 0),
        ("a lost response", 0),
        ("a late write", 0),
        ("an aggregate", 0),
        ("a misplaced aggregate", 0),
        ("a withdrawn record", 0),
        ("a full buffer", 0),
        ("a throttle with ordering", 0),
        ("a failed record", 0),
        ("an explicit hash key", 0),
        ("an explicit hash key near a border", 0),
        ("an uneven number of shards", 0),
        ("an AUTO stream", 0),
        ("a limiter other than a plain token bucket", 0),
        ("a change of the quota", 0),
    ];
    for seed in 0..50 {
        let outcome = run::check(seed).unwrap_or_else(|error| panic!("{seed}: {error}"));
        let scenario = Scenario::new(seed);
        let stats = outcome.stream.stats();
        let is_full = outcome.watched.max_records == scenario.buffer_records;
        let is_ordered = scenario.ordering == kinesis_sink::RecordOrdering::PerKey;
        let aggregates = outcome.written.iter().filter(|record| record.data()[0] == 0xf3);
        let counts = [
            stats.throttled_entries,
            stats.failed_entries,
            stats.failed_requests,
            stats.lost_requests,
            stats.lost_answers,
            stats.late_requests,
            aggregates.count() as u64,
            outcome.totals().misplaced,
            outcome.undelivered.len() as u64,
            u64::from(is_full),
            if is_ordered { stats.throttled_entries } else { 0 },
            outcome.failed as u64,
            u64::from(matches!(scenario.routing, Routing::Hash { .. })),
            u64::from(matches!(scenario.routing, Routing::Hash { near_borders: true, .. })),
            u64::from(!scenario.shards.is_power_of_two()),
            u64::from(matches!(scenario.routing, Routing::Service { .. })),
            u64::from(!events::is_plain(scenario.limiter)),
            u64::from(
                scenario.events.iter().any(|(_, event)| matches!(event, events::Event::Quota(..))),
            ),
        ];
        for ((_, total), count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
    }
    println!("{totals:?}");
    assert!(totals.iter().all(|(_, count)| *count > 0), "{totals:?}");
}
