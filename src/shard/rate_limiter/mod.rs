//! Rate limiter for the entries of one shard. `docs/pacing.md` describes the model.

mod controller;
mod noise;
mod resting;
#[cfg(test)]
mod tests;
mod throughput;
mod trial;

use std::time::{Duration, Instant};

use fastrand::Rng;

pub(crate) use self::resting::RestingLimiter;

use self::controller::{Controller, FIRST_BATCH};

/// Records and bytes that one shard accepts per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    pub(crate) records: f64,
    /// Bytes per second, including partition keys.
    pub(crate) bytes: f64,
}

impl Quota {
    /// Returns the cost of an entry, as the number of seconds for which the entry uses the whole quota.
    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        (1.0 / self.records).max(bytes as f64 / self.bytes)
    }
}

/// Result of one request for the entries of one shard. Counts only accepted and throttled entries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ShardOutcome {
    pub(crate) request: u64,
    pub(crate) entries: u32,
    pub(crate) throttled: u32,
    /// Number of throttled entries after the last accepted entry.
    pub(crate) trailing: u32,
    /// Total cost of all entries, in seconds of the quota.
    pub(crate) cost: f64,
    pub(crate) accepted_cost: f64,
}

impl ShardOutcome {
    pub(crate) fn accept(&mut self, cost: f64) {
        self.entries += 1;
        self.trailing = 0;
        self.cost += cost;
        self.accepted_cost += cost;
    }

    pub(crate) fn throttle(&mut self, cost: f64) {
        self.entries += 1;
        self.throttled += 1;
        self.trailing += 1;
        self.cost += cost;
    }

    pub(crate) fn accepted(&self) -> u32 {
        self.entries - self.throttled
    }

    fn mean_cost(&self) -> f64 {
        self.cost / f64::from(self.entries.max(1))
    }
}

/// Token bucket for one shard. The [`Controller`] adjusts the refill rate, a share of the quota, to the responses. Each
/// entry takes one record token, and one byte token per byte. An entry that exceeds the capacity is sent once the
/// bucket is full, and leaves a deficit, which is a negative number of tokens.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiter {
    quota: Quota,
    /// `None` while the rate is unlimited, because the shard is unknown and no entry has been throttled.
    controller: Option<Controller>,
    is_of_shard: bool,
    record_tokens: f64,
    byte_tokens: f64,
    refilled_at: Option<Instant>,
    /// Decaying sum of recent costs, with a time constant of one second. Updated only while the rate is unlimited.
    usage: f64,
}

const MIN_SHARE: f64 = 0.005;

/// Upper bound of the bucket capacity, in seconds of the whole quota. The token bucket of the service is assumed to
/// have this capacity. At a low rate, the capacity is one second at the current rate.
const BURST: f64 = 0.25;

/// Bucket capacity after a request without accepted entries, in seconds at the current rate.
const PROBE: f64 = 0.008;

/// Maximum time to refill the deficit of one entry, in seconds. If the refill takes longer even at the whole quota,
/// that time applies instead. The limit bounds the time between two probes of a busy shard.
const MAX_DEFICIT_WAIT: f64 = 5.0;

/// Maximum time to wait for the tokens of a batch, in seconds. Waiting for a batch prevents requests with few entries.
const MAX_BATCH_WAIT: f64 = 0.1;

impl RateLimiter {
    /// Creates the limiter of a known shard with the initial rate `share`, a fraction of the quota. Throttled entries
    /// of all requests before request number `next` count as one congestion event.
    pub(crate) fn of_shard(quota: Quota, share: f64, next: u64, now: Instant) -> Self {
        let share = share.clamp(min_share(quota), 1.0);
        // A large entry cannot be split, so the byte tokens start with a full burst.
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

    /// Returns the initial share of the limiter that replaces this one when the shard is known. The share is at most 1.
    pub(crate) fn share(&self) -> f64 {
        self.controller.as_ref().map_or(1.0, |controller| controller.share().min(1.0))
    }

    pub(crate) fn records_per_second(&self) -> Option<f64> {
        self.controller.as_ref().map(|controller| controller.share() * self.quota.records)
    }

    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        self.quota.cost(bytes)
    }

    /// Returns `true` if there are tokens for an entry of this size. The result remains `true` until the next call of
    /// [`take`](Self::take) or [`on_outcome`](Self::on_outcome).
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

    /// Returns the time at which there are tokens for an entry of `entry` bytes and for a batch of the queued entries.
    /// `records` and `bytes` are the size of the queue. Returns `None` while the rate is unlimited.
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
        // Rounds up, so that the tokens are available at the returned time.
        let wait =
            Duration::from_secs_f64(record_wait.max(byte_wait).max(0.0)) + Duration::from_micros(1);
        Some(self.refilled_at? + wait)
    }

    /// Returns the time at which an entry of this size can be sent. Returns `None` if it can be sent now.
    pub(crate) fn sends_at(mut self, bytes: usize, now: Instant) -> Option<Instant> {
        self.refill(now);
        if self.has_tokens(bytes) {
            return None;
        }
        self.ready_at(bytes, 1, bytes).filter(|at| *at > now)
    }

    /// Returns when the current backoff ends, which can be in the past. A shard backs off after requests in which it
    /// accepted no entry.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.controller.as_ref()?.retry_at()
    }

    /// Updates the rate from a response. `wants_more` is `true` if the sink would have sent more at a higher rate.
    pub(crate) fn on_outcome(
        &mut self,
        mut outcome: ShardOutcome,
        wants_more: bool,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        if outcome.entries == 0 {
            return;
        }
        if !self.is_of_shard {
            // The request mixes entries of several shards, so the order of throttled entries has no meaning.
            outcome.trailing = outcome.throttled;
        }
        if self.controller.is_none() && outcome.throttled > 0 {
            // The rate is at least the quota of one shard, because every stream has a shard.
            let share = self.usage.max(1.0);
            self.controller =
                Some(Controller::new(share, min_share(self.quota), f64::INFINITY, outcome.request));
        }
        let Some(controller) = &mut self.controller else { return };
        let before = controller.share();
        controller.on_outcome(&outcome, wants_more, next, now, rng);
        let share = controller.share();
        let burst = burst(controller);
        // Reduces a deficit together with the rate, so that the refill does not take longer.
        let factor = if share < before { share / before } else { 1.0 };
        let keep = |tokens: f64, quota: f64| {
            if tokens < 0.0 { tokens * factor } else { tokens.min(capacity(quota, share, burst)) }
        };
        self.record_tokens = keep(self.record_tokens, self.quota.records);
        self.byte_tokens = keep(self.byte_tokens, self.quota.bytes);
    }
}

/// Tolerance for rounding errors. Without it, the bucket might never reach the required tokens.
const ROUNDING: f64 = 1e-6;

fn required_tokens(cost: usize, quota: f64, controller: &Controller) -> f64 {
    (cost as f64).min(capacity(quota, controller.share(), burst(controller))) - ROUNDING
}

fn burst(controller: &Controller) -> f64 {
    if controller.is_probing() { PROBE * controller.share() } else { BURST }
}

/// Returns the bucket capacity in records or bytes, at least 1.
fn capacity(quota: f64, share: f64, burst: f64) -> f64 {
    (quota * share).min(quota * burst).max(1.0)
}

/// Returns the lower bound of the share. It allows at least one record per [`MAX_DEFICIT_WAIT`].
fn min_share(quota: Quota) -> f64 {
    MIN_SHARE.max(1.0 / (MAX_DEFICIT_WAIT * quota.records)).min(1.0)
}
