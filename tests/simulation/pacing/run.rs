//! Runs a drawn scenario, and checks what the sink promises.

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
use super::drawn::{Drawn, ms};
use super::events::Plan;
use super::load::{Source, number_of};
use super::watched::Watched;

/// Once nothing goes wrong any more, everything must be settled within this time, and so much more for
/// each record that was offered: of a single key one moves in each round trip.
const SETTLES_IN: Duration = Duration::from_secs(120);
const FOR_EACH_RECORD: Duration = Duration::from_millis(250);

/// After this time nothing is under way any more, late writes included.
const ALL_IS_WRITTEN: Duration = Duration::from_secs(10);

/// What came of it.
pub struct Outcome {
    pub watched: Watched<Timeout<SimService>>,
    /// What was taken back, and what failed for good.
    pub handed_back: Vec<Undelivered>,
    pub failed: usize,
    pub stream: SimStream,
    ranges: Ranges,
    pub written: Vec<Written>,
}

/// # Errors
///
/// The sink did not settle.
pub async fn run(drawn: &Drawn) -> Result<Outcome, String> {
    let stream = drawn.stream();
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(ms(1_000)));
    let service = service.service(stream.service());
    let failed = Arc::new(Mutex::new(Vec::new()));
    let dead_letters = Arc::clone(&failed);
    let put = move |undelivered: Undelivered| dead_letters.lock().unwrap().push(undelivered);
    let builder = drawn.builder(&stream).with_dead_letters(put);
    let sink = builder.build_with(service);
    let mut watched = Watched::new(sink.map_err(|error| error.to_string())?);
    let mut ranges = Ranges::default();
    let mut handed_back = Vec::new();
    let send = async {
        let source = Source::new(drawn.load(), drawn.time);
        let send = source.map(|offered| Ok(drawn.record(offered))).forward(&mut watched);
        match drawn.taken_back_at {
            Some(after) => {
                if let Ok(sent) = timeout(after, send).await {
                    sent.map_err(|error| format!("the sink says: {error}"))?;
                }
                handed_back = watched.sink.take_undelivered();
                Ok(())
            }
            None => match timeout(drawn.time + settles_in(drawn), send).await {
                Ok(sent) => sent.map_err(|error| format!("the sink says: {error}")),
                Err(_) => Err(format!("not settled in time: {:?}", watched.sink)),
            },
        }
    };
    let Drawn { events, faults, time, seed, .. } = drawn;
    let faults_afterwards = Faults::default();
    let plan = Plan { events, faults, faults_afterwards, time: *time, seed: *seed };
    let conduct = plan.conduct(&stream, |stream| ranges.record(stream));
    let (sent, ()) = future::join(send, conduct).await;
    sent?;
    sleep(ALL_IS_WRITTEN).await;
    let written = stream.written();
    let failed: Vec<_> = failed.lock().unwrap().drain(..).collect();
    let count = failed.len();
    handed_back.extend(failed);
    Ok(Outcome { watched, handed_back, failed: count, stream, ranges, written })
}

fn settles_in(drawn: &Drawn) -> Duration {
    let for_each = FOR_EACH_RECORD + drawn.fill.unwrap_or_default();
    SETTLES_IN + for_each.mul_f64(drawn.rate * drawn.time.as_secs_f64())
}

