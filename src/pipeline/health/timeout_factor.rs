use std::time::Duration;

/// By which factor the next request may take longer than its layer allows by default.
///
/// The default itself is not known here: it is whatever a request that timed out has taken.
#[derive(Debug, Clone)]
pub(super) struct TimeoutFactor {
    factor: u32,
    /// The timeout of a request with the factor 1.
    default: Option<Duration>,
    /// The longest timeout of the layer, once it was observed.
    longest: Option<Duration>,
}

impl TimeoutFactor {
    /// 10 minutes, the longest request timeout that can be set, are 60 times the default of 10 s.
    const HIGHEST: u32 = 64;

    pub(super) fn new() -> Self {
        Self { factor: 1, default: None, longest: None }
    }

    pub(super) fn get(&self) -> u32 {
        self.factor
    }

    /// Takes the timeout of a request that was sent with `factor`. If it was `repeated` for the same
    /// records, the next request may take twice as long.
    pub(super) fn fail(&mut self, took: Duration, factor: u32, repeated: bool) {
        if factor == 1 || self.default.is_none() {
            self.default = Some(took / factor);
        }
        let expected = self.default.unwrap_or(took) * factor;
        self.longest = (took < expected.mul_f64(0.9)).then_some(took);
        if repeated && factor == self.factor {
            self.factor = (2 * self.factor).min(Self::HIGHEST);
        }
    }

    /// Takes the time of an answer. Answers that come in half of the next lower timeout lower the factor:
    /// between the two it stays.
    pub(super) fn succeed(&mut self, took: Duration) {
        let Some(default) = self.default else { return };
        if took.mul_f64(0.9) > default * self.factor {
            // What failed so early was another timeout, such as that of connecting.
            *self = Self::new();
            return;
        }
        while self.factor > 1 && took * 4 < default * self.factor {
            self.factor /= 2;
        }
    }

    /// The timeout of the next request, if it is known.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let timeout = self.default? * self.factor;
        Some(self.longest.map_or(timeout, |longest| timeout.min(longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn timeout_factor_grows_only_when_timeouts_repeat() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(10), 1, false);
        assert_eq!((factor.get(), factor.timeout()), (1, Some(seconds(10))));
        factor.fail(seconds(10), 1, true);
        assert_eq!((factor.get(), factor.timeout()), (2, Some(seconds(20))));
        factor.fail(seconds(10), 1, true);
        assert_eq!(factor.get(), 2, "it was sent with the factor before");
    }

    #[test]
    fn timeout_factor_stays_while_answers_need_it() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(10), 1, true);
        for took in [11, 19, 6, 5] {
            factor.succeed(seconds(took));
            assert_eq!(factor.get(), 2, "{took} s");
        }
        factor.succeed(seconds(4));
        assert_eq!(factor.get(), 1);
    }

    #[test]
    fn timeout_factor_forgets_a_timeout_that_answers_outlast() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(3), 1, false);
        factor.succeed(seconds(2));
        assert_eq!(factor.timeout(), Some(seconds(3)));
        factor.succeed(seconds(5));
        assert_eq!((factor.get(), factor.timeout()), (1, None));
    }

    #[test]
    fn timeout_factor_learns_the_longest_timeout() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(10), 1, true);
        factor.fail(seconds(20), 2, true);
        factor.fail(seconds(30), 4, true);
        assert_eq!((factor.get(), factor.timeout()), (8, Some(seconds(30))));
        for _ in 0..100 {
            factor.fail(seconds(30), factor.get(), true);
        }
        assert_eq!(factor.get(), TimeoutFactor::HIGHEST);
        factor.succeed(Duration::from_millis(20));
        assert_eq!((factor.get(), factor.timeout()), (1, Some(seconds(10))));
    }
}
