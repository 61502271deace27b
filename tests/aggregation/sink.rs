//! Tests of aggregating sinks: settings, shard listings, receipts, and buffer limits.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, StreamExt, future, stream};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::settings::Linger;
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::stream::list_shards_fn;
use kinesis_sink::{Aggregation, BuildError, KinesisSink, Record, SinkBuilder};
use tokio::time::{Instant, sleep};
use tower::BoxError;
use tracing::Level;

use crate::support::logs::Logs;
use crate::support::mock_service::{MockService, service_error, text};

fn builder(aggregation: Aggregation) -> SinkBuilder {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(aggregation)
}

fn quarters() -> Vec<Shard> {
    even_shards(4)
}

fn even_shards(count: u128) -> Vec<Shard> {
    let width = u128::MAX / count;
    let shard = |index: u128| {
        let end = if index + 1 == count { u128::MAX } else { (index + 1) * width - 1 };
        let range = HashRange::new(HashKey::new(index * width), HashKey::new(end)).unwrap();
        Shard::new(format!("shard-{index}"), range)
    };
    (0..count).map(shard).collect()
}

fn deliver_to(request: &PutRecordsRequest, shards: &[Shard]) -> PutRecordsResponse {
    let results = request.entries().iter().enumerate().map(|(number, entry)| {
        let key_hash = || hash_of(entry.partition_key().unwrap());
        let hash = entry.explicit_hash_key().unwrap_or_else(key_hash);
        let shard = shards.iter().find(|shard| shard.range().contains(hash)).unwrap();
        Ok(Placement::new(shard.id(), number.to_string()))
    });
    PutRecordsResponse::new(results.collect())
}

fn four_shards() -> MockService {
    MockService::new(|_, request| Ok(deliver_to(request, &quarters())))
}

fn keyed(range: std::ops::Range<usize>, keys: usize) -> impl Iterator<Item = Record> + Clone {
    range.map(move |number| Record::from((format!("key-{}", number % keys), number.to_string())))
}

fn members(request: &PutRecordsRequest) -> Vec<usize> {
    request.entries().iter().map(|entry| deaggregate(entry.data()).len()).collect()
}

#[tokio::test(start_paused = true)]
async fn per_shard_packs_thousands_per_entry() {
    let service = four_shards();
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = lists.clone();
    let list = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, BoxError>(quarters()) }
    };
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let mut sink = builder.build_with(service.clone()).unwrap();
    let records = stream::iter(keyed(0..20_000, 1_000)).map(Ok);
    records.forward(&mut sink).await.unwrap();
    let totals = sink.totals();
    assert_eq!((totals.delivered, totals.failed), (20_000, 0));
    assert!(totals.entries <= 12, "{} entries", totals.entries);
    assert!(totals.entry_bytes < totals.delivered_bytes * 2, "repeated keys: {totals:?}");
    assert_eq!(lists.load(Ordering::SeqCst), 1);
    let mut found: Vec<usize> = service
        .requests()
        .iter()
        .flat_map(|request| request.entries().to_vec())
        .flat_map(|entry| deaggregate(entry.data()))
        .map(|member| text(member.data()).parse().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn per_shard_supports_thousands_of_shards() {
    let service = MockService::new(|_, request| Ok(deliver_to(request, &even_shards(2_500))));
    let list = |_| async { Ok::<_, BoxError>(even_shards(2_500)) };
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let mut sink = builder.build_with(service.clone()).unwrap();
    stream::iter(keyed(0..10_000, 5_000)).map(Ok).forward(&mut sink).await.unwrap();
    let totals = sink.totals();
    assert_eq!((totals.delivered, totals.misplaced, totals.requeued), (10_000, 0, 0));
    let shards: HashSet<_> =
        (0..5_000).map(|key| hash_of(&format!("key-{key}")).get() / (u128::MAX / 2_500)).collect();
    assert_eq!(totals.entries, shards.len() as u64, "one entry per shard with a key");
}

#[tokio::test(start_paused = true)]
async fn failed_listing_falls_back_to_per_key() {
    let logs = Logs::listen(Level::WARN);
    let service = four_shards();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let list = move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0..4 => Err(service_error("AccessDeniedException")),
                4 => panic!("in the lister"),
                _ => Ok(quarters()),
            }
        }
    };
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let mut sink = builder.build_with(service.clone()).unwrap();
    for record in keyed(0..300, 100) {
        sink.feed(record).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(members(&service.requests()[0]), vec![3; 100]);
    while calls.load(Ordering::SeqCst) < 6 {
        sleep(Duration::from_secs(1)).await;
        sink.flush().await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    sink.flush().await.unwrap();
    let before = service.requests().len();
    for record in keyed(0..300, 100) {
        sink.feed(record).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(service.requests()[before].entries().len(), 4, "one entry per shard");
    let lines = logs.with("");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("cannot be listed") && lines[0].contains("AccessDenied"),
        "{lines:?}"
    );
}

#[derive(Debug)]
struct PanicsInDisplay;

impl std::fmt::Display for PanicsInDisplay {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in Display")
    }
}

