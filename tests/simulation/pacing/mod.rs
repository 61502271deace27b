//! What the sink promises holds whatever the stream does: small scenarios drawn from seeds, on virtual
//! time, for loss, order, bounds and duplicates.
//!
//! `PACING_SEEDS=1000 cargo test --release --test simulation pacing` tries more of them than the default of 50;
//! `PACING_SEED=<n>` replays one.
#![cfg(feature = "sim")]

#[path = "../../../benches/pacing/account.rs"]
pub mod account;
mod borders;
mod drawn;
pub mod events;
#[path = "../../../benches/pacing/load.rs"]
#[expect(dead_code, reason = "the bench has hot shards, too")]
mod load;
mod manners;
mod run;
mod trouble;
#[path = "../../../benches/pacing/watched.rs"]
mod watched;

use crate::support::seeds;

#[test]
fn promises_hold_for_every_seed() {
    let _ = seeds::check_all("pacing", 50, |seed| run::check(seed).map(drop));
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [3, 7, 11] {
        let runs = [run::check(seed), run::check(seed)];
        let [one, other] = runs.map(|run| run.unwrap_or_else(|error| panic!("{seed}: {error}")));
        assert!(one.written == other.written, "the seed {seed} gives different runs");
    }
}

/// What is drawn must bring the sink into trouble; otherwise the tests above say little.
#[test]
fn the_seeds_reach_what_they_are_for() {
    let mut seen = [
        ("a throttle", 0),
        ("a failed entry", 0),
        ("a failed request", 0),
        ("a lost request", 0),
        ("a lost answer", 0),
        ("a late write", 0),
        ("an aggregate", 0),
        ("a misplaced aggregate", 0),
        ("a record taken back", 0),
        ("a full buffer", 0),
        ("a quota used up in order", 0),
        ("a record given up", 0),
        ("an explicit hash key", 0),
        ("an explicit hash key near a border", 0),
        ("a number of shards that does not divide the ring evenly", 0),
        ("a stream that places records", 0),
        ("a limiter that is no plain token bucket", 0),
        ("a quota that changes", 0),
    ];
    for seed in 0..50 {
        let outcome = run::check(seed).unwrap_or_else(|error| panic!("{seed}: {error}"));
        let drawn = drawn::Drawn::new(seed);
        let stats = outcome.stream.stats();
        let is_full = outcome.watched.max_records == drawn.buffer_records;
        let is_ordered = drawn.ordering == kinesis_sink::RecordOrdering::PerKey;
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
            outcome.handed_back.len() as u64,
            u64::from(is_full),
            if is_ordered { stats.throttled_entries } else { 0 },
            outcome.failed as u64,
            u64::from(matches!(drawn.placed, drawn::PlacedBy::Hash { .. })),
            u64::from(matches!(drawn.placed, drawn::PlacedBy::Hash { near_borders: true, .. })),
            u64::from(!drawn.shards.is_power_of_two()),
            u64::from(matches!(drawn.placed, drawn::PlacedBy::Service { .. })),
            u64::from(!events::is_plain(drawn.limiter)),
            u64::from(
                drawn.events.iter().any(|(_, event)| matches!(event, events::Event::Quota(..))),
            ),
        ];
        seen.iter_mut().zip(counts).for_each(|((_, seen), count)| *seen += count);
    }
    println!("{seen:?}");
    assert!(seen.iter().all(|(_, count)| *count > 0), "{seen:?}");
}
