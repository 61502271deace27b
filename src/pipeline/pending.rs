use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::record::{
    AttemptError, Delivery, Key, PartitionKey, Reason, Record, Tracker, Undelivered, Untold,
};
use crate::service::{Entry, Placement};

/// An accepted record that is not settled.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Its place in the order of acceptance.
    pub(crate) seq: u64,
    record: Record,
    /// What stands in for the partition key of a [`PartitionKey::Random`] record.
    random: u64,
    pub(crate) accepted_at: Instant,
    /// Requests that carried it.
    pub(crate) attempts: u32,
    /// One of them has an unknown outcome.
    pub(crate) may_be_written: bool,
    pub(crate) last_error: Option<Arc<AttemptError>>,
}

impl Pending {
    pub(crate) fn new(record: Record, seq: u64, now: Instant, rng: &mut Rng) -> Self {
        let record = record.accepted();
        let random = match record.partition_key() {
            PartitionKey::Random => rng.u64(..),
            _ => 0,
        };
        Self {
            seq,
            record,
            random,
            accepted_at: now,
            attempts: 0,
            may_be_written: false,
            last_error: None,
        }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn size(&self) -> usize {
        self.record.size()
    }

    /// What a request carries of it.
    pub(crate) fn entry(&self) -> Entry {
        let key = match self.record.partition_key() {
            PartitionKey::Explicit(key) => Some(key.clone()),
            PartitionKey::Random => Some(Key::random(self.random)),
            PartitionKey::ServiceManaged => None,
        };
        Entry::new(self.record.data().clone(), key, self.record.explicit_hash_key())
    }

    /// Notes that a request with it, cut at `cut_at`, has come to its end.
    pub(crate) fn note_flight(&mut self, cut_at: Instant, now: Instant) {
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.time_in_flight += now.saturating_duration_since(cut_at);
        }
    }

    /// Notes how an attempt failed.
    pub(crate) fn note_error(&mut self, error: Arc<AttemptError>, now: Instant) {
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.note(now.saturating_duration_since(self.accepted_at), error.clone());
        }
        self.last_error = Some(error);
    }

    /// What its receipt is told of a delivery, if it has one.
    pub(crate) fn into_delivery(mut self, placement: Placement, now: Instant) -> Option<Untold> {
        let tracker = self.record.take_tracker()?;
        let total = now.saturating_duration_since(self.accepted_at);
        let time_in_flight = tracker.time_in_flight.min(total);
        let (shard_id, sequence_number) = placement.into_parts();
        let delivery = Delivery {
            shard_id,
            sequence_number,
            attempts: self.attempts,
            time_in_buffer: total - time_in_flight,
            time_in_flight,
        };
        Some(Untold::new(tracker, delivery))
    }

    /// Moves a record with a random key elsewhere on the ring, away from a busy shard.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) {
        if *self.record.partition_key() == PartitionKey::Random {
            self.random = rng.u64(..);
        }
    }

    pub(crate) fn into_undelivered(mut self, reason: Reason) -> Undelivered {
        let history = self.record.tracker_mut().map(Tracker::take_history).unwrap_or_default();
        Undelivered {
            record: self.record,
            history,
            reason,
            attempts: self.attempts,
            may_be_written: self.may_be_written,
        }
    }
}
