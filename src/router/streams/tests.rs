use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::*;

const SECOND: Nanos = 1_000_000_000;

/// Producer whose activity the test sets. Counts how often it is examined.
#[derive(Debug, Clone)]
struct Fake {
    activity: Arc<Mutex<Activity>>,
    ended_at: Arc<AtomicU64>,
    examined: Arc<AtomicUsize>,
    rest_requests: Arc<AtomicUsize>,
}

impl StreamProducer for Fake {
    fn activity(&self) -> Activity {
        self.examined.fetch_add(1, Ordering::Relaxed);
        *self.activity.lock().unwrap()
    }

    fn ended_at(&self) -> Nanos {
        self.ended_at.load(Ordering::Relaxed)
    }

    fn totals(&self) -> Totals {
        Totals { accepted: 1, ..Totals::default() }
    }

    fn request_rest(&self) -> Option<Waker> {
        self.rest_requests.fetch_add(1, Ordering::Relaxed);
        None
    }
}

struct Table {
    streams: Streams<Fake>,
    now: Nanos,
    closed: Vec<String>,
}

fn id(stream: &str) -> StreamId {
    stream.parse().unwrap()
}

impl Table {
    fn new(max_streams: usize, when_full: WhenFull) -> Self {
        let settings = RouterSettings {
            max_streams,
            when_full,
            idle_timeout: Duration::from_secs(8),
            ..RouterSettings::default()
        };
        Self { streams: Streams::new(&settings), now: 1, closed: Vec::new() }
    }

    fn evicting(max_streams: usize) -> Self {
        Self::new(max_streams, WhenFull::Evict)
    }

    fn apply(&mut self, effects: Effects<Fake>) {
        self.closed.extend(effects.closed.iter().map(|entry| entry.stream().to_string()));
        effects.apply();
        self.check();
    }

    fn open_entry(&mut self, stream: &str) -> Result<Arc<Entry<Fake>>, Refusal> {
        self.now += 1;
        let mut effects = Effects::default();
        let opened = self.streams.open(&id(stream), self.now, &mut effects);
        self.apply(effects);
        if let Ok(entry) = &opened {
            fake_of(entry);
        }
        opened
    }

    /// Opens a stream that stays in use until the returned producer is changed.
    fn open(&mut self, stream: &str) -> Fake {
        fake_of(&self.open_entry(stream).unwrap())
    }

    fn open_beyond(&mut self, stream: &str) -> Option<oneshot::Receiver<()>> {
        self.now += 1;
        let mut effects = Effects::default();
        let opened = self.streams.open_beyond(&id(stream), self.now, &mut effects);
        self.apply(effects);
        let (entry, overflow) = opened.unwrap();
        fake_of(&entry);
        overflow
    }

    fn open_idle(&mut self, stream: &str) -> Fake {
        let fake = self.open(stream);
        fake.set(Activity::Idle);
        fake
    }

    fn serve(&mut self) {
        self.now += 1;
        let mut effects = Effects::default();
        self.streams.serve(self.now, &mut effects);
        self.apply(effects);
    }

    fn sweep_at(&mut self, seconds: u64) {
        self.now = seconds * SECOND;
        let mut from = Some((0, 0));
        while let Some(position) = from {
            let mut effects = Effects::default();
            from = self.streams.sweep(position, self.now, &mut effects);
            self.apply(effects);
        }
    }

    fn open_streams(&self) -> Vec<String> {
        let mut open: Vec<_> =
            self.streams.entries().map(|entry| entry.stream().to_string()).collect();
        open.sort();
        open
    }

    fn check(&self) {
        assert_eq!(self.streams.open.len(), self.streams.by_use.len());
        for (stream, row) in &self.streams.open {
            assert_eq!(self.streams.by_use.get(&row.key), Some(stream));
            assert!(row.key.0 <= row.entry.last_used(), "a key is later than the last use");
        }
        assert_eq!(
            self.streams.opened(),
            (self.streams.len() as u64) + self.closed.len() as u64,
            "each closed stream is reported once"
        );
    }
}

fn fake_of(entry: &Entry<Fake>) -> Fake {
    let new = || Fake {
        activity: Arc::new(Mutex::new(Activity::InUse)),
        ended_at: Arc::default(),
        examined: Arc::default(),
        rest_requests: Arc::default(),
    };
    entry.get_or_init(new).clone()
}

impl Fake {
    fn set(&self, activity: Activity) {
        *self.activity.lock().unwrap() = activity;
    }

    fn end(&self, activity: Activity, now: Nanos) {
        self.set(activity);
        self.ended_at.store(now, Ordering::Relaxed);
    }
}

