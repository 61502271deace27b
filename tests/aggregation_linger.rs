//! What waiting for fuller aggregates costs and brings: packing and latency for each linger, in virtual
//! time. The table in the documentation of `Linger` is printed by
//!
//! ```sh
//! cargo test --test aggregation_linger -- --ignored --nocapture
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::{
    Aggregation, HashKey, KinesisSink, Linger, Receipt, Record, SinkBuilder, StreamId,
};
use tokio::time::{MissedTickBehavior, interval};
use tower::{BoxError, Service};

const ROUND_TRIP: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(10);
const MS_100: Duration = Duration::from_millis(100);
const RECORD_BYTES: usize = 100;

/// A stream of four shards, each with a quarter of the ring.
fn shard(number: u128) -> Shard {
    let start = number << 126;
    let range = HashRange::new(HashKey::new(start), HashKey::new(start + ((1 << 126) - 1)));
    Shard::new(format!("shardId-{number:012}"), range.unwrap())
}

async fn shards(_: StreamId) -> Result<Vec<Shard>, BoxError> {
    Ok((0..4).map(shard).collect())
}

/// Takes everything, puts each entry into its shard, and counts.
#[derive(Clone, Default)]
struct FourShards(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Default)]
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
            let key = entry.partition_key().expect("every entry has one");
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

/// How the records are packed.
#[derive(Debug, Clone, Copy)]
struct Packing {
    aggregation: Aggregation,
    /// 0: records without a key.
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
            // Not one key after the other: any key may come next.
            keys => record.with_partition_key(format!("device-{}", number * 7_919 / 13 % keys)),
        }
    }

    fn builder(self, linger: Linger) -> SinkBuilder {
        let builder = KinesisSink::builder().with_aggregation(self.aggregation);
        builder.with_linger(linger).with_list_shards(shards).with_seed(1)
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

/// What came of a source that ran for ten seconds.
struct Measured {
    counts: Counts,
    /// From acceptance to delivery, in order.
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

/// Numbers, evenly over the time: one each tick up to 1,000 a second, several each millisecond above.
fn source(per_second: usize) -> impl Stream<Item = usize> {
    let per_tick = per_second.div_ceil(1_000);
    let every = Duration::from_secs(1) * per_tick as u32 / per_second as u32;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let ticks = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some(((), ticks))
    });
    let bursts = ticks.map(move |()| stream::iter(0..per_tick)).flatten();
    bursts.enumerate().map(|(number, _)| number).take(per_second * LONG.as_secs() as usize)
}

async fn measure(packing: Packing, per_second: usize, linger: Linger) -> Measured {
    let service = FourShards::default();
    let mut sink = packing.builder(linger).build_with(service.clone(), "example").unwrap();
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

const FILL: Linger = Linger::Fill(MS_100);
const SELF_CLOCKED: Linger = Linger::SelfClocked(MS_100);
const FILL_LONG: Linger = Linger::Fill(Duration::from_secs(1));

#[tokio::test(start_paused = true)]
#[ignore = "prints the table of the documentation"]
async fn table() {
    println!(
        "| packing | records/s | linger | requests | Kinesis records | records in each | median | 99 % | slowest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for packing in [PER_KEY_1, WITHOUT_KEY, PER_SHARD_100, PER_KEY_100] {
        for per_second in [100, 1_000, 10_000] {
            for linger in [SELF_CLOCKED, FILL, FILL_LONG] {
                let measured = measure(packing, per_second, linger).await;
                let Counts { requests, entries, .. } = measured.counts;
                let [median, most, slowest] =
                    [50, 99, 100].map(|percent| measured.percentile(percent).as_millis());
                println!(
                    "| {packing} | {per_second} | `{linger:?}` | {requests} | {entries} | {:.1} | {median} ms | {most} ms | {slowest} ms |",
                    measured.per_entry()
                );
            }
        }
    }
}
