//! A token bucket for each shard, at a share of its quota, that heeds no throttles: as in the KPL, where it is
//! 150 %.
//!
//! The KPL aggregates by default, and this does not: its figures are those of the KPL with
//! `AggregationEnabled` set to false, so that all policies send the same entries.

use std::collections::VecDeque;
use std::time::Duration;

use kinesis_sink::limits::SHARD_RECORDS_PER_SECOND;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{Shard, hash_of};
use kinesis_sink::sim::SimStream;
use tokio::time::Instant;

use super::baseline::{Answer, Baseline, Item, REQUEST_ENTRIES, failed, put_back};

/// The KPL's `RateLimit`.
pub const KPL_RATE_LIMIT: f64 = 1.5;
/// How often the KPL looks for tokens.
const DRAIN: Duration = Duration::from_millis(25);
/// The KPL's `RecordMaxBufferedTime`.
const FLUSH: Duration = Duration::from_millis(100);

/// The queues have no bound.
pub struct FixedBucket {
    stream: SimStream,
    /// Records a second and shard.
    rate: f64,
    /// The changes of the rate to come, and when they are.
    changes: VecDeque<(Instant, f64)>,
    shards: Vec<Limited>,
    /// What has its tokens, and since when the oldest of it has them.
    collected: VecDeque<Item>,
    since: Instant,
    drained: Instant,
}

/// A shard with its bucket.
struct Limited {
    shard: Shard,
    queue: VecDeque<Item>,
    /// In records; the records all have the same size.
    tokens: f64,
}

impl FixedBucket {
    pub fn new(stream: SimStream, of_quota: f64) -> Self {
        Self::scheduled(stream, vec![(Duration::ZERO, of_quota)])
    }

    /// With a rate that changes. The first one is that of the start.
    pub fn scheduled(stream: SimStream, parts: Vec<(Duration, f64)>) -> Self {
        let now = Instant::now();
        let of_quota =
            |(at, part): (Duration, f64)| (now + at, part * SHARD_RECORDS_PER_SECOND as f64);
        let mut changes: VecDeque<_> = parts.into_iter().map(of_quota).collect();
        let (_, rate) = changes.pop_front().expect("there is a first one");
        let mut this = Self {
            stream,
            rate,
            changes,
            shards: Vec::new(),
            collected: VecDeque::new(),
            since: now,
            drained: now,
        };
        this.refresh();
        this
    }

    /// Asks for the shards, and sorts what waits anew.
    fn refresh(&mut self) {
        let shards = self.stream.shards().into_iter();
        let tokens = self.rate;
        let fresh = shards.map(|shard| Limited { shard, queue: VecDeque::new(), tokens });
        let old = std::mem::replace(&mut self.shards, fresh.collect());
        let mut waiting: Vec<_> = old.into_iter().flat_map(|limited| limited.queue).collect();
        waiting.sort_by_key(|item| item.number);
        waiting.into_iter().for_each(|item| self.take(item));
    }

    fn place(&self, hash: HashKey) -> usize {
        self.shards.partition_point(|limited| limited.shard.range().end() < hash)
    }

    /// Lets through what there are tokens for.
    fn drain(&mut self, now: Instant) {
        let since = now.duration_since(self.drained);
        if since < DRAIN {
            return;
        }
        self.drained = now;
        while let Some((_, rate)) = self.changes.pop_front_if(|(at, _)| *at <= now) {
            self.rate = rate;
        }
        if self.collected.is_empty() {
            self.since = now;
        }
        for limited in &mut self.shards {
            limited.tokens = (limited.tokens + self.rate * since.as_secs_f64()).min(self.rate);
            let let_through = limited.queue.len().min(limited.tokens as usize);
            limited.tokens -= let_through as f64;
            self.collected.extend(limited.queue.drain(..let_through));
        }
    }
}

impl Baseline for FixedBucket {
    const IN_FLIGHT: usize = 24;

    fn take(&mut self, item: Item) {
        let place = self.place(hash_of(&item.key));
        self.shards[place].queue.push_back(item);
    }

    fn cut(&mut self, now: Instant) -> Option<Vec<Item>> {
        self.drain(now);
        let is_due = now.duration_since(self.since) >= FLUSH && !self.collected.is_empty();
        if self.collected.len() < REQUEST_ENTRIES && !is_due {
            return None;
        }
        self.since = now;
        let entries = self.collected.len().min(REQUEST_ENTRIES);
        Some(self.collected.drain(..entries).collect())
    }

    fn wakeup(&self, _: Instant) -> Option<Instant> {
        Some(self.drained + DRAIN)
    }

    fn answered(&mut self, items: Vec<Item>, answer: Answer, _: Instant) {
        if let Ok(response) = &answer {
            let mut placed = items.iter().zip(response.results());
            let is_foreign = placed.any(|(item, result)| {
                let place = self.place(hash_of(&item.key));
                let placement = result.as_ref().ok();
                placement.is_some_and(|at| at.shard_id() != self.shards[place].shard.id())
            });
            if is_foreign {
                self.refresh();
            }
        }
        let (items, _) = failed(items, answer);
        // What failed waits for tokens again, before the others.
        let mut by_place: Vec<Vec<Item>> = self.shards.iter().map(|_| Vec::new()).collect();
        for item in items {
            by_place[self.place(hash_of(&item.key))].push(item);
        }
        for (limited, items) in self.shards.iter_mut().zip(by_place) {
            put_back(&mut limited.queue, items);
        }
    }

    fn held(&self) -> usize {
        let waiting: usize = self.shards.iter().map(|limited| limited.queue.len()).sum();
        waiting + self.collected.len()
    }

    fn into_held(self) -> Vec<Item> {
        let waiting = self.shards.into_iter().flat_map(|limited| limited.queue);
        waiting.chain(self.collected).collect()
    }
}
