//! Tests of scenarios with fixed faults.

use std::time::Duration;

use kinesis_sink::sim::Faults;
use kinesis_sink::{Aggregation, RecordOrdering};

use super::events::Event;
use super::run::check_scenario;
use super::scenario::Scenario;

#[test]
fn hot_key_keeps_order_through_faults() {
    let scenario = Scenario {
        faults: Faults::default().with_internal_failures(0.01).with_lost_answers(0.01),
        aggregation: Aggregation::PerKey,
        aggregate_bytes: 25_600,
        ordering: RecordOrdering::PerKey,
        keys: 1,
        record_bytes: 1_024,
        rate: 2_000.0,
        time: Duration::from_secs(15),
        ..Scenario::calm(1)
    };
    let outcome = check_scenario(&scenario).unwrap_or_else(|error| panic!("{error}"));
    let stats = outcome.stream.stats();
    assert!(stats.failed_entries > 0 && stats.lost_answers > 0, "{stats:?}");
    // Each lost response delays the records of the key by the request timeout of one second.
    assert!(outcome.watched.accepted.len() > 10_000, "{}", outcome.watched.accepted.len());
    assert_eq!(outcome.failed, 0);
}

#[test]
fn silent_stream_gets_few_requests() {
    let scenario = Scenario {
        shards: 4,
        rate: 3_000.0,
        time: Duration::from_secs(60),
        events: vec![(
            Duration::from_secs(10),
            Event::Silence { duration: Duration::from_secs(30) },
        )],
        ..Scenario::calm(1)
    };
    let outcome = check_scenario(&scenario).unwrap_or_else(|error| panic!("{error}"));
    let stats = outcome.stream.stats();
    assert!((5..=40).contains(&stats.lost_requests), "{stats:?}");
    assert_eq!(stats.accepted_entries, outcome.watched.accepted.len() as u64);
    // From second 50 on, all silent requests have timed out, and the backlog is sent at the full rate of four shards.
    let late = Duration::from_secs(50)..scenario.time;
    let late = outcome.written.iter().filter(|record| late.contains(&record.at())).count();
    assert!(late > 10 * 3_800, "{late}");
}
