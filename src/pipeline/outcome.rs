//! What becomes of a request's records when it is answered, or when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tower::BoxError;

use super::lanes::Fate;
use super::pending::Pending;
use super::unit::Unit;
use super::{Fatal, Flight, Pipeline, RequestId};
use crate::record::{AttemptError, Reason};
use crate::service::{
    EntryClass, EntryError, ErrorClass, ErrorCount, NO_STREAM, PutRecordsError, PutRecordsResponse,
    UNKNOWN, attempt_error,
};
use crate::summary::RequestSummary;

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
        let delivered_before = self.totals.delivered;
        self.check_routing(id.0, &flight.units, response.results(), now);
        let mut returned = Vec::new();
        let mut regroups = false;
        for (mut unit, result) in flight.units.into_iter().zip(response.into_results()) {
            unit.members_mut().iter_mut().for_each(|one| one.note_flight(flight.cut_at, now));
            if self.lanes.tell_apart() {
                unit.find_place(&mut self.hashes);
            }
            let strand = self.strand_of(unit.oldest());
            let (again, changed) = match result {
                Ok(placement) => self.settle_written(id.0, unit, placement, now),
                Err(error) => (Some(self.fail_entry(unit, error, now)), false),
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
        if self.lanes.nothing_works() {
            // An outage that is told entry by entry, and no shard's own.
            self.lanes.forget_notes();
            self.looked_into();
            self.outages.response_of_failures(self.backoff.is_news(id.0), now);
            self.slow_down(id.0, now);
        } else {
            self.answered();
            self.outages.response(entries, now);
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
    pub(super) fn answered(&mut self) {
        self.backoff.reset();
        self.slots = (2 * self.slots).min(self.settings.max_in_flight);
        self.looked_into();
    }

    /// The service looked into a request.
    fn looked_into(&mut self) {
        self.credentials.reset();
        self.forget_told_refusal();
    }

    fn forget_told_refusal(&mut self) {
        if matches!(self.fatal, Fatal::Reported(_)) {
            self.fatal = Fatal::No;
        }
    }

    /// The records of an entry that failed, as far as they are to be sent again.
    fn fail_entry(&mut self, mut unit: Unit, error: EntryError, now: Instant) -> Vec<Unit> {
        let class = unless_it_panics(|| self.settings.classify.classify_entry(&error));
        let class = class.unwrap_or(EntryClass::Transient);
        let (code, message) = error.into_parts();
        let error = Arc::new(AttemptError { code, message });
        unit.members_mut().iter_mut().for_each(|one| one.note_error(error.clone(), now));
        let fate = if class == EntryClass::Throttled { Fate::Throttled } else { Fate::Failed };
        if class != EntryClass::Rejected {
            self.lanes.note(unit.oldest(), fate);
            self.outages.entry_failed(class == EntryClass::Throttled, &error);
        }
        match class {
            EntryClass::Rejected => return self.reject_entry(unit, error),
            EntryClass::Throttled => {
                self.totals.throttled += 1;
                unit.redraw_key(&mut self.rng);
            }
            EntryClass::OutcomeUnknown => {
                unit.members_mut().iter_mut().for_each(|one| one.may_be_written = true);
            }
            EntryClass::Transient => {}
        }
        self.give_up_or_retry(unit, &error)
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
        self.note_outage(class, &noted, id.0, flight.units.len(), now);
        self.back_off(class, error, &noted, id.0, now);
        // What is wrong with the whole stream, or above it, is no fault of the records.
        let blameless =
            matches!(class, ErrorClass::NotSent | ErrorClass::Credentials | ErrorClass::Fatal);
        let mut returned = Vec::new();
        for mut unit in flight.units {
            for pending in unit.members_mut() {
                pending.note_flight(flight.cut_at, now);
                pending.note_error(noted.clone(), now);
                pending.may_be_written |= class == ErrorClass::OutcomeUnknown;
                pending.attempts -= u32::from(blameless);
            }
            if class == ErrorClass::Throttled {
                unit.redraw_key(&mut self.rng);
            }
            // Suspects were paid for with the request that was refused.
            if class == ErrorClass::NotSent && !flight.suspects {
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
        if flight.suspects {
            self.suspect(returned);
        } else {
            self.requeue(returned);
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
            ErrorClass::Fatal => true,
            // The service authenticates a request before it throttles it.
            ErrorClass::Throttled => {
                self.credentials.reset();
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

pub(super) fn records_in(units: &[Unit]) -> u64 {
    units.iter().map(|unit| unit.len() as u64).sum()
}

pub(crate) fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
