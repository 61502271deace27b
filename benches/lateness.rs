//! Measures the delay of a 1 ms timer on a current-thread runtime while the source of the records is always ready.
//!
//! `cargo bench --bench lateness` prints two figures for each variant: the maximum delay of the timer, and the maximum
//! CPU time of the thread between two polls of another task. The bench fails if the second figure exceeds 5 ms, because
//! other processes do not affect it.

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

/// Maximum CPU time between two polls of another task.
const MAX_POLL_GAP: Duration = Duration::from_millis(5);
const TICK: Duration = Duration::from_millis(1);
const ROUND_TRIP: Duration = Duration::from_millis(20);
const RUN: Duration = Duration::from_millis(500);
const SHARDS: u128 = 16;
const KEYS: usize = 1_000;

#[derive(Clone)]
struct MockService;

impl Service<PutRecordsRequest> for MockService {
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
                let number =
                    hash_of(entry.partition_key().expect("entries have keys")).get() >> 124;
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
        Shard::new(format!("shardId-{number:012}"), range.expect("the range is not empty"))
    };
    (0..SHARDS).map(shard).collect()
}

fn builder(aggregation: Aggregation, is_rate_limited: bool) -> SinkBuilder {
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(aggregation);
    let builder =
        builder.with_stream_info(list_shards_fn(|_| async { Ok::<_, BoxError>(shards()) }));
    if is_rate_limited {
        return builder;
    }
    let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
    builder.configure(|settings| settings.limits = limits)
}

fn records(bytes: usize) -> impl Iterator<Item = Record> {
    let data = Bytes::from(vec![b'.'; bytes]);
    let keys: Arc<[String]> = (0..KEYS).map(|number| format!("device-{number}")).collect();
    (0..).map(move |number| Record::from((&*keys[number % KEYS], data.clone())))
}

async fn forward(mut sink: KinesisSink<MockService>, records: impl Iterator<Item = Record>) {
    stream::iter(records).map(Ok).forward(&mut sink).await.expect("all records are delivered");
}

async fn forward_to_producer(producer: Producer, records: impl Iterator<Item = Record>) {
    stream::iter(records)
        .map(Ok)
        .forward(producer.sink())
        .await
        .expect("all records are delivered");
}

async fn send(producer: Producer, records: impl Iterator<Item = Record>) {
    for record in records {
        producer.send(record).await.expect("the producer is open");
    }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Unix has this clock").into()
}

#[derive(Debug, Clone, Copy)]
struct Lateness {
    timer_delay: Duration,
    poll_gap: Duration,
}

/// Runs `future` concurrently with a timer and with a task that is always ready.
async fn watch(future: impl Future<Output = ()>) -> Lateness {
    let poll_gap = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        let end = Instant::now() + RUN;
        let mut previous = cpu_time();
        while Instant::now() < end {
            yield_now().await;
            let now = cpu_time();
            longest = longest.max(now - previous);
            previous = now;
        }
        longest
    });
    let timer_delay = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        let end = Instant::now() + RUN;
        while Instant::now() < end {
            let deadline = Instant::now() + TICK;
            sleep_until(deadline).await;
            longest = longest.max(deadline.elapsed());
        }
        longest
    });
    let mut future = pin!(future);
    let _ = timeout(RUN, &mut future).await;
    // `future` is dropped after the measurement, because dropping the buffered records takes time.
    Lateness {
        timer_delay: timer_delay.await.expect("the task does not panic"),
        poll_gap: poll_gap.await.expect("the task does not panic"),
    }
}

const VARIANTS: [&str; 3] = ["sink, forward", "producer, forward", "producer, send"];

async fn run(
    variant: &str,
    aggregation: Aggregation,
    is_rate_limited: bool,
    bytes: usize,
) -> Lateness {
    let sink = builder(aggregation, is_rate_limited).build_with(MockService);
    let (sink, records) = (sink.expect("the settings are valid"), records(bytes));
    match variant {
        "sink, forward" => watch(forward(sink, records)).await,
        "producer, forward" => watch(forward_to_producer(sink.spawn(), records)).await,
        _ => watch(send(sink.spawn(), records)).await,
    }
}

fn print(variant: &str, aggregation: &str, rate_limit: &str, bytes: &str, lateness: Lateness) {
    let Lateness { timer_delay, poll_gap } = lateness;
    let [timer_ms, gap_ms] = [timer_delay, poll_gap].map(|time| time.as_secs_f64() * 1e3);
    println!(
        "{variant:18} {aggregation:>11} {rate_limit:>10} {bytes:>7} {timer_ms:>15.1} {gap_ms:>12.1}"
    );
}

fn main() {
    let runtime =
        || Builder::new_current_thread().enable_time().build().expect("failed to build a runtime");
    println!(
        "{:18} {:>11} {:>10} {:>7} {:>15} {:>12}",
        "variant", "aggregation", "rate limit", "bytes", "timer delay, ms", "poll gap, ms"
    );
    let idle = runtime().block_on(async { watch(sleep(RUN)).await });
    print("idle", "", "", "", idle);
    let mut longest = Duration::ZERO;
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        let variants = VARIANTS.iter().flat_map(|variant| [(*variant, true), (*variant, false)]);
        for (variant, is_rate_limited) in variants {
            for bytes in [100, 1_024, 10_240] {
                let lateness =
                    runtime().block_on(run(variant, aggregation, is_rate_limited, bytes));
                longest = longest.max(lateness.poll_gap);
                let rate_limit = if is_rate_limited { "yes" } else { "no" };
                print(
                    variant,
                    &format!("{aggregation:?}"),
                    rate_limit,
                    &bytes.to_string(),
                    lateness,
                );
            }
        }
    }
    assert!(longest <= MAX_POLL_GAP, "another task was not polled for {longest:?}");
}