impl std::error::Error for PanicsInDisplay {}

fn listers_that_fail_once() -> [Box<Lister>; 4] {
    [
        Box::new(|call| match call {
            0 => panic!("in the lister, before it returns"),
            _ => future::ready(Ok(quarters())).boxed(),
        }),
        Box::new(|call| match call {
            0 => async { panic!("in the future of the lister") }.boxed(),
            _ => future::ready(Ok(quarters())).boxed(),
        }),
        Box::new(|call| match call {
            0 => future::ready(Err(PanicsInDisplay.into())).boxed(),
            _ => future::ready(Ok(quarters())).boxed(),
        }),
        Box::new(|call| match call {
            0 => future::pending().boxed(),
            _ => future::ready(Ok(quarters())).boxed(),
        }),
    ]
}

type Lister = dyn Fn(usize) -> BoxFuture<'static, Result<Vec<Shard>, BoxError>> + Send + Sync;

#[tokio::test(start_paused = true)]
async fn panicking_or_hanging_lister_is_retried() {
    for lister in listers_that_fail_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let list = move |_| lister(counted.fetch_add(1, Ordering::SeqCst));
        let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
        let producer = builder.build_with(four_shards()).unwrap().spawn();
        let begun = Instant::now();
        producer.put(Record::from(("k", "data"))).await.unwrap().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2, "the listing is not retried");
        producer.close().await.unwrap();
    }
}

#[test]
fn sink_recovers_from_poll_outside_runtime() {
    let list = |_| async { Ok::<_, BoxError>(quarters()) };
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let mut sink = builder.build_with(four_shards()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| Pin::new(&mut sink).poll_ready(&mut cx).is_ready());
    assert!(catch_unwind(poll).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(sink.send(Record::from(("k", "data")))).unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_listing_outage_is_logged_once() {
    let logs = Logs::listen(Level::WARN);
    let calls = AtomicUsize::new(0);
    // The sink lists the shards again, because the response names an unlisted shard and thus invalidates the list.
    let list = move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 | 2 => Err(service_error("AccessDeniedException")),
                _ => Ok(quarters()),
            }
        }
    };
    let service = MockService::new(|call, request| {
        Ok(match call {
            1 => PutRecordsResponse::new(vec![Ok(Placement::new("elsewhere", "1"))]),
            _ => deliver_to(request, &quarters()),
        })
    });
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let producer = builder.build_with(service).unwrap().spawn();
    for _ in 0..3 {
        sleep(Duration::from_secs(10)).await;
        for key in ["a", "h"] {
            producer.send(Record::from((key, key))).await.unwrap();
        }
        producer.flush().await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(producer.status().totals.delivered, 6);
    assert_eq!(logs.with("cannot be listed").len(), 2, "{:?}", logs.with(""));
}

