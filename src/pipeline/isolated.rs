//! Records that failed alone, and are retried behind all others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::pending::Pending;
use super::request_size::RequestSize;
use super::unit::Unit;
use super::{Flight, FlightKind, Pipeline};

/// The records for which a request failed again and again that had nothing else in it. Each is one entry.
///
/// They are retried apart from all others: one request at a time, after a separate backoff. The first request
/// has one record, since any of them may be at fault. Requests double with each answer, so records that were
/// isolated by an outage are sent soon after it. A record that fails alone is moved behind the others.
#[derive(Debug)]
pub(super) struct Isolated {
    queue: VecDeque<Unit>,
    backoff: Backoff,
    size: RequestSize,
    in_flight: bool,
}

impl Isolated {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { queue: VecDeque::new(), backoff, size: RequestSize::one(), in_flight: false }
    }

    /// Whether none waits and none is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.in_flight
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.queue.iter()
    }

    pub(super) fn records(&self) -> usize {
        self.queue.len()
    }

    /// The oldest record that waits.
    pub(super) fn oldest(&self) -> Option<&Pending> {
        self.queue.iter().map(Unit::oldest).min_by_key(|pending| pending.seq)
    }

    /// Takes all that wait.
    pub(super) fn take_all(&mut self) -> VecDeque<Unit> {
        std::mem::take(&mut self.queue)
    }

    /// Puts those back that were taken out and still wait.
    pub(super) fn put_back(&mut self, units: Vec<Unit>) {
        self.queue.extend(units);
    }

    /// Forgets the request in flight, whose records were taken out.
    pub(super) fn forget_flight(&mut self) {
        self.in_flight = false;
        self.settle_down();
    }

    /// Forgets what it has learned of the records before, once there are none.
    fn settle_down(&mut self) {
        if self.is_empty() {
            self.size = RequestSize::one();
            self.backoff.reset();
        }
    }

    /// The stream takes requests again: so the records may have been isolated by an outage.
    pub(super) fn retry_now(&mut self) {
        self.backoff.reset();
    }
}

impl Pipeline {
    /// Puts a record behind all others.
    pub(super) fn isolate(&mut self, mut unit: Unit) {
        unit.find_place(&mut self.hashes);
        if self.isolated.is_empty() {
            // The waits for the stream count: an outage must not begin again with short ones.
            self.isolated.backoff = self.backoff.clone();
            self.isolate_keys(true);
        }
        self.totals.requeued += unit.len() as u64;
        self.isolated.queue.push_back(unit);
    }

    /// In order, and with aggregates of many keys, only the key of a record may wait for it: as long as
    /// there is one, aggregates are those of a key.
    fn isolate_keys(&mut self, isolates: bool) {
        if self.is_ordered() && self.shards.isolate_keys(isolates) {
            self.rebuilds = true;
        }
    }

    /// Notes that isolated records may have left.
    pub(super) fn conclude_isolation(&mut self) {
        if self.isolated.is_empty() {
            self.isolated.settle_down();
            self.isolate_keys(false);
        }
    }

    /// Marks the keys of isolated records as busy, after all other records were taken out of the queues to be
    /// packed again: none of them may be sent before.
    pub(super) fn occupy_isolated_keys(&mut self) {
        let flights = self.flights.values().filter(|flight| flight.kind == FlightKind::Isolated);
        let units = self.isolated.iter().chain(flights.flat_map(|flight| &flight.units));
        let strands: Vec<_> = units.filter_map(|unit| self.strand_of(unit.oldest())).collect();
        strands.into_iter().for_each(|strand| self.strands.occupy(strand));
    }

