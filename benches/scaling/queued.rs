use std::time::Duration;

use futures::{FutureExt, SinkExt};
use kinesis_sink::SinkBuilder;
use tokio::task::unconstrained;

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build};
use super::pool::Pool;
use super::row::Row;
use super::service::{Fault, MockService};

const DIMENSION: &str = "queued";
const SIZES: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];
const SHARDS: usize = 16;
/// Number of keys. It equals the maximum number of entries per request, so that requests are full with ordering too.
/// Every size queues several records per key.
const KEYS: usize = 500;

pub fn rows(records: usize) -> Vec<Row> {
    let modes = Mode::ALL.map(|mode| {
        let builder = move |shards: &EvenShards| mode.builder(shards);
        Row::new(DIMENSION, mode.name, SIZES, move |queued| cost(builder, queued, records))
    });
    let with_deadline = |shards: &EvenShards| {
        Mode::PLAIN.builder(shards).with_deadline(Duration::from_secs(24 * 60 * 60))
    };
    let deadline = Row::new(DIMENSION, "plain, with a deadline", SIZES, move |queued| {
        cost(with_deadline, queued, records)
    });
    modes.into_iter().chain([deadline]).collect()
}

/// Queues `queued` records while the service is paused, and then flushes them. Repeats this until `records` are sent.
fn cost(builder: impl Fn(&EvenShards) -> SinkBuilder, queued: usize, records: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    let pool = Pool::new(queued, KEYS, &shards);
    let service = MockService::new(shards.clone(), Fault::None);
    let counter = service.counter();
    let times = (records / queued).max(1);
    on_virtual_time(async {
        let builder =
            builder(&shards).configure(|settings| settings.buffer_records = Some(2 * queued));
        let mut sink = build(builder, service);
        sink.send(pool.take(1).next().expect("the pool is not empty")).await.expect("delivered");
        let meter = Meter::start(&counter);
        for _ in 0..times {
            counter.pause();
            for record in pool.take(queued) {
                // Without `unconstrained`, the sink would return `Pending` once the task has used up its budget.
                let fed = unconstrained(sink.feed(record)).now_or_never();
                fed.expect("the buffer has capacity").expect("accepted");
            }
            assert_eq!(sink.status().queued.records, queued);
            counter.resume();
            sink.flush().await.expect("all records are delivered");
        }
        assert_eq!(sink.totals().delivered, (queued * times) as u64 + 1);
        meter.records(queued * times)
    })
}
