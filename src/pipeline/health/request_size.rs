use std::time::Duration;

/// Limit on the number of entries per request, after requests have failed as a whole. A failure halves the limit. A
/// response raises it to at most twice the number of entries sent, if a larger request is expected to complete before
/// its timeout. The latency per entry is estimated from requests of different sizes.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct RequestSize {
    /// `None` while the number is not limited.
    limit: Option<Box<SizeLimit>>,
}

#[derive(Debug, Clone)]
struct SizeLimit {
    max: usize,
    latest: Option<(usize, Duration)>,
    /// Seconds per additional entry.
    slope: Option<f64>,
}

impl SizeLimit {
    fn new(max: usize) -> Self {
        Self { max, latest: None, slope: None }
    }
}

impl RequestSize {
    pub(in crate::pipeline) fn one() -> Self {
        Self { limit: Some(Box::new(SizeLimit::new(1))) }
    }

    pub(in crate::pipeline) fn max(&self) -> usize {
        self.limit.as_ref().map_or(usize::MAX, |limit| limit.max)
    }

    pub(in crate::pipeline) fn fail(&mut self, entries: usize) {
        let max = (entries / 2).max(1);
        let limit = self.limit.get_or_insert_with(|| Box::new(SizeLimit::new(max)));
        limit.max = limit.max.min(max);
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
        let Some(state) = &mut self.limit else { return };
        let max = state.max;
        if let Some((before, took_before)) = state.latest.replace((entries, took))
            && before != entries
        {
            let difference = took.as_secs_f64() - took_before.as_secs_f64();
            state.slope = Some((difference / (entries as f64 - before as f64)).max(0.0));
        }
        let took = took.as_secs_f64();
        // Without an estimate, the latency is assumed to be proportional to the number of entries.
        let slope = state.slope.unwrap_or(took / entries as f64);
        let expected = |additional: usize, slope: f64| took + slope * additional as f64;
        let share_of_timeout =
            |part: f64| timeout.map_or(f64::INFINITY, |timeout| part * timeout.as_secs_f64());
        let increment = entries.div_ceil(8);
        let grown = if expected(entries, slope) <= share_of_timeout(0.5) {
            2 * entries
        } else if expected(increment, state.slope.unwrap_or(0.0)) <= share_of_timeout(0.9) {
            entries + increment
        } else {
            max
        };
        let max = max.max(grown);
        if max < limit {
            state.max = max;
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
