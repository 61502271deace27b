//! A task that shares a producer with others, and does with it whatever it may do.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::{FutureExt, SinkExt};
use kinesis_sink::{Error, ErrorKind, Producer, Record};
use tokio::time::{Instant, sleep, timeout};

use super::drawn::{Drawn, ms, rarely};
use super::observed::Observed;
use super::owner::code_of;
use super::run::SETTLES_IN;

pub struct Worker {
    pub producer: Observed<Producer>,
    pub drawn: Arc<Drawn>,
    pub rng: Rng,
    /// Records that it may still make.
    pub left: u64,
    pub ended: bool,
}

impl Worker {
    /// Does one thing after another until the time is over, or the producer.
    pub async fn work(mut self, end: Instant) {
        while Instant::now() < end && !self.ended {
            match rarely(&mut self.rng, 10) {
                // A clone does as well.
                true => self.producer.sink = self.producer.sink.clone(),
                false => self.act().await,
            }
            sleep(ms(self.rng.u64(1..=20))).await;
        }
        // Nothing goes wrong any more.
        if timeout(SETTLES_IN, self.producer.sink.flush()).await.is_err() {
            self.producer.ledger.lock().broken(|| "a flush goes on for ever".to_owned());
        }
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..25 => self.send_a_burst().await,
            25..45 => self.put_a_burst().await,
            45..55 => self.try_a_burst(),
            55..65 => self.feed().await,
            65..72 => self.flush().await,
            72..84 => sleep(self.drawn.idle.mul_f64(self.rng.f64())).await,
            84..88 => self.offer_the_impossible().await,
            88..92 => self.take_failed().await,
            92..96 => self.drop_receipts(),
            _ => drop(format!("{:?} {:?}", self.producer.sink, self.producer.sink.totals())),
        }
    }

    fn numbers(&mut self) -> Vec<u64> {
        let count = self.rng.u64(1..=self.drawn.burst_records).min(self.left);
        self.left -= count;
        let mut ledger = self.producer.ledger.lock();
        (0..count).map(|_| ledger.next()).collect()
    }

    fn patience(&mut self) -> Duration {
        let most = if rarely(&mut self.rng, 4) { 10_000 } else { 200 };
        ms(self.rng.u64(0..=most))
    }

    async fn send_a_burst(&mut self) {
        for number in self.numbers() {
            let patience = self.patience();
            let copy = self.drawn.records.record(number);
            let (record, receipt) = self.drawn.records.tracked(number, copy.clone());
            match timeout(patience, self.producer.sink.send(record)).await {
                Ok(Ok(())) => self.producer.accept(number, copy.size(), receipt),
                Ok(Err(refused)) => return self.heed(&copy, &refused),
                Err(_) => {
                    return self.producer.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    async fn put_a_burst(&mut self) {
        for number in self.numbers() {
            let patience = self.patience();
            let copy = self.drawn.records.record(number);
            match timeout(patience, self.producer.sink.put(copy.clone())).await {
                Ok(Ok(receipt)) => self.producer.accept(number, copy.size(), Some(receipt)),
                Ok(Err(refused)) => return self.heed(&copy, &refused),
                Err(_) => {
                    return self.producer.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    fn try_a_burst(&mut self) {
        for number in self.numbers() {
            let copy = self.drawn.records.record(number);
            let tried = match self.rng.bool() {
                true => self.producer.sink.try_put(copy.clone()).map(Some),
                false => self.producer.sink.try_send(copy.clone()).map(|()| None),
            };
            match tried {
                Ok(receipt) => self.producer.accept(number, copy.size(), receipt),
                Err(refused) => return self.heed(&copy, &refused),
            }
        }
    }

    async fn feed(&mut self) {
        for number in self.numbers() {
            let patience = self.patience();
            let record = self.drawn.records.record(number);
            match timeout(patience, self.producer.feed(record)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.heed_error(&error),
                Err(_) => {
                    return self.producer.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    async fn flush(&mut self) {
        let patience = self.patience();
        let by_the_sink = self.rng.bool();
        let outstanding = self.producer.ledger.lock().outstanding();
        let flushed = match by_the_sink {
            true => timeout(patience, self.producer.flush()).await,
            false => timeout(patience, self.producer.sink.flush()).await,
        };
        match flushed {
            Ok(Ok(())) if !by_the_sink => self.producer.check_flushed(&outstanding),
            Ok(Err(error)) => self.heed_error(&error),
            // The answer can be to a question that was asked before, about other tasks' records.
            _ => {}
        }
    }

    async fn offer_the_impossible(&mut self) {
        let number = self.producer.ledger.lock().next();
        let record = self.drawn.records.impossible(number, &mut self.rng);
        let patience = self.patience();
        match timeout(patience, self.producer.sink.send(record.clone())).await {
            Ok(Ok(())) => {
                let mut ledger = self.producer.ledger.lock();
                ledger.broken(|| "an impossible record is accepted".to_owned());
            }
            Ok(Err(refused)) => self.heed(&record, &refused),
            Err(_) => {}
        }
    }

    async fn take_failed(&mut self) {
        let patience = self.patience();
        if self.rng.bool() {
            // Dropped after the driver has laid the records out, without taking them.
            let mut taking = Box::pin(self.producer.sink.take_failed());
            if let Some(failed) = (&mut taking).now_or_never() {
                self.producer.ledger.lock().take(&failed);
            }
            return sleep(ms(5)).await;
        }
        // Dropped before it is ready, it has taken nothing.
        if let Ok(failed) = timeout(patience, self.producer.sink.take_failed()).await {
            let mut ledger = self.producer.ledger.lock();
            ledger.seen.note("failed records taken", failed.len());
            ledger.take(&failed);
        }
    }

    fn drop_receipts(&mut self) {
        let mut ledger = self.producer.ledger.lock();
        let made = ledger.made();
        (0..self.rng.u8(..5)).for_each(|_| ledger.drop_receipt(self.rng.u64(..=made)));
    }

    fn heed(&mut self, record: &Record, refused: &NotAccepted) {
        self.producer.ledger.lock().refuse(record, refused);
        self.ended |= is_an_end(refused.reason());
    }

    fn heed_error(&mut self, error: &SinkError) {
        match error {
            SinkError::NotAccepted(refused) => self.ended |= is_an_end(refused.reason()),
            SinkError::Stopped { .. } | SinkError::Abandoned | SinkError::Closed => {
                self.ended = true
            }
            SinkError::Request { source, .. } => {
                let mut ledger = self.producer.ledger.lock();
                ledger.seen.note("an error that stops the stream", 1);
                ledger.check_cause(code_of(&**source));
            }
            _ => {}
        }
    }
}

fn is_an_end(reason: &NotAcceptedReason) -> bool {
    use NotAcceptedReason::{Abandoned, Closed, Stopped};
    matches!(reason, Abandoned | Closed | Stopped(_))
}
