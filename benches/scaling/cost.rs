use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

/// CPU time that a number of operations take. An operation is a record or an attempt to deliver an entry.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// CPU time of the thread, which other processes do not affect.
    cpu: Duration,
    operations: u64,
    /// Mean number of entries per request. In small requests, each entry costs more.
    pub entries_per_request: f64,
}

impl Cost {
    pub fn nanoseconds(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.operations as f64
    }
}

/// A snapshot of the CPU time of the thread, and of the number of requests and entries received so far.
#[derive(Debug)]
pub struct Reading {
    thread_time: Duration,
    requests: u64,
    entries: u64,
}

impl Reading {
    pub fn now(requests: u64, entries: u64) -> Self {
        Self { requests, entries, thread_time: thread_time() }
    }

    /// Returns the cost of the attempts to deliver an entry between `self` and `end`.
    pub fn attempts_until(&self, end: &Self) -> Cost {
        self.cost_until(end, end.entries - self.entries)
    }

    /// Returns the cost of the `operations` performed between `self` and `end`.
    pub fn cost_until(&self, end: &Self, operations: u64) -> Cost {
        let requests = (end.requests - self.requests) as f64;
        Cost {
            cpu: end.thread_time - self.thread_time,
            operations,
            entries_per_request: (end.entries - self.entries) as f64 / requests,
        }
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Unix has this clock").into()
}

/// Runs `run` with virtual time, so that backoff and linger take no time and runs are reproducible.
pub fn on_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime =
        builder.enable_time().start_paused(true).build().expect("failed to build a runtime");
    runtime.block_on(run)
}
