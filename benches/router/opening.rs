//! Measures the cost of opening and evicting streams.

use kinesis_sink::Router;
use tokio::task::unconstrained;

use super::alloc;
use super::load::{WAVE, burst, names, route, send, settings};
use super::meter::{Meter, median, on_virtual_time};
use super::service::MockService;

/// CPU time for a single record in nanoseconds, including the service. All figures are medians of several rounds.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    pub streams: usize,
    pub max_streams: usize,
    /// Cost of a record whose stream is open.
    pub open: f64,
    /// Cost of the first record of a stream.
    pub first: f64,
    /// Cost of the first record of a stream if another stream is evicted for it.
    pub evicting: f64,
    /// Bytes on the heap after the evictions, per open stream.
    pub heap: f64,
}

/// Opens `streams` streams with at most `max_streams` open, and as many without evictions.
pub fn measure(streams: usize, max_streams: usize, rounds: usize) -> Opening {
    let names = names(streams);
    let (mut open, mut first, mut evicting, mut heap) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        on_virtual_time(unconstrained(async {
            let router = route(settings(streams), &MockService::default());
            first.push(per_stream(&router, &names).await);
            open.push(per_stream(&router, &names).await);
        }));
        on_virtual_time(unconstrained(async {
            let router = route(settings(max_streams), &MockService::default());
            let begin = alloc::current();
            let (kept, others) = names.split_at(max_streams);
            per_stream(&router, kept).await;
            evicting.push(per_stream(&router, others).await);
            heap.push((alloc::current() - begin) as f64 / max_streams as f64);
            let status = router.status();
            assert_eq!((status.open_streams, status.opened), (max_streams, streams as u64));
        }));
    }
    let [open, first, evicting, heap] = [open, first, evicting, heap].map(median);
    Opening { streams, max_streams, open, first, evicting, heap }
}

/// Sends a record to each stream. Returns the CPU time per stream.
async fn per_stream(router: &Router, names: &[String]) -> f64 {
    let records = &burst()[..1];
    let meter = Meter::start();
    send(router, names, records, WAVE).await;
    meter.nanoseconds() / names.len() as f64
}
