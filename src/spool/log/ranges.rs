use std::ops::Range;

/// Set of record numbers, as sorted ranges that neither overlap nor touch.
///
/// An empty set and a set of one range, which are the usual cases, cost next to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RangeSet {
    ranges: Vec<Range<u32>>,
    len: u32,
}

impl RangeSet {
    /// Adds a range and returns how many of its numbers are new.
    pub(crate) fn insert(&mut self, range: Range<u32>) -> u32 {
        if range.is_empty() {
            return 0;
        }
        // Ranges that overlap or touch the new one are replaced.
        let start = self.ranges.partition_point(|other| other.end < range.start);
        let end = self.ranges.partition_point(|other| other.start <= range.end);
        let mut merged = range;
        let mut present = 0;
        for other in &self.ranges[start..end] {
            present += other.end - other.start;
            merged.start = merged.start.min(other.start);
            merged.end = merged.end.max(other.end);
        }
        let added = merged.end - merged.start - present;
        if end == start + 1 {
            self.ranges[start] = merged;
        } else {
            self.ranges.splice(start..end, [merged]);
        }
        self.len += added;
        added
    }

    /// Returns the number of elements.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Returns the first number that is `from` or greater and not in the set.
    pub(crate) fn first_missing(&self, from: u32) -> u32 {
        let at = self.ranges.partition_point(|range| range.end <= from);
        match self.ranges.get(at) {
            Some(range) if range.start <= from => range.end,
            _ => from,
        }
    }

    /// Returns how many numbers of `range` are not in the set.
    pub(crate) fn missing_in(&self, range: Range<u32>) -> u32 {
        if range.is_empty() {
            return 0;
        }
        let start = self.ranges.partition_point(|other| other.end <= range.start);
        let mut missing = range.end - range.start;
        for other in &self.ranges[start..] {
            if other.start >= range.end {
                break;
            }
            missing -= other.end.min(range.end) - other.start.max(range.start);
        }
        missing
    }

    /// Removes the numbers from `at`, and returns them as a set of numbers that start at `at`.
    pub(crate) fn split_off(&mut self, at: u32) -> Self {
        let mut later = Self::default();
        while let Some(range) = self.ranges.pop_if(|range| range.end > at) {
            self.len -= range.end - range.start;
            later.insert(range.start.max(at) - at..range.end - at);
            self.insert(range.start..at.max(range.start));
        }
        later
    }

    /// Returns the ranges in ascending order.
    pub(crate) fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn range_set_behaves_like_a_set() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut set = RangeSet::default();
            let mut model = BTreeSet::new();
            for _ in 0..rng.usize(1..40) {
                let start = rng.u32(0..60);
                let range = start..start + rng.u32(0..12);
                let new = range.clone().filter(|number| model.insert(*number)).count();
                assert_eq!(set.insert(range) as usize, new, "seed {seed}");
            }
            check(&set, &model, seed);
            let at = rng.u32(0..70);
            let later = set.split_off(at);
            let later_model = model.split_off(&at).into_iter().map(|number| number - at).collect();
            check(&set, &model, seed);
            check(&later, &later_model, seed);
        }
    }

    fn check(set: &RangeSet, model: &BTreeSet<u32>, seed: u64) {
        assert_eq!(set.len() as usize, model.len(), "seed {seed}");
        assert!(set.ranges().iter().cloned().flatten().eq(model.iter().copied()), "seed {seed}");
        assert!(set.ranges().windows(2).all(|pair| pair[0].end < pair[1].start), "seed {seed}");
        for from in 0..80 {
            let missing =
                (from..).find(|number| !model.contains(number)).expect("the set is finite");
            assert_eq!(set.first_missing(from), missing, "seed {seed}");
            let missing = (from..from + 9).filter(|number| !model.contains(number)).count();
            assert_eq!(set.missing_in(from..from + 9) as usize, missing, "seed {seed}");
        }
    }
}
