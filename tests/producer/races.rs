//! Tests that no receipt or accepted record is lost when a producer shuts down while threads send.
//!
//! A failing round prints its seed. To replay it, run `PRODUCER_RACES_SEED=n cargo test --test producer races`. Several
//! runs might be necessary, because the seed does not determine how the threads interleave.

use std::time::Duration;

use fastrand::Rng;
use futures::{SinkExt, future};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{KinesisSink, Producer, Record, Undelivered};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::mock_service::{MockService, answer_each, service_error, text};

const ROUNDS: u64 = 300;
/// Time limit for a round. A round that takes longer is considered hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Outcomes {
    accepted: usize,
    delivered: usize,
    returned: Vec<Undelivered>,
}

async fn send(producer: Producer, sender: usize, mut rng: Rng) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut receipts = Vec::new();
    let mut sink = producer.sink();
    for number in 0.. {
        let (record, receipt) = Record::from(format!("{sender}.{number}")).tracked();
        let sent = match rng.u32(0..4) {
            0 => producer.send(record).await.is_ok(),
            1 => producer.try_send(record).is_ok(),
            2 => sink.feed(record).await.is_ok(),
            _ => timeout(Duration::from_micros(rng.u64(0..300)), producer.send(record))
                .await
                .is_ok_and(|sent| sent.is_ok()),
        };
        outcomes.accepted += usize::from(sent);
        if sent {
            receipts.push(receipt);
        } else if producer.is_closed() {
            break;
        } else {
            tokio::task::yield_now().await;
        }
    }
    for receipt in receipts {
        match receipt.await {
            Ok(_) => outcomes.delivered += 1,
            Err(undelivered) => outcomes.returned.push(undelivered),
        }
    }
    outcomes
}

async fn shut_down(producer: Producer, driver: &mut JoinHandle<()>, mut rng: Rng) {
    sleep(Duration::from_micros(rng.u64(0..5_000))).await;
    match rng.u32(0..5) {
        0 => drop(producer.close().await),
        1 => {
            let deadline = Duration::from_micros(rng.u64(0..2_000));
            drop(producer.close_within(deadline).await);
        }
        2 => driver.abort(),
        3 => {
            let closes = (0..3).map(|_| producer.close_within(Duration::from_millis(1)));
            drop(future::join_all(closes).await);
        }
        _ => {
            let flushes = (0..3).map(|_| producer.flush());
            let closed = future::join(producer.close(), future::join_all(flushes));
            drop(closed.await);
        }
    }
}

async fn round(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let fatal_at = rng.usize(1..60);
    let mut draws = rng.fork();
    let service = MockService::new(move |call, request| match call {
        call if call % fatal_at == fatal_at - 1 => Err(service_error(
            draws
                .choice(["InternalFailure", "AccessDeniedException", "ValidationException"])
                .unwrap(),
        )),
        _ => Ok(answer_each(request, |_| draws.u8(0..10) > 0)),
    });
    let policy = if rng.bool() { FatalPolicy::Stop } else { FatalPolicy::Retry };
    let (producer, driver) = KinesisSink::builder("example")
        .configure(|settings| {
            settings.seed = Some(seed);
            settings.buffer_records = Some(rng.usize(1..200));
            settings.backoff.base = Duration::from_millis(1);
            settings.backoff.ceiling = Duration::from_millis(2);
            settings.fatal_policy = policy;
        })
        .build_with(service.clone().with_round_trip(Duration::from_micros(500)))
        .unwrap()
        .into_producer();
    let mut driver = tokio::spawn(driver);
    let senders: Vec<_> =
        (0..4).map(|sender| tokio::spawn(send(producer.clone(), sender, rng.fork()))).collect();
    shut_down(producer, &mut driver, rng).await;
    assert!(
        driver.await.map_or_else(|error| error.is_cancelled(), |()| true),
        "the driver panicked"
    );
    let mut total = Outcomes::default();
    for outcomes in future::join_all(senders).await.into_iter().map(Result::unwrap) {
        total.accepted += outcomes.accepted;
        total.delivered += outcomes.delivered;
        total.returned.extend(outcomes.returned);
    }
    let Outcomes { accepted, delivered, returned } = total;
    assert_eq!(delivered + returned.len(), accepted);
    // If a record was written, its receipt reports a delivery, or that the record might have been written.
    let mut written = service.delivered();
    let before_dedup = written.len();
    written.sort_unstable();
    written.dedup();
    let unknown = returned.iter().filter(|one| one.may_have_been_written()).count();
    assert!(written.len() >= delivered, "a receipt reports a delivery that did not happen");
    assert!(written.len() <= delivered + unknown, "a delivery is not reported");
    assert_eq!(before_dedup, written.len(), "a record is delivered twice");
    for lost in returned.iter().filter(|one| !one.may_have_been_written()) {
        assert!(!written.contains(&text(lost.record().data())), "{lost}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_shutdown_settles_all_receipts() {
    let seed = std::env::var("PRODUCER_RACES_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = seed.map_or(0..ROUNDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let round = timeout(HANG_TIMEOUT, tokio::spawn(round(seed))).await;
        match round {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => panic!("PRODUCER_RACES_SEED={seed}: {failed}"),
            Err(_) => panic!("PRODUCER_RACES_SEED={seed}: no end after {HANG_TIMEOUT:?}"),
        }
    }
}

/// Sends and takes records with random calls that acquire and release permits. Some of the records fail.
async fn send_and_take(mut producer: Producer, mut rng: Rng) {
    let mut sink = producer.sink();
    for _ in 0..100 {
        let data = if rng.u32(0..3) == 0 { "bad" } else { "good" };
        let record = Record::from(data.repeat(rng.usize(1..40)));
        match rng.u32(0..6) {
            0 => drop(producer.try_send(record)),
            1 => drop(sink.feed(record).await),
            // Might acquire a permit without using it.
            2 => drop(timeout(Duration::from_micros(50), sink.feed(record)).await),
            3 => drop(timeout(Duration::from_micros(300), producer.send(record)).await),
            4 => drop(producer.take_failed().await),
            _ => {
                producer = producer.clone();
                sink = sink.clone();
            }
        }
    }
}

/// With debug assertions enabled, the driver compares its permits with the ledger of the sink.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_match_ledger_across_threads() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let service = MockService::rejecting_bad().with_round_trip(Duration::from_micros(200));
        let (producer, driver) = KinesisSink::builder("example")
            .configure(|settings| {
                settings.buffer_records = Some(8);
                settings.buffer_bytes = 200;
            })
            .build_with(service)
            .unwrap()
            .into_producer();
        let driver = tokio::spawn(driver);
        let tasks: Vec<_> =
            (0..4).map(|_| tokio::spawn(send_and_take(producer.clone(), rng.fork()))).collect();
        timeout(HANG_TIMEOUT, future::join_all(tasks)).await.expect("all tasks end");
        drop(timeout(HANG_TIMEOUT, producer.close()).await.expect("close completes"));
        driver.await.unwrap();
        let totals = producer.status().totals;
        assert_eq!(totals.accepted, totals.delivered + totals.failed);
        assert!(totals.delivered > 0 && totals.failed > 0, "{totals:?}");
    }
}
