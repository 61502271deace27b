use std::time::Duration;

/// How shards enforce their quota.
///
/// Needs the feature `sim`.
///
/// The service documents the quota of a shard, but not how it is enforced, and emulators differ. A pipeline
/// that works with all of these does not depend on one of them.
///
/// | setting | default | range |
/// |---|---|---|
/// | algorithm | [token bucket](Self::token_bucket) | token bucket, [fixed](Self::fixed_windows), [staggered](Self::staggered_windows) or [sliding](Self::sliding_window) windows |
/// | [front ends](Self::with_front_ends) | 1 | 1 to 1,000 |
/// | [lag](Self::with_lag) | 0 s | 0 s to 1 h |
/// | [random order](Self::with_random_order) | off | |
///
/// [`Faults::with_throttles`](super::Faults::with_throttles) adds throttles at random to each of them.
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
    /// A bucket that starts full, refills at the rate of the quota, and holds the
    /// [burst](super::SimBuilder::with_burst).
    pub const fn token_bucket() -> Self {
        Self::new(Algorithm::TokenBucket)
    }

    /// A count that restarts each second, for all shards at the same time: at full seconds since the stream
    /// was built. A shard accepts the quota of one second at any time within it, so that up to twice the
    /// quota passes around the restart.
    pub const fn fixed_windows() -> Self {
        Self::new(Algorithm::FixedWindows)
    }

    /// [Fixed windows](Self::fixed_windows) that restart at a different time for each shard, drawn from the
    /// seed.
    pub const fn staggered_windows() -> Self {
        Self::new(Algorithm::StaggeredWindows)
    }

    /// A count of what was accepted within the last second, which never exceeds the quota.
    pub const fn sliding_window() -> Self {
        Self::new(Algorithm::SlidingWindow)
    }

    const fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, front_ends: 1, lag: Duration::ZERO, random_order: false }
    }

    /// Sets the number of front ends that the quota of each shard is split over: 1 to 1,000, by default 1. Each
    /// front end enforces its part by itself, and each request goes to one of them, drawn from the seed.
    #[must_use]
    pub const fn with_front_ends(mut self, front_ends: usize) -> Self {
        self.front_ends = front_ends;
        self
    }

    /// Sets the delay after which an accepted record counts: 0 s to 1 h, by default 0 s. Until then the
    /// limiter accepts too much. A token bucket compensates for this later, windows do not.
    #[must_use]
    pub const fn with_lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Admits the entries of a request in random order, drawn from the seed, instead of from first to last, so
    /// that throttled entries are anywhere in the response. Accepted entries are still written in the request's
    /// order.
    #[must_use]
    pub const fn with_random_order(mut self) -> Self {
        self.random_order = true;
        self
    }
}
