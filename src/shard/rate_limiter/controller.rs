//! Finds the rate at which a shard accepts entries. `docs/pacing.md` describes the model.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::ShardAnswer;
use super::noise::Noise;
use super::throughput::{Average, LastSecond};
use super::trial::{Seen, Trial};

/// Growth per second at the full share, in shares of the quota.
const GROWTH: f64 = 0.02;
/// Seconds without congestion after which the growth doubles.
const DOUBLING: f64 = 1.5;
/// How often it doubles at most.
const MAX_DOUBLINGS: f64 = 6.0;

/// Entries per second that one refused entry takes off the rate.
const DECREASE: f64 = 2.0;

/// A refusal does not lower the rate below this part of what was accepted within the last second.
const LOWEST_OF_ACCEPTED: f64 = 0.9;

/// While nothing is accepted any more, but has been of late, the rate keeps this part of the last good one.
const LOWEST_OF_GOOD: f64 = 0.5;

/// The answers to requests that were sent before a refusal was known lower the rate no further than to this part
/// of what it was: a burst that was too large says little about the rate.
const LOWEST_OF_EVENT: f64 = 0.8;

/// After requests of which nothing was accepted, the first accepted entry lowers the rate to this part at most: little
/// may have been accepted because little was sent.
const LOWEST_AFTER_PAUSE: f64 = 0.5;

/// Seconds after which the last second says too little about what is accepted.
const LAST_SECOND_IS_STALE: f64 = 1.0;

/// Seconds for which all refusals count, whatever their order, after a trial has shown that the rate causes them.
const UNORDERED_FOR: f64 = 60.0;

/// Shares below this are no target to return to.
const LOWEST_GOOD: f64 = 0.02;

/// Where no shard is known, the rate grows to this multiple of what was accepted within the last second, or to the
/// quota of one shard.
const MOST_OF_ACCEPTED: f64 = 2.0;

/// Refused entries beyond noise, weighted by their age, that count as congestion.
const CONGESTION: f64 = 1.5;
/// Time constant of that count in seconds.
const CONGESTION_MEMORY: f64 = 0.3;

/// As many of them mean that too much was sent at once.
const TOO_MUCH_AT_ONCE: f64 = 4.0;

/// Relative growth per second towards the rate that the shard has sustained, or that from before an outage.
const RETURN: f64 = 3.0;
/// The rate returns so quickly as long as it is below this part of the former, or the latter.
const FAR_BELOW: f64 = 0.7;
const CLOSE: f64 = 0.95;

/// Seconds of requests of which nothing was accepted, after which the shard is out of service rather than congested.
const OUTAGE: f64 = 1.5;

/// Upper bound of the random pause after the second request in a row of which nothing was accepted. It doubles with each
/// further one, up to [`MAX_PAUSE`], or in an outage [`MAX_PAUSE_IN_OUTAGE`].
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_millis(150);
const MAX_PAUSE_IN_OUTAGE: Duration = Duration::from_secs(1);

/// Seconds of the quota that are sent at once. Smaller after congestion, since the limiter may have no room
/// for more; larger while there is none, since requests are to be full.
pub(super) const FIRST_BATCH: f64 = 0.04;
const MIN_BATCH: f64 = 0.005;
const MAX_BATCH: f64 = 0.06;
const BATCH_DECREASE: f64 = 0.6;
const BATCH_INCREASE: f64 = 0.05;

/// Controls the rate for one shard by what the shard accepts and refuses. Rates are shares of the quota.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    share: f64,
    lowest: f64,
    /// Upper bound of what is accepted; infinite where the number of shards is not known.
    highest: f64,
    noise: Noise,
    trial: Trial,
    /// Set while the order of refusals says nothing.
    unordered: Option<Unordered>,
    last_second: LastSecond,
    /// Over two seconds.
    recent: Average,
    /// Over half a minute: what the shard is known to sustain.
    sustained: Average,
    /// The rate to return to when refusals end.
    good: f64,
    /// Decaying count of the refused entries beyond noise.
    congestion: f64,
    /// Seconds of growth without congestion.
    uncongested: f64,
    /// An outage has ended, and no congestion has followed yet.
    recovering: bool,
    /// Entries and requests in a row of which nothing was accepted.
    refused_entries: u32,
    refused_requests: u32,
    /// When the first of those was answered.
    refused_since: Option<Instant>,
    retry_at: Option<Instant>,
    answered_at: Option<Instant>,
    /// Requests below this number were sent before the latest congestion was known. Their refusals belong to that event.
    known_before: u64,
    /// The refusals of that event do not lower the share below this.
    event_floor: f64,
    batch: f64,
    /// Factor of the next batch: without it, senders that share a shard fall into step, and the same
    /// ones are refused each time.
    jitter: f64,
}

