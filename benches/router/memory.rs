//! Measures the heap memory of open streams.

use std::time::Duration;

use kinesis_sink::router::RouterSettings;
use tokio::task::unconstrained;
use tokio::time::sleep;

use super::alloc;
use super::load::{WAVE, burst, names, route, send, settings, without_metrics};
use super::meter::on_virtual_time;
use super::service::MockService;

/// Time after which unused memory has been released.
const IDLE: Duration = Duration::from_secs(3 * 60);

/// Bytes on the heap per open stream.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub metrics: &'static str,
    pub streams: usize,
    /// Bytes after the stream was opened, without a record.
    pub opened: f64,
    /// Bytes after a burst was delivered.
    pub used: f64,
    /// Bytes after unused memory has been released.
    pub idle: f64,
}

pub fn measure(sizes: &[usize]) -> Vec<Memory> {
    let off = sizes.iter().map(|&streams| run("off", streams, without_metrics(settings(streams))));
    let unrecorded = sizes.iter().map(|&streams| run("no recorder", streams, settings(streams)));
    off.chain(unrecorded).collect()
}

fn run(metrics: &'static str, streams: usize, settings: RouterSettings) -> Memory {
    let names = names(streams);
    let burst = burst();
    on_virtual_time(unconstrained(async {
        let service = MockService::default();
        let router = route(settings, &service);
        sleep(IDLE).await;
        let begin = alloc::current();
        let per_stream = || (alloc::current() - begin) as f64 / streams as f64;
        for name in &names {
            drop(router.producer(name).expect("the stream can be opened"));
        }
        sleep(IDLE).await;
        let opened = per_stream();
        send(&router, &names, &burst, WAVE).await;
        let used = per_stream();
        sleep(IDLE).await;
        let idle = per_stream();
        assert_eq!(router.status().open_streams, streams);
        Memory { metrics, streams, opened, used, idle }
    }))
}
