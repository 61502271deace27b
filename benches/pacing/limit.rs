use std::time::Duration;

use kinesis_sink::sim::{Limiter, SimBuilder};

/// The limiter that enforces the quota of the shards in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    limiter: Limiter,
    burst: Duration,
}

/// Default limiter. It resembles the service, as far as the behavior of the service is known.
pub const BUCKET_1S: Limit = bucket("bucket_1s", 1_000);
pub const BUCKET_100MS: Limit = bucket("bucket_100ms", 100);
pub const STAGGERED: Limit = Limit::new("staggered_windows", Limiter::staggered_windows());
pub const FIXED: Limit = Limit::new("fixed_windows", Limiter::fixed_windows());

pub const ALL: [Limit; 10] = [
    BUCKET_1S,
    BUCKET_100MS,
    bucket("bucket_20ms", 20),
    Limit::new("random_order", Limiter::token_bucket().with_random_order()),
    FIXED,
    STAGGERED,
    Limit::new("sliding_window", Limiter::sliding_window()),
    Limit::new("front_ends_4", Limiter::token_bucket().with_front_ends(4)),
    Limit::new("lag_100ms", Limiter::token_bucket().with_lag(Duration::from_millis(100))),
    Limit::new("lag_1s", Limiter::token_bucket().with_lag(Duration::from_secs(1))),
];

const fn bucket(name: &'static str, burst_ms: u64) -> Limit {
    let burst = Duration::from_millis(burst_ms);
    Limit { name, limiter: Limiter::token_bucket(), burst }
}

impl Limit {
    const fn new(name: &'static str, limiter: Limiter) -> Self {
        Self { name, limiter, burst: Duration::from_secs(1) }
    }

    pub fn has_windows(self) -> bool {
        [FIXED, STAGGERED].contains(&self)
    }

    pub fn apply_to(self, builder: SimBuilder) -> SimBuilder {
        builder.with_limiter(self.limiter).with_burst(self.burst)
    }
}
