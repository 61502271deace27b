//! What a record costs, by the number of records that wait when it comes.

use std::time::Duration;

use futures::{FutureExt, SinkExt};
use kinesis_sink::SinkBuilder;

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build};
use super::pool::Pool;
use super::row::Row;
use super::service::{InProcess, Trouble};

const WHAT: &str = "waiting";
const SIZES: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];
const SHARDS: usize = 16;
/// As many as a request carries entries: also in order requests are full, and at each size records wait behind
/// others of their key.
const KEYS: usize = 500;

pub fn rows(records: usize) -> Vec<Row> {
    let modes = Mode::ALL.map(|mode| {
        let builder = move |shards: &EvenShards| mode.builder(shards);
        Row::new(WHAT, mode.name, SIZES, move |waiting| cost(builder, waiting, records))
    });
    let with_deadline = |shards: &EvenShards| {
        Mode::PLAIN.builder(shards).with_deadline(Duration::from_secs(24 * 60 * 60))
    };
    let deadline = Row::new(WHAT, "plain, with a deadline", SIZES, move |waiting| {
        cost(with_deadline, waiting, records)
    });
    modes.into_iter().chain([deadline]).collect()
}

/// The service is held back until so many wait, and then takes all, as often as `records` asks for.
fn cost(builder: impl Fn(&EvenShards) -> SinkBuilder, waiting: usize, records: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    let pool = Pool::new(waiting, KEYS, &shards);
    let service = InProcess::new(shards.clone(), Trouble::None);
    let counter = service.counter();
    let times = (records / waiting).max(1);
    on_virtual_time(async {
        let builder =
            builder(&shards).configure(|settings| settings.buffer_records = Some(2 * waiting));
        let mut sink = build(builder, service);
        // Once before, for the list of shards.
        sink.send(pool.take(1).next().expect("there is one")).await.expect("it is delivered");
        let meter = Meter::start(&counter);
        for _ in 0..times {
            counter.hold();
            for record in pool.take(waiting) {
                sink.feed(record).now_or_never().expect("there is room").expect("it is valid");
            }
            assert_eq!(sink.status().queued.records, waiting);
            counter.let_go();
            sink.flush().await.expect("everything is delivered");
        }
        assert_eq!(sink.totals().delivered, (waiting * times) as u64 + 1);
        meter.records(waiting * times)
    })
}
