use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::HashRange;
use crate::record::HashKey;

/// An open shard, with its id and its range of hash keys. Cloning a shard does not allocate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shard {
    id: SmolStr,
    range: HashRange,
}

impl Shard {
    /// Creates a shard with the given id, such as `shardId-000000000000`, and the given range of hash keys.
    #[must_use]
    pub fn new(id: impl AsRef<str>, range: HashRange) -> Self {
        Self { id: SmolStr::new(id), range }
    }

    /// Returns the id of the shard.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the range of hash keys accepted by the shard.
    #[must_use]
    pub fn range(&self) -> HashRange {
        self.range
    }
}

/// The open shards of a stream, indexed by hash key and by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardMap {
    /// Sorted by their ranges, which are disjoint.
    shards: Vec<Arc<Shard>>,
    by_id: HashMap<SmolStr, usize>,
}

impl ShardMap {
    /// Creates a map of `shards`, which can be in any order. A list requested during a reshard can have gaps. Returns
    /// an error if the list is empty, an id occurs twice, or two ranges overlap.
    pub(crate) fn new(shards: Vec<Shard>) -> Result<Self, ShardMapError> {
        if shards.is_empty() {
            return Err(ShardMapError::Empty);
        }
        let mut shards: Vec<_> = shards.into_iter().map(Arc::new).collect();
        shards.sort_by_key(|shard| shard.range.start());
        let mut by_id = HashMap::with_capacity(shards.len());
        for (place, shard) in shards.iter().enumerate() {
            if by_id.insert(shard.id.clone(), place).is_some() {
                return Err(ShardMapError::Duplicate { id: shard.id.clone() });
            }
        }
        for pair in shards.windows(2) {
            if pair[1].range.start() <= pair[0].range.end() {
                return Err(ShardMapError::Overlap {
                    first: Shard::clone(&pair[0]),
                    second: Shard::clone(&pair[1]),
                });
            }
        }
        Ok(Self { shards, by_id })
    }

    /// Returns the shard whose range contains `hash`, or `None` if `hash` is in a gap.
    pub(crate) fn find(&self, hash: HashKey) -> Option<&Arc<Shard>> {
        let after = self.shards.partition_point(|shard| shard.range.start() <= hash);
        self.shards[..after].last().filter(|shard| shard.range.contains(hash))
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Arc<Shard>> {
        self.by_id.get(id).map(|&place| &self.shards[place])
    }

    /// Iterates over the shards in the order of their ranges.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().map(|shard| &**shard)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShardMapError {
    #[error("no open shards listed")]
    Empty,
    #[error("shard {id} listed twice")]
    Duplicate { id: SmolStr },
    #[error(
        "shards {} ({}) and {} ({}) overlap, list open shards only",
        first.id, first.range, second.id, second.range
    )]
    Overlap { first: Shard, second: Shard },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn shard(id: impl AsRef<str>, start: u128, end: u128) -> Shard {
        Shard::new(id, HashRange::new(HashKey::new(start), HashKey::new(end)).unwrap())
    }

    /// Returns shards that cover the ring, with borders at `places`.
    fn shards_at(places: impl IntoIterator<Item = u128>) -> Vec<Shard> {
        let starts: BTreeSet<u128> = places.into_iter().chain([0]).collect();
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([u128::MAX]);
        let pieces = starts.iter().zip(ends).enumerate();
        pieces.map(|(n, (&start, end))| shard(format!("shardId-{n:012}"), start, end)).collect()
    }

    fn found(map: &ShardMap, hash: u128) -> Option<&str> {
        map.find(HashKey::new(hash)).map(|shard| shard.id())
    }

    #[test]
    fn shards_are_found_by_hash_and_id() {
        const SHARDS: u128 = 5_000;
        let mut shards = shards_at((0..SHARDS).map(|n| u128::MAX / SHARDS * n));
        fastrand::Rng::with_seed(1).shuffle(&mut shards);
        let map = ShardMap::new(shards.clone()).unwrap();
        assert_eq!(map.shards.len(), 5_000);
        for shard in &shards {
            let [start, end] = [shard.range.start(), shard.range.end()].map(HashKey::get);
            for hash in [start, start + (end - start) / 2, end] {
                assert_eq!(found(&map, hash), Some(shard.id()));
            }
            assert_eq!(map.by_id(shard.id()).map(|shard| &**shard), Some(shard));
        }
        assert_eq!(found(&map, 0), Some("shardId-000000000000"));
        assert_eq!(found(&map, u128::MAX), Some("shardId-000000004999"));
        assert_eq!(map.by_id("shardId-000000005000"), None);
    }

    #[test]
    fn gap_has_no_shard() {
        let map = ShardMap::new(vec![shard("b", 30, 39), shard("a", 10, 19)]).unwrap();
        let places = [0, 9, 10, 19, 20, 29, 30, 39, 40, u128::MAX];
        let [a, b] = ["a", "b"].map(Some);
        let expected = [None, None, a, a, None, None, b, b, None, None];
        assert_eq!(places.map(|hash| found(&map, hash)), expected);
    }

    #[test]
    fn invalid_list_is_rejected_with_reason() {
        let refused = |shards| ShardMap::new(shards).unwrap_err().to_string();
        assert_eq!(refused(vec![]), "no open shards listed");
        let twice = refused(vec![shard("a", 0, 9), shard("b", 10, 19), shard("a", 20, 29)]);
        assert_eq!(twice, "shard a listed twice");
        let parent = refused(vec![shard("b", 0, 4), shard("c", 5, 9), shard("a", 0, 9)]);
        assert!(parent.contains("overlap, list open shards only"), "{parent}");
        assert!(refused(vec![shard("a", 0, 9), shard("b", 0, 9)]).contains("overlap"));
        let touching = refused(vec![shard("b", 9, 19), shard("a", 0, 9)]);
        assert!(touching.starts_with("shards a (0 to 9) and b (9 to 19)"), "{touching}");
    }

    proptest! {
        #[test]
        fn find_matches_linear_scan(
            places in proptest::collection::vec(any::<u128>(), 0..50),
            missing in proptest::collection::vec(any::<bool>(), 50),
            hashes in proptest::collection::vec(any::<u128>(), 20),
        ) {
            let mut missing = missing.into_iter();
            let mut shards = shards_at(places.iter().copied());
            // The first shard stays in the list, because a map must contain at least one shard.
            let first = shards.remove(0);
            shards.retain(|_| !missing.next().unwrap_or(false));
            shards.push(first);
            let map = ShardMap::new(shards.clone()).unwrap();
            let around = places.iter().flat_map(|&p| [p.saturating_sub(1), p, p.saturating_add(1)]);
            for hash in around.chain(hashes).chain([0, u128::MAX]).map(HashKey::new) {
                let scanned = shards.iter().find(|shard| shard.range.contains(hash));
                prop_assert_eq!(map.find(hash).map(|shard| &**shard), scanned);
            }
        }
    }
}
