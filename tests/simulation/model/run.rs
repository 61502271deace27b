//! Runs the scenario of one seed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, future};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Aggregation, Undelivered};
use tokio::time::sleep;

use super::coverage::Coverage;
use super::events::{self, Event, Plan};
use super::invariants::check_stream;
use super::ledger::SharedLedger;
use super::lookups::Lookups;
use super::owner::Owner;
use super::records::number_of_record;
use super::scenario::{Caller, DeadLetters, Scenario};
use super::tasks;

/// Time limit for settling all records after the last fault. A slow stream with large records takes minutes.
pub const SETTLE_TIME: Duration = Duration::from_secs(3_600);

/// Time after which all late writes have arrived.
const LATE_WRITE_TIME: Duration = Duration::from_secs(20);

pub struct Outcome {
    pub stream: SimStream,
    pub coverage: Coverage,
}

pub fn check(seed: u64) -> Result<Outcome, String> {
    let scenario = Arc::new(Scenario::new(seed));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("the runtime is valid");
    let checked = AssertUnwindSafe(run(&scenario)).catch_unwind();
    let checked = runtime.block_on(checked).unwrap_or_else(|_| Err("panicked, see above".into()));
    checked.map_err(|error| format!("{error}\n{scenario:#?}"))
}

async fn run(scenario: &Arc<Scenario>) -> Result<Outcome, String> {
    let (stream, ledger) = (scenario.stream(), SharedLedger::default());
    ledger.lock().observes_all_requests = scenario.stack.is_direct();
    ledger.lock().may_resend_delivered = scenario.switches_distribution;
    ledger.lock().verifies_deliveries = scenario.settings.verifies_aggregates();
    ledger
        .lock()
        .coverage
        .count("a switch of the distribution", usize::from(scenario.switches_distribution));
    ledger.lock().max_attempts = scenario.settings.max_attempts;
    let service = scenario.stack.build(scenario, &stream, &ledger);
    let mut builder = scenario.settings.builder(&Lookups::new(&stream, scenario, &ledger));
    if scenario.settings.dead_letters != DeadLetters::None {
        let declines_third = scenario.settings.dead_letters == DeadLetters::DeclinesThird;
        let ledger = ledger.clone();
        builder = builder.with_dead_letter_handler(DeadLetterQueue { ledger, declines_third });
    }
    let sink = builder.build_with(service).map_err(|error| error.to_string())?;
    let Scenario { events, faults, time, seed, .. } = &**scenario;
    let faults_afterwards =
        if scenario.checks_progress() { faults.poison.clone() } else { Faults::default() };
    let faults = &faults.stream;
    let plan = Plan { events, faults, faults_afterwards, time: *time, seed: *seed };
    let apply_events = async {
        let aggregates = scenario.settings.aggregation != Aggregation::Off;
        let mut shards = scenario.shards;
        let note = |stream: &SimStream| {
            let mut ledger = ledger.lock();
            ledger.ranges.record(stream);
            let before = std::mem::replace(&mut shards, stream.shards().len());
            let changed = before != shards;
            ledger.may_resend_delivered |= changed && aggregates;
            ledger.coverage.count("a change of the shards", usize::from(changed));
        };
        plan.run(&stream, note).await;
        stream.set_distribution(scenario.distribution).expect("the stream is on-demand");
        ledger.lock().faults_are_over = true;
        if let Some(duration) = scenario.credentials_outage {
            ledger.lock().coverage.count("a credentials outage", 1);
            stream.set_faults(Faults::default().with_outage("ExpiredTokenException", 400));
            let stream = stream.clone();
            tokio::spawn(async move {
                sleep(duration).await;
                stream.set_faults(Faults::default());
            });
        }
    };
    match scenario.caller {
        Caller::Owner(end) => {
            let work = Owner::new(sink, scenario, &ledger).run();
            let (owner, ()) = future::join(work, apply_events).await;
            owner.end(end, &stream).await?;
        }
        Caller::Tasks { count, end } => {
            let work = tasks::run(sink, scenario, &ledger, count, end);
            future::join(work, apply_events).await.0?;
        }
    }
    sleep(LATE_WRITE_TIME).await;
    let mut ledger = ledger.lock();
    check_stream(scenario, &stream, &mut ledger)?;
    ledger.coverage.count_stats(&stream.stats());
    let changes_quota =
        |(at, event): &&(Duration, Event)| matches!(event, Event::Quota(..)) && at < time;
    ledger.coverage.count("a change of the quota", events.iter().filter(changes_quota).count());
    let is_uneven = !scenario.shards.is_power_of_two();
    let uneven = "an uneven number of shards";
    ledger.coverage.count(uneven, usize::from(is_uneven));
    let is_near = scenario.records.are_near_borders();
    ledger.coverage.count("hash keys near shard borders", usize::from(is_near));
    let is_plain = events::is_plain(scenario.limiter);
    ledger.coverage.count("a limiter other than a plain token bucket", usize::from(!is_plain));
    let coverage = std::mem::take(&mut ledger.coverage);
    Ok(Outcome { stream, coverage })
}

struct DeadLetterQueue {
    ledger: SharedLedger,
    declines_third: bool,
}

impl kinesis_sink::record::DeadLetterHandler for DeadLetterQueue {
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        if self.declines_third && number_of_record(undelivered.record()).is_multiple_of(3) {
            return Some(undelivered);
        }
        let mut ledger = self.ledger.lock();
        ledger.coverage.count("a dead letter", 1);
        ledger.note_returned(&undelivered);
        None
    }
}
