use std::collections::VecDeque;

/// Maximum number of samples. If there are more, every second one is removed.
const MAX_SAMPLES: usize = 4_096;

/// Acceptance times of some records, from which the age of the oldest unacknowledged record is estimated.
#[derive(Debug)]
pub(crate) struct Ages {
    /// Sequence numbers and times, in ascending order of the sequence numbers.
    samples: VecDeque<(u64, u64)>,
    /// Minimum difference between two samples in milliseconds.
    resolution_ms: u64,
}

impl Default for Ages {
    fn default() -> Self {
        Self { samples: VecDeque::new(), resolution_ms: 100 }
    }
}

impl Ages {
    /// Adds a record, which is younger than those before it.
    pub(crate) fn add(&mut self, seq: u64, accepted_at_ms: u64) {
        match self.samples.back_mut() {
            // If the clock was set back, the later time applies to the records before it as well.
            Some((_, last)) if accepted_at_ms < *last => *last = accepted_at_ms,
            Some((_, last)) if accepted_at_ms < last.saturating_add(self.resolution_ms) => {}
            _ => self.samples.push_back((seq, accepted_at_ms)),
        }
        if self.samples.len() > MAX_SAMPLES {
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.resolution_ms = self.resolution_ms.saturating_mul(2);
        }
    }

    /// Removes samples that are not needed if `seq` is the oldest record.
    pub(crate) fn advance(&mut self, seq: u64) {
        while self.samples.get(1).is_some_and(|(next, _)| *next <= seq) {
            self.samples.pop_front();
        }
        if self.samples.len() < MAX_SAMPLES / 4 {
            self.resolution_ms = Self::default().resolution_ms;
        }
    }

    /// Returns the largest known time that is not after the acceptance of the record `seq`.
    pub(crate) fn accepted_at_ms(&self, seq: u64) -> Option<u64> {
        let after = self.samples.partition_point(|(other, _)| *other <= seq);
        self.samples.get(after.saturating_sub(1)).map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_a_lower_bound_with_bounded_samples() {
        let mut ages = Ages::default();
        assert_eq!(ages.accepted_at_ms(0), None);
        for seq in 0..1_000_000 {
            ages.add(seq, 50 * seq);
            assert!(ages.samples.len() <= MAX_SAMPLES);
        }
        for seq in (0..1_000_000).step_by(997) {
            let time = ages.accepted_at_ms(seq).expect("a sample");
            assert!(time <= 50 * seq && 50 * seq - time <= 50 * 1_000_000 / 1_000, "{seq}: {time}");
        }
        ages.advance(999_000);
        assert!(ages.samples.len() < 10, "{}", ages.samples.len());
        assert!(ages.accepted_at_ms(999_000).is_some_and(|time| time <= 50 * 999_000));
    }

    #[test]
    fn age_follows_clock_that_was_set_back() {
        let mut ages = Ages::default();
        ages.add(0, 10_000);
        ages.add(1, 500);
        ages.add(2, 20_000);
        assert_eq!(
            [0, 1, 2].map(|seq| ages.accepted_at_ms(seq)),
            [Some(500), Some(500), Some(20_000)]
        );
    }
}
