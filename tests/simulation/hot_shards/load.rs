//! The load of a hot shard: tasks in a closed loop, each of which sends its next record once the last was accepted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::{StreamExt, future, stream};
use kinesis_sink::record::Key;
use kinesis_sink::shard::{Shard, hash_of};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, Producer, Record, Settings};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{Service, ServiceExt};

/// Number of tasks whose throughput is measured. Their numbers start at 0, and those of the hot tasks follow.
pub const OTHERS: usize = 56;
/// Maximum number of tasks.
pub const MAX_TASKS: usize = 128;

/// The hot shard is the first one.
pub const HOT_SHARD: usize = 0;

/// Number of keys of a hot task. With ordering, each key has at most one record in flight.
const HOT_KEYS: usize = 16;
/// Number of keys of another task in each shard.
const KEYS_PER_SHARD: usize = 4;

/// Partition keys of the tasks that are not hot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    OtherShards,
    AllShards,
    /// No keys: the sink draws them.
    Random,
}

/// Method of the producer through which every task sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Send,
    /// [`Producer::put`]. The task waits for its oldest receipt while `pending` receipts are pending.
    Put {
        pending: usize,
    },
    PutAll,
    Sink,
    Service,
    /// [`Producer::send`], but a hot task drops some of the futures before they complete.
    DroppedSends,
}

pub type Event = fn(&SimStream);

/// Model of a hot shard. The defaults are those of the crate.
#[derive(Clone)]
pub struct Load {
    pub shards: usize,
    /// Number of tasks that send only to the hot shard.
    pub hot_tasks: usize,
    /// Share of the quota of the hot shard that other producers use.
    pub hot_load: f64,
    pub way: Way,
    /// Keys of the other tasks.
    pub keys: Keys,
    /// Pause of the other tasks after each record.
    pub pause: Duration,
    /// Size of a payload in bytes.
    pub bytes: usize,
    pub configure: fn(&mut Settings),
    /// Set to `false` if the sink must learn the shards from the responses.
    pub lists_shards: bool,
    /// Start of the hot tasks and of the others. By default, the hot tasks start once the shards are known, and before the
    /// others. Their records then fill the buffer, unless the producer prevents it.
    pub starts: [Duration; 2],
    /// Start of the measurement.
    pub warm_up: Duration,
    /// Duration of the measurement.
    pub time: Duration,
    /// Changes of the stream, with their times.
    pub events: &'static [(Duration, Event)],
}

impl Load {
    /// Creates the model: 56 tasks send to the other shards, and 8 tasks to the hot shard.
    ///
    /// In a closed loop, a fair buffer gives the same number of records to each task. The hot shard is therefore hot only
    /// if it accepts less than 8/56 of the records of the others, so other producers use 75 % of its quota.
    pub fn new(shards: usize, way: Way) -> Self {
        Self {
            shards,
            hot_tasks: 8,
            hot_load: 0.75,
            way,
            keys: Keys::OtherShards,
            pause: Duration::ZERO,
            bytes: 100,
            configure: |_| (),
            lists_shards: true,
            starts: [Duration::from_millis(100), Duration::from_secs(1)],
            warm_up: Duration::from_secs(5),
            time: Duration::from_secs(10),
            events: &[],
        }
    }

    pub fn stream(&self) -> SimStream {
        let builder = SimStream::builder().with_shards(self.shards).with_seed(1);
        let stream = builder.build().expect("the settings are valid");
        let hot = &stream.shards()[HOT_SHARD];
        stream.set_shard_load(hot.id(), self.hot_load).expect("the shard exists");
        stream
    }

    pub fn producer(&self, stream: &SimStream) -> Producer {
        let builder = KinesisSink::builder("example").configure(|settings| {
            settings.seed = Some(1);
            (self.configure)(settings);
        });
        let builder =
            if self.lists_shards { builder.with_stream_info(stream.clone()) } else { builder };
        builder.build_with(stream.service()).expect("the settings are valid").spawn()
    }

    /// Returns the source of a task. `shards` are those at the start.
    pub fn source(&self, task: usize, shards: &[Shard], shared: &Arc<Shared>) -> Source {
        let keys = match self.keys {
            _ if task >= OTHERS => keys(task, &shards[HOT_SHARD], HOT_KEYS),
            Keys::OtherShards => keys_in_each(task, &shards[HOT_SHARD + 1..]),
            Keys::AllShards => keys_in_each(task, shards),
            Keys::Random => Vec::new(),
        };
        let rng = Rng::with_seed(task as u64);
        let pause = if task < OTHERS { self.pause } else { Duration::ZERO };
        Source { task, taken: 0, keys, rng, bytes: self.bytes, pause, shared: shared.clone() }
    }
}

fn keys_in_each(task: usize, shards: &[Shard]) -> Vec<Key> {
    shards.iter().flat_map(|shard| keys(task, shard, KEYS_PER_SHARD)).collect()
}

/// Returns `count` keys of a task whose records belong to `shard`. No other task has these keys.
fn keys(task: usize, shard: &Shard, count: usize) -> Vec<Key> {
    let keys = (0..).map(|number| Key::from(format!("{task}-{number}")));
    keys.filter(|key| shard.range().contains(hash_of(key))).take(count).collect()
}