#[test]
fn open_returns_entry_of_open_stream() {
    let mut table = Table::evicting(2);
    let first = table.open_entry("a").unwrap();
    let again = table.open_entry("a").unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert!(Arc::ptr_eq(&first, table.streams.get("a", table.now).unwrap()));
    assert!(table.streams.get("b", table.now).is_none());
    assert_eq!((table.streams.len(), table.streams.opened()), (1, 1));
}

#[test]
fn open_evicts_least_recently_used_idle_stream() {
    let mut table = Table::evicting(3);
    table.open("in-use");
    table.open_idle("a");
    table.open_idle("b");
    table.open_entry("a").unwrap();
    table.open("c");
    assert_eq!(table.closed, ["b"], "`a` was used later");
    table.open("d");
    assert_eq!(table.closed, ["b", "a"]);
    assert_eq!(table.open_entry("e").unwrap_err(), Refusal::Full);
    assert_eq!(table.open_streams(), ["c", "d", "in-use"]);
    assert_eq!(table.streams.closed_totals().accepted, 2);
}

#[test]
fn call_in_progress_prevents_eviction() {
    let mut table = Table::evicting(1);
    table.open_idle("a");
    let call = table.open_entry("a").unwrap();
    assert_eq!(table.open_entry("b").unwrap_err(), Refusal::Full);
    drop(call);
    table.open("b");
    assert_eq!(table.closed, ["a"]);
}

#[test]
fn reject_closes_no_stream() {
    let mut table = Table::new(1, WhenFull::Reject);
    table.open_idle("a");
    assert_eq!(table.open_entry("b").unwrap_err(), Refusal::Full);
    assert_eq!(table.streams.wait(&id("b")).unwrap_err(), Refusal::Full);
    let mut effects = Effects::default();
    let refused = table.streams.open_beyond(&id("b"), table.now, &mut effects);
    assert_eq!(refused.unwrap_err(), Refusal::Full);
    assert_eq!(table.open_streams(), ["a"]);
}

#[test]
fn waiters_are_served_in_order() {
    let mut table = Table::evicting(2);
    let (a, b) = (table.open("a"), table.open("b"));
    let mut c = table.streams.wait(&id("c")).unwrap();
    let mut d = [(); 2].map(|()| table.streams.wait(&id("d")).unwrap());
    let mut c_again = table.streams.wait(&id("c")).unwrap();
    table.serve();
    assert!(c.try_recv().is_err());
    b.set(Activity::Idle);
    assert_eq!(table.open_entry("e").unwrap_err(), Refusal::Full, "a new call cannot overtake");
    table.serve();
    let entry = c.try_recv().unwrap();
    assert!(Arc::ptr_eq(&entry, &c_again.try_recv().unwrap()), "both wait for one stream");
    assert!(d[0].try_recv().is_err());
    a.set(Activity::Idle);
    table.serve();
    let entries = d.each_mut().map(|waiter| waiter.try_recv().unwrap());
    assert!(Arc::ptr_eq(&entries[0], &entries[1]));
    assert_eq!(table.closed, ["b", "a"]);
    assert!(!table.streams.must_serve());
}

#[test]
fn cancelled_waiter_opens_no_stream() {
    let mut table = Table::evicting(1);
    let a = table.open("a");
    drop(table.streams.wait(&id("b")).unwrap());
    let mut c = table.streams.wait(&id("c")).unwrap();
    a.set(Activity::Idle);
    table.serve();
    assert!(c.try_recv().is_ok());
    assert_eq!(table.open_streams(), ["c"]);
    drop(table.streams.wait(&id("d")).unwrap());
    drop(c);
    fake_of(table.streams.peek("c").unwrap()).set(Activity::Idle);
    table.open("e");
    assert_eq!(table.closed, ["a", "c"], "no waiter is left to be overtaken");
}

#[test]
fn cancelled_waiters_do_not_accumulate() {
    let mut table = Table::evicting(1);
    table.open("a");
    let kept = table.streams.wait(&id("kept")).unwrap();
    for number in 0..10_000 {
        drop(table.streams.wait(&id(&number.to_string())));
        drop(table.streams.wait(&id("same")));
    }
    let Waiters { queue, callers } = &table.streams.waiters;
    assert!(queue.capacity() < 16, "{}", queue.capacity());
    assert!(callers.values().map(Vec::capacity).sum::<usize>() < 64);
    drop(kept);
}

#[test]
fn excess_ends_when_stream_is_evicted() {
    let mut table = Table::evicting(1);
    let a = table.open("a");
    let mut overflow = table.open_beyond("b").expect("the maximum is exceeded");
    assert!(table.open_beyond("b").is_none(), "`b` is open already");
    table.serve();
    assert!(overflow.try_recv().is_err());
    a.set(Activity::Idle);
    table.serve();
    assert_eq!(overflow.try_recv(), Ok(()));
    assert_eq!(table.open_streams(), ["b"]);
}

