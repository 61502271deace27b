use std::time::{Duration, Instant};

/// What one shard takes, and so the most that is sent to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    /// Kinesis records a second.
    pub(crate) records: f64,
    /// Bytes a second, partition keys included.
    pub(crate) bytes: f64,
}

/// The rate at which entries go to one shard: a share of its quota, found by additive increase and
/// multiplicative decrease, so that producers that share a stream divide it among themselves without
/// talking to each other.
///
/// Entries are paid for with tokens, in records and in bytes, that come in with time. An entry goes while
/// there is a token left, however large it is, and leaves the debt to those after it.
///
/// Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
/// Computer Networks", 1989.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    quota: Quota,
    /// Of the quota. None as long as nothing bounds it: nobody knows what quota applies, and nothing was
    /// throttled.
    share: Option<f64>,
    /// The highest share.
    bound: f64,
    records: f64,
    bytes: f64,
    /// The tokens are those of this time.
    at: Option<Instant>,
    /// What was taken lately, as a share of the quota.
    usage: f64,
    /// Requests with a lower number were cut before the latest decrease.
    known_before: u64,
}

/// What a throttle leaves of the share.
const DECREASE: f64 = 0.7;

/// By so much the share grows in a second in which it was used up.
const INCREASE: f64 = 0.01;

/// No throttle brings the share below this.
const LOWEST: f64 = 0.005;

/// Tokens of so many seconds are kept for a burst. The service keeps those of a second, so that what
/// arrives a little earlier than it was meant to is not throttled.
const BURST: f64 = 0.25;

/// Those who wait for tokens wait until they have come for so many seconds, so that requests are full.
const QUANTUM: f64 = 0.05;

impl Pace {
    /// The pace of a shard, at a share of its quota of 0 to 1. What was sent before, in requests with
    /// numbers below `next`, says nothing about it.
    pub(crate) fn of_shard(quota: Quota, share: f64, next: u64, now: Instant) -> Self {
        let share = share.clamp(LOWEST, 1.0);
        let tokens = |quota: f64| quota * share * BURST;
        let (records, bytes) = (tokens(quota.records), tokens(quota.bytes));
        Self {
            quota,
            share: Some(share),
            bound: 1.0,
            records,
            bytes,
            at: Some(now),
            usage: 0.0,
            known_before: next,
        }
    }

    /// The pace where no shard is known: none, until something is throttled.
    pub(crate) fn unknown(quota: Quota) -> Self {
        Self {
            quota,
            share: None,
            bound: f64::INFINITY,
            records: 0.0,
            bytes: 0.0,
            at: None,
            usage: 0.0,
            known_before: 0,
        }
    }

    /// Its share of the quota, at most 1. That of a shard whose place it is in.
    pub(crate) fn share(&self) -> f64 {
        self.share.map_or(1.0, |share| share.min(1.0))
    }

    /// Whether an entry may go. Once true, it stays so until something is [taken](Self::take).
    pub(crate) fn may_take(&self) -> bool {
        self.share.is_none() || (self.records > 0.0 && self.bytes > 0.0)
    }

    /// Pays for an entry.
    pub(crate) fn take(&mut self, bytes: usize) {
        let bytes = bytes as f64;
        if self.share.is_some() {
            self.records -= 1.0;
            self.bytes -= bytes;
        }
        self.usage += (1.0 / self.quota.records).max(bytes / self.quota.bytes);
    }

    /// Brings the tokens in that have come. Where more would have been sent, the share grows with them.
    pub(crate) fn refill(&mut self, now: Instant, in_demand: bool) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = self.at.max(Some(now));
        let seconds = since.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        self.usage *= (-seconds).exp();
        let Some(share) = &mut self.share else { return };
        if in_demand {
            *share = (*share + INCREASE * share.max(1.0) * seconds).min(self.bound);
        }
        let (share, quota) = (*share, self.quota);
        let more = |tokens: f64, quota: f64| {
            (tokens + quota * share * seconds).min((quota * share * BURST).max(1.0))
        };
        self.records = more(self.records, quota.records);
        self.bytes = more(self.bytes, quota.bytes);
    }

    /// When there will be tokens for so much, or for as much as one waits for.
    pub(crate) fn ready_at(&self, records: usize, bytes: usize, now: Instant) -> Instant {
        let Some(share) = self.share else { return now };
        let wait = |tokens: f64, wanted: usize, quota: f64| {
            let wanted = (wanted as f64).min(quota * share * QUANTUM);
            (wanted - tokens) / (quota * share)
        };
        let wait = wait(self.records, records, self.quota.records).max(wait(
            self.bytes,
            bytes,
            self.quota.bytes,
        ));
        // A little later than exactly: there must be more than nothing.
        now + Duration::from_secs_f64(wait.max(0.0)) + Duration::from_micros(1)
    }

    /// Takes a throttle of the request with the number `request`, of those below `next`. Requests that
    /// were in flight at the latest decrease say nothing new; the answer is false for them.
    pub(crate) fn throttled(&mut self, request: u64, next: u64) -> bool {
        if request < self.known_before {
            return false;
        }
        self.known_before = next;
        self.records = self.records.min(0.0);
        self.bytes = self.bytes.min(0.0);
        // A stream has at least one shard.
        let share = self.share.unwrap_or(self.usage.max(1.0));
        self.share = Some((share * DECREASE).max(LOWEST));
        true
    }
}
