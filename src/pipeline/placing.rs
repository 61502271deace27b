//! Whether what was delivered is where it belongs.

use std::sync::Arc;
use std::time::Instant;

use super::Pipeline;
use super::pending::Pending;
use super::shards::{Listed, Shards, Verdict};
use super::unit::Unit;
use crate::record::AttemptError;
use crate::service::{EntryError, Placement};
use crate::shard::ShardMap;

/// A written aggregate that consumers may discard. The next list of shards or the next description of the
/// stream decides whether it counts as delivered.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) unit: Unit,
    placement: Placement,
    /// Whether no reshard explains its shard, or that of another entry that was written at about the same time.
    is_contradictory: bool,
}

impl Pipeline {
    /// Checks the answer to `request` for shards that partition keys rule out. If there are any, the stream is
    /// described again, since it may have been switched to a distribution by the service. If the list of shards
    /// proves a contradiction, nothing that was written to an unlisted shard at about that time counts as delivered.
    pub(super) fn check_routing(
        &mut self,
        request: u64,
        units: &[Unit],
        results: &[Result<Placement, EntryError>],
        now: Instant,
    ) {
        if !self.routing.is_relied_on() {
            return;
        }
        // Without a list of shards a reshard looks like a switch.
        let suspects_switch = !self.shards.is_listed() && self.routing.may_be_switched(now);
        let written = || {
            let entries = units.iter().zip(results);
            entries.filter_map(|(unit, result)| Some((unit, result.as_ref().ok()?.shard_id())))
        };
        let is_proven =
            written().any(|(unit, shard_id)| self.is_contradictory(request, unit, shard_id));
        let is_suspected = || {
            suspects_switch
                && self.lanes.tell_apart()
                && written().any(|(unit, shard_id)| {
                    matches!(unit, Unit::Aggregate(_))
                        && self.lanes.is_elsewhere(unit.oldest(), shard_id)
                })
        };
        if is_proven || is_suspected() {
            self.routing.doubt(now);
        }
        if is_proven {
            self.routing.note_contradiction(now);
            self.unverified.iter_mut().for_each(|one| one.is_contradictory = true);
        }
    }

    /// Whether no reshard explains that an entry of `request` was written to this shard.
    fn is_contradictory(&self, request: u64, unit: &Unit, shard_id: &str) -> bool {
        self.routing.is_relied_on()
            && unit.oldest().has_place()
            && (self.lanes.is_retired(shard_id, request) || self.shards.rule_out(unit, shard_id))
    }

    /// Settles an entry that the service has written. Returns the parts to send again, `None` if it is held
    /// until more is known, and whether the backlog has to be repacked.
    #[inline]
    pub(super) fn settle_written(
        &mut self,
        request: u64,
        mut unit: Unit,
        placement: Placement,
        now: Instant,
    ) -> (Option<Vec<Unit>>, bool) {
        self.learn_from(&unit, &placement);
        let outdated = self.shards.note_named(placement.shard_id(), now, &mut self.rng);
        if matches!(unit, Unit::Single(_)) {
            self.deliver(&mut unit, placement, now);
            return (Some(Vec::new()), outdated);
        }
        match self.shards.judge(&unit, placement.shard_id()) {
            Verdict::Placed => {
                self.shards.confirmed(&unit, now);
                self.deliver(&mut unit, placement, now);
                (Some(Vec::new()), outdated)
            }
            verdict => {
                let is_contradictory = self.routing.was_contradicted(now)
                    || self.is_contradictory(request, &unit, placement.shard_id());
                let (again, changed) =
                    self.went_astray(unit, placement, verdict, is_contradictory, now);
                (again, changed || outdated)
            }
        }
    }