#[derive(Debug, Clone, Copy)]
struct Unordered {
    since: Instant,
    /// The share of entries that was refused before.
    refused: f64,
    share_before: f64,
    /// What was answered at the lower rate.
    seen: Seen,
    /// Whether fewer entries were refused at the lower rate.
    is_verified: bool,
}

impl Controller {
    /// Starts at `share`. `next` is the number of the next request; refusals of earlier ones are one event.
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
            // The rate of a stream of unknown size is a guess, so it grows quickly until congestion.
            uncongested: if highest.is_finite() { 0.0 } else { MAX_DOUBLINGS * DOUBLING },
            recovering: false,
            refused_entries: 0,
            refused_requests: 0,
            refused_since: None,
            retry_at: None,
            answered_at: None,
            known_before: next,
            event_floor: LOWEST_OF_EVENT * share,
            batch: FIRST_BATCH,
            jitter: 1.0,
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.share * self.trial.part()
    }

    /// Seconds of the quota to send at once.
    pub(super) fn batch(&self) -> f64 {
        self.batch * self.jitter
    }

    /// Whether the latest request was refused as a whole: then the next one only probes.
    pub(super) fn is_probing(&self) -> bool {
        self.refused_requests > 0
    }

    /// The end of the pause after requests that were refused as a whole.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Applies the answer to a request. `wants_more` says whether more would have been sent at a higher rate, `next` is
    /// the number of the next request.
    pub(super) fn on_answer(
        &mut self,
        answer: &ShardAnswer,
        wants_more: bool,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        let elapsed = self.answered_at.map_or(0.0, |at| seconds(at, now));
        self.answered_at = Some(now);
        self.jitter = 0.5 + rng.f64();
        let (excess, trailing) = self.excess(answer, next, now);
        self.last_second.add(answer.accepted_cost, now);
        self.recent.add(answer.accepted_cost, now);
        self.sustained.add(answer.accepted_cost, now);
        if answer.refused == answer.entries {
            self.on_all_refused(answer, now, rng);
        } else {
            self.on_accepted(answer, wants_more, now);
        }
        self.congestion = self.congestion * (-elapsed / CONGESTION_MEMORY).exp() + excess;
        self.congestion = self.congestion.max(0.0);
        let change = -DECREASE * excess * answer.mean_cost() * self.per_accepted();
        if trailing > 0 {
            if self.is_new(answer) {
                self.event_floor = LOWEST_OF_EVENT * self.share;
            }
            let lowest = self.lowest_after_refusal(now).max(self.event_floor.min(self.share));
            self.share = (self.share + change).max(lowest);
            if self.congestion > CONGESTION {
                self.on_congestion(answer, next, now);
            }
        } else {
            let elapsed = elapsed.min(1.0);
            let growth = if wants_more { self.growth(elapsed) } else { 0.0 };
            let share = self.share + change + growth;
            // Where no shard is known, the rate is bounded by what has been accepted.
            let shown = (MOST_OF_ACCEPTED * self.rate_of_last_second(now)).max(1.0);
            self.share =
                if self.highest.is_finite() { share } else { share.min(shown.max(self.share)) };
            let accepted = self.rate_of_last_second(now);
            self.good = self.good.max(self.share.min(accepted));
            self.batch = (self.batch * (1.0 + BATCH_INCREASE * elapsed)).min(MAX_BATCH);
        }
        self.share = self.share.clamp(self.lowest, self.highest * self.per_accepted());
    }

    /// The refused entries beyond noise, with a sign, and those that the rate may have caused.
    fn excess(&mut self, answer: &ShardAnswer, next: u64, now: Instant) -> (f64, u32) {
        if let Some(unordered) = &mut self.unordered {
            let entries = f64::from(answer.entries);
            unordered.seen.add(answer);
            if !unordered.is_verified && unordered.seen.is_enough() {
                unordered.is_verified = unordered.seen.refused_share() < unordered.refused / 2.0;
                if !unordered.is_verified {
                    // A lower rate did not help, so the trial was misled.
                    self.trial.confirm(unordered.refused);
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
            return (f64::from(answer.refused) - expected, answer.refused);
        }
        self.noise.observe(answer.entries, answer.refused, answer.trailing);
        if self.highest.is_finite()
            && let Some(refused) = self.trial.on_answer(answer, self.noise.probability(), next, now)
        {
            self.unordered = Some(Unordered {
                since: now,
                refused,
                share_before: self.share,
                seen: Seen::new(next, now),
                is_verified: false,
            });
            self.noise.set(self.trial.confirmed());
            self.share *= 1.0 - refused;
            self.known_before = next;
        }
        let expected = self.noise.expected_trailing(answer.entries);
        (f64::from(answer.trailing) - expected, answer.trailing)
    }

    /// Entries to send for each that is accepted.
    fn per_accepted(&self) -> f64 {
        1.0 / (1.0 - self.noise.probability())
    }

    /// The rate of which as much is accepted as was within the last second.
    fn rate_of_last_second(&mut self, now: Instant) -> f64 {
        self.last_second.rate(now) * self.per_accepted()
    }

    /// Seconds for which nothing of what was sent has been accepted.
    fn starved_for(&self, now: Instant) -> f64 {
        self.refused_since.map_or(0.0, |since| seconds(since, now))
    }

    fn on_all_refused(&mut self, answer: &ShardAnswer, now: Instant, rng: &mut Rng) {
        self.refused_since.get_or_insert(now);
        self.refused_entries = self.refused_entries.saturating_add(answer.refused);
        self.refused_requests = self.refused_requests.saturating_add(1);
        if self.refused_requests > 1 {
            let is_outage = self.starved_for(now) >= OUTAGE;
            let longest = if is_outage { MAX_PAUSE_IN_OUTAGE } else { MAX_PAUSE };
            let pause = PAUSE * (1 << (self.refused_requests - 2).min(8));
            self.retry_at = Some(now + pause.min(longest).mul_f64(rng.f64()));
        }
    }

    fn on_accepted(&mut self, answer: &ShardAnswer, wants_more: bool, now: Instant) {
        let starved_for = self.starved_for(now);
        if starved_for > OUTAGE {
            // The rate that was accepted during an outage says nothing about the rate before.
            self.recovering = true;
        } else if wants_more && !self.noise.explains(self.refused_entries) && self.is_new(answer) {
            let mut accepted = self.rate_of_last_second(now);
            if starved_for > LAST_SECOND_IS_STALE {
                accepted = accepted.max(self.recent.rate() * self.per_accepted());
            }
            self.good = self.good.min(accepted.max(LOWEST_GOOD));
            self.share = self.share.min(self.good.max(LOWEST_AFTER_PAUSE * self.share));
        }
        self.refused_entries = 0;
        self.refused_requests = 0;
        self.retry_at = None;
        self.refused_since = None;
    }

    fn on_congestion(&mut self, answer: &ShardAnswer, next: u64, now: Instant) {
        self.uncongested = 0.0;
        if answer.refused < answer.entries {
            self.recovering = false;
            let recent = (self.recent.rate() * self.per_accepted()).min(self.share);
            let accepted = self.rate_of_last_second(now).max(recent);
            self.good = self.good.min(accepted.max(LOWEST_GOOD));
        }
        if self.is_new(answer) && self.congestion > TOO_MUCH_AT_ONCE {
            self.batch = (self.batch * BATCH_DECREASE).max(MIN_BATCH);
        }
        if self.is_new(answer) {
            self.known_before = next;
        }
    }

    fn is_new(&self, answer: &ShardAnswer) -> bool {
        answer.request >= self.known_before
    }

    fn lowest_after_refusal(&mut self, now: Instant) -> f64 {
        let accepted = self.rate_of_last_second(now);
        let lowest = if accepted > 0.0 {
            LOWEST_OF_ACCEPTED * accepted
        } else if self.starved_for(now) < OUTAGE {
            LOWEST_OF_GOOD * self.target()
        } else {
            self.lowest
        };
        lowest.min(self.share)
    }

    /// The rate that the shard has shown to sustain.
    fn target(&self) -> f64 {
        self.good.min(self.sustained.rate() * self.per_accepted())
    }

    fn growth(&mut self, elapsed: f64) -> f64 {
        self.uncongested += elapsed;
        let far = if self.recovering { CLOSE } else { FAR_BELOW };
        let doublings = (self.uncongested / DOUBLING).floor().min(MAX_DOUBLINGS);
        // Between proportional, which is not fair, and constant, which is too much where many share. Shares above 1 are
        // those of several shards.
        let probing = GROWTH * self.share.max(self.share.sqrt()) * 2_f64.powf(doublings);
        let target = if self.recovering { self.good } else { self.target() };
        let returning =
            if self.share < far * target { RETURN * self.share.max(LOWEST_GOOD) } else { 0.0 };
        probing.max(returning) * elapsed
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
