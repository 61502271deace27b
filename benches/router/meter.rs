use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

/// CPU time of the thread, which other processes do not affect.
#[derive(Debug, Clone, Copy)]
pub struct Meter(Duration);

impl Meter {
    pub fn start() -> Self {
        Self(thread_time())
    }

    /// Returns the CPU time in nanoseconds since the start.
    pub fn nanoseconds(self) -> f64 {
        (thread_time() - self.0).as_nanos() as f64
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Unix has this clock").into()
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `run` on one thread with virtual time, so that round trips take no time.
pub fn on_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime =
        builder.enable_time().start_paused(true).build().expect("failed to build a runtime");
    runtime.block_on(run)
}
