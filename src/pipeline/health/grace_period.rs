use std::time::{Duration, Instant};

/// Tolerated duration of a series of failures. Counts at most [`MAX_GAP`](Self::MAX_GAP) between two failures, because
/// no request can fail while the sink is not polled or its process is suspended.
#[derive(Debug)]
pub(super) struct GracePeriod {
    length: Duration,
    series: Option<Series>,
}

#[derive(Debug, Clone, Copy)]
struct Series {
    lasted: Duration,
    latest: Instant,
}

impl GracePeriod {
    /// Maximum time counted between two failures, equal to the maximum backoff that can be set.
    const MAX_GAP: Duration = Duration::from_secs(60);

    pub(super) fn new(length: Duration) -> Self {
        Self { length, series: None }
    }

    /// Records a failure. Returns `true` if the series of failures has lasted for at least the grace period.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        let lasted = self.series.map_or(Duration::ZERO, |Series { lasted, latest }| {
            lasted + now.saturating_duration_since(latest).min(Self::MAX_GAP)
        });
        self.series = Some(Series { lasted, latest: now });
        lasted >= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn grace_period_ends_after_its_length() {
        let mut grace = GracePeriod::new(10 * SECOND);
        let start = Instant::now();
        for n in 0..10 {
            assert!(!grace.fail(start + n * SECOND), "{n}");
        }
        assert!(grace.fail(start + 10 * SECOND));
        assert!(grace.fail(start + 11 * SECOND), "it stays over");
    }

    #[test]
    fn grace_period_of_zero_ends_at_first_failure() {
        assert!(GracePeriod::new(Duration::ZERO).fail(Instant::now()));
    }

    #[test]
    fn grace_period_counts_suspension_as_one_minute() {
        let mut grace = GracePeriod::new(300 * SECOND);
        let start = Instant::now();
        assert!(!grace.fail(start));
        let resumed = start + 24 * 3600 * SECOND;
        assert!(!grace.fail(resumed), "suspended for a day");
        assert!(!grace.fail(resumed + 59 * SECOND));
        for minute in 1..=3 {
            assert!(!grace.fail(resumed + minute * 60 * SECOND));
        }
        assert!(grace.fail(resumed + 240 * SECOND));
    }

    #[test]
    fn grace_period_ignores_clock_going_back() {
        let mut grace = GracePeriod::new(SECOND);
        let start = Instant::now() + SECOND;
        assert!(!grace.fail(start));
        assert!(!grace.fail(start - SECOND));
        assert!(grace.fail(start));
    }
}
