use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kinesis_sink::{Delivery, Error, Producer, Receipt, Record, Undelivered};
use tokio::sync::watch;
use tokio::time::sleep;

/// What came of a task's readings.
#[derive(Debug, Default)]
pub struct Report {
    pub delivered: Vec<Bytes>,
    pub undelivered: usize,
    slowest: Duration,
}

impl Report {
    pub fn add(&mut self, other: Self) {
        self.delivered.extend(other.delivered);
        self.undelivered += other.undelivered;
        self.slowest = self.slowest.max(other.slowest);
    }

    pub fn summary(&self, requests: u64) -> String {
        format!(
            "{} readings delivered in {requests} requests, {} undelivered; the slowest took {:?}",
            self.delivered.len(),
            self.undelivered,
            self.slowest
        )
    }

    fn note(&mut self, reading: Bytes, outcome: Result<Delivery, Undelivered>) {
        match outcome {
            Ok(delivery) => {
                let took = delivery.time_in_buffer() + delivery.time_in_flight();
                self.slowest = self.slowest.max(took);
                self.delivered.push(reading);
            }
            Err(_) => self.undelivered += 1,
        }
    }
}

/// A task's readings: what came of them so far, and the receipts of those under way.
#[derive(Default)]
pub struct Readings {
    report: Report,
    receipts: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
}

type Outcome = (Bytes, Result<Delivery, Undelivered>);

impl Readings {
    fn sent(&mut self, reading: Bytes, receipt: Receipt) {
        self.receipts.push(Box::pin(async move { (reading, receipt.await) }));
        // Those that are settled already.
        while let Some(Some((reading, outcome))) = self.receipts.next().now_or_never() {
            self.report.note(reading, outcome);
        }
    }

    /// Waits for the receipts.
    pub async fn settled(mut self) -> Report {
        while let Some((reading, outcome)) = self.receipts.next().await {
            self.report.note(reading, outcome);
        }
        self.report
    }
}

/// Sends a reading every few milliseconds until it is told to stop.
pub async fn run(number: usize, producer: Producer, mut stop: watch::Receiver<bool>) -> Readings {
    let mut rng = Rng::with_seed(number as u64);
    let mut readings = Readings::default();
    for sequence in 0_u64.. {
        let celsius = 15.0 + 10.0 * rng.f64();
        let reading =
            format!(r#"{{"sensor":{number},"sequence":{sequence},"celsius":{celsius:.2}}}"#);
        let reading = Bytes::from(reading);
        let record = Record::from((format!("sensor-{number}"), reading.clone()));
        let sent = async {
            sleep(Duration::from_millis(rng.u64(1..50))).await;
            producer.put(record).await
        };
        // Dropping `put` before it is ready means that the reading was not accepted.
        let sent = tokio::select! {
            sent = sent => sent,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match sent {
            Ok(receipt) => readings.sent(reading, receipt),
            Err(refused) => {
                readings.report.undelivered += 1;
                tell_once(number, &refused);
                break;
            }
        }
    }
    readings
}

/// All sensors find the same: one voice is enough.
fn tell_once(number: usize, refused: &Error) {
    if number == 0 {
        eprintln!("readings are not accepted any more: {}", refused);
    }
}
