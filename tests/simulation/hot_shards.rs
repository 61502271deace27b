//! Proves that a hot shard delays only its records, in a producer that many tasks share.
//!
//! 56 tasks send to the other shards in a closed loop, and 8 tasks send only to the hot shard. The throughput of the 56
//! tasks is compared with a run without the 8 tasks. Everything else is equal, and the settings are the defaults. See
//! [`Load::new`].

mod load;
mod run;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kinesis_sink::settings::{Aggregation, Linger};
use kinesis_sink::{ErrorKind, RecordOrdering, Settings};
use tokio::time::sleep;

use self::load::{HOT_SHARD, Keys, Load, OTHERS, Way, number_of};
use self::run::{Run, run};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Minimum throughput of the other tasks, relative to the run without hot tasks.
const MIN_SHARE: f64 = 0.95;

/// Runs the load without and with hot tasks. Returns the second run, and the throughput of the other tasks in this run,
/// relative to the first.
async fn compare(load: Load) -> (Run, f64) {
    let [without, with] = [run(&load, false).await, run(&load, true).await];
    let window = with.window();
    let share = print(&load, &without, &with, &window);
    (with, share)
}

fn print(load: &Load, without: &Run, with: &Run, window: &std::ops::Range<Duration>) -> f64 {
    let [reference, throughput] = [without, with].map(|run| run.throughput(window));
    let share = throughput / reference;
    let Load { shards, hot_tasks, hot_load, way, keys, .. } = load;
    let hot = with.hot_buffered();
    println!(
        "{shards} shards, {way:?}, {keys:?}, {hot_tasks} hot tasks, load {hot_load}: {throughput:.0} of \
         {reference:.0} records/s ({:.1} %), {hot} hot records buffered",
        100.0 * share
    );
    share
}

/// Checks that the hot tasks neither slow down the other tasks nor hold more than half of the buffer.
async fn check(load: Load) -> Run {
    let (bytes, slack) = (load.bytes as u64, 2 * load.hot_tasks as u64);
    let (with, share) = compare(load).await;
    assert!(share >= MIN_SHARE, "the other tasks keep {:.1} %", 100.0 * share);
    // A hot task can have taken two more records from its source.
    let hot = with.hot_buffered().saturating_sub(slack);
    assert!(2 * hot <= with.capacity.records as u64, "{hot} hot records are buffered");
    assert!(2 * hot * bytes <= with.capacity.bytes as u64, "{hot} hot records are buffered");
    with
}

#[tokio::test(start_paused = true)]
async fn send_is_isolated_from_hot_shard_of_4() {
    check(Load { time: secs(30), ..Load::new(4, Way::Send) }).await;
}

#[tokio::test(start_paused = true)]
async fn send_is_isolated_from_hot_shard_of_8() {
    check(Load { time: secs(30), ..Load::new(8, Way::Send) }).await;
}

/// The hot shard accepts as many records as the others, so the shares of 8 hot tasks do not fill it. Those of 64 do.
#[tokio::test(start_paused = true)]
async fn send_is_isolated_from_equal_shard() {
    for shards in [4, 8] {
        for hot_tasks in [8, 64] {
            check(Load { hot_load: 0.0, hot_tasks, ..Load::new(shards, Way::Send) }).await;
        }
    }
}

/// Other producers use 99 % of the quota of the hot shard.
#[tokio::test(start_paused = true)]
async fn send_is_isolated_from_throttled_shard() {
    check(Load { hot_load: 0.99, ..Load::new(4, Way::Send) }).await;
}

/// The hot tasks start before the shards are known, so their records fill the whole buffer. They keep it for more than
/// the measurement, because other producers use 99 % of the quota.
#[tokio::test(start_paused = true)]
async fn send_is_isolated_after_cold_start() {
    let starts = [Duration::ZERO, secs(1)];
    let load = Load { starts, hot_load: 0.99, warm_up: secs(20), ..Load::new(4, Way::Send) };
    let (_, share) = compare(load).await;
    assert!(share >= MIN_SHARE, "the other tasks keep {:.1} %", 100.0 * share);
}

#[tokio::test(start_paused = true)]
async fn put_is_isolated_from_hot_shard() {
    check(Load::new(4, Way::Put { pending: 2_000 })).await;
}

/// A task that waits for each receipt is as fast as the round trips. It must not wait for the requests of the hot shard.
/// By default, it does, because a partial request waits until the requests in flight complete.
#[tokio::test(start_paused = true)]
async fn put_of_single_record_is_isolated() {
    let configure: fn(&mut Settings) = |settings| settings.linger = Linger::Fixed(Duration::ZERO);
    check(Load { configure, ..Load::new(4, Way::Put { pending: 1 }) }).await;
}

