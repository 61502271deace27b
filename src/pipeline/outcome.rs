//! What becomes of a request's records when it is answered, or when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tower::BoxError;

use super::pending::Pending;
use super::{Fatal, Flight, Pipeline, RequestId};
use crate::record::{AttemptError, Reason};
use crate::service::{
    EntryClass, EntryError, ErrorClass, ErrorCount, Placement, PutRecordsError, PutRecordsResponse,
    attempt_error,
};
use crate::summary::RequestSummary;

/// So many refusals for credentials in a row are taken for a refresh that is under way.
const CREDENTIAL_RETRIES: u32 = 5;

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
        let error = match outcome {
            Ok(response) if response.results().len() == flight.records.len() => {
                self.settle_each(id, flight, response, now);
                return;
            }
            Ok(response) => {
                let (entries, results) = (flight.records.len(), response.results().len());
                PutRecordsError::wrong_length(entries, results).into()
            }
            Err(error) => error,
        };
        self.fail_request(id, flight, error, now);
    }

    /// Takes the error of a service that did not become ready: nothing was cut, nothing sent.
    pub(crate) fn refuse(&mut self, error: BoxError, now: Instant) {
        let (class, noted) = self.judge(&error);
        self.back_off(class, error, &noted, self.next_request, now);
    }

    /// What a request's error means, and what to note of it. The classifier and the error's text can be
    /// a user's code: should it panic, the records must come back all the same.
    fn judge(&self, error: &BoxError) -> (ErrorClass, Arc<AttemptError>) {
        let class = unless_it_panics(|| self.settings.classify.classify_error(&**error));
        let noted = unless_it_panics(|| attempt_error(&**error)).unwrap_or_else(|| AttemptError {
            code: "Unknown".to_owned(),
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
        let delivered = response.delivered();
        let errors = if delivered == flight.records.len() { Vec::new() } else { response.errors() };
        self.last_request = Some(RequestSummary {
            records: flight.records.len(),
            bytes: flight.bytes,
            delivered,
            errors,
        });
        self.answered();
        let mut returned = Vec::new();
        for (mut pending, result) in flight.records.into_iter().zip(response.into_results()) {
            pending.note_flight(flight.cut_at, now);
            match result {
                Ok(placement) => self.deliver(pending, placement, now),
                Err(error) => returned.extend(self.fail_entry(pending, error, now)),
            }
        }
        if delivered == 0 && !returned.is_empty() {
            self.lane.backoff.fail(id.0, self.next_request, now, &mut self.rng);
        } else {
            // Any progress starts the waits anew; what came back still asks for a short one.
            self.lane.backoff.reset();
            if !returned.is_empty() {
                self.lane.backoff.pause(now, &mut self.rng);
            }
        }
        self.requeue(returned);
    }

    /// The service looked into a request: whatever kept it from doing so is over.
    fn answered(&mut self) {
        self.backoff.reset();
        self.outage = None;
        self.credential_failures = 0;
        self.forget_told_refusal();
    }

    fn forget_told_refusal(&mut self) {
        if matches!(self.fatal, Fatal::Reported(_)) {
            self.fatal = Fatal::No;
        }
    }

    fn deliver(&mut self, pending: Pending, placement: Placement, now: Instant) {
        self.totals.delivered += 1;
        self.totals.delivered_bytes += pending.size() as u64;
        self.unsettled_records -= 1;
        self.unsettled_bytes -= pending.size();
        self.delivered.extend(pending.into_delivery(placement, now));
    }

    /// The entry's record, if it is to be sent again.
    fn fail_entry(
        &mut self,
        mut pending: Pending,
        error: EntryError,
        now: Instant,
    ) -> Option<Pending> {
        let class = unless_it_panics(|| self.settings.classify.classify_entry(&error));
        let class = class.unwrap_or(EntryClass::Transient);
        let (code, message) = error.into_parts();
        let error = Arc::new(AttemptError { code, message });
        pending.note_error(error.clone(), now);
        match class {
            EntryClass::Rejected => {
                self.fail(pending, Reason::Rejected(error));
                return None;
            }
            EntryClass::Throttled => {
                self.totals.throttled += 1;
                pending.redraw_key(&mut self.rng);
            }
            EntryClass::OutcomeUnknown => pending.may_be_written = true,
            EntryClass::Transient => {}
        }
        self.give_up_or_retry(pending, error)
    }

    fn fail_request(&mut self, id: RequestId, flight: Flight, error: BoxError, now: Instant) {
        let (class, noted) = self.judge(&error);
        self.last_request = Some(RequestSummary {
            records: flight.records.len(),
            bytes: flight.bytes,
            delivered: 0,
            errors: vec![ErrorCount {
                code: noted.code.clone(),
                message: noted.message.clone(),
                count: flight.records.len(),
            }],
        });
        if class == ErrorClass::Invalid {
            self.split(flight, noted, now);
            return;
        }
        self.back_off(class, error, &noted, id.0, now);
        // What is wrong with the whole stream, or above it, is no fault of the records.
        let blameless =
            matches!(class, ErrorClass::NotSent | ErrorClass::Credentials | ErrorClass::Fatal);
        let mut returned = Vec::new();
        for mut pending in flight.records {
            pending.note_flight(flight.cut_at, now);
            pending.note_error(noted.clone(), now);
            match class {
                ErrorClass::Throttled => pending.redraw_key(&mut self.rng),
                ErrorClass::OutcomeUnknown => pending.may_be_written = true,
                _ => {}
            }
            if blameless {
                pending.attempts -= 1;
                returned.push(pending);
            } else {
                returned.extend(self.give_up_or_retry(pending, noted.clone()));
            }
        }
        if flight.suspects && !returned.is_empty() {
            self.totals.requeued += returned.len() as u64;
            self.suspects.push_front(returned);
        } else {
            self.requeue(returned);
        }
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
        let news = self.backoff.fail(request, self.next_request, now, &mut self.rng);
        // A request that a layer of the user's own shed is no outage.
        if news && class != ErrorClass::NotSent {
            self.outage.get_or_insert_with(|| noted.clone());
        }
        match class {
            ErrorClass::Credentials => self.credential_failures += u32::from(news),
            // The service looked further than at who we are.
            ErrorClass::Throttled => {
                self.credential_failures = 0;
                self.forget_told_refusal();
            }
            _ => {}
        }
        let fatal = match class {
            ErrorClass::Credentials => self.credential_failures > CREDENTIAL_RETRIES,
            class => class == ErrorClass::Fatal,
        };
        if fatal && (news || matches!(self.fatal, Fatal::No)) {
            self.fatal = Fatal::Unreported(error, noted.clone());
        }
    }

    /// Halves a request that was refused for what it contains; of one record, that record fails. A
    /// short wait keeps the pace civil where everything is refused.
    fn split(&mut self, flight: Flight, error: Arc<AttemptError>, now: Instant) {
        self.answered();
        self.backoff.pause(now, &mut self.rng);
        let mut records = flight.records;
        for pending in &mut records {
            pending.note_flight(flight.cut_at, now);
            pending.note_error(error.clone(), now);
        }
        if records.len() <= 1 {
            records
                .into_iter()
                .for_each(|culprit| self.fail(culprit, Reason::Rejected(error.clone())));
            return;
        }
        for pending in &mut records {
            // The refusal may be another record's fault, so it is no attempt of this one's own.
            pending.attempts -= 1;
        }
        self.totals.requeued += records.len() as u64;
        let second = records.split_off(records.len() / 2);
        self.suspects.push_front(second);
        self.suspects.push_front(records);
    }

    /// The record comes back unless this attempt was its last.
    fn give_up_or_retry(&mut self, pending: Pending, error: Arc<AttemptError>) -> Option<Pending> {
        if self.settings.max_attempts.is_some_and(|most| pending.attempts >= most) {
            let attempts = pending.attempts;
            self.fail(pending, Reason::AttemptsExhausted { attempts, last: error });
            return None;
        }
        Some(pending)
    }

    fn requeue(&mut self, returned: Vec<Pending>) {
        self.totals.requeued += returned.len() as u64;
        self.lane.requeue(returned);
    }

    pub(super) fn fail_for_deadline(&mut self, mut pending: Pending) {
        let deadline = self.settings.deadline.unwrap_or_default();
        let last = pending.last_error.take();
        self.fail(pending, Reason::DeadlineExceeded { deadline, last });
    }

    pub(super) fn fail(&mut self, pending: Pending, reason: Reason) {
        self.totals.failed += 1;
        self.unsettled_records -= 1;
        self.unsettled_bytes -= pending.size();
        let seq = pending.seq;
        self.failed.push(seq, pending.into_undelivered(reason));
    }
}

pub(crate) fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
