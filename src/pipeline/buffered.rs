use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::backlog::{FALLBACK, LaneId};
use crate::record::{
    AttemptError, Delivery, FailureReason, HashKey, Key, PartitionKey, PendingReceipt, Record,
    Tracker, Undelivered,
};
use crate::service::{Entry, Placement};
use crate::shard::{HashCache, hash_of};
use crate::stream::StreamId;

/// Number of misplacements after which a record is no longer aggregated by shard, because the service apparently does
/// not distribute records according to the shard list.
pub(crate) const MAX_MISPLACED: u8 = 2;

/// Two 4-bit counters that saturate at 15. A second byte would enlarge each buffered record by 8 bytes.
#[derive(Debug, Clone, Copy)]
struct Counters(u8);

impl Counters {
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

/// Bits in one byte, for the same reason.
#[derive(Debug, Clone, Copy, Default)]
struct Flags(u8);

impl Flags {
    /// The payload is a slice of an aggregate.
    const SLICE: u8 = 1;
    /// The hash key has been computed.
    const HASHED: u8 = 2;
    const MAY_HAVE_BEEN_WRITTEN: u8 = 4;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.0 = if is_set { self.0 | flag } else { self.0 & !flag };
    }
}

#[derive(Debug)]
pub(crate) struct BufferedRecord {
    pub(crate) seq: u64,
    record: Record,
    /// Random value that determines the key of a [`PartitionKey::Random`] record.
    random: u64,
    /// Hash key if [`Flags::HASHED`] is set. It is computed on demand, because the MD5 digest is the most expensive operation on a
    /// record.
    hash_key: HashKey,
    pub(crate) accepted_at: Instant,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<Arc<AttemptError>>,
    /// Number of misplacements (low), and of consecutive failures with an unknown cause (high).
    counters: Counters,
    flags: Flags,
    /// Share of the buffer to which the record is charged.
    pub(crate) share: ShareId,
}

/// Number of a share of the buffer. Each shard has its own share, so that one shard cannot fill the buffer.
pub(crate) type ShareId = u16;

/// Share of the records whose shard was unknown when they were accepted.
pub(crate) const UNROUTED: ShareId = 0;

/// Share of failed records until they are taken.
pub(crate) const FAILED: ShareId = 1;

/// Returns the share of the records of a lane. The fallback lane, and lanes beyond the 65,534th, have the share
/// [`UNROUTED`].
pub(crate) fn share_of_lane(lane: LaneId) -> ShareId {
    match ShareId::try_from(lane) {
        Ok(lane) if LaneId::from(lane) != FALLBACK => lane.checked_add(FAILED).unwrap_or(UNROUTED),
        _ => UNROUTED,
    }
}

/// Share of a record and the results that were computed to determine it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Admission {
    pub(crate) share: ShareId,
    /// Random key of a [`PartitionKey::Random`] record, if it has been drawn.
    pub(crate) random: Option<u64>,
    pub(crate) hash_key: Option<HashKey>,
}

impl BufferedRecord {
    pub(crate) fn new(
        record: Record,
        seq: u64,
        admission: Admission,
        now: Instant,
        rng: &mut Rng,
    ) -> Self {
        let random = match record.partition_key() {
            PartitionKey::Random => admission.random.unwrap_or_else(|| rng.u64(..)),
            _ => 0,
        };
        let mut flags = Flags::default();
        flags.set(Flags::HASHED, admission.hash_key.is_some());
        Self {
            seq,
            record,
            random,
            hash_key: admission.hash_key.unwrap_or(HashKey::new(0)),
            accepted_at: now,
            attempts: 0,
            last_error: None,
            counters: Counters(0),
            flags,
            share: admission.share,
        }
    }

    pub(crate) fn ensure_hash_key(&mut self, cache: &mut HashCache) {
        if !self.flags.has(Flags::HASHED) {
            let hash_key = match (self.record.explicit_hash_key(), self.record.partition_key()) {
                (Some(hash_key), _) => Some(hash_key),
                (None, PartitionKey::Explicit(key)) => Some(cache.hash_of(key)),
                (None, PartitionKey::Random) => Some(hash_of(&Key::random(self.random))),
                (None, PartitionKey::ServiceManaged) => None,
            };
            self.set_hash_key(hash_key);
        }
    }

    fn computed_hash_key(&self) -> Option<HashKey> {
        self.flags.has(Flags::HASHED).then_some(self.hash_key)
    }

    fn set_hash_key(&mut self, hash_key: Option<HashKey>) {
        self.flags.set(Flags::HASHED, hash_key.is_some());
        self.hash_key = hash_key.unwrap_or(HashKey::new(0));
    }

    #[cfg(test)]
    pub(crate) fn is_hashed(&self) -> bool {
        self.flags.has(Flags::HASHED) || !self.has_hash_key()
    }

    #[cfg(test)]
    pub(crate) fn check_hash_key(&self) {
        let computed = self.key().map(|key| hash_of(&key));
        let expected = self.record.explicit_hash_key().or(computed);
        assert!(self.computed_hash_key().is_none_or(|key| Some(key) == expected), "{self:?}");
    }

