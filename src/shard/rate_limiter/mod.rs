//! The rate at which entries are sent to one shard. `docs/pacing.md` describes the model.

mod controller;
mod noise;
#[cfg(test)]
mod tests;
mod throughput;
mod trial;

use std::time::{Duration, Instant};

use fastrand::Rng;

use self::controller::{Controller, FIRST_BATCH};

/// What one shard accepts per second, and the upper bound of what is sent to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    /// Kinesis records.
    pub(crate) records: f64,
    /// Bytes, partition keys included.
    pub(crate) bytes: f64,
}

impl Quota {
    /// The seconds of the quota that an entry uses up.
    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        (1.0 / self.records).max(bytes as f64 / self.bytes)
    }
}

/// What one answer said about the entries for one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ShardAnswer {
    /// The number of the request.
    pub(crate) request: u64,
    /// Entries that were accepted or throttled. Those that failed otherwise say nothing about the rate.
    pub(crate) entries: u32,
    /// Those of them that were throttled.
    pub(crate) refused: u32,
    /// Throttled entries after the last accepted one, in the order of the request.
    pub(crate) trailing: u32,
    /// The costs of all of them, in seconds of the quota.
    pub(crate) cost: f64,
    /// The costs of the accepted ones.
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

    /// The average cost of an entry.
    fn mean_cost(&self) -> f64 {
        self.cost / f64::from(self.entries.max(1))
    }
}

/// Limits the entries that are sent to one shard, by a token bucket whose rate is a share of the quota. The
/// share follows what the shard accepts and refuses.
///
/// An entry takes tokens for records and for bytes. One that costs more than the bucket holds is sent once the bucket is
/// full, and the tokens are negative until the deficit has been refilled.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiter {
    quota: Quota,
    /// None while nothing bounds the rate: no shard is known, and nothing was throttled.
    controller: Option<Controller>,
    is_of_shard: bool,
    /// Tokens for records. Negative after an entry that cost more than the bucket held.
    record_tokens: f64,
    /// The same for bytes.
    byte_tokens: f64,
    /// The time for which the tokens are computed.
    at: Option<Instant>,
    /// What was taken lately, as a share of the quota. Counted while nothing bounds the rate.
    usage: f64,
}

/// No throttle brings the share below this.
const LOWEST: f64 = 0.005;

/// The bucket holds the tokens of a second at the current rate, but no more than those of this many seconds at the whole
/// quota. The service's bucket is assumed to hold as many.
const BURST: f64 = 0.25;

/// After a request of which nothing was accepted, the next one only probes: with the tokens that come in this many
/// seconds at the current rate.
const PROBE: f64 = 0.008;

/// The longest wait in seconds for the deficit of one entry, unless its refill takes longer at the whole quota: how busy a
/// shard is must be tried now and then.
const MAX_DEFICIT_WAIT: f64 = 5.0;

/// The longest wait in seconds for the tokens of a batch, which keeps requests full.
const MAX_BATCH_WAIT: f64 = 0.1;

impl RateLimiter {
    /// The limiter of a shard, at a share of its quota of 0 to 1. `next` is the number of the next request; refusals of
    /// earlier ones are one event.
    pub(crate) fn of_shard(quota: Quota, share: f64, next: u64, now: Instant) -> Self {
        let share = share.clamp(lowest(quota), 1.0);
        // Bursts of bytes are those of large entries, which cannot be divided.
        let record_tokens = capacity(quota.records, share, FIRST_BATCH);
        let byte_tokens = capacity(quota.bytes, share, BURST);
        let controller = Some(Controller::new(share, lowest(quota), 1.0, next));
        Self {
            quota,
            controller,
            is_of_shard: true,
            record_tokens,
            byte_tokens,
            at: Some(now),
            usage: 0.0,
        }
    }

    /// The limiter where no shard is known: no limit, until something is throttled.
    pub(crate) fn unknown(quota: Quota) -> Self {
        Self {
            quota,
            controller: None,
            is_of_shard: false,
            record_tokens: 0.0,
            byte_tokens: 0.0,
            at: None,
            usage: 0.0,
        }
    }

    /// Its share of the quota, at most 1: the one with which the limiter of a shard in its place begins.
    pub(crate) fn share(&self) -> f64 {
        self.controller.as_ref().map_or(1.0, |controller| controller.share().min(1.0))
    }

    /// The rate in records per second; none while nothing bounds it.
    pub(crate) fn records_per_second(&self) -> Option<f64> {
        self.controller.as_ref().map(|controller| controller.share() * self.quota.records)
    }

    /// The seconds of the quota that an entry uses up.
    pub(crate) fn cost(&self, bytes: usize) -> f64 {
        self.quota.cost(bytes)
    }

