/// Number of entries over which the noise estimate adapts.
const MEMORY: f64 = 1_000.0;

/// Upper bound of the noise estimate. A service that throttles more entries is failing rather than noisy.
const MAX_NOISE: f64 = 0.5;

/// Lower bound of the noise in [`Noise::explains`]. It allows for a single entry that is throttled by chance.
const MIN_ASSUMED: f64 = 0.01;

/// Probability below which noise does not explain a run of throttled entries.
const UNLIKELY: f64 = 0.002;

/// Estimate of the probability that a shard throttles an entry for reasons other than the send rate. A shard accepts
/// the entries of a request in order until it has no tokens. Only entries throttled before an accepted entry are
/// counted, because they have another cause, such as stale counters or another producer. The last accepted entry is not
/// counted, because it is accepted by definition.
#[derive(Debug, Clone, Default)]
pub(super) struct Noise {
    probability: f64,
    /// Decaying number of observed entries.
    entries: f64,
}

impl Noise {
    pub(super) fn observe(&mut self, entries: u32, throttled: u32, trailing: u32) {
        if trailing >= entries {
            return;
        }
        let observed = f64::from(entries - trailing - 1);
        if observed == 0.0 {
            return;
        }
        let share = f64::from(throttled - trailing) / observed;
        self.entries = self.entries * (-observed / MEMORY).exp() + observed;
        // The estimate starts from a prior of 200 entries without noise.
        let weight = observed / self.entries.max(MEMORY / 5.0);
        self.probability = (self.probability + (share - self.probability) * weight).min(MAX_NOISE);
    }

    pub(super) fn set(&mut self, probability: f64) {
        self.probability = probability.min(MAX_NOISE);
    }

    pub(super) fn probability(&self) -> f64 {
        self.probability
    }

    /// Returns the expected number of trailing throttled entries if noise is the only cause.
    pub(super) fn expected_trailing(&self, entries: u32) -> f64 {
        let p = self.probability;
        p * (1.0 - p.powf(f64::from(entries))) / (1.0 - p)
    }

    /// Returns `true` if noise alone can explain this many consecutive throttled entries. Returns `true` for 0.
    pub(super) fn explains(&self, throttled_in_a_row: u32) -> bool {
        self.probability.max(MIN_ASSUMED).powf(f64::from(throttled_in_a_row)) >= UNLIKELY
    }
}
