//! Controller of the send rate for one shard. `docs/pacing.md` describes the model.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::ShardOutcome;
use super::noise::Noise;
use super::throughput::{Average, LastSecond};
use super::trial::{Seen, Trial};

/// Growth of the share per second, at a share of 1.
const GROWTH: f64 = 0.02;
/// Seconds without congestion after which the growth doubles.
const DOUBLING: f64 = 1.5;
const MAX_DOUBLINGS: f64 = 6.0;

/// Decrease of the rate per throttled entry, in entries per second.
const DECREASE: f64 = 2.0;

/// Lower bound of the rate after a throttled entry, as a fraction of the rate accepted within the last second.
const MIN_OF_ACCEPTED: f64 = 0.9;

/// Lower bound of the rate while nothing is accepted outside an outage, as a fraction of the target rate.
const MIN_OF_TARGET: f64 = 0.5;

/// Lower bound of the share during one congestion event, as a fraction of the share at the start of the event. An event
/// consists of the requests that were sent before the congestion was detected.
const MIN_OF_EVENT: f64 = 0.8;

/// Lower bound of the share when a pause ends, as a fraction of the previous share. After a pause, a low accepted rate
/// may mean only that few entries were sent.
const MIN_AFTER_PAUSE: f64 = 0.5;

/// Seconds without accepted entries after which the average `recent` is used if it exceeds the rate of the last second.
const LAST_SECOND_IS_STALE: f64 = 1.0;

/// Seconds for which the order of throttled entries is ignored, after a trial has proven that the rate matters.
const UNORDERED_FOR: f64 = 60.0;

const MIN_GOOD: f64 = 0.02;

/// Upper bound of the rate while no shard is known, as a multiple of the rate accepted within the last second. The
/// bound is at least the quota of one shard.
const MAX_OF_ACCEPTED: f64 = 2.0;

/// Number of throttled entries beyond noise above which the shard is considered congested. The count decays with the
/// time constant [`CONGESTION_MEMORY`], in seconds.
const CONGESTION: f64 = 1.5;
const CONGESTION_MEMORY: f64 = 0.3;
/// Congestion above which the batch shrinks.
const BATCH_CONGESTION: f64 = 4.0;

/// Relative growth per second towards the target rate.
const RETURN: f64 = 3.0;
/// Fraction of the target rate below which the rate grows at [`RETURN`]: in normal operation, and after an outage.
const RETURN_BELOW: f64 = 0.7;
const RETURN_BELOW_AFTER_OUTAGE: f64 = 0.95;

/// Noise that a calm shard can have: a few entries in a thousand.
const NEGLIGIBLE_NOISE: f64 = 0.005;

/// Seconds without accepted entries after which the shard is considered to be in an outage rather than congested.
const OUTAGE: f64 = 1.5;

/// Upper bound of the random pause after the second consecutive request without accepted entries. The bound doubles
/// with each further request, up to [`MAX_PAUSE`], or up to [`MAX_PAUSE_IN_OUTAGE`] in an outage.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_millis(150);
const MAX_PAUSE_IN_OUTAGE: Duration = Duration::from_secs(1);

/// Initial batch size, in seconds of the quota. The batch shrinks on congestion, because the token bucket of the
/// service might be smaller than the batch. Without congestion the batch grows, so that requests contain more entries.
pub(super) const FIRST_BATCH: f64 = 0.04;
const MIN_BATCH: f64 = 0.005;
const MAX_BATCH: f64 = 0.06;
const BATCH_DECREASE: f64 = 0.6;
const BATCH_INCREASE: f64 = 0.05;

/// Controller of the send rate for one shard. All rates are shares of the quota.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    share: f64,
    lowest: f64,
    /// Upper bound of the accepted rate. Infinite if the number of shards is unknown.
    highest: f64,
    noise: Noise,
    trial: Trial,
    /// Set while the order of throttled entries is ignored.
    unordered: Option<Unordered>,
    last_second: LastSecond,
    recent: Average,
    sustained: Average,
    /// Share to return to after throttling.
    good: f64,
    /// Decaying count of throttled entries beyond noise.
    congestion: f64,
    /// Seconds of growth without congestion.
    uncongested: f64,
    /// Set after an outage, until the next congestion.
    recovering: bool,
    /// Number of throttled entries since the last accepted entry, and number of requests in which all were throttled.
    throttled_entries: u32,
    throttled_requests: u32,
    throttled_since: Option<Instant>,
    retry_at: Option<Instant>,
    answered_at: Option<Instant>,
    /// First request after the latest congestion event. Earlier throttled entries belong to that event.
    event_end: u64,
    event_floor: f64,
    batch: f64,
    /// Random factor for the size of the next batch. It prevents producers that share a shard from synchronizing.
    jitter: f64,
}

#[derive(Debug, Clone, Copy)]
struct Unordered {
    since: Instant,
    throttled_before: f64,
    share_before: f64,
    seen: Seen,
    /// Set once fewer entries are throttled at the lower rate.
    is_verified: bool,
}

