//! Verifies the shards of written aggregates, because consumers discard misplaced aggregates.

use std::time::Instant;

use fastrand::Rng;

use super::Topology;
use super::listed::check_outdated;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::in_flight::Completion;
use crate::service::{EntryError, Placement};
use crate::shard::ShardMap;

/// Result of checking the shard of a written aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlacementCheck {
    Placed,
    /// The aggregate is in the wrong shard. It is retried, because consumers discard it.
    Misplaced,
    /// The check must be repeated with the next shard list or description.
    Unknown,
}

/// Result of [`Topology::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verification {
    pub(crate) check: PlacementCheck,
    is_contradictory: bool,
}

/// Written aggregate that may be in the wrong shard. It is checked again with the next shard list or description.
#[derive(Debug)]
pub(crate) struct AwaitingVerification {
    pub(crate) entry: QueuedEntry,
    pub(crate) placement: Placement,
    /// Set to `true` if no reshard can explain the shard of this entry, or of one written at about that time.
    is_contradictory: bool,
}

impl Topology {
    /// Checks whether the shards in a response match the partition keys. After a mismatch, the stream is described
    /// again. If no reshard can explain the mismatch, aggregates in unlisted shards do not count as delivered for 60
    /// seconds.
    pub(in crate::pipeline) fn check_response(
        &mut self,
        request: u64,
        entries: &[QueuedEntry],
        results: &[Result<Placement, EntryError>],
        now: Instant,
    ) {
        if !self.routing.is_relied_on() {
            return;
        }
        // Without a shard list, only a description can distinguish a changed distribution from a reshard.
        let may_be_switched = !self.has_list() && self.routing.may_be_switched(now);
        let written = || {
            let results = entries.iter().zip(results);
            results.filter_map(|(entry, result)| Some((entry, result.as_ref().ok()?.shard_id())))
        };
        let is_proven =
            written().any(|(entry, shard_id)| self.is_contradictory(request, entry, shard_id));
        let is_likely = || {
            may_be_switched
                && self.lanes.has_multiple_shards()
                && written().any(|(entry, shard_id)| {
                    entry.is_aggregate() && self.lanes.is_elsewhere(entry.oldest(), shard_id)
                })
        };
        if is_proven || is_likely() {
            self.routing.require_confirmation(now);
        }
        if is_proven {
            self.routing.record_contradiction(now);
            for unverified in &mut self.unverified {
                unverified.is_contradictory = true;
            }
        }
    }

    /// Returns `true` if no reshard can explain that this shard accepted an entry of `request`.
    fn is_contradictory(&self, request: u64, entry: &QueuedEntry, shard_id: &str) -> bool {
        self.routing.is_relied_on()
            && entry.oldest().has_hash_key()
            && (self.lanes.was_closed(shard_id, request) || self.listed.rules_out(entry, shard_id))
    }

    /// Checks whether a written entry counts as delivered. If the result is [unknown](PlacementCheck::Unknown), the
    /// caller must pass the entry to [`await_verification`](Self::await_verification).
    pub(in crate::pipeline) fn verify(
        &mut self,
        entry: &QueuedEntry,
        shard_id: &str,
        completion: Completion,
        is_failing: bool,
        rng: &mut Rng,
    ) -> Verification {
        let Completion { request, now, .. } = completion;
        self.record_named(shard_id, now, rng);
        if !entry.is_aggregate() {
            return Verification { check: PlacementCheck::Placed, is_contradictory: false };
        }
        let check = self.listed.check(entry, shard_id);
        if check == PlacementCheck::Placed {
            return Verification { check, is_contradictory: false };
        }
        self.record_misprediction(entry, check, now, rng);
        let is_contradictory =
            self.routing.was_contradicted(now) || self.is_contradictory(request, entry, shard_id);
        let check = self.decide(entry, check, is_contradictory, is_failing);
        Verification { check, is_contradictory }
    }

    pub(in crate::pipeline) fn await_verification(
        &mut self,
        entry: QueuedEntry,
        placement: Placement,
        verification: Verification,
    ) {
        let is_contradictory = verification.is_contradictory;
        // The placement is copied, because a slice of the response would keep the whole response in memory.
        let placement = placement.detach();
        self.unverified.push(AwaitingVerification { entry, placement, is_contradictory });
    }

    /// Removes and returns the aggregates that can be verified now. `outdated` is a shard list that was already
    /// outdated when it arrived.
    pub(in crate::pipeline) fn reverify(
        &mut self,
        outdated: Option<&ShardMap>,
        is_failing: bool,
    ) -> Vec<(AwaitingVerification, PlacementCheck)> {
        let mut decided = Vec::new();
        for unverified in std::mem::take(&mut self.unverified) {
            let shard_id = unverified.placement.shard_id();
            let check = match outdated {
                Some(list) => check_outdated(list, &unverified.entry, shard_id),
                None => self.listed.check(&unverified.entry, shard_id),
            };
            match self.decide(&unverified.entry, check, unverified.is_contradictory, is_failing) {
                PlacementCheck::Unknown => self.unverified.push(unverified),
                decision => decided.push((unverified, decision)),
            }
        }
        decided
    }

    /// Decides whether an entry counts as delivered. The order of the cases matters: an unconfirmed routing takes
    /// precedence over proof of a wrong shard, and proof takes precedence over likelihood.
    fn decide(
        &self,
        entry: &QueuedEntry,
        check: PlacementCheck,
        is_contradictory: bool,
        is_failing: bool,
    ) -> PlacementCheck {
        use PlacementCheck::{Misplaced, Placed, Unknown};
        match check {
            Placed => Placed,
            _ if self.routing.is_unconfirmed() => Unknown,
            Misplaced => Misplaced,
            Unknown if self.routing.is_by_service() => Misplaced,
            Unknown if self.awaits_list() => Unknown,
            Unknown if entry.predicted().is_some() || is_contradictory => Misplaced,
            // All records have the same key, so they belong to the same shard unless the service ignored keys for some
            // time. Only a list that contains the shard can rule this out.
            Unknown if self.retries_listing(is_failing) => Unknown,
            Unknown if self.may_have_ignored_keys(entry) => Misplaced,
            Unknown => Placed,
        }
    }

    /// Returns `true` if an entry in an unlisted shard may have been written while the service ignored keys. Returns
    /// `false` after repeated attempts, because the lists are then considered incomplete.
    fn may_have_ignored_keys(&self, entry: &QueuedEntry) -> bool {
        self.routing.is_switchable()
            && self.listed.is_valid()
            && !self.expects_list()
            && !self.is_sent_alone(entry.oldest())
    }
}
