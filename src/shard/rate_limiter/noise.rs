//! Separates refusals that depend on the rate from refusals that do not.

/// Entries over which the estimate adapts.
const MEMORY: f64 = 1_000.0;

/// Upper bound of the estimate: above it the service is failing rather than noisy.
const MAX_NOISE: f64 = 0.5;

/// Lower bound of the noise that [`Noise::explains`] assumes: a single stray refusal is always possible.
const MIN_ASSUMED: f64 = 0.01;

/// Probability below which noise does not explain a run of refusals.
const UNLIKELY: f64 = 0.002;

/// Estimates the probability with which a shard refuses entries whatever the rate.
///
/// A limiter admits the entries of a request in order. Once its tokens are used up it refuses all the
/// entries that follow, so refusals caused by the rate form the end of a request. A refusal that is
/// followed by an accepted entry of the same request has another cause: a front end with stale counters,
/// a fault that was injected, or another producer. Only such refusals are counted here. The last accepted
/// entry of a request is left out, since it is accepted by definition.
#[derive(Debug, Clone, Default)]
pub(super) struct Noise {
    probability: f64,
    /// Entries that the estimate is based on, older ones at a lower weight.
    entries: f64,
}

impl Noise {
    /// Takes one request's entries for the shard: how many there were, how many of them were refused, and
    /// how many refused ones formed its end.
    pub(super) fn observe(&mut self, entries: u32, refused: u32, trailing: u32) {
        if trailing >= entries {
            return;
        }
        let observed = f64::from(entries - trailing - 1);
        if observed == 0.0 {
            return;
        }
        let share = f64::from(refused - trailing) / observed;
        self.entries = self.entries * (-observed / MEMORY).exp() + observed;
        // The estimate starts as if there had been 200 entries without noise.
        let weight = observed / self.entries.max(MEMORY / 5.0);
        self.probability = (self.probability + (share - self.probability) * weight).min(MAX_NOISE);
    }

    /// Sets the estimate to what was measured otherwise.
    pub(super) fn set(&mut self, probability: f64) {
        self.probability = probability.min(MAX_NOISE);
    }

    /// The estimate: 0 to [`MAX_NOISE`].
    pub(super) fn probability(&self) -> f64 {
        self.probability
    }

    /// Refused entries that noise alone is expected to leave at the end of a request.
    pub(super) fn expected_trailing(&self, entries: u32) -> f64 {
        let p = self.probability;
        p * (1.0 - p.powf(f64::from(entries))) / (1.0 - p)
    }

    /// Returns whether noise alone may have refused this many entries in a row. Always true for 0.
    pub(super) fn explains(&self, refused_in_a_row: u32) -> bool {
        self.probability.max(MIN_ASSUMED).powf(f64::from(refused_in_a_row)) >= UNLIKELY
    }
}
