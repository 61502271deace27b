use std::f64::consts::TAU;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use super::LONGEST;

/// How long a request takes from the call to the answer; drawn anew for each. Half of it passes before
/// the stream sees the request. An hour at most.
///
/// Needs the feature `sim`.
///
/// tokio's clock ticks in milliseconds: fractions of one are rounded up by its timers.
#[derive(Clone, Copy, PartialEq)]
pub struct Latency(Kind);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Constant { time: Duration },
    Uniform { min: Duration, max: Duration },
    LogNormal { median: Duration, sigma: f64 },
}

/// How far a log-normal draw may lie from the median, in standard deviations.
const MOST_SIGMAS: f64 = 4.0;

impl Latency {
    /// The same for every request.
    ///
    /// # Panics
    ///
    /// It is more than 1 h.
    #[must_use]
    #[track_caller]
    pub const fn constant(time: Duration) -> Self {
        assert!(time.as_millis() <= LONGEST.as_millis(), "a latency is 1 h at most");
        Self(Kind::Constant { time })
    }

    /// Every time in the range with the same probability.
    ///
    /// # Panics
    ///
    /// The range is empty, or ends after 1 h.
    #[must_use]
    #[track_caller]
    pub fn uniform(range: RangeInclusive<Duration>) -> Self {
        let (min, max) = range.into_inner();
        assert!(min <= max, "the range of the latency ends before it starts: {min:?} to {max:?}");
        assert!(max <= LONGEST, "the latency goes up to {max:?}; set 1 h at most");
        Self(Kind::Uniform { min, max })
    }

    /// The shape of real round trips: as many below the median as above, and a long tail. `sigma` is the
    /// standard deviation of the time's logarithm: with 0.5, one request in 100 takes 3.2 times the
    /// median or longer, with 1.0 one takes 10 times. Draws beyond four standard deviations, one in
    /// 16,000, are cut to that, and those beyond an hour to one.
    ///
    /// # Panics
    ///
    /// `sigma` is not between 0.0 and 3.0, or the median is more than 1 h.
    #[must_use]
    #[track_caller]
    pub fn log_normal(median: Duration, sigma: f64) -> Self {
        assert!((0.0..=3.0).contains(&sigma), "sigma is {sigma}; set it between 0.0 and 3.0");
        assert!(median <= LONGEST, "the median of the latency is {median:?}; set 1 h at most");
        Self(Kind::LogNormal { median, sigma })
    }

    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        match self.0 {
            Kind::Constant { time } => time,
            Kind::Uniform { min, max } => min + (max - min).mul_f64(rng.f64()),
            Kind::LogNormal { median, sigma } => {
                let sigmas = standard_normal(rng).clamp(-MOST_SIGMAS, MOST_SIGMAS);
                median.mul_f64((sigma * sigmas).exp()).min(LONGEST)
            }
        }
    }
}

/// By the method of Box and Muller (1958).
fn standard_normal(rng: &mut Rng) -> f64 {
    // Above zero, where the logarithm is finite.
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
    fn uniform_times_fill_their_range() {
        let ms = Duration::from_millis;
        let times = drawn(Latency::uniform(ms(10)..=ms(30)));
        assert!(times[0] >= ms(10) && times[100] < ms(11), "{:?}", times[0]);
        assert!(times[9_999] <= ms(30) && times[9_900] > ms(29), "{:?}", times[9_999]);
        let alone = drawn(Latency::uniform(ms(7)..=ms(7)));
        assert_eq!((alone[0], alone[9_999]), (ms(7), ms(7)));
    }

    #[test]
    fn log_normal_times_have_their_median_and_their_tail() {
        let median = Duration::from_millis(20);
        let times = drawn(Latency::log_normal(median, 0.5));
        let of_median = |place: usize| times[place].as_secs_f64() / median.as_secs_f64();
        assert!((0.97..1.03).contains(&of_median(5_000)), "{}", of_median(5_000));
        assert!((2.9..3.5).contains(&of_median(9_900)), "{}", of_median(9_900));
        assert!(of_median(9_999) <= 2f64.exp() && of_median(0) >= (-2f64).exp());
        assert_eq!(drawn(Latency::log_normal(median, 0.0))[9_999], median);
    }

    #[test]
    #[should_panic(expected = "ends before it starts")]
    fn an_empty_range_is_refused() {
        let _ = Latency::uniform(Duration::from_secs(2)..=Duration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "a latency is 1 h at most")]
    fn a_constant_beyond_an_hour_is_refused() {
        let _ = Latency::constant(Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the latency goes up to")]
    fn a_range_beyond_an_hour_is_refused() {
        let _ = Latency::uniform(Duration::ZERO..=Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "the median of the latency is")]
    fn a_median_beyond_an_hour_is_refused() {
        let _ = Latency::log_normal(Duration::MAX, 3.0);
    }

    #[test]
    fn no_draw_is_beyond_an_hour() {
        let times = drawn(Latency::log_normal(LONGEST, 3.0));
        assert_eq!((times[9_999], times[5_100]), (LONGEST, LONGEST));
        assert_eq!(drawn(Latency::constant(LONGEST))[0], LONGEST);
    }
}