/// The records of a task. Their numbers are unique among all tasks.
pub struct Source {
    task: usize,
    taken: u64,
    keys: Vec<Key>,
    rng: Rng,
    bytes: usize,
    pause: Duration,
    shared: Arc<Shared>,
}

/// State that the tasks of a run share.
pub struct Shared {
    /// Ends all sources.
    pub is_stopped: AtomicBool,
    /// Number of records that each task has taken from its source and not dropped.
    pub taken: [AtomicU64; MAX_TASKS],
    calls: AtomicU64,
    completions: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        let counts = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            is_stopped: AtomicBool::new(false),
            taken: counts(),
            calls: AtomicU64::new(0),
            completions: AtomicU64::new(0),
        }
    }
}

impl Shared {
    pub fn taken(&self) -> Vec<u64> {
        self.taken.iter().map(|taken| taken.load(Relaxed)).collect()
    }
}

impl Source {
    /// Returns the number of the last record.
    fn last_number(&self) -> u64 {
        (self.taken - 1) * MAX_TASKS as u64 + self.task as u64
    }
}

impl Iterator for Source {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.shared.is_stopped.load(Relaxed) {
            return None;
        }
        self.taken += 1;
        self.shared.taken[self.task].fetch_add(1, Relaxed);
        let mut data = vec![b'.'; self.bytes];
        data[..8].copy_from_slice(&self.last_number().to_be_bytes());
        let record = Record::new(Bytes::from(data));
        Some(match self.rng.choice(&self.keys) {
            Some(key) => record.with_partition_key(key.clone()),
            None => record,
        })
    }
}

pub fn number_of(data: &[u8]) -> u64 {
    u64::from_be_bytes(*data.first_chunk().expect("a payload starts with its number"))
}

pub fn task_of(number: u64) -> usize {
    (number % MAX_TASKS as u64) as usize
}

/// Log of a task.
#[derive(Debug, Default)]
pub struct Log {
    /// Number of records that were taken from the source.
    pub taken: u64,
    /// Numbers of the records whose futures were dropped.
    pub dropped: Vec<u64>,
    /// Positions of the calls of [`Producer::send`] among those of all tasks, with the positions of their completion.
    pub calls: Vec<(u64, u64)>,
    /// Times at which the calls completed.
    pub accepted_at: Vec<Instant>,
    /// Longest time until a call completed.
    pub max_wait: Duration,
}

/// Sends the records of `source` from `start` on, until the source ends.
pub async fn send_all(way: Way, start: Instant, mut producer: Producer, mut source: Source) -> Log {
    sleep_until(start).await;
    let mut log = Log::default();
    let shared = source.shared.clone();
    let is_hot = source.task >= OTHERS;
    match way {
        Way::DroppedSends if is_hot => send_or_drop(&producer, &mut source, &mut log).await,
        Way::Send | Way::DroppedSends => {
            while let Some(record) = source.next() {
                let (call, start) = (shared.calls.fetch_add(1, Relaxed), Instant::now());
                producer.send(record).await.expect("the producer is open");
                log.calls.push((call, shared.completions.fetch_add(1, Relaxed)));
                log.max_wait = log.max_wait.max(start.elapsed());
                log.accepted_at.push(Instant::now());
                if !source.pause.is_zero() {
                    sleep(source.pause).await;
                }
            }
        }
        Way::Put { pending } => {
            let mut receipts = VecDeque::new();
            for record in source.by_ref() {
                receipts.push_back(producer.put(record).await.expect("the producer is open"));
                if receipts.len() >= pending
                    && let Some(oldest) = receipts.pop_front()
                {
                    oldest.await.expect("no record fails");
                }
            }
            future::try_join_all(receipts).await.expect("no record fails");
        }
        Way::PutAll => {
            let records = stream::iter(source.by_ref()).map(|record| (record, ()));
            let mut outcomes = producer.put_all(records);
            while let Some(((), outcome)) = outcomes.next().await {
                outcome.expect("no record fails");
            }
        }
        Way::Sink => {
            let records = stream::iter(source.by_ref()).map(Ok);
            records.forward(producer.sink()).await.expect("no record fails");
        }
        Way::Service => {
            let mut responses = JoinSet::new();
            for record in source.by_ref() {
                let ready = producer.ready().await.expect("the producer is open");
                // The record can wait in its response, so the response must be polled.
                responses.spawn(ready.call(record));
                while let Some(response) = responses.try_join_next() {
                    response.expect("no call panics").expect("no record fails");
                }
            }
            for response in responses.join_all().await {
                response.expect("no record fails");
            }
        }
    }
    log.taken = source.taken;
    log
}

/// Drops about half of the futures that wait. The others are served within the limit.
async fn send_or_drop(producer: &Producer, source: &mut Source, log: &mut Log) {
    while let Some(record) = source.next() {
        let limit = Duration::from_millis(source.rng.u64(1..=64));
        match timeout(limit, producer.send(record)).await {
            Ok(sent) => sent.expect("the producer is open"),
            Err(_) => {
                log.dropped.push(source.last_number());
                source.shared.taken[source.task].fetch_sub(1, Relaxed);
            }
        }
    }
}
