//! Runs the scenario of one seed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, future};
use kinesis_sink::budget::Budget;
use kinesis_sink::sim::SimRegion;
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{Error, Router};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::ServiceBuilder;

use super::check::{WrittenRecord, check_records};
use super::coverage::Coverage;
use super::faults;
use super::ledger::SharedLedger;
use super::ms;
use super::observer::Observer;
use super::progress;
use super::scenario::{End, Scenario};
use super::worker::Worker;

/// Time limit for settling all records after the last fault.
const SETTLE_TIME: Duration = Duration::from_secs(300);

/// Time after which all requests have arrived.
const ARRIVAL_TIME: Duration = Duration::from_secs(20);

pub struct Outcome {
    pub coverage: Coverage,
    pub written: Vec<WrittenRecord>,
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
    let start = Instant::now();
    let (region, ledger) = (SimRegion::new(), SharedLedger::new(scenario));
    for (index, plan) in scenario.streams.iter().enumerate() {
        ledger.lock().coverage.count(plan.fault.name(), 1);
        if plan.fault.exists_at_start() {
            faults::create(index, plan, &region, &ledger);
        }
    }
    let budget = Budget::new(scenario.router.budget.clone()).map_err(|error| error.to_string())?;
    let router = build(scenario, &region, &budget, &ledger)?;
    let monitor = scenario.is_roomy.then(|| {
        let (scenario, region) = (scenario.clone(), region.clone());
        tokio::spawn(progress::watch(scenario, region, router.clone(), ledger.clone()))
    });
    let worker = |id| {
        let worker = Worker::new(id, &router, &budget, scenario, &ledger);
        tokio::spawn(worker.run(start + scenario.time))
    };
    let workers: Vec<_> = (0..scenario.workers).map(worker).collect();
    let closes_early = async {
        match scenario.closes_early_at {
            Some(at) if scenario.end != End::DropAll => {
                sleep_until(start + at).await;
                ledger.lock().coverage.count("an early close", 1);
                close(scenario, &router, &ledger).await
            }
            _ => Ok(()),
        }
    };
    let conduct = faults::conduct(scenario, &region, &ledger);
    let ((), workers, closed) =
        future::join3(conduct, future::join_all(workers), closes_early).await;
    closed?;
    for worker in workers {
        worker.map_err(|error| format!("a worker failed: {error}"))?;
    }
    ledger.lock().check()?;
    if scenario.heals && !router.is_closed() {
        check_idle(scenario, &router, &ledger).await?;
    }
    ledger.lock().is_closing = true;
    if let Some(monitor) = monitor {
        monitor.await.map_err(|error| format!("the monitor failed: {error}"))?;
    }
    end(scenario, router, &budget, &ledger).await?;
    sleep(ARRIVAL_TIME).await;
    let mut ledger = ledger.lock();
    ledger.settle_receipts();
    ledger.check()?;
    let written = check_records(scenario, &mut ledger)?;
    Ok(Outcome { coverage: std::mem::take(&mut ledger.coverage), written })
}

fn build(
    scenario: &Arc<Scenario>,
    region: &SimRegion,
    budget: &Budget,
    ledger: &SharedLedger,
) -> Result<Router, String> {
    let builder = scenario.builder(region, ledger).with_budget(budget);
    let router = if scenario.uses_client {
        ledger.lock().coverage.count("a router with a client", 1);
        builder.spawn(&region.client())
    } else {
        let service = Observer::new(region.service(), budget, scenario, ledger);
        let timeout = TimeoutLayer::new(ms(1_000)).with_max(ms(4_000));
        builder.spawn_with(ServiceBuilder::new().layer(timeout).service(service))
    };
    router.map_err(|error| error.to_string())
}

/// Settles all records, and checks that idle streams are closed.
async fn check_idle(
    scenario: &Scenario,
    router: &Router,
    ledger: &SharedLedger,
) -> Result<(), String> {
    let settle = async {
        // A stream that has stopped or has failed records reports an error.
        let _ = router.flush().await;
        let failed = router.take_failed().await;
        ledger.lock().note_all_returned(&failed);
        // A stopped stream is closed once the idle timeout has elapsed since its end was noticed.
        sleep(2 * scenario.router.idle_timeout + ms(1_000)).await;
    };
    let settled = timeout(SETTLE_TIME, settle).await;
    settled.map_err(|_| format!("not settled in time: {:?}", router.status()))?;
    let status = router.status();
    if status.open_streams > 0 {
        return Err(format!("idle streams are open: {:?}", router.stream_statuses()));
    }
    let mut ledger = ledger.lock();
    ledger.coverage.count("an idle router without open streams", 1);
    let totals = status.totals;
    if totals.accepted != totals.delivered + totals.failed + totals.withdrawn {
        return Err(format!("the totals do not add up: {totals:?}"));
    }
    Ok(())
}

async fn end(
    scenario: &Scenario,
    router: Router,
    budget: &Budget,
    ledger: &SharedLedger,
) -> Result<(), String> {
    if scenario.end == End::DropAll {
        ledger.lock().coverage.count("a dropped router", 1);
        drop(router);
        let start = Instant::now();
        while budget.buffered().records > 0 && start.elapsed() < SETTLE_TIME {
            sleep(ms(100)).await;
        }
    } else {
        close(scenario, &router, ledger).await?;
        let failed = router.take_failed().await;
        if !failed.is_empty() {
            return Err(format!("{} records are left after the close", failed.len()));
        }
    }
    let (buffered, in_flight) = (budget.buffered(), budget.in_flight());
    if (buffered.records, buffered.bytes, in_flight) != (0, 0, 0) {
        return Err(format!("the budget is in use: {buffered:?}, {in_flight} requests in flight"));
    }
    Ok(())
}

async fn close(scenario: &Scenario, router: &Router, ledger: &SharedLedger) -> Result<(), String> {
    ledger.lock().is_closing = true;
    let close = async {
        match scenario.end {
            End::CloseWithin(deadline) => router.close_within(deadline).await,
            _ => router.close().await,
        }
    };
    let closed = timeout(SETTLE_TIME, close).await;
    let closed = closed.map_err(|_| format!("not closed in time: {:?}", router.status()))?;
    let undelivered = closed.map_err(Error::into_undelivered).err().unwrap_or_default();
    let mut ledger = ledger.lock();
    ledger.coverage.count("records withdrawn at the end", undelivered.len());
    ledger.note_all_returned(&undelivered);
    Ok(())
}
