//! Verifies that a written aggregate is in a shard that holds all its members. Consumers discard it elsewhere.

use std::time::Instant;

use fastrand::Rng;

use super::Topology;
use super::listed::check_outdated;
use crate::pipeline::entry::QueuedEntry;
use crate::service::{EntryError, Placement};
use crate::shard::ShardMap;

/// What the shard of a written aggregate says about its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlacementCheck {
    /// All members are where they belong.
    Placed,
    /// Consumers discard the aggregate: it has to be sent again.
    Misplaced,
    /// The next list or description decides.
    Unknown,
}

/// A written aggregate that consumers may discard. The next list of shards or the next description of the stream
/// decides whether it counts as delivered.
#[derive(Debug)]
pub(crate) struct AwaitingVerification {
    pub(crate) entry: QueuedEntry,
    pub(crate) placement: Placement,
    /// Whether no reshard explains its shard, or that of another entry that was written at about the same time.
    is_contradictory: bool,
}

impl Topology {
    /// Checks the response to `request` for shards that partition keys rule out. If there are any, the stream is
    /// described again, since it may have been switched to a distribution by the service. If the list of shards proves
    /// a contradiction, nothing that was written to an unlisted shard at about that time counts as delivered.
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
        // Without a list of shards a reshard looks like a switch.
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
            self.routing.doubt(now);
        }
        if is_proven {
            self.routing.record_contradiction(now);
            for held in &mut self.held {
                held.is_contradictory = true;
            }
        }
    }

    /// Whether no reshard explains that an entry of `request` was written to this shard.
    fn is_contradictory(&self, request: u64, entry: &QueuedEntry, shard_id: &str) -> bool {
        self.routing.is_relied_on()
            && entry.oldest().has_hash_key()
            && (self.lanes.was_closed(shard_id, request) || self.listed.rules_out(entry, shard_id))
    }

    /// Decides whether an entry that was written counts as delivered. If that is unknown, the caller
    /// [holds](Self::hold) it.
    pub(in crate::pipeline) fn verify(
        &mut self,
        request: u64,
        entry: &QueuedEntry,
        shard_id: &str,
        is_failing: bool,
        now: Instant,
        rng: &mut Rng,
    ) -> PlacementCheck {
        self.record_named(shard_id, now, rng);
        if !entry.is_aggregate() {
            return PlacementCheck::Placed;
        }
        let check = self.listed.check(entry, shard_id);
        if check == PlacementCheck::Placed {
            return check;
        }
        self.record_misprediction(entry, check, now, rng);
        self.decide(entry, check, self.is_tainted(request, entry, shard_id, now), is_failing)
    }

    fn is_tainted(&self, request: u64, entry: &QueuedEntry, shard_id: &str, now: Instant) -> bool {
        self.routing.was_contradicted(now) || self.is_contradictory(request, entry, shard_id)
    }

    /// Holds a written aggregate until it can be verified.
    pub(in crate::pipeline) fn hold(
        &mut self,
        request: u64,
        entry: QueuedEntry,
        placement: Placement,
        now: Instant,
    ) {
        let is_contradictory = self.is_tainted(request, &entry, placement.shard_id(), now);
        // Copied, since a slice of the response would keep the whole response in memory.
        let placement = placement.detach();
        self.held.push(AwaitingVerification { entry, placement, is_contradictory });
    }

    /// Removes the held aggregates that can be decided, each with what was decided. `outdated` is a list that was
    /// outdated when it arrived.
    pub(in crate::pipeline) fn verify_held(
        &mut self,
        outdated: Option<&ShardMap>,
        is_failing: bool,
    ) -> Vec<(AwaitingVerification, PlacementCheck)> {
        let mut decided = Vec::new();
        for held in std::mem::take(&mut self.held) {
            let shard_id = held.placement.shard_id();
            let check = match outdated {
                Some(list) => check_outdated(list, &held.entry, shard_id),
                None => self.listed.check(&held.entry, shard_id),
            };
            match self.decide(&held.entry, check, held.is_contradictory, is_failing) {
                PlacementCheck::Unknown => self.held.push(held),
                decision => decided.push((held, decision)),
            }
        }
        decided
    }

    /// Whether an aggregate counts as delivered, from the check against the list and the state of the routing.
    /// `Unknown` while a list or a description is awaited. The order matters: doubts come first, then proofs, then
    /// what is likely.
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
            _ if self.routing.is_doubted() => Unknown,
            Misplaced => Misplaced,
            Unknown if self.routing.is_by_service() => Misplaced,
            Unknown if self.awaits_list() => Unknown,
            Unknown if entry.predicted().is_some() || is_contradictory => Misplaced,
            // All members have one key and one shard, whichever it is, unless the service distributed records for a
            // while. Only a list with this shard shows that it did not.
            Unknown if self.retries_listing(is_failing) => Unknown,
            Unknown if self.is_unlisted_in_doubt(entry) => Misplaced,
            Unknown => Placed,
        }
    }

    /// Whether an entry in an unlisted shard may have been written while the service ignored keys. A list that lacks
    /// the shard time and again is not complete, and proves nothing.
    fn is_unlisted_in_doubt(&self, entry: &QueuedEntry) -> bool {
        self.routing.is_switchable()
            && self.listed.is_believed()
            && !self.schedule.is_expected()
            && !self.is_sent_alone(entry.oldest())
    }
}
