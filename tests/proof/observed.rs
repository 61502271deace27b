//! A sink that is looked at with every step.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt};
use kinesis_sink::{KinesisSink, Producer, Record, SinkError};

use super::drawn::{Drawn, Settings};
use super::ledger::Shared;
use super::records::number_of_record;
use super::stack::Boxed;

/// What can be told of a sink from outside at any time.
pub trait Look {
    fn look(&self, ledger: &Shared, settings: &Settings);
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

    pub fn look(&self) {
        self.sink.look(&self.ledger, &self.drawn.settings);
    }
}

impl<Si> Sink<Record> for Observed<Si>
where
    Si: Sink<Record, Error = SinkError> + Look + Unpin,
{
    type Error = SinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let ready = self.sink.poll_ready_unpin(cx);
        self.look();
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), SinkError> {
        let copy = record.clone();
        let number = number_of_record(&record);
        let (record, receipt) = self.drawn.records.tracked(number, record);
        match self.sink.start_send_unpin(record) {
            Ok(()) => self.ledger.lock().accept(number, receipt),
            Err(SinkError::NotAccepted(refused)) => {
                self.ledger.lock().refuse(&copy, &refused);
                return Err(refused.into());
            }
            Err(error) => {
                self.ledger.lock().broken(|| format!("{number} is refused without it: {error}"));
                return Err(error);
            }
        }
        self.look();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let flushed = self.sink.poll_flush_unpin(cx);
        self.look();
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let closed = self.sink.poll_close_unpin(cx);
        self.look();
        closed
    }
}

impl Look for KinesisSink<Boxed> {
    fn look(&self, ledger: &Shared, settings: &Settings) {
        let held = self.undelivered().into_iter().map(number_of_record).collect::<Vec<_>>();
        let totals = self.totals();
        let mut ledger = ledger.lock();
        let accepted = ledger.count;
        let here = (self.waiting() + self.in_flight()) as u64;
        let told = totals.delivered + totals.failed + totals.taken_back + here;
        if (totals.accepted, told) != (accepted, accepted) {
            ledger.broken(|| format!("of {accepted} accepted: {totals:?}, {self:?}"));
        }
        let count = self.waiting() + self.in_flight() + self.failed();
        if count != held.len() || count > settings.buffer_records {
            ledger.broken(|| format!("{} records held, as it says {self:?}", held.len()));
        }
        if self.held_bytes() > settings.most_bytes() {
            ledger.broken(|| format!("more bytes than {}: {self:?}", settings.most_bytes()));
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
}

/// Its driver moves between the calls.
impl Look for Producer {
    fn look(&self, _: &Shared, _: &Settings) {}
}
