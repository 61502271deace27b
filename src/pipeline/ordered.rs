//! What the pipeline does to keep records in order.

use std::time::Instant;

use super::order::{Ordering, Strand};
use super::pending::Pending;
use super::unit::Unit;
use super::{Flight, FlightKind, Pipeline};

impl Pipeline {
    pub(super) fn is_ordered(&self) -> bool {
        self.settings.ordering == Ordering::PerKey
    }

    /// Those with whom a record keeps its order, if it has one to keep.
    pub(super) fn strand_of(&self, pending: &Pending) -> Option<Strand> {
        if !self.is_ordered() {
            return None;
        }
        self.shards.group(pending)?.0.strand()
    }

    /// Lets an entry be sent, as soon as the order allows it.
    pub(super) fn send(&mut self, unit: Unit) {
        let unit = unit.closed(&self.settings.packing);
        self.insert(unit);
    }

    /// The same, encoded already.
    pub(super) fn send_encoded(&mut self, unit: Unit) {
        let mut unit = unit.closed(&self.settings.packing);
        self.work.encoded(unit.encode());
        self.insert(unit);
    }

    fn insert(&mut self, unit: Unit) {
        let unit = match self.strand_of(unit.oldest()) {
            Some(strand) => self.strands.enter(strand, unit),
            None => Some(unit),
        };
        if let Some(unit) = unit {
            self.lanes.insert(unit);
        }
    }

    /// Takes what is left of an entry that was under way. If there is nothing, the next of its strand may
    /// be sent; of several, only the first is still under way.
    pub(super) fn in_order(&mut self, strand: Option<Strand>, mut left: Vec<Unit>) -> Vec<Unit> {
        let Some(strand) = strand else { return left };
        if left.is_empty() {
            match self.strands.leave(&strand) {
                Some(next) => self.lanes.insert(next),
                None => self.packer.free(&strand),
            }
        } else {
            left.drain(1..).for_each(|unit| self.strands.wait(strand.clone(), unit));
        }
        left
    }

    /// Packs what waits anew and in order, after the map of shards has changed. It waits for what is in
    /// flight: what comes back of that goes before what was accepted later, whatever shard it is for.
    pub(super) fn rebuild(&mut self) {
        // Nothing of the keys of isolated records moves while they are in flight.
        let lands = |flight: &Flight| flight.kind != FlightKind::Isolated;
        if !self.rebuilds || self.flights.values().any(lands) || !self.unverified.is_empty() {
            return;
        }
        self.rebuilds = false;
        let suspects = std::mem::take(&mut self.suspects).into_iter().flatten();
        let units = self.lanes.take_all().into_iter().chain(self.strands.take_all());
        let waiting = units.chain(suspects).flat_map(Unit::into_members);
        let waiting = waiting.chain(self.packer.take_all()).collect();
        self.occupy_isolated_keys();
        self.enqueue_all(waiting);
    }

    /// A record that the list of shards has misled too often must go by its own key, as all of that key
    /// must then: for a while no list is believed.
    pub(super) fn keep_in_one_order(&mut self, unit: &mut Unit, now: Instant) {
        if !self.is_ordered() || !unit.members().iter().any(Pending::is_misled) {
            return;
        }
        unit.members_mut().iter_mut().for_each(Pending::forget_misplaced);
        self.shards.mistrust(now);
        self.rebuilds = true;
    }
}
