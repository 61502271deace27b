//! The search for the record that the service refuses.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::records_in;
use super::unit::Unit;
use super::{Flight, Pipeline};
use crate::record::{AttemptError, Reason};

impl Pipeline {
    /// Halves a request that was refused for what it contains; of one record, that record fails. A
    /// short wait keeps the pace civil where everything is refused.
    pub(super) fn split(&mut self, flight: Flight, error: Arc<AttemptError>, now: Instant) {
        self.answered(now.saturating_duration_since(flight.cut_at));
        self.outages.succeeded(now);
        self.backoff.pause(now, &mut self.rng);
        let mut units = flight.units;
        for pending in units.iter_mut().flat_map(Unit::members_mut) {
            pending.note_flight(flight.cut_at, now);
            pending.note_error(error.clone(), now);
        }
        let halves = match <[Unit; 1]>::try_from(units) {
            Ok([only]) => {
                let strand = self.strand_of(only.oldest());
                let halves = self.halve(only, &error);
                match strand {
                    // The second half waits until the first one is settled.
                    Some(_) => {
                        let halves = halves.into_iter().flatten().collect();
                        [self.in_order(strand, halves), Vec::new()]
                    }
                    None => halves,
                }
            }
            Err(units) => in_halves(units).map(no_attempt),
        };
        for half in halves.into_iter().rev() {
            self.suspect(half);
        }
    }

    /// Takes an entry that was refused in a request that was not. A record fails; the halves of an
    /// aggregate go on, each an entry of its own again.
    pub(super) fn reject_entry(&mut self, unit: Unit, error: Arc<AttemptError>) -> Vec<Unit> {
        self.halve(unit, &error).into_iter().flatten().collect()
    }

    /// Halves an entry that failed again and again while nothing else did: an aggregate in two, of which
    /// the first takes its place. One record is isolated.
    pub(super) fn halve_or_isolate(&mut self, unit: Unit) -> Vec<Unit> {
        let strand = self.strand_of(unit.oldest());
        match unit.halve(&self.settings.packing) {
            ControlFlow::Continue(halves) => {
                self.in_order(strand, halves.into_iter().flatten().collect())
            }
            ControlFlow::Break(record) => {
                self.isolate(Unit::Single(record).closed(&self.settings.packing));
                Vec::new()
            }
        }
    }

    /// Halves an aggregate, since it takes no more than one of its records to have the whole refused. A
    /// record fails.
    fn halve(&mut self, unit: Unit, error: &Arc<AttemptError>) -> [Vec<Unit>; 2] {
        match unit.halve(&self.settings.packing) {
            ControlFlow::Continue(halves) => halves.map(no_attempt),
            ControlFlow::Break(culprit) => {
                self.fail(culprit, Reason::Rejected(error.clone()));
                [Vec::new(), Vec::new()]
            }
        }
    }

    /// Puts a group in front of those that are each sent alone. What no longer belongs together goes
    /// back to the others.
    pub(super) fn suspect(&mut self, group: Vec<Unit>) {
        let (mut kept, parted) = self.shards.part(group);
        // A unit that has lost its oldest record comes later.
        kept.sort_by_key(Unit::seq);
        self.totals.requeued += records_in(&kept);
        self.find_places(&mut kept);
        if !kept.is_empty() {
            self.suspects.push_front(kept);
        }
        self.requeue(parted);
    }
}

pub(super) fn in_halves(mut units: Vec<Unit>) -> [Vec<Unit>; 2] {
    let second = units.split_off(units.len() / 2);
    [units, second]
}

/// The refusal may be another record's fault, so it is no attempt of any record's own.
fn no_attempt(mut units: Vec<Unit>) -> Vec<Unit> {
    units.iter_mut().flat_map(Unit::members_mut).for_each(|pending| pending.attempts -= 1);
    units
}
