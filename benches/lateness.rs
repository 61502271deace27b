//! How late a 1 ms timer is on a current-thread runtime while records come from a source that is always ready.
//!
//! `cargo bench --bench lateness` prints for each way of sending how late the timer was at most, and the most CPU time
//! of the thread between two turns of another task. The second figure does not count what other processes take. The
//! bench fails if it is over 5 ms.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, KinesisSink, Producer, Record, SinkBuilder};
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{BoxError, Service};

/// The most CPU time between two turns.
const BOUND: Duration = Duration::from_millis(5);
const TICK: Duration = Duration::from_millis(1);
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Each way runs for so long.
const RUN: Duration = Duration::from_millis(500);
const SHARDS: u128 = 16;
const KEYS: usize = 1_000;

/// Delivers everything after a round trip.
#[derive(Clone)]
struct Delivering;

impl Service<PutRecordsRequest> for Delivering {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let placement = |entry: &Entry| {
                let number = hash_of(entry.partition_key().expect("all have one")).get() >> 124;
                Ok(Placement::new(format!("shardId-{number:012}"), "1"))
            };
            Ok(PutRecordsResponse::new(request.entries().iter().map(placement).collect()))
        })
    }
}

fn shards() -> Vec<Shard> {
    let width = (u128::MAX >> 4) + 1;
    let shard = |number| {
        let start = number * width;
        let range = HashRange::new(HashKey::new(start), HashKey::new(start + (width - 1)));
        Shard::new(format!("shardId-{number:012}"), range.expect("in order"))
    };
    (0..SHARDS).map(shard).collect()
}

fn builder(aggregation: Aggregation, is_paced: bool) -> SinkBuilder {
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(aggregation);
    let builder =
        builder.with_stream_info(list_shards_fn(|_| async { Ok::<_, BoxError>(shards()) }));
    match is_paced {
        true => builder,
        false => builder.configure(|settings| {
            settings.limits =
                Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
        }),
    }
}

/// Records without an end.
fn records(bytes: usize) -> impl Iterator<Item = Record> {
    let data = Bytes::from(vec![b'.'; bytes]);
    let keys: Arc<[String]> = (0..KEYS).map(|number| format!("device-{number}")).collect();
    (0..).map(move |number| Record::from((&*keys[number % KEYS], data.clone())))
}

async fn forward(mut sink: KinesisSink<Delivering>, records: impl Iterator<Item = Record>) {
    stream::iter(records).map(Ok).forward(&mut sink).await.expect("all is delivered");
}

async fn forward_to_producer(producer: Producer, records: impl Iterator<Item = Record>) {
    stream::iter(records).map(Ok).forward(producer.sink()).await.expect("all is delivered");
}

async fn send(producer: Producer, records: impl Iterator<Item = Record>) {
    for record in records {
        producer.send(record).await.expect("it is open");
    }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("there is one").into()
}

#[derive(Debug, Clone, Copy)]
struct Lateness {
    timer: Duration,
    turn: Duration,
}

/// Runs `future` beside a timer, and beside a task that is always ready.
async fn watch(future: impl Future<Output = ()>) -> Lateness {
    let turns = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        let (ends, mut before) = (Instant::now() + RUN, cpu_time());
        while Instant::now() < ends {
            yield_now().await;
            let now = cpu_time();
            longest = longest.max(now - before);
            before = now;
        }
        longest
    });
    let timer = tokio::spawn(async {
        let mut latest = Duration::ZERO;
        let ends = Instant::now() + RUN;
        while Instant::now() < ends {
            let at = Instant::now() + TICK;
            sleep_until(at).await;
            latest = latest.max(at.elapsed());
        }
        latest
    });
    let mut future = pin!(future);
    let _ = timeout(RUN, &mut future).await;
    // Only then is the future dropped, and the records with it.
    Lateness { timer: timer.await.expect("no panic"), turn: turns.await.expect("no panic") }
}

const WAYS: [&str; 3] = ["sink, forward", "producer, forward", "producer, send"];

async fn run(way: &str, aggregation: Aggregation, is_paced: bool, bytes: usize) -> Lateness {
    let sink = builder(aggregation, is_paced).build_with(Delivering);
    let (sink, records) = (sink.expect("it is valid"), records(bytes));
    match way {
        "sink, forward" => watch(forward(sink, records)).await,
        "producer, forward" => watch(forward_to_producer(sink.spawn(), records)).await,
        _ => watch(send(sink.spawn(), records)).await,
    }
}

fn print(way: &str, aggregation: &str, pace: &str, bytes: &str, lateness: Lateness) {
    let [timer, turn] = [lateness.timer, lateness.turn].map(|time| time.as_secs_f64() * 1e3);
    println!("{way:18} {aggregation:>9} {pace:>8} {bytes:>7} {timer:>9.1} {turn:>9.1}");
}

fn main() {
    let runtime = || Builder::new_current_thread().enable_time().build().expect("a runtime");
    println!("{:44} {:>9} {:>9}", "", "timer, ms", "turn, ms");
    let idle = runtime().block_on(async { watch(sleep(RUN)).await });
    print("nothing", "", "", "", idle);
    let mut longest = Duration::ZERO;
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        for (way, is_paced) in WAYS.iter().flat_map(|way| [(*way, true), (*way, false)]) {
            for bytes in [100, 1_024, 10_240] {
                let lateness = runtime().block_on(run(way, aggregation, is_paced, bytes));
                longest = longest.max(lateness.turn);
                let pace = if is_paced { "paced" } else { "unpaced" };
                print(way, &format!("{aggregation:?}"), pace, &bytes.to_string(), lateness);
            }
        }
    }
    assert!(longest <= BOUND, "other tasks had no turn for {longest:?}");
}
