//! Rates at which a shard accepts entries, averaged over different time spans.

use std::time::Instant;

const SLOTS: usize = 8;
const SLOT_SECONDS: f64 = 1.0 / SLOTS as f64;

/// Total cost of the entries accepted within the last second, in seconds of the quota.
#[derive(Debug, Clone, Default)]
pub(super) struct LastSecond {
    slots: [f64; SLOTS],
    /// Index of the current slot, counted from `began`.
    slot: u64,
    began: Option<Instant>,
}

impl LastSecond {
    pub(super) fn add(&mut self, accepted: f64, now: Instant) {
        self.advance(now);
        self.slots[self.slot as usize % SLOTS] += accepted;
    }

    /// Returns the cost accepted per second, averaged over the last second, or since a later first call.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        self.advance(now);
        let total: f64 = self.slots.iter().sum();
        let since = self.began.map_or(0.0, |began| seconds(began, now));
        let in_slot = since - self.slot as f64 * SLOT_SECONDS;
        let span = ((SLOTS - 1) as f64 * SLOT_SECONDS + in_slot).min(since);
        total / span.max(0.1)
    }

    fn advance(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let slot = (seconds(began, now) / SLOT_SECONDS) as u64;
        for passed in (self.slot + 1..=slot).take(SLOTS) {
            self.slots[passed as usize % SLOTS] = 0.0;
        }
        self.slot = slot.max(self.slot);
    }
}

/// Exponentially weighted average rate. The weight is corrected, so that the average does not start from zero.
#[derive(Debug, Clone)]
pub(super) struct Average {
    /// Time constant in seconds.
    memory: f64,
    accepted: f64,
    seen: f64,
    at: Option<Instant>,
}

impl Average {
    pub(super) fn over(memory: f64) -> Self {
        Self { memory, accepted: 0.0, seen: 0.0, at: None }
    }

    pub(super) fn add(&mut self, accepted: f64, now: Instant) {
        let elapsed = self.at.map_or(0.0, |at| seconds(at, now));
        self.at = Some(now);
        self.seen += elapsed;
        self.accepted = self.accepted * (-elapsed / self.memory).exp() + accepted;
    }

    /// Returns the accepted cost per second, averaged over at least one second.
    pub(super) fn rate(&self) -> f64 {
        let weight = 1.0 - (-self.seen.max(1.0) / self.memory).exp();
        self.accepted / (self.memory * weight)
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