#[test]
fn excess_of_dropped_sink_ends() {
    let mut table = Table::evicting(1);
    let a = table.open("a");
    drop(table.open_beyond("b"));
    assert!(table.streams.must_serve());
    a.set(Activity::Idle);
    table.serve();
    assert_eq!(table.open_streams(), ["b"]);
    assert!(!table.streams.must_serve());
}

#[test]
fn stream_opened_beyond_serves_its_waiters() {
    let mut table = Table::evicting(1);
    table.open("a");
    let mut waiter = table.streams.wait(&id("b")).unwrap();
    let _excess = table.open_beyond("b");
    assert!(waiter.try_recv().is_ok());
}

#[test]
fn failed_search_is_not_repeated_immediately() {
    let mut table = Table::evicting(1_000);
    let streams: Vec<_> = (0..1_000).map(|number| table.open(&number.to_string())).collect();
    for _ in 0..1_000 {
        assert_eq!(table.open_entry("more").unwrap_err(), Refusal::Full);
    }
    let examined = |fake: &Fake| fake.examined.load(Ordering::Relaxed);
    let total: usize = streams.iter().map(examined).sum();
    assert!(total <= 4_000, "{total} examinations for 1,000 calls");
    streams[7].set(Activity::Idle);
    table.now += SECOND / 1_000;
    table.open("more");
    assert_eq!(table.closed, ["7"]);
}

#[test]
fn idle_stream_is_closed_after_timeout() {
    let mut table = Table::evicting(10);
    table.open_idle("a");
    table.open("b");
    for seconds in 1..=8 {
        table.sweep_at(seconds);
        assert!(table.closed.is_empty(), "{seconds} s");
    }
    table.sweep_at(9);
    assert_eq!(table.closed, ["a"]);
    table.sweep_at(1_000);
    assert_eq!(table.open_streams(), ["b"]);
}

#[test]
fn idle_time_begins_at_end_of_use() {
    let mut table = Table::evicting(10);
    let a = table.open("a");
    for seconds in 1..=20 {
        table.sweep_at(seconds);
    }
    a.set(Activity::Idle);
    for seconds in 21..29 {
        table.sweep_at(seconds);
        assert!(table.closed.is_empty(), "{seconds} s");
    }
    table.open_entry("a").unwrap();
    for seconds in 29..37 {
        table.sweep_at(seconds);
        assert!(table.closed.is_empty(), "{seconds} s");
    }
    table.sweep_at(37);
    assert_eq!(table.closed, ["a"]);
}

#[test]
fn sweep_lets_open_streams_rest() {
    let mut table = Table::evicting(10);
    let streams = [table.open("used"), table.open_idle("idle")];
    table.open_entry("building").unwrap();
    let requests = || streams.each_ref().map(|stream| stream.rest_requests.load(Ordering::Relaxed));
    table.sweep_at(1);
    assert_eq!(requests(), [1, 1]);
    table.sweep_at(9);
    assert_eq!(table.closed, ["idle"]);
    assert_eq!(requests(), [2, 1], "a closed stream is not asked");
}

#[test]
fn sweep_interval_is_bounded() {
    for (timeout, interval) in [(8, 1), (480, 60), (86_400, 60)] {
        let idle_timeout = Duration::from_secs(timeout);
        let settings = RouterSettings { idle_timeout, ..RouterSettings::default() };
        let streams = Streams::<Fake>::new(&settings);
        assert_eq!(streams.sweep_interval(), interval * SECOND, "{timeout} s");
    }
}

#[test]
fn sweep_examines_all_streams_in_parts() {
    let count = 3 * SWEEP_ENTRIES + 1;
    let mut table = Table::evicting(count);
    for number in 0..count {
        table.open_idle(&number.to_string());
    }
    let mut effects = Effects::default();
    assert!(table.streams.sweep((0, 0), table.now, &mut effects).is_some());
    table.sweep_at(1);
    table.sweep_at(9);
    assert_eq!(table.closed.len(), count);
}

#[test]
fn stopped_stream_is_reopened_after_timeout() {
    let mut table = Table::evicting(10);
    let stopped = table.open("a");
    table.sweep_at(1);
    stopped.end(Activity::Stopped { is_empty: false }, table.now);
    for seconds in [2, 8, 9, 100] {
        table.sweep_at(seconds);
        let entry = table.open_entry("a").unwrap();
        assert!(Arc::ptr_eq(&fake_of(&entry).examined, &stopped.examined), "records are left");
    }
    stopped.set(Activity::Stopped { is_empty: true });
    assert!(table.streams.get("a", table.now).is_none());
    let reopened = table.open("a");
    assert!(!Arc::ptr_eq(&reopened.examined, &stopped.examined));
    assert_eq!(table.closed, ["a"]);
}