    /// Settles an aggregate that was written to a shard which may not hold all its members. Returns the
    /// parts to send again, `None` if it is held, and whether the backlog has to be repacked.
    fn went_astray(
        &mut self,
        mut unit: Unit,
        placement: Placement,
        verdict: Verdict,
        is_contradictory: bool,
        now: Instant,
    ) -> (Option<Vec<Unit>>, bool) {
        let changed = self.shards.contradicted(&unit, verdict, now, &mut self.rng);
        match self.conclude(&unit, verdict, is_contradictory) {
            Verdict::Placed => {
                self.deliver(&mut unit, placement, now);
                (Some(Vec::new()), changed)
            }
            Verdict::Misplaced => (Some(self.misplaced(unit, &placement, now)), changed),
            Verdict::Unknown => {
                // Later records of its keys wait, since it may have to be sent again.
                self.rebuilds |= self.is_ordered() && unit.predicted().is_some();
                // Copied, since a slice of the answer would keep the whole answer in memory.
                let placement = placement.without_answer();
                self.unverified.push(Unverified { unit, placement, is_contradictory });
                (None, changed)
            }
        }
    }

    /// Whether an entry in an unlisted shard may have been written while the service ignored keys. A list that
    /// lacks the shard time and again is not complete, and says nothing.
    fn is_unlisted_in_doubt(&self, unit: &Unit) -> bool {
        self.routing.is_switchable()
            && self.shards.has_latest_list()
            && !self.shards.goes_alone(unit.oldest())
    }

    /// Whether failed listings are retried before an entry in an unlisted shard counts as delivered. While the whole
    /// stream fails, listings may fail as well, and waiting for them holds up nothing.
    fn retries_listing(&self) -> bool {
        let fails = self.backoff.failures() > 0;
        self.routing.is_switchable() && self.shards.retries_listing(fails)
    }

    /// Decides whether an aggregate was delivered, from the list's verdict and the state of the routing. `Unknown`
    /// while a list of shards or a description is awaited. The order matters: doubts come first, then proofs, then
    /// what is likely.
    fn conclude(&self, unit: &Unit, verdict: Verdict, is_contradictory: bool) -> Verdict {
        match verdict {
            Verdict::Placed => Verdict::Placed,
            _ if self.routing.is_doubted() => Verdict::Unknown,
            Verdict::Misplaced => Verdict::Misplaced,
            Verdict::Unknown if self.routing.is_by_service() => Verdict::Misplaced,
            Verdict::Unknown if self.shards.awaits_list() => Verdict::Unknown,
            Verdict::Unknown if unit.predicted().is_some() || is_contradictory => {
                Verdict::Misplaced
            }
            // All members have one key, and share a shard, whichever it is, unless the service distributed records for
            // a while. Only a list with this shard shows that it did not.
            Verdict::Unknown if self.retries_listing() => Verdict::Unknown,
            Verdict::Unknown if self.is_unlisted_in_doubt(unit) => Verdict::Misplaced,
            // Nothing speaks against it.
            Verdict::Unknown => Verdict::Placed,
        }
    }

    /// Takes back what lies in a shard that is not the shard of all its records. It is in the stream,
    /// though consumers of aggregates throw it away there.
    fn misplaced(&mut self, mut unit: Unit, placement: &Placement, now: Instant) -> Vec<Unit> {
        let error = Arc::new(AttemptError {
            code: "Misplaced".to_owned(),
            message: format!(
                "its aggregate came to lie in {}, where not all of its records belong",
                placement.shard_id()
            ),
        });
        self.totals.misplaced += 1;
        for member in unit.members_mut() {
            member.note_misplaced();
            member.may_be_written = true;
            member.note_error(error.clone(), now);
        }
        if unit.predicted().is_some() {
            self.keep_in_one_order(&mut unit, now);
        } else if unit.members().iter().any(|member| self.shards.goes_alone(member)) {
            // Consumers read a plain record in any shard.
            let members = unit.into_members().into_iter().map(Unit::Single);
            let members = members.map(|one| one.closed(&self.settings.packing));
            let alone: Vec<_> = members.collect();
            return alone.into_iter().flat_map(|one| self.give_up_or_retry(one, &error)).collect();
        }
        self.give_up_or_retry(unit, &error)
    }

