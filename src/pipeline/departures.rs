use std::mem;
use std::ops::Range;

/// Sequence numbers of the records that have left the pipeline for good: delivered records, and failed records that a
/// receipt, the dead-letter handler, or the owner has taken. A spool acknowledges these records.
///
/// Withdrawn and abandoned records are not included. Records settle roughly in the order of acceptance, so the numbers
/// form few ranges, and are collected without memory per record.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// Not empty, not sorted. Neighbors in the list do not touch.
    ranges: Vec<Range<u64>>,
}

impl Departures {
    pub(super) fn add(&mut self, seq: u64) {
        if let Some(last) = self.ranges.last_mut() {
            if last.end == seq {
                last.end += 1;
                return;
            }
            if last.start == seq + 1 {
                last.start = seq;
                return;
            }
        }
        self.ranges.push(seq..seq + 1);
    }

    /// Takes the ranges, sorted and without neighbors that touch.
    pub(crate) fn take(&mut self) -> Vec<Range<u64>> {
        let mut ranges = mem::take(&mut self.ranges);
        coalesce(&mut ranges);
        ranges
    }
}

/// Sorts disjoint ranges, and merges those that touch.
fn coalesce(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, range| {
        let touches = range.end == next.start;
        if touches {
            range.end = next.end;
        }
        touches
    });
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges is expected")]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn taken(seqs: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let mut departures = Departures::default();
        for seq in seqs {
            departures.add(seq);
        }
        let taken = departures.take();
        assert_eq!(departures.take(), [], "ranges are taken once");
        taken
    }

    #[test]
    fn departures_in_order_form_one_range() {
        assert_eq!(taken(5..9), [5..9]);
        assert_eq!(taken((5..9).rev()), [5..9]);
        assert_eq!(taken([]), []);
    }

    #[test]
    fn departures_are_sorted_and_merged() {
        assert_eq!(taken([7, 3, 5, 4, 0, 1]), [0..2, 3..6, 7..8]);
        let mut seqs: Vec<u64> = (0..1_000).filter(|seq| seq % 100 != 50).collect();
        Rng::with_seed(7).shuffle(&mut seqs);
        let expected = [0..50].into_iter().chain((0..9).map(|n| n * 100 + 51..n * 100 + 150));
        let expected: Vec<_> = expected.chain([951..1_000]).collect();
        assert_eq!(taken(seqs), expected);
    }
}
