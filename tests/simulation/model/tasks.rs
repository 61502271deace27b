//! Runs tasks that share a producer, and shuts the producer down.

use std::sync::Arc;

use fastrand::Rng;
use futures::future::join_all;
use kinesis_sink::{Error, KinesisSink, Producer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::ledger::SharedLedger;
use super::observed_sink::ObservedSink;
use super::run::SETTLE_TIME;
use super::scenario::{Scenario, TasksEnd};
use super::stack::Boxed;
use super::worker::Worker;

pub async fn run(
    sink: KinesisSink<Boxed>,
    scenario: &Arc<Scenario>,
    ledger: &SharedLedger,
    count: u64,
    end: TasksEnd,
) -> Result<(), String> {
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    let mut rng = Rng::with_seed(!scenario.seed);
    let (begin, time) = (Instant::now(), scenario.time);
    let worker = |_| Worker {
        sink: ObservedSink::new(producer.sink(), scenario, ledger),
        producer: producer.clone(),
        scenario: scenario.clone(),
        rng: rng.fork(),
        remaining: scenario.offered.div_ceil(count),
        producer_ended: false,
    };
    let workers: Vec<_> = (0..count).map(worker).collect();
    let workers = workers.into_iter().map(|worker| tokio::spawn(worker.run(begin + time)));
    let workers: Vec<_> = workers.collect();
    // The shutdown starts either while the workers run or after their end.
    let early = end == TasksEnd::AbortDriver || rng.bool();
    sleep_until(begin + if early { time.mul_f64(rng.f64()) } else { time }).await;
    let closed = close(&producer, &driver, end).await?;
    for worker in join_all(workers).await {
        worker.map_err(|error| format!("worker failed: {error}"))?;
    }
    match closed {
        Some(closed) => {
            if let Err(error) = &closed
                && error.count() < error.undelivered().len()
            {
                return Err(format!("{error}, but more are returned"));
            }
            let undelivered = closed.err().map(Error::into_undelivered).unwrap_or_default();
            ledger.lock().note_all_returned(&undelivered);
            let failed = producer.take_failed().await;
            ledger.lock().note_all_returned(&failed);
            check_totals(&producer, ledger)?;
        }
        // Dropping the last clone also drops failed records without a receipt.
        None => ledger.lock().is_dropped = scenario.may_fail(),
    }
    drop(producer);
    let ended = timeout(SETTLE_TIME, driver).await.map_err(|_| "the driver does not end")?;
    if ended.is_err_and(|error| error.is_panic()) {
        return Err("the driver panicked".to_owned());
    }
    ledger.lock().settle_all_except(&Default::default());
    Ok(())
}

fn check_totals(producer: &Producer, ledger: &SharedLedger) -> Result<(), String> {
    let totals = producer.status().totals;
    let accepted = ledger.lock().accepted_count;
    let settled = totals.delivered + totals.failed + totals.withdrawn;
    if (totals.accepted, settled) == (accepted, accepted) {
        Ok(())
    } else {
        Err(format!("{accepted} records accepted: {totals:?}"))
    }
}

async fn close(
    producer: &Producer,
    driver: &JoinHandle<()>,
    end: TasksEnd,
) -> Result<Option<Result<(), Error>>, String> {
    if end == TasksEnd::AbortDriver {
        driver.abort();
    }
    let close = async {
        match end {
            TasksEnd::Close | TasksEnd::AbortDriver => Some(producer.close().await),
            TasksEnd::CloseWithin(deadline) => Some(producer.close_within(deadline).await),
            TasksEnd::DropAll => None,
        }
    };
    let closed = timeout(SETTLE_TIME, close).await;
    closed.map_err(|_| format!("not closed in time: {producer:?}, {:?}", producer.status().totals))
}
