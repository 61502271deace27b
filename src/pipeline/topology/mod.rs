//! What is known of the stream's shards: where records go, and whether an aggregate is where it belongs.
//!
//! Responses teach which shard takes which positions of the hash ring. That is a hint, good enough for the lanes. A
//! list of the shards is a proof, which aggregation needs.

mod lane_map;
mod learned;
mod listed;
mod listing;
mod routing;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use smol_str::SmolStr;

pub(super) use self::lane_map::OpenedLane;
pub(super) use self::verify::{AwaitingVerification, PlacementCheck};

use self::lane_map::LaneMap;
use self::learned::{Learned, LearnedShards};
use self::listed::ListedShards;
use self::listing::ListingSchedule;
pub(crate) use self::routing::Routing;
use super::aggregation::Aggregation;
use super::backlog::{FALLBACK, LaneId};
use super::buffered::{BufferedRecord, MAX_MISPLACED};
use super::entry::QueuedEntry;
#[cfg(test)]
use super::entry::Route;
use super::ordering::RecordOrdering;
use crate::settings::{BackoffSettings, Settings};
use crate::shard::{HashCache, Shard, ShardMap};
use crate::stream::StreamDescription;

/// The number of failed calls after which no list is expected soon where there has been one before. With the default
/// backoff they are made within 1.5 seconds.
const MAX_FAILED_LISTINGS: u32 = 5;

/// What must be known of the stream before anything is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prerequisites {
    pub(crate) description: bool,
    /// The first list of its shards, or a failed call.
    pub(crate) shards: bool,
}

#[derive(Debug)]
pub(crate) struct Topology {
    lanes: LaneMap,
    learned: LearnedShards,
    listed: ListedShards,
    schedule: ListingSchedule,
    routing: Routing,
    /// Written aggregates that are not verified yet.
    held: Vec<AwaitingVerification>,
    prerequisites: Prerequisites,
    hashes: HashCache,
    /// Whether an aggregation needs predictions.
    predicts: bool,
    /// Whether the shards in responses are checked against the list.
    checks: bool,
    /// Whether predictions end as soon as a response names a shard that is not listed: an order depends on them.
    is_strict: bool,
    /// Whether the shards are listed for pacing.
    lists: bool,
    /// Whether predictions have changed since this was last taken.
    has_changed: bool,
    /// Whether the list was disbelieved since this was last taken.
    fell_back: bool,
}

impl Topology {
    pub(super) fn new(settings: &Settings, lists: bool) -> Self {
        let predicts = settings.aggregation == Aggregation::PerShard;
        let BackoffSettings { base, ceiling } = settings.backoff;
        Self {
            lanes: LaneMap::default(),
            learned: LearnedShards::default(),
            listed: ListedShards::default(),
            schedule: ListingSchedule::new(predicts || lists, base, ceiling),
            routing: Routing::new(settings),
            held: Vec::new(),
            prerequisites: Prerequisites::default(),
            hashes: HashCache::default(),
            predicts,
            checks: predicts || (lists && settings.relies_on_keys()),
            is_strict: predicts && settings.ordering == RecordOrdering::PerKey,
            lists,
            has_changed: false,
            fell_back: false,
        }
    }

    /// Sends nothing until these are known.
    pub(crate) fn require(&mut self, prerequisites: Prerequisites) {
        self.prerequisites = prerequisites;
        self.routing.set_describable(prerequisites.description);
    }

    /// Whether everything is known that must be before anything is sent.
    pub(crate) fn is_ready(&self) -> bool {
        !self.prerequisites.description && !self.prerequisites.shards
    }

    pub(super) fn awaits_description(&self) -> bool {
        self.prerequisites.description
    }

    pub(crate) fn routing(&self) -> &Routing {
        &self.routing
    }

    pub(super) fn held(&self) -> &[AwaitingVerification] {
        &self.held
    }

    /// Removes everything held, verified or not.
    pub(super) fn drain_held(&mut self) -> Vec<AwaitingVerification> {
        std::mem::take(&mut self.held)
    }

    /// Removes the held aggregates of which all records are expired.
    pub(super) fn expire_held(
        &mut self,
        is_expired: impl Fn(&BufferedRecord) -> bool,
    ) -> Vec<QueuedEntry> {
        let all_expired =
            |held: &mut AwaitingVerification| held.entry.members().iter().all(&is_expired);
        self.held.extract_if(.., all_expired).map(|held| held.entry).collect()
    }

