//! Topology of the stream. Responses show which shard owns a position of the hash ring, which is sufficient to choose a
//! lane. Only a shard list proves that all records of an aggregate belong to the same shard.

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
pub(super) use self::verify::{AwaitingVerification, PlacementCheck, Verification};

use self::lane_map::LaneMap;
use self::learned::{Learned, LearnedShards};
use self::listed::ListedShards;
use self::listing::ListingSchedule;
pub(crate) use self::routing::Routing;
use super::aggregation::Aggregation;
use super::backlog::{FALLBACK, LaneId};
use super::buffered::{BufferedRecord, MAX_MISPLACED};
use super::entry::{QueuedEntry, Route};
use super::in_flight::Completion;
use super::ordering::RecordOrdering;
use crate::settings::{BackoffSettings, Settings};
use crate::shard::{HashCache, Ring, Shard, ShardMap};
use crate::stream::StreamDescription;

/// Number of consecutive failed listings after which verification stops waiting for a new list. With the default
/// backoff, these calls are made within 1.5 seconds.
const MAX_FAILED_LISTINGS: u32 = 5;

/// Stream metadata that must be known before any request is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prerequisites {
    pub(crate) description: bool,
    /// Set to `true` until the first call to list the shards has succeeded or failed.
    pub(crate) shards: bool,
}

