use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Rate of one token per second, in the unit of [`Allowance::per_s`].
pub(super) const NANO: i128 = 1_000_000_000;

/// Amount of one token. In this unit, the refill of each nanosecond is exact, so that tests can predict which entries
/// are admitted.
pub(super) const TOKEN: i128 = NANO * NANO;

const SECOND: Duration = Duration::from_secs(1);

/// Part of the quota that other producers do not use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Rate in units of 10^-9 tokens per second.
    pub(super) per_s: i128,
    pub(super) burst: i128,
}

impl Allowance {
    fn per_window(&self) -> i128 {
        self.per_s * NANO
    }
}

/// Tracks the records or bytes that one shard has admitted.
pub(super) trait Accounting: fmt::Debug + Send {
    fn advance(&mut self, now: Instant);

    /// Returns `true` if the amount can be admitted. An amount that is larger than the allowance can be admitted only
    /// while the allowance is unused.
    fn has(&self, amount: i128) -> bool;

    fn take(&mut self, amount: i128);

    fn set_allowance(&mut self, allowance: Allowance);
}

#[derive(Debug)]
pub(super) struct Bucket {
    allowance: Allowance,
    /// Negative after an entry that was larger than the bucket, and after entries that were counted with a delay.
    level: i128,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, level: allowance.burst, filled_at: now }
    }
}

impl Accounting for Bucket {
    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let gained = self.allowance.per_s * elapsed.as_nanos() as i128;
        self.level = self.allowance.burst.min(self.level + gained);
        self.filled_at = now;
    }

    fn has(&self, amount: i128) -> bool {
        self.level >= self.allowance.burst.min(amount)
    }

    fn take(&mut self, amount: i128) {
        self.level -= amount;
    }

    fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
        self.level = self.level.min(allowance.burst);
    }
}

#[derive(Debug)]
pub(super) struct FixedWindow {
    allowance: Allowance,
    used: i128,
    ends_at: Instant,
}

impl FixedWindow {
    /// Creates an unused window that started `phase` ago. `phase` is less than one second.
    pub(super) fn new(allowance: Allowance, phase: Duration, now: Instant) -> Self {
        Self { allowance, used: 0, ends_at: now + (SECOND - phase) }
    }
}

impl Accounting for FixedWindow {
    fn advance(&mut self, now: Instant) {
        if now >= self.ends_at {
            let seconds = (now - self.ends_at).as_secs() + 1;
            self.ends_at += Duration::from_secs(seconds);
            self.used = 0;
        }
    }

    fn has(&self, amount: i128) -> bool {
        fits(self.used, amount, &self.allowance)
    }

    fn take(&mut self, amount: i128) {
        self.used += amount;
    }

    fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }
}

#[derive(Debug)]
pub(super) struct SlidingWindow {
    allowance: Allowance,
    used: i128,
    taken: VecDeque<(Instant, i128)>,
    now: Instant,
}

impl SlidingWindow {
    pub(super) fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, used: 0, taken: VecDeque::new(), now }
    }
}

impl Accounting for SlidingWindow {
    fn advance(&mut self, now: Instant) {
        self.now = now;
        while let Some((_, amount)) = self.taken.pop_front_if(|(at, _)| *at + SECOND <= now) {
            self.used -= amount;
        }
    }

    fn has(&self, amount: i128) -> bool {
        fits(self.used, amount, &self.allowance)
    }

    fn take(&mut self, amount: i128) {
        self.used += amount;
        add(&mut self.taken, self.now, amount);
    }

    fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }
}

fn fits(used: i128, amount: i128, allowance: &Allowance) -> bool {
    used + amount <= allowance.per_window() || (used == 0 && allowance.per_s > 0)
}

/// Appends an amount. Amounts with the same time, such as those of one request, are added up.
fn add(amounts: &mut VecDeque<(Instant, i128)>, at: Instant, amount: i128) {
    match amounts.back_mut() {
        Some((last, sum)) if *last == at => *sum += amount,
        _ => amounts.push_back((at, amount)),
    }
}

/// Accounting that counts admitted amounts with a delay.
#[derive(Debug)]
pub(super) struct Lagging {
    inner: Box<dyn Accounting>,
    lag: Duration,
    /// Amounts that have not been counted yet, each with the time at which it will be counted.
    pending: VecDeque<(Instant, i128)>,
    now: Instant,
}

impl Lagging {
    pub(super) fn new(inner: Box<dyn Accounting>, lag: Duration, now: Instant) -> Self {
        Self { inner, lag, pending: VecDeque::new(), now }
    }
}

impl Accounting for Lagging {
    fn advance(&mut self, now: Instant) {
        self.now = now;
        while let Some((at, amount)) = self.pending.pop_front_if(|(at, _)| *at <= now) {
            self.inner.advance(at);
            self.inner.take(amount);
        }
        self.inner.advance(now);
    }

    fn has(&self, amount: i128) -> bool {
        self.inner.has(amount)
    }