    /// Whether an entry of so many bytes may be sent. Once true, it stays so until something is
    /// [taken](Self::take) or answered.
    #[inline]
    pub(crate) fn may_take(&self, bytes: usize) -> bool {
        let Some(controller) = &self.controller else { return true };
        // Most have tokens for all of it, and the capacity need not be computed.
        let affords = |tokens: f64, cost: usize, quota: f64| {
            tokens >= cost as f64 || tokens >= required_tokens(cost, quota, controller)
        };
        affords(self.record_tokens, 1, self.quota.records)
            && affords(self.byte_tokens, bytes, self.quota.bytes)
    }

    /// Takes the tokens for an entry.
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

    /// Gives back the tokens for an entry that was not sent after all.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let Some(controller) = &self.controller else {
            self.usage = (self.usage - self.quota.cost(bytes)).max(0.0);
            return;
        };
        let (share, burst) = (controller.share(), burst(controller));
        let Quota { records: each, bytes: size } = self.quota;
        self.record_tokens = (self.record_tokens + 1.0).min(capacity(each, share, burst));
        self.byte_tokens = (self.byte_tokens + bytes as f64).min(capacity(size, share, burst));
    }

    /// Adds the tokens of the time since the last call.
    pub(crate) fn refill(&mut self, now: Instant) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = self.at.max(Some(now));
        let seconds = since.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let Some(controller) = &self.controller else {
            self.usage *= (-seconds).exp();
            return;
        };
        let (share, burst) = (controller.share(), burst(controller));
        let more = |tokens: f64, quota: f64| {
            (tokens + quota * share * seconds).min(capacity(quota, share, burst))
        };
        let quota = self.quota;
        self.record_tokens = more(self.record_tokens, quota.records);
        self.byte_tokens = more(self.byte_tokens, quota.bytes);
    }

    /// When there will be tokens for an entry of so many bytes, and for a batch of the records and bytes that
    /// wait with it. None while nothing is limited.
    pub(crate) fn ready_at(&self, entry: usize, records: usize, bytes: usize) -> Option<Instant> {
        let controller = self.controller.as_ref()?;
        let share = controller.share();
        let wait = |tokens: f64, required: f64, wanted: usize, quota: f64| {
            let batch = quota * controller.batch().min(share * MAX_BATCH_WAIT);
            let most = capacity(quota, share, burst(controller)) - ROUNDING;
            let wanted = (wanted as f64).min(batch).min(most).max(required);
            (wanted - tokens) / (quota * share)
        };
        let Quota { records: each, bytes: size } = self.quota;
        let record_wait =
            wait(self.record_tokens, required_tokens(1, each, controller), records, each);
        let byte_wait =
            wait(self.byte_tokens, required_tokens(entry, size, controller), bytes, size);
        // A little later than exactly, for what is rounded off.
        let wait =
            Duration::from_secs_f64(record_wait.max(byte_wait).max(0.0)) + Duration::from_micros(1);
        Some(self.at? + wait)
    }

    /// The end of the pause after requests of which nothing was accepted, whether it has passed or not.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.controller.as_ref()?.retry_at()
    }

    /// Applies the answer to a request. `wants_more` says whether more would have been sent at a higher rate, `next` is
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
            // The entries of several shards follow each other in any order.
            answer.trailing = answer.refused;
        }
        if self.controller.is_none() && answer.refused > 0 {
            // A stream has at least one shard.
            let share = self.usage.max(1.0);
            self.controller =
                Some(Controller::new(share, lowest(self.quota), f64::INFINITY, answer.request));
        }
        let Some(controller) = &mut self.controller else { return };
        let before = controller.share();
        controller.on_answer(&answer, wants_more, next, now, rng);
        let (share, burst) = (controller.share(), burst(controller));
        // A lower rate does not make the wait for a deficit longer.
        let factor = if share < before { share / before } else { 1.0 };
        let keep = |tokens: f64, quota: f64| {
            if tokens < 0.0 { tokens * factor } else { tokens.min(capacity(quota, share, burst)) }
        };
        self.record_tokens = keep(self.record_tokens, self.quota.records);
        self.byte_tokens = keep(self.byte_tokens, self.quota.bytes);
    }
}

/// Keeps rounding from making tokens unreachable.
const ROUNDING: f64 = 1e-6;

/// The tokens that must be there for an entry.
fn required_tokens(cost: usize, quota: f64, controller: &Controller) -> f64 {
    (cost as f64).min(capacity(quota, controller.share(), burst(controller))) - ROUNDING
}

fn burst(controller: &Controller) -> f64 {
    if controller.is_probing() { PROBE * controller.share() } else { BURST }
}

/// The most tokens that the bucket holds: enough for one record.
fn capacity(quota: f64, share: f64, burst: f64) -> f64 {
    (quota * share).min(quota * burst).max(1.0)
}

/// The lowest share. Even so a record is sent within [`MAX_DEFICIT_WAIT`].
fn lowest(quota: Quota) -> f64 {
    LOWEST.max(1.0 / (MAX_DEFICIT_WAIT * quota.records)).min(1.0)
}
