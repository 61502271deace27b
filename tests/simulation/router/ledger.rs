//! The expected state of each record, derived from calls and receipts.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kinesis_sink::record::{FailureReason, Key};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Delivery, Error, ErrorKind, Receipt, Record, StreamId, Undelivered};

use tokio::time::Instant;

use super::coverage::Coverage;
use super::faults::Fault;
use super::scenario::Scenario;

#[derive(Clone)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub fn new(scenario: &Scenario) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(scenario))))
    }

    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

impl fmt::Debug for SharedLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLedger").finish_non_exhaustive()
    }
}

pub struct Ledger {
    pub start: Instant,
    pub streams: Vec<Stream>,
    pub records: Vec<RecordState>,
    /// Simulated streams, including deleted and replaced ones.
    pub incarnations: Vec<Vec<SimStream>>,
    violation: Option<String>,
    pub coverage: Coverage,
    /// Number of open sinks of the router, and of those that were dropped since the bounds were last observed to hold.
    /// Each of them can exceed the bounds by one record and one stream.
    pub sinks: usize,
    pub dropped_sinks: usize,
    /// Number of sinks of producers, each of which can have reserved capacity for a smaller record.
    pub producer_sinks: usize,
    /// Set to `true` before the router is closed or dropped.
    pub is_closing: bool,
}

/// Counts of a stream, which show its progress.
pub struct Stream {
    pub id: StreamId,
    pub fault: Fault,
    /// Number of times that the stream was opened.
    opened: usize,
    /// Number of calls that wait for capacity.
    pub waiting: usize,
    pub accepted: u64,
    pub returned: u64,
}

pub struct RecordState {
    pub stream: usize,
    pub record: Record,
    /// Key of a record whose order is checked.
    pub key: Option<Key>,
    pub status: Status,
    /// Way in which the record was accepted, and the time.
    pub accepted: Option<(&'static str, Instant)>,
    pub receipt: Option<Receipt>,
    pub delivery: Option<Delivery>,
    pub returned: Option<Returned>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The call has not completed, or its future was dropped before it completed.
    Offered,
    /// The future of a call that accepts the record at an unknown time has not completed.
    Unknown,
    Accepted,
    /// An error has returned the record.
    Refused,
}

#[derive(Debug, Clone, Copy)]
pub struct Returned {
    pub may_have_been_written: bool,
}

impl Ledger {
    fn new(scenario: &Scenario) -> Self {
        let stream = |plan: &super::scenario::StreamPlan| Stream {
            id: plan.id(),
            fault: plan.fault,
            opened: 0,
            waiting: 0,
            accepted: 0,
            returned: 0,
        };
        Self {
            start: Instant::now(),
            streams: scenario.streams.iter().map(stream).collect(),
            records: Vec::new(),
            incarnations: vec![Vec::new(); scenario.streams.len()],
            violation: None,
            coverage: Coverage::default(),
            sinks: 0,
            dropped_sinks: 0,
            producer_sinks: 0,
            is_closing: false,
        }
    }

    pub fn violation(&mut self, text: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(text);
    }

    pub fn check(&mut self) -> Result<(), String> {
        self.violation.take().map_or(Ok(()), Err)
    }

    pub fn note_opened(&mut self, stream: usize) {
        let opened = &mut self.streams[stream].opened;
        *opened += 1;
        let event = if *opened > 1 { "a stream opened again" } else { "an opened stream" };
        self.coverage.count(event, 1);
    }

