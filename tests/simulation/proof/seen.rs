//! How often the runs met what they are for.

use std::collections::BTreeMap;

use kinesis_sink::sim::SimStats;

/// What a few hundred seeds must have met; otherwise they prove little.
const WANTED: [&str; 50] = [
    "an accepted record",
    "a record that came back at once",
    "a full sink",
    "a move to another task",
    "a future that was dropped",
    "a request that was dropped",
    "an error that stops the stream",
    "an outage of credentials",
    "records taken back",
    "failed records taken",
    "a dead letter",
    "a rejected record",
    "a record out of attempts",
    "a record past its deadline",
    "a record of a stream that takes nothing",
    "an abandoned record",
    "a receipt of a delivery",
    "a receipt of a failure",
    "a damaged answer",
    "an answer of another length",
    "a connection that broke",
    "a panic of the service",
    "a service that does not become ready",
    "a panic of poll_ready",
    "another user of the limit",
    "a sink that is left alone",
    "a close through a buffer",
    "a payload like an aggregate",
    "a number of shards that does not divide the ring evenly",
    "hash keys near the borders of shards",
    "a change of the shards",
    "a change of the quota",
    "a limiter that is no plain token bucket",
    "a switch of the distribution",
    "a lookup that went wrong",
    "a misplaced aggregate",
    "a member of an aggregate",
    "a duplicate",
    "a record in its key's order",
    "a record in order without the discard rule",
    "an empty payload",
    "a sink dropped with records",
    "a request",
    "a failed request",
    "a lost request",
    "a lost answer",
    "a late write",
    "a throttled entry",
    "a failed entry",
    "progress beside a poisoned record",
];

#[derive(Debug, Default)]
pub struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub fn note(&mut self, what: &'static str, times: usize) {
        assert!(WANTED.contains(&what), "nobody wants {what}");
        *self.0.entry(what).or_default() += times as u64;
    }

    pub fn note_stats(&mut self, stats: &SimStats) {
        for (what, times) in [
            ("a request", stats.requests),
            ("a failed request", stats.failed_requests),
            ("a lost request", stats.lost_requests),
            ("a lost answer", stats.lost_answers),
            ("a late write", stats.late_requests),
            ("a throttled entry", stats.throttled_entries),
            ("a failed entry", stats.failed_entries),
        ] {
            self.note(what, times as usize);
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    /// What never came up.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |what: &&str| self.0.get(what).is_none_or(|times| *times == 0);
        WANTED.into_iter().filter(is_missing).collect()
    }
}
