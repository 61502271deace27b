use std::time::Duration;

/// Factor by which the timeout of the next request exceeds the default timeout. The pipeline does not know the default,
/// so it measures the duration of requests that time out.
#[derive(Debug, Clone)]
pub(super) struct TimeoutFactor {
    factor: u32,
    default: Option<Duration>,
    /// Longest timeout that the timeout layer permits, if a request has reached it.
    max: Option<Duration>,
}

impl TimeoutFactor {
    /// Maximum factor. It raises the default timeout of 10 s above the maximum request timeout of 10 minutes.
    const MAX: u32 = 64;

    pub(super) fn new() -> Self {
        Self { factor: 1, default: None, max: None }
    }

    pub(super) fn get(&self) -> u32 {
        self.factor
    }

    /// Records a timeout. Doubles the factor if some of the records have failed before.
    pub(super) fn fail(&mut self, took: Duration, factor: u32, is_repeated: bool) {
        if factor == 1 || self.default.is_none() {
            self.default = Some(took / factor);
        }
        let expected = self.default.unwrap_or(took) * factor;
        self.max = (took < expected.mul_f64(0.9)).then_some(took);
        if is_repeated && factor == self.factor {
            self.factor = (2 * self.factor).min(Self::MAX);
        }
    }

    /// Records a response. Halves the factor if the response took less than half of the next lower timeout.
    pub(super) fn succeed(&mut self, took: Duration) {
        let Some(default) = self.default else { return };
        if took.mul_f64(0.9) > default * self.factor {
            // The measured timeout was not the request timeout but, for example, a connect timeout.
            *self = Self::new();
            return;
        }
        while self.factor > 1 && took * 4 < default * self.factor {
            self.factor /= 2;
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let timeout = self.default? * self.factor;
        Some(self.max.map_or(timeout, |max| timeout.min(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn timeout_factor_doubles_on_repeated_timeout() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(10), 1, false);
        assert_eq!((factor.get(), factor.timeout()), (1, Some(seconds(10))));
        factor.fail(seconds(10), 1, true);
        assert_eq!((factor.get(), factor.timeout()), (2, Some(seconds(20))));
        factor.fail(seconds(10), 1, true);
        assert_eq!(factor.get(), 2, "it was sent with the previous factor");
    }

    #[test]
    fn timeout_factor_halves_only_if_fast() {
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
    fn timeout_factor_resets_on_late_response() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(3), 1, false);
        factor.succeed(seconds(2));
        assert_eq!(factor.timeout(), Some(seconds(3)));
        factor.succeed(seconds(5));
        assert_eq!((factor.get(), factor.timeout()), (1, None));
    }

    #[test]
    fn timeout_factor_learns_maximum_timeout() {
        let mut factor = TimeoutFactor::new();
        factor.fail(seconds(10), 1, true);
        factor.fail(seconds(20), 2, true);
        factor.fail(seconds(30), 4, true);
        assert_eq!((factor.get(), factor.timeout()), (8, Some(seconds(30))));
        for _ in 0..100 {
            factor.fail(seconds(30), factor.get(), true);
        }
        assert_eq!(factor.get(), TimeoutFactor::MAX);
        factor.succeed(Duration::from_millis(20));
        assert_eq!((factor.get(), factor.timeout()), (1, Some(seconds(10))));
    }
}
