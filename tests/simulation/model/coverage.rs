//! Counts how often each event occurs in the runs.

use std::collections::BTreeMap;

use kinesis_sink::sim::SimStats;

/// Events that must occur in a run of a few hundred seeds.
const REQUIRED: [&str; 50] = [
    "an accepted record",
    "a record that was not accepted",
    "a full buffer",
    "a move to another task",
    "a dropped future",
    "a dropped request",
    "a fatal error",
    "a credentials outage",
    "withdrawn records",
    "taken failed records",
    "a dead letter",
    "a rejected record",
    "a record out of attempts",
    "a record past its deadline",
    "a record refused by the stream",
    "an abandoned record",
    "a receipt of a delivery",
    "a receipt of a failure",
    "a corrupted response",
    "a response of the wrong length",
    "a connection reset",
    "a panic of the service",
    "a failure of poll_ready",
    "a panic of poll_ready",
    "another user of the limit",
    "an unpolled sink",
    "a close through a buffer",
    "a payload like an aggregate",
    "an uneven number of shards",
    "hash keys near shard borders",
    "a change of the shards",
    "a change of the quota",
    "a limiter other than a plain token bucket",
    "a switch of the distribution",
    "a faulty lookup",
    "a misplaced aggregate",
    "a member of an aggregate",
    "a duplicate",
    "a record in key order",
    "a record in order without the discard rule",
    "an empty payload",
    "a sink dropped with records",
    "a request",
    "a failed request",
    "a lost request",
    "a lost response",
    "a late write",
    "a throttled entry",
    "a failed entry",
    "progress beside a poison record",
];

#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn count(&mut self, event: &'static str, times: usize) {
        assert!(REQUIRED.contains(&event), "unknown event: {event}");
        *self.0.entry(event).or_default() += times as u64;
    }

    pub fn count_stats(&mut self, stats: &SimStats) {
        for (event, times) in [
            ("a request", stats.requests),
            ("a failed request", stats.failed_requests),
            ("a lost request", stats.lost_requests),
            ("a lost response", stats.lost_answers),
            ("a late write", stats.late_requests),
            ("a throttled entry", stats.throttled_entries),
            ("a failed entry", stats.failed_entries),
        ] {
            self.count(event, times as usize);
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (event, times) in &other.0 {
            *self.0.entry(event).or_default() += times;
        }
    }

    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |event: &&str| self.0.get(event).is_none_or(|times| *times == 0);
        REQUIRED.into_iter().filter(is_missing).collect()
    }
}
