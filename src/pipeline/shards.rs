use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use smol_str::SmolStr;

use super::aggregation::Aggregation;
use super::backoff::Backoff;
use super::order::Ordering;
use super::packer::Group;
use super::pending::{MOST_MISPLACED, Pending};
use super::settings::Settings;
use super::unit::Unit;
use crate::limits::MOST_LEARNED_SHARDS;
use crate::record::PartitionKey;
use crate::shard::{Shard, ShardMap};

/// Where listing is not allowed it is tried again once a minute.
const LISTING_CEILING: Duration = Duration::from_secs(60);

/// Failed calls after which no list is expected soon where there has been one before. With the default backoff they
/// are made within 1.5 seconds.
const MOST_FAILED_LISTINGS: u32 = 5;

/// So long must predictions have held to be trusted as before. A list that is right about one shard can
/// be wrong about another for ever.
const TRUSTED_AFTER: Duration = Duration::from_secs(60);

/// What is known of the stream's shards, and when to ask again.
#[derive(Debug)]
pub(crate) struct Shards {
    /// For predictions; none unless an aggregation needs them.
    map: Option<ShardMap>,
    /// The latest list, against which the shards in answers are checked. Shards keep their ranges, so it stays
    /// valid for checks when it no longer predicts shards.
    listed: Option<ShardMap>,
    predicts: bool,
    /// Whether the shards in answers are checked against the list.
    checks: bool,
    /// Whether predictions end as soon as an answer names a shard that is not listed: an order depends on them.
    is_strict: bool,
    /// Shards that answers have named and the latest list lacks.
    unlisted: HashSet<SmolStr>,
    /// Whether they are listed for the pace.
    lists: bool,
    listing: Listing,
    /// After calls that failed.
    failures: Backoff,
    /// After contradictions, until predictions have held for a while.
    doubts: Backoff,
    doubted_at: Option<Instant>,
    /// No list is believed before the next one.
    mistrusted: bool,
    /// Records of different keys share no aggregate.
    isolates_keys: bool,
    /// Listings that have begun.
    listings: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    NotNeeded,
    Wanted,
    /// If the shards have changed since it began, what it says of a shard is true, but not complete.
    UnderWay {
        stale: bool,
    },
}

