//! Runs a scenario and checks the guarantees of the sink.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt, future};
use kinesis_sink::sim::{Faults, SimService, SimStream, Written};
use kinesis_sink::status::Totals;
use kinesis_sink::timeout::{Timeout, TimeoutLayer};
use kinesis_sink::{Aggregation, RecordOrdering, Undelivered};
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;

use super::account::{Account, Ranges};
use super::events::Plan;
use super::load::{Source, number_of};
use super::scenario::{Scenario, ms};
use super::watched::Watched;

/// Time limit for settling all records after the last fault, in addition to [`SETTLE_TIME_PER_RECORD`].
const SETTLE_TIME: Duration = Duration::from_secs(120);

/// Additional time limit per offered record, because records of a single key are sent one per round trip.
const SETTLE_TIME_PER_RECORD: Duration = Duration::from_millis(250);

/// Time after which all late writes have arrived.
const LATE_WRITE_TIME: Duration = Duration::from_secs(10);

pub struct Outcome {
    pub watched: Watched<Timeout<SimService>>,
    pub undelivered: Vec<Undelivered>,
    pub failed: usize,
    pub stream: SimStream,
    ranges: Ranges,
    pub written: Vec<Written>,
}

pub async fn run(scenario: &Scenario) -> Result<Outcome, String> {
    let stream = scenario.stream();
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(ms(1_000)));
    let service = service.service(stream.service());
    let failed = Arc::new(Mutex::new(Vec::new()));
    let dead_letters = Arc::clone(&failed);
    let put = move |undelivered: Undelivered| dead_letters.lock().unwrap().push(undelivered);
    let builder = scenario.builder(&stream).with_dead_letters(put);
    let sink = builder.build_with(service);
    let mut watched = Watched::new(sink.map_err(|error| error.to_string())?);
    let mut ranges = Ranges::default();
    let mut undelivered = Vec::new();
    let send = async {
        let source = Source::new(scenario.load(), scenario.time);
        let send = source.map(|offered| Ok(scenario.record(offered))).forward(&mut watched);
        match scenario.withdrawn_at {
            Some(after) => {
                if let Ok(sent) = timeout(after, send).await {
                    sent.map_err(|error| format!("sink failed: {error}"))?;
                }
                undelivered = watched.sink.take_undelivered();
                Ok(())
            }
            None => match timeout(scenario.time + settle_time(scenario), send).await {
                Ok(sent) => sent.map_err(|error| format!("sink failed: {error}")),
                Err(_) => Err(format!("not settled in time: {:?}", watched.sink)),
            },
        }
    };
    let Scenario { events, faults, time, seed, .. } = scenario;
    let faults_afterwards = Faults::default();
    let plan = Plan { events, faults, faults_afterwards, time: *time, seed: *seed };
    let conduct = plan.run(&stream, |stream| ranges.record(stream));
    let (sent, ()) = future::join(send, conduct).await;
    sent?;
    sleep(LATE_WRITE_TIME).await;
    let written = stream.written();
    let failed: Vec<_> = failed.lock().unwrap().drain(..).collect();
    let count = failed.len();
    undelivered.extend(failed);
    Ok(Outcome { watched, undelivered, failed: count, stream, ranges, written })
}

fn settle_time(scenario: &Scenario) -> Duration {
    let per_record = SETTLE_TIME_PER_RECORD + scenario.linger.unwrap_or_default();
    SETTLE_TIME + per_record.mul_f64(scenario.rate * scenario.time.as_secs_f64())
}

