//! Measures the latency and the number of members per aggregate for each linger, in virtual time. To print the table in
//! the documentation of `Linger`, run `cargo test --test aggregation linger -- --ignored --nocapture`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::settings::Linger;
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, KinesisSink, Receipt, Record, SinkBuilder, StreamId};
use tokio::time::{MissedTickBehavior, interval};
use tower::{BoxError, Service};

const ROUND_TRIP: Duration = Duration::from_millis(20);
const RUN_TIME: Duration = Duration::from_secs(10);
const RECORD_BYTES: usize = 100;

fn shard(number: u128) -> Shard {
    let start = number << 126;
    let range = HashRange::new(HashKey::new(start), HashKey::new(start + ((1 << 126) - 1)));
    Shard::new(format!("shardId-{number:012}"), range.unwrap())
}

async fn shards(_: StreamId) -> Result<Vec<Shard>, BoxError> {
    Ok((0..4).map(shard).collect())
}

#[derive(Clone, Default)]
struct FourShards(Arc<Mutex<Counts>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    requests: usize,
    entries: usize,
    records: usize,
}

impl Service<PutRecordsRequest> for FourShards {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let mut counts = self.0.lock().unwrap();
        counts.requests += 1;
        let mut placements = Vec::new();
        for entry in request.entries() {
            counts.entries += 1;
            counts.records += deaggregate(entry.data()).len();
            let key = entry.partition_key().expect("the entry has no key");
            let hash = entry.explicit_hash_key().unwrap_or_else(|| hash_of(key.as_str()));
            let shard = shard(hash.get() >> 126);
            placements.push(Ok(Placement::new(shard.id(), counts.entries.to_string())));
        }
        Box::pin(async {
            tokio::time::sleep(ROUND_TRIP).await;
            Ok(PutRecordsResponse::new(placements))
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Packing {
    aggregation: Aggregation,
    /// Number of distinct keys, or 0 for records without a key.
    keys: usize,
}

const PER_KEY_1: Packing = Packing { aggregation: Aggregation::PerKey, keys: 1 };
const PER_KEY_100: Packing = Packing { aggregation: Aggregation::PerKey, keys: 100 };
const WITHOUT_KEY: Packing = Packing { aggregation: Aggregation::PerKey, keys: 0 };
const PER_SHARD_100: Packing = Packing { aggregation: Aggregation::PerShard, keys: 100 };

impl Packing {
    fn record(self, number: usize) -> Record {
        let record = Record::from(vec![b'x'; RECORD_BYTES]);
        match self.keys {
            0 => record,
            keys => {
                let key = fastrand::Rng::with_seed(number as u64).usize(..keys);
                record.with_partition_key(format!("device-{key}"))
            }
        }
    }

    fn builder(self) -> SinkBuilder {
        let builder = KinesisSink::builder("example").with_aggregation(self.aggregation);
        builder
            .with_stream_info(list_shards_fn(shards))
            .configure(|settings| settings.seed = Some(1))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys {
            0 => write!(f, "`{:?}`, no keys", self.aggregation),
            1 => write!(f, "`{:?}`, 1 key", self.aggregation),
            keys => write!(f, "`{:?}`, {keys} keys", self.aggregation),
        }
    }
}

struct Measured {
    counts: Counts,
    /// Durations from acceptance to delivery, in ascending order.
    latencies: Vec<Duration>,
}

impl Measured {
    fn per_entry(&self) -> f64 {
        self.counts.records as f64 / self.counts.entries as f64
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }

    fn slowest(&self) -> Duration {
        self.percentile(100)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_entry = self.per_entry();
        let requests = self.counts.requests;
        let [median, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent).as_millis());
        write!(f, "**{per_entry:.1}**; {median}, {p99}, {max} ms; {requests}")
    }
}

/// Returns a stream of record numbers at a constant rate. Above 1,000 per second, each tick yields several numbers.
fn source(per_second: usize) -> impl Stream<Item = usize> {
    let per_tick = per_second.div_ceil(1_000);
    let period = Duration::from_secs(1) * per_tick as u32 / per_second as u32;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let ticks = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some(((), ticks))
    });
    let bursts = ticks.map(move |()| stream::iter(0..per_tick)).flatten();
    bursts.enumerate().map(|(number, _)| number).take(per_second * RUN_TIME.as_secs() as usize)
}

async fn measure(packing: Packing, per_second: usize, linger: Linger) -> Measured {
    measure_with(packing, per_second, packing.builder().with_linger(linger)).await
}

