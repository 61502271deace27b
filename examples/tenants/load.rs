//! The load: three parts of a service that use one router in different ways.

use std::time::Duration;

use futures::{StreamExt, stream};
use kinesis_sink::{Error, Record, Router, StreamId};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::tally::Tally;

#[derive(Serialize)]
struct Event<'a> {
    tenant: &'a str,
    source: &'static str,
    number: usize,
}

fn event(tenant: &str, source: &'static str, number: usize, tally: &Tally) -> Record {
    let event = Event { tenant, source, number };
    let data = serde_json::to_vec(&event).expect("strings and numbers can be serialized");
    let record = Record::from((format!("user-{}", number % 100), data));
    tally.sent(tenant, record.data());
    record
}

/// Sends an event per request of a user. The router returns the records for which a tenant has no capacity.
pub async fn requests(router: Router, tenants: Vec<String>, duration: Duration, tally: Tally) {
    const PER_TICK: usize = 2;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut receipts = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(10));
    let start = Instant::now();
    for number in 0.. {
        if number % PER_TICK == 0 {
            ticks.tick().await;
            while receipts.try_join_next().is_some() {}
        }
        if start.elapsed() > duration {
            break;
        }
        let tenant = tenants[zipf(&mut rng, tenants.len())].clone();
        let record = event(&tenant, "request", number, &tally);
        match router.try_put_to(&tenant, record) {
            Ok(receipt) => {
                let (tally, accepted_at) = (tally.clone(), Instant::now());
                receipts.spawn(async move {
                    match receipt.await {
                        Ok(_) => tally.delivered(&tenant, accepted_at.elapsed()),
                        Err(undelivered) => tally.undelivered(&undelivered),
                    }
                });
            }
            // A server would respond with 429 or 503.
            Err(error) => tally.rejected(&tenant, error),
        }
    }
    receipts.join_all().await;
}

/// Returns an index below `count`. Index 1 is half as frequent as index 0, index 2 a third as frequent, and so on.
fn zipf(rng: &mut fastrand::Rng, count: usize) -> usize {
    let weight = |index: usize| 1.0 / (index + 1) as f64;
    let mut position = rng.f64() * (0..count).map(weight).sum::<f64>();
    (0..count)
        .find(|&index| {
            position -= weight(index);
            position < 0.0
        })
        .unwrap_or(0)
}

/// Sends the events of a job of one tenant. While the tenant has no capacity, only this job waits.
pub async fn job(router: Router, tenant: String, events: usize, tally: Tally) {
    for number in 0..events {
        let record = event(&tenant, "job", number, &tally);
        if let Err(error) = router.send_to(&tenant, record).await {
            tally.rejected(&tenant, error);
            return;
        }
    }
}

/// Forwards an archive with the events of several tenants.
pub async fn archive(
    router: Router,
    tenants: Vec<StreamId>,
    events: usize,
    tally: Tally,
) -> Result<(), Error> {
    let records = (0..events).map(move |number| {
        let tenant = tenants[number % tenants.len()].clone();
        let record = event(tenant.name(), "archive", number, &tally);
        (tenant, record)
    });
    // Completes when all of these records are delivered. The router stays open.
    stream::iter(records).map(Ok).forward(router.sink()).await
}
