//! A task that makes random calls on a producer shared with other tasks.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::{FutureExt, SinkExt};
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::{Error, ErrorKind, Producer, Record};
use tokio::time::{Instant, sleep, timeout};

use super::observed_sink::ObservedSink;
use super::owner::code_of;
use super::run::SETTLE_TIME;
use super::scenario::{Scenario, ms, rarely};

pub struct Worker {
    pub producer: Producer,
    pub sink: ObservedSink<ProducerSink>,
    pub scenario: Arc<Scenario>,
    pub rng: Rng,
    pub remaining: u64,
    pub producer_ended: bool,
}

impl Worker {
    /// Makes random calls until the time `end` or until the producer has ended.
    pub async fn run(mut self, end: Instant) {
        while Instant::now() < end && !self.producer_ended {
            if rarely(&mut self.rng, 10) {
                self.producer = self.producer.clone();
                self.sink.sink = self.sink.sink.clone();
            } else {
                self.act().await;
            }
            sleep(ms(self.rng.u64(1..=20))).await;
        }
        if timeout(SETTLE_TIME, self.producer.flush()).await.is_err() {
            self.sink.ledger.lock().violation(|| "a flush does not complete".to_owned());
        }
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..25 => self.send_burst().await,
            25..45 => self.put_burst().await,
            45..55 => self.try_burst(),
            55..65 => self.feed().await,
            65..72 => self.flush().await,
            72..84 => sleep(self.scenario.idle.mul_f64(self.rng.f64())).await,
            84..88 => self.send_invalid().await,
            88..92 => self.take_failed().await,
            92..96 => self.drop_receipts(),
            _ => drop(format!("{:?} {:?}", self.producer, self.producer.status())),
        }
    }

    fn numbers(&mut self) -> Vec<u64> {
        let count = self.rng.u64(1..=self.scenario.burst_records).min(self.remaining);
        self.remaining -= count;
        let mut ledger = self.sink.ledger.lock();
        (0..count).map(|_| ledger.next_number()).collect()
    }

    fn timeout(&mut self) -> Duration {
        let max = if rarely(&mut self.rng, 4) { 10_000 } else { 200 };
        ms(self.rng.u64(0..=max))
    }

    async fn send_burst(&mut self) {
        for number in self.numbers() {
            let limit = self.timeout();
            let copy = self.scenario.records.record(number);
            let (record, receipt) = self.scenario.records.tracked(number, copy.clone());
            match timeout(limit, self.producer.send(record)).await {
                Ok(Ok(())) => self.sink.accept(number, copy.size(), receipt),
                Ok(Err(refused)) => return self.note_refused(&copy, &refused),
                Err(_) => {
                    return self.sink.ledger.lock().coverage.count("a dropped future", 1);
                }
            }
        }
    }

    async fn put_burst(&mut self) {
        for number in self.numbers() {
            let limit = self.timeout();
            let copy = self.scenario.records.record(number);
            match timeout(limit, self.producer.put(copy.clone())).await {
                Ok(Ok(receipt)) => self.sink.accept(number, copy.size(), Some(receipt)),
                Ok(Err(refused)) => return self.note_refused(&copy, &refused),
                Err(_) => {
                    return self.sink.ledger.lock().coverage.count("a dropped future", 1);
                }
            }
        }
    }

    fn try_burst(&mut self) {
        for number in self.numbers() {
            let copy = self.scenario.records.record(number);
            let sent = if self.rng.bool() {
                self.producer.try_put(copy.clone()).map(Some)
            } else {
                self.producer.try_send(copy.clone()).map(|()| None)
            };
            match sent {
                Ok(receipt) => self.sink.accept(number, copy.size(), receipt),
                Err(refused) => return self.note_refused(&copy, &refused),
            }
        }
    }

    async fn feed(&mut self) {
        for number in self.numbers() {
            let limit = self.timeout();
            let record = self.scenario.records.record(number);
            match timeout(limit, self.sink.feed(record)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.note_error(&error),
                Err(_) => {
                    return self.sink.ledger.lock().coverage.count("a dropped future", 1);
                }
            }
        }
    }

    async fn flush(&mut self) {
        let limit = self.timeout();
        let through_sink = self.rng.bool();
        let outstanding = self.sink.ledger.lock().outstanding();
        let flushed = if through_sink {
            timeout(limit, self.sink.flush()).await
        } else {
            timeout(limit, self.producer.flush()).await
        };
        match flushed {
            Ok(Ok(())) if !through_sink => self.sink.check_flushed(&outstanding),
            Ok(Err(error)) => self.note_error(&error),
            // A flush of the sink can return the result of an earlier flush, which did not cover these records.
            _ => {}
        }
    }

    async fn send_invalid(&mut self) {
        let number = self.sink.ledger.lock().next_number();
        let record = self.scenario.records.invalid(number, &mut self.rng);
        let limit = self.timeout();
        match timeout(limit, self.producer.send(record.clone())).await {
            Ok(Ok(())) => {
                let mut ledger = self.sink.ledger.lock();
                ledger.violation(|| "an invalid record is accepted".to_owned());
            }
            Ok(Err(refused)) => self.note_refused(&record, &refused),
            Err(_) => {}
        }
    }

    async fn take_failed(&mut self) {
        let limit = self.timeout();
        if self.rng.bool() {
            // Drops the call after the driver has collected the failed records, but before the call returns them.
            let mut taking = Box::pin(self.producer.take_failed());
            if let Some(failed) = (&mut taking).now_or_never() {
                self.sink.ledger.lock().note_all_returned(&failed);
            }
            return sleep(ms(5)).await;
        }
        // If the call is dropped before it completes, no records are taken.
        if let Ok(failed) = timeout(limit, self.producer.take_failed()).await {
            let mut ledger = self.sink.ledger.lock();
            ledger.coverage.count("taken failed records", failed.len());
            ledger.note_all_returned(&failed);
        }
    }

    fn drop_receipts(&mut self) {
        let mut ledger = self.sink.ledger.lock();
        let created = ledger.created();
        for _ in 0..self.rng.u8(..5) {
            ledger.drop_receipt(self.rng.u64(..=created));
        }
    }

    fn note_refused(&mut self, record: &Record, refused: &Error) {
        self.sink.ledger.lock().note_refused(record, refused);
        self.producer_ended |= is_end(refused);
    }

    fn note_error(&mut self, error: &Error) {
        self.producer_ended |= is_end(error);
        // `ObservedSink` has already recorded the error if a record was not accepted.
        if error.kind() == ErrorKind::Refused && error.record().is_none() {
            let mut ledger = self.sink.ledger.lock();
            ledger.coverage.count("a fatal error", 1);
            ledger.check_cause(code_of(error));
        }
    }
}

fn is_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stopped | ErrorKind::Abandoned | ErrorKind::Closed)
}
