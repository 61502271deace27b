//! What is given up because it has waited for too long.

use std::time::Instant;

use super::Pipeline;
use super::pending::Pending;
use super::unit::Unit;
use crate::record::Reason;

impl Pipeline {
    /// Gives up the records whose deadline has passed: those that wait, and written ones that are not known to be
    /// delivered.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Some(deadline) = self.settings.deadline else { return };
        let expired = |pending: &Pending| pending.accepted_at + deadline <= now;
        while let Some(unit) = self.lanes.pop_oldest_if(expired) {
            let left = self.expire_in(unit, expired);
            left.into_iter().for_each(|unit| self.lanes.insert(unit));
        }
        while let Some((strand, unit)) = self.strands.take_oldest_if(expired) {
            let (left, gone) = unit.without(&self.settings.packing, expired);
            gone.into_iter().for_each(|pending| self.fail_for_deadline(pending));
            left.into_iter().for_each(|unit| self.strands.wait(strand.clone(), unit));
        }
        while let Some(unit) = self.packer.take_any_oldest_if(expired) {
            let (gone, left): (Vec<_>, Vec<_>) = unit.into_members().into_iter().partition(expired);
            gone.into_iter().for_each(|pending| self.fail_for_deadline(pending));
            left.into_iter().for_each(|pending| self.enqueue(pending));
        }
        for unit in self.isolated.take_all() {
            let left = self.expire_in(unit, expired);
            self.isolated.put_back(left);
        }
        self.conclude_isolation();
        self.expire_unverified(expired);
        self.rebuild();
        // In the order of acceptance, like the records of a request.
        if !self.suspects.iter().any(|group| expired(group[0].oldest())) {
            return;
        }
        for group in std::mem::take(&mut self.suspects) {
            let left = group.into_iter().flat_map(|unit| self.expire_in(unit, expired));
            let mut left: Vec<_> = left.collect();
            // A unit that has lost its oldest record comes later.
            left.sort_by_key(Unit::seq);
            if !left.is_empty() {
                self.suspects.push_back(left);
            }
        }
    }

    /// A written aggregate is given up as a whole, once that is due for all its members: they were accepted within a
    /// linger.
    fn expire_unverified(&mut self, expired: impl Fn(&Pending) -> bool) {
        for one in std::mem::take(&mut self.unverified) {
            if !one.unit.members().iter().all(&expired) {
                self.unverified.push(one);
                continue;
            }
            let strand = self.strand_of(one.unit.oldest());
            for mut pending in one.unit.into_members() {
                pending.may_be_written = true;
                self.fail_for_deadline(pending);
            }
            self.in_order(strand, Vec::new());
        }
    }

    /// When the next record is given up, unless it is settled before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.settings.deadline?;
        let waiting = self.waiting_groups().map(|oldest| oldest.accepted_at);
        let unverified = self
            .unverified
            .iter()
            .filter_map(|one| one.unit.members().iter().map(|member| member.accepted_at).max());
        waiting.chain(unverified).min().map(|accepted_at| accepted_at + deadline)
    }

    fn expire_in(&mut self, unit: Unit, expired: impl Fn(&Pending) -> bool) -> Vec<Unit> {
        let strand = self.strand_of(unit.oldest());
        let (left, gone) = unit.without(&self.settings.packing, expired);
        gone.into_iter().for_each(|pending| self.fail_for_deadline(pending));
        self.in_order(strand, left)
    }

    fn fail_for_deadline(&mut self, mut pending: Pending) {
        let deadline = self.settings.deadline.unwrap_or_default();
        let last = pending.last_error.take();
        self.fail(pending, Reason::DeadlineExceeded { deadline, last });
    }
}
