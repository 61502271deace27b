//! What a run cost.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

/// What a number of records, or of entries' attempts, cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// CPU time of the thread. It does not count what other processes take.
    cpu: Duration,
    units: u64,
    /// Of the requests that carried them. Small requests make each entry dearer.
    pub entries_per_request: f64,
}

impl Cost {
    pub fn nanoseconds(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.units as f64
    }
}

/// The thread's clock and what had come to the service by then.
#[derive(Debug)]
pub struct Reading {
    thread_time: Duration,
    requests: u64,
    entries: u64,
}

impl Reading {
    /// After so many requests, with so many entries.
    pub fn now(requests: u64, entries: u64) -> Self {
        Self { requests, entries, thread_time: thread_time() }
    }

    /// The cost of each attempt to deliver an entry until then.
    pub fn attempts_until(&self, end: &Self) -> Cost {
        self.cost_until(end, end.entries - self.entries)
    }

    /// The cost of so many units until then.
    pub fn cost_until(&self, end: &Self, units: u64) -> Cost {
        let requests = (end.requests - self.requests) as f64;
        Cost {
            cpu: end.thread_time - self.thread_time,
            units,
            entries_per_request: (end.entries - self.entries) as f64 / requests,
        }
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every system has it").into()
}

/// Runs on this thread alone and on virtual time, so that nothing waits for a back-off or a linger, and each
/// run does the same.
pub fn on_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(run)
}
