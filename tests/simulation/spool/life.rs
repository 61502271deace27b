//! Runs the processes of a scenario, one after the other.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::spool::{Spool, SpoolMode};
use kinesis_sink::{Error, ErrorKind, Producer, Receipt, Undelivered};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::{Coverage, SharedLedger, record};
use super::scenario::{End, Scenario};
use super::service::FaultyService;
use crate::support::small_disk::TempDir;

/// Time after which a close, a flush or a drain counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Numbers for one task in one life, so that numbers increase over all lives.
const NUMBERS_PER_TASK: u64 = 1_000;
const NUMBERS_PER_LIFE: u64 = 10_000;

pub fn check(seed: u64) -> Result<Coverage, String> {
    let mut rng = Rng::with_seed(seed);
    let scenario = Scenario::draw(&mut rng);
    let directory = TempDir::new(&format!("spool-model-{seed}"));
    let ledger = SharedLedger::default();
    for life in 0..scenario.lives {
        let is_last = life + 1 == scenario.lives;
        let end = if is_last { End::Close } else { scenario.draw_end(&mut rng) };
        let seed = rng.u64(..);
        let run = Life { scenario: &scenario, directory: directory.path(), ledger: &ledger, life };
        runtime(scenario.is_multi_threaded)
            .block_on(run.run(seed, end))
            .map_err(|error| format!("life {life} with {end:?}: {error}\n{scenario:?}"))?;
        ledger.with(|ledger| ledger.ended(end));
    }
    ledger.with(|ledger| {
        ledger.check(&scenario)?;
        Ok(ledger.coverage.clone())
    })
}

fn runtime(is_multi_threaded: bool) -> Runtime {
    let mut builder =
        if is_multi_threaded { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.worker_threads(2).enable_all().build().expect("threads can be spawned")
}

struct Life<'a> {
    scenario: &'a Scenario,
    directory: &'a Path,
    ledger: &'a SharedLedger,
    life: u32,
}

