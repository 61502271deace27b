//! Rate limiter of the entries for one shard. `docs/pacing.md` describes the model.

mod controller;
mod noise;
#[cfg(test)]
mod tests;
mod throughput;
mod trial;

use std::time::{Duration, Instant};

use fastrand::Rng;

use self::controller::{Controller, FIRST_BATCH};

/// Records and bytes that one shard accepts per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    pub(crate) records: f64,
    /// Including partition keys.
    pub(crate) bytes: f64,
}

impl Quota {
    /// Returns the cost of an entry in seconds of the quota.
    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        (1.0 / self.records).max(bytes as f64 / self.bytes)
    }
}

/// Outcome of one request for the entries of one shard. Entries that failed for other reasons are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ShardAnswer {
    pub(crate) request: u64,
    pub(crate) entries: u32,
    pub(crate) refused: u32,
    /// Refused entries after the last accepted one.
    pub(crate) trailing: u32,
    /// Sum of the costs of all entries, in seconds of the quota.
    pub(crate) cost: f64,
    pub(crate) accepted_cost: f64,
}

impl ShardAnswer {
    pub(crate) fn accept(&mut self, cost: f64) {
        self.entries += 1;
        self.trailing = 0;
        self.cost += cost;
        self.accepted_cost += cost;
    }

    pub(crate) fn refuse(&mut self, cost: f64) {
        self.entries += 1;
        self.refused += 1;
        self.trailing += 1;
        self.cost += cost;
    }

    pub(crate) fn accepted(&self) -> u32 {
        self.entries - self.refused
    }

    fn mean_cost(&self) -> f64 {
        self.cost / f64::from(self.entries.max(1))
    }
}

/// Token bucket for the entries of one shard. Its rate is a share of the quota, which follows the answers of the shard.
///
/// An entry takes tokens for records and for bytes. An entry that costs more than the capacity is sent once the bucket
/// is full, and leaves a deficit: the tokens are negative until they are refilled.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiter {
    quota: Quota,
    /// `None` while the rate is unlimited: no shard is known, and no entry was throttled.
    controller: Option<Controller>,
    is_of_shard: bool,
    record_tokens: f64,
    byte_tokens: f64,
    refilled_at: Option<Instant>,
    /// Decaying sum of the costs of the last second. Counted while the rate is unlimited.
    usage: f64,
}

const MIN_SHARE: f64 = 0.005;

/// Upper bound of the capacity, in seconds of the whole quota: the assumed capacity of the service's bucket. Below it,
/// the capacity is one second at the current rate.
const BURST: f64 = 0.25;

/// Capacity after a request without accepted entries, in seconds at the current rate.
const PROBE: f64 = 0.008;

/// Longest refill of the deficit of one entry in seconds, unless the refill takes longer at the whole quota. It bounds
/// the time between two probes of a busy shard.
const MAX_DEFICIT_WAIT: f64 = 5.0;

/// Longest wait for the tokens of a batch in seconds. A batch keeps requests full.
const MAX_BATCH_WAIT: f64 = 0.1;

impl RateLimiter {
    /// Creates the limiter of a known shard, with a share of 0 to 1 of its quota. The refusals of all requests before
    /// the request `next` count as one event.
    pub(crate) fn of_shard(quota: Quota, share: f64, next: u64, now: Instant) -> Self {
        let share = share.clamp(min_share(quota), 1.0);
        // Large entries cannot be divided, so the bytes start with a whole burst.
        let record_tokens = capacity(quota.records, share, FIRST_BATCH);
        let byte_tokens = capacity(quota.bytes, share, BURST);
        let controller = Some(Controller::new(share, min_share(quota), 1.0, next));
        Self {
            quota,
            controller,
            is_of_shard: true,
            record_tokens,
            byte_tokens,
            refilled_at: Some(now),
            usage: 0.0,
        }
    }

    /// Creates a limiter for entries whose shard is unknown. The rate is unlimited until an entry is throttled.
    pub(crate) fn unknown(quota: Quota) -> Self {
        Self {
            quota,
            controller: None,
            is_of_shard: false,
            record_tokens: 0.0,
            byte_tokens: 0.0,
            refilled_at: None,
            usage: 0.0,
        }
    }

    /// Returns the share of the quota, at most 1, with which the limiter of a shard should replace this one.
    pub(crate) fn share(&self) -> f64 {
        self.controller.as_ref().map_or(1.0, |controller| controller.share().min(1.0))
    }

