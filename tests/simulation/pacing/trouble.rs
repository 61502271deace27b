//! Troubles of which each has a test of its own, for every `cargo test`.

use std::time::Duration;

use kinesis_sink::sim::Faults;
use kinesis_sink::{Aggregation, RecordOrdering};

use super::drawn::Drawn;
use super::events::Event;
use super::run::check_drawn;

/// Two records for each one that fits, all with the same key.
#[test]
fn one_hot_key_keeps_its_order_through_failures_and_lost_answers() {
    let drawn = Drawn {
        faults: Faults::default().with_internal_failures(0.01).with_lost_answers(0.01),
        aggregation: Aggregation::PerKey,
        aggregate_bytes: 25_600,
        ordering: RecordOrdering::PerKey,
        keys: 1,
        record_bytes: 1_024,
        rate: 2_000.0,
        time: Duration::from_secs(15),
        ..Drawn::calm(1)
    };
    let outcome = check_drawn(&drawn).unwrap_or_else(|error| panic!("{error}"));
    let stats = outcome.stream.stats();
    assert!(stats.failed_entries > 0 && stats.lost_answers > 0, "{stats:?}");
    // A lost answer holds the key up for a second, the time-out.
    assert!(outcome.watched.accepted.len() > 10_000, "{}", outcome.watched.accepted.len());
    assert_eq!(outcome.failed, 0);
}

/// Requests that are never answered take a slot each until they time out.
#[test]
fn a_stream_that_never_answers_is_not_hammered() {
    let drawn = Drawn {
        shards: 4,
        rate: 3_000.0,
        time: Duration::from_secs(60),
        events: vec![(Duration::from_secs(10), Event::Silence { lasts: Duration::from_secs(30) })],
        ..Drawn::calm(1)
    };
    let outcome = check_drawn(&drawn).unwrap_or_else(|error| panic!("{error}"));
    let stats = outcome.stream.stats();
    assert!((5..=40).contains(&stats.lost_requests), "{stats:?}");
    assert_eq!(stats.accepted_entries, outcome.watched.accepted.len() as u64);
    // A request that was sent just before the silence ended takes its time-out. Then the rest is sent at the full
    // speed of four shards.
    let late = Duration::from_secs(50)..drawn.time;
    let late = outcome.written.iter().filter(|record| late.contains(&record.at())).count();
    assert!(late > 10 * 3_800, "{late}");
}