impl Outcome {
    /// # Errors
    ///
    /// A promise was broken: this one.
    pub fn check(&self, drawn: &Drawn) -> Result<(), String> {
        let keeps_order = drawn.ordering == RecordOrdering::PerKey && !drawn.late_writes;
        let account =
            Account::of(&self.written, &self.ranges, keeps_order, |data, _| number_of(data));
        self.check_nothing_lost(&account)?;
        self.check_bounds(drawn)?;
        if self.failed > 0 && drawn.deadline.is_none() && drawn.max_attempts.is_none() {
            return Err(format!("{} records given up without a reason", self.failed));
        }
        if account.out_of_order > 0 {
            return Err(format!("{} records out of order", account.out_of_order));
        }
        // What is given up, or taken back, after an unknown outcome has its last copy where it was.
        let is_last_copy_known = !self.handed_back.iter().any(|one| one.may_have_been_written());
        if account.late_copies > 0 && is_last_copy_known {
            return Err(format!(
                "{} copies after later records of their keys",
                account.late_copies
            ));
        }
        let stats = self.stream.stats();
        // Nobody can say what a shard held that was closed before it was listed: an aggregate in it is sent
        // again.
        let unknown = stats.lost_answers + stats.late_requests + self.totals().misplaced;
        if account.duplicated > 0 && unknown == 0 {
            return Err(format!("{} duplicates without a reason", account.duplicated));
        }
        let unreadable = account.unreadable;
        if unreadable > 0 && drawn.aggregation != Aggregation::PerShard {
            return Err(format!("{unreadable} records in aggregates that consumers throw away"));
        }
        Ok(())
    }

    pub fn totals(&self) -> &Totals {
        self.watched.sink.totals()
    }

    fn check_nothing_lost(&self, account: &Account) -> Result<(), String> {
        let number = |undelivered: &Undelivered| number_of(undelivered.record().data());
        let held: Vec<_> = self.handed_back.iter().map(number).collect();
        let accepted = &self.watched.accepted;
        let lost = account.lost(accepted, &held);
        if !lost.is_empty() {
            return Err(format!("{} of {} records lost: {lost:?}", lost.len(), accepted.len()));
        }
        let known: HashSet<_> = accepted.iter().copied().collect();
        let unknown = (0..).zip(&account.first).filter(|(_, at)| at.is_some());
        if let Some((number, _)) = unknown.into_iter().find(|(number, _)| !known.contains(number)) {
            return Err(format!("the record {number} was written but not accepted"));
        }
        let misled = self.handed_back.iter().find(|undelivered| {
            !undelivered.may_have_been_written() && account.first(number(undelivered)).is_some()
        });
        if let Some(undelivered) = misled {
            return Err(format!("{} was written, it says it is not", number(undelivered)));
        }
        let totals = self.totals();
        let told = totals.delivered + totals.withdrawn + totals.failed;
        if totals.accepted != told || totals.accepted != accepted.len() as u64 {
            return Err(format!("the totals do not add up: {totals:?}"));
        }
        if totals.failed != self.failed as u64 {
            return Err(format!("{} records handed over as failed: {totals:?}", self.failed));
        }
        Ok(())
    }

    fn check_bounds(&self, drawn: &Drawn) -> Result<(), String> {
        let Watched { max_bytes, max_records, .. } = self.watched;
        if max_bytes > drawn.buffer_bytes + drawn.record_bytes {
            return Err(format!("{max_bytes} bytes held, the bound is {}", drawn.buffer_bytes));
        }
        if max_records > drawn.buffer_records {
            return Err(format!(
                "{max_records} records held, the bound is {}",
                drawn.buffer_records
            ));
        }
        Ok(())
    }
}

/// Runs a seed on virtual time and checks it.
///
/// # Errors
///
/// A promise was broken, or something panicked.
pub fn check(seed: u64) -> Result<Outcome, String> {
    check_drawn(&Drawn::new(seed))
}

/// The same of any scenario.
///
/// # Errors
///
/// A promise was broken, or something panicked.
pub fn check_drawn(drawn: &Drawn) -> Result<Outcome, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let checked = async {
        let outcome = run(drawn).await?;
        outcome.check(drawn).map(|()| outcome)
    };
    let checked = std::panic::AssertUnwindSafe(checked).catch_unwind();
    let checked = runtime.block_on(checked).unwrap_or_else(|_| Err("a panic, see above".into()));
    checked.map_err(|error| format!("{error}\n{drawn:#?}"))
}
