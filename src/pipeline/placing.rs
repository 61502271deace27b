//! Whether what was delivered is where it belongs.

use std::sync::Arc;
use std::time::Instant;

use super::Pipeline;
use super::pending::Pending;
use super::shards::{Listed, Shards, Verdict};
use super::unit::Unit;
use crate::record::AttemptError;
use crate::service::Placement;
use crate::shard::ShardMap;

/// An aggregate that was delivered to a shard that is not known. The next listing tells whether all its
/// members belong there.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) unit: Unit,
    placement: Placement,
}

impl Pipeline {
    /// Takes an entry that the service has confirmed, for a shard that may not be its own. Says what of it
    /// has to be sent again, and whether what waits is to be packed anew.
    pub(super) fn went_astray(
        &mut self,
        unit: Unit,
        placement: Placement,
        verdict: Verdict,
        now: Instant,
    ) -> (Vec<Unit>, bool) {
        let changed = self.shards.contradicted(&unit, verdict, now, &mut self.rng);
        if verdict == Verdict::Misplaced || self.shards.cannot_list() {
            return (self.misplaced(unit, &placement, now), changed);
        }
        // For one of them the whole answer would stay in memory, uncounted, until the shards are listed.
        self.unverified.push(Unverified { unit, placement: placement.without_answer() });
        // If it has to be sent again, nothing later of its keys may have gone.
        self.rebuilds |= self.is_ordered();
        (Vec::new(), changed)
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
            member.misplaced = member.misplaced.saturating_add(1);
            member.may_be_written = true;
            member.note_error(error.clone(), now);
        }
        self.keep_in_one_order(&mut unit, now);
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
        self.verify(&listed, now);
        if matches!(listed, Listed::Changed) {
            self.regroup();
        }
        self.rebuild();
    }

    /// Gives up waiting for a list where none is believed.
    pub(super) fn verify_without_list(&mut self, now: Instant) {
        if self.shards.is_mistrusted() && !self.unverified.is_empty() {
            self.verify(&Listed::Unchanged, now);
        }
    }

    /// Says of what was delivered to shards that were not known whether it is where it belongs.
    fn verify(&mut self, listed: &Listed, now: Instant) {
        let mut returned = Vec::new();
        for Unverified { mut unit, placement } in std::mem::take(&mut self.unverified) {
            let verdict = match listed {
                Listed::Stale(map) => Shards::judge_by(Some(map), &unit, placement.shard_id()),
                _ => self.shards.judge(&unit, placement.shard_id()),
            };
            let strand = self.strand_of(unit.oldest());
            match (verdict, listed) {
                (Verdict::Placed, _) => {
                    self.deliver(&mut unit, placement, now);
                    self.in_order(strand, Vec::new());
                }
                (Verdict::Unknown, Listed::Stale(_)) if !self.shards.is_mistrusted() => {
                    self.unverified.push(Unverified { unit, placement });
                }
                // The newest list does not have it, so nobody can say what it holds.
                (Verdict::Misplaced | Verdict::Unknown, _) => {
                    let again = self.misplaced(unit, &placement, now);
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
