//! Runs a load on virtual time, and measures the throughput of its tasks.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::future;
use kinesis_sink::sim::SimStream;
use kinesis_sink::status::Buffered;
use kinesis_sink::{Producer, RecordOrdering, Settings};
use tokio::time::{Instant, sleep_until, timeout};

use super::load::{Load, Log, MAX_TASKS, OTHERS, Shared, number_of, send_all, task_of};
use crate::pacing::account::{Account, Ranges};

/// Time limit for draining the buffer. A producer that needs more time hangs.
const DRAIN_TIME: Duration = Duration::from_secs(600);

/// Interval between two samples of the status.
const SAMPLE: Duration = Duration::from_millis(500);

/// The outcome of one run.
pub struct Run {
    load: Load,
    start: Instant,
    account: Account,
    pub logs: Vec<Log>,
    /// Number of records that each task had taken from its source at the start and at the end of the measurement.
    taken: [Vec<u64>; 2],
    max_buffered: Buffered,
    pub capacity: Buffered,
}

/// Runs the load and drains the producer. Panics if a record is lost or out of order, or if a bound is exceeded.
pub async fn run(load: &Load, has_hot_tasks: bool) -> Run {
    let start = Instant::now();
    let stream = load.stream();
    let shards = stream.shards();
    let producer = load.producer(&stream);
    let shared = Arc::new(Shared::default());
    let tasks = OTHERS + if has_hot_tasks { load.hot_tasks } else { 0 };
    let spawn = |task| {
        let source = load.source(task, &shards, &shared);
        let start = start + load.starts[usize::from(task < OTHERS)];
        tokio::spawn(send_all(load.way, start, producer.clone(), source))
    };
    let tasks: Vec<_> = (0..tasks).map(spawn).collect();
    let taken_at_start = async {
        sleep_until(start + load.warm_up).await;
        shared.taken()
    };
    let conduct = conduct(load, start, &stream, &producer);
    let ((ranges, max_buffered), taken_at_start) = future::join(conduct, taken_at_start).await;
    let taken = [taken_at_start, shared.taken()];
    shared.is_stopped.store(true, Relaxed);
    let drain = async {
        let logs = future::join_all(tasks).await;
        producer.close().await.expect("no record fails");
        logs.into_iter().map(|log| log.expect("no task panics")).collect()
    };
    let logs = timeout(DRAIN_TIME, drain).await.expect("the buffer is not drained in time");
    let mut settings = Settings::default();
    (load.configure)(&mut settings);
    let is_ordered = settings.ordering == RecordOrdering::PerKey;
    let written = stream.written();
    let account = Account::of(&written, &ranges, is_ordered, |data, _| number_of(data));
    let capacity = producer.status().capacity;
    let run = Run { load: load.clone(), start, account, logs, taken, max_buffered, capacity };
    run.check();
    run
}

/// Applies the events until the end of the measurement. Returns all shards, and the maximum size of the buffer.
async fn conduct(
    load: &Load,
    start: Instant,
    stream: &SimStream,
    producer: &Producer,
) -> (Ranges, Buffered) {
    let end = start + load.warm_up + load.time;
    let (mut ranges, mut max) = (Ranges::default(), Buffered::default());
    ranges.record(stream);
    let mut events = load.events.iter().peekable();
    let mut now = Instant::now();
    while now < end {
        while let Some((_, event)) = events.next_if(|(at, _)| start + *at <= now) {
            event(stream);
            ranges.record(stream);
        }
        now += SAMPLE;
        sleep_until(now).await;
        let buffered = producer.status().buffered();
        max.records = max.records.max(buffered.records);
        max.bytes = max.bytes.max(buffered.bytes);
    }
    stream.set_load(0.0);
    (ranges, max)
}

