use std::collections::BTreeMap;
use std::ops::Range;

/// Map from the sequence numbers of the pipeline to those of the spool.
///
/// Both increase from record to record, so the map consists of runs in which both increase by one. A run is removed when
/// all of its records have left the pipeline.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Runs by the first sequence number of the pipeline.
    runs: BTreeMap<u64, Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    spool: u64,
    len: u64,
    /// Number of records that have not left.
    left: u64,
}

impl Runs {
    /// Adds a record, whose numbers must both be higher than those of earlier records.
    pub(crate) fn push(&mut self, pipeline: u64, spool: u64) {
        if let Some(mut last) = self.runs.last_entry() {
            let start = *last.key();
            let run = last.get_mut();
            debug_assert!(start + run.len <= pipeline && run.spool + run.len <= spool);
            if start + run.len == pipeline && run.spool + run.len == spool {
                run.len += 1;
                run.left += 1;
                return;
            }
        }
        self.runs.insert(pipeline, Run { spool, len: 1, left: 1 });
    }

    /// Removes records that have left the pipeline, each only once. Returns their numbers in the spool. Records that are
    /// not in the map are ignored.
    pub(crate) fn remove(&mut self, departed: Range<u64>) -> Vec<Range<u64>> {
        let mut removed = Vec::new();
        let mut finished = Vec::new();
        let first = self
            .runs
            .range(..=departed.start)
            .next_back()
            .map_or(departed.start, |(start, _)| *start);
        for (&start, run) in self.runs.range_mut(first..departed.end) {
            let from = departed.start.max(start);
            let to = departed.end.min(start + run.len);
            if from >= to {
                continue;
            }
            removed.push(run.spool + (from - start)..run.spool + (to - start));
            run.left -= to - from;
            if run.left == 0 {
                finished.push(start);
            }
        }
        for start in finished {
            self.runs.remove(&start);
        }
        removed
    }

    /// Adds records that are not in this map.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.runs.append(&mut other.runs);
    }

    /// Returns the number of a record in the spool.
    pub(crate) fn get(&self, pipeline: u64) -> Option<u64> {
        let (start, run) = self.runs.range(..=pipeline).next_back()?;
        (pipeline < start + run.len).then(|| run.spool + (pipeline - start))
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges is expected")]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn consecutive_records_form_one_run() {
        let mut runs = Runs::default();
        for n in 0..1_000 {
            runs.push(n + 7, n + 100);
        }
        assert_eq!(runs.runs.len(), 1);
        assert_eq!((runs.get(6), runs.get(7), runs.get(1_007)), (None, Some(100), None));
        assert_eq!(runs.remove(0..17), [100..110]);
        assert_eq!(runs.remove(17..2_000), [110..1_100]);
        assert!(runs.runs.is_empty());
    }

    #[test]
    fn range_is_split_at_runs_and_gaps() {
        let mut runs = Runs::default();
        for (pipeline, spool) in [(0, 10), (1, 11), (2, 20), (5, 21), (6, 22)] {
            runs.push(pipeline, spool);
        }
        assert_eq!(runs.remove(1..6), [11..12, 20..21, 21..22]);
        assert_eq!(runs.remove(0..1), [10..11]);
        assert_eq!(runs.remove(6..9), [22..23]);
        assert!(runs.runs.is_empty());
    }

    #[test]
    fn runs_match_map_of_each_record() {
        let mut rng = Rng::with_seed(7);
        let mut runs = Runs::default();
        let mut expected = BTreeMap::new();
        let (mut pipeline, mut spool) = (0, 50);
        for _ in 0..2_000 {
            if rng.bool() {
                pipeline += u64::from(rng.u8(..10) == 0);
                spool += u64::from(rng.u8(..10) == 0);
                runs.push(pipeline, spool);
                expected.insert(pipeline, spool);
                pipeline += 1;
                spool += 1;
            } else if let Some(start) = rng.choice(expected.keys().copied().collect::<Vec<_>>()) {
                // Only records that have not left can leave.
                let end = (start..start + rng.u64(1..5))
                    .find(|n| *n != start && !expected.contains_key(n));
                let end = end.unwrap_or(start + 1).min(pipeline);
                let removed: Vec<u64> = runs.remove(start..end).into_iter().flatten().collect();
                let of_map = (start..end).filter_map(|n| expected.remove(&n));
                assert_eq!(removed, of_map.collect::<Vec<_>>());
            }
            let probe = rng.u64(..=pipeline);
            if let Some(spool) = expected.get(&probe) {
                assert_eq!(runs.get(probe), Some(*spool));
            }
        }
    }
}
