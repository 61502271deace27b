//! The expected state of each record, derived from calls, requests, responses, and receipts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::ErrorClass;
use kinesis_sink::{Delivery, Error, ErrorKind, Receipt, Record, Undelivered};
use tokio::time::Instant;

use super::account::Ranges;
use super::coverage::Coverage;
use super::records::number_of_record;

#[derive(Debug, Clone, Default)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub struct Ledger {
    states: BTreeMap<u64, RecordState>,
    created: u64,
    pub accepted_count: u64,
    outstanding_size: Size,
    /// Accepted records that might still be in the buffer of the sink.
    pub unsettled: BTreeSet<u64>,
    receipts: BTreeMap<u64, Receipt>,
    /// Sequence numbers of entries that were written although a corrupted response reports them as failed.
    reported_failed: HashSet<String>,
    first_violation: Option<String>,
    pub ranges: Ranges,
    /// Set to `true` if the observer sees each request and its outcome at the same time as the sink does.
    pub observes_all_requests: bool,
    /// Set to `true` if a delivered record can be sent again, for example after its shard closed before it was listed.
    pub may_resend_delivered: bool,
    /// Set to `true` if a delivered record stays buffered until a shard listing confirms its shard.
    pub verifies_deliveries: bool,
    pub max_attempts: Option<u32>,
    pub faults_are_over: bool,
    /// Set to `true` when the sink or the producer is dropped while it has records without a receipt.
    pub is_dropped: bool,
    pub coverage: Coverage,
}

/// Size of the outstanding records, that is, accepted records that are neither delivered nor returned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    pub records: usize,
    /// Records without a receipt. If such a record fails, the sink keeps it.
    pub without_receipt: usize,
    pub bytes: usize,
}

#[derive(Debug, Default)]
pub struct RecordState {
    pub accepted: bool,
    pub accepted_at: Option<Instant>,
    outstanding_bytes: Option<usize>,
    has_receipt: bool,
    pub in_flight: bool,
    pub locations: Vec<Location>,
    /// Number of attempts that may have written the record although no response confirms it.
    pub unknown_outcomes: u32,
    pub may_have_been_written: bool,
    pub attempts: u32,
    pub returned: bool,
    /// Set to `true` if the record is returned with `may_have_been_written() == false`.
    pub reported_not_written: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    pub shard_id: String,
    pub sequence_number: String,
    pub sub_sequence_number: Option<u64>,
}

impl RecordState {
    pub fn note_unknown(&mut self) {
        self.unknown_outcomes += 1;
        self.may_have_been_written = true;
    }

    /// Records the failure of a whole request. `alone` is `true` if the request contained no other records.
    pub fn note_failure(&mut self, class: ErrorClass, alone: bool) {
        use ErrorClass::{Blocked, Credentials, Fatal, Invalid, NotSent, OutcomeUnknown};
        self.may_have_been_written |= matches!(class, OutcomeUnknown | Blocked);
        let is_uncounted = match class {
            Credentials | Fatal | NotSent => true,
            Invalid => !alone,
            _ => false,
        };
        self.attempts -= u32::from(is_uncounted);
    }
}

impl Ledger {
    pub fn violation(&mut self, text: impl FnOnce() -> String) {
        self.first_violation.get_or_insert_with(text);
    }

    pub fn take_violation(&mut self) -> Option<String> {
        self.first_violation.take()
    }

    pub fn created(&self) -> u64 {
        self.created
    }

    pub fn next_number(&mut self) -> u64 {
        self.created += 1;
        self.created - 1
    }

    pub fn accept(&mut self, number: u64, bytes: usize, receipt: Option<Receipt>) -> Size {
        self.accepted_count += 1;
        self.coverage.count("an accepted record", 1);
        let state = self.state_mut(number);
        state.accepted = true;
        state.accepted_at = Some(Instant::now());
        self.unsettled.insert(number);
        let has_receipt = receipt.is_some();
        self.receipts.extend(receipt.map(|receipt| (number, receipt)));
        let state = self.state_mut(number);
        state.outstanding_bytes = Some(bytes);
        state.has_receipt = has_receipt;
        self.outstanding_size.records += 1;
        self.outstanding_size.without_receipt += usize::from(!has_receipt);
        self.outstanding_size.bytes += bytes;
        self.outstanding_size
    }

