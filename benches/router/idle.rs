//! Measures the CPU time and the timers of idle streams.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::sleep;

use super::load::{WAVE, burst, names, route, send, settings};
use super::meter::{Meter, on_virtual_time};
use super::service::MockService;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Time after the last record in which timers of the traffic expire, and unused memory is released.
const SETTLE: Duration = Duration::from_secs(3 * 60);

/// Work of a router with idle streams in an hour.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    pub streams: usize,
    /// Number of times that the runtime waited for a timer.
    pub timers: u64,
    pub nanoseconds: f64,
}

pub fn measure(streams: usize) -> Idle {
    let names = names(streams);
    let burst = burst();
    on_virtual_time(unconstrained(async {
        let service = MockService::default();
        let router = route(settings(streams), &service);
        send(&router, &names, &burst, WAVE).await;
        sleep(SETTLE).await;
        let metrics = Handle::current().metrics();
        let begin = metrics.worker_park_count(0);
        let meter = Meter::start();
        sleep(HOUR).await;
        let nanoseconds = meter.nanoseconds();
        let timers = metrics.worker_park_count(0) - begin;
        assert_eq!(router.status().open_streams, streams);
        Idle { streams, timers, nanoseconds }
    }))
}