    /// Computes the hash key of a record if its lane, or its aggregate, depends on it.
    pub(super) fn ensure_hash_key(&mut self, record: &mut BufferedRecord) {
        if self.lanes.has_multiple_shards() || self.listed.predicts() {
            record.ensure_hash_key(&mut self.hashes);
        }
    }

    /// Sets the lane of an entry, by what is known now.
    pub(super) fn route(&mut self, entry: &mut QueuedEntry) {
        if self.lanes.has_multiple_shards() {
            entry.ensure_hash_key(&mut self.hashes);
        }
        let order = entry.route.order;
        entry.route = self.lanes.route(entry.oldest());
        entry.route.order = order;
    }

    /// The lane that an entry of this record would have.
    pub(super) fn lane_of_record(&self, record: &BufferedRecord) -> LaneId {
        self.lanes.route(record).lane
    }

    /// The lane that the outcome of an entry counts for: the one that it was sent from, unless that was closed.
    pub(super) fn outcome_lane(&self, entry: &QueuedEntry) -> LaneId {
        if entry.route.lane == FALLBACK {
            // The shards may be known by now.
            return self.lanes.route(entry.oldest()).lane;
        }
        self.current_lane(entry)
    }

    /// The lane that an entry was sent from, unless that was closed.
    pub(super) fn current_lane(&self, entry: &QueuedEntry) -> LaneId {
        if self.lanes.is_current(entry.route) {
            entry.route.lane
        } else {
            self.lanes.route(entry.oldest()).lane
        }
    }

    pub(super) fn has_multiple_shards(&self) -> bool {
        self.lanes.has_multiple_shards()
    }

    pub(super) fn shard_of(&self, lane: LaneId) -> Option<SmolStr> {
        self.lanes.shard_of(lane).cloned()
    }

    /// Takes the lanes whose entries have to be routed again. The caller empties them before it routes anything.
    pub(super) fn take_stale_lanes(&mut self) -> BTreeSet<LaneId> {
        self.lanes.take_stale()
    }

    /// The shard that is predicted for a record.
    pub(super) fn predict(&self, record: &BufferedRecord) -> Option<&Arc<Shard>> {
        self.listed.predict(record.hash_key())
    }

    /// Predicts the shard of an aggregate again. Returns false if its members no longer share one.
    pub(super) fn reassign_shard(&self, entry: &mut QueuedEntry) -> bool {
        if entry.predicted().is_none() {
            return true;
        }
        let Some(aggregate) = entry.as_aggregate_mut() else { return true };
        let shard = self.listed.predict(aggregate.first_hash_key());
        let shard = shard.filter(|shard| aggregate.fits_shard(shard));
        if let Some(shard) = shard {
            aggregate.assign_shard(shard.clone());
        }
        shard.is_some()
    }

    /// Whether a record is sent without aggregation, because even aggregates of its key were misplaced.
    pub(super) fn is_sent_alone(&self, record: &BufferedRecord) -> bool {
        let by_shard = if self.predicts { MAX_MISPLACED } else { 0 };
        record.misplaced() >= by_shard + MAX_MISPLACED
    }

    /// Whether shards are predicted once they are listed.
    pub(super) fn may_predict(&self) -> bool {
        self.predicts
    }

    /// Whether predictions have changed since the last call, so that what is queued has to be packed again.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Whether aggregation has fallen back to partition keys since the last call, because the list of shards is not
    /// what the service does.
    pub(crate) fn take_fallback(&mut self) -> bool {
        std::mem::take(&mut self.fell_back)
    }

    /// Learns from the shard that an entry was written to. Returns the lane that the delivery counts for.
    pub(super) fn observe(&mut self, entry: &mut QueuedEntry, shard_id: &str) -> LaneId {
        if self.lanes.confirms(entry, shard_id) {
            return entry.route.lane;
        }
        self.route(entry);
        let (lane, is_certain) = (entry.route.lane, entry.route.is_certain);
        if !entry.oldest().has_hash_key() {
            return lane;
        }
        let is_expected = self.lanes.shard_of(lane).is_some_and(|shard| shard == shard_id);
        if !is_expected {
            self.lanes.mark_stale(lane);
        }
        let is_known = is_expected && is_certain;
        if !is_known
            && !self.learned.is_stopped()
            && let Some(position) = entry.oldest().position()
        {
            self.learned.observe(position, shard_id, !is_expected);
        }
        lane
    }