impl Run {
    fn check(&self) {
        let mut accepted = 0;
        for (task, log) in self.logs.iter().enumerate() {
            let dropped: HashSet<_> = log.dropped.iter().collect();
            for number in (0..log.taken).map(|index| index * MAX_TASKS as u64 + task as u64) {
                let is_written = self.account.first(number).is_some();
                let is_dropped = dropped.contains(&number);
                assert!(is_written != is_dropped, "record {number}: dropped: {is_dropped}");
                accepted += u64::from(!is_dropped);
            }
        }
        let written = self.account.first.iter().flatten().count() as u64;
        assert_eq!(written, accepted, "records were written that were not accepted");
        let Account { duplicated, out_of_order, late_copies, unreadable, .. } = self.account;
        assert_eq!((out_of_order, late_copies), (0, 0), "records are out of order");
        let reshards = !self.load.events.is_empty();
        assert!(duplicated == 0 || reshards, "{duplicated} records are duplicated");
        assert!(unreadable == 0 || reshards, "{unreadable} records cannot be read");
        // The last record can exceed the bound for bytes.
        assert!(self.max_buffered.records <= self.capacity.records, "{:?}", self.max_buffered);
        let bytes = self.capacity.bytes + 2 * self.load.bytes;
        assert!(self.max_buffered.bytes <= bytes, "{:?}", self.max_buffered);
    }

    /// Returns the window of the measurement.
    pub fn window(&self) -> Range<Duration> {
        self.load.warm_up..self.load.warm_up + self.load.time
    }

    /// Returns the number of records of each task that were written within `window`.
    pub fn written(&self, window: &Range<Duration>) -> Vec<u64> {
        let mut counts = vec![0; self.logs.len()];
        for (number, at) in (0..).zip(&self.account.first) {
            if at.is_some_and(|at| window.contains(&at)) {
                counts[task_of(number)] += 1;
            }
        }
        counts
    }

    /// Returns the throughput of the tasks that are not hot, in records per second.
    pub fn throughput(&self, window: &Range<Duration>) -> f64 {
        let records: u64 = self.written(window)[..OTHERS].iter().sum();
        records as f64 / (window.end - window.start).as_secs_f64()
    }

    /// Returns the number of records that each hot task took from its source during the measurement.
    pub fn hot_taken(&self) -> Vec<u64> {
        let hot = OTHERS..OTHERS + self.load.hot_tasks;
        let [start, end] = &self.taken;
        hot.map(|task| end[task] - start[task]).collect()
    }

    /// Returns the number of records of the hot tasks that were buffered, or waiting, at the end of the measurement.
    pub fn hot_buffered(&self) -> u64 {
        let end = self.window().end;
        let hot = (0..).zip(&self.account.first).filter(|(number, _)| task_of(*number) >= OTHERS);
        let written = hot.filter(|(_, at)| at.is_some_and(|at| at < end)).count() as u64;
        self.taken[1][OTHERS..].iter().sum::<u64>() - written
    }

    /// Returns the time within which 99 % of the records of the other tasks were written after they were accepted.
    pub fn latency(&self) -> Duration {
        let mut times = Vec::new();
        for (task, log) in self.logs[..OTHERS].iter().enumerate() {
            for (index, at) in log.accepted_at.iter().enumerate() {
                let written = self.account.first((index * MAX_TASKS + task) as u64);
                times.push(written.expect("the record is written") - (*at - self.start));
            }
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// Returns the calls of the hot tasks that completed after the warm-up, in the order of their completion.
    pub fn hot_calls(&self) -> Vec<u64> {
        let start = self.start + self.load.warm_up;
        let logs = self.logs[OTHERS..].iter();
        let calls = logs.flat_map(|log| log.calls.iter().zip(&log.accepted_at));
        let calls = calls.filter(|(_, accepted_at)| **accepted_at >= start);
        let mut calls: Vec<_> = calls.map(|(call, _)| *call).collect();
        calls.sort_unstable_by_key(|(_, completed)| *completed);
        calls.into_iter().map(|(call, _)| call).collect()
    }
}