    /// Notes that an entry was delivered. There is no more to be done with it.
    pub(super) fn deliver(&mut self, unit: &mut Unit, placement: Placement, now: Instant) {
        self.totals.entries += 1;
        self.totals.entry_bytes += unit.size() as u64;
        match unit {
            Unit::Single(pending) => self.deliver_one(pending, || placement, None, now),
            Unit::Aggregate(_) => {
                for (place, member) in unit.members_mut().iter_mut().enumerate() {
                    self.deliver_one(member, || placement.clone(), Some(place as u64), now);
                }
            }
        }
    }

    fn deliver_one(
        &mut self,
        pending: &mut Pending,
        placement: impl FnOnce() -> Placement,
        sub_sequence_number: Option<u64>,
        now: Instant,
    ) {
        self.totals.delivered += 1;
        self.totals.delivered_bytes += pending.size() as u64;
        self.unsettled_records -= 1;
        self.unsettled_bytes -= pending.size();
        if let Some(samples) = &mut self.samples {
            samples.note_delivered(pending, now);
        }
        if let Some(untold) = pending.delivered(placement, sub_sequence_number, now) {
            self.delivered.push_back(untold);
        }
    }

    /// Whether the stream's shards are to be listed now.
    pub(crate) fn listing_is_due(&self, now: Instant) -> bool {
        self.shards.listing_is_due(now)
    }

    /// Notes that they are being listed. The caller brings the outcome to [`listed`](Self::listed).
    pub(crate) fn begin_listing(&mut self) {
        self.shards.begin_listing();
    }

    /// Takes the stream's shards; none if they could not be listed. What waits is packed accordingly.
    pub(crate) fn listed(&mut self, map: Option<ShardMap>, now: Instant) {
        self.awaited.shards = false;
        if let Some(map) = map.as_ref().filter(|_| self.learning.is_on(now)) {
            self.lanes.set_shards(map, &mut self.hashes, self.next_request, now);
            self.learning.note_listed(self.lanes.shards());
        }
        let listed = self.shards.listed(map, now, &mut self.rng);
        let stale = match &listed {
            Listed::Stale(map) => Some(map),
            _ => None,
        };
        self.verify(stale, now);
        if matches!(listed, Listed::Changed) {
            self.regroup();
        }
        self.rebuild();
    }

    /// Gives up waiting for a list where none is believed.
    pub(super) fn verify_without_list(&mut self, now: Instant) {
        if self.shards.is_mistrusted() && !self.unverified.is_empty() {
            self.verify(None, now);
        }
    }

    /// Decides about the unverified aggregates by the latest list of shards, or by `stale`, a list that was
    /// outdated when it arrived.
    pub(super) fn verify(&mut self, stale: Option<&ShardMap>, now: Instant) {
        let mut returned = Vec::new();
        for mut one in std::mem::take(&mut self.unverified) {
            let shard_id = one.placement.shard_id();
            let verdict = match stale {
                Some(map) => Shards::judge_by(Some(map), &one.unit, shard_id),
                None => self.shards.judge(&one.unit, shard_id),
            };
            let strand = self.strand_of(one.unit.oldest());
            match self.conclude(&one.unit, verdict, one.is_contradictory) {
                Verdict::Placed => {
                    self.deliver(&mut one.unit, one.placement, now);
                    self.in_order(strand, Vec::new());
                }
                Verdict::Unknown => self.unverified.push(one),
                Verdict::Misplaced => {
                    let again = self.misplaced(one.unit, &one.placement, now);
                    returned.extend(self.in_order(strand, again));
                }
            }
        }
        self.requeue(returned);
    }

    /// Breaks up what no longer belongs together, after the map of shards has changed.
    pub(super) fn regroup(&mut self) {
        if self.is_ordered() {
            self.rebuilds = true;
            return;
        }
        let broken = self.lanes.extract_if(|unit| !self.shards.keeps_together(unit));
        let mut broken: Vec<_> = broken.into_iter().flat_map(Unit::into_members).collect();
        for group in std::mem::take(&mut self.suspects) {
            let (kept, gone) = self.shards.part(group);
            broken.extend(gone.into_iter().flat_map(Unit::into_members));
            if !kept.is_empty() {
                self.suspects.push_back(kept);
            }
        }
        broken.extend(self.packer.take_all());
        self.enqueue_all(broken);
    }
}
