//! What became of each record, as whoever looks at the sink from outside can tell.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::ErrorClass;
use kinesis_sink::{Delivery, Error, ErrorKind, Receipt, Record, Undelivered};
use tokio::time::Instant;

use super::account::Ranges;
use super::records::number_of_record;
use super::seen::Seen;

/// One ledger of the whole run.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub struct Ledger {
    fates: BTreeMap<u64, Fate>,
    /// How many were made.
    made: u64,
    /// How many were accepted.
    pub count: u64,
    /// Of those that were neither delivered nor handed back, as far as anybody was told.
    outstanding_size: Size,
    /// Accepted, and not known to be settled.
    pub open: BTreeSet<u64>,
    receipts: BTreeMap<u64, Receipt>,
    /// Deliveries that came with the code of something that is not written.
    excused: HashSet<String>,
    /// The first promise that was broken.
    broken: Option<String>,
    pub ranges: Ranges,
    /// The witness sees every request, and what comes of it, when the sink does.
    pub sees_all: bool,
    /// What was delivered may be sent again: the shards have changed, and nobody can say what one held that
    /// was closed before it was listed.
    pub may_come_again: bool,
    /// What was delivered may be held until a list of the shards arrives, and taken back before.
    pub may_be_held: bool,
    /// How often a record may be tried.
    pub max_attempts: Option<u32>,
    /// Nothing goes wrong any more.
    pub trouble_is_over: bool,
    /// Whoever had the records is gone, and what has no receipt with it.
    pub is_dropped: bool,
    pub seen: Seen,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    pub records: usize,
    /// The outstanding records without a receipt. The sink keeps those that fail.
    pub without_receipt: usize,
    pub bytes: usize,
}

/// Of one record.
#[derive(Debug, Default)]
pub struct Fate {
    pub accepted: bool,
    /// When that was.
    pub accepted_at: Option<Instant>,
    /// Bytes, as long as it is outstanding.
    outstanding: Option<usize>,
    has_receipt: bool,
    /// It is in a request.
    pub in_flight: bool,
    /// As the sink was told.
    pub places: Vec<Place>,
    /// Attempts of which nobody can say what came of them.
    pub unknown: u32,
    /// For the sink one of them has an unknown outcome.
    pub doubted: bool,
    /// Requests that carried it, as the sink shall count them.
    pub attempts: u32,
    /// It was handed back.
    pub ended: bool,
    /// Whoever handed it back said that it cannot be in the stream.
    pub not_written: bool,
}

/// Where the answer said that a record lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub shard_id: String,
    pub sequence_number: String,
    pub sub_sequence_number: Option<u64>,
}

impl Fate {
    /// An attempt came to an end that tells nothing.
    pub fn note_unknown(&mut self) {
        self.unknown += 1;
        self.doubted = true;
    }

    /// A whole request with it failed, with or without others in it.
    pub fn note_failure(&mut self, class: ErrorClass, alone: bool) {
        use ErrorClass::{Blocked, Credentials, Fatal, Invalid, NotSent, OutcomeUnknown};
        self.doubted |= matches!(class, OutcomeUnknown | Blocked);
        let says_nothing_of_it = match class {
            Credentials | Fatal | NotSent => true,
            Invalid => !alone,
            _ => false,
        };
        self.attempts -= u32::from(says_nothing_of_it);
    }
}

impl Ledger {
    /// Notes that a promise was broken.
    pub fn broken(&mut self, promise: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(promise);
    }

    pub fn take_broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    /// How many records were made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The number of the next record.
    pub fn next(&mut self) -> u64 {
        self.made += 1;
        self.made - 1
    }

    /// Notes that a record of so many bytes was accepted. Says how much is outstanding with it.
    pub fn accept(&mut self, number: u64, bytes: usize, receipt: Option<Receipt>) -> Size {
        self.count += 1;
        self.seen.note("an accepted record", 1);
        let fate = self.fate_mut(number);
        fate.accepted = true;
        fate.accepted_at = Some(Instant::now());
        self.open.insert(number);
        let has_receipt = receipt.is_some();
        self.receipts.extend(receipt.map(|receipt| (number, receipt)));
        let fate = self.fate_mut(number);
        fate.outstanding = Some(bytes);
        fate.has_receipt = has_receipt;
        self.outstanding_size.records += 1;
        self.outstanding_size.without_receipt += usize::from(!has_receipt);
        self.outstanding_size.bytes += bytes;
        self.outstanding_size
    }

