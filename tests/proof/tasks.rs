//! Tasks that share a producer, and do with it whatever they may do.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use futures::future::join_all;
use kinesis_sink::{CloseError, KinesisSink, NotAccepted, NotAcceptedReason, Producer, SinkError};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::drawn::{Drawn, TasksEnd, ms, rarely};
use super::ledger::Shared;
use super::observed::Observed;
use super::run::SETTLES_IN;
use super::stack::Boxed;

struct Worker {
    producer: Observed<Producer>,
    drawn: Arc<Drawn>,
    rng: Rng,
    /// Records that it may still make.
    left: u64,
    ended: bool,
}

/// Has so many tasks at work on a producer of the sink, until it ends in the way that was drawn.
pub async fn work(
    sink: KinesisSink<Boxed>,
    drawn: &Arc<Drawn>,
    ledger: &Shared,
    count: u64,
    end: TasksEnd,
) -> Result<(), String> {
    let (producer, driver) = sink.pair();
    let driver = tokio::spawn(driver);
    let mut rng = Rng::with_seed(!drawn.seed);
    let start = Instant::now();
    let workers: Vec<_> = (0..count)
        .map(|_| {
            let worker = Worker {
                producer: Observed::new(producer.clone(), drawn, ledger),
                drawn: drawn.clone(),
                rng: rng.fork(),
                left: drawn.offered.div_ceil(count),
                ended: false,
            };
            tokio::spawn(worker.work(start + drawn.time))
        })
        .collect();
    // It ends under their hands, or when they are done.
    let early = start + drawn.time.mul_f64(rng.f64());
    if rng.bool() && end != TasksEnd::DropAll {
        sleep_until(early).await;
    } else if end != TasksEnd::AbortDriver {
        sleep_until(start + drawn.time).await;
    } else {
        sleep_until(early).await;
    }
    let closed = match end {
        TasksEnd::Close => Some(close(&producer, SETTLES_IN).await?),
        TasksEnd::CloseWithin(deadline) => {
            let closed = timeout(SETTLES_IN, producer.close_within(deadline)).await;
            Some(closed.map_err(|_| "close_within goes on for ever")?)
        }
        TasksEnd::DropAll => None,
        TasksEnd::AbortDriver => {
            driver.abort();
            Some(close(&producer, SETTLES_IN).await?)
        }
    };
    for worker in join_all(workers).await {
        worker.map_err(|error| format!("a task ended: {error}"))?;
    }
    match closed {
        Some(closed) => {
            let left = closed.err().map(CloseError::into_undelivered).unwrap_or_default();
            ledger.lock().take(&left);
            let failed = producer.take_failed().await;
            ledger.lock().take(&failed);
        }
        None => ledger.lock().is_dropped = drawn.may_fail(),
    }
    drop(producer);
    let ended = timeout(SETTLES_IN, driver).await.map_err(|_| "the driver goes on for ever")?;
    if ended.is_err_and(|error| error.is_panic()) {
        return Err("the driver panicked".to_owned());
    }
    ledger.lock().settle_all_but(&Default::default());
    Ok(())
}

async fn close(producer: &Producer, limit: Duration) -> Result<Result<(), CloseError>, String> {
    let closed = timeout(limit, producer.close()).await;
    closed.map_err(|_| format!("not closed in time: {producer:?}, {:?}", producer.totals()))
}

impl Worker {
    async fn work(mut self, end: Instant) {
        while Instant::now() < end && !self.ended {
            match rarely(&mut self.rng, 10) {
                // A clone does as well.
                true => self.producer.sink = self.producer.sink.clone(),
                false => self.act().await,
            }
            sleep(ms(self.rng.u64(1..=20))).await;
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
        let flushed = match self.rng.bool() {
            true => timeout(patience, self.producer.flush()).await,
            false => timeout(patience, self.producer.sink.flush()).await,
        };
        if let Ok(Err(error)) = flushed {
            self.heed_error(&error);
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

    fn heed(&mut self, record: &kinesis_sink::Record, refused: &NotAccepted) {
        self.producer.ledger.lock().refuse(record, refused);
        self.ended |= is_an_end(refused.reason());
    }

    fn heed_error(&mut self, error: &SinkError) {
        match error {
            SinkError::NotAccepted(refused) => self.ended |= is_an_end(refused.reason()),
            SinkError::Stopped { .. } | SinkError::Abandoned | SinkError::Closed => {
                self.ended = true
            }
            SinkError::Request { .. } => {
                self.producer.ledger.lock().seen.note("an error that stops the stream", 1)
            }
            _ => {}
        }
    }
}

fn is_an_end(reason: &NotAcceptedReason) -> bool {
    use NotAcceptedReason::{Abandoned, Closed, Stopped};
    matches!(reason, Abandoned | Closed | Stopped(_))
}