#[tokio::test(start_paused = true)]
async fn put_all_is_isolated_from_hot_shard() {
    check(Load::new(4, Way::PutAll)).await;
}

#[tokio::test(start_paused = true)]
async fn sink_is_isolated_from_hot_shard() {
    check(Load::new(4, Way::Sink)).await;
}

#[tokio::test(start_paused = true)]
async fn service_is_isolated_from_hot_shard() {
    check(Load::new(4, Way::Service)).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_sends_do_not_delay_others() {
    let run = check(Load::new(4, Way::DroppedSends)).await;
    let dropped = run.logs[OTHERS..].iter().map(|log| log.dropped.len());
    assert!(dropped.min() > Some(10), "futures are not dropped");
}

#[tokio::test(start_paused = true)]
async fn dropped_waiters_lose_only_their_places() {
    let load = Load::new(4, Way::Send);
    let (stream, shared) = (load.stream(), Arc::default());
    let producer = load.producer(&stream);
    let [mut hot, mut other] = [OTHERS, 0].map(|task| load.source(task, &stream.shards(), &shared));
    producer.send(other.next().expect("endless")).await.expect("the producer is open");
    producer.flush().await.expect("no record fails");
    let full = hot.by_ref().find_map(|record| producer.try_send(record).err());
    assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::Full));
    producer.try_send(other.next().expect("endless")).expect("other shards have capacity");

    let records: Vec<_> = hot.take(6).collect();
    let numbers: Vec<_> = records.iter().map(|record| number_of(record.data())).collect();
    let futures = records.into_iter().map(|record| Some(Box::pin(producer.send(record))));
    let mut waiting: Vec<_> = futures.collect();
    for future in waiting.iter_mut().flatten() {
        assert!(future.now_or_never().is_none());
    }
    // The fourth future is dropped while it waits.
    waiting[3] = None;
    // The first and the third have been granted capacity when they are dropped, and pass it to the next ones.
    sleep(secs(2)).await;
    (waiting[0], waiting[2]) = (None, None);
    producer.try_send(other.next().expect("endless")).expect("other shards have capacity");
    for future in waiting.into_iter().flatten() {
        future.await.expect("the producer is open");
    }
    producer.close().await.expect("no record fails");
    let written: Vec<_> = stream.written().iter().map(|record| number_of(record.data())).collect();
    let served: Vec<_> = written.into_iter().filter(|number| numbers.contains(number)).collect();
    assert_eq!(served, [numbers[1], numbers[4], numbers[5]]);
}

/// Creates a load without the other tasks, which start after the end of the measurement. Each call of a hot task waits,
/// because a response releases fewer records than there are hot tasks. The capacity that is left when no call waits is
/// not divided equally: the first task that the runtime polls takes all of it.
fn only_hot_tasks(way: Way) -> Load {
    let starts = [Duration::from_millis(100), secs(60)];
    Load { hot_tasks: 64, starts, time: secs(30), ..Load::new(4, way) }
}

#[tokio::test(start_paused = true)]
async fn waiters_of_hot_shard_are_served_fifo() {
    let run = run(&only_hot_tasks(Way::Send), true).await;
    let calls = run.hot_calls();
    assert!(calls.len() > 4_000 && calls.is_sorted(), "waiting calls overtake each other");
}

#[tokio::test(start_paused = true)]
async fn hot_tasks_share_hot_shard_equally() {
    for way in [Way::Send, Way::Put { pending: 2_000 }, Way::PutAll, Way::Sink, Way::Service] {
        let counts = run(&only_hot_tasks(way), true).await.hot_taken();
        let (min, max) = (counts.iter().min(), counts.iter().max());
        let (min, max) = min.zip(max).expect("there are hot tasks");
        assert!(*max as f64 <= 1.1 * *min as f64, "{way:?}: records of each task: {counts:?}");
    }
}

/// The sink learns the shards from the responses, so the hot shard is isolated only after records of other shards.
#[tokio::test(start_paused = true)]
async fn unlisted_hot_shard_is_isolated() {
    let load = Load { lists_shards: false, hot_tasks: 64, ..Load::new(4, Way::Send) };
    check(Load { starts: [secs(5), secs(0)], warm_up: secs(20), ..load }).await;
}