#[test]
fn stopped_stream_is_not_reopened_early() {
    let mut table = Table::evicting(1);
    let stopped = table.open("a");
    table.sweep_at(1);
    stopped.end(Activity::Stopped { is_empty: true }, table.now);
    for seconds in 2..9 {
        table.sweep_at(seconds);
        assert!(table.streams.get("a", table.now).is_some(), "{seconds} s");
    }
    table.sweep_at(9);
    assert_eq!(table.closed, ["a"]);
}

/// Streams that do not exist must not keep other streams from being opened.
#[test]
fn stopped_stream_is_evicted_for_other() {
    let mut table = Table::evicting(1);
    let stopped = table.open("a");
    stopped.end(Activity::Stopped { is_empty: false }, table.now);
    assert_eq!(table.open_entry("b").unwrap_err(), Refusal::Full, "it has records");
    stopped.set(Activity::Stopped { is_empty: true });
    table.open("b");
    assert_eq!(table.closed, ["a"]);
}

#[test]
fn closed_producer_is_replaced_once_empty() {
    let mut table = Table::evicting(10);
    let closed = table.open("a");
    closed.end(Activity::Closed { is_empty: false }, table.now);
    let entry = table.open_entry("a").unwrap();
    assert!(Arc::ptr_eq(&fake_of(&entry).examined, &closed.examined));
    closed.set(Activity::Closed { is_empty: true });
    assert!(table.streams.get("a", table.now).is_none());
    table.open("a");
    assert_eq!(table.closed, ["a"]);
}

#[test]
fn closed_table_opens_no_stream() {
    let mut table = Table::evicting(1);
    table.open("a");
    let mut waiter = table.streams.wait(&id("b")).unwrap();
    drop(table.streams.close());
    assert!(matches!(waiter.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(table.open_entry("a").unwrap_err(), Refusal::Closed);
    assert!(table.streams.get("a", table.now).is_none());
    assert!(table.streams.wait(&id("b")).is_err());
    assert!(table.streams.peek("a").is_some(), "its status and records remain available");
}

#[test]
fn abandoned_table_lets_no_caller_wait() {
    let mut table = Table::evicting(1);
    let a = table.open("a");
    let mut waiter = table.streams.wait(&id("b")).unwrap();
    drop(table.streams.abandon());
    assert!(matches!(waiter.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(table.streams.wait(&id("b")).unwrap_err(), Refusal::Abandoned);
    assert!(table.open_beyond("c").is_none(), "the overflow would never end");
    a.set(Activity::Idle);
    fake_of(table.streams.peek("c").unwrap()).set(Activity::Idle);
    table.open("d");
    assert_eq!(table.closed, ["a", "c"]);
}

#[test]
fn random_uses_keep_table_consistent() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let max = rng.usize(1..6);
        let mut table = Table::evicting(max);
        let mut waiters = Vec::new();
        let mut overflows = Vec::new();
        for _ in 0..300 {
            let stream = rng.u32(0..10).to_string();
            table.now += rng.u64(0..SECOND);
            match rng.u32(0..8) {
                0 | 1 => drop(table.open_entry(&stream)),
                2 => {
                    if let Err(Refusal::Full) = table.open_entry(&stream) {
                        waiters.extend(table.streams.wait(&id(&stream)));
                    }
                }
                3 => overflows.extend(table.open_beyond(&stream)),
                4 => waiters.truncate(rng.usize(0..=waiters.len())),
                5 => overflows.truncate(rng.usize(0..=overflows.len())),
                6 => table.sweep_at(table.now / SECOND + 1),
                _ => table.serve(),
            }
            for entry in table.streams.entries() {
                if rng.u32(0..4) == 0 {
                    let states = [Activity::InUse, Activity::Idle];
                    fake_of(entry).set(states[rng.usize(0..2)]);
                }
            }
            waiters.retain_mut(|waiter| waiter.try_recv().is_err());
        }
        for _ in 0..20 {
            for entry in table.streams.entries() {
                fake_of(entry).set(Activity::Idle);
            }
            table.now += SECOND;
            table.serve();
            waiters.retain_mut(|waiter| waiter.try_recv().is_err());
        }
        assert!(!table.streams.must_serve(), "seed {seed}: a waiter is left");
        assert!(table.streams.len() <= max, "seed {seed}");
        assert!(waiters.is_empty(), "seed {seed}: {} waiters were not served", waiters.len());
    }
}
