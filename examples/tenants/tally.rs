//! The outcome of each event, per stream.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kinesis_sink::{Error, ErrorKind, Undelivered};

/// Outcomes of all events. All clones share this state.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, Outcomes>>>);

#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// Number of events for which a method of the router was called.
    pub sent: usize,
    /// Number of events that were returned because the stream or the router had no capacity.
    pub full: usize,
    /// Number of events that were returned because the stream cannot be used.
    pub rejected: usize,
    /// Number of accepted events that were returned.
    pub undelivered: usize,
    /// Reason why the last of these events was not delivered.
    pub reason: Option<String>,
    /// Events that were not returned. At the end, all of them must be in the stream.
    pub kept: HashSet<Bytes>,
    delivery_times: Vec<Duration>,
}

impl Tally {
    pub fn sent(&self, stream: &str, data: &Bytes) {
        self.change(stream, |outcomes| {
            outcomes.sent += 1;
            outcomes.kept.insert(data.clone());
        });
    }

    pub fn delivered(&self, stream: &str, time: Duration) {
        self.change(stream, |outcomes| outcomes.delivery_times.push(time));
    }

    /// Notes a record that was not accepted.
    pub fn rejected(&self, stream: &str, error: Error) {
        self.change(stream, |outcomes| {
            match error.kind() {
                ErrorKind::Full | ErrorKind::TooManyStreams => outcomes.full += 1,
                _ => outcomes.rejected += 1,
            }
            if let Some(record) = error.into_record() {
                outcomes.kept.remove(record.data());
            }
        });
    }

    /// Notes a record that was accepted, but not delivered.
    pub fn undelivered(&self, undelivered: &Undelivered) {
        let Some(stream) = undelivered.stream() else { return };
        self.change(stream.name(), |outcomes| {
            outcomes.undelivered += 1;
            outcomes.reason = Some(undelivered.reason().to_string());
            outcomes.kept.remove(undelivered.record().data());
        });
    }

    /// Returns the outcomes of each stream.
    pub fn outcomes(&self) -> BTreeMap<String, Outcomes> {
        self.lock().clone()
    }

    fn change(&self, stream: &str, change: impl FnOnce(&mut Outcomes)) {
        change(self.lock().entry(stream.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outcomes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcomes {
    /// Adds the outcomes of another stream.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.full += other.full;
        self.rejected += other.rejected;
        self.undelivered += other.undelivered;
        self.kept.extend(other.kept.iter().cloned());
        self.delivery_times.extend(&other.delivery_times);
    }

    /// Returns the 99th percentile of the time from acceptance to delivery, of the events with receipts.
    pub fn p99(&self) -> Option<Duration> {
        let mut times = self.delivery_times.clone();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied()
    }
}