impl Outcome {
    pub fn check(&self, scenario: &Scenario) -> Result<(), String> {
        let keeps_order = scenario.ordering == RecordOrdering::PerKey && !scenario.late_writes;
        let account =
            Account::of(&self.written, &self.ranges, keeps_order, |data, _| number_of(data));
        self.check_nothing_lost(&account)?;
        self.check_bounds(scenario)?;
        if self.failed > 0 && scenario.deadline.is_none() && scenario.max_attempts.is_none() {
            return Err(format!("{} records failed without a reason", self.failed));
        }
        if account.out_of_order > 0 {
            return Err(format!("{} records out of order", account.out_of_order));
        }
        // A late copy of an earlier record is allowed if a later record of its key was returned after an attempt with
        // an unknown outcome, because the sink does not write the returned record again.
        let is_last_copy_known = !self.undelivered.iter().any(|one| one.may_have_been_written());
        if account.late_copies > 0 && is_last_copy_known {
            return Err(format!(
                "{} copies after later records of their keys",
                account.late_copies
            ));
        }
        let stats = self.stream.stats();
        // The sink sends an aggregate again if its shard was closed before the sink listed it.
        let unknown_outcomes = stats.lost_answers + stats.late_requests + self.totals().misplaced;
        if account.duplicated > 0 && unknown_outcomes == 0 {
            return Err(format!("{} duplicates without a reason", account.duplicated));
        }
        let unreadable = account.unreadable;
        if unreadable > 0 && scenario.aggregation != Aggregation::PerShard {
            return Err(format!("{unreadable} records in aggregates that consumers discard"));
        }
        Ok(())
    }

    pub fn totals(&self) -> &Totals {
        self.watched.sink.totals()
    }

    fn check_nothing_lost(&self, account: &Account) -> Result<(), String> {
        let number = |undelivered: &Undelivered| number_of(undelivered.record().data());
        let undelivered: Vec<_> = self.undelivered.iter().map(number).collect();
        let accepted = &self.watched.accepted;
        let lost = account.lost(accepted, &undelivered);
        if !lost.is_empty() {
            return Err(format!("{} of {} records lost: {lost:?}", lost.len(), accepted.len()));
        }
        let known: HashSet<_> = accepted.iter().copied().collect();
        let unknown = (0..).zip(&account.first).filter(|(_, at)| at.is_some());
        if let Some((number, _)) = unknown.into_iter().find(|(number, _)| !known.contains(number)) {
            return Err(format!("record {number} was written but not accepted"));
        }
        let misreported = self.undelivered.iter().find(|undelivered| {
            !undelivered.may_have_been_written() && account.first(number(undelivered)).is_some()
        });
        if let Some(undelivered) = misreported {
            return Err(format!(
                "record {} was written but is reported as not written",
                number(undelivered)
            ));
        }
        let totals = self.totals();
        let settled = totals.delivered + totals.withdrawn + totals.failed;
        if totals.accepted != settled || totals.accepted != accepted.len() as u64 {
            return Err(format!("the totals do not add up: {totals:?}"));
        }
        if totals.failed != self.failed as u64 {
            return Err(format!("{} dead letters: {totals:?}", self.failed));
        }
        Ok(())
    }

    fn check_bounds(&self, scenario: &Scenario) -> Result<(), String> {
        let Watched { max_bytes, max_records, .. } = self.watched;
        if max_bytes > scenario.buffer_bytes + scenario.record_bytes {
            return Err(format!(
                "{max_bytes} bytes buffered, the bound is {}",
                scenario.buffer_bytes
            ));
        }
        if max_records > scenario.buffer_records {
            return Err(format!(
                "{max_records} records buffered, the bound is {}",
                scenario.buffer_records
            ));
        }
        Ok(())
    }
}

pub fn check(seed: u64) -> Result<Outcome, String> {
    check_scenario(&Scenario::new(seed))
}

pub fn check_scenario(scenario: &Scenario) -> Result<Outcome, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("the runtime is valid");
    let checked = async {
        let outcome = run(scenario).await?;
        outcome.check(scenario).map(|()| outcome)
    };
    let checked = std::panic::AssertUnwindSafe(checked).catch_unwind();
    let checked = runtime.block_on(checked).unwrap_or_else(|_| Err("panicked, see above".into()));
    checked.map_err(|error| format!("{error}\n{scenario:#?}"))
}
