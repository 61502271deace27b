//! Tests that faulty streams do not affect the others: their throughput, and the time from `put_to` to the delivery.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::future;
use kinesis_sink::router::RouterSettings;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::sim::{Faults, Latency, SimRegion, SimStream};
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{Record, Router};
use tokio::time::{Instant, sleep_until};
use tower::ServiceBuilder;

use super::ms;

const STREAMS: usize = 10;

/// Quota of each of the two shards of a stream, in records per second.
const QUOTA: u32 = 250;

/// Records per second that are offered to each stream: 60 % of its quota.
const RATE: u64 = 300;

const WARM_UP: Duration = ms(2_000);
const END: Duration = ms(22_000);

/// Fault of a stream during the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Accepts 1 % of its quota.
    Throttled,
    /// Responds after 9 s.
    Slow,
    Missing,
    Denied,
}

/// Deliveries of one stream.
struct Deliveries {
    /// Number of records that were delivered during the measurement.
    count: usize,
    /// Time within which 99 % of the records offered during the measurement were delivered after they were offered.
    p99: Duration,
}

fn stream(index: usize, fault: Fault) -> SimStream {
    let latency = match fault {
        Fault::Slow => Latency::constant(ms(9_000)),
        _ => Latency::log_normal(ms(20), 0.3),
    };
    let faults = match fault {
        Fault::Denied => Faults::default().with_outage("AccessDeniedException", 400),
        _ => Faults::default(),
    };
    let builder = SimStream::builder()
        .with_name(format!("stream-{index}"))
        .with_seed(index as u64)
        .with_shards(2)
        .with_shard_quota(QUOTA, 1 << 20)
        .with_latency(latency)
        .with_faults(faults)
        .with_load(if fault == Fault::Throttled { 0.99 } else { 0.0 })
        .without_written();
    builder.build().expect("the settings are valid")
}

/// Offers records to a stream at a constant rate, whether or not they are accepted. Each record has its own task.
async fn offer(router: Router, index: usize, start: Instant) -> Vec<(Duration, Option<Duration>)> {
    let name: Arc<str> = format!("stream-{index}").into();
    let mut rng = Rng::with_seed(index as u64);
    let mut puts = Vec::new();
    for number in 0..RATE * END.as_secs() {
        let offered = Duration::from_secs_f64(number as f64 / RATE as f64);
        sleep_until(start + offered).await;
        let record = Record::from(Bytes::from_static(&[b'.'; 200]));
        let record = record.with_partition_key(format!("key-{}", rng.u8(..100)));
        let (router, name) = (router.clone(), name.clone());
        puts.push(tokio::spawn(async move {
            let receipt = router.put_to(&name, record).await.ok()?;
            receipt.await.ok()?;
            Some(start.elapsed())
        }));
    }
    let mut times = Vec::new();
    for (number, put) in puts.into_iter().enumerate() {
        let offered = Duration::from_secs_f64(number as f64 / RATE as f64);
        let delivered = if put.is_finished() { put.await.expect("no put panics") } else { None };
        times.push((offered, delivered));
    }
    times
}

/// Runs all streams. Returns the deliveries of each stream.
async fn run(faults: [Fault; STREAMS], settings: &RouterSettings) -> Vec<Deliveries> {
    let region = SimRegion::new();
    for (index, fault) in faults.into_iter().enumerate() {
        if fault != Fault::Missing {
            region.add(stream(index, fault));
        }
    }
    let service =
        ServiceBuilder::new().layer(TimeoutLayer::new(ms(10_000))).service(region.service());
    let builder = Router::builder().with_settings(settings.clone());
    let builder =
        builder.configure_stream(move |_, builder| builder.with_stream_info(region.clone()));
    let router = builder.spawn_with(service).expect("the settings are valid");
    let start = Instant::now();
    let offers = (0..STREAMS).map(|index| tokio::spawn(offer(router.clone(), index, start)));
    let times = future::join_all(offers).await.into_iter();
    times.map(|times| deliveries(&times.expect("no task panics"), WARM_UP..END)).collect()
}

fn deliveries(times: &[(Duration, Option<Duration>)], window: Range<Duration>) -> Deliveries {
    let delivered = times.iter().filter_map(|(offered, delivered)| Some((*offered, (*delivered)?)));
    let count = delivered.clone().filter(|(_, delivered)| window.contains(delivered)).count();
    // The last records can still be in the buffer.
    let window = window.start..window.end - ms(1_000);
    let delivered = delivered.filter(|(offered, _)| window.contains(offered));
    let mut waits: Vec<_> = delivered.map(|(offered, delivered)| delivered - offered).collect();
    waits.sort_unstable();
    Deliveries { count, p99: waits.get(waits.len() * 99 / 100).copied().unwrap_or_default() }
}

/// Checks that the streams without faults keep 95 % of their throughput, and that the 99th percentile of their times from
/// `put_to` to the delivery grows by at most a half.
async fn check(faults: [Fault; STREAMS], settings: &RouterSettings) {
    let reference = run([Fault::None; STREAMS], settings).await;
    let with_faults = run(faults, settings).await;
    for (index, fault) in faults.into_iter().enumerate() {
        let [before, after] = [&reference[index], &with_faults[index]];
        let share = after.count as f64 / before.count as f64;
        let growth = after.p99.as_secs_f64() / before.p99.as_secs_f64();
        println!(
            "stream-{index} ({fault:?}): {} of {} records ({:.1} %), p99 {:.1?} of {:.1?} ({growth:.2})",
            after.count,
            before.count,
            100.0 * share,
            after.p99,
            before.p99
        );
        if fault == Fault::None {
            assert!(share >= 0.95, "stream-{index} keeps {:.1} %", 100.0 * share);
            assert!(growth <= 1.5, "the p99 of stream-{index} grows {growth:.2} times");
        }
    }
}

fn settings(policy: FatalPolicy) -> RouterSettings {
    let mut settings = RouterSettings::default();
    settings.defaults.seed = Some(1);
    settings.defaults.fatal_policy = policy;
    settings
}

#[tokio::test(start_paused = true)]
async fn throttled_and_slow_streams_are_isolated() {
    let mut faults = [Fault::None; STREAMS];
    (faults[3], faults[7]) = (Fault::Throttled, Fault::Slow);
    check(faults, &settings(FatalPolicy::Stop)).await;
}

#[tokio::test(start_paused = true)]
async fn missing_and_denied_streams_are_isolated() {
    let mut faults = [Fault::None; STREAMS];
    (faults[0], faults[4], faults[9]) = (Fault::Missing, Fault::Denied, Fault::Missing);
    for policy in [FatalPolicy::Stop, FatalPolicy::Retry] {
        check(faults, &settings(policy)).await;
    }
}

/// The buffer of each stream is larger than its share of the budget, so the budget alone protects the other streams.
#[tokio::test(start_paused = true)]
async fn faulty_streams_are_isolated_by_small_budget() {
    let mut faults = [Fault::None; STREAMS];
    (faults[3], faults[7]) = (Fault::Throttled, Fault::Slow);
    let mut settings = settings(FatalPolicy::Stop);
    settings.budget.buffer_records = 2_000;
    settings.budget.max_in_flight = 40;
    check(faults, &settings).await;
}
