//! The stream's shards, open and closed, and how they change.

use fastrand::Rng;
use smol_str::{SmolStr, format_smolstr};
use tokio::time::Instant;

use super::MAX_SHARDS;
use super::error::SimError;
use super::quota::{Quota, ShardLimiter};
use crate::record::HashKey;
use crate::service::EntryError;
use crate::shard::{HashRange, Shard};

/// A shard, open or closed.
#[derive(Debug)]
pub(super) struct SimShard {
    pub(super) shard: Shard,
    pub(super) id: SmolStr,
    /// The shards that it came from, by number.
    pub(super) parents: Vec<usize>,
    /// The stream's sequence when it opened: its own records have this one or later ones.
    pub(super) opened: u64,
    /// And when it closed.
    pub(super) closed: Option<u64>,
    pub(super) limiter: ShardLimiter,
    /// What throttled entries are answered with, once there was one: overloaded streams throttle most.
    pub(super) throttle: Option<EntryError>,
    /// Its records: places in what the stream has written.
    pub(super) written: Vec<usize>,
}

/// All shards. A shard's number is its place here, and stands in its id.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) shards: Vec<SimShard>,
    /// The numbers of those that are open, in the order of their ranges, which cover the ring.
    pub(super) open: Vec<usize>,
    quota: Quota,
    load: f64,
    /// Draws only the phases of staggered windows, so that the limiter leaves all other draws unchanged.
    rng: Rng,
    started: Instant,
}

impl Ring {
    /// A ring of so many even shards.
    pub(super) fn new(shards: usize, quota: Quota, load: f64, seed: u64, now: Instant) -> Self {
        let mut ring = Self {
            shards: Vec::new(),
            open: Vec::new(),
            quota,
            load,
            rng: Rng::with_seed(seed),
            started: now,
        };
        ring.open = even(shards).map(|range| ring.add(range, Vec::new(), 0, now)).collect();
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

    /// The number of the open shard that takes this hash key.
    pub(super) fn find(&self, hash: HashKey) -> usize {
        let starts_by = |number: &usize| self.range(*number).start() <= hash;
        // The first range starts at 0.
        self.open[self.open.partition_point(starts_by) - 1]
    }

    /// The open shards, in the order of their ranges.
    pub(super) fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.open.iter().map(|&number| &self.shards[number].shard)
    }

    /// The number of the shard with this id, open or closed.
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

    /// Cuts a shard in two, so that the upper part starts at `at`; by default in the middle.
    pub(super) fn split(
        &mut self,
        shard_id: &str,
        at: Option<HashKey>,
        sequence: u64,
        now: Instant,
    ) -> Result<(), SimError> {
        let place = self.open_place(shard_id)?;
        let parent = self.open[place];
        let range = self.range(parent);
        let (start, end) = (range.start().get(), range.end().get());
        let middle = || start + (end - start) / 2 + u128::from(start < end);
        let upper = at.map_or_else(middle, HashKey::get);
        if !(upper > start && upper <= end) {
            return Err(SimError::Indivisible { shard_id: shard_id.to_owned() });
        }
        self.shards[parent].closed = Some(sequence);
        let parts = [piece(start, upper - 1), piece(upper, end)];
        let children = parts.map(|range| self.add(range, vec![parent], sequence, now));
        self.open.splice(place..=place, children);
        Ok(())
    }

    /// Makes one shard of two neighbours.
    pub(super) fn merge(
        &mut self,
        shard_id: &str,
        adjacent: &str,
        sequence: u64,
        now: Instant,
    ) -> Result<(), SimError> {
        let places = [self.open_place(shard_id)?, self.open_place(adjacent)?];
        let [lower, upper] = [places[0].min(places[1]), places[0].max(places[1])];
        if lower + 1 != upper {
            let (shard_id, adjacent) = (shard_id.to_owned(), adjacent.to_owned());
            return Err(SimError::NotAdjacent { shard_id, adjacent });
        }
        let parents = places.map(|place| self.open[place]);
        for parent in parents {
            self.shards[parent].closed = Some(sequence);
        }
        let [start, end] = [lower, upper].map(|place| self.range(self.open[place]));
        let range = piece(start.start().get(), end.end().get());
        let child = self.add(range, parents.to_vec(), sequence, now);
        self.open.splice(lower..=upper, [child]);
        Ok(())
    }

    /// Closes all shards and opens so many even ones, unless there are so many.
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
        let opened = even(shards).map(|range| {
            // The service knows two parents at most: those of the range's ends.
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

    /// The place of an open shard among them.
    fn open_place(&self, shard_id: &str) -> Result<usize, SimError> {
        let number = self.number(shard_id)?;
        let place = self.open.iter().position(|&open| open == number);
        place.ok_or_else(|| SimError::Closed { shard_id: shard_id.to_owned() })
    }
}

fn piece(start: u128, end: u128) -> HashRange {
    HashRange::new(HashKey::new(start), HashKey::new(end)).expect("a shard's ends are in order")
}

/// The ring in so many pieces, of which no two differ by more than one hash key.
fn even(pieces: usize) -> impl Iterator<Item = HashRange> {
    let pieces = pieces as u128;
    // 2^128 is `pieces * width + wider`, and the first `wider` pieces have one key more.
    let (width, wider) = (u128::MAX / pieces, u128::MAX % pieces + 1);
    let start = move |place: u128| width * place + place.min(wider);
    let end = move |place| if place + 1 == pieces { u128::MAX } else { start(place + 1) - 1 };
    (0..pieces).map(move |place| piece(start(place), end(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_pieces_cover_the_ring() {
        for pieces in [1, 2, 3, 7, 64, 1_000, MAX_SHARDS] {
            let ranges: Vec<_> = even(pieces).collect();
            assert_eq!(ranges.len(), pieces);
            assert_eq!(ranges[0].start().get(), 0);
            assert_eq!(ranges[pieces - 1].end().get(), u128::MAX);
            let width = |range: &HashRange| range.end().get() - range.start().get();
            for pair in ranges.windows(2) {
                assert_eq!(pair[1].start().get(), pair[0].end().get() + 1);
                assert!(width(&pair[0]).abs_diff(width(&pair[1])) <= 1);
            }
        }
        assert_eq!(even(2).nth(1).unwrap().start().get(), 1 << 127);
    }
}
