//! Limits each shard with a token bucket. The rate is a fixed fraction of the shard quota, even if entries are
//! throttled. The KPL uses 150 %. Records are not aggregated, so the figures correspond to a KPL with
//! `AggregationEnabled` set to false.

use std::collections::VecDeque;
use std::time::Duration;

use kinesis_sink::limits::SHARD_RECORDS_PER_SECOND;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{Shard, hash_of};
use kinesis_sink::sim::SimStream;
use tokio::time::Instant;

use super::baseline::{Baseline, Item, REQUEST_ENTRIES, Response, failed, requeue};

/// The KPL's default for `RateLimit`, 150 %.
pub const KPL_RATE_LIMIT: f64 = 1.5;
/// Interval at which the KPL refills its token buckets.
const REFILL_INTERVAL: Duration = Duration::from_millis(25);
/// The KPL's default for `RecordMaxBufferedTime`.
const MAX_BUFFERED_TIME: Duration = Duration::from_millis(100);

pub struct FixedBucket {
    stream: SimStream,
    rate: f64,
    changes: VecDeque<(Instant, f64)>,
    shards: Vec<ShardBucket>,
    /// Records that have their tokens and wait for the next request.
    admitted: VecDeque<Item>,
    admitted_at: Instant,
    last_refill: Instant,
}

struct ShardBucket {
    shard: Shard,
    queue: VecDeque<Item>,
    tokens: f64,
}

impl FixedBucket {
    pub fn new(stream: SimStream, share_of_quota: f64) -> Self {
        Self::scheduled(stream, vec![(Duration::ZERO, share_of_quota)])
    }

    /// Creates buckets whose rate changes at the given times. The first entry is the initial rate.
    pub fn scheduled(stream: SimStream, shares: Vec<(Duration, f64)>) -> Self {
        let now = Instant::now();
        let rate =
            |(at, share): (Duration, f64)| (now + at, share * SHARD_RECORDS_PER_SECOND as f64);
        let mut changes: VecDeque<_> = shares.into_iter().map(rate).collect();
        let (_, rate) = changes.pop_front().expect("there is an initial rate");
        let mut this = Self {
            stream,
            rate,
            changes,
            shards: Vec::new(),
            admitted: VecDeque::new(),
            admitted_at: now,
            last_refill: now,
        };
        this.refresh();
        this
    }

    fn refresh(&mut self) {
        let shards = self.stream.shards().into_iter();
        let tokens = self.rate;
        let fresh = shards.map(|shard| ShardBucket { shard, queue: VecDeque::new(), tokens });
        let old = std::mem::replace(&mut self.shards, fresh.collect());
        let mut queued: Vec<_> = old.into_iter().flat_map(|bucket| bucket.queue).collect();
        queued.sort_by_key(|item| item.number);
        for item in queued {
            self.push(item);
        }
    }

    fn shard_index(&self, hash: HashKey) -> usize {
        self.shards.partition_point(|bucket| bucket.shard.range().end() < hash)
    }

    /// Refills the buckets, and admits the records for which tokens are available.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.last_refill);
        if elapsed < REFILL_INTERVAL {
            return;
        }
        self.last_refill = now;
        while let Some((_, rate)) = self.changes.pop_front_if(|(at, _)| *at <= now) {
            self.rate = rate;
        }
        if self.admitted.is_empty() {
            self.admitted_at = now;
        }
        for bucket in &mut self.shards {
            bucket.tokens = (bucket.tokens + self.rate * elapsed.as_secs_f64()).min(self.rate);
            let count = bucket.queue.len().min(bucket.tokens as usize);
            bucket.tokens -= count as f64;
            self.admitted.extend(bucket.queue.drain(..count));
        }
    }
}

impl Baseline for FixedBucket {
    const IN_FLIGHT: usize = 24;

    fn push(&mut self, item: Item) {
        let index = self.shard_index(hash_of(&item.key));
        self.shards[index].queue.push_back(item);
    }

    fn next_request(&mut self, now: Instant) -> Option<Vec<Item>> {
        self.refill(now);
        let is_due =
            now.duration_since(self.admitted_at) >= MAX_BUFFERED_TIME && !self.admitted.is_empty();
        if self.admitted.len() < REQUEST_ENTRIES && !is_due {
            return None;
        }
        self.admitted_at = now;
        let entries = self.admitted.len().min(REQUEST_ENTRIES);
        Some(self.admitted.drain(..entries).collect())
    }

    fn wakeup(&self, _: Instant) -> Option<Instant> {
        Some(self.last_refill + REFILL_INTERVAL)
    }

    fn on_response(&mut self, items: Vec<Item>, response: Response, _: Instant) {
        if let Ok(response) = &response {
            let mut results = items.iter().zip(response.results());
            let is_misrouted = results.any(|(item, result)| {
                let index = self.shard_index(hash_of(&item.key));
                let placement = result.as_ref().ok();
                placement.is_some_and(|at| at.shard_id() != self.shards[index].shard.id())
            });
            if is_misrouted {
                self.refresh();
            }
        }
        let (items, _) = failed(items, response);
        let mut by_shard: Vec<Vec<Item>> = self.shards.iter().map(|_| Vec::new()).collect();
        for item in items {
            by_shard[self.shard_index(hash_of(&item.key))].push(item);
        }
        for (bucket, items) in self.shards.iter_mut().zip(by_shard) {
            requeue(&mut bucket.queue, items);
        }
    }

    fn buffered(&self) -> usize {
        let queued: usize = self.shards.iter().map(|bucket| bucket.queue.len()).sum();
        queued + self.admitted.len()
    }

    fn into_buffered(self) -> Vec<Item> {
        let queued = self.shards.into_iter().flat_map(|bucket| bucket.queue);
        queued.chain(self.admitted).collect()
    }
}
