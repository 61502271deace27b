//! The task that owns a sink and makes random calls on it.

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

use super::ledger::SharedLedger;
use super::observed_sink::ObservedSink;
use super::run::SETTLE_TIME;
use super::scenario::{OwnerEnd, Scenario, ms, rarely};
use super::stack::Boxed;

pub struct Owner {
    sink: ObservedSink<KinesisSink<Boxed>>,
    scenario: Arc<Scenario>,
    rng: Rng,
    offered: u64,
}

impl Owner {
    pub fn new(sink: KinesisSink<Boxed>, scenario: &Arc<Scenario>, ledger: &SharedLedger) -> Self {
        let sink = ObservedSink::new(sink, scenario, ledger);
        Self { sink, scenario: scenario.clone(), rng: Rng::with_seed(!scenario.seed), offered: 0 }
    }

    fn ledger(&self) -> &SharedLedger {
        &self.sink.ledger
    }

    pub async fn run(mut self) -> Self {
        let end = Instant::now() + self.scenario.time;
        while Instant::now() < end {
            if rarely(&mut self.rng, 6) {
                self.ledger().lock().coverage.count("a move to another task", 1);
                let task = tokio::spawn(async move {
                    self.act().await;
                    self
                });
                self = task.await.expect("the task does not panic");
            } else {
                self.act().await;
            }
            // Advances the virtual time even if no call waits.
            sleep(ms(1)).await;
        }
        self
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..35 => self.feed_burst().await,
            35..50 => self.send().await,
            50..60 => self.flush().await,
            60..72 => sleep(self.scenario.idle.mul_f64(self.rng.f64())).await,
            72..76 => self.send_invalid(),
            76..80 => self.send_without_ready(),
            80..84 => self.take_failed(),
            84..86 => self.take_undelivered(),
            86..91 => self.poll_once().await,
            91..96 => self.drop_receipts(),
            96..98 => self.leave_unpolled().await,
            _ => drop(format!("{:?} {:?}", self.sink.sink, self.sink.sink.status().last_request)),
        }
    }

    fn record(&mut self) -> Option<Record> {
        if self.offered == self.scenario.offered {
            return None;
        }
        self.offered += 1;
        let number = self.ledger().lock().next_number();
        Some(self.scenario.records.record(number))
    }

    fn timeout(&mut self) -> Duration {
        let max = if rarely(&mut self.rng, 4) { 10_000 } else { 200 };
        ms(self.rng.u64(0..=max))
    }

    async fn feed_burst(&mut self) {
        for _ in 0..self.rng.u64(1..=self.scenario.burst_records) {
            let Some(record) = self.record() else { return };
            let limit = self.timeout();
            let fed = timeout(limit, self.sink.feed(record)).await;
            if !self.handle(fed.map_err(drop)) {
                return;
            }
        }
    }

    async fn send(&mut self) {
        let Some(record) = self.record() else { return };
        let limit = self.timeout();
        let sent = timeout(limit, self.sink.send(record)).await;
        self.handle(sent.map_err(drop));
    }

    async fn flush(&mut self) {
        let limit = self.timeout();
        let flushed = timeout(limit, self.sink.flush()).await;
        let status = self.sink.sink.status();
        let left = status.queued.records + status.in_flight.records;
        if self.handle(flushed.map_err(drop)) && left > 0 {
            self.ledger()
                .lock()
                .violation(|| format!("flushed but {left} records are not settled"));
        }
    }

    fn handle(&mut self, outcome: Result<Result<(), Error>, ()>) -> bool {
        match outcome {
            Ok(Ok(())) => return true,
            Err(()) => self.ledger().lock().coverage.count("a dropped future", 1),
            Ok(Err(error)) if error.kind() == ErrorKind::Refused => self.note_fatal(&error),
            Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => {
                if self.rng.bool() {
                    self.take_failed();
                }
            }
            Ok(Err(error)) => self.ledger().lock().violation(|| format!("sink failed: {error}")),
        }
        false
    }

    fn note_fatal(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut ledger = self.ledger().lock();
        ledger.coverage.count("a fatal error", 1);
        ledger.check_cause(code_of(error));
    }

    fn send_invalid(&mut self) {
        let number = self.ledger().lock().next_number();
        let record = self.scenario.records.invalid(number, &mut self.rng);
        if self.sink.start_send_unpin(record).is_ok() {
            self.ledger().lock().violation(|| "an invalid record is accepted".to_owned());
        }
    }

    fn send_without_ready(&mut self) {
        let Some(record) = self.record() else { return };
        // `ObservedSink` checks the result.
        let _ = self.sink.start_send_unpin(record);
    }

    fn take_failed(&mut self) {
        let failed = self.sink.sink.take_failed();
        let mut ledger = self.ledger().lock();
        ledger.coverage.count("taken failed records", failed.len());
        ledger.note_all_returned(&failed);
        drop(ledger);
        self.sink.inspect();
    }

    fn take_undelivered(&mut self) {
        let taken = self.sink.sink.take_undelivered();
        let mut ledger = self.ledger().lock();
        ledger.coverage.count("withdrawn records", taken.len());
        ledger.note_all_returned(&taken);
        drop(ledger);
        self.sink.inspect();
    }

    /// Polls the sink once. The waker of this poll becomes stale.
    async fn poll_once(&mut self) {
        let flushes = self.rng.bool();
        let polled = poll_fn(|cx| {
            let sink = Pin::new(&mut self.sink);
            if flushes { sink.poll_flush(cx) } else { sink.poll_ready(cx) }
        });
        let polled = polled.now_or_never();
        self.handle(polled.ok_or(()));
    }

    async fn leave_unpolled(&mut self) {
        if let Some(record) = self.record() {
            let _ = self.sink.start_send_unpin(record);
        }
        self.poll_once().await;
        self.ledger().lock().coverage.count("an unpolled sink", 1);
        sleep(ms(self.rng.u64(1_000..=15_000))).await;
    }

    fn drop_receipts(&mut self) {
        let created = self.ledger().lock().created();
        for _ in 0..self.rng.u8(..5) {
            let number = self.rng.u64(..=created);
            self.ledger().lock().drop_receipt(number);
        }
    }

    pub async fn end(mut self, end: OwnerEnd, stream: &SimStream) -> Result<(), String> {
        use OwnerEnd::{Close, CloseThroughBuffer, Flush};
        if self.scenario.checks_progress() {
            self.deliver_all_but_poison().await?;
            stream.set_faults(Faults::default());
        }
        if matches!(end, Close | CloseThroughBuffer | Flush) {
            self.send_more().await?;
        }
        match end {
            OwnerEnd::CloseThroughBuffer => {
                self.close_through_buffer().await?;
                self.check_closed().await?;
            }
            OwnerEnd::Close => {
                self.settle(|sink, cx| Pin::new(sink).poll_close(cx)).await?;
                self.check_closed().await?;
            }
            OwnerEnd::Flush => self.settle(|sink, cx| Pin::new(sink).poll_flush(cx)).await?,
            OwnerEnd::Withdraw => self.take_undelivered(),
            OwnerEnd::Drop => {}
        }
        let totals = *self.sink.sink.totals();
        let status = self.sink.sink.status();
        let left = status.queued.records + status.in_flight.records;
        if totals.accepted != totals.delivered + totals.failed + totals.withdrawn + left as u64 {
            return Err(format!("the totals do not add up: {totals:?}, {left} unsettled"));
        }
        let ledger = self.ledger().clone();
        if end == OwnerEnd::Drop {
            ledger.lock().is_dropped = true;
            ledger.lock().coverage.count("a sink dropped with records", left);
        }
        drop(self);
        ledger.lock().settle_all_except(&Default::default());
        Ok(())
    }

    /// Flushes until all records are delivered, except poison records and, with ordering, the records behind them.
    async fn deliver_all_but_poison(&mut self) -> Result<(), String> {
        let until = Instant::now() + SETTLE_TIME;
        loop {
            let flushed = timeout(ms(100), self.sink.flush()).await;
            self.handle(flushed.map_err(drop));
            self.take_failed();
            let left = self.ledger().lock().outstanding();
            let is_poison = |number: &u64| self.scenario.records.is_poison(*number);
            let poison = left.iter().filter(|number| is_poison(number)).count();
            let is_behind_poison = |number: &u64| {
                let key = self.ordering_key(*number);
                let mut before = left.iter().take_while(|other| *other < number);
                key.is_some()
                    && before.any(|other| is_poison(other) && self.ordering_key(*other) == key)
            };
            let delayed =
                left.iter().find(|number| !is_poison(number) && !is_behind_poison(number));
            let Some(number) = delayed else {
                self.ledger().lock().coverage.count("progress beside a poison record", poison);
                return Ok(());
            };
            if Instant::now() > until {
                let count = left.len();
                return Err(format!(
                    "{number} is not delivered, {count} are left, {poison} of them poison"
                ));
            }
        }
    }

    fn ordering_key(&self, number: u64) -> Option<Key> {
        match self.scenario.records.record(number).partition_key() {
            PartitionKey::Explicit(key)
                if self.scenario.settings.ordering == RecordOrdering::PerKey =>
            {
                Some(key.clone())
            }
            _ => None,
        }
    }

    /// Checks that the sink accepts records after the last fault.
    async fn send_more(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.settle(|sink, cx| Pin::new(sink).poll_ready(cx)).await?;
            let number = self.ledger().lock().next_number();
            let record = self.scenario.records.record(number);
            self.sink
                .start_send_unpin(record)
                .map_err(|error| format!("ready but failed: {error}"))?;
        }
        Ok(())
    }

    async fn close_through_buffer(&mut self) -> Result<(), String> {
        let ledger = self.ledger().clone();
        let count = self.rng.usize(1..=20);
        let numbers: Vec<_> = (0..count).map(|_| ledger.lock().next_number()).collect();
        let records = numbers.into_iter().map(|number| self.scenario.records.record(number));
        let records: Vec<_> = records.collect();
        let accepted = ledger.lock().accepted_count + count as u64;
        ledger.lock().coverage.count("a close through a buffer", 1);
        let mut buffered = SinkExt::buffer(&mut self.sink, count);
        for record in records {
            Pin::new(&mut buffered).start_send(record).map_err(|error| error.to_string())?;
        }
        let until = Instant::now() + SETTLE_TIME;
        while Instant::now() < until {
            match timeout(SETTLE_TIME, buffered.close()).await {
                Ok(Ok(())) => {
                    self.take_failed();
                    return if ledger.lock().accepted_count == accepted {
                        Ok(())
                    } else {
                        Err("closed but the sink did not accept the buffered records".into())
                    };
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => {
                    let failed = buffered.get_mut().sink.take_failed();
                    ledger.lock().note_all_returned(&failed);
                    buffered.get_mut().inspect();
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Refused => sleep(ms(10)).await,
                Ok(Err(error)) => return Err(format!("close through a buffer failed: {error}")),
                Err(_) => break,
            }
        }
        Err(format!("not closed in time: {:?}", buffered.get_ref().sink))
    }

    async fn settle<F>(&mut self, poll: F) -> Result<(), String>
    where
        F: Fn(
            &mut ObservedSink<KinesisSink<Boxed>>,
            &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Error>>,
    {
        let until = Instant::now() + SETTLE_TIME;
        while Instant::now() < until {
            match timeout(SETTLE_TIME, poll_fn(|cx| poll(&mut self.sink, cx))).await {
                Ok(Ok(())) => {
                    // Takes the records that failed during the last poll.
                    self.take_failed();
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Undelivered => self.take_failed(),
                Ok(Err(error)) if error.kind() == ErrorKind::Refused => {
                    self.note_fatal(&error);
                    sleep(ms(10)).await;
                }
                Ok(Err(error)) => return Err(format!("sink failed at the end: {error}")),
                Err(_) => break,
            }
        }
        Err(format!("not settled in time: {:?}", self.sink.sink))
    }

    async fn check_closed(&mut self) -> Result<(), String> {
        let ready = poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await;
        if !ready.is_err_and(|error| error.kind() == ErrorKind::Closed) {
            return Err("closed but ready".to_owned());
        }
        let number = self.ledger().lock().next_number();
        let record = self.scenario.records.record(number);
        if self.sink.start_send_unpin(record).is_ok() {
            return Err("closed but a record is accepted".to_owned());
        }
        let again = timeout(SETTLE_TIME, self.sink.close()).await;
        again.map_err(|_| "the second close does not complete")?.map_err(|error| error.to_string())
    }
}

/// Returns the error code of the first service error in the source chain.
pub fn code_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a str {
    let mut errors = successors(Some(error), |&error| error.source());
    let code = errors.find_map(|error| error.downcast_ref::<PutRecordsError>()?.code());
    code.unwrap_or_default()
}
