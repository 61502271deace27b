//! What becomes of a request's records when it is answered, or when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tower::BoxError;

use super::lanes::Fate;
use super::pending::Pending;
use super::split::in_halves;
use super::unit::Unit;
use super::{Fatal, Flight, FlightKind, Pipeline, RequestId};
use crate::record::{AttemptError, Reason};
use crate::service::{
    EntryClass, EntryError, ErrorClass, ErrorCount, NO_STREAM, PutRecordsError, PutRecordsResponse,
    TIMEOUT, UNKNOWN, attempt_error,
};
use crate::summary::RequestSummary;

/// An entry that failed so often in a row, while others of its requests were answered, is isolated.
/// Failures that hit one entry in ten at random come to that once in 100,000 times.
const ENTRY_RETRIES: u8 = 4;

impl Pipeline {
    /// Takes what came of a request. Unknown ids, of requests whose records were taken back, change
    /// nothing.
    pub(crate) fn settle(
        &mut self,
        id: RequestId,
        outcome: Result<PutRecordsResponse, BoxError>,
        now: Instant,
    ) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.land_isolated(&flight);
        self.work.moved(flight.records);
        match outcome {
            Ok(response) if response.results().len() == flight.units.len() => {
                self.settle_each(id, flight, response, now);
            }
            Ok(response) => {
                let (entries, results) = (flight.units.len(), response.results().len());
                let error = PutRecordsError::wrong_length(entries, results);
                self.fail_request(id, flight, error.into(), now);
            }
            Err(error) => self.fail_request(id, flight, error, now),
        }
        self.conclude_isolation();
        self.verify_without_list(now);
        self.rebuild();
    }

    /// Takes the error of a service that did not become ready: nothing was cut, nothing sent.
    pub(crate) fn refuse(&mut self, error: BoxError, now: Instant) {
        let (class, noted) = self.judge(&error);
        self.note_outage(class, &noted, self.next_request, 0, now);
        self.back_off(class, error, &noted, self.next_request, now);
        self.rebuild();
    }

    /// Takes the failure of a lookup, without which nothing can be sent.
    pub(crate) fn refuse_as(&mut self, class: ErrorClass, error: BoxError, now: Instant) {
        let (_, noted) = self.judge(&error);
        self.outages.lookup_failed(&noted, now);
        self.back_off(class, error, &noted, self.next_request, now);
        self.rebuild();
    }

    /// What a request's error means, and what to note of it. The classifier and the error's text can be
    /// a user's code: should it panic, the records must come back all the same.
    pub(crate) fn judge(&self, error: &BoxError) -> (ErrorClass, Arc<AttemptError>) {
        let class = unless_it_panics(|| self.settings.classify.classify_error(&**error));
        let noted = unless_it_panics(|| attempt_error(&**error)).unwrap_or_else(|| AttemptError {
            code: UNKNOWN.to_owned(),
            message: "an error whose text cannot be read".to_owned(),
        });
        (class.unwrap_or(ErrorClass::OutcomeUnknown), Arc::new(noted))
    }

    fn settle_each(
        &mut self,
        id: RequestId,
        flight: Flight,
        response: PutRecordsResponse,
        now: Instant,
    ) {
        let (entries, arrived) = (flight.units.len(), response.delivered());
        let errors = if arrived == entries { Vec::new() } else { response.errors() };
        let took = now.saturating_duration_since(flight.cut_at);
        let delivered_before = self.totals.delivered;
        self.check_routing(id.0, &flight.units, response.results(), now);
        let (mut returned, mut failed) = (Vec::new(), Vec::new());
        let mut regroups = false;
        for (mut unit, result) in flight.units.into_iter().zip(response.into_results()) {
            unit.members_mut().iter_mut().for_each(|one| one.note_flight(flight.cut_at, now));
            if self.lanes.tell_apart() {
                unit.find_place(&mut self.hashes);
            }
            let strand = self.strand_of(unit.oldest());
            let (again, changed) = match result {
                Ok(placement) => self.settle_written(id.0, unit, placement, now),
                Err(error) => match self.fail_entry(unit, error, flight.kind, now) {
                    Failed::Again(again) => (Some(again), false),
                    Failed::ForNoReason(again) => {
                        // It stays under way, whatever is left of it.
                        failed.extend(self.in_order(strand, again));
                        continue;
                    }
                },
            };
            regroups |= changed;
            // A held entry is not settled yet.
            let Some(again) = again else { continue };
            // Most entries are delivered, and most have no order to keep.
            if strand.is_some() || !again.is_empty() {
                returned.extend(self.in_order(strand, again));
            }
        }
        let delivered = (self.totals.delivered - delivered_before) as usize;
        let (records, bytes) = (flight.records, flight.bytes);
        self.last_request = Some(RequestSummary { records, entries, bytes, delivered, errors });
        let nothing_works = match flight.kind {
            FlightKind::Isolated => {
                arrived == 0 && self.lanes.were_not_noted() && !failed.is_empty()
            }
            FlightKind::Lanes | FlightKind::Suspects => self.lanes.nothing_works(),
        };
        if nothing_works && flight.kind == FlightKind::Isolated {
            self.looked_into();
            self.isolated_failed(failed, took, id.0, now);
        } else if nothing_works {
            // An outage that is told entry by entry, and no shard's own.
            self.lanes.forget_notes();
            self.looked_into();
            self.outages.response_of_failures(self.backoff.is_news(id.0), now);
            self.slow_down(id.0, now);
            let failed = self.failed_together(failed, flight.kind);
            returned.extend(failed);
        } else {
            self.answered(took);
            self.outages.response(entries, now);
            self.timeout_factor.answered(took);
            match flight.kind {
                FlightKind::Isolated => self.isolated_answered(entries, failed, took, now),
                FlightKind::Lanes | FlightKind::Suspects => {
                    let (timeout, limit) =
                        (self.timeout_factor.timeout(), self.settings.limits.request_entries());
                    self.size.answered(entries, took, timeout, limit);
                    let failed = self.failed_among_others(failed);
                    returned.extend(failed);
                }
            }
            if arrived == 0 && !returned.is_empty() && self.lanes.were_not_noted() {
                // Halves of rejected aggregates only. A short wait keeps the pace civil.
                self.backoff.pause(now, &mut self.rng);
            }
            let samples = self.samples.as_deref_mut();
            self.lanes.conclude(id.0, self.next_request, now, &mut self.rng, samples);
        }
        self.requeue(returned);
        self.conclude_lessons(id.0, arrived, now);
        if regroups {
            self.regroup();
        }
    }

    /// The service does what it is for: whatever kept it from that is over.
    pub(super) fn answered(&mut self, took: Duration) {
        if self.backoff.failures() > 0 {
            self.isolated.retry_now();
            if !self.unverified.is_empty() {
                self.shards.retry_listing();
            }
        }
        self.backoff.reset();
        self.slots = self.slots_after(took).min(self.settings.max_in_flight);
        self.looked_into();
    }

    /// The requests that may be in flight after an answer that took this long.
    fn slots_after(&self, took: Duration) -> usize {
        let slots = self.slots;
        let Some(timeout) = self.timeout_factor.timeout() else { return 2 * slots };
        // Requests that share a slow link make each other slower, in proportion to their number.
        let with_one_more = took.mul_f64((slots + 1) as f64 / slots as f64);
        if took * 4 <= timeout {
            2 * slots
        } else if with_one_more <= timeout.mul_f64(0.75) {
            slots + 1
        } else {
            slots
        }
    }

    /// The service looked into a request.
    fn looked_into(&mut self) {
        self.credentials.reset();
        self.blocked.reset();
        self.forget_told_refusal();
    }

    fn forget_told_refusal(&mut self) {
        if matches!(self.fatal, Fatal::Reported(_)) {
            self.fatal = Fatal::No;
        }
    }

    /// The records of an entry that failed, as far as they are to be sent again.
    fn fail_entry(
        &mut self,
        mut unit: Unit,
        error: EntryError,
        kind: FlightKind,
        now: Instant,
    ) -> Failed {
        let class = unless_it_panics(|| self.settings.classify.classify_entry(&error));
        let class = class.unwrap_or(EntryClass::Transient);
        let (code, message) = error.into_parts();
        let error = Arc::new(AttemptError { code, message });
        unit.members_mut().iter_mut().for_each(|one| one.note_error(error.clone(), now));
        let fate = if class == EntryClass::Throttled { Fate::Throttled } else { Fate::Failed };
        // That an isolated record fails says nothing of the others of its shard.
        let is_isolated = kind == FlightKind::Isolated && fate == Fate::Failed;
        if class != EntryClass::Rejected && !is_isolated {
            self.lanes.note(&unit, fate);
            self.outages.entry_failed(class == EntryClass::Throttled, &error);
        }
        match class {
            EntryClass::Rejected => return Failed::Again(self.reject_entry(unit, error)),
            EntryClass::Throttled => {
                self.totals.throttled += 1;
                unit.redraw_key(&mut self.rng);
                unit.members_mut().iter_mut().for_each(Pending::forget_failures);
                return Failed::Again(self.give_up_or_retry(unit, &error));
            }
            EntryClass::OutcomeUnknown => {
                unit.members_mut().iter_mut().for_each(|one| one.may_be_written = true);
            }
            EntryClass::Transient => {}
        }
        Failed::ForNoReason(self.give_up_or_retry(unit, &error))
    }

    /// Takes the entries of a request that has failed as a whole. If it was not for the first time, the
    /// next one has half of the entries. Of one entry, an aggregate is halved and a record isolated. What
    /// comes back is to be sent again.
    fn failed_together(&mut self, mut units: Vec<Unit>, kind: FlightKind) -> Vec<Unit> {
        if !note_failure(&mut units) {
            return units;
        }
        match <[Unit; 1]>::try_from(units) {
            Ok([only]) => {
                self.size.failed(1);
                let mut again = self.halve_or_isolate(only);
                if kind == FlightKind::Suspects && again.len() > 1 {
                    // A request may be limited to one entry.
                    let later = again.split_off(1);
                    later.into_iter().rev().for_each(|unit| self.suspect(vec![unit]));
                }
                again
            }
            Err(units) if kind == FlightKind::Suspects => {
                let [first, second] = in_halves(units);
                self.suspect(second);
                first
            }
            Err(units) => {
                self.size.failed(units.len());
                units
            }
        }
    }

    /// Takes the entries that failed while others of their request were answered. What comes back is to
    /// be sent again.
    fn failed_among_others(&mut self, units: Vec<Unit>) -> Vec<Unit> {
        let mut again = Vec::new();
        for mut unit in units {
            note_failure(std::slice::from_mut(&mut unit));
            match unit.members().iter().all(|member| member.failures() > ENTRY_RETRIES) {
                true => again.extend(self.halve_or_isolate(unit)),
                false => again.push(unit),
            }
        }
        again
    }

    fn fail_request(&mut self, id: RequestId, flight: Flight, error: BoxError, now: Instant) {
        let (class, noted) = self.judge(&error);
        self.last_request = Some(RequestSummary {
            records: flight.records,
            entries: flight.units.len(),
            bytes: flight.bytes,
            delivered: 0,
            errors: vec![ErrorCount {
                code: noted.code.clone(),
                message: noted.message.clone(),
                count: flight.units.len(),
            }],
        });
        if class == ErrorClass::Invalid {
            self.split(flight, noted, now);
            return;
        }
        let took = now.saturating_duration_since(flight.cut_at);
        // It may be the fault of one of the records, or of their number.
        let for_no_reason = matches!(class, ErrorClass::OutcomeUnknown | ErrorClass::Blocked);
        if noted.code() == TIMEOUT {
            let repeated = flight.units.iter().any(has_failed);
            self.timeout_factor.timed_out(took, flight.timeout_factor, repeated);
        }
        // On a stream that has taken other records, an isolated record fails for itself: a single record
        // that a firewall blocks must not end a producer that has nothing else to send.
        if flight.kind != FlightKind::Isolated || !for_no_reason || self.totals.delivered == 0 {
            self.note_outage(class, &noted, id.0, flight.units.len(), now);
            self.back_off(class, error, &noted, id.0, now);
        }
        // What is wrong with the whole stream, or above it, is no fault of the records.
        let blameless =
            matches!(class, ErrorClass::NotSent | ErrorClass::Credentials | ErrorClass::Fatal);
        let mut returned = Vec::new();
        for mut unit in flight.units {
            for pending in unit.members_mut() {
                pending.note_flight(flight.cut_at, now);
                pending.note_error(noted.clone(), now);
                pending.may_be_written |= for_no_reason;
                pending.attempts -= u32::from(blameless);
            }
            if class == ErrorClass::Throttled {
                unit.redraw_key(&mut self.rng);
            }
            // Suspects were paid for with the request that was refused.
            if class == ErrorClass::NotSent && flight.kind != FlightKind::Suspects {
                self.lanes.give_back(&unit, now);
            }
            if blameless {
                returned.push(unit);
            } else {
                let strand = self.strand_of(unit.oldest());
                let again = self.give_up_or_retry(unit, &noted);
                returned.extend(self.in_order(strand, again));
            }
        }
        match flight.kind {
            FlightKind::Isolated if for_no_reason => {
                self.isolated_failed(returned, took, id.0, now);
            }
            FlightKind::Isolated => self.isolated_again(returned),
            kind => {
                if for_no_reason {
                    returned = self.failed_together(returned, kind);
                }
                match kind {
                    FlightKind::Suspects => self.suspect(returned),
                    _ => self.requeue(returned),
                }
            }
        }
    }

    /// Notes a failed request for the log. A request that a layer shed is no outage.
    fn note_outage(
        &mut self,
        class: ErrorClass,
        noted: &Arc<AttemptError>,
        request: u64,
        entries: usize,
        now: Instant,
    ) {
        match class {
            ErrorClass::NotSent => {}
            ErrorClass::Throttled => self.outages.request_throttled(entries, noted, now),
            _ => self.outages.request_failed(noted, self.backoff.is_news(request), now),
        }
    }

    /// Waits, and then sends one request at a time. False if the failure of the request with this number
    /// is no news.
    fn slow_down(&mut self, request: u64, now: Instant) -> bool {
        let news = self.backoff.fail(request, self.next_request, now, &mut self.rng);
        if news {
            self.slots = 1;
        }
        news
    }

    /// Slows the whole sink down after a failure that was not one record's.
    fn back_off(
        &mut self,
        class: ErrorClass,
        error: BoxError,
        noted: &Arc<AttemptError>,
        request: u64,
        now: Instant,
    ) {
        let news = self.slow_down(request, now);
        if noted.code() == NO_STREAM {
            self.lanes.forget_shards(&mut self.hashes);
            if self.shards.forget_all(now, &mut self.rng) {
                self.regroup();
            }
        }
        let fatal = match class {
            ErrorClass::Credentials => self.credentials.fail(now),
            ErrorClass::Blocked => self.blocked.fail(now),
            ErrorClass::Fatal => true,
            // The service authenticates a request before it throttles it.
            ErrorClass::Throttled => {
                self.credentials.reset();
                self.blocked.reset();
                self.forget_told_refusal();
                false
            }
            ErrorClass::OutcomeUnknown | ErrorClass::NotSent | ErrorClass::Invalid => false,
        };
        if fatal && (news || matches!(self.fatal, Fatal::No)) {
            self.outages.refused(noted, now);
            self.fatal = Fatal::Unreported(error, noted.clone());
        }
    }

    /// The records come back but for those whose last attempt this was.
    pub(super) fn give_up_or_retry(&mut self, unit: Unit, error: &Arc<AttemptError>) -> Vec<Unit> {
        let Some(most) = self.settings.max_attempts else { return vec![unit] };
        let exhausted = |pending: &Pending| pending.attempts >= most;
        let (left, gone) = unit.without(&self.settings.packing, exhausted);
        for pending in gone {
            let (attempts, last) = (pending.attempts, error.clone());
            self.fail(pending, Reason::AttemptsExhausted { attempts, last });
        }
        left
    }

    /// Puts back what has to be sent again: as it is, unless its records no longer belong together.
    pub(super) fn requeue(&mut self, mut returned: Vec<Unit>) {
        self.totals.requeued += records_in(&returned);
        self.find_places(&mut returned);
        let mut broken = Vec::new();
        for mut unit in returned {
            match self.shards.keeps_together(&mut unit) {
                true => self.lanes.insert(unit),
                false if self.is_ordered() => {
                    self.rebuilds = true;
                    self.lanes.insert(unit);
                }
                false => broken.extend(unit.into_members()),
            }
        }
        if !broken.is_empty() {
            self.repack(broken);
        }
    }

    pub(super) fn fail(&mut self, pending: Pending, reason: Reason) {
        self.totals.failed += 1;
        self.unsettled_records -= 1;
        self.unsettled_bytes -= pending.size();
        if let Some(samples) = &mut self.samples {
            samples.note_failed(&pending, &reason);
        }
        let seq = pending.seq;
        self.failed.push(seq, pending.into_undelivered(reason));
    }
}

/// What becomes of an entry that failed.
enum Failed {
    /// It is sent again.
    Again(Vec<Unit>),
    /// It is sent again after a failure of unknown cause, which may be the record itself.
    ForNoReason(Vec<Unit>),
}

fn has_failed(unit: &Unit) -> bool {
    unit.members().iter().any(|member| member.failures() > 0)
}

/// Counts a failure of each record. True if it was not the first in a row of one of them.
fn note_failure(units: &mut [Unit]) -> bool {
    let repeated = units.iter().any(has_failed);
    units.iter_mut().flat_map(Unit::members_mut).for_each(Pending::note_failure);
    repeated
}

pub(super) fn records_in(units: &[Unit]) -> u64 {
    units.iter().map(|unit| unit.len() as u64).sum()
}

pub(crate) fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
