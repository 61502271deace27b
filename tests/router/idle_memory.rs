//! Tests that an idle stream holds little memory, and that it is used again without a loss.

use std::collections::HashMap;
use std::time::Duration;

use kinesis_sink::router::RouterSettings;
use kinesis_sink::service::PutRecordsRequest;
use kinesis_sink::sim::{SimRegion, SimStream};
use kinesis_sink::{Aggregation, Record, RecordOrdering, Router};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tower::ServiceBuilder;

use super::fixtures::{open_streams, record, settings};
use crate::support::alloc;
use crate::support::mock_service::{text, unpaced};

const STREAMS: usize = 200;
const RECORDS: usize = 1_000;
/// In bytes.
const MAX_IDLE: usize = 4 * 1024;
/// In bytes. An idle stream keeps the rate and the hash range of each shard.
const PER_FURTHER_SHARD: usize = 160;
/// Time in which an idle stream releases unused memory: two sweeps of the router, at most one minute apart.
const REST: Duration = Duration::from_secs(3 * 60);
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns a stream that never throttles and keeps no records.
fn sim_stream(name: &str, shards: usize) -> SimStream {
    let quota = 1_000_000_000;
    let stream = SimStream::builder().with_name(name).with_shards(shards);
    stream.with_shard_quota(quota, quota).without_written().build().unwrap()
}

/// Returns a router whose streams all are the same stream of the service.
fn route_to_one(settings: RouterSettings, shards: usize) -> Router {
    let stream = sim_stream("example", shards);
    let id = stream.id().clone();
    let same = move |request: PutRecordsRequest| {
        PutRecordsRequest::new(id.clone(), request.entries().to_vec())
    };
    let service = ServiceBuilder::new().map_request(same).service(stream.service());
    Router::builder().with_settings(settings).spawn_with(service).unwrap()
}

/// Opens streams, uses them, and returns the mean size of the memory that each has allocated once it is idle.
async fn idle_bytes(router: &Router, streams: impl IntoIterator<Item = String>) -> usize {
    let before = alloc::current();
    let mut open = 0;
    for stream in streams {
        // The second half is sent when the producer knows the shards.
        for half in 0..2 {
            for n in 0..RECORDS / 2 {
                let record = Record::from((format!("key-{half}-{n}"), "data"));
                router.send_to(&stream, record).await.unwrap();
            }
            router.flush().await.unwrap();
        }
        open += 1;
    }
    sleep(REST).await;
    let bytes = (alloc::current() - before) as usize / open;
    assert_eq!(router.status().open_streams, open);
    println!("{bytes} bytes per idle stream");
    bytes
}

fn names() -> impl Iterator<Item = String> {
    (0..STREAMS).map(|n| format!("stream-{n}"))
}

fn long_lived() -> RouterSettings {
    let mut settings = settings();
    settings.idle_timeout = LONG;
    settings.defaults.limits = unpaced();
    settings
}