    fn take(&mut self, amount: i128) {
        add(&mut self.pending, self.now + self.lag, amount);
    }

    fn set_allowance(&mut self, allowance: Allowance) {
        self.inner.set_allowance(allowance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_S: i128 = 1_000;

    fn allowance(per_s: i128) -> Allowance {
        Allowance { per_s: per_s * NANO, burst: per_s * TOKEN }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn drain(accounting: &mut dyn Accounting, now: Instant) -> usize {
        accounting.advance(now);
        let taken = std::iter::from_fn(|| accounting.has(TOKEN).then(|| accounting.take(TOKEN)));
        taken.take(10_000).count()
    }

    #[test]
    fn bucket_starts_full_and_refills_exactly() {
        let start = Instant::now();
        let mut bucket = Bucket::new(allowance(PER_S), start);
        assert_eq!(drain(&mut bucket, start), 1_000);
        assert_eq!(drain(&mut bucket, start + Duration::from_nanos(999_999)), 0);
        assert_eq!(drain(&mut bucket, start + ms(1)), 1);
        assert_eq!(drain(&mut bucket, start + ms(250)), 249);
        assert_eq!(drain(&mut bucket, start + ms(60_000)), 1_000, "capped at the burst");
    }

    #[test]
    fn bucket_applies_changed_allowance() {
        let start = Instant::now();
        let mut bucket = Bucket::new(allowance(PER_S), start);
        bucket.set_allowance(allowance(300));
        assert_eq!(drain(&mut bucket, start), 300);
        assert_eq!(drain(&mut bucket, start + ms(1_000)), 300);
        bucket.set_allowance(Allowance { per_s: 0, burst: 300 * TOKEN });
        assert_eq!(drain(&mut bucket, start + ms(9_000)), 0);
        bucket.set_allowance(allowance(2_000));
        assert_eq!(drain(&mut bucket, start + ms(9_100)), 200);
    }

    #[test]
    fn oversized_amount_leaves_bucket_deficit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(allowance(10), start);
        assert!(bucket.has(25 * TOKEN));
        bucket.take(25 * TOKEN);
        let has = |bucket: &mut Bucket, milliseconds| {
            bucket.advance(start + ms(milliseconds));
            bucket.has(TOKEN)
        };
        assert_eq!([1_500, 1_599, 1_600].map(|at| has(&mut bucket, at)), [false, false, true]);
        assert!(!bucket.has(25 * TOKEN));
    }

    #[test]
    fn fixed_window_restarts_each_second() {
        let start = Instant::now();
        let mut window = FixedWindow::new(allowance(PER_S), ms(300), start);
        assert_eq!(drain(&mut window, start), 1_000);
        assert_eq!(drain(&mut window, start + ms(699)), 0);
        assert_eq!(drain(&mut window, start + ms(700)), 1_000);
        assert_eq!(drain(&mut window, start + ms(1_699)), 0);
        assert_eq!(drain(&mut window, start + ms(9_000)), 1_000);
        assert_eq!(drain(&mut window, start + ms(9_699)), 0);
        assert_eq!(drain(&mut window, start + ms(9_700)), 1_000);
    }

    #[test]
    fn sliding_window_limits_every_second() {
        let start = Instant::now();
        let mut window = SlidingWindow::new(allowance(PER_S), start);
        window.advance(start);
        window.take(400 * TOKEN);
        assert_eq!(drain(&mut window, start + ms(500)), 600);
        assert_eq!(drain(&mut window, start + ms(999)), 0);
        assert_eq!(drain(&mut window, start + ms(1_000)), 400);
        assert_eq!(drain(&mut window, start + ms(1_500)), 600);
    }

    #[test]
    fn unused_window_admits_oversized_amount() {
        let start = Instant::now();
        let mut window = FixedWindow::new(allowance(10), Duration::ZERO, start);
        assert!(window.has(25 * TOKEN));
        window.take(25 * TOKEN);
        assert!(!window.has(TOKEN));
        window.advance(start + ms(1_000));
        window.take(TOKEN);
        assert!(!window.has(25 * TOKEN) && window.has(9 * TOKEN));
        window.set_allowance(allowance(0));
        window.advance(start + ms(2_000));
        assert!(!window.has(TOKEN), "other producers use the whole quota");
    }

    #[test]
    fn lagging_bucket_compensates_for_excess() {
        let start = Instant::now();
        let bucket = Box::new(Bucket::new(allowance(PER_S), start));
        let mut lagging = Lagging::new(bucket, ms(100), start);
        lagging.advance(start);
        for at in [0, 50] {
            lagging.advance(start + ms(at));
            assert!(lagging.has(1_000 * TOKEN));
            lagging.take(1_000 * TOKEN);
        }
        // The bucket is empty at 100 ms and has a deficit of 950 at 150 ms.
        assert_eq!(drain(&mut lagging, start + ms(100)), 0);
        assert_eq!(drain(&mut lagging, start + ms(1_100)), 0);
        lagging.advance(start + ms(1_101));
        assert!(lagging.has(TOKEN));
    }
}
