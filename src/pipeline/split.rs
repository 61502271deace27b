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
        self.answered();
        self.backoff.pause(now, &mut self.rng);
        let mut units = flight.units;
        for pending in units.iter_mut().flat_map(Unit::members_mut) {
            pending.note_flight(flight.cut_at, now);
            pending.note_error(error.clone(), now);
        }
        if units.len() <= 1 {
            units.into_iter().for_each(|unit| self.reject(unit, &error));
            return;
        }
        let second = units.split_off(units.len() / 2);
        self.suspect([units, second]);
    }

    /// Takes an entry that was refused by itself. A record fails; an aggregate is halved, since it takes
    /// no more than one of its records to have the whole refused.
    pub(super) fn reject(&mut self, unit: Unit, error: &Arc<AttemptError>) {
        match unit.halve(&self.settings.packing) {
            ControlFlow::Break(culprit) => self.fail(culprit, Reason::Rejected(error.clone())),
            ControlFlow::Continue(halves) => self.suspect(halves),
        }
    }

    /// Puts groups where each is sent alone. The refusal may be another record's fault, so it is no
    /// attempt of any record's own.
    fn suspect(&mut self, groups: [Vec<Unit>; 2]) {
        for mut group in groups.into_iter().rev() {
            group.iter_mut().flat_map(Unit::members_mut).for_each(|one| one.attempts -= 1);
            self.totals.requeued += records_in(&group);
            self.suspects.push_front(group);
        }
    }
}
