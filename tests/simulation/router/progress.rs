//! Checks that each stream that accepts records makes progress, whatever happens to the others.

use std::sync::Arc;
use std::time::Duration;

use kinesis_sink::Router;
use kinesis_sink::sim::SimRegion;
use tokio::time::{Instant, sleep};

use super::faults::Fault;
use super::ledger::SharedLedger;
use super::ms;
use super::scenario::Scenario;

/// Maximum time of a request: the maximum timeout.
const REQUEST_TIME: Duration = ms(4_000);

/// Time that a stream needs for a request if it is alone: the linger, the throttling by its rate limiter, and backoff.
const OWN_TIME: Duration = ms(5_000);

/// Returns the longest time without progress of a stream that has records or waiting calls.
///
/// Its share of the buffer always has capacity, because the budget is roomy. Each of the other streams can hold request
/// slots, each for at most [`REQUEST_TIME`]. A slot that is released goes to the stream with the fewest slots that has waited
/// longest, so each other stream is served at most once before.
fn bound(scenario: &Scenario) -> Duration {
    let others = scenario.streams.len() as u32 - 1;
    let slots = scenario.router.budget.max_in_flight as u32;
    OWN_TIME + REQUEST_TIME * (others.div_ceil(slots) + 1)
}

/// Checks the progress until the router is closed.
pub async fn watch(
    scenario: Arc<Scenario>,
    region: SimRegion,
    router: Router,
    ledger: SharedLedger,
) {
    let mut since = vec![((0, 0, 0), Instant::now()); scenario.streams.len()];
    while !router.is_closed() && !ledger.lock().is_closing {
        for (index, plan) in scenario.streams.iter().enumerate() {
            if plan.fault != Fault::None {
                continue;
            }
            let buffered = router.stream_status(&plan.name).map(|status| status.buffered().records);
            let written =
                region.get(&plan.name).map_or(0, |stream| stream.stats().accepted_entries);
            let mut ledger = ledger.lock();
            let stream = &ledger.streams[index];
            let (waiting, marker) = (stream.waiting, (stream.accepted, stream.returned, written));
            let is_busy = waiting > 0 || buffered.is_some_and(|records| records > 0);
            if !is_busy || marker != since[index].0 {
                since[index] = (marker, Instant::now());
                continue;
            }
            ledger.coverage.count("a check of the progress", 1);
            let (elapsed, bound) = (since[index].1.elapsed(), bound(&scenario));
            if elapsed > bound {
                let name = &plan.name;
                ledger.violation(|| {
                    format!(
                        "{name} makes no progress for {elapsed:?} of {bound:?}: {waiting} waiting calls, \
                         {buffered:?} buffered records"
                    )
                });
            }
        }
        sleep(ms(50)).await;
    }
}
