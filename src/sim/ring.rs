use fastrand::Rng;
use smol_str::{SmolStr, format_smolstr};
use tokio::time::Instant;

use super::MAX_SHARDS;
use super::error::SimError;
use super::quota::{Quota, ShardLimiter};
use crate::record::HashKey;
use crate::service::EntryError;
use crate::shard::{HashRange, Shard};

#[derive(Debug)]
pub(super) struct SimShard {
    pub(super) shard: Shard,
    pub(super) id: SmolStr,
    pub(super) parents: Vec<usize>,
    /// Next sequence number of the stream when the shard was opened.
    pub(super) opened: u64,
    /// Next sequence number of the stream when the shard was closed.
    pub(super) closed: Option<u64>,
    pub(super) limiter: ShardLimiter,
    /// Error of throttled entries. It is cached, because an overloaded stream returns it often.
    pub(super) throttle: Option<EntryError>,
    /// Indexes of the shard's records in the list of written records of the stream.
    pub(super) written: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Ring {
    /// All shards. The index of a shard is its number.
    pub(super) shards: Vec<SimShard>,
    /// Numbers of the open shards, ordered by hash key range. The ranges cover the whole ring.
    pub(super) open: Vec<usize>,
    quota: Quota,
    load: f64,
    /// Separate generator for staggered windows, so that the limiter does not change other random outcomes.
    rng: Rng,
    started: Instant,
}

impl Ring {
    pub(super) fn new(shards: usize, quota: Quota, load: f64, seed: u64, now: Instant) -> Self {
        let mut ring = Self {
            shards: Vec::new(),
            open: Vec::new(),
            quota,
            load,
            rng: Rng::with_seed(seed),
            started: now,
        };
        ring.open = even_ranges(shards).map(|range| ring.add(range, Vec::new(), 0, now)).collect();
        ring
    }

    fn add(&mut self, range: HashRange, parents: Vec<usize>, opened: u64, now: Instant) -> usize {
        let number = self.shards.len();
        let id = format_smolstr!("shardId-{number:012}");
        let age = now.saturating_duration_since(self.started);
        let limiter = ShardLimiter::new(self.quota, self.load, age, &mut self.rng, now);
        self.shards.push(SimShard {
            shard: Shard::new(&id, range),
            id,
            parents,
            opened,
            closed: None,
            limiter,
            throttle: None,
            written: Vec::new(),
        });
        number
    }

    /// Returns the number of the open shard whose range contains the hash key.
    pub(super) fn find(&self, hash: HashKey) -> usize {
        let starts_by = |number: &usize| self.range(*number).start() <= hash;
        // The first range starts at 0.
        self.open[self.open.partition_point(starts_by) - 1]
    }

    pub(super) fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.open.iter().map(|&number| &self.shards[number].shard)
    }

    /// Returns the number of an open or closed shard.
    pub(super) fn number(&self, shard_id: &str) -> Result<usize, SimError> {
        let number = self.shards.iter().position(|shard| shard.id == shard_id);
        number.ok_or_else(|| SimError::NoSuchShard { shard_id: shard_id.to_owned() })
    }

    pub(super) fn set_load(&mut self, load: f64, now: Instant) {
        self.load = load;
        for &number in &self.open {
            self.shards[number].limiter.set_load(load, now);
        }
    }

    pub(super) fn set_quota(&mut self, records_per_s: u32, bytes_per_s: u32, now: Instant) {
        self.quota = Quota { records_per_s, bytes_per_s, ..self.quota };
        for &number in &self.open {
            self.shards[number].limiter.set_quota(self.quota, now);
        }
    }

    pub(super) fn set_shard_load(
        &mut self,
        shard_id: &str,
        load: f64,
        now: Instant,
    ) -> Result<(), SimError> {
        let number = self.number(shard_id)?;
        self.shards[number].limiter.set_load(load, now);
        Ok(())
    }

