//! What the pipeline holds, and what it did.

use std::time::{Duration, Instant};

use super::pending::Pending;
#[cfg(feature = "metrics")]
use super::samples::Samples;
use super::unit::Unit;
use super::{Pipeline, Settings};
use crate::record::Record;
use crate::stream::StreamId;
use crate::summary::{RequestSummary, Totals};

impl Pipeline {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether every accepted record was delivered, has failed or was taken back.
    pub(crate) fn is_settled(&self) -> bool {
        self.lanes.is_empty()
            && self.packer.is_empty()
            && self.strands.records() == 0
            && self.suspects.is_empty()
            && self.isolated.is_empty()
            && self.flights.is_empty()
            && self.unverified.is_empty()
    }

    /// The next record's place in the order of acceptance.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The oldest record of each queue.
    pub(super) fn waiting_groups(&self) -> impl Iterator<Item = &Pending> {
        self.unisolated_groups().chain(self.isolated.oldest())
    }

    /// The oldest record of each queue but that of the isolated ones.
    pub(super) fn unisolated_groups(&self) -> impl Iterator<Item = &Pending> {
        let suspects = self.suspects.iter().filter_map(|group| group.first()).map(Unit::oldest);
        let queues = [self.lanes.front(), self.strands.oldest(), self.packer.oldest()];
        queues.into_iter().flatten().chain(suspects)
    }

    /// The oldest record that is not settled.
    pub(crate) fn oldest(&self) -> Option<&Pending> {
        let flights = self.flights.values().filter_map(|flight| flight.units.first());
        let unverified = self.unverified.iter().map(|unverified| &unverified.unit);
        let sent = flights.chain(unverified).map(Unit::oldest);
        self.waiting_groups().chain(sent).min_by_key(|pending| pending.seq)
    }

    /// Its place; [`next_seq`](Self::next_seq) if all are settled.
    pub(crate) fn oldest_unsettled(&self) -> u64 {
        self.oldest().map_or(self.next_seq, |pending| pending.seq)
    }

    /// Records that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        let suspects: usize = self.suspects.iter().flatten().map(Unit::len).sum();
        let isolated = self.isolated.records();
        self.packer.records() + self.strands.records() + self.lanes.records() + suspects + isolated
    }

    /// Records in requests that are not answered, or whose answer is not understood yet.
    pub(crate) fn in_flight(&self) -> usize {
        let unverified: usize =
            self.unverified.iter().map(|unverified| unverified.unit.len()).sum();
        self.flights.values().map(|flight| flight.records).sum::<usize>() + unverified
    }

    /// Records that failed for good and are kept.
    pub(crate) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Bytes of those.
    pub(crate) fn failed_bytes(&self) -> usize {
        self.failed.bytes()
    }

    /// Everything that counts towards the bounds: not settled, or failed and kept.
    pub(crate) fn held_records(&self) -> usize {
        self.unsettled_records + self.failed.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.unsettled_bytes + self.failed.bytes()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What was measured since the caller emptied it, if anything is.
    #[cfg(feature = "metrics")]
    pub(crate) fn samples_mut(&mut self) -> Option<&mut Samples> {
        self.samples.as_deref_mut()
    }

    /// The time since the oldest record was accepted that is not settled.
    pub(crate) fn oldest_age(&self, now: Instant) -> Duration {
        self.oldest().map_or(Duration::ZERO, |oldest| oldest.age(now))
    }

    pub(crate) fn last_request(&self) -> Option<&RequestSummary> {
        self.last_request.as_ref()
    }

    /// Everything held, in the order of acceptance.
    pub(crate) fn undelivered(&self) -> Vec<&Record> {
        let flights = self.flights.values().flat_map(|flight| &flight.units);
        let unverified = self.unverified.iter().map(|unverified| &unverified.unit);
        let units = self.suspects.iter().flatten().chain(self.isolated.iter());
        let units = units.chain(flights).chain(unverified);
        let unsettled = self.lanes.iter().chain(self.strands.iter()).chain(self.packer.iter());
        let unsettled = unsettled.chain(units.flat_map(Unit::members));
        let unsettled = unsettled.map(|pending| (pending.seq, pending.record()));
        let failed = self.failed.iter().map(|(seq, undelivered)| (*seq, undelivered.record()));
        let mut held: Vec<_> = unsettled.chain(failed).collect();
        held.sort_unstable_by_key(|(seq, _)| *seq);
        held.into_iter().map(|(_, record)| record).collect()
    }
}