#[tokio::test(start_paused = true)]
async fn idle_stream_holds_4_kib() {
    for shards in [1, 4] {
        let bytes = idle_bytes(&route_to_one(long_lived(), shards), names()).await;
        let max = MAX_IDLE + (shards - 1) * PER_FURTHER_SHARD;
        assert!(bytes <= max, "{bytes} bytes with {shards} shards");
        // Gives the drivers time to end.
        sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn idle_stream_without_metrics_holds_4_kib() {
    let mut settings = long_lived();
    settings.defaults.metrics = kinesis_sink::metrics::MetricsGranularity::Off;
    let bytes = idle_bytes(&route_to_one(settings, 1), names()).await;
    assert!(bytes <= MAX_IDLE, "{bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn idle_stream_of_client_holds_4_kib() {
    let region = SimRegion::new();
    for name in names() {
        region.add(sim_stream(&name, 1));
    }
    let router = Router::builder().with_settings(long_lived()).spawn(&region.client()).unwrap();
    let bytes = idle_bytes(&router, names()).await;
    assert!(bytes <= MAX_IDLE, "{bytes} bytes");
}

/// Returns the number of times that the runtime waits for a timer or a wake-up in an hour without records.
async fn parks_of_idle_streams(streams: usize) -> u64 {
    let router = route_to_one(long_lived(), 1);
    for name in names().take(streams) {
        router.send_to(name, record("1")).await.unwrap();
    }
    sleep(REST).await;
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    sleep(Duration::from_secs(60 * 60)).await;
    metrics.worker_park_count(0) - before
}

#[tokio::test(start_paused = true)]
async fn idle_streams_cause_no_wakeups() {
    let [one, many] = [parks_of_idle_streams(1).await, parks_of_idle_streams(STREAMS).await];
    // The timer of the router expires at a number of levels of the timer wheel that depends on the time.
    assert!(many <= one + one / 10, "{many} with {STREAMS} streams, {one} with one");
}

#[tokio::test(start_paused = true)]
async fn stream_in_use_keeps_its_memory() {
    let router = route_to_one(long_lived(), 1);
    let send = async || {
        for n in 0..RECORDS {
            router.send_to("a", record(n)).await.unwrap();
        }
        router.flush().await.unwrap();
    };
    send().await;
    let used = alloc::current();
    for _ in 0..20 {
        sleep(Duration::from_secs(30)).await;
        let kept = alloc::current();
        assert!(kept > used - 4 * 1024, "{} bytes were released", used - kept);
        router.send_to("a", record("1")).await.unwrap();
        router.flush().await.unwrap();
    }
    sleep(REST).await;
    assert!(alloc::current() < used - 4 * 1024);
}

/// Uses a stream, and lets it rest, several times. Returns the stream.
async fn resumed(change: impl FnOnce(&mut RouterSettings)) -> SimStream {
    const KEYS: usize = 10;
    let region = SimRegion::new();
    let stream = SimStream::builder().with_name("a").with_shards(4).build().unwrap();
    region.add(stream.clone());
    let mut settings = settings();
    settings.idle_timeout = LONG;
    change(&mut settings);
    let router = Router::builder().with_settings(settings).spawn(&region.client()).unwrap();
    let mut sent = 0;
    for phase in 0..4 {
        let mut receipts = Vec::new();
        for _ in 0..100 * (phase + 1) {
            let record = Record::from((format!("key-{}", sent % KEYS), sent.to_string()));
            receipts.push(router.put_to("a", record).await.unwrap());
            sent += 1;
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        sleep(REST).await;
        assert_eq!(open_streams(&router), ["a"]);
    }
    assert_eq!(router.stream_status("a").unwrap().totals.delivered as usize, sent);
    assert_eq!(router.status().opened, 1);
    router.close().await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn idle_stream_is_used_again() {
    resumed(|_| ()).await;
}

#[tokio::test(start_paused = true)]
async fn idle_ordered_stream_is_used_again() {
    let stream = resumed(|settings| settings.defaults.ordering = RecordOrdering::PerKey).await;
    let mut last = HashMap::new();
    let written = stream.written();
    for written in &written {
        let number: usize = text(written.data()).parse().unwrap();
        let earlier = last.insert(written.partition_key().to_owned(), number);
        assert!(earlier < Some(number), "{earlier:?} is before {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_aggregating_stream_is_used_again() {
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        resumed(|settings| settings.defaults.aggregation = aggregation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn resharded_idle_stream_is_used_again() {
    let region = SimRegion::new();
    region.add(sim_stream("a", 2));
    let router = Router::builder().with_settings(long_lived()).spawn(&region.client()).unwrap();
    let send = async |records| {
        for n in 0..records {
            router.send_to("a", Record::from((format!("key-{n}"), "data"))).await.unwrap();
        }
        router.flush().await.unwrap();
    };
    send(100).await;
    sleep(REST).await;
    region.get("a").unwrap().update_shard_count(4).unwrap();
    send(100).await;
    sleep(REST).await;
    send(100).await;
    assert_eq!(router.status().totals.delivered, 300);
    assert_eq!(router.status().totals.failed, 0);
}
