use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::Limiter;
use super::accounting::{
    Accounting, Allowance, Bucket, FixedWindow, Lagging, NANO, SlidingWindow, TOKEN,
};
use super::limiter::Algorithm;

#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) records_per_s: u32,
    pub(super) bytes_per_s: u32,
    pub(super) burst: Duration,
    /// Size of a burst in bytes. If it is set, `burst` applies only to records.
    pub(super) byte_burst: Option<usize>,
    pub(super) limiter: Limiter,
}

impl Quota {
    fn records(&self, load: f64) -> Allowance {
        self.allowance(self.records_per_s, load, None)
    }

    fn bytes(&self, load: f64) -> Allowance {
        self.allowance(self.bytes_per_s, load, self.byte_burst)
    }

    /// Returns the allowance of one front end. The load of other producers is subtracted before the quota is divided.
    fn allowance(&self, per_s: u32, load: f64, burst: Option<usize>) -> Allowance {
        let front_ends = self.limiter.front_ends as i128;
        let left = (f64::from(per_s) * (1.0 - load) * NANO as f64).round() as i128;
        let burst = match burst {
            Some(tokens) => tokens as i128 * TOKEN,
            None => i128::from(per_s) * NANO * self.burst.as_nanos() as i128,
        };
        Allowance { per_s: left / front_ends, burst: burst / front_ends }
    }
}

#[derive(Debug)]
pub(super) struct ShardLimiter {
    quota: Quota,
    load: f64,
    front_ends: Vec<FrontEnd>,
}

/// Accounting of one front end. An entry is admitted only if both the record quota and the byte quota allow it.
#[derive(Debug)]
struct FrontEnd {
    records: Box<dyn Accounting>,
    bytes: Box<dyn Accounting>,
}

impl ShardLimiter {
    /// Creates an unused limiter. The time since the stream was built, `age`, determines the start of fixed windows.
    pub(super) fn new(quota: Quota, load: f64, age: Duration, rng: &mut Rng, now: Instant) -> Self {
        let phase = match quota.limiter.algorithm {
            Algorithm::StaggeredWindows => rng.u32(..NANO as u32),
            _ => age.subsec_nanos(),
        };
        let accounting = |allowance| -> Box<dyn Accounting> {
            let inner: Box<dyn Accounting> = match quota.limiter.algorithm {
                Algorithm::TokenBucket => Box::new(Bucket::new(allowance, now)),
                Algorithm::FixedWindows | Algorithm::StaggeredWindows => {
                    Box::new(FixedWindow::new(allowance, Duration::from_nanos(phase.into()), now))
                }
                Algorithm::SlidingWindow => Box::new(SlidingWindow::new(allowance, now)),
            };
            match quota.limiter.lag {
                Duration::ZERO => inner,
                lag => Box::new(Lagging::new(inner, lag, now)),
            }
        };
        let front_end = |_| FrontEnd {
            records: accounting(quota.records(load)),
            bytes: accounting(quota.bytes(load)),
        };
        Self { quota, load, front_ends: (0..quota.limiter.front_ends).map(front_end).collect() }
    }

    pub(super) fn set_load(&mut self, load: f64, now: Instant) {
        self.load = load;
        self.update(now);
    }

    pub(super) fn set_quota(&mut self, quota: Quota, now: Instant) {
        self.quota = quota;
        self.update(now);
    }

    fn update(&mut self, now: Instant) {
        for FrontEnd { records, bytes } in &mut self.front_ends {
            records.advance(now);
            records.set_allowance(self.quota.records(self.load));
            bytes.advance(now);
            bytes.set_allowance(self.quota.bytes(self.load));
        }
    }

    pub(super) fn admit(&mut self, front_end: usize, bytes: usize, now: Instant) -> bool {
        let amount = bytes as i128 * TOKEN;
        let FrontEnd { records, bytes } = &mut self.front_ends[front_end];
        records.advance(now);
        bytes.advance(now);
        let passes = records.has(TOKEN) && bytes.has(amount);
        if passes {
            records.take(TOKEN);
            bytes.take(amount);
        }
        passes
    }
}
