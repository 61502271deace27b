use std::f64::consts::TAU;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use super::MAX_DURATION;

/// Distribution of the round-trip times of requests. A round-trip time is at most 1 h.
///
/// Requires the feature `sim`.
///
/// The round-trip time of each request is drawn from this distribution. The request arrives at the stream after half of
/// this time, and the response arrives at the client at its end. tokio's timers round times up to whole milliseconds.
#[derive(Clone, Copy, PartialEq)]
pub struct Latency(Kind);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Constant { time: Duration },
    Uniform { min: Duration, max: Duration },
    LogNormal { median: Duration, sigma: f64 },
}

/// Limit of log-normal draws, in standard deviations from the median.
const MAX_SIGMAS: f64 = 4.0;

impl Latency {
    /// Returns a latency of `time` for every request.
    ///
    /// # Panics
    ///
    /// Panics if `time` is more than 1 h.
    #[must_use]
    #[track_caller]
    pub const fn constant(time: Duration) -> Self {
        assert!(
            time.as_millis() <= MAX_DURATION.as_millis(),
            "the latency exceeds 1 h; set at most 1 h"
        );
        Self(Kind::Constant { time })
    }

    /// Returns a latency that is uniformly distributed over `range`.
    ///
    /// # Panics
    ///
    /// Panics if `range` is empty or exceeds 1 h.
    #[must_use]
    #[track_caller]
    pub fn uniform(range: RangeInclusive<Duration>) -> Self {
        let (min, max) = range.into_inner();
        assert!(min <= max, "the latency range {min:?}..={max:?} is empty; set min <= max");
        assert!(max <= MAX_DURATION, "the maximum latency is {max:?}; set at most 1 h");
        Self(Kind::Uniform { min, max })
    }

    /// Returns a log-normally distributed latency. This distribution has a long tail, like real round-trip times.
    ///
    /// `sigma` is the standard deviation of the logarithm of the time. With a `sigma` of 0.5, one request in 100 takes
    /// at least 3.2 times the median; with 1.0, at least 10 times the median. Draws are limited to four standard
    /// deviations from the median, which affects one request in 16,000, and to 1 h.
    ///
    /// # Panics
    ///
    /// Panics if `sigma` is not between 0.0 and 3.0, or if `median` is more than 1 h.
    #[must_use]
    #[track_caller]
    pub fn log_normal(median: Duration, sigma: f64) -> Self {
        assert!((0.0..=3.0).contains(&sigma), "sigma is {sigma}; set it between 0.0 and 3.0");
        assert!(median <= MAX_DURATION, "the median latency is {median:?}; set at most 1 h");
        Self(Kind::LogNormal { median, sigma })
    }

    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        match self.0 {
            Kind::Constant { time } => time,
            Kind::Uniform { min, max } => min + (max - min).mul_f64(rng.f64()),
            Kind::LogNormal { median, sigma } => {
                let sigmas = standard_normal(rng).clamp(-MAX_SIGMAS, MAX_SIGMAS);
                median.mul_f64((sigma * sigmas).exp()).min(MAX_DURATION)
            }
        }
    }
}

/// Draws from the standard normal distribution with the Box-Muller transform.
fn standard_normal(rng: &mut Rng) -> f64 {
    // `rng.f64()` can be 0.0 but not 1.0, so the argument of the logarithm is above zero.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(latency: Latency) -> Vec<Duration> {
        let mut rng = Rng::with_seed(1);
        let mut times: Vec<_> = (0..10_000).map(|_| latency.draw(&mut rng)).collect();
        times.sort();
        times
    }

    #[test]
    fn uniform_draws_fill_range() {
        let ms = Duration::from_millis;
        let times = drawn(Latency::uniform(ms(10)..=ms(30)));
        assert!(times[0] >= ms(10) && times[100] < ms(11), "{:?}", times[0]);
        assert!(times[9_999] <= ms(30) && times[9_900] > ms(29), "{:?}", times[9_999]);
        let alone = drawn(Latency::uniform(ms(7)..=ms(7)));
        assert_eq!((alone[0], alone[9_999]), (ms(7), ms(7)));
    }

    #[test]
    fn log_normal_draws_match_quantiles() {
        let median = Duration::from_millis(20);
        let times = drawn(Latency::log_normal(median, 0.5));
        let of_median = |index: usize| times[index].as_secs_f64() / median.as_secs_f64();
        assert!((0.97..1.03).contains(&of_median(5_000)), "{}", of_median(5_000));
        assert!((2.9..3.5).contains(&of_median(9_900)), "{}", of_median(9_900));
        assert!(of_median(9_999) <= 2f64.exp() && of_median(0) >= (-2f64).exp());
        assert_eq!(drawn(Latency::log_normal(median, 0.0))[9_999], median);
    }

    #[test]
    #[should_panic(expected = "is empty")]
    fn uniform_rejects_empty_range() {
        let _ = Latency::uniform(Duration::from_secs(2)..=Duration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "the latency exceeds 1 h")]
    fn constant_rejects_time_above_hour() {
        let _ = Latency::constant(Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the maximum latency is")]
    fn uniform_rejects_range_above_hour() {
        let _ = Latency::uniform(Duration::ZERO..=Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the median latency is")]
    fn log_normal_rejects_median_above_hour() {
        let _ = Latency::log_normal(Duration::MAX, 3.0);
    }

    #[test]
    fn draws_are_capped_at_one_hour() {
        let times = drawn(Latency::log_normal(MAX_DURATION, 3.0));
        assert_eq!((times[9_999], times[5_100]), (MAX_DURATION, MAX_DURATION));
        assert_eq!(drawn(Latency::constant(MAX_DURATION))[0], MAX_DURATION);
    }
}