/// Shards of the stream, and the written aggregates that must be verified against them.
#[derive(Debug)]
pub(crate) struct Topology {
    lanes: LaneMap,
    learned: LearnedShards,
    listed: ListedShards,
    /// `None` if the shards cannot be listed.
    schedule: Option<Box<ListingSchedule>>,
    routing: Routing,
    unverified: Vec<AwaitingVerification>,
    prerequisites: Prerequisites,
    hashes: Option<Box<HashCache>>,
    predicts: bool,
    /// Set to `true` if the shards in responses are checked against the list.
    checks: bool,
    /// Set to `true` if an unlisted shard suspends all predictions, because the order of records depends on them.
    is_strict: bool,
    /// Set to `true` if the sink lists shards in order to choose rate limits.
    lists: bool,
    has_changed: bool,
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
            schedule: (predicts || lists).then(|| Box::new(ListingSchedule::new(base, ceiling))),
            routing: Routing::new(settings),
            unverified: Vec::new(),
            prerequisites: Prerequisites::default(),
            hashes: None,
            predicts,
            checks: predicts || (lists && settings.relies_on_keys()),
            is_strict: predicts && settings.ordering == RecordOrdering::PerKey,
            lists,
            has_changed: false,
            fell_back: false,
        }
    }

    pub(crate) fn require(&mut self, prerequisites: Prerequisites) {
        self.prerequisites = prerequisites;
        self.routing.set_describable(prerequisites.description);
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.prerequisites.description && !self.prerequisites.shards
    }

    pub(super) fn awaits_description(&self) -> bool {
        self.prerequisites.description
    }

    pub(crate) fn routing(&self) -> &Routing {
        &self.routing
    }

    pub(super) fn unverified(&self) -> &[AwaitingVerification] {
        &self.unverified
    }

    /// Releases the memory that is not needed while no record is queued or in flight.
    pub(super) fn rest(&mut self) {
        self.lanes.shrink();
        self.hashes = None;
    }

    pub(super) fn drain_unverified(&mut self) -> Vec<AwaitingVerification> {
        std::mem::take(&mut self.unverified)
    }

    pub(super) fn expire_unverified(
        &mut self,
        is_expired: impl Fn(&BufferedRecord) -> bool,
    ) -> Vec<QueuedEntry> {
        let all_expired = |unverified: &mut AwaitingVerification| {
            unverified.entry.members().iter().all(&is_expired)
        };
        self.unverified.extract_if(.., all_expired).map(|unverified| unverified.entry).collect()
    }

    pub(super) fn ensure_hash_key(&mut self, record: &mut BufferedRecord) {
        if self.lanes.has_multiple_shards() || self.listed.predicts() {
            record.ensure_hash_key(self.hashes.get_or_insert_default());
        }
    }

    pub(super) fn route(&mut self, entry: &mut QueuedEntry) {
        if self.lanes.has_multiple_shards() {
            entry.ensure_hash_key(self.hashes.get_or_insert_default());
        }
        let order = entry.route.order;
        entry.route = self.lanes.route(entry.oldest());
        entry.route.order = order;
    }

    pub(super) fn lane_of_record(&self, record: &BufferedRecord) -> LaneId {
        self.lanes.route(record).lane
    }

    /// Returns the lane whose rate limiter and backoff are updated with the outcome of an entry.
    pub(super) fn outcome_lane(&self, entry: &QueuedEntry) -> LaneId {
        if entry.route.lane == FALLBACK {
            // The sink may have learned the shard while the entry was in flight.
            return self.lanes.route(entry.oldest()).lane;
        }
        self.current_lane(entry)
    }

    /// Returns the lane of an entry. If the lane is no longer current, returns the lane of the entry's first record.
    pub(super) fn current_lane(&self, entry: &QueuedEntry) -> LaneId {
        if self.lanes.is_current(entry.route) {
            entry.route.lane
        } else {
            self.lanes.route(entry.oldest()).lane
        }
    }

    /// Returns the lanes of the hash ring, and a version that increases each time that they may have changed.
    pub(crate) fn ring(&self) -> (&Arc<Ring<LaneId>>, u64) {
        self.lanes.ring()
    }

    pub(super) fn has_multiple_shards(&self) -> bool {
        self.lanes.has_multiple_shards()
    }

    pub(super) fn shard_of(&self, lane: LaneId) -> Option<SmolStr> {
        self.lanes.shard_of(lane).cloned()
    }

    /// Takes the stale lanes. The caller must empty them before it routes other entries.
    pub(super) fn take_stale_lanes(&mut self) -> BTreeSet<LaneId> {
        self.lanes.take_stale()
    }

    pub(super) fn predict(&self, record: &BufferedRecord) -> Option<&Arc<Shard>> {
        self.listed.predict(record.hash_key())
    }

    /// Assigns the predicted shard to an aggregate. Returns `false` if its records do not share one.
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

    /// Returns `true` if a record must be sent without aggregation, because even aggregates of its key were misplaced.
    pub(super) fn is_sent_alone(&self, record: &BufferedRecord) -> bool {
        let by_shard = if self.predicts { MAX_MISPLACED } else { 0 };
        record.misplaced() >= by_shard + MAX_MISPLACED
    }

    pub(super) fn may_predict(&self) -> bool {
        self.predicts
    }

    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Returns `true` if the list became invalid since the last call, so that records are aggregated by key.
    pub(crate) fn take_fallback(&mut self) -> bool {
        std::mem::take(&mut self.fell_back)
    }

    /// Records the shard of a written entry. Returns the lane to which the caller must attribute the delivery.
    pub(super) fn observe(&mut self, entry: &mut QueuedEntry, shard_id: &str) -> LaneId {
        if self.lanes.confirms(entry, shard_id) {
            return entry.route.lane;
        }
        self.route(entry);
        let Route { lane, is_certain, .. } = entry.route;
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

    /// Applies the observations of a response. Returns the opened lanes, and `true` if stale lanes must be rerouted.
    pub(super) fn apply_observations(
        &mut self,
        completion: Completion,
        delivered: usize,
        rng: &mut Rng,
    ) -> (Vec<OpenedLane>, bool) {
        let mut opened = Vec::new();
        let learned = self.learned.apply(&mut self.lanes, completion, delivered, &mut opened);
        match learned {
            // With predictions, `record_misprediction` requests the list.
            Learned::Changed if self.lists && !self.predicts => {
                self.request_list(completion.now, rng);
            }
            Learned::Contradictory => self.lanes.forget(),
            Learned::Unchanged | Learned::Misrouted | Learned::Changed => {}
        }
        (opened, learned != Learned::Unchanged)
    }

    /// Suspends predictions until the next list if order matters and a written entry is in an unlisted shard.
    /// Otherwise, a misplaced aggregate might be retried after later records of its keys are in the new shard.
    fn record_named(&mut self, shard_id: &str, now: Instant, rng: &mut Rng) {
        if self.is_strict && self.listed.record_named(shard_id) {
            self.request_list(now, rng);
            self.has_changed |= self.listed.suspend_all();
        }
    }

    /// Suspends predictions of a shard after the service has written an aggregate to a different shard than predicted.
    fn record_misprediction(
        &mut self,
        entry: &QueuedEntry,
        check: PlacementCheck,
        now: Instant,
        rng: &mut Rng,
    ) {
        let Some((_, predicted)) = entry.predicted() else {
            // If the shard is listed with another range, the stream was recreated or the service ignores keys.
            if self.checks && !self.listed.is_invalid() {
                self.request_list(now, rng);
            }
            return;
        };
        let is_suspended = self.listed.suspend(predicted);
        if is_suspended || (check == PlacementCheck::Unknown && !self.listed.is_invalid()) {
            self.request_list(now, rng);
        }
        self.has_changed |= is_suspended;
    }

    /// Suspends all predictions if aggregates with the same record are misplaced repeatedly. The next list shows
    /// whether the current one is invalid.
    pub(super) fn record_misplaced(&mut self, entry: &QueuedEntry, now: Instant, rng: &mut Rng) {
        let Some((_, predicted)) = entry.predicted() else { return };
        let is_too_often = |member: &BufferedRecord| member.misplaced() >= MAX_MISPLACED;
        if self.listed.is_invalid() || !entry.members().iter().any(is_too_often) {
            return;
        }
        if self.listed.invalidate_if_repeated(predicted) {
            self.has_changed = true;
            self.request_list(now, rng);
        }
    }

    /// Applies a shard list, or records a failed call if `list` is `None`. The caller must call
    /// [`reverify`](Self::reverify) afterwards. Returns the opened lanes, and the list if it was already outdated when
    /// it arrived.
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
            if let Some(schedule) = &mut self.schedule {
                schedule.fail(now, rng);
            }
            self.has_changed |= self.listed.suspend_all();
            return (opened, None);
        };
        if self.learned.is_active(now) {
            self.lanes.apply_list(&list, next, &mut opened);
            self.learned.set_listed(self.lanes.shards());
        }
        if self.schedule.as_mut().is_some_and(|schedule| !schedule.succeed(now, rng)) {
            return (opened, Some(list));
        }
        let was_invalid = self.listed.is_invalid();
        if self.checks {
            self.listed.replace(list, self.predicts);
        }
        if self.listed.is_invalid() {
            self.fell_back |= !was_invalid;
            if let Some(schedule) = &mut self.schedule {
                schedule.request_later(now);
            }
        }
        self.has_changed |= self.predicts;
        (opened, None)
    }

    pub(super) fn forget_shards(&mut self, now: Instant, rng: &mut Rng) {
        self.lanes.forget();
        let predicted = self.listed.forget();
        if predicted || self.lists || self.expects_list() {
            self.request_list(now, rng);
        }
        self.has_changed |= predicted;
    }

    pub(crate) fn listing_is_due(&self, now: Instant) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.is_due(now))
    }

    fn request_list(&mut self, now: Instant, rng: &mut Rng) {
        if let Some(schedule) = &mut self.schedule {
            schedule.request(now, rng);
        }
    }

    fn expects_list(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.is_expected())
    }

    fn failed_listings(&self) -> u32 {
        self.schedule.as_ref().map_or(0, |schedule| schedule.failures())
    }

    pub(crate) fn begin_listing(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            schedule.begin();
        }
    }

    pub(super) fn retry_listing(&mut self) {
        if let Some(schedule) = &mut self.schedule
            && !self.unverified.is_empty()
        {
            schedule.retry_now();
        }
    }

    pub(super) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let listing = self.schedule.as_ref().and_then(|schedule| schedule.wakeup(now));
        listing.into_iter().chain(self.routing.wakeup(now)).min()
    }

    /// Returns `true` if responses can be checked against a shard list, now or when the expected list arrives.
    fn has_list(&self) -> bool {
        self.listed.is_known() || self.awaits_list()
    }

    /// Returns `true` if the sink expects a new list, which may contain shards that are not listed yet.
    fn awaits_list(&self) -> bool {
        let cannot_list = self.failed_listings() > 0 || self.listed.is_invalid();
        self.checks && self.expects_list() && !cannot_list
    }

    /// Returns `true` if verification waits for a new list even if listings fail. It waits for [`MAX_FAILED_LISTINGS`]
    /// calls, and as long as an outage lasts.
    fn retries_listing(&self, is_failing: bool) -> bool {
        self.routing.is_switchable()
            && self.checks
            && self.expects_list()
            && self.listed.is_valid()
            && (is_failing || self.failed_listings() < MAX_FAILED_LISTINGS)
    }

    pub(super) fn must_decide_without_list(&self) -> bool {
        self.listed.is_invalid() && !self.unverified.is_empty()
    }

    /// Applies a description, if there is one. If the routing was unconfirmed, confirms it and returns `true`.
    pub(super) fn apply_description(
        &mut self,
        description: Option<&StreamDescription>,
        now: Instant,
        rng: &mut Rng,
    ) -> bool {
        let was_unconfirmed = self.routing.is_unconfirmed();
        if let Some(description) = description {
            self.routing.apply_description(description);
        }
        if was_unconfirmed {
            self.confirm_routing(now, rng);
        } else {
            self.prerequisites.description = false;
        }
        was_unconfirmed
    }

    fn confirm_routing(&mut self, now: Instant, rng: &mut Rng) {
        self.routing.confirm(now, rng);
        self.lanes.forget_closed();
    }

    /// Records a failed call to describe the stream. Returns `true` if the call is not retried.
    pub(super) fn fail_description(&mut self, may_pass: bool, now: Instant, rng: &mut Rng) -> bool {
        let retries = self.routing.record_failed_description(now, rng);
        let is_final = !(may_pass && retries);
        if is_final {
            self.confirm_routing(now, rng);
        }
        is_final
    }

    pub(super) fn stop_learning(&mut self) {
        self.learned.stop();
        self.lanes.forget();
    }

    /// Blocks requests until a description reports that the service distributes records by partition key.
    pub(super) fn reject_stream(&mut self) {
        self.routing.set_by_service();
        self.prerequisites.description = true;
    }

    pub(super) fn stop_listing(&mut self) {
        self.prerequisites.shards = false;
        self.schedule = None;
        self.has_changed |= self.listed.forget();
        self.predicts = false;
        self.checks = false;
        self.is_strict = false;
        self.lists = false;
    }

    pub(super) fn stop_describing(&mut self) {
        self.prerequisites.description = false;
        self.routing.set_describable(false);
    }

    #[cfg(test)]
    pub(super) fn needs_listing(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.is_requested())
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
    pub(super) fn invalidate_list(&mut self) {
        self.listed.invalidate_for_test();
        self.has_changed = true;
    }
}
