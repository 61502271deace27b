/// Map from positions on the hash ring, which are values of hash keys, to owners. Lookups are best-effort. The range of
/// an owner extends from its lowest to its highest learned position. A lookup between two ranges returns the nearer
/// owner.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    /// Sorted and disjoint.
    ranges: Vec<OwnedRange<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedRange<T> {
    first: u128,
    last: u128,
    owner: T,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { ranges: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Ring<T> {
    /// Creates a ring from sorted ranges of first and last positions. Skips ranges that overlap the one before.
    pub(crate) fn new(ranges: impl IntoIterator<Item = (u128, u128, T)>) -> Self {
        let mut ring = Self::default();
        for (first, last, owner) in ranges {
            if first <= last && ring.ranges.last().is_none_or(|before| before.last < first) {
                ring.ranges.push(OwnedRange { first, last, owner });
            }
        }
        ring
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = T> {
        self.ranges.iter().map(|range| range.owner)
    }

    pub(crate) fn has_unused_capacity(&self) -> bool {
        self.ranges.len() < self.ranges.capacity()
    }

    pub(crate) fn has_multiple_owners(&self) -> bool {
        self.ranges.len() > 1
    }

    pub(crate) fn only(&self) -> Option<T> {
        match &self.ranges[..] {
            [range] => Some(range.owner),
            _ => None,
        }
    }

    /// Returns the probable owner of `position`, or `None` if the ring is empty.
    pub(crate) fn find(&self, position: u128) -> Option<T> {
        self.locate(position).map(|(owner, _)| owner)
    }

    /// Returns the probable owner of `position`, and whether `position` is inside the range of that owner.
    pub(crate) fn locate(&self, position: u128) -> Option<(T, bool)> {
        let after = self.ranges.partition_point(|range| range.first <= position);
        let (left, right) = (after.checked_sub(1).map(|n| &self.ranges[n]), self.ranges.get(after));
        let nearest = match (left, right) {
            (Some(left), Some(right)) => {
                let (to_left, to_right) =
                    (position.saturating_sub(left.last), right.first - position);
                if to_left <= to_right { left } else { right }
            }
            (left, right) => left.or(right)?,
        };
        Some((nearest.owner, (nearest.first..=nearest.last).contains(&position)))
    }

    /// Extends the range of `owner` to `position`. Removes all other ranges that overlap, and returns their owners.
    pub(crate) fn learn(&mut self, position: u128, owner: T) -> Vec<T> {
        let after = self.ranges.partition_point(|range| range.first <= position);
        let is_own = |n: usize| self.ranges.get(n).is_some_and(|range| range.owner == owner);
        // Fast path: `position` is inside or next to the range of its owner.
        if let Some(n) = after.checked_sub(1).filter(|&n| is_own(n)) {
            let own = &mut self.ranges[n];
            own.last = own.last.max(position);
            return Vec::new();
        }
        let before_ends = after.checked_sub(1).is_none_or(|n| self.ranges[n].last < position);
        if before_ends && is_own(after) {
            self.ranges[after].first = position;
            return Vec::new();
        }
        let (mut first, mut last) = (position, position);
        if let Some(n) = self.ranges.iter().position(|range| range.owner == owner) {
            let known = self.ranges.remove(n);
            (first, last) = (first.min(known.first), last.max(known.last));
        }
        let from = self.ranges.partition_point(|range| range.last < first);
        let to = self.ranges.partition_point(|range| range.first <= last);
        let gone = self.ranges.splice(from..to, [OwnedRange { first, last, owner }]);
        gone.map(|range| range.owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    impl<T: Copy + PartialEq> Ring<T> {
        fn len(&self) -> usize {
            self.ranges.len()
        }

        fn knows(&self, position: u128, owner: T) -> bool {
            self.locate(position) == Some((owner, true))
        }
    }

    fn ring(ranges: &[(u128, u128, char)]) -> Ring<char> {
        Ring::new(ranges.iter().copied())
    }

    #[test]
    fn find_returns_nearest_owner() {
        let ring = ring(&[(10, 19, 'a'), (30, 39, 'b')]);
        let positions = [0, 10, 19, 24, 25, 30, 39, u128::MAX];
        let found: String =
            positions.iter().map(|&position| ring.find(position).unwrap()).collect();
        assert_eq!(found, "aaaabbbb");
        assert_eq!(Ring::<char>::default().find(7), None);
        assert!(ring.knows(10, 'a') && !ring.knows(9, 'a') && !ring.knows(10, 'b'));
    }

    #[test]
    fn learn_extends_range() {
        let mut ring = Ring::default();
        for (position, owner) in [(50, 'b'), (10, 'a'), (60, 'b'), (20, 'a'), (40, 'b')] {
            assert!(ring.learn(position, owner).is_empty());
        }
        assert!(ring.knows(15, 'a') && ring.knows(55, 'b') && ring.knows(40, 'b'));
        assert!(!ring.knows(21, 'a') && !ring.knows(39, 'b'));
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn learn_follows_split_and_merge() {
        let mut split = ring(&[(0, 99, 'p')]);
        assert_eq!(split.learn(70, 'r'), ['p'], "a closed shard owns no range");
        assert!(split.learn(20, 'l').is_empty());
        assert_eq!((split.find(0), split.find(99)), (Some('l'), Some('r')));

        let mut merged = ring(&[(0, 49, 'l'), (50, 99, 'r')]);
        assert_eq!(merged.learn(70, 'm'), ['r']);
        assert_eq!(merged.learn(20, 'm'), ['l']);
        assert_eq!((merged.len(), merged.knows(45, 'm')), (1, true));
        // This response is late, because its request was sent before the merge.
        assert_eq!(merged.learn(30, 'l'), ['m']);
        assert_eq!(merged.learn(30, 'm'), ['l']);
    }

    #[test]
    fn new_skips_overlapping_ranges() {
        let ring = ring(&[(0, 9, 'a'), (5, 20, 'b'), (10, u128::MAX, 'c'), (30, 40, 'd')]);
        assert_eq!((ring.find(7), ring.find(35), ring.len()), (Some('a'), Some('c'), 2));
    }

    /// Returns the start positions of even shards as in the service: the first shards are one key wider.
    fn even_starts(shards: u128) -> Vec<u128> {
        let (width, wider) = (u128::MAX / shards, u128::MAX % shards + 1);
        (0..shards).map(|n| width * n + n.min(wider)).collect()
    }

    fn random_starts(rng: &mut Rng) -> Vec<u128> {
        let count = rng.usize(..17);
        let starts: BTreeSet<_> = (0..count).map(|_| rng.u128(1..) >> rng.u32(..128)).collect();
        [0].into_iter().chain(starts.into_iter().filter(|start| *start > 0)).collect()
    }

    fn all_starts() -> Vec<Vec<u128>> {
        let narrow = [
            vec![0, 1, 2, u128::MAX - 1, u128::MAX],
            vec![0, 1 << 64, (1 << 64) + 1, 2 << 64],
            vec![0, (1 << 127) - 1, 1 << 127, (1 << 127) + 1],
        ];
        let mut rng = Rng::with_seed(1);
        let drawn = (0..100).map(|_| random_starts(&mut rng));
        (1..=17).map(even_starts).chain(narrow).chain(drawn).collect()
    }

    fn around_borders(starts: &[u128]) -> Vec<(u128, usize)> {
        let around = |start: u128| [start.wrapping_sub(1), start, start.wrapping_add(1)];
        let positions = starts.iter().flat_map(|&start| around(start)).chain([u128::MAX]);
        positions
            .map(|position| (position, starts.partition_point(|start| *start <= position) - 1))
            .collect()
    }

    #[test]
    fn listed_shards_own_their_borders() {
        for starts in all_starts() {
            let ends = starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
            let ranges = starts.iter().zip(ends).enumerate();
            let ring = Ring::new(ranges.map(|(shard, (&first, last))| (first, last, shard)));
            assert_eq!(ring.len(), starts.len(), "{starts:?}");
            for (position, shard) in around_borders(&starts) {
                assert_eq!(ring.locate(position), Some((shard, true)), "{position} in {starts:?}");
            }
        }
    }

    #[test]
    fn learned_shards_own_their_borders() {
        let mut rng = Rng::with_seed(2);
        for starts in all_starts() {
            let mut positions = around_borders(&starts);
            rng.shuffle(&mut positions);
            let mut ring = Ring::default();
            for &(position, shard) in &positions {
                assert!(ring.learn(position, shard).is_empty(), "{position} in {starts:?}");
            }
            for (position, shard) in positions {
                assert_eq!(ring.locate(position), Some((shard, true)), "{position} in {starts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn latest_observation_wins(observations in prop::collection::vec((0..60_u128, 0..6_u8), 1..80)) {
            let mut ring = Ring::default();
            for (position, owner) in observations {
                let gone = ring.learn(position, owner);
                prop_assert!(!gone.contains(&owner));
                prop_assert!(ring.knows(position, owner) && ring.find(position) == Some(owner));
                for pair in ring.ranges.windows(2) {
                    prop_assert!(pair[0].last < pair[1].first && pair[0].owner != pair[1].owner);
                }
                prop_assert!(ring.ranges.iter().all(|range| range.first <= range.last));
                prop_assert!(ring.ranges.iter().all(|range| !gone.contains(&range.owner)));
            }
        }
    }
}
