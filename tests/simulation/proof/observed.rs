//! A sink that is looked at with every step.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt};
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::{Error, KinesisSink, Receipt, Record};

use super::drawn::Drawn;
use super::ledger::Shared;
use super::records::number_of_record;
use super::stack::Boxed;

/// What can be told of a sink from outside at any time.
pub trait Look {
    fn look(&self, ledger: &Shared, drawn: &Drawn);

    /// What can be told besides, once it was polled for all that it holds.
    fn look_after_polls(&self, ledger: &Shared, drawn: &Drawn);
}

/// Hands everything on to the sink, and checks what it holds after each call.
pub struct Observed<Si> {
    pub sink: Si,
    pub ledger: Shared,
    drawn: Arc<Drawn>,
}

impl<Si: Look> Observed<Si> {
    pub fn new(sink: Si, drawn: &Arc<Drawn>, ledger: &Shared) -> Self {
        Self { sink, ledger: ledger.clone(), drawn: drawn.clone() }
    }

    /// Notes that a record of so many bytes was accepted, which must not be more than there is room for.
    pub fn accept(&self, number: u64, bytes: usize, receipt: Option<Receipt>) {
        let mut ledger = self.ledger.lock();
        let outstanding = ledger.accept(number, bytes, receipt);
        let settings = &self.drawn.settings;
        // A failed record is outstanding until its receipt is read or it is taken. Until then only a record
        // without a receipt keeps its room.
        let fits = outstanding.without_receipt <= settings.buffer_records
            && (self.drawn.may_fail()
                || (outstanding.records <= settings.buffer_records
                    && outstanding.bytes <= self.drawn.most_bytes()));
        if !fits {
            ledger.broken(|| format!("{outstanding:?} are more than the bounds: {settings:?}"));
        }
    }

    /// What was accepted before a flush is settled after it.
    pub fn check_flushed(&self, outstanding: &[u64]) {
        let mut ledger = self.ledger.lock();
        let left = outstanding.iter().copied().find(|number| ledger.is_outstanding(*number));
        // What failed is outstanding until somebody reads its receipt.
        if let Some(number) = left.filter(|_| !self.drawn.may_fail()) {
            ledger.broken(|| format!("flushed, and {number} is not settled"));
        }
    }

    pub fn look(&self) {
        self.sink.look(&self.ledger, &self.drawn);
    }
}

impl<Si> Sink<Record> for Observed<Si>
where
    Si: Sink<Record, Error = Error> + Look + Unpin,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.sink.poll_ready_unpin(cx);
        self.look();
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        let copy = record.clone();
        let number = number_of_record(&record);
        let (record, receipt) = self.drawn.records.tracked(number, record);
        match self.sink.start_send_unpin(record) {
            Ok(()) => self.accept(number, copy.size(), receipt),
            Err(refused) => {
                self.ledger.lock().refuse(&copy, &refused);
                return Err(refused);
            }
        }
        self.look();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = self.sink.poll_flush_unpin(cx);
        self.look();
        self.sink.look_after_polls(&self.ledger, &self.drawn);
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed = self.sink.poll_close_unpin(cx);
        self.look();
        self.sink.look_after_polls(&self.ledger, &self.drawn);
        closed
    }
}

impl Look for KinesisSink<Boxed> {
    fn look(&self, ledger: &Shared, drawn: &Drawn) {
        let held = self.buffered_records();
        let bytes: usize = held.iter().map(|record| record.size()).sum();
        let held = held.into_iter().map(number_of_record).collect::<Vec<_>>();
        let totals = self.totals();
        let mut ledger = ledger.lock();
        let accepted = ledger.count;
        let status = self.status();
        let here = (status.queued.records + status.in_flight.records) as u64;
        let told = totals.delivered + totals.failed + totals.withdrawn + here;
        if (totals.accepted, told) != (accepted, accepted) {
            ledger.broken(|| format!("of {accepted} accepted: {totals:?}, {self:?}"));
        }
        let count = status.buffered().records;
        if count != held.len() || count > drawn.settings.buffer_records {
            ledger.broken(|| format!("{} records held, as it says {self:?}", held.len()));
        }
        if status.buffered().bytes != bytes || bytes > drawn.most_bytes() {
            let most = drawn.most_bytes();
            ledger.broken(|| format!("{bytes} bytes held, of {most}, as it says {self:?}"));
        }
        if !held.is_sorted_by(|one, next| one < next) {
            ledger.broken(|| format!("not in the order of acceptance: {held:?}"));
        }
        let held: HashSet<_> = held.into_iter().collect();
        if let Some(number) = held.iter().find(|number| !ledger.open.contains(number)).copied() {
            ledger.broken(|| format!("{number} is held, and was settled before"));
        }
        ledger.settle_all_but(&held);
    }

    /// What waits is given up once its deadline has passed.
    fn look_after_polls(&self, ledger: &Shared, drawn: &Drawn) {
        let Some(deadline) = drawn.settings.deadline else { return };
        let mut ledger = ledger.lock();
        let held = self.buffered_records().into_iter().map(number_of_record);
        let is_in_flight = |number: &u64| ledger.fate(*number).is_some_and(|fate| fate.in_flight);
        let (sent, here): (Vec<_>, Vec<_>) = held.partition(is_in_flight);
        let overdue = here.into_iter().filter(|number| ledger.age(*number) >= deadline).count();
        // The witness does not see all that is on its way, nor what waits for a list of the shards.
        let status = self.status();
        let unseen = status.in_flight.records.saturating_sub(sent.len());
        if overdue > unseen + status.failed.records {
            ledger.broken(|| format!("{overdue} wait for more than {deadline:?}: {self:?}"));
        }
    }
}

/// Its driver moves between the calls.
impl Look for ProducerSink {
    fn look(&self, _: &Shared, _: &Drawn) {}

    fn look_after_polls(&self, _: &Shared, _: &Drawn) {}
}
