//! A sink whose public state is checked after each call.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt};
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::{Error, KinesisSink, Receipt, Record};

use super::ledger::SharedLedger;
use super::records::number_of_record;
use super::scenario::Scenario;
use super::stack::Boxed;

pub trait Inspect {
    fn inspect(&self, ledger: &SharedLedger, scenario: &Scenario);

    fn inspect_after_flush(&self, ledger: &SharedLedger, scenario: &Scenario);
}

pub struct ObservedSink<Si> {
    pub sink: Si,
    pub ledger: SharedLedger,
    scenario: Arc<Scenario>,
}

impl<Si: Inspect> ObservedSink<Si> {
    pub fn new(sink: Si, scenario: &Arc<Scenario>, ledger: &SharedLedger) -> Self {
        Self { sink, ledger: ledger.clone(), scenario: scenario.clone() }
    }

    pub fn accept(&self, number: u64, bytes: usize, receipt: Option<Receipt>) {
        let mut ledger = self.ledger.lock();
        let outstanding = ledger.accept(number, bytes, receipt);
        let settings = &self.scenario.settings;
        // Failed records are outstanding until they are taken. Those with a receipt use no buffer capacity.
        let fits = outstanding.without_receipt <= settings.buffer_records
            && (self.scenario.may_fail()
                || (outstanding.records <= settings.buffer_records
                    && outstanding.bytes <= self.scenario.max_buffer_bytes()));
        if !fits {
            ledger.violation(|| format!("{outstanding:?} exceeds the bounds of {settings:?}"));
        }
    }

    /// Checks that a flush has settled all records accepted before it started.
    pub fn check_flushed(&self, outstanding: &[u64]) {
        let mut ledger = self.ledger.lock();
        let left = outstanding.iter().copied().find(|number| ledger.is_outstanding(*number));
        if let Some(number) = left.filter(|_| !self.scenario.may_fail()) {
            ledger.violation(|| format!("flushed but {number} is not settled"));
        }
    }

    pub fn inspect(&self) {
        self.sink.inspect(&self.ledger, &self.scenario);
    }
}

impl<Si> Sink<Record> for ObservedSink<Si>
where
    Si: Sink<Record, Error = Error> + Inspect + Unpin,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.sink.poll_ready_unpin(cx);
        self.inspect();
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        let copy = record.clone();
        let number = number_of_record(&record);
        let (record, receipt) = self.scenario.records.tracked(number, record);
        match self.sink.start_send_unpin(record) {
            Ok(()) => self.accept(number, copy.size(), receipt),
            Err(refused) => {
                self.ledger.lock().note_refused(&copy, &refused);
                return Err(refused);
            }
        }
        self.inspect();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = self.sink.poll_flush_unpin(cx);
        self.inspect();
        self.sink.inspect_after_flush(&self.ledger, &self.scenario);
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed = self.sink.poll_close_unpin(cx);
        self.inspect();
        self.sink.inspect_after_flush(&self.ledger, &self.scenario);
        closed
    }
}

impl Inspect for KinesisSink<Boxed> {
    fn inspect(&self, ledger: &SharedLedger, scenario: &Scenario) {
        let buffered = self.buffered_records();
        let bytes: usize = buffered.iter().map(|record| record.size()).sum();
        let buffered = buffered.into_iter().map(number_of_record).collect::<Vec<_>>();
        let totals = self.totals();
        let mut ledger = ledger.lock();
        let accepted = ledger.accepted_count;
        let status = self.status();
        let pending = (status.queued.records + status.in_flight.records) as u64;
        let sum = totals.delivered + totals.failed + totals.withdrawn + pending;
        if (totals.accepted, sum) != (accepted, accepted) {
            ledger.violation(|| format!("{accepted} records accepted: {totals:?}, {self:?}"));
        }
        let count = status.buffered().records;
        if count != buffered.len() || count > scenario.settings.buffer_records {
            ledger.violation(|| format!("{} records buffered: {self:?}", buffered.len()));
        }
        if status.buffered().bytes != bytes || bytes > scenario.max_buffer_bytes() {
            let max = scenario.max_buffer_bytes();
            ledger.violation(|| format!("{bytes} of {max} bytes buffered: {self:?}"));
        }
        if !buffered.is_sorted_by(|one, next| one < next) {
            ledger.violation(|| format!("not in the order of acceptance: {buffered:?}"));
        }
        let buffered: HashSet<_> = buffered.into_iter().collect();
        if let Some(number) = buffered.iter().find(|number| !ledger.unsettled.contains(number)) {
            ledger.violation(|| format!("{number} is buffered but was settled before"));
        }
        ledger.settle_all_except(&buffered);
    }

    /// Checks that no record whose deadline has passed is still queued.
    fn inspect_after_flush(&self, ledger: &SharedLedger, scenario: &Scenario) {
        let Some(deadline) = scenario.settings.deadline else { return };
        let mut ledger = ledger.lock();
        let buffered = self.buffered_records().into_iter().map(number_of_record);
        let is_in_flight =
            |number: &u64| ledger.state(*number).is_some_and(|state| state.in_flight);
        let (in_flight, queued): (Vec<_>, Vec<_>) = buffered.partition(is_in_flight);
        let overdue = queued.into_iter().filter(|number| ledger.age(*number) >= deadline).count();
        // The observer cannot see requests in an outer buffer, or records that wait for a shard listing.
        let status = self.status();
        let unobserved = status.in_flight.records.saturating_sub(in_flight.len());
        if overdue > unobserved + status.failed.records {
            ledger.violation(|| {
                format!("{overdue} records queued for more than {deadline:?}: {self:?}")
            });
        }
    }
}

/// Performs no checks, because the producer's driver makes progress between the calls.
impl Inspect for ProducerSink {
    fn inspect(&self, _: &SharedLedger, _: &Scenario) {}

    fn inspect_after_flush(&self, _: &SharedLedger, _: &Scenario) {}
}