    /// Returns `false` if the service chooses the shard of the record.
    #[inline]
    pub(crate) fn has_hash_key(&self) -> bool {
        *self.record.partition_key() != PartitionKey::ServiceManaged
    }

    pub(crate) fn position(&self) -> Option<u128> {
        self.has_hash_key().then(|| self.hash_key().get())
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.record.size()
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.accepted_at)
    }

    /// Returns `true` if the record has not been sent yet. Requests that did not count as attempts are recognized by
    /// the error that they left in `last_error`.
    pub(crate) fn is_unsent(&self) -> bool {
        self.attempts == 0 && self.last_error.is_none()
    }

    pub(crate) fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    pub(crate) fn set_may_have_been_written(&mut self) {
        self.flags.set(Flags::MAY_HAVE_BEEN_WRITTEN, true);
    }

    pub(crate) fn count_misplaced(&mut self) {
        self.counters.set_low(self.counters.low() + 1);
    }

    pub(crate) fn misplaced(&self) -> u8 {
        self.counters.low()
    }

    /// Returns the number of consecutive failures with an unknown cause, at most 15.
    pub(crate) fn failures(&self) -> u8 {
        self.counters.high()
    }

    pub(crate) fn count_failure(&mut self) {
        self.counters.set_high(self.counters.high() + 1);
    }

    pub(crate) fn reset_failures(&mut self) {
        self.counters.set_high(0);
    }

    pub(crate) fn key(&self) -> Option<Key> {
        match self.record.partition_key() {
            PartitionKey::Explicit(key) => Some(key.clone()),
            PartitionKey::Random => Some(Key::random(self.random)),
            PartitionKey::ServiceManaged => None,
        }
    }

    /// Returns the hash key, or 0 for a record without a partition key.
    pub(crate) fn hash_key(&self) -> HashKey {
        let of_the_key = || self.key().map_or(HashKey::new(0), |key| hash_of(&key));
        self.computed_hash_key().or(self.record.explicit_hash_key()).unwrap_or_else(of_the_key)
    }

    #[inline]
    pub(crate) fn build_entry(&self) -> Entry {
        let data = self.record.data().clone();
        Entry::new(data, self.key(), self.record.explicit_hash_key())
    }

    pub(crate) fn set_payload(&mut self, slice: Bytes) {
        self.record.share_data(slice);
        self.flags.set(Flags::SLICE, true);
    }

    /// Copies the payload if it is a slice of an aggregate, because the slice would keep the whole aggregate in memory.
    pub(crate) fn own_payload(&mut self) {
        if self.flags.has(Flags::SLICE) {
            self.flags.set(Flags::SLICE, false);
            let own = Bytes::copy_from_slice(self.record.data());
            self.record.share_data(own);
        }
    }

    /// Returns `true` if consumers may mistake the plain payload for an aggregate.
    pub(crate) fn resembles_an_aggregate(&self) -> bool {
        self.has_hash_key() && crate::aggregate::resembles_aggregate(self.record.data())
    }

    pub(crate) fn record_flight(&mut self, sent_at: Instant, now: Instant) {
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.time_in_flight += now.saturating_duration_since(sent_at);
        }
    }

    pub(crate) fn record_error(&mut self, error: Arc<AttemptError>, now: Instant) {
        let age = self.age(now);
        if let Some(tracker) = self.record.tracker_mut() {
            tracker.record_attempt(age, error.clone());
        }
        self.last_error = Some(error);
    }

    pub(crate) fn delivered(
        &mut self,
        placement: impl FnOnce() -> Placement,
        sub_sequence_number: Option<u64>,
        now: Instant,
    ) -> Option<PendingReceipt> {
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
        Some(PendingReceipt::new(tracker, delivery))
    }

    /// Draws a new random key. Returns `false` if the record has no random key.
    pub(crate) fn redraw_key(&mut self, rng: &mut Rng) -> bool {
        self.redraw_key_if(rng, |_| true)
    }

    /// Draws a new random key and keeps it if `is_better` returns `true`. Returns `true` if the new key was kept.
    pub(crate) fn redraw_key_if(
        &mut self,
        rng: &mut Rng,
        is_better: impl FnOnce(&Self) -> bool,
    ) -> bool {
        if *self.record.partition_key() != PartitionKey::Random {
            return false;
        }
        let (random, hash_key) = (self.random, self.computed_hash_key());
        self.random = rng.u64(..);
        self.set_hash_key(self.record.explicit_hash_key());
        let keeps = is_better(self);
        if !keeps {
            self.random = random;
            self.set_hash_key(hash_key);
        }
        keeps
    }

    pub(crate) fn into_undelivered(
        mut self,
        reason: FailureReason,
        stream: &StreamId,
    ) -> Undelivered {
        self.own_payload();
        let history = self.record.tracker_mut().map(Tracker::take_history).unwrap_or_default();
        Undelivered {
            record: self.record,
            stream: Some(stream.clone()),
            history: history.into(),
            reason,
            attempts: self.attempts,
            may_have_been_written: self.flags.has(Flags::MAY_HAVE_BEEN_WRITTEN),
        }
    }
}
