//! Whether what was delivered is where it belongs.

use std::time::Instant;

use super::Pipeline;
use super::pending::Pending;
use super::shards::Verdict;
use super::unit::Unit;
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
    /// Takes an entry that the service has confirmed. It comes back if it has to be sent again.
    pub(super) fn arrived(
        &mut self,
        unit: Unit,
        placement: Placement,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Unit> {
        if verdict == Verdict::Placed {
            self.shards.confirmed(&unit);
            self.deliver(unit, placement, now);
            return None;
        }
        self.shards.contradicted(&unit, verdict, now, &mut self.rng);
        if verdict == Verdict::Misplaced {
            return Some(misplaced(unit));
        }
        self.unverified.push(Unverified { unit, placement });
        None
    }

    fn deliver(&mut self, unit: Unit, placement: Placement, now: Instant) {
        self.totals.entries += 1;
        self.totals.entry_bytes += unit.size() as u64;
        match unit {
            Unit::Single(pending) => self.deliver_one(pending, || placement, None, now),
            Unit::Aggregate(_) => {
                for (place, member) in unit.into_members().into_iter().enumerate() {
                    self.deliver_one(member, || placement.clone(), Some(place as u64), now);
                }
            }
        }
    }

    fn deliver_one(
        &mut self,
        pending: Pending,
        placement: impl FnOnce() -> Placement,
        sub_sequence_number: Option<u64>,
        now: Instant,
    ) {
        self.totals.delivered += 1;
        self.totals.delivered_bytes += pending.size() as u64;
        self.unsettled_records -= 1;
        self.unsettled_bytes -= pending.size();
        self.delivered.extend(pending.into_delivery(placement, sub_sequence_number, now));
    }

    /// Whether the stream's shards are to be listed now. Who is told so brings the outcome to
    /// [`listed`](Self::listed).
    pub(crate) fn begin_listing(&mut self, now: Instant) -> bool {
        self.shards.begin_listing(now)
    }

    /// Takes the stream's shards; none if they could not be listed. What waits is packed accordingly.
    pub(crate) fn listed(&mut self, map: Option<ShardMap>, now: Instant) {
        self.awaited.shards = false;
        match map {
            Some(map) => self.shards.listed(map),
            None => self.shards.not_listed(now, &mut self.rng),
        }
        let mut returned = Vec::new();
        for Unverified { unit, placement } in std::mem::take(&mut self.unverified) {
            match self.shards.judge(&unit, placement.shard_id()) {
                Verdict::Placed => self.deliver(unit, placement, now),
                // The newest list does not have it, so nobody can say what it holds.
                Verdict::Misplaced | Verdict::Unknown => returned.push(misplaced(unit)),
            }
        }
        self.requeue(returned);
        self.regroup();
    }

    /// Breaks up what no longer belongs together, after the map of shards has changed.
    pub(super) fn regroup(&mut self) {
        let broken = self.lane.extract_if(|unit| !self.shards.keeps_together(unit));
        let mut broken: Vec<_> = broken.into_iter().flat_map(Unit::into_members).collect();
        for group in std::mem::take(&mut self.suspects) {
            let (kept, gone): (Vec<_>, Vec<_>) =
                group.into_iter().partition(|unit| self.shards.keeps_together(unit));
            broken.extend(gone.into_iter().flat_map(Unit::into_members));
            if !kept.is_empty() {
                self.suspects.push_back(kept);
            }
        }
        self.repack(broken);
    }
}

/// It is in the stream, though consumers of aggregates throw it away there.
fn misplaced(mut unit: Unit) -> Unit {
    for member in unit.members_mut() {
        member.misplaced = member.misplaced.saturating_add(1);
        member.may_be_written = true;
    }
    unit
}
