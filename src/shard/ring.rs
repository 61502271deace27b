/// What belongs to which piece of the hash ring, as far as it is known: hints, never a proof.
///
/// Places are the upper halves of hash keys. An owner's piece reaches from the lowest to the highest place
/// that is known of it; what lies between two pieces counts to the nearer one.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    /// In the order of their places. They do not overlap.
    pieces: Vec<Piece<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece<T> {
    first: u64,
    last: u64,
    owner: T,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Ring<T> {
    /// A ring of pieces from their first to their last places. What overlaps with an earlier piece is
    /// left out.
    pub(crate) fn new(pieces: impl IntoIterator<Item = (u64, u64, T)>) -> Self {
        let pieces = pieces.into_iter().map(|(first, last, owner)| Piece { first, last, owner });
        let mut pieces: Vec<_> = pieces.collect();
        pieces.sort_by_key(|piece| piece.first);
        let mut free_from = Some(0);
        pieces.retain(|piece| {
            let fits = free_from.is_some_and(|free_from| free_from <= piece.first);
            if fits {
                free_from = piece.last.checked_add(1);
            }
            fits
        });
        Self { pieces }
    }

    /// Whether more than one owner is known, so that it takes a place to tell whose something is.
    pub(crate) fn tells_apart(&self) -> bool {
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
    pub(crate) fn find(&self, place: u64) -> Option<T> {
        self.locate(place).map(|(owner, _)| owner)
    }

    /// The same, and whether it is known and not only likely.
    pub(crate) fn locate(&self, place: u64) -> Option<(T, bool)> {
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
    pub(crate) fn learn(&mut self, place: u64, owner: T) -> Vec<T> {
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
    use proptest::prelude::*;

    use super::*;

    impl<T: Copy + PartialEq> Ring<T> {
        fn len(&self) -> usize {
            self.pieces.len()
        }

        fn knows(&self, place: u64, owner: T) -> bool {
            self.locate(place) == Some((owner, true))
        }
    }

    fn ring(pieces: &[(u64, u64, char)]) -> Ring<char> {
        Ring::new(pieces.iter().copied())
    }

    #[test]
    fn what_lies_between_counts_to_the_nearer_piece() {
        let ring = ring(&[(10, 19, 'a'), (30, 39, 'b')]);
        let places = [0, 10, 19, 24, 25, 30, 39, u64::MAX];
        let found: String = places.iter().map(|&place| ring.find(place).unwrap()).collect();
        assert_eq!(found, "aaaabbbb");
        assert_eq!(Ring::<char>::default().find(7), None);
        assert!(ring.knows(10, 'a') && !ring.knows(9, 'a') && !ring.knows(10, 'b'));
    }

    #[test]
    fn pieces_grow_with_what_is_learned() {
        let mut ring = Ring::default();
        for (place, owner) in [(50, 'b'), (10, 'a'), (60, 'b'), (20, 'a'), (40, 'b')] {
            assert!(ring.learn(place, owner).is_empty());
        }
        assert!(ring.knows(15, 'a') && ring.knows(55, 'b') && ring.knows(40, 'b'));
        assert!(!ring.knows(21, 'a') && !ring.knows(39, 'b'));
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn a_split_and_a_merge_heal() {
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
    fn a_list_that_overlaps_is_taken_as_far_as_it_makes_sense() {
        let ring = ring(&[(0, 9, 'a'), (5, 20, 'b'), (10, u64::MAX, 'c'), (30, 40, 'd')]);
        assert_eq!((ring.find(7), ring.find(35), ring.len()), (Some('a'), Some('c'), 2));
    }

    proptest! {
        #[test]
        fn the_latest_lesson_always_holds(lessons in prop::collection::vec((0..60_u64, 0..6_u8), 1..80)) {
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
