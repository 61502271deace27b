/// What belongs to which piece of the hash ring, as far as it is known: hints, never a proof.
///
/// A place is the value of a hash key. An owner's piece reaches from the lowest to the highest place that is
/// known of it; what lies between two pieces counts to the nearer one.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    /// In the order of their places. They do not overlap.
    pieces: Vec<Piece<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece<T> {
    first: u128,
    last: u128,
    owner: T,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Ring<T> {
    /// Creates a ring of pieces, given by their first and last places in the order of the ring. A piece that
    /// overlaps with the one before it is left out; a [`ShardMap`](super::ShardMap) has none.
    pub(crate) fn new(pieces: impl IntoIterator<Item = (u128, u128, T)>) -> Self {
        let mut ring = Self::default();
        for (first, last, owner) in pieces {
            if first <= last && ring.pieces.last().is_none_or(|before| before.last < first) {
                ring.pieces.push(Piece { first, last, owner });
            }
        }
        ring
    }

    /// Whether more than one owner is known, so that the owner depends on the place.
    pub(crate) fn has_multiple_owners(&self) -> bool {
        self.pieces.len() > 1
    }

    /// The owner of everything, as long as no other is known.
    pub(crate) fn only(&self) -> Option<T> {
        match &self.pieces[..] {
            [piece] => Some(piece.owner),
            _ => None,
        }
    }

    /// Who owns `place`, as far as one can tell: nobody if nothing is known.
    pub(crate) fn find(&self, place: u128) -> Option<T> {
        self.locate(place).map(|(owner, _)| owner)
    }

    /// The same, and whether it is known and not only likely.
    pub(crate) fn locate(&self, place: u128) -> Option<(T, bool)> {
        let after = self.pieces.partition_point(|piece| piece.first <= place);
        let (left, right) = (after.checked_sub(1).map(|n| &self.pieces[n]), self.pieces.get(after));
        let nearest = match (left, right) {
            // A distance of 0 is one's own piece.
            (Some(left), Some(right)) => {
                let (to_left, to_right) = (place.saturating_sub(left.last), right.first - place);
                if to_left <= to_right { left } else { right }
            }
            (left, right) => left.or(right)?,
        };
        Some((nearest.owner, (nearest.first..=nearest.last).contains(&place)))
    }

    /// Learns that `place` is `owner`'s. Pieces that contradict this belong to nobody any more; their
    /// owners come back.
    pub(crate) fn learn(&mut self, place: u128, owner: T) -> Vec<T> {
        let after = self.pieces.partition_point(|piece| piece.first <= place);
        let is_own = |n: usize| self.pieces.get(n).is_some_and(|piece| piece.owner == owner);
        // As a rule it is next to what is known of its owner: then nothing moves.
        if let Some(n) = after.checked_sub(1).filter(|&n| is_own(n)) {
            let own = &mut self.pieces[n];
            own.last = own.last.max(place);
            return Vec::new();
        }
        let before_ends = after.checked_sub(1).is_none_or(|n| self.pieces[n].last < place);
        if before_ends && is_own(after) {
            self.pieces[after].first = place;
            return Vec::new();
        }
        let (mut first, mut last) = (place, place);
        if let Some(n) = self.pieces.iter().position(|piece| piece.owner == owner) {
            let known = self.pieces.remove(n);
            (first, last) = (first.min(known.first), last.max(known.last));
        }
        // Those that end before it stay, and those that begin after it.
        let from = self.pieces.partition_point(|piece| piece.last < first);
        let to = self.pieces.partition_point(|piece| piece.first <= last);
        let gone = self.pieces.splice(from..to, [Piece { first, last, owner }]);
        gone.map(|piece| piece.owner).collect()
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
            self.pieces.len()
        }

        fn knows(&self, place: u128, owner: T) -> bool {
            self.locate(place) == Some((owner, true))
        }
    }

    fn ring(pieces: &[(u128, u128, char)]) -> Ring<char> {
        Ring::new(pieces.iter().copied())
    }

    #[test]
    fn find_returns_nearest_owner() {
        let ring = ring(&[(10, 19, 'a'), (30, 39, 'b')]);
        let places = [0, 10, 19, 24, 25, 30, 39, u128::MAX];
        let found: String = places.iter().map(|&place| ring.find(place).unwrap()).collect();
        assert_eq!(found, "aaaabbbb");
        assert_eq!(Ring::<char>::default().find(7), None);
        assert!(ring.knows(10, 'a') && !ring.knows(9, 'a') && !ring.knows(10, 'b'));
    }

    #[test]
    fn learn_extends_range() {
        let mut ring = Ring::default();
        for (place, owner) in [(50, 'b'), (10, 'a'), (60, 'b'), (20, 'a'), (40, 'b')] {
            assert!(ring.learn(place, owner).is_empty());
        }
        assert!(ring.knows(15, 'a') && ring.knows(55, 'b') && ring.knows(40, 'b'));
        assert!(!ring.knows(21, 'a') && !ring.knows(39, 'b'));
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn learn_follows_split_and_merge() {
        let mut split = ring(&[(0, 99, 'p')]);
        assert_eq!(split.learn(70, 'r'), ['p'], "a closed shard owns nothing");
        assert!(split.learn(20, 'l').is_empty());
        assert_eq!((split.find(0), split.find(99)), (Some('l'), Some('r')));

        let mut merged = ring(&[(0, 49, 'l'), (50, 99, 'r')]);
        assert_eq!(merged.learn(70, 'm'), ['r']);
        assert_eq!(merged.learn(20, 'm'), ['l']);
        assert_eq!((merged.len(), merged.knows(45, 'm')), (1, true));
        // An answer that comes late, from before the merge.
        assert_eq!(merged.learn(30, 'l'), ['m']);
        assert_eq!(merged.learn(30, 'm'), ['l']);
    }

    #[test]
    fn new_skips_overlapping_ranges() {
        let ring = ring(&[(0, 9, 'a'), (5, 20, 'b'), (10, u128::MAX, 'c'), (30, 40, 'd')]);
        assert_eq!((ring.find(7), ring.find(35), ring.len()), (Some('a'), Some('c'), 2));
    }

    /// Where even shards start, as the service computes it: the first ones have a hash key more.
    fn even_starts(shards: u128) -> Vec<u128> {
        let (width, wider) = (u128::MAX / shards, u128::MAX % shards + 1);
        (0..shards).map(|n| width * n + n.min(wider)).collect()
    }

    fn random_starts(rng: &mut Rng) -> Vec<u128> {
        let count = rng.usize(..17);
        let starts: BTreeSet<_> = (0..count).map(|_| rng.u128(1..) >> rng.u32(..128)).collect();
        [0].into_iter().chain(starts.into_iter().filter(|start| *start > 0)).collect()
    }

    /// The starts of shards: 1 to 17 even ones, some narrow ones, and drawn ones.
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

    /// The places at, below and above each border, with the shards that own them.
    fn around_borders(starts: &[u128]) -> Vec<(u128, usize)> {
        let around = |start: u128| [start.wrapping_sub(1), start, start.wrapping_add(1)];
        let places = starts.iter().flat_map(|&start| around(start)).chain([u128::MAX]);
        places.map(|place| (place, starts.partition_point(|start| *start <= place) - 1)).collect()
    }

    #[test]
    fn listed_shards_own_their_borders() {
        for starts in all_starts() {
            let ends = starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
            let pieces = starts.iter().zip(ends).enumerate();
            let ring = Ring::new(pieces.map(|(shard, (&first, last))| (first, last, shard)));
            assert_eq!(ring.len(), starts.len(), "{starts:?}");
            for (place, shard) in around_borders(&starts) {
                assert_eq!(ring.locate(place), Some((shard, true)), "{place} in {starts:?}");
            }
        }
    }

    #[test]
    fn learned_shards_own_their_borders() {
        let mut rng = Rng::with_seed(2);
        for starts in all_starts() {
            let mut places = around_borders(&starts);
            rng.shuffle(&mut places);
            let mut ring = Ring::default();
            for &(place, shard) in &places {
                assert!(ring.learn(place, shard).is_empty(), "{place} in {starts:?}");
            }
            for (place, shard) in places {
                assert_eq!(ring.locate(place), Some((shard, true)), "{place} in {starts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn latest_observation_wins(lessons in prop::collection::vec((0..60_u128, 0..6_u8), 1..80)) {
            let mut ring = Ring::default();
            for (place, owner) in lessons {
                let gone = ring.learn(place, owner);
                prop_assert!(!gone.contains(&owner));
                prop_assert!(ring.knows(place, owner) && ring.find(place) == Some(owner));
                for pair in ring.pieces.windows(2) {
                    prop_assert!(pair[0].last < pair[1].first && pair[0].owner != pair[1].owner);
                }
                prop_assert!(ring.pieces.iter().all(|piece| piece.first <= piece.last));
                prop_assert!(ring.pieces.iter().all(|piece| !gone.contains(&piece.owner)));
            }
        }
    }
}