    pub fn age(&self, number: u64) -> Duration {
        let accepted_at = self.state(number).and_then(|state| state.accepted_at);
        accepted_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    pub fn deliver(&mut self, number: u64, location: Location) {
        let state = self.state_mut(number);
        state.locations.push(location);
        self.remove_outstanding(number);
    }

    pub fn outstanding(&self) -> Vec<u64> {
        self.unsettled.iter().copied().filter(|number| self.is_outstanding(*number)).collect()
    }

    pub fn is_outstanding(&self, number: u64) -> bool {
        self.state(number).is_some_and(|state| state.outstanding_bytes.is_some())
    }

    fn remove_outstanding(&mut self, number: u64) {
        let state = self.state_mut(number);
        let has_receipt = state.has_receipt;
        if let Some(bytes) = state.outstanding_bytes.take() {
            self.outstanding_size.records -= 1;
            self.outstanding_size.without_receipt -= usize::from(!has_receipt);
            self.outstanding_size.bytes -= bytes;
        }
    }

    /// Checks that the error for a record that was not accepted contains the unchanged record.
    pub fn note_refused(&mut self, record: &Record, refused: &Error) {
        self.coverage.count("a record that was not accepted", 1);
        let is_full = refused.kind() == ErrorKind::Full;
        self.coverage.count("a full buffer", usize::from(is_full));
        if refused.record() != Some(record) {
            self.violation(|| format!("another record was returned: {refused}"));
        }
    }

    pub fn accepted(&self) -> impl Iterator<Item = (u64, &RecordState)> {
        self.states
            .iter()
            .map(|(number, state)| (*number, state))
            .filter(|(_, state)| state.accepted)
    }

    pub fn state(&self, number: u64) -> Option<&RecordState> {
        self.states.get(&number)
    }

    pub fn state_mut(&mut self, number: u64) -> &mut RecordState {
        self.states.entry(number).or_default()
    }

    pub fn add_reported_failed(&mut self, sequence_numbers: Vec<String>) {
        self.reported_failed.extend(sequence_numbers);
    }

    pub fn is_reported_failed(&self, sequence_number: &str) -> bool {
        self.reported_failed.contains(sequence_number)
    }

    /// Handles a record that is returned by the sink, by its receipt, or to the dead-letter handler.
    pub fn note_returned(&mut self, undelivered: &Undelivered) {
        let number = number_of_record(undelivered.record());
        self.unsettled.remove(&number);
        self.remove_outstanding(number);
        let state = self.states.entry(number).or_default();
        let accepted = state.accepted;
        let twice = std::mem::replace(&mut state.returned, true);
        let may_have_been_written = undelivered.may_have_been_written();
        let has_location = !state.locations.is_empty();
        let may_be_unsettled =
            may_have_been_written && (self.may_resend_delivered || self.verifies_deliveries);
        let delivered = has_location && !may_be_unsettled;
        state.reported_not_written = !may_have_been_written;
        let is_not_written = self.observes_all_requests
            && !state.may_have_been_written
            && !state.in_flight
            && !has_location;
        let attempts = (undelivered.attempts(), state.attempts);
        let reason = undelivered.reason();
        if !accepted {
            self.violation(|| format!("{number} is returned but was not accepted: {reason}"));
        }
        if twice {
            self.violation(|| format!("{number} is returned twice: {reason}"));
        }
        if delivered {
            self.violation(|| format!("{number} is returned but was delivered: {reason}"));
        }
        if may_have_been_written && is_not_written {
            self.violation(|| {
                format!("{number} is reported as possibly written but was not: {reason}")
            });
        }
        if self.observes_all_requests && attempts.0 != attempts.1 {
            self.violation(|| format!("{number} has attempts {attempts:?}: {reason}"));
        }
        if let FailureReason::Refused(cause) = reason {
            self.check_cause(cause.code());
        }
        let event = match reason {
            FailureReason::Rejected(_) => Some("a rejected record"),
            FailureReason::AttemptsExhausted { .. } => Some("a record out of attempts"),
            FailureReason::DeadlineExceeded { .. } => Some("a record past its deadline"),
            FailureReason::Refused(_) => Some("a record refused by the stream"),
            FailureReason::Abandoned { .. } => Some("an abandoned record"),
            _ => None,
        };
        if let Some(event) = event {
            self.coverage.count(event, 1);
        }
        if let FailureReason::AttemptsExhausted { attempts, .. } = reason
            && Some(*attempts) != self.max_attempts
        {
            self.violation(|| {
                format!("{number} failed after a wrong number of attempts: {reason}")
            });
        }
        let age = self.age(number);
        if let FailureReason::DeadlineExceeded { deadline, .. } = reason
            && age < *deadline
        {
            self.violation(|| {
                format!("{number} failed after {age:?}, before its deadline: {reason}")
            });
        }
        if matches!(reason, FailureReason::Dropped) {
            self.violation(|| format!("{number} is reported as never accepted but was accepted"));
        }
    }

    /// Credentials errors cannot be fatal, because credentials outages are shorter than the credentials timeout.
    pub fn check_cause(&mut self, code: &str) {
        if ["ExpiredTokenException", "InvalidSignatureException"].contains(&code) {
            self.violation(|| format!("{code} is fatal before the credentials timeout"));
        }
    }

    /// Checks that each record that is no longer buffered has a complete receipt or was delivered.
    pub fn settle_all_except(&mut self, buffered: &HashSet<u64>) {
        let settled: Vec<_> =
            self.unsettled.iter().copied().filter(|number| !buffered.contains(number)).collect();
        for number in settled {
            self.settle(number);
        }
    }

    fn settle(&mut self, number: u64) {
        self.unsettled.remove(&number);
        let Some(receipt) = self.receipts.remove(&number) else {
            if self.states[&number].locations.is_empty() && !self.is_dropped {
                self.violation(|| {
                    format!("{number} is lost: not buffered, delivered, or returned")
                });
            }
            return;
        };
        if self.read_receipt(number, receipt).is_some() {
            self.violation(|| format!("{number} is settled but its receipt is pending"));
        }
    }

    /// Checks and records the outcome of a receipt. Returns the receipt if it is still pending.
    fn read_receipt(&mut self, number: u64, mut receipt: Receipt) -> Option<Receipt> {
        match poll(&mut receipt) {
            Some(Ok(delivery)) => self.check_delivery(number, &delivery),
            // The caller that withdrew the record checks it.
            Some(Err(withdrawn))
                if matches!(withdrawn.reason(), FailureReason::Withdrawn { .. }) => {}
            Some(Err(undelivered)) => {
                self.coverage.count("a receipt of a failure", 1);
                self.note_returned(&undelivered);
            }
            None => return Some(receipt),
        }
        None
    }

    fn check_delivery(&mut self, number: u64, delivery: &Delivery) {
        self.coverage.count("a receipt of a delivery", 1);
        let location = Location {
            shard_id: delivery.shard_id().to_owned(),
            sequence_number: delivery.sequence_number().to_owned(),
            sub_sequence_number: delivery.sub_sequence_number(),
        };
        if !self.states[&number].locations.contains(&location) {
            self.violation(|| {
                format!("the receipt of {number} has {location:?}, no response does")
            });
        }
        let attempts = (delivery.attempts(), self.states[&number].attempts);
        if self.observes_all_requests && attempts.0 != attempts.1 {
            self.violation(|| format!("{number} was delivered with attempts {attempts:?}"));
        }
    }

    pub fn note_all_returned(&mut self, undelivered: &[Undelivered]) {
        for one in undelivered {
            let number = number_of_record(one.record());
            self.note_returned(one);
            let Some(mut receipt) = self.receipts.remove(&number) else { continue };
            let outcome = poll(&mut receipt);
            let same = |other: &Undelivered| other.record() == one.record();
            if !outcome.is_some_and(|outcome| outcome.as_ref().is_err_and(same)) {
                self.violation(|| format!("{number} is returned but not by its receipt"));
            }
        }
    }

    pub fn drop_receipt(&mut self, number: u64) {
        if let Some(receipt) = self.receipts.remove(&number) {
            drop(self.read_receipt(number, receipt));
        }
    }
}

/// Polls without tokio's cooperative budget. If the budget is used up, a completed receipt returns `Pending`.
fn poll(receipt: &mut Receipt) -> Option<Result<Delivery, Undelivered>> {
    tokio::task::unconstrained(receipt).now_or_never()
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("coverage", &self.coverage).finish_non_exhaustive()
    }
}