    /// Applies what the response to `request` has shown, in which `delivered` entries were. Returns the lanes that were
    /// opened, and whether stale lanes have to be routed again.
    pub(super) fn apply_observations(
        &mut self,
        request: u64,
        next: u64,
        delivered: usize,
        now: Instant,
        rng: &mut Rng,
    ) -> (Vec<OpenedLane>, bool) {
        let mut opened = Vec::new();
        let learned =
            self.learned.apply(&mut self.lanes, request, next, delivered, now, &mut opened);
        match learned {
            // Predictions have a check of their own.
            Learned::Changed if self.lists && !self.predicts => self.schedule.request(now, rng),
            Learned::Contradictory => self.lanes.forget(),
            Learned::Nothing | Learned::Misrouted | Learned::Changed => {}
        }
        (opened, learned != Learned::Nothing)
    }

    /// Records the shard that a response names. With ordering, an unlisted shard ends all predictions until the next
    /// list, since a misplaced aggregate would break the order of keys that are already in the new shards.
    fn record_named(&mut self, shard_id: &str, now: Instant, rng: &mut Rng) {
        if self.is_strict && self.listed.record_named(shard_id) {
            self.schedule.request(now, rng);
            self.has_changed |= self.listed.suspend();
        }
    }

    /// Records that an aggregate was not written to a shard that is known to hold its members. Until the shards are
    /// listed again, nothing is predicted for the shard that it was meant for.
    fn record_misprediction(
        &mut self,
        entry: &QueuedEntry,
        check: PlacementCheck,
        now: Instant,
        rng: &mut Rng,
    ) {
        let Some((_, predicted)) = entry.predicted() else {
            // A known shard in the wrong place means that the stream was created again, or ignores keys.
            if self.checks && !self.listed.is_disbelieved() {
                self.schedule.request(now, rng);
            }
            return;
        };
        let is_doubted = self.listed.doubt(predicted);
        if is_doubted || (check == PlacementCheck::Unknown && !self.listed.is_disbelieved()) {
            self.schedule.request(now, rng);
        }
        self.has_changed |= is_doubted;
    }

    /// Records that an aggregate was misplaced, and that its members have to be sent again. If that has happened to one
    /// of them too often, nothing is predicted before the next list, which decides whether this one is believed.
    pub(super) fn record_misplaced(&mut self, entry: &QueuedEntry, now: Instant, rng: &mut Rng) {
        let Some((_, predicted)) = entry.predicted() else { return };
        let is_too_often = |member: &BufferedRecord| member.misplaced() >= MAX_MISPLACED;
        if self.listed.is_disbelieved() || !entry.members().iter().any(is_too_often) {
            return;
        }
        if self.listed.suspect(predicted) {
            self.has_changed = true;
            self.schedule.request(now, rng);
        }
    }

    /// Takes the stream's shards, or `None` if they could not be listed, and decides about held aggregates with
    /// [`verify_held`](Self::verify_held). Returns the lanes that were opened, and the list if it is outdated.
    pub(super) fn apply_list(
        &mut self,
        list: Option<ShardMap>,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) -> (Vec<OpenedLane>, Option<ShardMap>) {
        self.prerequisites.shards = false;
        let mut opened = Vec::new();
        let Some(list) = list else {
            self.schedule.fail(now, rng);
            self.has_changed |= self.listed.suspend();
            return (opened, None);
        };
        if self.learned.is_active(now) {
            self.lanes.apply_list(&list, next, &mut opened);
            self.learned.set_listed(self.lanes.shards());
        }
        if !self.schedule.succeed(now, rng) {
            return (opened, Some(list));
        }
        let was_disbelieved = self.listed.is_disbelieved();
        if self.checks {
            self.listed.replace(list, self.predicts);
        }
        if self.listed.is_disbelieved() {
            self.fell_back |= !was_disbelieved;
            self.schedule.request_later(now);
        }
        self.has_changed |= self.predicts;
        (opened, None)
    }

    /// Forgets all shards, since the stream is not the one that they were listed of.
    pub(super) fn forget_shards(&mut self, now: Instant, rng: &mut Rng) {
        self.lanes.forget();
        let predicted = self.listed.forget();
        if predicted || self.lists || self.schedule.is_expected() {
            self.schedule.request(now, rng);
        }
        self.has_changed |= predicted;
    }

    pub(crate) fn listing_is_due(&self, now: Instant) -> bool {
        self.schedule.is_due(now)
    }