impl Controller {
    /// Creates a controller. Throttled entries of all requests before request number `next` belong to one event.
    pub(super) fn new(share: f64, lowest: f64, highest: f64, next: u64) -> Self {
        Self {
            share,
            lowest,
            highest,
            noise: Noise::default(),
            trial: Trial::default(),
            unordered: None,
            last_second: LastSecond::default(),
            recent: Average::over(2.0),
            sustained: Average::over(30.0),
            good: share,
            congestion: 0.0,
            // The initial rate for unknown shards is a guess, so it grows quickly until the first congestion.
            uncongested: if highest.is_finite() { 0.0 } else { MAX_DOUBLINGS * DOUBLING },
            recovering: false,
            throttled_entries: 0,
            throttled_requests: 0,
            throttled_since: None,
            retry_at: None,
            answered_at: None,
            event_end: next,
            event_floor: MIN_OF_EVENT * share,
            batch: FIRST_BATCH,
            jitter: 1.0,
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.share * self.trial.part()
    }

    pub(super) fn batch(&self) -> f64 {
        self.batch * self.jitter
    }

    /// Returns `true` if no entry of the latest request was accepted.
    pub(super) fn is_probing(&self) -> bool {
        self.throttled_requests > 0
    }

    /// Returns `true` if a new controller with the same share would behave similarly, because the shard throttles neither
    /// all entries nor entries at random, and the share is not returning to an earlier one.
    pub(super) fn is_calm(&self) -> bool {
        !self.is_probing()
            && !self.is_returning()
            && self.unordered.is_none()
            && self.trial.is_idle()
            && self.noise.probability() < NEGLIGIBLE_NOISE
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Updates the rate from the response to a request. See [`RateLimiter::on_outcome`](super::RateLimiter::on_outcome).
    pub(super) fn on_outcome(
        &mut self,
        outcome: &ShardOutcome,
        wants_more: bool,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        let elapsed = self.answered_at.map_or(0.0, |at| seconds(at, now));
        self.answered_at = Some(now);
        self.jitter = 0.5 + rng.f64();
        let (excess, trailing) = self.excess(outcome, next, now);
        self.last_second.add(outcome.accepted_cost, now);
        self.recent.add(outcome.accepted_cost, now);
        self.sustained.add(outcome.accepted_cost, now);
        if outcome.throttled == outcome.entries {
            self.on_all_refused(outcome, now, rng);
        } else {
            self.on_accepted(outcome, wants_more, now);
        }
        self.congestion = self.congestion * (-elapsed / CONGESTION_MEMORY).exp() + excess;
        self.congestion = self.congestion.max(0.0);
        let change = -DECREASE * excess * outcome.mean_cost() * self.per_accepted();
        if trailing > 0 {
            if self.is_new(outcome) {
                self.event_floor = MIN_OF_EVENT * self.share;
            }
            let lowest = self.min_share_after_throttle(now).max(self.event_floor.min(self.share));
            self.share = (self.share + change).max(lowest);
            if self.congestion > CONGESTION {
                self.on_congestion(outcome, next, now);
            }
        } else {
            let elapsed = elapsed.min(1.0);
            let growth = if wants_more { self.growth(elapsed) } else { 0.0 };
            let share = self.share + change + growth;
            let bound = (MAX_OF_ACCEPTED * self.rate_of_last_second(now)).max(1.0);
            self.share =
                if self.highest.is_finite() { share } else { share.min(bound.max(self.share)) };
            let accepted = self.rate_of_last_second(now);
            self.good = self.good.max(self.share.min(accepted));
            self.batch = (self.batch * (1.0 + BATCH_INCREASE * elapsed)).min(MAX_BATCH);
        }
        self.share = self.share.clamp(self.lowest, self.highest * self.per_accepted());
    }

    /// Returns the throttled entries beyond noise, which can be negative, and those that the rate may have caused.
    fn excess(&mut self, outcome: &ShardOutcome, next: u64, now: Instant) -> (f64, u32) {
        if let Some(unordered) = &mut self.unordered {
            let entries = f64::from(outcome.entries);
            unordered.seen.add(outcome);
            if !unordered.is_verified && unordered.seen.is_enough() {
                unordered.is_verified =
                    unordered.seen.throttled_share() < unordered.throttled_before / 2.0;
                if !unordered.is_verified {
                    // The lower rate did not help, so the result of the trial was wrong.
                    self.trial.confirm(unordered.throttled_before);
                    self.share = self.share.max(unordered.share_before);
                    self.unordered = None;
                    return (0.0, 0);
                }
            }
            let is_verified = unordered.is_verified;
            if seconds(unordered.since, now) > UNORDERED_FOR {
                self.unordered = None;
            }
            if !is_verified {
                return (0.0, 0);
            }
            let expected = self.noise.probability() * entries;
            return (f64::from(outcome.throttled) - expected, outcome.throttled);
        }
        self.noise.observe(outcome.entries, outcome.throttled, outcome.trailing);
        if self.highest.is_finite()
            && let Some(throttled) =
                self.trial.on_outcome(outcome, self.noise.probability(), next, now)
        {
            self.unordered = Some(Unordered {
                since: now,
                throttled_before: throttled,
                share_before: self.share,
                seen: Seen::new(next, now),
                is_verified: false,
            });
            self.noise.set(self.trial.confirmed());
            self.share *= 1.0 - throttled;
            self.event_end = next;
        }
        let expected = self.noise.expected_trailing(outcome.entries);
        (f64::from(outcome.trailing) - expected, outcome.trailing)
    }

    /// Returns the number of entries to send per accepted entry.
    fn per_accepted(&self) -> f64 {
        1.0 / (1.0 - self.noise.probability())
    }

    /// Returns the send rate that yields the accepted rate of the last second.
    fn rate_of_last_second(&mut self, now: Instant) -> f64 {
        self.last_second.rate(now) * self.per_accepted()
    }

    /// Returns the seconds since the first of the consecutive requests without accepted entries.
    fn starved_for(&self, now: Instant) -> f64 {
        self.throttled_since.map_or(0.0, |since| seconds(since, now))
    }

    fn on_all_refused(&mut self, outcome: &ShardOutcome, now: Instant, rng: &mut Rng) {
        self.throttled_since.get_or_insert(now);
        self.throttled_entries = self.throttled_entries.saturating_add(outcome.throttled);
        self.throttled_requests = self.throttled_requests.saturating_add(1);
        if self.throttled_requests > 1 {
            let is_outage = self.starved_for(now) >= OUTAGE;
            let longest = if is_outage { MAX_PAUSE_IN_OUTAGE } else { MAX_PAUSE };
            let pause = PAUSE * (1 << (self.throttled_requests - 2).min(8));
            self.retry_at = Some(now + pause.min(longest).mul_f64(rng.f64()));
        }
    }

    fn on_accepted(&mut self, outcome: &ShardOutcome, wants_more: bool, now: Instant) {
        let starved_for = self.starved_for(now);
        if starved_for > OUTAGE {
            // The rate accepted during an outage does not replace the rate before the outage.
            self.recovering = true;
        } else if wants_more && !self.noise.explains(self.throttled_entries) && self.is_new(outcome)
        {
            let mut accepted = self.rate_of_last_second(now);
            if starved_for > LAST_SECOND_IS_STALE {
                accepted = accepted.max(self.recent.rate() * self.per_accepted());
            }
            self.good = self.good.min(accepted.max(MIN_GOOD));
            self.share = self.share.min(self.good.max(MIN_AFTER_PAUSE * self.share));
        }
        self.throttled_entries = 0;
        self.throttled_requests = 0;
        self.retry_at = None;
        self.throttled_since = None;
    }

    fn on_congestion(&mut self, outcome: &ShardOutcome, next: u64, now: Instant) {
        self.uncongested = 0.0;
        if outcome.throttled < outcome.entries {
            self.recovering = false;
            let recent = (self.recent.rate() * self.per_accepted()).min(self.share);
            let accepted = self.rate_of_last_second(now).max(recent);
            self.good = self.good.min(accepted.max(MIN_GOOD));
        }
        if self.is_new(outcome) && self.congestion > BATCH_CONGESTION {
            self.batch = (self.batch * BATCH_DECREASE).max(MIN_BATCH);
        }
        if self.is_new(outcome) {
            self.event_end = next;
        }
    }

    fn is_new(&self, outcome: &ShardOutcome) -> bool {
        outcome.request >= self.event_end
    }

    fn min_share_after_throttle(&mut self, now: Instant) -> f64 {
        let accepted = self.rate_of_last_second(now);
        let lowest = if accepted > 0.0 {
            MIN_OF_ACCEPTED * accepted
        } else if self.starved_for(now) < OUTAGE {
            MIN_OF_TARGET * self.target()
        } else {
            self.lowest
        };
        lowest.min(self.share)
    }

    fn target(&self) -> f64 {
        self.good.min(self.sustained.rate() * self.per_accepted())
    }

    fn growth(&mut self, elapsed: f64) -> f64 {
        self.uncongested += elapsed;
        let doublings = (self.uncongested / DOUBLING).floor().min(MAX_DOUBLINGS);
        // Growth proportional to the square root of the share. Proportional growth would be unfair to small shares, and
        // constant growth would add up for many producers. A share above 1 belongs to several shards.
        let probing = GROWTH * self.share.max(self.share.sqrt()) * 2_f64.powf(doublings);
        let returning = if self.is_returning() { RETURN * self.share.max(MIN_GOOD) } else { 0.0 };
        probing.max(returning) * elapsed
    }

    /// Returns `true` if the share is far below that before the last congestion or outage, so that it grows quickly.
    fn is_returning(&self) -> bool {
        let (target, below) = if self.recovering {
            (self.good, RETURN_BELOW_AFTER_OUTAGE)
        } else {
            (self.target(), RETURN_BELOW)
        };
        self.share < below * target
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
