//! Tests of eviction and shutdown while threads send.
//!
//! A failing round prints its seed. To replay it, run `ROUTER_RACES_SEED=n cargo test --test router races`. Several runs
//! might be necessary, because the seed does not determine how the threads interleave.

use std::env;
use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::router::WhenFull;
use kinesis_sink::{Receipt, Record, RecordOrdering, Router};
use tokio::time::timeout;

use super::fixtures::{configured, id, record, sent_to};
use crate::support::mock_service::MockService;

const ROUNDS: u64 = 20;
const SENDERS: usize = 4;
const RECORDS: usize = 100;
const STREAMS: usize = 8;
/// Time limit for a round. A round that takes longer is considered hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

fn seeds() -> std::ops::Range<u64> {
    match env::var("ROUTER_RACES_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..ROUNDS,
    }
}

/// Returns a router that evicts streams all the time.
fn evicting(seed: u64, service: &MockService) -> Router {
    let builder = configured(|settings| {
        settings.max_streams = 1 + seed as usize % 4;
        settings.defaults.ordering = RecordOrdering::PerKey;
        settings.defaults.buffer_records = Some(5);
    });
    builder.spawn_with(service.clone()).unwrap()
}

/// Sends numbered records with the key of the sender to random streams, and returns the streams in order.
async fn send(router: Router, sender: usize, mut rng: Rng) -> (Vec<usize>, Vec<Receipt>) {
    let (mut streams, mut receipts) = (Vec::new(), Vec::new());
    let mut sink = router.sink();
    for number in 0..RECORDS {
        let stream = rng.usize(0..STREAMS);
        let name = format!("stream-{stream}");
        let key = format!("sender-{sender}");
        let (record, receipt) = Record::from((key, number.to_string())).tracked();
        match rng.u32(0..4) {
            0 | 1 => router.send_to(&name, record).await.unwrap(),
            2 => sink.feed((id(&name), record)).await.unwrap(),
            _ => match router.try_send_to(&name, record) {
                Ok(()) => {}
                Err(error) => {
                    router.send_to(&name, error.into_record().unwrap()).await.unwrap();
                }
            },
        }
        if rng.u32(0..20) == 0 {
            sink.flush().await.unwrap();
        }
        streams.push(stream);
        receipts.push(receipt);
    }
    (streams, receipts)
}