    pub(crate) fn begin_listing(&mut self) {
        self.schedule.begin();
    }

    /// Lists without a further wait: the service responds again.
    pub(super) fn retry_listing(&mut self) {
        if !self.held.is_empty() {
            self.schedule.retry_now();
        }
    }

    /// When the next list or description is asked for, if it has to wait.
    pub(super) fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.schedule.wakeup(now).into_iter().chain(self.routing.wakeup(now)).min()
    }

    /// Whether responses can be checked against a list, now or once it arrives.
    fn has_list(&self) -> bool {
        self.listed.is_known() || self.awaits_list()
    }

    /// Whether a list is expected that may have an unknown shard.
    fn awaits_list(&self) -> bool {
        let cannot_list = self.schedule.failures() > 0 || self.listed.is_disbelieved();
        self.checks && self.schedule.is_expected() && !cannot_list
    }

    /// Whether lists that fail now and have succeeded before are waited for: not for many, unless the whole stream is
    /// failing. Then listings may fail as well, and waiting for them delays nothing.
    fn retries_listing(&self, is_failing: bool) -> bool {
        self.routing.is_switchable()
            && self.checks
            && self.schedule.is_expected()
            && self.listed.is_believed()
            && (is_failing || self.schedule.failures() < MAX_FAILED_LISTINGS)
    }

    /// Whether aggregates are held that no list will decide about, since none is believed.
    pub(super) fn must_decide_without_list(&self) -> bool {
        self.listed.is_disbelieved() && !self.held.is_empty()
    }

    /// Takes a description of the stream, or `None` if it goes on without. Returns whether this answers a doubt.
    pub(super) fn apply_description(
        &mut self,
        description: Option<&StreamDescription>,
        now: Instant,
        rng: &mut Rng,
    ) -> bool {
        let was_doubted = self.routing.is_doubted();
        if let Some(description) = description {
            self.routing.described(description);
        }
        if was_doubted {
            self.dispel_doubt(now, rng);
        } else {
            self.prerequisites.description = false;
        }
        was_doubted
    }

    /// Trusts partition keys again. The list of shards decides which aggregates were delivered.
    fn dispel_doubt(&mut self, now: Instant, rng: &mut Rng) {
        self.routing.dispel(now, rng);
        self.lanes.forget_closed();
    }

    /// Records that the stream could not be described again. Returns whether the list of shards decides alone, because
    /// another call cannot help.
    pub(super) fn fail_description(&mut self, may_pass: bool, now: Instant, rng: &mut Rng) -> bool {
        let retries = self.routing.record_failed_description(now, rng);
        let gives_up = !(may_pass && retries);
        if gives_up {
            self.dispel_doubt(now, rng);
        }
        gives_up
    }

    /// Learns no shards any more: the service distributes the records.
    pub(super) fn stop_learning(&mut self) {
        self.learned.stop();
        self.lanes.forget();
    }

    /// Sends nothing before a description says that the service places records by their keys.
    pub(super) fn refuse_distribution(&mut self) {
        self.routing.distributed();
        self.prerequisites.description = true;
    }

    /// Lists nothing any more: there is no source of lists.
    pub(super) fn stop_listing(&mut self) {
        self.prerequisites.shards = false;
        self.schedule.stop();
        self.has_changed |= self.listed.forget();
        (self.predicts, self.checks, self.is_strict, self.lists) = (false, false, false, false);
    }

    /// Describes nothing any more: there is no source of descriptions.
    pub(super) fn stop_describing(&mut self) {
        self.prerequisites.description = false;
        self.routing.set_describable(false);
    }

    #[cfg(test)]
    pub(super) fn wants_listing(&self) -> bool {
        self.schedule.is_wanted()
    }

    #[cfg(test)]
    pub(super) fn is_elsewhere(&self, record: &BufferedRecord, shard_id: &str) -> bool {
        self.lanes.is_elsewhere(record, shard_id)
    }

    #[cfg(test)]
    pub(super) fn is_current(&self, route: Route) -> bool {
        self.lanes.is_current(route)
    }

    #[cfg(test)]
    pub(super) fn known_shards(&self) -> usize {
        self.lanes.shards()
    }

    #[cfg(test)]
    pub(super) fn learned_mut(&mut self) -> &mut LearnedShards {
        &mut self.learned
    }

    #[cfg(test)]
    pub(super) fn disbelieve_list(&mut self) {
        self.listed.disbelieve_for_test();
        self.has_changed = true;
    }
}
