//! Counts how often each event occurs in the runs.

use std::collections::BTreeMap;

/// Events that must occur in a run of a few hundred seeds.
const REQUIRED: [&str; 51] = [
    "a stream without faults",
    "a throttled stream",
    "a missing stream",
    "a stream that is created later",
    "a denied stream",
    "a stream that is refused for a while",
    "a deleted stream",
    "a recreated stream",
    "a slow stream",
    "a stream with lost answers",
    "a silent stream",
    "a failing stream",
    "an opened stream",
    "a stream opened again",
    "a record through the router",
    "a delivered record",
    "a duplicate",
    "a returned record",
    "a returned record that was written",
    "a dead letter",
    "a full stream",
    "too many streams",
    "a closed router or producer",
    "a stopped stream",
    "a refusing stream",
    "an invalid record",
    "an invalid stream",
    "a dropped future",
    "a dropped receipt",
    "a receipt of a delivery",
    "a receipt of a failure",
    "a completed flush",
    "records taken",
    "a call of the service",
    "a record through the service",
    "a record through a sink",
    "a record through a producer",
    "a record through the sink of a producer",
    "a dropped sink",
    "a closed sink",
    "a closed producer",
    "a bound exceeded by a sink",
    "a full budget",
    "all requests in flight",
    "an idle router without open streams",
    "an ordered record",
    "a check of the progress",
    "an early close",
    "records withdrawn at the end",
    "a dropped router",
    "a router with a client",
];

/// Events that may occur.
const OPTIONAL: [&str; 2] = ["a stream full of failed records", "another error"];

#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn count(&mut self, event: &'static str, times: usize) {
        let is_known = REQUIRED.contains(&event) || OPTIONAL.contains(&event);
        assert!(is_known, "unknown event: {event}");
        *self.0.entry(event).or_default() += times as u64;
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
