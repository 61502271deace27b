//! The ways out of the pipeline for records that were not delivered.

use std::sync::Arc;

use super::pending::Pending;
use super::unit::Unit;
use super::{Fatal, Pipeline};
use crate::record::{AttemptError, Reason, Undelivered};

impl Pipeline {
    /// Takes the failed records out, in the order of acceptance. Receipts are told.
    pub(crate) fn take_failed(&mut self) -> Vec<Undelivered> {
        let failed = self.failed.take_all().into_iter();
        let tell = |(_, mut undelivered): (u64, Undelivered)| {
            undelivered.tell_receipt();
            undelivered
        };
        failed.map(tell).collect()
    }

    /// Takes everything out, in the order of acceptance; what was not settled has the reason
    /// [`TakenBack`](Reason::TakenBack). Requests in flight are forgotten: settling them later changes
    /// nothing. Receipts are told.
    pub(crate) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        // It was about these records.
        self.fatal = Fatal::No;
        self.credentials.reset();
        self.blocked.reset();
        let mut held = self.take_held(|last| Reason::TakenBack { last });
        held.iter_mut().for_each(Undelivered::tell_receipt);
        held
    }

    /// Gives up everything that is not settled: the stream takes nothing, and nobody will try again.
    pub(crate) fn fail_refused(&mut self, error: &Arc<AttemptError>) {
        for pending in self.take_unsettled() {
            self.fail(pending, Reason::Refused(error.clone()));
        }
        self.fatal = Fatal::No;
    }

    /// Gives everything that is held to its receipt. What has none comes back, in the order of
    /// acceptance.
    pub(crate) fn abandon(&mut self) -> Vec<Undelivered> {
        let held = self.take_held(|last| Reason::Abandoned { last }).into_iter();
        held.filter_map(|undelivered| undelivered.hand_over().err()).collect()
    }

    /// Takes everything out, in the order of acceptance; what was not settled with the reason that is made
    /// of how its last attempt failed.
    fn take_held(
        &mut self,
        reason: impl Fn(Option<Arc<AttemptError>>) -> Reason,
    ) -> Vec<Undelivered> {
        let unsettled = self.take_unsettled();
        self.totals.taken_back += unsettled.len() as u64;
        (self.unsettled_records, self.unsettled_bytes) = (0, 0);
        let unsettled = unsettled.into_iter().map(|mut pending| {
            let last = pending.last_error.take();
            (pending.seq, pending.into_undelivered(reason(last)))
        });
        let mut held: Vec<_> = unsettled.chain(self.failed.take_all()).collect();
        held.sort_unstable_by_key(|(seq, _)| *seq);
        held.into_iter().map(|(_, undelivered)| undelivered).collect()
    }

    /// Takes what is not settled, in the order of acceptance, and forgets the requests in flight.
    fn take_unsettled(&mut self) -> Vec<Pending> {
        let suspects = std::mem::take(&mut self.suspects).into_iter().flatten();
        let flights =
            std::mem::take(&mut self.flights).into_values().flat_map(|flight| flight.units);
        let unverified = std::mem::take(&mut self.unverified).into_iter().map(|one| one.unit);
        let sent = flights.chain(unverified).flat_map(Unit::into_members).map(|mut pending| {
            pending.may_be_written = true;
            pending
        });
        let units = self.lanes.take_all().into_iter().chain(self.strands.take_all());
        let units = units.chain(suspects).chain(self.isolated.take_all());
        let waiting = units.flat_map(Unit::into_members).chain(self.packer.take_all());
        self.rebuilds = false;
        self.isolated.forget_flight();
        self.shards.isolate_keys(false);
        let mut unsettled: Vec<_> = waiting.chain(sent).collect();
        unsettled.sort_unstable_by_key(|pending| pending.seq);
        unsettled
    }
}
