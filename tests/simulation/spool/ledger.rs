//! The ledger of all records, which checks what must not happen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kinesis_sink::record::FailureReason;
use kinesis_sink::{Record, Undelivered};

use super::scenario::{End, Scenario};

const DIGITS: usize = 12;

/// Returns `true` for the records that the service always rejects.
pub fn is_rejected(number: u64) -> bool {
    number % 61 == 7
}

pub fn record(number: u64, payload: usize, key: Option<String>) -> Record {
    let record = Record::from(format!("{number:0DIGITS$}{:x<payload$}", ""));
    match key {
        Some(key) => record.with_partition_key(key),
        None => record,
    }
}

pub fn number_of(data: &[u8]) -> Option<u64> {
    let (number, filler) = data.split_at_checked(DIGITS)?;
    let is_intact = filler.iter().all(|byte| *byte == b'x');
    std::str::from_utf8(number).ok()?.parse().ok().filter(|_| is_intact)
}

#[derive(Clone, Default)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The call has not returned: its future was dropped, or the task was aborted.
    Unknown,
    /// `send` or `put` has returned, so the record is on disk, or with an overflow spool in the buffer.
    Accepted,
    /// A call that only stages has returned. The record is about to be written.
    Staged,
    Returned,
}

#[derive(Debug)]
struct Fate {
    call: Call,
    key: Option<String>,
    /// Life and number of copies, in the order of the lives.
    copies: BTreeMap<u32, Copies>,
    /// Life after whose response no further copy is expected.
    responded: bool,
    receipt_delivered: bool,
    /// The receipt was dropped, and may have completed with a failure right before.
    receipt_dropped: bool,
    failed: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Copies {
    written: u32,
    /// Writes whose response was lost.
    unknown: u32,
}

#[derive(Debug, Default)]
pub struct Ledger {
    fates: HashMap<u64, Fate>,
    /// Numbers in the order of their first copies.
    first_copies: Vec<u64>,
    errors: Vec<String>,
    ends: Vec<End>,
    pub coverage: Coverage,
}

/// Number of times that the seeds have covered each case.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    pub delivered: u64,
    pub duplicated: u64,
    pub recovered: u64,
    pub refused: u64,
    pub dropped: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub waited_for_space: u64,
    pub spooled_receipts: u64,
    pub overflowed: u64,
    pub ends: HashMap<String, u64>,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.recovered += other.recovered;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.waited_for_space += other.waited_for_space;
        self.spooled_receipts += other.spooled_receipts;
        self.overflowed += other.overflowed;
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
    }

    fn ended(&mut self, end: End) {
        let name = match end {
            End::CloseWithin(_) => "CloseWithin".to_owned(),
            other => format!("{other:?}"),
        };
        *self.ends.entry(name).or_default() += 1;
    }

    pub fn missing(&self) -> Vec<&'static str> {
        let counts = [
            ("delivered", self.delivered),
            ("duplicated", self.duplicated),
            ("recovered", self.recovered),
            ("refused", self.refused),
            ("dropped", self.dropped),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
            ("waited for space", self.waited_for_space),
            ("receipts of records left in the spool", self.spooled_receipts),
            ("overflowed", self.overflowed),
            ("all ends", u64::from(self.ends.len() == 5)),
        ];
        counts.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl Ledger {
    pub fn ended(&mut self, end: End) {
        self.ends.push(end);
        self.coverage.ended(end);
    }

    /// Notes that a record is about to be sent.
    pub fn begin(&mut self, number: u64, key: Option<String>) {
        let fate = Fate {
            call: Call::Unknown,
            key,
            copies: BTreeMap::new(),
            responded: false,
            receipt_delivered: false,
            receipt_dropped: false,
            failed: None,
        };
        self.fates.insert(number, fate);
    }

    pub fn accepted(&mut self, number: u64) {
        self.fate(number).call = Call::Accepted;
    }

    pub fn staged(&mut self, number: u64) {
        self.fate(number).call = Call::Staged;
    }

    /// Notes that the call returned the record.
    pub fn returned(&mut self, number: u64) {
        self.fate(number).call = Call::Returned;
    }

    pub fn written(&mut self, numbers: &[u64], life: u32, loses_response: bool) {
        for number in numbers {
            let fate = self.fates.get_mut(number).expect("the record was sent");
            if fate.copies.is_empty() {
                self.first_copies.push(*number);
            }
            if fate.responded {
                let error = format!(
                    "record {number} is written again by life {life} after its response arrived: {fate:?}"
                );
                self.errors.push(error);
            }
            let copies = fate.copies.entry(life).or_default();
            copies.written += 1;
            copies.unknown += u32::from(loses_response);
        }
    }

    pub fn responded(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.fate(*number).responded = true;
        }
    }

    pub fn receipt_delivered(&mut self, number: u64) {
        self.fate(number).receipt_delivered = true;
    }

    /// Notes a record that was passed to a receipt, to the dead-letter handler, or to the caller.
    pub fn failed(&mut self, undelivered: &Undelivered) {
        match undelivered.reason() {
            // The record is still in the spool, and its data may be there only.
            FailureReason::Spooled { .. } => {
                self.coverage.spooled_receipts += 1;
                return;
            }
            FailureReason::SpoolFull => self.coverage.dropped += 1,
            _ => self.coverage.failed += 1,
        }
        let number = number_of(undelivered.record().data());
        let Some(number) = number else {
            let data = undelivered.record().data();
            let error =
                format!("damaged record of {} bytes: {:?}", data.len(), undelivered.reason());
            self.errors.push(error);
            return;
        };
        self.fate(number).failed = Some(undelivered.reason().code().to_owned());
    }

    pub fn receipt_dropped(&mut self, number: u64) {
        self.fate(number).receipt_dropped = true;
    }

    fn fate(&mut self, number: u64) -> &mut Fate {
        self.fates.get_mut(&number).expect("the record was sent")
    }

    /// Checks everything, after the last process has delivered all records.
    pub fn check(&mut self, scenario: &Scenario) -> Result<(), String> {
        let mut errors = std::mem::take(&mut self.errors);
        for (number, fate) in &self.fates {
            let mut fail = |what: &str| errors.push(format!("record {number} {what}: {fate:?}"));
            let is_written = !fate.copies.is_empty();
            self.coverage.delivered += u64::from(is_written);
            match fate.call {
                Call::Accepted | Call::Staged if !is_written && fate.failed.is_none() => {
                    if !fate.receipt_dropped || !scenario.can_fail(*number) {
                        fail("is lost");
                    }
                }
                Call::Returned if is_written => fail("was returned, and is written"),
                Call::Unknown => self.coverage.cancelled += 1,
                Call::Accepted | Call::Staged | Call::Returned => {}
            }
            if fate.receipt_delivered && !is_written {
                fail("has a receipt, and is not written");
            }
            let copies: u32 = fate.copies.values().map(|copies| copies.written).sum();
            self.coverage.duplicated += u64::from(copies > 1);
            if fate.copies.values().any(|copies| copies.written > 1 + copies.unknown) {
                fail("is written twice by one process without a lost response");
            }
        }
        // A failed record that was not taken is sent again after the next start, behind its successors.
        if scenario.is_ordered && scenario.has_dead_letters {
            errors.extend(self.out_of_order());
        }
        errors.truncate(5);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\n{:?}\n{scenario:?}", errors.join("\n"), self.ends))
        }
    }

    /// The numbers of a key increase in the order in which they are sent.
    fn out_of_order(&self) -> Vec<String> {
        let mut last: HashMap<&str, u64> = HashMap::new();
        let mut keys = HashSet::new();
        let mut errors = Vec::new();
        for number in &self.first_copies {
            let Some(key) = &self.fates[number].key else { continue };
            let before = last.insert(key, *number);
            if before.is_some_and(|before| before > *number) && keys.insert(key) {
                let before = before.unwrap_or_default();
                errors.push(format!("key {key}: record {number} is written after {before}"));
            }
        }
        errors
    }
}
