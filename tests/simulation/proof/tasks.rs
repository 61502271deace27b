//! Tasks that share a producer, and how it ends.

use std::sync::Arc;

use fastrand::Rng;
use futures::future::join_all;
use kinesis_sink::{Error, KinesisSink, Producer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::drawn::{Drawn, TasksEnd};
use super::ledger::Shared;
use super::observed::Observed;
use super::run::SETTLES_IN;
use super::stack::Boxed;
use super::worker::Worker;

/// Has so many tasks at work on a producer of the sink, until it ends in the way that was drawn.
///
/// # Errors
///
/// It does not end as it should.
pub async fn work(
    sink: KinesisSink<Boxed>,
    drawn: &Arc<Drawn>,
    ledger: &Shared,
    count: u64,
    end: TasksEnd,
) -> Result<(), String> {
    let (producer, driver) = sink.into_producer();
    let driver = tokio::spawn(driver);
    let mut rng = Rng::with_seed(!drawn.seed);
    let (begin, time) = (Instant::now(), drawn.time);
    let worker = |_| Worker {
        sink: Observed::new(producer.sink(), drawn, ledger),
        producer: producer.clone(),
        drawn: drawn.clone(),
        rng: rng.fork(),
        left: drawn.offered.div_ceil(count),
        ended: false,
    };
    let workers: Vec<_> = (0..count).map(worker).collect();
    let workers = workers.into_iter().map(|worker| tokio::spawn(worker.work(begin + time)));
    let workers: Vec<_> = workers.collect();
    // It ends under their hands, or when they are done.
    let early = end == TasksEnd::AbortDriver || rng.bool();
    sleep_until(begin + if early { time.mul_f64(rng.f64()) } else { time }).await;
    let closed = close(&producer, &driver, end).await?;
    for worker in join_all(workers).await {
        worker.map_err(|error| format!("a task ended: {error}"))?;
    }
    match closed {
        Some(closed) => {
            if let Err(error) = &closed
                && error.count() < error.undelivered().len()
            {
                return Err(format!("{error}, and more are handed back"));
            }
            let left = closed.err().map(Error::into_undelivered).unwrap_or_default();
            ledger.lock().take(&left);
            let failed = producer.take_failed().await;
            ledger.lock().take(&failed);
            check_totals(&producer, ledger)?;
        }
        // What failed and was kept is gone with the last clone.
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

/// Every record that was accepted is in one of the sums.
fn check_totals(producer: &Producer, ledger: &Shared) -> Result<(), String> {
    let (totals, accepted) = (producer.status().totals, ledger.lock().count);
    let settled = totals.delivered + totals.failed + totals.withdrawn;
    match (totals.accepted, settled) == (accepted, accepted) {
        true => Ok(()),
        false => Err(format!("of {accepted} accepted: {totals:?}")),
    }
}

/// Closes it, if that is how it ends.
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
    let closed = timeout(SETTLES_IN, close).await;
    closed.map_err(|_| format!("not closed in time: {producer:?}, {:?}", producer.status().totals))
}
