use std::time::Duration;

/// Limiter that enforces the quota of each shard.
///
/// Requires the feature `sim`.
///
/// The service documents the quota of a shard, but not the algorithm that enforces it, and emulators use different
/// algorithms. Test a program with several algorithms, so that it does not depend on one of them.
///
/// | setting | default | range |
/// |---|---|---|
/// | algorithm | [token bucket](Self::token_bucket) | token bucket, [fixed](Self::fixed_windows), [staggered](Self::staggered_windows) or [sliding](Self::sliding_window) windows |
/// | [front ends](Self::with_front_ends) | 1 | 1 to 1,000 |
/// | [lag](Self::with_lag) | 0 s | 0 s to 1 h |
/// | [random order](Self::with_random_order) | off | |
///
/// [`Faults::with_throttles`](super::Faults::with_throttles) adds random throttling.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::sim::{Limiter, SimStream};
///
/// let limiter = Limiter::fixed_windows().with_front_ends(4).with_lag(Duration::from_millis(100));
/// let stream = SimStream::builder().with_limiter(limiter).build()?;
/// # let _ = stream;
/// # Ok::<_, kinesis_sink::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limiter {
    pub(super) algorithm: Algorithm,
    pub(super) front_ends: usize,
    pub(super) lag: Duration,
    pub(super) random_order: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    TokenBucket,
    FixedWindows,
    StaggeredWindows,
    SlidingWindow,
}

impl Default for Limiter {
    /// Returns [`token_bucket`](Self::token_bucket).
    fn default() -> Self {
        Self::token_bucket()
    }
}

impl Limiter {
    /// Returns a token bucket that starts full and refills at the rate of the quota.
    ///
    /// The capacity of the bucket is the [burst](super::SimBuilder::with_burst).
    pub const fn token_bucket() -> Self {
        Self::new(Algorithm::TokenBucket)
    }

    /// Returns fixed windows of one second, which start at the same time for all shards.
    ///
    /// The first window starts when the stream is built. A shard can accept the quota of a window at any time within
    /// the window. Around the start of a window, it can therefore accept up to twice the quota within a short time.
    pub const fn fixed_windows() -> Self {
        Self::new(Algorithm::FixedWindows)
    }

    /// Returns [fixed windows](Self::fixed_windows) that start at a different, random time for each shard.
    ///
    /// The random times are drawn from the seed of the stream.
    pub const fn staggered_windows() -> Self {
        Self::new(Algorithm::StaggeredWindows)
    }

    /// Returns a sliding window, which counts the records and bytes that were accepted within the last second.
    pub const fn sliding_window() -> Self {
        Self::new(Algorithm::SlidingWindow)
    }

    const fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, front_ends: 1, lag: Duration::ZERO, random_order: false }
    }

    /// Sets the number of front ends among which the quota of each shard is divided: 1 to 1,000. Default: 1.
    ///
    /// Each front end enforces its part of the quota separately. Each request is handled by a random front end.
    #[must_use]
    pub const fn with_front_ends(mut self, front_ends: usize) -> Self {
        self.front_ends = front_ends;
        self
    }

    /// Sets the delay after which an accepted record counts towards the quota: 0 s to 1 h. Default: 0 s.
    ///
    /// Until the record counts, the limiter can accept more than the quota. A token bucket compensates for this excess
    /// later, but windows do not.
    #[must_use]
    pub const fn with_lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Admits the entries of a request in random order. Default: in the order of the request.
    ///
    /// As a result, throttled entries are spread over the whole response. Accepted entries are still written in the
    /// order of the request.
    #[must_use]
    pub const fn with_random_order(mut self) -> Self {
        self.random_order = true;
        self
    }
}
