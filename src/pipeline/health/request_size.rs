use std::time::Duration;

/// Limit on the number of entries per request, after requests have failed as a whole. A failure halves the limit. A
/// response raises it to at most twice the number of entries sent, if a larger request is expected to complete before
/// its timeout. The latency per entry is estimated from requests of different sizes.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct RequestSize {
    max: Option<usize>,
    latest: Option<(usize, Duration)>,
    /// Seconds per additional entry.
    slope: Option<f64>,
}

impl RequestSize {
    pub(in crate::pipeline) fn one() -> Self {
        Self { max: Some(1), ..Self::default() }
    }

    pub(in crate::pipeline) fn max(&self) -> usize {
        self.max.unwrap_or(usize::MAX)
    }

    pub(in crate::pipeline) fn fail(&mut self, entries: usize) {
        self.max = Some(self.max().min(entries / 2).max(1));
    }

    /// Records a response. `timeout` is the timeout of the next request, or `None` if no timeout has been measured.
    /// `limit` is the maximum number of entries when nothing fails.
    pub(in crate::pipeline) fn succeed(
        &mut self,
        entries: usize,
        took: Duration,
        timeout: Option<Duration>,
        limit: usize,
    ) {
        let Some(max) = self.max else { return };
        if let Some((before, took_before)) = self.latest.replace((entries, took))
            && before != entries
        {
            let difference = took.as_secs_f64() - took_before.as_secs_f64();
            self.slope = Some((difference / (entries as f64 - before as f64)).max(0.0));
        }
        let took = took.as_secs_f64();
        // Without an estimate, the latency is assumed to be proportional to the number of entries.
        let slope = self.slope.unwrap_or(took / entries as f64);
        let expected = |additional: usize, slope: f64| took + slope * additional as f64;
        let share_of_timeout =
            |part: f64| timeout.map_or(f64::INFINITY, |timeout| part * timeout.as_secs_f64());
        let increment = entries.div_ceil(8);
        let grown = if expected(entries, slope) <= share_of_timeout(0.5) {
            2 * entries
        } else if expected(increment, self.slope.unwrap_or(0.0)) <= share_of_timeout(0.9) {
            entries + increment
        } else {
            max
        };
        let max = max.max(grown);
        if max < limit {
            self.max = Some(max);
        } else {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn sizes(
        size: &mut RequestSize,
        requests: usize,
        timeout: Option<Duration>,
        time: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        let next = |_| {
            let entries = size.max().min(500);
            size.succeed(entries, seconds(time(entries)), timeout, 500);
            entries
        };
        (0..requests).map(next).collect()
    }

    #[test]
    fn request_size_halves_to_one_then_doubles() {
        let mut size = RequestSize::default();
        let mut failed = Vec::new();
        for _ in 0..10 {
            let entries = size.max().min(500);
            failed.push(entries);
            size.fail(entries);
        }
        assert_eq!(failed, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1]);
        let sizes = sizes(&mut size, 10, Some(seconds(10.0)), |_| 0.02);
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]);
        assert_eq!(size.max(), usize::MAX);
    }

    #[test]
    fn request_size_stays_below_timeout() {
        let mut size = RequestSize::default();
        size.fail(500);
        // 500 entries take 22 s.
        let sizes = sizes(&mut size, 100, Some(seconds(20.0)), |entries| entries as f64 * 0.044);
        assert!(sizes.iter().all(|entries| *entries as f64 * 0.044 < 20.0), "{sizes:?}");
        assert!(sizes[99] > 300, "{sizes:?}");
    }

    #[test]
    fn request_size_grows_under_constant_latency() {
        let mut size = RequestSize::one();
        let sizes = sizes(&mut size, 40, Some(seconds(20.0)), |_| 11.0);
        assert_eq!(sizes[39], 500, "{sizes:?}");
    }
}