    /// How long ago the record was accepted.
    pub fn age(&self, number: u64) -> Duration {
        let accepted_at = self.fate(number).and_then(|fate| fate.accepted_at);
        accepted_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// An answer says that the record lies there.
    pub fn deliver(&mut self, number: u64, place: Place) {
        let fate = self.fate_mut(number);
        fate.places.push(place);
        self.no_longer_outstanding(number);
    }

    /// The records that were neither delivered nor handed back, as far as anybody was told.
    pub fn outstanding(&self) -> Vec<u64> {
        self.open.iter().copied().filter(|number| self.is_outstanding(*number)).collect()
    }

    pub fn is_outstanding(&self, number: u64) -> bool {
        self.fate(number).is_some_and(|fate| fate.outstanding.is_some())
    }

    fn no_longer_outstanding(&mut self, number: u64) {
        let fate = self.fate_mut(number);
        let has_receipt = fate.has_receipt;
        if let Some(bytes) = fate.outstanding.take() {
            self.outstanding_size.records -= 1;
            self.outstanding_size.without_receipt -= usize::from(!has_receipt);
            self.outstanding_size.bytes -= bytes;
        }
    }

    /// A record that is not accepted comes back as it was.
    pub fn refuse(&mut self, record: &Record, refused: &Error) {
        self.seen.note("a record that came back at once", 1);
        let is_full = refused.kind() == ErrorKind::Full;
        self.seen.note("a full sink", usize::from(is_full));
        if refused.record() != Some(record) {
            self.broken(|| format!("another record came back: {refused}"));
        }
    }

    pub fn accepted(&self) -> impl Iterator<Item = (u64, &Fate)> {
        self.fates.iter().map(|(number, fate)| (*number, fate)).filter(|(_, fate)| fate.accepted)
    }

    pub fn fate(&self, number: u64) -> Option<&Fate> {
        self.fates.get(&number)
    }

    pub fn fate_mut(&mut self, number: u64) -> &mut Fate {
        self.fates.entry(number).or_default()
    }

    pub fn excuse(&mut self, sequence_numbers: Vec<String>) {
        self.excused.extend(sequence_numbers);
    }

    pub fn is_excused(&self, sequence_number: &str) -> bool {
        self.excused.contains(sequence_number)
    }

    /// A record came back as undelivered: out of the sink, to the dead letters, or to its receipt.
    pub fn hand_back(&mut self, undelivered: &Undelivered) {
        let number = number_of_record(undelivered.record());
        self.open.remove(&number);
        self.no_longer_outstanding(number);
        let fate = self.fates.entry(number).or_default();
        let (accepted, twice) = (fate.accepted, std::mem::replace(&mut fate.ended, true));
        let may_have_been_written = undelivered.may_have_been_written();
        let told = !fate.places.is_empty();
        let may_be_open = may_have_been_written && (self.may_come_again || self.may_be_held);
        let delivered = told && !may_be_open;
        fate.not_written = !may_have_been_written;
        let doubtless = self.sees_all && !fate.doubted && !fate.in_flight && !told;
        let attempts = (undelivered.attempts(), fate.attempts);
        let reason = undelivered.reason();
        if !accepted {
            self.broken(|| format!("{number} is handed back and was not accepted: {reason}"));
        }
        if twice {
            self.broken(|| format!("{number} is handed back twice: {reason}"));
        }
        if delivered {
            self.broken(|| format!("{number} was delivered, and handed back: {reason}"));
        }
        if may_have_been_written && doubtless {
            self.broken(|| format!("{number} may be written, and no request says so: {reason}"));
        }
        if self.sees_all && attempts.0 != attempts.1 {
            self.broken(|| format!("{number} was sent as often as {attempts:?}: {reason}"));
        }
        if let FailureReason::Refused(cause) = reason {
            self.check_cause(cause.code());
        }
        let kind = match reason {
            FailureReason::Rejected(_) => Some("a rejected record"),
            FailureReason::AttemptsExhausted { .. } => Some("a record out of attempts"),
            FailureReason::DeadlineExceeded { .. } => Some("a record past its deadline"),
            FailureReason::Refused(_) => Some("a record of a stream that takes nothing"),
            FailureReason::Abandoned { .. } => Some("an abandoned record"),
            _ => None,
        };
        kind.into_iter().for_each(|kind| self.seen.note(kind, 1));
        if let FailureReason::AttemptsExhausted { attempts, .. } = reason
            && Some(*attempts) != self.max_attempts
        {
            self.broken(|| format!("{number} was given up too early or too late: {reason}"));
        }
        let age = self.age(number);
        if let FailureReason::DeadlineExceeded { deadline, .. } = reason
            && age < *deadline
        {
            self.broken(|| format!("{number} was given up after {age:?}: {reason}"));
        }
        if matches!(reason, FailureReason::Dropped) {
            self.broken(|| format!("{number} was accepted, and its end says it was not"));
        }
    }

    /// Checks that an error with this code may be fatal. No outage of credentials here lasts long enough for that.
    pub fn check_cause(&mut self, code: &str) {
        if ["ExpiredTokenException", "InvalidSignatureException"].contains(&code) {
            self.broken(|| format!("{code} is fatal before its time"));
        }
    }

    /// What is open and no longer held must have an end: its receipt is told, or the answer has said that
    /// it was delivered.
    pub fn settle_all_but(&mut self, held: &HashSet<u64>) {
        let gone: Vec<_> =
            self.open.iter().copied().filter(|number| !held.contains(number)).collect();
        for number in gone {
            self.settle(number);
        }
    }

    fn settle(&mut self, number: u64) {
        self.open.remove(&number);
        let Some(receipt) = self.receipts.remove(&number) else {
            if self.fates[&number].places.is_empty() && !self.is_dropped {
                self.broken(|| format!("{number} is gone: not held, delivered or handed back"));
            }
            return;
        };
        if self.read(number, receipt).is_some() {
            self.broken(|| format!("{number} is settled, and its receipt is not told"));
        }
    }

    /// Notes what the receipt says. If it says nothing yet, it comes back.
    fn read(&mut self, number: u64, mut receipt: Receipt) -> Option<Receipt> {
        match poll(&mut receipt) {
            Some(Ok(delivery)) => self.receipt_delivered(number, &delivery),
            // The owner has it, and hands it back.
            Some(Err(taken)) if matches!(taken.reason(), FailureReason::Withdrawn { .. }) => {}
            Some(Err(undelivered)) => {
                self.seen.note("a receipt of a failure", 1);
                self.hand_back(&undelivered);
            }
            None => return Some(receipt),
        }
        None
    }

    fn receipt_delivered(&mut self, number: u64, delivery: &Delivery) {
        self.seen.note("a receipt of a delivery", 1);
        let told = Place {
            shard_id: delivery.shard_id().to_owned(),
            sequence_number: delivery.sequence_number().to_owned(),
            sub_sequence_number: delivery.sub_sequence_number(),
        };
        if !self.fates[&number].places.contains(&told) {
            self.broken(|| format!("the receipt of {number} says {told:?}, no answer has"));
        }
        let attempts = (delivery.attempts(), self.fates[&number].attempts);
        if self.sees_all && attempts.0 != attempts.1 {
            self.broken(|| format!("{number} was sent as often as {attempts:?}, and delivered"));
        }
    }

    /// The owner has the records that he took back, or that a call of the producer has returned; their
    /// receipts say the same.
    pub fn take(&mut self, undelivered: &[Undelivered]) {
        for one in undelivered {
            let number = number_of_record(one.record());
            self.hand_back(one);
            let Some(mut receipt) = self.receipts.remove(&number) else { continue };
            let told = poll(&mut receipt);
            let same = |told: &Undelivered| told.record() == one.record();
            if !told.is_some_and(|told| told.as_ref().is_err_and(same)) {
                self.broken(|| format!("{number} was taken back, and its receipt does not say so"));
            }
        }
    }

    /// The caller does not wait for this receipt any more.
    pub fn drop_receipt(&mut self, number: u64) {
        if let Some(receipt) = self.receipts.remove(&number) {
            drop(self.read(number, receipt));
        }
    }
}

/// What it says, if it says anything. tokio makes those wait who ask for much at once: not here.
fn poll(receipt: &mut Receipt) -> Option<Result<Delivery, Undelivered>> {
    tokio::task::unconstrained(receipt).now_or_never()
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("seen", &self.seen).finish_non_exhaustive()
    }
}
