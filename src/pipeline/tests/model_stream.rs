//! Simulated stream of the model test, with its shards and the records read by a consumer.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::model_steps::Position;
use crate::aggregate::{Member, deaggregate};
use crate::record::{HashKey, Key};
use crate::service::{Entry, Placement};
use crate::shard::{HashRange, Shard, hash_of};

pub(super) struct Stream {
    /// The open shards in the order of their ranges.
    pub(super) shards: Vec<Shard>,
    created: usize,
    /// Numbers of the records read by a consumer. Misplaced aggregates are missing, because the KCL discards an
    /// aggregate if its shard does not contain the hash of each member.
    pub(super) readable: BTreeSet<usize>,
    /// Record numbers by partition key and explicit hash key, in the order in which a consumer reads them.
    pub(super) read: BTreeMap<OrderingKey, Vec<usize>>,
}

type OrderingKey = (Option<String>, Option<u128>);

impl Stream {
    /// Creates a stream of even shards.
    pub(super) fn new(shards: usize) -> Self {
        let mut stream = Self {
            shards: Vec::new(),
            created: 0,
            readable: BTreeSet::new(),
            read: BTreeMap::new(),
        };
        let width = u128::MAX / shards as u128;
        for number in 0..shards {
            let start = number as u128 * width;
            let end = if number + 1 == shards { u128::MAX } else { start + width - 1 };
            let shard = stream.shard(start, end);
            stream.shards.push(shard);
        }
        stream
    }

    pub(super) fn hash_key(&self, place: Position) -> u128 {
        match place {
            Position::Anywhere(hash_key) => hash_key,
            Position::NearBorder { shard, offset } => {
                let (start, _) = ends(&self.shards[shard % self.shards.len()]);
                start.wrapping_add_signed(offset.into())
            }
        }
    }

    fn shard(&mut self, start: u128, end: u128) -> Shard {
        self.created += 1;
        let range = HashRange::new(HashKey::new(start), HashKey::new(end)).unwrap();
        Shard::new(format!("shardId-{:012}", self.created), range)
    }

    pub(super) fn reshard(&mut self, rng: &mut Rng) {
        let place = rng.usize(..self.shards.len());
        let (start, end) = ends(&self.shards[place]);
        if rng.bool() && place + 1 < self.shards.len() {
            let merged = self.shard(start, ends(&self.shards[place + 1]).1);
            self.shards.splice(place..place + 2, [merged]);
        } else if start < end {
            let middle = rng.u128(start..end);
            let halves = [self.shard(start, middle), self.shard(middle + 1, end)];
            self.shards.splice(place..=place, halves);
        }
    }

    pub(super) fn write(&mut self, entry: &Entry) -> Placement {
        let hash = hash_of_entry(entry);
        let shard = self.shards.iter().find(|shard| shard.range().contains(hash)).unwrap();
        let found: Vec<_> = deaggregate(entry.data()).collect();
        let is_in_shard = |member: &Member| shard.range().contains(hash_of_member(member));
        if found.len() == 1 || found.iter().all(is_in_shard) {
            self.readable.extend(members(entry));
            for member in &found {
                // The data of a plain record does not contain its key.
                let (key, explicit) = match found.len() {
                    1 => (entry.partition_key(), entry.explicit_hash_key()),
                    _ => (member.partition_key(), member.explicit_hash_key()),
                };
                let key = (key.map(|key| key.to_string()), explicit.map(HashKey::get));
                self.read.entry(key).or_default().push(number(member.data()));
            }
        }
        Placement::new(shard.id(), "1")
    }
}

fn ends(shard: &Shard) -> (u128, u128) {
    (shard.range().start().get(), shard.range().end().get())
}

fn hash(explicit: Option<HashKey>, key: Option<&Key>) -> HashKey {
    explicit.or_else(|| key.map(|key| hash_of(key))).unwrap_or(HashKey::new(0))
}

/// Returns the hash that the service uses to choose the shard of an entry.
pub(super) fn hash_of_entry(entry: &Entry) -> HashKey {
    hash(entry.explicit_hash_key(), entry.partition_key())
}

/// Returns the hash that a consumer uses to verify a member.
pub(super) fn hash_of_member(member: &Member) -> HashKey {
    hash(member.explicit_hash_key(), member.partition_key())
}

/// Returns the numbers of the records of an entry.
pub(super) fn members(entry: &Entry) -> Vec<usize> {
    deaggregate(entry.data()).map(|member| number(member.data())).collect()
}

/// Returns the number at the start of the data.
pub(super) fn number(data: &[u8]) -> usize {
    let text = std::str::from_utf8(data).unwrap();
    text.trim_end_matches('.').parse().unwrap()
}
