use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::record::{Key, PartitionKey, Record};
use crate::service::Entry;
use crate::undelivered::{AttemptError, Reason, Undelivered};

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

    /// Moves a record with a random key elsewhere on the ring, away from a busy shard.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) {
        if *self.record.partition_key() == PartitionKey::Random {
            self.random = rng.u64(..);
        }
    }

    pub(crate) fn into_undelivered(self, reason: Reason) -> Undelivered {
        Undelivered {
            record: self.record,
            reason,
            attempts: self.attempts,
            may_be_written: self.may_be_written,
        }
    }
}
