use std::time::{Duration, Instant};

use fastrand::Rng;

/// Exponential backoff with full jitter. The wait after the n-th consecutive failure is drawn uniformly from 0 to
/// `min(ceiling, base * 2^n)`.
///
/// See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    ceiling: Duration,
    failures: u32,
    /// Failures of requests with lower numbers are ignored, because they probably have the same cause.
    ignore_below: u64,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(base: Duration, ceiling: Duration) -> Self {
        Self { base, ceiling, failures: 0, ignore_below: 0, until: None }
    }

    /// Records a failed request. Returns `false` if the request is ignored, because it preceded the last failure.
    pub(crate) fn fail(&mut self, request: u64, next: u64, now: Instant, rng: &mut Rng) -> bool {
        if !self.is_new_failure(request) {
            return false;
        }
        self.wait_without_failure(now, rng);
        self.failures = self.failures.saturating_add(1);
        self.ignore_below = next;
        true
    }

    pub(crate) fn is_new_failure(&self, request: u64) -> bool {
        request >= self.ignore_below
    }

    pub(crate) fn wait_without_failure(&mut self, now: Instant, rng: &mut Rng) {
        let max_wait = self.base.saturating_mul(1 << self.failures.min(31)).min(self.ceiling);
        self.until = self.until.max(Some(now + max_wait.mul_f64(rng.f64())));
    }

    pub(crate) fn wait_at_least(&mut self, until: Instant) {
        self.until = self.until.max(Some(until));
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    pub(crate) fn end_wait(&mut self) {
        self.until = None;
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Returns the end of the last wait, even if it is in the past.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.until
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

    fn waits(failures: u64, seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(BASE, CEILING);
        let mut rng = Rng::with_seed(seed);
        let mut now = Instant::now();
        let wait = |request| {
            assert!(backoff.fail(request, request + 1, now, &mut rng));
            let until = backoff.until(now).unwrap_or(now);
            let wait = until - now;
            now = until;
            wait
        };
        (0..failures).map(wait).collect()
    }

    #[test]
    fn backoff_wait_is_uniform_in_range() {
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
    fn backoff_wait_never_exceeds_ceiling() {
        assert!(waits(1000, 1).iter().all(|wait| *wait <= CEILING));
    }

    #[test]
    fn backoff_counts_concurrent_failures_once() {
        let mut backoff = Backoff::new(BASE, CEILING);
        let mut rng = Rng::with_seed(1);
        let now = Instant::now();
        assert!(backoff.fail(2, 4, now, &mut rng));
        assert!(!backoff.fail(0, 4, now, &mut rng));
        assert!(!backoff.fail(3, 4, now, &mut rng));
        assert_eq!(backoff.failures(), 1);
        assert!(backoff.fail(4, 5, now, &mut rng), "sent after the failure was known");
        assert_eq!(backoff.failures(), 2);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }
}