    pub(crate) fn records_per_second(&self) -> Option<f64> {
        self.controller.as_ref().map(|controller| controller.share() * self.quota.records)
    }

    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        self.quota.cost(bytes)
    }

    /// Returns `true` if an entry of this size may be sent. It stays `true` until the next call of
    /// [`take`](Self::take) or [`on_answer`](Self::on_answer).
    #[inline]
    pub(crate) fn has_tokens(&self, bytes: usize) -> bool {
        let Some(controller) = &self.controller else { return true };
        // Fast path: the capacity is only computed if the tokens do not cover the whole cost.
        let affords = |tokens: f64, cost: usize, quota: f64| {
            tokens >= cost as f64 || tokens >= required_tokens(cost, quota, controller)
        };
        affords(self.record_tokens, 1, self.quota.records)
            && affords(self.byte_tokens, bytes, self.quota.bytes)
    }

    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) {
        let Some(controller) = &self.controller else {
            self.usage += self.quota.cost(bytes);
            return;
        };
        let share = controller.share();
        let left = |tokens: f64, taken: f64, quota: f64| match taken - tokens {
            deficit if deficit > 0.0 => {
                -deficit.min((MAX_DEFICIT_WAIT * quota * share).max(deficit * share))
            }
            rest => -rest,
        };
        self.record_tokens = left(self.record_tokens, 1.0, self.quota.records);
        self.byte_tokens = left(self.byte_tokens, bytes as f64, self.quota.bytes);
    }

    pub(crate) fn refund(&mut self, bytes: usize) {
        let Some(controller) = &self.controller else {
            self.usage = (self.usage - self.quota.cost(bytes)).max(0.0);
            return;
        };
        let share = controller.share();
        let burst = burst(controller);
        let Quota { records: each, bytes: size } = self.quota;
        self.record_tokens = (self.record_tokens + 1.0).min(capacity(each, share, burst));
        self.byte_tokens = (self.byte_tokens + bytes as f64).min(capacity(size, share, burst));
    }

    pub(crate) fn refill(&mut self, now: Instant) {
        let since = self.refilled_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.refilled_at = self.refilled_at.max(Some(now));
        let seconds = since.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let Some(controller) = &self.controller else {
            self.usage *= (-seconds).exp();
            return;
        };
        let share = controller.share();
        let burst = burst(controller);
        let more = |tokens: f64, quota: f64| {
            (tokens + quota * share * seconds).min(capacity(quota, share, burst))
        };
        let quota = self.quota;
        self.record_tokens = more(self.record_tokens, quota.records);
        self.byte_tokens = more(self.byte_tokens, quota.bytes);
    }

    /// Returns the time at which there are tokens for an entry of `entry` bytes, and for a batch of the `records` and
    /// `bytes` that are queued. Returns `None` while the rate is unlimited.
    pub(crate) fn ready_at(&self, entry: usize, records: usize, bytes: usize) -> Option<Instant> {
        let controller = self.controller.as_ref()?;
        let share = controller.share();
        let wait = |tokens: f64, required: f64, queued: usize, quota: f64| {
            let batch = quota * controller.batch().min(share * MAX_BATCH_WAIT);
            let capacity = capacity(quota, share, burst(controller)) - ROUNDING;
            let target = (queued as f64).min(batch).min(capacity).max(required);
            (target - tokens) / (quota * share)
        };
        let Quota { records: each, bytes: size } = self.quota;
        let record_wait =
            wait(self.record_tokens, required_tokens(1, each, controller), records, each);
        let byte_wait =
            wait(self.byte_tokens, required_tokens(entry, size, controller), bytes, size);
        // Rounded up.
        let wait =
            Duration::from_secs_f64(record_wait.max(byte_wait).max(0.0)) + Duration::from_micros(1);
        Some(self.refilled_at? + wait)
    }

    /// Returns the end of the pause after requests without accepted entries. It may be in the past.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.controller.as_ref()?.retry_at()
    }

    /// Applies the answer to a request. `wants_more` is `true` if more would have been sent at a higher rate. `next` is
    /// the number of the next request.
    pub(crate) fn on_answer(
        &mut self,
        mut answer: ShardAnswer,
        wants_more: bool,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        if answer.entries == 0 {
            return;
        }
        if !self.is_of_shard {
            // The entries of several shards are mixed, so their order has no meaning.
            answer.trailing = answer.refused;
        }
        if self.controller.is_none() && answer.refused > 0 {
            // A stream has at least one shard.
            let share = self.usage.max(1.0);
            self.controller =
                Some(Controller::new(share, min_share(self.quota), f64::INFINITY, answer.request));
        }
        let Some(controller) = &mut self.controller else { return };
        let before = controller.share();
        controller.on_answer(&answer, wants_more, next, now, rng);
        let share = controller.share();
        let burst = burst(controller);
        // A lower rate does not extend the wait for a deficit.
        let factor = if share < before { share / before } else { 1.0 };
        let keep = |tokens: f64, quota: f64| {
            if tokens < 0.0 { tokens * factor } else { tokens.min(capacity(quota, share, burst)) }
        };
        self.record_tokens = keep(self.record_tokens, self.quota.records);
        self.byte_tokens = keep(self.byte_tokens, self.quota.bytes);
    }
}

/// Tolerance that keeps the required tokens reachable despite rounding.
const ROUNDING: f64 = 1e-6;

fn required_tokens(cost: usize, quota: f64, controller: &Controller) -> f64 {
    (cost as f64).min(capacity(quota, controller.share(), burst(controller))) - ROUNDING
}

fn burst(controller: &Controller) -> f64 {
    if controller.is_probing() { PROBE * controller.share() } else { BURST }
}

/// Returns the capacity in records or bytes, at least 1.
fn capacity(quota: f64, share: f64, burst: f64) -> f64 {
    (quota * share).min(quota * burst).max(1.0)
}

/// Returns the lower bound of the share, which allows one record in [`MAX_DEFICIT_WAIT`].
fn min_share(quota: Quota) -> f64 {
    MIN_SHARE.max(1.0 / (MAX_DEFICIT_WAIT * quota.records)).min(1.0)
}
