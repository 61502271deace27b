//! A task that shares a producer with others, and does with it whatever it may do.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::{FutureExt, SinkExt};
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::{Error, ErrorKind, Producer, Record};
use tokio::time::{Instant, sleep, timeout};

use super::drawn::{Drawn, ms, rarely};
use super::observed::Observed;
use super::owner::code_of;
use super::run::SETTLES_IN;

pub struct Worker {
    pub producer: Producer,
    pub sink: Observed<ProducerSink>,
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
                true => {
                    self.producer = self.producer.clone();
                    self.sink.sink = self.sink.sink.clone();
                }
                false => self.act().await,
            }
            sleep(ms(self.rng.u64(1..=20))).await;
        }
        // Nothing goes wrong any more.
        if timeout(SETTLES_IN, self.producer.flush()).await.is_err() {
            self.sink.ledger.lock().broken(|| "a flush goes on for ever".to_owned());
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
            _ => drop(format!("{:?} {:?}", self.producer, self.producer.status())),
        }
    }

    fn numbers(&mut self) -> Vec<u64> {
        let count = self.rng.u64(1..=self.drawn.burst_records).min(self.left);
        self.left -= count;
        let mut ledger = self.sink.ledger.lock();
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
            match timeout(patience, self.producer.send(record)).await {
                Ok(Ok(())) => self.sink.accept(number, copy.size(), receipt),
                Ok(Err(refused)) => return self.heed(&copy, &refused),
                Err(_) => {
                    return self.sink.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    async fn put_a_burst(&mut self) {
        for number in self.numbers() {
            let patience = self.patience();
            let copy = self.drawn.records.record(number);
            match timeout(patience, self.producer.put(copy.clone())).await {
                Ok(Ok(receipt)) => self.sink.accept(number, copy.size(), Some(receipt)),
                Ok(Err(refused)) => return self.heed(&copy, &refused),
                Err(_) => {
                    return self.sink.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    fn try_a_burst(&mut self) {
        for number in self.numbers() {
            let copy = self.drawn.records.record(number);
            let tried = match self.rng.bool() {
                true => self.producer.try_put(copy.clone()).map(Some),
                false => self.producer.try_send(copy.clone()).map(|()| None),
            };
            match tried {
                Ok(receipt) => self.sink.accept(number, copy.size(), receipt),
                Err(refused) => return self.heed(&copy, &refused),
            }
        }
    }

    async fn feed(&mut self) {
        for number in self.numbers() {
            let patience = self.patience();
            let record = self.drawn.records.record(number);
            match timeout(patience, self.sink.feed(record)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.heed_error(&error),
                Err(_) => {
                    return self.sink.ledger.lock().seen.note("a future that was dropped", 1);
                }
            }
        }
    }

    async fn flush(&mut self) {
        let patience = self.patience();
        let by_the_sink = self.rng.bool();
        let outstanding = self.sink.ledger.lock().outstanding();
        let flushed = match by_the_sink {
            true => timeout(patience, self.sink.flush()).await,
            false => timeout(patience, self.producer.flush()).await,
        };
        match flushed {
            Ok(Ok(())) if !by_the_sink => self.sink.check_flushed(&outstanding),
            Ok(Err(error)) => self.heed_error(&error),
            // The answer can be to a question that was asked before, about other tasks' records.
            _ => {}
        }
    }

    async fn offer_the_impossible(&mut self) {
        let number = self.sink.ledger.lock().next();
        let record = self.drawn.records.impossible(number, &mut self.rng);
        let patience = self.patience();
        match timeout(patience, self.producer.send(record.clone())).await {
            Ok(Ok(())) => {
                let mut ledger = self.sink.ledger.lock();
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
            let mut taking = Box::pin(self.producer.take_failed());
            if let Some(failed) = (&mut taking).now_or_never() {
                self.sink.ledger.lock().take(&failed);
            }
            return sleep(ms(5)).await;
        }
        // Dropped before it is ready, it has taken nothing.
        if let Ok(failed) = timeout(patience, self.producer.take_failed()).await {
            let mut ledger = self.sink.ledger.lock();
            ledger.seen.note("failed records taken", failed.len());
            ledger.take(&failed);
        }
    }

    fn drop_receipts(&mut self) {
        let mut ledger = self.sink.ledger.lock();
        let made = ledger.made();
        (0..self.rng.u8(..5)).for_each(|_| ledger.drop_receipt(self.rng.u64(..=made)));
    }

    fn heed(&mut self, record: &Record, refused: &Error) {
        self.sink.ledger.lock().refuse(record, refused);
        self.ended |= is_an_end(refused);
    }

    fn heed_error(&mut self, error: &Error) {
        self.ended |= is_an_end(error);
        // A record that was not accepted was noted before.
        if error.kind() == ErrorKind::Refused && error.record().is_none() {
            let mut ledger = self.sink.ledger.lock();
            ledger.seen.note("an error that stops the stream", 1);
            ledger.check_cause(code_of(error));
        }
    }
}

fn is_an_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stopped | ErrorKind::Abandoned | ErrorKind::Closed)
}