    /// Creates a record of `bytes` bytes. If `is_ordered` is `true`, only one task uses the key, and awaits each call.
    pub fn offer(
        &mut self,
        stream: usize,
        bytes: usize,
        key: Option<Key>,
        is_ordered: bool,
    ) -> (usize, Record) {
        let number = self.records.len();
        let mut data = vec![b'.'; bytes.max(8)];
        data[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let record = Record::from(Bytes::from(data));
        let record = match key.clone() {
            Some(key) => record.with_partition_key(key),
            None => record,
        };
        self.records.push(RecordState {
            stream,
            record: record.clone(),
            key: key.filter(|_| is_ordered),
            status: Status::Offered,
            accepted: None,
            receipt: None,
            delivery: None,
            returned: None,
        });
        (number, record)
    }

    pub fn number_of(&self, record: &Record) -> usize {
        number_of(record.data())
    }

    /// Notes that a record was accepted. `through` is the way, for messages.
    pub fn accept(&mut self, number: usize, through: &'static str, receipt: Option<Receipt>) {
        let state = &mut self.records[number];
        state.status = Status::Accepted;
        state.accepted = Some((through, Instant::now()));
        state.receipt = receipt;
        self.streams[state.stream].accepted += 1;
        self.coverage.count(through, 1);
    }

    /// Checks that the error for a record that was not accepted contains the unchanged record and its stream.
    pub fn refuse(&mut self, number: usize, error: &Error) {
        let state = &mut self.records[number];
        state.status = Status::Refused;
        let stream = &self.streams[state.stream];
        let has_record = error.record() == Some(&state.record);
        let has_stream = error.stream() == Some(&stream.id);
        let is_wrong = match error.kind() {
            ErrorKind::Stopped | ErrorKind::Refused | ErrorKind::Abandoned => {
                stream.fault == Fault::None
            }
            ErrorKind::Build => true,
            _ => false,
        };
        self.coverage.count(kind_name(error.kind()), 1);
        if !has_record || !has_stream || is_wrong {
            let id = stream.id.clone();
            self.violation(|| {
                format!(
                    "unexpected error for record {number} of {id}: {error:?}; it has the record: \
                     {has_record}, the stream: {has_stream}"
                )
            });
        }
    }

    pub fn note_all_returned(&mut self, undelivered: &[Undelivered]) {
        for each in undelivered {
            self.note_returned(each);
        }
    }

    pub fn note_returned(&mut self, undelivered: &Undelivered) {
        self.coverage.count("a returned record", 1);
        let number = number_of(undelivered.record().data());
        let Some(state) = self.records.get_mut(number) else {
            return self.violation(|| format!("unknown record {number} returned"));
        };
        let stream = &mut self.streams[state.stream];
        stream.returned += 1;
        let is_accepted = matches!(state.status, Status::Accepted | Status::Unknown);
        let is_same = state.record == *undelivered.record();
        let of_stream = undelivered.stream() == Some(&stream.id);
        // A withdrawn record is returned by the error of the close, and its receipt completes, too.
        let is_withdrawn = matches!(undelivered.reason(), FailureReason::Withdrawn { .. });
        let has_receipt = state.receipt.is_some() && !is_withdrawn;
        let is_first = is_withdrawn || state.returned.is_none() && state.delivery.is_none();
        let may_have_been_written = undelivered.may_have_been_written();
        state.returned = Some(Returned { may_have_been_written });
        if !(is_accepted && is_same && of_stream && !has_receipt && is_first) {
            let status = state.status;
            self.violation(|| {
                format!(
                    "record {number} ({status:?}) returned unexpectedly: {undelivered:?}; it is the same: \
                     {is_same}, has its stream: {of_stream}, has a receipt: {has_receipt}, is returned or \
                     delivered: {}",
                    !is_first
                )
            });
        }
    }

    /// Takes the outcomes of the receipts. At the end, all of them must be settled.
    pub fn settle_receipts(&mut self) {
        for number in 0..self.records.len() {
            let Some(mut receipt) = self.records[number].receipt.take() else { continue };
            match receipt.try_outcome() {
                Some(Ok(delivery)) => {
                    self.coverage.count("a receipt of a delivery", 1);
                    self.records[number].delivery = Some(delivery);
                }
                Some(Err(undelivered)) => {
                    self.coverage.count("a receipt of a failure", 1);
                    let is_withdrawn =
                        matches!(undelivered.reason(), FailureReason::Withdrawn { .. });
                    if !(is_withdrawn && self.records[number].returned.is_some()) {
                        self.note_returned(&undelivered);
                    }
                }
                None => self.violation(|| format!("the receipt of record {number} is open")),
            }
        }
    }

    /// Drops an open receipt. Its record is then handled like one without a receipt.
    pub fn drop_receipt(&mut self, number: usize) {
        let receipt = &mut self.records[number].receipt;
        if receipt.take_if(|receipt| !receipt.is_settled()).is_some() {
            self.coverage.count("a dropped receipt", 1);
        }
    }

    /// Returns the accepted records that are not settled, as far as their receipts show it.
    pub fn open_receipts(&self) -> Vec<usize> {
        let is_open = |state: &RecordState| {
            state.receipt.as_ref().is_some_and(|receipt| !receipt.is_settled())
        };
        (0..self.records.len()).filter(|&number| is_open(&self.records[number])).collect()
    }

    /// Checks that a flush has settled these records.
    pub fn check_flushed(&mut self, numbers: &[usize]) {
        let is_open = |number: &&usize| {
            let receipt = self.records[**number].receipt.as_ref();
            receipt.is_some_and(|receipt| !receipt.is_settled())
        };
        if let Some(number) = numbers.iter().find(is_open) {
            self.violation(|| format!("record {number} is not settled after a flush"));
        }
        self.coverage.count("a completed flush", 1);
    }
}

pub fn number_of(data: &[u8]) -> usize {
    u64::from_be_bytes(*data.first_chunk().expect("a payload starts with its number")) as usize
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Full => "a full stream",
        ErrorKind::TooManyStreams => "too many streams",
        ErrorKind::Closed => "a closed router or producer",
        ErrorKind::Stopped => "a stopped stream",
        ErrorKind::Refused => "a refusing stream",
        ErrorKind::Undelivered => "a stream full of failed records",
        _ => "another error",
    }
}
