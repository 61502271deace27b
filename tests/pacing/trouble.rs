//! Troubles of which each has a test of its own, for every `cargo test`.

use std::time::Duration;

use kinesis_sink::sim::Faults;
use kinesis_sink::{Aggregation, Ordering};

use super::drawn::{Drawn, Event};
use super::run::check_drawn;

/// Two records for each one that fits, all with the same key.
#[test]
fn one_hot_key_keeps_its_order_through_failures_and_lost_answers() {
    let drawn = Drawn {
        faults: Faults::default().with_internal_failures(0.01).with_lost_answers(0.02),
        aggregation: Aggregation::PerKey,
        ordering: Ordering::PerKey,
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
    // The last quarter of a minute is as good as the first.
    let since = |from: u64, to: u64| {
        let window = Duration::from_secs(from)..Duration::from_secs(to);
        outcome.written.iter().filter(|record| window.contains(&record.at())).count()
    };
    assert!(since(45, 60) > 15 * 2_900, "{}", since(45, 60));
}
