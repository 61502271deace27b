use std::time::{Duration, Instant};

use fastrand::Rng;

/// Exponential back-off with full jitter: the wait after the n-th failure in a row is drawn evenly from
/// 0 to `min(ceiling, base * 2^n)`.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    ceiling: Duration,
    failures: u32,
    began: Option<Instant>,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(base: Duration, ceiling: Duration) -> Self {
        Self { base, ceiling, failures: 0, began: None, until: None }
    }

    /// Notes the failure of a request that was cut at `cut_at`. Requests that were already in flight
    /// when the wait began say nothing new, so they do not lengthen it; the answer is false for them.
    pub(crate) fn fail(&mut self, cut_at: Instant, now: Instant, rng: &mut Rng) -> bool {
        if self.began.is_some_and(|began| cut_at < began) {
            return false;
        }
        self.pause(now, rng);
        self.failures = self.failures.saturating_add(1);
        self.began = Some(now);
        true
    }

    /// Waits as after a failure, without counting one.
    pub(crate) fn pause(&mut self, now: Instant, rng: &mut Rng) {
        let longest = self.base.saturating_mul(1 << self.failures.min(31)).min(self.ceiling);
        self.until = self.until.max(Some(now + longest.mul_f64(rng.f64())));
    }

    /// Any progress ends the series of failures: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last progress.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The end of the wait, if it has not passed.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.until(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CEILING: Duration = Duration::from_secs(5);

    fn waits(failures: usize, seed: u64) -> Vec<Duration> {
        let (mut backoff, mut rng) = (Backoff::new(BASE, CEILING), Rng::with_seed(seed));
        let mut now = Instant::now();
        let mut wait = || {
            assert!(backoff.fail(now, now, &mut rng));
            let until = backoff.until(now).unwrap_or(now);
            let wait = until - now;
            now = until;
            wait
        };
        (0..failures).map(|_| wait()).collect()
    }

    #[test]
    fn waits_are_spread_over_the_whole_doubling_range() {
        let mut longest = [Duration::ZERO; 10];
        let mut sum = [Duration::ZERO; 10];
        for seed in 0..1000 {
            for (n, wait) in waits(10, seed).into_iter().enumerate() {
                longest[n] = longest[n].max(wait);
                sum[n] += wait;
            }
        }
        for n in 0..10 {
            let range = (BASE * (1 << n)).min(CEILING);
            assert!(longest[n] <= range && longest[n] > range.mul_f64(0.98), "{n}: {longest:?}");
            let mean = sum[n] / 1000;
            assert!(mean > range.mul_f64(0.45) && mean < range.mul_f64(0.55), "{n}: {mean:?}");
        }
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        assert!(waits(1000, 1).iter().all(|wait| *wait <= CEILING));
    }

    #[test]
    fn requests_in_flight_at_the_first_failure_count_once() {
        let (mut backoff, mut rng) = (Backoff::new(BASE, CEILING), Rng::with_seed(1));
        let cut = Instant::now();
        let now = cut + Duration::from_millis(20);
        assert!(backoff.fail(cut, now, &mut rng));
        assert!(!backoff.fail(cut, now, &mut rng));
        assert!(!backoff.fail(cut + Duration::from_millis(1), now, &mut rng));
        assert_eq!(backoff.failures(), 1);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }
}
