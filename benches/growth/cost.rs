//! What a run cost.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

use super::service::Counter;

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

/// Reads the thread's clock at the beginning and at the end of what is measured.
pub struct Meter {
    counter: Arc<Counter>,
    began_at: Duration,
    requests: u64,
    entries: u64,
}

impl Meter {
    pub fn start(counter: &Arc<Counter>) -> Self {
        Self {
            counter: counter.clone(),
            requests: counter.requests(),
            entries: counter.entries(),
            began_at: thread_time(),
        }
    }

    /// The cost of so many records.
    pub fn records(self, records: usize) -> Cost {
        self.stop(|_| records as u64)
    }

    /// The cost of each attempt to deliver an entry.
    pub fn attempts(self) -> Cost {
        self.stop(|entries| entries)
    }

    fn stop(self, units: impl FnOnce(u64) -> u64) -> Cost {
        let cpu = thread_time() - self.began_at;
        let requests = self.counter.requests() - self.requests;
        let entries = self.counter.entries() - self.entries;
        Cost { cpu, units: units(entries), entries_per_request: entries as f64 / requests as f64 }
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
