use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::aggregation::Aggregation;
use super::backoff::Backoff;
use super::packer::Group;
use super::pending::Pending;
use super::settings::Settings;
use super::unit::Unit;
use crate::record::PartitionKey;
use crate::shard::{Shard, ShardMap};

/// A record whose aggregates came to lie in the wrong shard so often goes with its own key only: what
/// the list of shards says is not what the service does.
const MOST_MISPLACED: u8 = 2;

/// Where listing is not allowed, or does not help, it is tried again once a minute.
const LISTING_CEILING: Duration = Duration::from_secs(60);

/// What is known of the stream's shards, and when to ask again.
#[derive(Debug)]
pub(crate) struct Shards {
    map: Option<ShardMap>,
    listing: Listing,
    /// Contradictions and failed calls, until an aggregate lies where it was predicted.
    backoff: Backoff,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    NotNeeded,
    Wanted,
    UnderWay,
}

/// What a delivered entry's shard says of its aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All members are where they belong.
    Placed,
    /// Consumers throw it away: it must be sent again.
    Misplaced,
    /// The shard is not known: the next listing will tell.
    Unknown,
}

impl Shards {
    pub(crate) fn new(settings: &Settings) -> Self {
        let listing = match settings.packing.aggregation {
            Aggregation::PerShard => Listing::Wanted,
            Aggregation::PerKey | Aggregation::Off => Listing::NotNeeded,
        };
        let backoff = Backoff::new(settings.backoff_base, LISTING_CEILING);
        Self { map: None, listing, backoff, calls: 0 }
    }

    /// The records with which this one may share an aggregate, and their shard if they need one. None if
    /// it goes alone.
    pub(crate) fn group(&self, pending: &Pending) -> Option<(Group, Option<Arc<Shard>>)> {
        let explicit = pending.record().explicit_hash_key();
        let key = pending.record().partition_key();
        let has_a_place = explicit.is_some() || matches!(key, PartitionKey::Explicit(_));
        if has_a_place && pending.misplaced < MOST_MISPLACED {
            let shard = self.map.as_ref().and_then(|map| map.find(pending.hash_key()));
            if let Some(shard) = shard.filter(|_| *key != PartitionKey::ServiceManaged) {
                let (begins, placed) = (shard.range().start(), explicit.is_some());
                return Some((Group::Shard { begins, placed }, Some(shard.clone())));
            }
        }
        match key {
            PartitionKey::Explicit(key) => Some((Group::Key(key.clone(), explicit), None)),
            PartitionKey::Random => Some((Group::Random(explicit), None)),
            PartitionKey::ServiceManaged => None,
        }
    }

    /// Whether the records of an aggregate still belong together.
    pub(crate) fn keeps_together(&self, unit: &Unit) -> bool {
        let Some((aggregate, predicted)) = unit.predicted() else { return true };
        let known = self.map.as_ref().and_then(|map| map.by_id(predicted.id()));
        let misled = unit.members().iter().any(|member| member.misplaced >= MOST_MISPLACED);
        known.is_some_and(|shard| aggregate.lies_in(shard)) && !misled
    }

    /// Says whether an entry that was delivered to `shard_id` is where it belongs.
    pub(crate) fn judge(&self, unit: &Unit, shard_id: &str) -> Verdict {
        let Some((aggregate, predicted)) = unit.predicted() else { return Verdict::Placed };
        let known = self.map.as_ref().and_then(|map| map.by_id(shard_id));
        match known {
            _ if predicted.id() == shard_id => Verdict::Placed,
            Some(shard) if aggregate.lies_in(shard) => Verdict::Placed,
            Some(_) => Verdict::Misplaced,
            None => Verdict::Unknown,
        }
    }

    /// Notes that a prediction held, if the entry needed one.
    pub(crate) fn confirmed(&mut self, unit: &Unit) {
        if unit.predicted().is_some() {
            self.backoff.reset();
        }
    }

    /// Notes that an entry did not come to lie where it was predicted. Until the shards are listed again
    /// nothing is predicted for the shard that it was meant for.
    pub(crate) fn contradicted(
        &mut self,
        unit: &Unit,
        verdict: Verdict,
        now: Instant,
        rng: &mut Rng,
    ) {
        let Some((_, predicted)) = unit.predicted() else { return };
        let forgotten = self.map.as_mut().is_some_and(|map| map.forget(predicted.id()));
        if self.listing == Listing::NotNeeded && (forgotten || verdict == Verdict::Unknown) {
            self.listing = Listing::Wanted;
            self.back_off(now, rng);
        }
    }

    /// Whether the shards are to be listed now. The caller that is told so brings the outcome back.
    pub(crate) fn begin_listing(&mut self, now: Instant) -> bool {
        let begins = self.listing == Listing::Wanted && !self.backoff.is_waiting(now);
        if begins {
            self.listing = Listing::UnderWay;
            self.calls += 1;
        }
        begins
    }

    #[cfg(test)]
    pub(crate) fn wants_listing(&self) -> bool {
        self.listing == Listing::Wanted
    }

    /// When the next listing is to begin, if it has to wait.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now).filter(|_| self.listing == Listing::Wanted)
    }

    pub(crate) fn listed(&mut self, map: ShardMap) {
        self.map = Some(map);
        self.listing = Listing::NotNeeded;
    }

    pub(crate) fn not_listed(&mut self, now: Instant, rng: &mut Rng) {
        self.map = None;
        self.listing = Listing::Wanted;
        self.back_off(now, rng);
    }

    fn back_off(&mut self, now: Instant, rng: &mut Rng) {
        self.backoff.fail(self.calls, self.calls + 1, now, rng);
    }
}
