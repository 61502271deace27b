//! Runs a seed on virtual time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, future};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Aggregation, Undelivered};
use tokio::time::sleep;

use super::check::check_stream;
use super::drawn::{Caller, DeadLetters, Drawn};
use super::events::{self, Event, Plan};
use super::ledger::Shared;
use super::lookups::Lookups;
use super::owner::Owner;
use super::records::number_of_record;
use super::seen::Seen;
use super::tasks;

/// Once nothing goes wrong any more, everything must be settled within this time. A slow stream with a few
/// large records takes minutes.
pub const SETTLES_IN: Duration = Duration::from_secs(3_600);

/// After this time nothing is under way any more, late writes included.
const ALL_IS_WRITTEN: Duration = Duration::from_secs(20);

/// What came of it.
pub struct Outcome {
    pub stream: SimStream,
    pub seen: Seen,
}

/// Runs a seed and checks it.
///
/// # Errors
///
/// A promise was broken, or something panicked.
pub fn check(seed: u64) -> Result<Outcome, String> {
    let drawn = Arc::new(Drawn::new(seed));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let checked = AssertUnwindSafe(run(&drawn)).catch_unwind();
    let checked = runtime.block_on(checked).unwrap_or_else(|_| Err("a panic, see above".into()));
    checked.map_err(|error| format!("{error}\n{drawn:#?}"))
}

async fn run(drawn: &Arc<Drawn>) -> Result<Outcome, String> {
    let (stream, ledger) = (drawn.stream(), Shared::default());
    ledger.lock().sees_all = drawn.stack.is_direct();
    ledger.lock().may_come_again = drawn.switches;
    ledger.lock().may_be_held = drawn.settings.checks_shards();
    ledger.lock().seen.note("a switch of the distribution", usize::from(drawn.switches));
    ledger.lock().max_attempts = drawn.settings.max_attempts;
    let service = drawn.stack.build(drawn, &stream, &ledger);
    let mut builder = drawn.settings.builder(&Lookups::new(&stream, drawn, &ledger));
    if drawn.settings.dead_letters != DeadLetters::Nobody {
        let (ledger, choosy) = (ledger.clone(), drawn.settings.dead_letters == DeadLetters::Choosy);
        builder = builder.with_dead_letter_handler(DeadLetterOffice { ledger, choosy });
    }
    let sink = builder.build_with(service).map_err(|error| error.to_string())?;
    let Drawn { events, trouble, time, seed, .. } = &**drawn;
    let faults_afterwards = match drawn.checks_progress() {
        true => trouble.poison.clone(),
        false => Faults::default(),
    };
    let faults = &trouble.faults;
    let plan = Plan { events, faults, faults_afterwards, time: *time, seed: *seed };
    let conduct = async {
        let is_checked = drawn.settings.aggregation != Aggregation::Off;
        let mut shards = drawn.shards;
        let note = |stream: &SimStream| {
            let mut ledger = ledger.lock();
            ledger.ranges.record(stream);
            let before = std::mem::replace(&mut shards, stream.shards().len());
            let changed = before != shards;
            ledger.may_come_again |= changed && is_checked;
            ledger.seen.note("a change of the shards", usize::from(changed));
        };
        plan.run(&stream, note).await;
        stream.set_distribution(drawn.distribution).expect("it is on-demand");
        ledger.lock().trouble_is_over = true;
        if let Some(lasts) = drawn.refuses_credentials {
            ledger.lock().seen.note("an outage of credentials", 1);
            stream.set_faults(Faults::default().with_outage("ExpiredTokenException", 400));
            let stream = stream.clone();
            tokio::spawn(async move {
                sleep(lasts).await;
                stream.set_faults(Faults::default());
            });
        }
    };
    match drawn.caller {
        Caller::Owner(end) => {
            let work = Owner::new(sink, drawn, &ledger).work();
            let (owner, ()) = future::join(work, conduct).await;
            owner.end(end, &stream).await?;
        }
        Caller::Tasks { count, end } => {
            let work = tasks::work(sink, drawn, &ledger, count, end);
            future::join(work, conduct).await.0?;
        }
    }
    sleep(ALL_IS_WRITTEN).await;
    let mut ledger = ledger.lock();
    check_stream(drawn, &stream, &mut ledger)?;
    ledger.seen.note_stats(&stream.stats());
    let scales = |(at, event): &&(Duration, Event)| matches!(event, Event::Quota(..)) && at < time;
    ledger.seen.note("a change of the quota", events.iter().filter(scales).count());
    let is_uneven = !drawn.shards.is_power_of_two();
    let uneven = "a number of shards that does not divide the ring evenly";
    ledger.seen.note(uneven, usize::from(is_uneven));
    let is_near = drawn.records.are_near_borders();
    ledger.seen.note("hash keys near the borders of shards", usize::from(is_near));
    let is_plain = events::is_plain(drawn.limiter);
    ledger.seen.note("a limiter that is no plain token bucket", usize::from(!is_plain));
    let seen = std::mem::take(&mut ledger.seen);
    Ok(Outcome { stream, seen })
}

struct DeadLetterOffice {
    ledger: Shared,
    choosy: bool,
}

impl kinesis_sink::record::DeadLetterHandler for DeadLetterOffice {
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        if self.choosy && number_of_record(undelivered.record()).is_multiple_of(3) {
            return Some(undelivered);
        }
        let mut ledger = self.ledger.lock();
        ledger.seen.note("a dead letter", 1);
        ledger.hand_back(&undelivered);
        None
    }
}
