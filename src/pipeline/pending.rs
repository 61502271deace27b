use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use crate::record::{
    AttemptError, Delivery, HashKey, Key, PartitionKey, Reason, Record, Tracker, Undelivered,
    Untold,
};
use crate::service::{Entry, Placement};
use crate::shard::{HashMemo, hash_of};

/// A record whose aggregates came to lie in the wrong shard so often goes with its own key only: what
/// the list of shards says is not what the service does.
pub(crate) const MOST_MISPLACED: u8 = 2;

/// Two counters up to 15 in one byte. A second byte would make each record 8 bytes larger.
#[derive(Debug, Clone, Copy)]
struct Mishaps(u8);

impl Mishaps {
    fn low(self) -> u8 {
        self.0 & 15
    }

    fn high(self) -> u8 {
        self.0 >> 4
    }

    fn set_low(&mut self, count: u8) {
        self.0 = self.high() << 4 | count.min(15);
    }

    fn set_high(&mut self, count: u8) {
        self.0 = count.min(15) << 4 | self.low();
    }
}

/// An accepted record that is not settled.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Its place in the order of acceptance.
    pub(crate) seq: u64,
    record: Record,
    /// What stands in for the partition key of a [`PartitionKey::Random`] record.
    random: u64,
    /// Its place on the hash ring, once someone has asked for it: it costs more than all else that is done
    /// with a record, and where one shard is known nobody asks.
    place: Option<HashKey>,
    pub(crate) accepted_at: Instant,
    /// Requests that carried it.
    pub(crate) attempts: u32,
    /// One of them has an unknown outcome.
    pub(crate) may_be_written: bool,
    pub(crate) last_error: Option<Arc<AttemptError>>,
    mishaps: Mishaps,
    /// Its payload is a part of an aggregate.
    shared: bool,
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
            place: None,
            accepted_at: now,
            attempts: 0,
            may_be_written: false,
            last_error: None,
            mishaps: Mishaps(0),
            shared: false,
        }
    }

    /// Looks for its place on the hash ring, so that it is known from now on.
    pub(crate) fn find_place(&mut self, memo: &mut HashMemo) {
        if self.place.is_none() {
            self.place = match (self.record.explicit_hash_key(), self.record.partition_key()) {
                (Some(place), _) => Some(place),
                (None, PartitionKey::Explicit(key)) => Some(memo.hash_of(key)),
                (None, PartitionKey::Random) => Some(hash_of(&Key::random(self.random))),
                (None, PartitionKey::ServiceManaged) => None,
            };
        }
    }

    /// Whether its place has been looked for, if it has one.
    #[cfg(test)]
    pub(crate) fn is_placed(&self) -> bool {
        self.place.is_some() || !self.has_place()
    }

    /// What is known of its place must be true at any time.
    #[cfg(test)]
    pub(crate) fn check_place(&self) {
        let found = self.key().map(|key| hash_of(&key));
        let right = self.record.explicit_hash_key().or(found);
        assert!(self.place.is_none() || self.place == right, "{self:?}");
    }

    /// Whether it has a place on the hash ring: records without a key the service places itself.
    #[inline]
    pub(crate) fn has_place(&self) -> bool {
        *self.record.partition_key() != PartitionKey::ServiceManaged
    }

    /// Returns its place on the hash ring, if it has one.
    pub(crate) fn place(&self) -> Option<u128> {
        self.has_place().then(|| self.hash_key().get())
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.record.size()
    }

    /// The time since it was accepted.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.accepted_at)
    }

    /// Whether no request has carried it. One that was no fault of its own counts as no attempt, but left its
    /// error.
    pub(crate) fn is_unsent(&self) -> bool {
        self.attempts == 0 && self.last_error.is_none()
    }

    /// Attempts beyond the first.
    pub(crate) fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    /// Whether the list of shards has misled it too often.
    pub(crate) fn is_misled(&self) -> bool {
        self.mishaps.low() >= MOST_MISPLACED
    }

    /// Notes that its aggregate came to lie in a shard that is not the shard of all members.
    pub(crate) fn note_misplaced(&mut self) {
        self.mishaps.set_low(self.mishaps.low() + 1);
    }

    /// How often that happened, 15 at most.
    pub(crate) fn misplaced(&self) -> u8 {
        self.mishaps.low()
    }

    pub(crate) fn forget_misplaced(&mut self) {
        self.mishaps.set_low(0);
    }

    /// Attempts in a row that failed with it for no known reason, 15 at most: whole requests, or its entry
    /// while others were answered.
    pub(crate) fn failures(&self) -> u8 {
        self.mishaps.high()
    }

    pub(crate) fn note_failure(&mut self) {
        self.mishaps.set_high(self.mishaps.high() + 1);
    }

    pub(crate) fn forget_failures(&mut self) {
        self.mishaps.set_high(0);
    }

    /// Its partition key as it is sent, if it has one.
    pub(crate) fn key(&self) -> Option<Key> {
        match self.record.partition_key() {
            PartitionKey::Explicit(key) => Some(key.clone()),
            PartitionKey::Random => Some(Key::random(self.random)),
            PartitionKey::ServiceManaged => None,
        }
    }

    /// Its place on the hash ring. Without a key it has none, and the answer means nothing.
    pub(crate) fn hash_key(&self) -> HashKey {
        let of_the_key = || self.key().map_or(HashKey::new(0), |key| hash_of(&key));
        self.place.or(self.record.explicit_hash_key()).unwrap_or_else(of_the_key)
    }

    /// What a request carries of it.
    #[inline]
    pub(crate) fn entry(&self) -> Entry {
        let data = self.record.data().clone();
        Entry::new(data, self.key(), self.record.explicit_hash_key())
    }

    /// Puts a copy of the payload that lies elsewhere in its place.
    pub(crate) fn share_payload(&mut self, copy: Bytes) {
        self.record.share_data(copy);
        self.shared = true;
    }

    /// Copies the payload if it is a slice of an aggregate, which it would keep in memory as a whole.
    pub(crate) fn own_payload(&mut self) {
        if std::mem::take(&mut self.shared) {
            let own = Bytes::copy_from_slice(self.record.data());
            self.record.share_data(own);
        }
    }

    /// Whether readers may mistake its payload for an aggregate if it is sent plain.
    pub(crate) fn resembles_an_aggregate(&self) -> bool {
        self.has_place() && crate::aggregate::resembles_one(self.record.data())
    }

    /// Notes that a request with it, cut at `cut_at`, has come to its end.
    pub(crate) fn note_flight(&mut self, cut_at: Instant, now: Instant) {
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.time_in_flight += now.saturating_duration_since(cut_at);
        }
    }

    /// Notes how an attempt failed.
    pub(crate) fn note_error(&mut self, error: Arc<AttemptError>, now: Instant) {
        let age = self.age(now);
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.note(age, error.clone());
        }
        self.last_error = Some(error);
    }

    /// What its receipt is told of a delivery, if it has one: else nobody asks for the placement.
    pub(crate) fn delivered(
        &mut self,
        placement: impl FnOnce() -> Placement,
        sub_sequence_number: Option<u64>,
        now: Instant,
    ) -> Option<Untold> {
        let tracker = self.record.take_tracker()?;
        let total = self.age(now);
        let time_in_flight = tracker.time_in_flight.min(total);
        let (shard_id, sequence_number) = placement().into_parts();
        let delivery = Delivery {
            shard_id,
            sequence_number,
            sub_sequence_number,
            attempts: self.attempts,
            time_in_buffer: total - time_in_flight,
            time_in_flight,
        };
        Some(Untold::new(tracker, delivery))
    }

    /// Moves a record with a random key elsewhere on the ring, away from a busy shard. False if it has
    /// another one.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) -> bool {
        self.redraw_key_if(rng, |_| true)
    }

    /// The same, if it is `better` off there. False if it stays.
    pub(crate) fn redraw_key_if(
        &mut self,
        rng: &mut Rng,
        better: impl FnOnce(&Self) -> bool,
    ) -> bool {
        if *self.record.partition_key() != PartitionKey::Random {
            return false;
        }
        let before = (self.random, self.place);
        self.random = rng.u64(..);
        self.place = self.record.explicit_hash_key();
        let moves = better(self);
        if !moves {
            (self.random, self.place) = before;
        }
        moves
    }

    /// Hands the record back. Its payload is [copied](Self::own_payload) if it is a slice of an aggregate.
    pub(crate) fn into_undelivered(mut self, reason: Reason) -> Undelivered {
        self.own_payload();
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
