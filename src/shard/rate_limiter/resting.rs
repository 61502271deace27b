use std::time::Instant;

use super::controller::Controller;
use super::{Quota, RateLimiter, min_share};

/// Rate and tokens of a limiter whose shard is idle. Does not contain the history of its [`Controller`], which takes ten
/// times as much memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestingLimiter {
    rate: Rate,
    refilled_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Rate {
    Unlimited { usage: f64 },
    Limited { share: f64, record_tokens: f64, byte_tokens: f64 },
}

impl RateLimiter {
    /// Returns the state from which the limiter can be [resumed](Self::resume). Returns `None` if the history of the
    /// controller is needed, for example because the shard throttles at random.
    pub(crate) fn rest(&self) -> Option<RestingLimiter> {
        let Self { record_tokens, byte_tokens, refilled_at, usage, .. } = *self;
        let rate = match &self.controller {
            None => Rate::Unlimited { usage },
            Some(controller) if controller.is_calm() => {
                Rate::Limited { share: controller.share(), record_tokens, byte_tokens }
            }
            Some(_) => return None,
        };
        Some(RestingLimiter { rate, refilled_at })
    }

    pub(crate) fn resume(resting: RestingLimiter, quota: Quota, is_of_shard: bool) -> Self {
        let RestingLimiter { rate, refilled_at } = resting;
        let limiter = Self { is_of_shard, refilled_at, ..Self::unknown(quota) };
        match rate {
            Rate::Unlimited { usage } => Self { usage, ..limiter },
            Rate::Limited { share, record_tokens, byte_tokens } => {
                let highest = if is_of_shard { 1.0 } else { f64::INFINITY };
                // No request is in flight, so the next throttled entry begins a new congestion event.
                let controller = Controller::new(share, min_share(quota), highest, 0);
                Self { controller: Some(controller), record_tokens, byte_tokens, ..limiter }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;

    use super::super::ShardOutcome;
    use super::*;

    const QUOTA: Quota = Quota { records: 1_000.0, bytes: 1_048_576.0 };

    fn outcome(accepted: u32, throttled: u32) -> ShardOutcome {
        let mut outcome = ShardOutcome::default();
        for n in 0..accepted + throttled {
            if n % 2 == 1 && n / 2 < throttled {
                outcome.throttle(0.001);
            } else {
                outcome.accept(0.001);
            }
        }
        outcome
    }

    #[test]
    fn resumed_limiter_keeps_tokens_and_rate() {
        let now = Instant::now();
        let mut limiter = RateLimiter::of_shard(QUOTA, 0.5, 0, now);
        while limiter.has_tokens(100) {
            limiter.take(100);
        }
        let resumed = RateLimiter::resume(limiter.rest().unwrap(), QUOTA, true);
        assert!(!resumed.has_tokens(100));
        assert_eq!(resumed.ready_at(100, 1, 100), limiter.ready_at(100, 1, 100));
        assert_eq!(resumed.records_per_second(), limiter.records_per_second());
    }

    #[test]
    fn unlimited_rate_rests() {
        let mut limiter = RateLimiter::unknown(QUOTA);
        limiter.take(100);
        let mut resumed = RateLimiter::resume(limiter.rest().unwrap(), QUOTA, false);
        assert_eq!(resumed.records_per_second(), None);
        assert!(resumed.usage > 0.0);
        let mut rng = Rng::with_seed(1);
        resumed.on_outcome(outcome(1, 1), true, 1, Instant::now(), &mut rng);
        assert!(resumed.records_per_second().is_some());
    }

    #[test]
    fn noisy_shard_does_not_rest() {
        let start = Instant::now();
        let mut limiter = RateLimiter::of_shard(QUOTA, 1.0, 0, start);
        let mut rng = Rng::with_seed(1);
        assert!(limiter.rest().is_some());
        for second in 1..10 {
            let now = start + Duration::from_secs(second);
            limiter.refill(now);
            limiter.on_outcome(outcome(100, 20), false, second, now, &mut rng);
        }
        assert!(limiter.rest().is_none());
    }

    #[test]
    fn limiter_rests_once_recovered() {
        let start = Instant::now();
        let mut limiter = RateLimiter::of_shard(QUOTA, 1.0, 0, start);
        let mut rng = Rng::with_seed(1);
        let mut respond = |limiter: &mut RateLimiter, second, outcome| {
            let outcome = ShardOutcome { request: second, ..outcome };
            let now = start + Duration::from_secs(second);
            limiter.refill(now);
            limiter.on_outcome(outcome, true, second, now, &mut rng);
        };
        respond(&mut limiter, 1, outcome(500, 0));
        let mut refused = ShardOutcome::default();
        for _ in 0..500 {
            refused.throttle(0.001);
        }
        for second in 2..20 {
            respond(&mut limiter, second, refused);
        }
        respond(&mut limiter, 20, outcome(1, 0));
        assert!(limiter.rest().is_none(), "the rate before the outage would be lost");
        for second in 21..60 {
            respond(&mut limiter, second, outcome(500, 0));
        }
        assert!(limiter.rest().is_some());
    }
}
