//! What becomes of a request's records when it is answered, or when it fails.

use std::sync::Arc;
use std::time::Instant;

use tower::BoxError;

use super::pending::Pending;
use super::{Fatal, Flight, Pipeline, RequestId};
use crate::service::{
    EntryClass, EntryError, ErrorClass, ErrorCount, PutRecordsError, PutRecordsResponse,
    attempt_error,
};
use crate::summary::RequestSummary;
use crate::undelivered::{AttemptError, Reason};

/// So many refusals for credentials in a row are taken for a refresh that is under way.
const CREDENTIAL_RETRIES: u32 = 3;

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
            Ok(response) if response.results().len() == flight.records.len() => {
                self.settle_each(flight, response, now);
            }
            Ok(response) => {
                let (entries, results) = (flight.records.len(), response.results().len());
                let error = PutRecordsError::wrong_length(entries, results);
                self.fail_request(flight, error.into(), now);
            }
            Err(error) => self.fail_request(flight, error, now),
        }
    }

    /// Takes the error of a service that did not become ready: nothing was cut, nothing sent.
    pub(crate) fn refuse(&mut self, error: BoxError, now: Instant) {
        let class = self.settings.classify.classify_error(&*error);
        let noted = Arc::new(attempt_error(&*error));
        self.back_off(class, error, &noted, [now, now]);
    }

    fn settle_each(&mut self, flight: Flight, response: PutRecordsResponse, now: Instant) {
        let delivered = response.delivered();
        let errors = if delivered == flight.records.len() { Vec::new() } else { response.errors() };
        self.last_request = Some(RequestSummary {
            records: flight.records.len(),
            bytes: flight.bytes,
            delivered,
            errors,
        });
        self.backoff.reset();
        self.outage = None;
        self.credential_failures = 0;
        if matches!(self.fatal, Fatal::Reported) {
            self.fatal = Fatal::No;
        }

        let mut returned = Vec::new();
        for (pending, result) in flight.records.into_iter().zip(response.into_results()) {
            match result {
                Ok(_) => self.deliver(&pending),
                Err(error) => returned.extend(self.fail_entry(pending, error)),
            }
        }
        // Any progress starts the waits anew; what came back still asks for a short one.
        if delivered > 0 || returned.is_empty() {
            self.lane.backoff.reset();
        }
        if !returned.is_empty() {
            self.lane.backoff.fail(flight.cut_at, now, &mut self.rng);
        }
        self.requeue(returned);
    }

    fn deliver(&mut self, pending: &Pending) {
        self.totals.delivered += 1;
        self.totals.delivered_bytes += pending.size() as u64;
        self.held_records -= 1;
        self.held_bytes -= pending.size();
    }

    /// The entry's record, if it is to be sent again.
    fn fail_entry(&mut self, mut pending: Pending, error: EntryError) -> Option<Pending> {
        let class = self.settings.classify.classify_entry(&error);
        let (code, message) = error.into_parts();
        let error = Arc::new(AttemptError { code, message });
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
        self.note_attempt(pending, error)
    }

    fn fail_request(&mut self, flight: Flight, error: BoxError, now: Instant) {
        let class = self.settings.classify.classify_error(&*error);
        let noted = Arc::new(attempt_error(&*error));
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
            self.split(flight, noted);
            return;
        }
        let fatal = self.back_off(class, error, &noted, [flight.cut_at, now]);
        let mut returned = Vec::new();
        for mut pending in flight.records {
            match class {
                ErrorClass::Throttled => pending.redraw_key(&mut self.rng),
                ErrorClass::OutcomeUnknown => pending.may_be_written = true,
                ErrorClass::NotSent => pending.attempts -= 1,
                _ => {}
            }
            // What is wrong with the whole stream is no fault of the records.
            if fatal || class == ErrorClass::NotSent {
                pending.last_error = Some(noted.clone());
                returned.push(pending);
            } else {
                returned.extend(self.note_attempt(pending, noted.clone()));
            }
        }
        if flight.suspects && !returned.is_empty() {
            self.totals.requeued += returned.len() as u64;
            self.suspects.push_front(returned);
        } else {
            self.requeue(returned);
        }
    }

    /// Slows the whole sink down after a failure that was not one record's, of a request that was cut at
    /// the first of the times and failed at the second. True if the failure is fatal.
    fn back_off(
        &mut self,
        class: ErrorClass,
        error: BoxError,
        noted: &Arc<AttemptError>,
        [cut_at, now]: [Instant; 2],
    ) -> bool {
        let news = self.backoff.fail(cut_at, now, &mut self.rng);
        // A request that a layer of the user's own shed is no outage.
        if class != ErrorClass::NotSent {
            self.outage.get_or_insert_with(|| noted.clone());
        }
        if class == ErrorClass::Credentials {
            self.credential_failures += u32::from(news);
        }
        let fatal = match class {
            ErrorClass::Credentials => self.credential_failures > CREDENTIAL_RETRIES,
            class => class == ErrorClass::Fatal,
        };
        if fatal && (news || matches!(self.fatal, Fatal::No)) {
            self.fatal = Fatal::Unreported(error);
        }
        fatal
    }

    /// Halves a request that was refused for what it contains; of one record, that record fails.
    fn split(&mut self, flight: Flight, error: Arc<AttemptError>) {
        let mut records = flight.records;
        if records.len() <= 1 {
            records
                .into_iter()
                .for_each(|culprit| self.fail(culprit, Reason::Rejected(error.clone())));
            return;
        }
        for pending in &mut records {
            pending.last_error = Some(error.clone());
            // The refusal may be another record's fault, so it is no attempt of this one's own.
            pending.attempts -= 1;
        }
        self.totals.requeued += records.len() as u64;
        let second = records.split_off(records.len() / 2);
        self.suspects.push_front(second);
        self.suspects.push_front(records);
    }

    /// Notes a failed attempt; the record comes back unless it was its last.
    fn note_attempt(&mut self, mut pending: Pending, error: Arc<AttemptError>) -> Option<Pending> {
        if self.settings.max_attempts.is_some_and(|most| pending.attempts >= most) {
            let attempts = pending.attempts;
            self.fail(pending, Reason::AttemptsExhausted { attempts, last: error });
            return None;
        }
        pending.last_error = Some(error);
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

    fn fail(&mut self, pending: Pending, reason: Reason) {
        self.totals.failed += 1;
        let seq = pending.seq;
        self.failed.push(seq, pending.into_undelivered(reason));
    }
}