    /// When the next isolated record may be sent, if it depends on the time alone: now or later.
    pub(super) fn isolated_at(&self, now: Instant) -> Option<Instant> {
        let next = self.isolated.queue.front()?;
        // While the stream fails, other records are better probes.
        let probes_otherwise = self.backoff.failures() > 0
            && (!self.flights.is_empty()
                || self.oldest_waiting().is_some()
                || !self.suspects.is_empty());
        if self.isolated.in_flight
            || probes_otherwise
            || self.is_stopped()
            || self.flights.len() >= self.settings.max_in_flight
        {
            return None;
        }
        let stream = self.backoff.until(now).filter(|_| self.backoff.failures() > 0);
        let waits = [stream, self.isolated.backoff.until(now), self.lanes.sends_at(next, now)];
        Some(waits.into_iter().flatten().fold(now, Instant::max))
    }

    /// Takes the entries of the next request of isolated records, which is [due](Self::isolated_at).
    pub(super) fn take_isolated(&mut self, now: Instant) -> Vec<Unit> {
        let limits = self.settings.limits;
        let most = self.isolated.size.most().min(limits.request_entries());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < most
            && let Some(next) = self.isolated.queue.front()
            && (taken.is_empty() || bytes + next.size() <= limits.request_bytes())
            && self.lanes.sends_at(next, now).is_none()
            && let Some(unit) = self.isolated.queue.pop_front()
        {
            self.lanes.charge(&unit, now);
            bytes += unit.size();
            taken.push(unit);
        }
        self.isolated.in_flight = true;
        taken.sort_unstable_by_key(Unit::seq);
        taken
    }

    /// Takes the end of a request of isolated records, whatever it was.
    pub(super) fn land_isolated(&mut self, flight: &Flight) {
        if flight.kind == FlightKind::Isolated {
            self.isolated.in_flight = false;
        }
    }

    /// Takes back isolated records whose request has failed as a whole.
    pub(super) fn isolated_failed(
        &mut self,
        units: Vec<Unit>,
        took: Duration,
        request: u64,
        now: Instant,
    ) {
        self.totals.requeued += units.len() as u64;
        self.give_back_pace(&units, now);
        self.note_lone_failure(&units, now);
        let isolated = &mut self.isolated;
        isolated.backoff.fail(request, self.next_request, now, &mut self.rng);
        // A request that fails slowly must not take a slot from the others most of the time.
        isolated.backoff.wait_at_least(now + took);
        match units.len() {
            // Its turn comes again after all others have had theirs.
            0 | 1 => {
                isolated.size = RequestSize::one();
                isolated.queue.extend(units);
            }
            entries => {
                isolated.size.failed(entries);
                units.into_iter().rev().for_each(|unit| isolated.queue.push_front(unit));
            }
        }
    }

    /// If nothing else is held, nobody but the log says why the sink is not settled. Before the first
    /// delivery the failure is reported like that of any request.
    fn note_lone_failure(&mut self, failed: &[Unit], now: Instant) {
        let is_alone = self.flights.is_empty() && self.unisolated_groups().next().is_none();
        let error = failed.first().and_then(|unit| unit.oldest().last_error.clone());
        if let Some(error) = error.filter(|_| is_alone && self.totals.delivered > 0) {
            self.outages.request_failed(&error, true, now);
        }
    }

    /// Retries of a record that is never stored must not use up the tokens of others.
    fn give_back_pace(&mut self, failed: &[Unit], now: Instant) {
        for unit in failed {
            self.lanes.give_back(unit, now);
        }
    }

    /// Puts isolated records back that say nothing new: their request was not looked into.
    pub(super) fn isolated_again(&mut self, units: Vec<Unit>) {
        self.totals.requeued += units.len() as u64;
        units.into_iter().rev().for_each(|unit| self.isolated.queue.push_front(unit));
    }

    /// Takes the answer to a request of isolated records, of which some entries have failed once more.
    pub(super) fn isolated_answered(
        &mut self,
        entries: usize,
        failed: Vec<Unit>,
        took: Duration,
        now: Instant,
    ) {
        self.give_back_pace(&failed, now);
        let (timeout, limit) =
            (self.timeout_factor.timeout(), self.settings.limits.request_entries());
        self.totals.requeued += failed.len() as u64;
        self.isolated.backoff.reset();
        self.isolated.size.answered(entries, took, timeout, limit);
        self.isolated.queue.extend(failed);
    }
}