impl Life<'_> {
    async fn run(&self, seed: u64, end: End) -> Result<(), String> {
        let Self { scenario, ledger, .. } = *self;
        let mut rng = Rng::with_seed(seed);
        let service = FaultyService::new(ledger.clone(), self.life, rng.u64(..), scenario.fault);
        let expected = self.pending().await?;
        let mut builder = scenario.builder(self.directory, rng.u64(..));
        if scenario.has_dead_letters {
            let ledger = ledger.clone();
            builder = builder.with_dead_letters(move |undelivered: Undelivered| {
                ledger.with(|ledger| ledger.failed(&undelivered));
            });
        }
        let sink = builder.build_with(service.clone()).map_err(|error| error.to_string())?;
        let (producer, driver) = sink.into_producer();
        let driver = tokio::spawn(driver);
        if producer.recovered() != expected {
            let recovered = producer.recovered();
            return Err(format!("{expected} records in the spool, {recovered} recovered"));
        }
        ledger.with(|ledger| ledger.coverage.recovered += expected);

        let receipts = Receipts::default();
        let mut tasks = JoinSet::new();
        for task in 0..scenario.tasks {
            let task = Task {
                scenario: scenario.clone(),
                ledger: ledger.clone(),
                producer: producer.clone(),
                rng: rng.fork(),
                next: u64::from(self.life) * NUMBERS_PER_LIFE + task * NUMBERS_PER_TASK,
                key: scenario.is_ordered.then(|| format!("task {task}")),
                receipts: receipts.clone(),
            };
            tasks.spawn(task.run());
        }
        self.disturb(&service, &producer, &mut rng).await?;
        match end {
            End::Close => {
                service.recover();
                // Most of the time, the tasks end first; else they see that the producer is closed.
                if rng.u32(..4) > 0 {
                    tokio::select! {
                        joined = within("the tasks", join(&mut tasks)) => joined??,
                        () = self.take_failed(&producer) => {}
                    }
                }
                let closed = within("close", producer.close()).await?;
                self.take(closed)?;
            }
            End::CloseNow | End::CloseWithin(_) => {
                let deadline =
                    if let End::CloseWithin(deadline) = end { deadline } else { Duration::ZERO };
                let closed = within("close_within", producer.close_within(deadline)).await?;
                self.take(closed)?;
            }
            End::AbortDriver => driver.abort(),
            End::Drop => {
                tasks.abort_all();
                while tasks.join_next().await.is_some() {}
                driver.abort();
            }
        }
        let joined = within("the tasks after the end", join(&mut tasks)).await?;
        if end != End::Drop {
            joined?;
        }
        drop(producer);
        let _ = within("the driver", driver).await?;
        let left = self.pending().await?;
        let incomplete = receipts.settle(ledger);
        if incomplete > 0 {
            return Err(format!("{incomplete} receipts did not complete"));
        }
        if end == End::Close && left > 0 {
            return Err(format!("{left} records are left after close"));
        }
        Ok(())
    }

    /// Lets time pass, with outages, and checks the bounds.
    async fn disturb(
        &self,
        service: &FaultyService,
        producer: &Producer,
        rng: &mut Rng,
    ) -> Result<(), String> {
        for _ in 0..rng.u32(1..6) {
            service.set_outage(rng.bool());
            sleep(Duration::from_millis(rng.u64(..60))).await;
            let status = producer.status().spool.ok_or("the status has no spool")?;
            let max_bytes = self.scenario.max_bytes;
            if status.disk_bytes > max_bytes {
                return Err(format!("{} of {max_bytes} bytes on disk", status.disk_bytes));
            }
            if status.damaged_frames > 0 || status.last_error.is_some() {
                return Err(format!("the spool reports an error: {status:?}"));
            }
            self.ledger.with(|ledger| {
                let is_overflow = self.scenario.mode == SpoolMode::Overflow;
                ledger.coverage.overflowed += u64::from(is_overflow && status.records > 0);
                ledger.coverage.waited_for_space += u64::from(status.is_full);
            });
        }
        Ok(())
    }

    /// Takes failed records all the time, because they would keep the space of a full spool. Never completes.
    async fn take_failed(&self, producer: &Producer) {
        loop {
            let failed = producer.take_failed().await;
            self.ledger.with(|ledger| failed.iter().for_each(|one| ledger.failed(one)));
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Notes the undelivered records that a close returned.
    fn take(&self, closed: Result<(), Error>) -> Result<(), String> {
        let Err(error) = closed else { return Ok(()) };
        if error.kind() != ErrorKind::Undelivered {
            return Err(format!("close: {error}"));
        }
        self.ledger.with(|ledger| {
            for undelivered in error.into_undelivered() {
                ledger.failed(&undelivered);
            }
        });
        Ok(())
    }

    /// Returns the number of records in the spool once its owner has released it.
    async fn pending(&self) -> Result<u64, String> {
        let lock = self.directory.join("lock");
        if !lock.exists() {
            return Ok(0);
        }
        let lock = File::open(lock).map_err(|error| error.to_string())?;
        // The thread of a spool can end after its producer.
        within("the thread of the spool", async {
            while lock.try_lock().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await?;
        drop(lock);
        let info = Spool::at(self.directory).inspect().map_err(|error| error.to_string())?;
        if !info.damage.is_empty() {
            return Err(format!("damaged: {:?}", info.damage));
        }
        Ok(info.records)
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    timeout(STUCK_AFTER, future).await.map_err(|_| format!("{what} is stuck"))
}

async fn join(tasks: &mut JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// A task that makes random calls.
struct Task {
    scenario: Scenario,
    ledger: SharedLedger,
    producer: Producer,
    rng: Rng,
    next: u64,
    key: Option<String>,
    receipts: Receipts,
}

/// Receipts of all tasks, which outlive tasks that are aborted.
#[derive(Clone, Default)]
struct Receipts(Arc<Mutex<Vec<(u64, Receipt)>>>);

impl Receipts {
    fn push(&self, number: u64, receipt: Receipt) {
        self.0.lock().unwrap().push((number, receipt));
    }

    /// Notes the outcomes of completed receipts. Returns the number of receipts that are not complete.
    fn settle(&self, ledger: &SharedLedger) -> usize {
        let mut receipts = self.0.lock().unwrap();
        receipts.retain_mut(|(number, receipt)| {
            let Some(outcome) = receipt.try_outcome() else { return true };
            ledger.with(|ledger| match outcome {
                Ok(_) => ledger.receipt_delivered(*number),
                Err(undelivered) => ledger.failed(&undelivered),
            });
            false
        });
        receipts.len()
    }
}

impl Task {
    async fn run(mut self) -> Result<(), String> {
        for _ in 0..self.scenario.calls {
            let result = match self.rng.u32(..40) {
                0..=13 => self.send().await,
                14..=25 => self.put().await,
                26..=28 => self.try_put(),
                29..=31 => self.feed().await,
                32 => self.cancel().await,
                33 => {
                    let patience = Duration::from_millis(self.rng.u64(..20));
                    match timeout(patience, self.producer.flush()).await {
                        Ok(Err(error)) => self.expect(error),
                        Ok(Ok(())) | Err(_) => Ok(true),
                    }
                }
                34 => {
                    // Otherwise, only `close` returns the records.
                    let patience = Duration::from_millis(50);
                    if let Ok(failed) = timeout(patience, self.producer.take_failed()).await {
                        self.ledger.with(|ledger| failed.iter().for_each(|one| ledger.failed(one)));
                    }
                    Ok(true)
                }
                35..=37 => {
                    self.receipts.settle(&self.ledger);
                    Ok(true)
                }
                _ => {
                    sleep(Duration::from_micros(self.rng.u64(..3_000))).await;
                    Ok(true)
                }
            };
            if !result? {
                break;
            }
        }
        Ok(())
    }

    fn next_record(&mut self) -> (u64, kinesis_sink::Record) {
        let number = self.next;
        self.next += 1;
        let payload = self.rng.usize(..=self.scenario.max_payload);
        let record = record(number, payload, self.key.clone());
        self.ledger.with(|ledger| ledger.begin(number, self.key.clone()));
        (number, record)
    }

    async fn send(&mut self) -> Result<bool, String> {
        let (number, record) = self.next_record();
        let sent = self.producer.send(record).await;
        self.finish(number, sent)
    }

    async fn put(&mut self) -> Result<bool, String> {
        let (number, record) = self.next_record();
        let put = self.producer.put(record).await;
        let put = self.keep(number, put);
        self.finish(number, put)
    }

    fn try_put(&mut self) -> Result<bool, String> {
        let (number, record) = self.next_record();
        let put = self.producer.try_put(record);
        let put = self.keep(number, put);
        self.finish_staged(number, put)
    }

    async fn feed(&mut self) -> Result<bool, String> {
        let (number, record) = self.next_record();
        let mut sink = self.producer.sink();
        let fed = sink.feed(record).await;
        // An error of `poll_ready` drops the record, which is then not sent.
        if let Err(error) = fed {
            self.ledger.with(|ledger| ledger.returned(number));
            return self.expect(error);
        }
        self.finish_staged(number, Ok(()))
    }

    /// Drops the future of a call.
    async fn cancel(&mut self) -> Result<bool, String> {
        let (number, record) = self.next_record();
        let patience = Duration::from_micros(self.rng.u64(..500));
        match timeout(patience, self.producer.send(record)).await {
            Ok(sent) => self.finish(number, sent),
            Err(_) => Ok(true),
        }
    }

    fn keep(&mut self, number: u64, put: Result<Receipt, Error>) -> Result<(), Error> {
        let receipt = put?;
        // Without a receipt, a failed record goes to the dead-letter handler, or to `take_failed`. A receipt that is
        // dropped before the record fails has the same effect.
        if self.rng.u32(..4) > 0 {
            self.receipts.push(number, receipt);
        } else {
            self.ledger.with(|ledger| ledger.receipt_dropped(number));
        }
        Ok(())
    }

    fn finish_staged(&mut self, number: u64, sent: Result<(), Error>) -> Result<bool, String> {
        let is_ok = sent.is_ok();
        let result = self.finish(number, sent);
        if is_ok {
            self.ledger.with(|ledger| ledger.staged(number));
        }
        result
    }

    fn finish(&mut self, number: u64, sent: Result<(), Error>) -> Result<bool, String> {
        let Err(error) = sent else {
            self.ledger.with(|ledger| ledger.accepted(number));
            return Ok(true);
        };
        if error.record().is_some() {
            self.ledger.with(|ledger| ledger.returned(number));
        }
        self.expect(error)
    }

    /// Returns `false` if the producer accepts no more records, and an error if the error is unexpected.
    fn expect(&self, error: Error) -> Result<bool, String> {
        match error.kind() {
            ErrorKind::SpoolFull => {
                self.ledger.with(|ledger| ledger.coverage.refused += 1);
                Ok(true)
            }
            ErrorKind::Full | ErrorKind::Undelivered => Ok(true),
            ErrorKind::Closed | ErrorKind::Abandoned => Ok(false),
            kind => Err(format!("{kind:?}: {error}")),
        }
    }
}