#[tokio::test(start_paused = true)]
async fn unneeded_lister_does_not_delay_send() {
    for aggregation in [Aggregation::Off, Aggregation::PerKey] {
        let list = |_| async { panic!("in the lister") };
        let builder = builder(aggregation).with_stream_info(list_shards_fn(list));
        let mut sink = builder.build_with(four_shards()).unwrap();
        let begun = Instant::now();
        sink.send(Record::from(("k", "data"))).await.unwrap();
        assert!(begun.elapsed() <= Duration::from_millis(120));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_sink_lists_shards_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let list = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, BoxError>(quarters()) }
    };
    let builder = builder(Aggregation::PerShard).with_stream_info(list_shards_fn(list));
    let producer = builder.build_with(four_shards()).unwrap().spawn();
    sleep(Duration::from_secs(3_600)).await;
    producer.put(Record::from(("k", "data"))).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn merge_is_detected_without_requeues() {
    // After the tenth request, the four shards are merged into two. Listings show the merge immediately.
    let requests = Arc::new(AtomicUsize::new(0));
    let halves = || {
        let half = u128::MAX / 2;
        let range = |start, end| HashRange::new(HashKey::new(start), HashKey::new(end)).unwrap();
        vec![Shard::new("low", range(0, half)), Shard::new("high", range(half + 1, u128::MAX))]
    };
    let current = move |done: usize| if done < 10 { quarters() } else { halves() };
    let counted = requests.clone();
    let seen = requests.clone();
    let service = MockService::new(move |_, request| {
        Ok(deliver_to(request, &current(counted.fetch_add(1, Ordering::SeqCst))))
    });
    let list = move |_| {
        let shards = current(seen.load(Ordering::SeqCst));
        async move { Ok::<_, BoxError>(shards) }
    };
    let builder = builder(Aggregation::PerShard)
        .with_stream_info(list_shards_fn(list))
        .configure(|settings| settings.aggregate_bytes = 2_000);
    let mut sink = builder.build_with(service.clone()).unwrap();
    let mut receipts = Vec::new();
    for round in 0..30 {
        for record in keyed(round * 100..(round + 1) * 100, 50) {
            let (record, receipt) = record.tracked();
            sink.feed(record).await.unwrap();
            receipts.push(receipt);
        }
        sink.flush().await.unwrap();
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let totals = sink.totals();
    assert_eq!(totals.delivered, 3_000);
    assert_eq!(totals.requeued, 0, "after a merge each aggregate fits one shard");
    assert_eq!(service.requests().last().unwrap().entries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn receipt_returns_sub_sequence_number() {
    let service = MockService::delivering();
    let producer = builder(Aggregation::PerKey).build_with(service).unwrap().spawn();
    let mut receipts = Vec::new();
    for number in 0..5 {
        receipts.push(producer.put(Record::from(("k", number.to_string()))).await.unwrap());
    }
    for (number, receipt) in receipts.into_iter().enumerate() {
        let delivery = receipt.await.unwrap();
        assert_eq!(delivery.sub_sequence_number(), Some(number as u64));
        assert_eq!(delivery.sequence_number(), "0");
    }
    let plain = producer.put(Record::from(("k", "alone"))).await.unwrap().await.unwrap();
    assert_eq!(plain.sub_sequence_number(), None);
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn default_linger_is_100_ms() {
    for (linger, expected) in [
        (None, 100),
        (Some(Linger::Fixed(Duration::from_millis(300))), 300),
        (Some(Linger::Adaptive(Duration::from_millis(300))), 0),
    ] {
        let builder = builder(Aggregation::PerKey);
        let builder = match linger {
            Some(linger) => builder.with_linger(linger),
            None => builder,
        };
        let mut sink = builder.build_with(MockService::delivering()).unwrap();
        let begun = Instant::now();
        sink.send(Record::from(("k", "data"))).await.unwrap();
        let round_trip = 20;
        assert_eq!(begun.elapsed(), Duration::from_millis(expected + round_trip), "{linger:?}");
    }
}

#[test]
fn builder_debug_shows_effective_settings() {
    let shown = format!("{:?}", builder(Aggregation::PerKey));
    assert!(
        shown.contains("Fixed(100ms)") && shown.contains("buffer_records: Some(100000)"),
        "{shown}"
    );
    let set = builder(Aggregation::PerKey).with_linger(Linger::Fixed(Duration::from_secs(7)));
    let shown = format!("{:?}", set.configure(|settings| settings.buffer_records = Some(77)));
    assert!(shown.contains("Fixed(7s)") && shown.contains("buffer_records: Some(77)"), "{shown}");
    assert!(format!("{:?}", builder(Aggregation::Off)).contains("buffer_records: Some(10000)"));
}

#[tokio::test]
async fn build_rejects_invalid_aggregation_settings() {
    let build = |builder: SinkBuilder| builder.build_with(MockService::delivering());
    let error = build(builder(Aggregation::PerShard)).unwrap_err();
    assert_eq!(error, BuildError::NoListShards);
    assert!(error.to_string().contains("with_stream_info"), "{error}");
    let error =
        build(builder(Aggregation::PerKey).configure(|settings| settings.aggregate_bytes = 0))
            .unwrap_err();
    assert_eq!(error.to_string(), "aggregate_bytes is 0B; set it between 1B and 10MiB");
    let error =
        build(builder(Aggregation::PerKey).configure(|settings| settings.aggregate_records = 0))
            .unwrap_err();
    assert_eq!(error.to_string(), "aggregate_records is 0; set it between 1 and 4294967295");
}

#[tokio::test(start_paused = true)]
async fn aggregation_raises_default_buffer_limit() {
    let stalled = MockService::delivering().with_round_trip(Duration::from_secs(3_600));
    let mut sink = builder(Aggregation::Off).build_with(stalled.clone()).unwrap();
    let endless = stream::iter(keyed(0..200_000, 7)).map(Ok);
    let forward = tokio::time::timeout(Duration::from_secs(60), endless.forward(&mut sink));
    assert!(forward.await.is_err(), "the sink accepts more than its limit");
    assert_eq!(sink.status().queued.records + sink.status().in_flight.records, 10_000);
    let mut sink = builder(Aggregation::PerKey).build_with(stalled).unwrap();
    let endless = stream::iter(keyed(0..200_000, 7)).map(Ok);
    let forward = tokio::time::timeout(Duration::from_secs(60), endless.forward(&mut sink));
    assert!(forward.await.is_err(), "the sink accepts more than its limit");
    assert_eq!(sink.status().queued.records + sink.status().in_flight.records, 100_000);
    assert_eq!(sink.buffered_records().len(), 100_000);
    let bytes: usize = sink.buffered_records().iter().map(|record| record.size()).sum();
    assert_eq!(sink.status().buffered().bytes, bytes);
    let taken = sink.take_undelivered();
    let numbers: Vec<usize> =
        taken.iter().map(|record| text(record.record().data()).parse().unwrap()).collect();
    assert_eq!(numbers, (0..100_000).collect::<Vec<_>>());
}