/// What a listing has brought.
#[derive(Debug)]
pub(crate) enum Listed {
    /// What it tells of shards that were, and no predictions: the shards changed while it was under way,
    /// and are listed again.
    Stale(ShardMap),
    /// Nothing is known, as before.
    Unchanged,
    /// Other predictions, or none any more.
    Changed,
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
        let predicts = settings.packing.aggregation == Aggregation::PerShard;
        let lists = settings.lists_shards;
        let relies = settings.packing.is_on() || settings.ordering == Ordering::PerKey;
        let listing = if predicts || lists { Listing::Wanted } else { Listing::NotNeeded };
        let failures = Backoff::new(settings.backoff_base, LISTING_CEILING);
        let doubts = Backoff::new(settings.backoff_base, settings.backoff_ceiling);
        Self {
            map: None,
            listed: None,
            predicts,
            checks: predicts || (lists && relies),
            is_strict: predicts && settings.ordering == Ordering::PerKey,
            unlisted: HashSet::new(),
            lists,
            listing,
            failures,
            doubts,
            doubted_at: None,
            mistrusted: false,
            isolates_keys: false,
            listings: 0,
        }
    }

    /// Whether it takes a record's place to find its group.
    pub(crate) fn tell_apart(&self) -> bool {
        self.map.is_some()
    }

    /// Whether a record is sent without aggregation, because even aggregates of its key were misplaced.
    pub(crate) fn goes_alone(&self, pending: &Pending) -> bool {
        let by_shard = if self.predicts { MOST_MISPLACED } else { 0 };
        pending.misplaced() >= by_shard + MOST_MISPLACED
    }

    /// Whether a record goes by its key, since the list of shards has misled it too often. With ordering it
    /// goes like all others of its key: then the list itself is [mistrusted](Self::mistrust).
    fn is_misled(&self, pending: &Pending) -> bool {
        !self.is_strict && pending.is_misled()
    }

    /// The records with which this one may share an aggregate, and their shard if they need one. None if
    /// it goes alone.
    pub(crate) fn group(&self, pending: &Pending) -> Option<(Group, Option<&Arc<Shard>>)> {
        let explicit = pending.record().explicit_hash_key();
        let key = pending.record().partition_key();
        let has_a_place = explicit.is_some() || matches!(key, PartitionKey::Explicit(_));
        if has_a_place && !self.is_misled(pending) && !self.isolates_keys {
            let shard = self.map.as_ref().and_then(|map| map.find(pending.hash_key()));
            if let Some(shard) = shard.filter(|_| *key != PartitionKey::ServiceManaged) {
                let (begins, placed) = (shard.range().start(), explicit.is_some());
                return Some((Group::Shard { begins, placed }, Some(shard)));
            }
        }
        match key {
            PartitionKey::Explicit(key) => Some((Group::Key(key.clone(), explicit), None)),
            PartitionKey::Random => Some((Group::Random(explicit), None)),
            PartitionKey::ServiceManaged => None,
        }
    }

    /// Sets whether records of different keys may share no aggregate. False if nothing changes.
    pub(crate) fn isolate_keys(&mut self, isolates: bool) -> bool {
        self.predicts && std::mem::replace(&mut self.isolates_keys, isolates) != isolates
    }

    /// Whether the records of an aggregate still belong together, in the shard that is now predicted.
    pub(crate) fn keeps_together(&self, unit: &mut Unit) -> bool {
        let Some(aggregate) = unit.as_predicted_mut() else { return true };
        !self.isolates_keys
            && !aggregate.members().iter().any(|member| self.is_misled(member))
            && self.map.as_ref().is_some_and(|map| aggregate.predict(map))
    }

    /// Parts units into those that keep together and those that do not.
    pub(crate) fn part(&self, units: Vec<Unit>) -> (Vec<Unit>, Vec<Unit>) {
        let (mut kept, mut broken) = (Vec::new(), Vec::new());
        for mut unit in units {
            let part = if self.keeps_together(&mut unit) { &mut kept } else { &mut broken };
            part.push(unit);
        }
        (kept, broken)
    }

    /// Says whether an entry that was delivered to `shard_id` is where it belongs.
    pub(crate) fn judge(&self, unit: &Unit, shard_id: &str) -> Verdict {
        let by_prediction = unit.predicted().is_some() && (self.map.is_some() || self.mistrusted);
        let map = if by_prediction { &self.map } else { &self.listed };
        Self::judge_by(map.as_ref(), unit, shard_id)
    }

    /// The same by another map.
    pub(crate) fn judge_by(map: Option<&ShardMap>, unit: &Unit, shard_id: &str) -> Verdict {
        let Unit::Aggregate(aggregate) = unit else { return Verdict::Placed };
        let predicted = unit.predicted().map(|(_, shard)| shard);
        // The latest list comes first: a stream that was recreated uses its old ids for other ranges.
        match (map.and_then(|map| map.by_id(shard_id)), predicted) {
            (Some(shard), Some(_)) if aggregate.lies_in(shard) => Verdict::Placed,
            (Some(shard), None) if shard.range().contains(unit.oldest().hash_key()) => {
                Verdict::Placed
            }
            (Some(_), _) => Verdict::Misplaced,
            (None, Some(predicted)) if predicted.id() == shard_id => Verdict::Placed,
            (None, _) => Verdict::Unknown,
        }
    }

    /// Notes the shard that an answer names. With ordering, an unlisted shard ends all predictions until the next
    /// list, since a misplaced aggregate would break the order of keys that are already in the new shards.
    /// Returns whether there were predictions until now.
    pub(crate) fn note_named(&mut self, shard_id: &str, now: Instant, rng: &mut Rng) -> bool {
        let is_listed = |map: &ShardMap| map.by_id(shard_id).is_some();
        if !self.is_strict || self.listed.as_ref().is_none_or(is_listed) {
            return false;
        }
        if self.unlisted.len() >= MOST_LEARNED_SHARDS {
            self.unlisted.clear();
        }
        if !self.unlisted.insert(SmolStr::new(shard_id)) {
            return false;
        }
        self.list_again(now, rng);
        self.map.take().is_some()
    }

    /// Whether the entry's partition key rules this shard out: it is listed with another range, and no
    /// reshard changes the range of a shard.
    pub(crate) fn rule_out(&self, unit: &Unit, shard_id: &str) -> bool {
        let oldest = unit.oldest();
        let listed = self.listed.as_ref().and_then(|map| map.by_id(shard_id));
        oldest.has_place() && listed.is_some_and(|shard| !shard.range().contains(oldest.hash_key()))
    }

    /// Whether answers can be checked against a list, now or once it arrives.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.is_some() || self.awaits_list()
    }

    /// Whether the latest listing has arrived and is believed.
    pub(crate) fn has_latest_list(&self) -> bool {
        self.listed.is_some() && self.listing == Listing::NotNeeded && !self.mistrusted
    }

    /// Whether a listing is expected that may hold an unknown shard.
    pub(crate) fn awaits_list(&self) -> bool {
        self.checks && self.listing != Listing::NotNeeded && !self.cannot_list()
    }

    /// Whether nobody can say at present what an unknown shard holds.
    fn cannot_list(&self) -> bool {
        self.failures.failures() > 0 || self.mistrusted
    }

    /// Whether listings that fail now and have succeeded before are waited for: not for many, unless `patient`.
    pub(crate) fn retries_listing(&self, patient: bool) -> bool {
        let is_wanted = self.checks && self.listing != Listing::NotNeeded;
        let has_listed = self.listed.is_some() && !self.mistrusted;
        is_wanted && has_listed && (patient || self.failures.failures() < MOST_FAILED_LISTINGS)
    }

    /// Lists without a further wait: the service answers again.
    pub(crate) fn retry_listing(&mut self) {
        self.failures.end_wait();
    }

    /// Whether no list is believed at present.
    pub(crate) fn is_mistrusted(&self) -> bool {
        self.mistrusted
    }

    /// Notes that a prediction held, if the entry needed one.
    pub(crate) fn confirmed(&mut self, unit: &Unit, now: Instant) {
        let Some(doubted_at) = self.doubted_at else { return };
        if unit.predicted().is_some() && doubted_at + TRUSTED_AFTER <= now {
            self.doubts.reset();
            self.doubted_at = None;
        }
    }

    /// Notes that an entry did not come to lie where it was predicted. Until the shards are listed again
    /// nothing is predicted for the shard that it was meant for. True if something was until now.
    pub(crate) fn contradicted(
        &mut self,
        unit: &Unit,
        verdict: Verdict,
        now: Instant,
        rng: &mut Rng,
    ) -> bool {
        let Some((_, predicted)) = unit.predicted() else {
            // A known shard in the wrong place means that the stream was recreated, or ignores keys.
            if self.checks && verdict != Verdict::Placed {
                self.list_again(now, rng);
            }
            return false;
        };
        let forgotten = self.map.as_mut().is_some_and(|map| map.forget(predicted));
        if forgotten || verdict == Verdict::Unknown {
            self.list_again(now, rng);
        }
        forgotten
    }

    /// Forgets all shards, since the stream is not the one that was listed. False if none were known.
    pub(crate) fn forget_all(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.listed = None;
        let known = self.map.take().is_some();
        if known || self.lists || self.listing != Listing::NotNeeded {
            self.list_again(now, rng);
        }
        known
    }

    /// Believes no list for a while.
    pub(crate) fn mistrust(&mut self, now: Instant) {
        self.map = None;
        self.mistrusted = true;
        self.doubted_at = Some(now);
        self.doubts.wait_until(now + TRUSTED_AFTER);
        self.listing = match self.listing {
            Listing::UnderWay { .. } => Listing::UnderWay { stale: true },
            Listing::NotNeeded | Listing::Wanted => Listing::Wanted,
        };
    }

    /// Notes that an answer has told of other shards than were known. Predictions have a check of their
    /// own; a list for the pace alone is asked for again.
    pub(crate) fn outdated(&mut self, now: Instant, rng: &mut Rng) {
        if !self.lists || self.predicts {
            return;
        }
        if self.doubted_at.is_none_or(|doubted_at| doubted_at + TRUSTED_AFTER <= now) {
            self.doubts.reset();
        }
        self.list_again(now, rng);
    }

    fn list_again(&mut self, now: Instant, rng: &mut Rng) {
        self.doubted_at = Some(now);
        match &mut self.listing {
            Listing::NotNeeded => {
                self.listing = Listing::Wanted;
                self.doubts.fail(self.listings, self.listings + 1, now, rng);
            }
            Listing::Wanted => {}
            Listing::UnderWay { stale } => *stale = true,
        }
    }

    /// Whether the shards are to be listed now.
    pub(crate) fn listing_is_due(&self, now: Instant) -> bool {
        self.listing == Listing::Wanted && self.wakeup(now).is_none()
    }

    /// When the next listing is to begin, if it has to wait.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let until = self.failures.until(now).max(self.doubts.until(now));
        until.filter(|_| self.listing == Listing::Wanted)
    }

    /// Notes that they are being listed. The caller brings the outcome back.
    pub(crate) fn begin_listing(&mut self) {
        self.listing = Listing::UnderWay { stale: false };
        self.listings += 1;
    }

    #[cfg(test)]
    pub(crate) fn wants_listing(&self) -> bool {
        self.listing == Listing::Wanted
    }

    /// Takes the outcome of a listing; none if it failed.
    pub(crate) fn listed(&mut self, map: Option<ShardMap>, now: Instant, rng: &mut Rng) -> Listed {
        let stale = self.listing == Listing::UnderWay { stale: true };
        let number = self.listings;
        self.listing = if stale || map.is_none() { Listing::Wanted } else { Listing::NotNeeded };
        match map {
            Some(map) if stale => {
                self.failures.reset();
                self.doubts.fail(number, number + 1, now, rng);
                Listed::Stale(map)
            }
            Some(map) => {
                self.failures.reset();
                self.mistrusted = false;
                self.listed = Some(map).filter(|_| self.checks);
                self.unlisted.clear();
                if !self.predicts {
                    return Listed::Unchanged;
                }
                self.map = self.listed.clone();
                Listed::Changed
            }
            None => {
                self.failures.fail(number, number + 1, now, rng);
                if self.map.take().is_some() { Listed::Changed } else { Listed::Unchanged }
            }
        }
    }
}