async fn evict_while_sending(seed: u64) {
    let service = MockService::delivering().with_round_trip(Duration::from_micros(200));
    let router = evicting(seed, &service);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let rng = Rng::with_seed(seed * SENDERS as u64 + sender as u64);
            tokio::spawn(send(router.clone(), sender, rng))
        })
        .collect();
    let mut expected = vec![vec![Vec::new(); STREAMS]; SENDERS];
    for (sender, task) in senders.into_iter().enumerate() {
        let (streams, receipts) = task.await.unwrap();
        for (number, (stream, receipt)) in streams.into_iter().zip(receipts).enumerate() {
            receipt.await.unwrap();
            expected[sender][stream].push(number.to_string());
        }
    }
    router.close().await.unwrap();
    let totals = router.status().totals;
    let sent = (SENDERS * RECORDS) as u64;
    assert_eq!((totals.accepted, totals.delivered), (sent, sent));
    let requests = service.requests();
    for (sender, expected) in expected.into_iter().enumerate() {
        let key = format!("sender-{sender}");
        for (stream, expected) in expected.into_iter().enumerate() {
            let name = format!("stream-{stream}");
            let entries = requests.iter().filter(|request| request.stream().name() == name);
            let entries = entries.flat_map(|request| request.entries());
            let of_key = entries
                .filter(|entry| entry.partition_key().is_some_and(|entry| entry.as_str() == key));
            let texts: Vec<_> =
                of_key.map(|entry| String::from_utf8_lossy(entry.data()).into_owned()).collect();
            assert_eq!(texts, expected, "{name}, {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eviction_races_with_senders() {
    for seed in seeds() {
        let round = tokio::spawn(timeout(HANG_TIMEOUT, evict_while_sending(seed)));
        if !matches!(round.await, Ok(Ok(()))) {
            panic!("replay: ROUTER_RACES_SEED={seed} cargo test --test router races");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_races_with_senders() {
    for seed in seeds() {
        let service = MockService::delivering().with_round_trip(Duration::from_micros(200));
        let router = evicting(seed, &service);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let router = router.clone();
                tokio::spawn(async move {
                    let mut accepted = 0;
                    let mut sink = router.sink();
                    for number in 0.. {
                        let stream = format!("stream-{}", (sender + number) % STREAMS);
                        let sent = match number % 3 {
                            0 => router.send_to(stream, record(number)).await,
                            1 => sink.feed((id(&stream), record(number))).await,
                            _ => match router.put_to(stream, record(number)).await {
                                Ok(receipt) => receipt.await.map(drop).map_err(Into::into),
                                Err(error) => Err(error),
                            },
                        };
                        if let Err(error) = sent {
                            assert!(number % 3 == 1 || error.record().is_some(), "{error}");
                            break;
                        }
                        accepted += 1;
                    }
                    accepted
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(Rng::with_seed(seed).u64(0..3_000))).await;
        let closed = timeout(HANG_TIMEOUT, router.close()).await;
        closed.unwrap_or_else(|_| panic!("seed {seed}: close hangs")).unwrap();
        let mut accepted = 0;
        for sender in senders {
            accepted += sender.await.unwrap();
        }
        let totals = router.status().totals;
        assert_eq!((totals.accepted, totals.delivered), (accepted, accepted), "seed {seed}");
        assert_eq!(service.delivered().len() as u64, accepted, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropped_sends_race_with_eviction() {
    for seed in seeds() {
        let service = MockService::delivering().with_round_trip(Duration::from_micros(200));
        let router = evicting(seed, &service);
        let senders = (0..SENDERS as u64).map(|sender| {
            let router = router.clone();
            let mut rng = Rng::with_seed(seed * 100 + sender);
            tokio::spawn(async move {
                let mut accepted = 0;
                for number in 0..100 {
                    let stream = format!("stream-{}", rng.usize(0..STREAMS));
                    let send = router.send_to(stream, record(number));
                    let limit = Duration::from_micros(rng.u64(0..2_000));
                    accepted +=
                        u64::from(timeout(limit, send).await.is_ok_and(|sent| sent.is_ok()));
                }
                accepted
            })
        });
        let counts = futures::future::join_all(senders).await;
        let accepted: u64 = counts.into_iter().map(Result::unwrap).sum();
        let closed = timeout(HANG_TIMEOUT, router.close()).await;
        closed.unwrap_or_else(|_| panic!("seed {seed}: close hangs")).unwrap();
        assert_eq!(router.status().totals.delivered, accepted, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rejecting_router_returns_each_record() {
    let service = MockService::delivering().with_round_trip(Duration::from_micros(200));
    let router = configured(|settings| {
        settings.max_streams = 2;
        settings.when_full = WhenFull::Reject;
    });
    let router = router.spawn_with(service.clone()).unwrap();
    let senders = (0..SENDERS).map(|sender| {
        let router = router.clone();
        tokio::spawn(async move {
            let mut returned = 0;
            for number in 0..200 {
                let stream = format!("stream-{}", (sender + number) % 4);
                if let Err(error) = router.send_to(stream, record(number)).await {
                    assert_eq!(error.into_record(), Some(record(number)));
                    returned += 1;
                }
            }
            returned
        })
    });
    let counts = futures::future::join_all(senders).await;
    let returned: usize = counts.into_iter().map(Result::unwrap).sum();
    router.close().await.unwrap();
    assert_eq!(service.delivered().len() + returned, SENDERS * 200);
    assert_eq!(returned, SENDERS * 100, "two of the four streams are open");
    assert!(sent_to(&service, "stream-9").is_empty());
}
