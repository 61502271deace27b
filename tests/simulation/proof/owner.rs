//! The owner of a sink, who does with it whatever an owner may do.

use std::iter::successors;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::future::poll_fn;
use futures::{FutureExt, Sink, SinkExt};
use kinesis_sink::record::Key;
use kinesis_sink::service::PutRecordsError;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Error, ErrorKind, KinesisSink, PartitionKey, Record, RecordOrdering};
use tokio::time::{Instant, sleep, timeout};

use super::drawn::{Drawn, OwnersEnd, ms, rarely};
use super::ledger::Shared;
use super::observed::Observed;
use super::run::SETTLES_IN;
use super::stack::Boxed;

pub struct Owner {
    sink: Observed<KinesisSink<Boxed>>,
    drawn: Arc<Drawn>,
    rng: Rng,
    /// Records that were made.
    offered: u64,
}

impl Owner {
    pub fn new(sink: KinesisSink<Boxed>, drawn: &Arc<Drawn>, ledger: &Shared) -> Self {
        let sink = Observed::new(sink, drawn, ledger);
        Self { sink, drawn: drawn.clone(), rng: Rng::with_seed(!drawn.seed), offered: 0 }
    }

    fn ledger(&self) -> &Shared {
        &self.sink.ledger
    }

    /// Does one thing after another until the time is over.
    pub async fn work(mut self) -> Self {
        let end = Instant::now() + self.drawn.time;
        while Instant::now() < end {
            if rarely(&mut self.rng, 6) {
                self.ledger().lock().seen.note("a move to another task", 1);
                let elsewhere = tokio::spawn(async move {
                    self.act().await;
                    self
                });
                self = elsewhere.await.expect("it does not panic");
            } else {
                self.act().await;
            }
            // So that time goes by, whatever is done.
            sleep(ms(1)).await;
        }
        self
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..35 => self.feed_a_burst().await,
            35..50 => self.send().await,
            50..60 => self.flush().await,
            60..72 => sleep(self.drawn.idle.mul_f64(self.rng.f64())).await,
            72..76 => self.offer_the_impossible(),
            76..80 => self.start_without_asking(),
            80..84 => self.take_failed(),
            84..86 => self.take_undelivered(),
            86..91 => self.poll_once().await,
            91..96 => self.drop_receipts(),
            96..98 => self.leave_it_alone().await,
            _ => drop(format!("{:?} {:?}", self.sink.sink, self.sink.sink.status().last_request)),
        }
    }

    fn record(&mut self) -> Option<Record> {
        if self.offered == self.drawn.offered {
            return None;
        }
        self.offered += 1;
        let number = self.ledger().lock().next();
        Some(self.drawn.records.record(number))
    }

    fn patience(&mut self) -> Duration {
        match rarely(&mut self.rng, 4) {
            true => ms(self.rng.u64(0..=10_000)),
            false => ms(self.rng.u64(0..=200)),
        }
    }

    async fn feed_a_burst(&mut self) {
        for _ in 0..self.rng.u64(1..=self.drawn.burst_records) {
            let Some(record) = self.record() else { return };
            let patience = self.patience();
            let fed = timeout(patience, self.sink.feed(record)).await;
            if !self.is_heeded(fed.map_err(drop)) {
                return;
            }
        }
    }

    async fn send(&mut self) {
        let Some(record) = self.record() else { return };
        let patience = self.patience();
        let sent = timeout(patience, self.sink.send(record)).await;
        self.is_heeded(sent.map_err(drop));
    }

    async fn flush(&mut self) {
        let patience = self.patience();
        let flushed = timeout(patience, self.sink.flush()).await;
        let status = self.sink.sink.status();
        let left = status.queued.records + status.in_flight.records;
        if self.is_heeded(flushed.map_err(drop)) && left > 0 {
            self.ledger().lock().broken(|| format!("flushed, and {left} records are not settled"));
        }
    }

    /// Whether all went well. Otherwise something is done about it, or not.
    fn is_heeded(&mut self, outcome: Result<Result<(), Error>, ()>) -> bool {
        match outcome {
            Ok(Ok(())) => return true,
            Err(()) => self.ledger().lock().seen.note("a future that was dropped", 1),
            Ok(Err(error)) if error.kind() == ErrorKind::Refused => self.stopped_by(&error),
            Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => {
                if self.rng.bool() {
                    self.take_failed();
                }
            }
            Ok(Err(error)) => self.ledger().lock().broken(|| format!("the sink says: {error}")),
        }
        false
    }

    fn stopped_by(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut ledger = self.ledger().lock();
        ledger.seen.note("an error that stops the stream", 1);
        ledger.check_cause(code_of(error));
    }

    fn offer_the_impossible(&mut self) {
        let number = self.ledger().lock().next();
        let record = self.drawn.records.impossible(number, &mut self.rng);
        if self.sink.start_send_unpin(record).is_ok() {
            self.ledger().lock().broken(|| "an impossible record is accepted".to_owned());
        }
    }

    fn start_without_asking(&mut self) {
        let Some(record) = self.record() else { return };
        // It is taken if there is room; otherwise it comes back, which is checked.
        let _ = self.sink.start_send_unpin(record);
    }

    fn take_failed(&mut self) {
        let failed = self.sink.sink.take_failed();
        let mut ledger = self.ledger().lock();
        ledger.seen.note("failed records taken", failed.len());
        ledger.take(&failed);
        drop(ledger);
        self.sink.look();
    }

    fn take_undelivered(&mut self) {
        let taken = self.sink.sink.take_undelivered();
        let mut ledger = self.ledger().lock();
        ledger.seen.note("records taken back", taken.len());
        ledger.take(&taken);
        drop(ledger);
        self.sink.look();
    }

    /// Leaves a waker behind that nobody waits for any more.
    async fn poll_once(&mut self) {
        let flushes = self.rng.bool();
        let polled = poll_fn(|cx| {
            let sink = Pin::new(&mut self.sink);
            if flushes { sink.poll_flush(cx) } else { sink.poll_ready(cx) }
        });
        let polled = polled.now_or_never();
        self.is_heeded(polled.ok_or(()));
    }

    /// Leaves the sink unpolled for a long time although it has records to send and wakes its task.
    async fn leave_it_alone(&mut self) {
        if let Some(record) = self.record() {
            // The record is accepted if there is room. Otherwise it comes back, which is checked.
            let _ = self.sink.start_send_unpin(record);
        }
        self.poll_once().await;
        self.ledger().lock().seen.note("a sink that is left alone", 1);
        sleep(ms(self.rng.u64(1_000..=15_000))).await;
    }

    fn drop_receipts(&mut self) {
        let made = self.ledger().lock().made();
        for _ in 0..self.rng.u8(..5) {
            let number = self.rng.u64(..=made);
            self.ledger().lock().drop_receipt(number);
        }
    }

    /// Is done with the sink, in the way that was drawn.
    pub async fn end(mut self, end: OwnersEnd, stream: &SimStream) -> Result<(), String> {
        use OwnersEnd::{Closes, ClosesThroughBuffer, Flushes};
        if self.drawn.checks_progress() {
            self.make_progress().await?;
            stream.set_faults(Faults::default());
        }
        if matches!(end, Closes | ClosesThroughBuffer | Flushes) {
            self.go_on().await?;
        }
        match end {
            OwnersEnd::ClosesThroughBuffer => {
                self.close_through_buffer().await?;
                self.check_closed().await?;
            }
            OwnersEnd::Closes => {
                self.settle(|sink, cx| Pin::new(sink).poll_close(cx)).await?;
                self.check_closed().await?;
            }
            OwnersEnd::Flushes => self.settle(|sink, cx| Pin::new(sink).poll_flush(cx)).await?,
            OwnersEnd::TakesBack => self.take_undelivered(),
            OwnersEnd::Drops => {}
        }
        let totals = *self.sink.sink.totals();
        let status = self.sink.sink.status();
        let left = status.queued.records + status.in_flight.records;
        if totals.accepted != totals.delivered + totals.failed + totals.withdrawn + left as u64 {
            return Err(format!("the totals do not add up: {totals:?}, and {left} are left"));
        }
        let ledger = self.ledger().clone();
        if end == OwnersEnd::Drops {
            ledger.lock().is_dropped = true;
            ledger.lock().seen.note("a sink dropped with records", left);
        }
        drop(self);
        ledger.lock().settle_all_but(&Default::default());
        Ok(())
    }

    /// Some records are refused, and nothing else goes wrong: so all others are delivered. In order, those
    /// wait that come after a refused one of their key.
    async fn make_progress(&mut self) -> Result<(), String> {
        let until = Instant::now() + SETTLES_IN;
        loop {
            let flushed = timeout(ms(100), self.sink.flush()).await;
            self.is_heeded(flushed.map_err(drop));
            self.take_failed();
            let left = self.ledger().lock().outstanding();
            let is_poisoned = |number: &u64| self.drawn.records.is_poisoned(*number);
            let poisoned = left.iter().filter(|number| is_poisoned(number)).count();
            let waits_in_order = |number: &u64| {
                let key = self.key_in_order(*number);
                let mut before = left.iter().take_while(|other| *other < number);
                key.is_some()
                    && before.any(|other| is_poisoned(other) && self.key_in_order(*other) == key)
            };
            let held_up =
                left.iter().find(|number| !is_poisoned(number) && !waits_in_order(number));
            let Some(number) = held_up else {
                self.ledger().lock().seen.note("progress beside a poisoned record", poisoned);
                return Ok(());
            };
            if Instant::now() > until {
                let count = left.len();
                return Err(format!("{number} is not delivered, of {count}, {poisoned} poisoned"));
            }
        }
    }

    /// The key with whose records a record keeps its order, if it has one.
    fn key_in_order(&self, number: u64) -> Option<Key> {
        match self.drawn.records.record(number).partition_key() {
            PartitionKey::Explicit(key)
                if self.drawn.settings.ordering == RecordOrdering::PerKey =>
            {
                Some(key.clone())
            }
            _ => None,
        }
    }

    /// Nothing goes wrong any more: so there is room for another record sooner or later, again and again.
    async fn go_on(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.settle(|sink, cx| Pin::new(sink).poll_ready(cx)).await?;
            let number = self.ledger().lock().next();
            let record = self.drawn.records.record(number);
            self.sink.start_send_unpin(record).map_err(|error| format!("ready, and: {error}"))?;
        }
        Ok(())
    }

    /// Closes an adapter that hands its own records to the sink while it is closed.
    async fn close_through_buffer(&mut self) -> Result<(), String> {
        let ledger = self.ledger().clone();
        let count = self.rng.usize(1..=20);
        let numbers: Vec<_> = (0..count).map(|_| ledger.lock().next()).collect();
        let records = numbers.into_iter().map(|number| self.drawn.records.record(number));
        let records: Vec<_> = records.collect();
        let accepted = ledger.lock().count + count as u64;
        ledger.lock().seen.note("a close through a buffer", 1);
        let mut buffered = SinkExt::buffer(&mut self.sink, count);
        for record in records {
            // The adapter has room for all of them.
            Pin::new(&mut buffered).start_send(record).map_err(|error| error.to_string())?;
        }
        let until = Instant::now() + SETTLES_IN;
        while Instant::now() < until {
            match timeout(SETTLES_IN, buffered.close()).await {
                Ok(Ok(())) => {
                    self.take_failed();
                    return match ledger.lock().count == accepted {
                        true => Ok(()),
                        false => Err("closed, and the buffer's records were not accepted".into()),
                    };
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => {
                    let failed = buffered.get_mut().sink.take_failed();
                    ledger.lock().take(&failed);
                    buffered.get_mut().look();
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Refused => sleep(ms(10)).await,
                Ok(Err(error)) => return Err(format!("closed through a buffer it says: {error}")),
                Err(_) => break,
            }
        }
        Err(format!("not closed in time: {:?}", buffered.get_ref().sink))
    }

    /// Polls until it is ready, and takes what failed.
    async fn settle<F>(&mut self, poll: F) -> Result<(), String>
    where
        F: Fn(
            &mut Observed<KinesisSink<Boxed>>,
            &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Error>>,
    {
        let until = Instant::now() + SETTLES_IN;
        while Instant::now() < until {
            match timeout(SETTLES_IN, poll_fn(|cx| poll(&mut self.sink, cx))).await {
                Ok(Ok(())) => {
                    // What failed before the owner was told may still be there.
                    self.take_failed();
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => self.take_failed(),
                Ok(Err(error)) if error.kind() == ErrorKind::Refused => {
                    self.stopped_by(&error);
                    sleep(ms(10)).await;
                }
                Ok(Err(error)) => return Err(format!("at its end the sink says: {error}")),
                Err(_) => break,
            }
        }
        Err(format!("not settled in time: {:?}", self.sink.sink))
    }

    async fn check_closed(&mut self) -> Result<(), String> {
        let ready = poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await;
        if !ready.is_err_and(|error| error.kind() == ErrorKind::Closed) {
            return Err("closed, and yet ready".to_owned());
        }
        let number = self.ledger().lock().next();
        let record = self.drawn.records.record(number);
        if self.sink.start_send_unpin(record).is_ok() {
            return Err("closed, and yet a record is accepted".to_owned());
        }
        let again = timeout(SETTLES_IN, self.sink.close()).await;
        again.map_err(|_| "closed, and not the second time")?.map_err(|error| error.to_string())
    }
}

/// The code of the service's error below those of the layers.
pub fn code_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a str {
    let mut errors = successors(Some(error), |&error| error.source());
    let code = errors.find_map(|error| error.downcast_ref::<PutRecordsError>()?.code());
    code.unwrap_or_default()
}
