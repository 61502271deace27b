//! Threads that send while the producer ends, in each way and at any moment: every receipt ends, and what
//! was accepted is either at the service or given back.
//!
//! The moments are drawn from a seed that a failing round prints; the interleaving is the machine's, so
//! replaying a seed (`PRODUCER_RACES_SEED=n cargo test --test producer races`) may take a few tries.

use std::time::Duration;

use fastrand::Rng;
use futures::{SinkExt, future};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{KinesisSink, Producer, Record, Undelivered};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::mock_service::{MockService, answer_each, service_error, text};

const ROUNDS: u64 = 300;
/// Nothing here takes that long, whatever else the machine does.
const FOR_EVER: Duration = Duration::from_secs(60);

/// What became of one sender's records.
#[derive(Debug, Default)]
struct Account {
    accepted: usize,
    delivered: Vec<String>,
    given_back: Vec<Undelivered>,
}

/// Sends until the producer ends: with and without receipts, waiting and not.
async fn send(producer: Producer, sender: usize, mut rng: Rng) -> Account {
    let mut account = Account::default();
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
        account.accepted += usize::from(sent);
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
            Ok(_) => account.delivered.push(String::new()),
            Err(undelivered) => account.given_back.push(undelivered),
        }
    }
    account
}

/// Ends it in one of the ways, at some moment.
async fn end(producer: Producer, driver: &mut JoinHandle<()>, mut rng: Rng) {
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
    end(producer, &mut driver, rng).await;
    assert!(
        driver.await.map_or_else(|error| error.is_cancelled(), |()| true),
        "the driver panicked"
    );
    let accounts = future::join_all(senders).await.into_iter().map(Result::unwrap);
    let (mut delivered, mut given_back, mut accepted) = (0, Vec::new(), 0);
    for account in accounts {
        accepted += account.accepted;
        delivered += account.delivered.len();
        given_back.extend(account.given_back);
    }
    assert_eq!(delivered + given_back.len(), accepted);
    // What the service has and no receipt calls delivered can only be what may be written.
    let mut at_the_service = service.delivered();
    let reported = at_the_service.len();
    at_the_service.sort_unstable();
    at_the_service.dedup();
    let in_doubt = given_back.iter().filter(|one| one.may_have_been_written()).count();
    assert!(at_the_service.len() >= delivered, "a receipt lies");
    assert!(at_the_service.len() <= delivered + in_doubt, "delivered, and not told");
    assert_eq!(reported, at_the_service.len(), "settled twice");
    for lost in given_back.iter().filter(|one| !one.may_have_been_written()) {
        assert!(!at_the_service.contains(&text(lost.record().data())), "{lost}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_shutdown_settles_all_receipts() {
    let seed = std::env::var("PRODUCER_RACES_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = seed.map_or(0..ROUNDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let round = timeout(FOR_EVER, tokio::spawn(round(seed))).await;
        match round {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => panic!("PRODUCER_RACES_SEED={seed}: {failed}"),
            Err(_) => panic!("PRODUCER_RACES_SEED={seed}: something hangs"),
        }
    }
}

/// Sends records without receipts, and takes those that failed, in every way that takes and returns permits.
async fn send_and_take(mut producer: Producer, mut rng: Rng) {
    let mut sink = producer.sink();
    for _ in 0..100 {
        let data = if rng.u32(0..3) == 0 { "bad" } else { "good" };
        let record = Record::from(data.repeat(rng.usize(1..40)));
        match rng.u32(0..6) {
            0 => drop(producer.try_send(record)),
            1 => drop(sink.feed(record).await),
            // May reserve without sending.
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

/// The driver compares its permits with the ledger of its sink whenever nobody reserves any.
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
        timeout(FOR_EVER, future::join_all(tasks)).await.expect("something hangs");
        drop(timeout(FOR_EVER, producer.close()).await.expect("something hangs"));
        driver.await.unwrap();
        let totals = producer.status().totals;
        assert_eq!(totals.accepted, totals.delivered + totals.failed);
        assert!(totals.delivered > 0 && totals.failed > 0, "{totals:?}");
    }
}
