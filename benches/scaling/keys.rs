use kinesis_sink::{Aggregation, RecordOrdering};

use super::cost::{Cost, on_virtual_time};
use super::even_shards::EvenShards;
use super::meter::Meter;
use super::mode::{Mode, build};
use super::pool::{Pool, send};
use super::row::Row;
use super::service::{Fault, MockService};

const DIMENSION: &str = "keys";
const SIZES: &[usize] = &[1, 100, 10_000, 1_000_000];
const SHARDS: usize = 16;
/// Records per key with ordering. Without aggregation, a request has only one per key, so more would just take longer.
const ORDERED_RECORDS_PER_KEY: usize = 10_000;

pub fn rows(records: usize) -> Vec<Row> {
    let per_key = Mode {
        name: "aggregated PerKey",
        aggregation: Aggregation::PerKey,
        ordering: RecordOrdering::Unordered,
    };
    let modes = Mode::ALL.into_iter().chain([per_key]);
    let row = |mode: Mode| {
        Row::new(DIMENSION, mode.name, SIZES, move |keys| cost(mode, keys, records.max(keys)))
    };
    modes.map(row).collect()
}

fn cost(mode: Mode, keys: usize, records: usize) -> Cost {
    let shards = EvenShards::new(SHARDS);
    let pool = Pool::new(records, keys, &shards);
    let service = MockService::new(shards.clone(), Fault::None);
    let counter = service.counter();
    let is_serial = mode.name == Mode::ORDERED.name;
    let records = if is_serial { records.min(keys * ORDERED_RECORDS_PER_KEY) } else { records };
    on_virtual_time(async {
        let mut sink = build(mode.builder(&shards), service);
        send(&mut sink, pool.take(1_000)).await;
        let meter = Meter::start(&counter);
        send(&mut sink, pool.take(records)).await;
        meter.records(records)
    })
}