async fn measure_with(packing: Packing, per_second: usize, builder: SinkBuilder) -> Measured {
    let service = FourShards::default();
    let mut sink = builder.build_with(service.clone()).unwrap();
    let mut receipts: Vec<Receipt> = Vec::new();
    let records = source(per_second).map(|number| {
        let (record, receipt) = packing.record(number).tracked();
        receipts.push(receipt);
        Ok(record)
    });
    records.forward(&mut sink).await.unwrap();
    let mut latencies = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let delivery = receipt.await.unwrap();
        latencies.push(delivery.time_in_buffer() + delivery.time_in_flight());
    }
    latencies.sort_unstable();
    let counts = *service.0.lock().unwrap();
    assert_eq!(counts.records, latencies.len());
    Measured { counts, latencies }
}

const ADAPTIVE: Linger = Linger::Adaptive(Duration::from_millis(100));
const FIXED: Linger = Linger::Fixed(Duration::from_millis(100));
const FIXED_LONG: Linger = Linger::Fixed(Duration::from_secs(1));
const LINGERS: [Linger; 3] = [ADAPTIVE, FIXED, FIXED_LONG];
const PACKINGS: [Packing; 4] = [PER_KEY_1, WITHOUT_KEY, PER_KEY_100, PER_SHARD_100];

#[tokio::test(start_paused = true)]
async fn latency_is_bounded_by_linger() {
    for packing in PACKINGS {
        for (per_second, linger) in [(100, ADAPTIVE), (100, FIXED), (1_000, FIXED_LONG)] {
            let slowest = measure(packing, per_second, linger).await.slowest();
            let limit = linger.ceiling() + 2 * ROUND_TRIP + Duration::from_millis(1);
            assert!(slowest <= limit, "{packing}, {per_second}/s, {linger:?}: {slowest:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fixed_linger_packs_four_times_more() {
    for packing in [PER_KEY_1, WITHOUT_KEY, PER_SHARD_100] {
        let adaptive = measure(packing, 1_000, ADAPTIVE).await;
        let fixed = measure(packing, 1_000, FIXED).await;
        let fixed_long = measure(packing, 1_000, FIXED_LONG).await;
        let packed = [&adaptive, &fixed, &fixed_long].map(Measured::per_entry);
        assert!(packed[1] >= 4.0 * packed[0], "{packing}: {packed:?}");
        assert!(packed[2] >= 4.0 * packed[1], "{packing}: {packed:?}");
        assert!(adaptive.slowest() <= 2 * ROUND_TRIP, "{packing}");
    }
}

#[tokio::test(start_paused = true)]
async fn full_aggregate_skips_linger() {
    let measured = measure(PER_KEY_1, 10_000, FIXED_LONG).await;
    // At this rate, an aggregate is full after 48 ms. It then waits for at most one request in flight.
    assert!(measured.per_entry() > 470.0, "{}", measured.per_entry());
    assert!(measured.slowest() <= Duration::from_millis(48 + 2 * 20 + 1));
}

#[tokio::test(start_paused = true)]
async fn per_shard_packs_records_of_many_keys() {
    let per_key = measure(PER_KEY_100, 1_000, FIXED).await.per_entry();
    let per_shard = measure(PER_SHARD_100, 1_000, FIXED).await.per_entry();
    assert!(per_key < 2.0 && per_shard >= 20.0, "{per_key}, {per_shard}");
}

#[tokio::test(start_paused = true)]
async fn default_linger_is_fixed_100_ms() {
    let default = measure_with(PER_SHARD_100, 1_000, PER_SHARD_100.builder()).await;
    let fixed = measure(PER_SHARD_100, 1_000, FIXED).await;
    assert_eq!((default.counts, default.latencies), (fixed.counts, fixed.latencies));
}

#[tokio::test(start_paused = true)]
#[ignore = "prints the table in the documentation of `Linger`"]
async fn print_linger_table() {
    let heads = LINGERS.map(|linger| format!("`{linger:?}`")).join(" | ");
    println!("| aggregation | records/s | {heads} |");
    println!("|---|---|---|---|---|");
    for packing in PACKINGS {
        for per_second in [100, 1_000, 10_000] {
            let mut cells = String::new();
            for linger in LINGERS {
                let measured = measure(packing, per_second, linger).await;
                assert!(measured.slowest() <= linger.ceiling() + 2 * ROUND_TRIP);
                cells += &format!(" {measured} |");
            }
            println!("| {packing} | {per_second} |{cells}");
        }
    }
}