    /// Splits a shard. The upper child starts at `at`, or in the middle of the range if `at` is `None`.
    pub(super) fn split(
        &mut self,
        shard_id: &str,
        at: Option<HashKey>,
        sequence: u64,
        now: Instant,
    ) -> Result<(), SimError> {
        let index = self.open_index(shard_id)?;
        let parent = self.open[index];
        let range = self.range(parent);
        let (start, end) = (range.start().get(), range.end().get());
        let middle = || start + (end - start) / 2 + u128::from(start < end);
        let upper = at.map_or_else(middle, HashKey::get);
        if !(upper > start && upper <= end) {
            return Err(SimError::Indivisible { shard_id: shard_id.to_owned() });
        }
        self.shards[parent].closed = Some(sequence);
        let ranges = [hash_range(start, upper - 1), hash_range(upper, end)];
        let children = ranges.map(|range| self.add(range, vec![parent], sequence, now));
        self.open.splice(index..=index, children);
        Ok(())
    }

    pub(super) fn merge(
        &mut self,
        shard_id: &str,
        adjacent: &str,
        sequence: u64,
        now: Instant,
    ) -> Result<(), SimError> {
        let indexes = [self.open_index(shard_id)?, self.open_index(adjacent)?];
        let lower = indexes[0].min(indexes[1]);
        let upper = indexes[0].max(indexes[1]);
        if lower + 1 != upper {
            let (shard_id, adjacent) = (shard_id.to_owned(), adjacent.to_owned());
            return Err(SimError::NotAdjacent { shard_id, adjacent });
        }
        let parents = indexes.map(|index| self.open[index]);
        for parent in parents {
            self.shards[parent].closed = Some(sequence);
        }
        let start = self.range(self.open[lower]).start();
        let end = self.range(self.open[upper]).end();
        let range = hash_range(start.get(), end.get());
        let child = self.add(range, parents.to_vec(), sequence, now);
        self.open.splice(lower..=upper, [child]);
        Ok(())
    }

    /// Replaces the open shards with `shards` new shards of equal size. Does nothing if `shards` shards are open.
    pub(super) fn update_count(
        &mut self,
        shards: usize,
        sequence: u64,
        now: Instant,
    ) -> Result<(), SimError> {
        if !(1..=MAX_SHARDS).contains(&shards) {
            return Err(SimError::ShardCount { shards });
        }
        if shards == self.open.len() {
            return Ok(());
        }
        let opened = even_ranges(shards).map(|range| {
            // A shard can have at most two parents, so only the parents at the start and end of its range are kept.
            let mut parents = vec![self.find(range.start()), self.find(range.end())];
            parents.dedup();
            self.add(range, parents, sequence, now)
        });
        let opened = opened.collect();
        for closed in std::mem::replace(&mut self.open, opened) {
            self.shards[closed].closed = Some(sequence);
        }
        Ok(())
    }

    fn range(&self, number: usize) -> HashRange {
        self.shards[number].shard.range()
    }

    fn open_index(&self, shard_id: &str) -> Result<usize, SimError> {
        let number = self.number(shard_id)?;
        let index = self.open.iter().position(|&open| open == number);
        index.ok_or_else(|| SimError::Closed { shard_id: shard_id.to_owned() })
    }
}

fn hash_range(start: u128, end: u128) -> HashRange {
    HashRange::new(HashKey::new(start), HashKey::new(end)).expect("start <= end")
}

/// Divides the ring into `count` ranges whose sizes differ by at most one hash key.
fn even_ranges(count: usize) -> impl Iterator<Item = HashRange> {
    let count = count as u128;
    // 2^128 equals `count * width + wider`. The first `wider` ranges therefore have one hash key more than `width`.
    let width = u128::MAX / count;
    let wider = u128::MAX % count + 1;
    let start = move |index: u128| width * index + index.min(wider);
    let end = move |index| if index + 1 == count { u128::MAX } else { start(index + 1) - 1 };
    (0..count).map(move |index| hash_range(start(index), end(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_ranges_cover_ring() {
        for count in [1, 2, 3, 7, 64, 1_000, MAX_SHARDS] {
            let ranges: Vec<_> = even_ranges(count).collect();
            assert_eq!(ranges.len(), count);
            assert_eq!(ranges[0].start().get(), 0);
            assert_eq!(ranges[count - 1].end().get(), u128::MAX);
            let width = |range: &HashRange| range.end().get() - range.start().get();
            for pair in ranges.windows(2) {
                assert_eq!(pair[1].start().get(), pair[0].end().get() + 1);
                assert!(width(&pair[0]).abs_diff(width(&pair[1])) <= 1);
            }
        }
        assert_eq!(even_ranges(2).nth(1).unwrap().start().get(), 1 << 127);
    }
}