/// The buffer has capacity for 320 records of this size, so the bound for bytes limits it.
#[tokio::test(start_paused = true)]
async fn large_records_of_hot_shard_are_isolated() {
    let (warm_up, time) = (secs(30), secs(60));
    check(Load { bytes: 100 * 1024, warm_up, time, ..Load::new(4, Way::Send) }).await;
}

/// A random key is never drawn in favor of the hot shard, so these records wait neither in `send` nor in the buffer.
#[tokio::test(start_paused = true)]
async fn random_keys_do_not_wait_for_hot_shard() {
    let pause = Duration::from_millis(100);
    for shards in [4, 8] {
        let load = Load { keys: Keys::Random, pause, ..Load::new(shards, Way::Send) };
        let run = check(load).await;
        let max_wait = run.logs[..OTHERS].iter().map(|log| log.max_wait).max();
        let latency = run.latency();
        println!("random keys: {max_wait:?} in `send`, {latency:?} in the buffer");
        assert_eq!(max_wait, Some(Duration::ZERO));
        assert!(latency <= Duration::from_millis(500), "{latency:?}");
    }
}

/// The hot shard is one of the shards to which all tasks send, so the other tasks must wait for it, too. If it serves its
/// waiters in order, `w` of the other tasks that wait for it get `w / (8 + w)` of its records. Almost all of them wait
/// for it, because it is the slowest one. They thus keep `56 / (8 + 56)`, which is 87.5 %.
#[tokio::test(start_paused = true)]
async fn mixed_load_keeps_fair_share() {
    for shards in [4, 8] {
        let load = Load { keys: Keys::AllShards, hot_load: 0.0, ..Load::new(shards, Way::Send) };
        let load = Load { warm_up: secs(10), time: secs(30), ..load };
        let (_, share) = compare(load).await;
        assert!(share >= 0.8, "the other tasks keep {:.1} %", 100.0 * share);
    }
}

fn aggregated(configure: fn(&mut Settings)) -> Load {
    // With these payloads, the quota of bytes limits the shards, so that the buffer is full.
    let (warm_up, time) = (secs(15), secs(15));
    Load { configure, bytes: 500, warm_up, time, ..Load::new(4, Way::Send) }
}

#[tokio::test(start_paused = true)]
async fn shard_aggregates_are_isolated() {
    check(aggregated(|settings| settings.aggregation = Aggregation::PerShard)).await;
}

#[tokio::test(start_paused = true)]
async fn key_aggregates_are_isolated() {
    check(aggregated(|settings| settings.aggregation = Aggregation::PerKey)).await;
}

#[tokio::test(start_paused = true)]
async fn ordered_aggregates_are_isolated() {
    let configure: fn(&mut Settings) = |settings| {
        settings.aggregation = Aggregation::PerKey;
        settings.ordering = RecordOrdering::PerKey;
    };
    check(aggregated(configure)).await;
}

#[tokio::test(start_paused = true)]
async fn ordered_records_are_isolated() {
    let configure: fn(&mut Settings) = |settings| settings.ordering = RecordOrdering::PerKey;
    for shards in [4, 8] {
        check(Load { configure, ..Load::new(shards, Way::Send) }).await;
    }
}

/// Splits the hot shard, merges its halves, and replaces all shards by twice as many.
const RESHARDS: &[(Duration, load::Event)] = &[
    (secs(10), |stream| {
        stream.split(stream.shards()[HOT_SHARD].id()).expect("the shard is open");
    }),
    (secs(20), |stream| {
        let shards = stream.shards();
        let [first, second] = [&shards[HOT_SHARD], &shards[HOT_SHARD + 1]];
        stream.merge(first.id(), second.id()).expect("the shards are adjacent");
    }),
    (secs(30), |stream| {
        stream.update_shard_count(2 * stream.shards().len()).expect("the count is in range");
    }),
];

#[tokio::test(start_paused = true)]
async fn reshards_of_hot_shard_keep_isolation() {
    let load = Load { hot_load: 0.0, hot_tasks: 64, events: RESHARDS, ..Load::new(4, Way::Send) };
    let load = Load { warm_up: secs(5), time: secs(40), ..load };
    let [without, with] = [run(&load, false).await, run(&load, true).await];
    // The throughput recovers within 3 s of each reshard.
    for window in [5..10, 13..20, 23..30, 33..45] {
        let window = secs(window.start)..secs(window.end);
        let share = print(&load, &without, &with, &window);
        assert!(share >= MIN_SHARE, "{window:?}: the other tasks keep {:.1} %", 100.0 * share);
    }
}
