use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kinesis_sink::{Delivery, Error, Producer, Receipt, Record, Undelivered};
use tokio::sync::watch;
use tokio::time::sleep;

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

    fn record(&mut self, reading: Bytes, outcome: Result<Delivery, Undelivered>) {
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

#[derive(Default)]
pub struct Readings {
    report: Report,
    receipts: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
}

type Outcome = (Bytes, Result<Delivery, Undelivered>);

impl Readings {
    fn sent(&mut self, reading: Bytes, receipt: Receipt) {
        self.receipts.push(Box::pin(async move { (reading, receipt.await) }));
        // Processes completed receipts now, so that they do not accumulate.
        while let Some(Some((reading, outcome))) = self.receipts.next().now_or_never() {
            self.report.record(reading, outcome);
        }
    }

    pub async fn settled(mut self) -> Report {
        while let Some((reading, outcome)) = self.receipts.next().await {
            self.report.record(reading, outcome);
        }
        self.report
    }
}

/// Sends a reading every 25 ms on average until `stop` is `true`.
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
        // If `put` is dropped before it completes, the reading is not accepted.
        let sent = tokio::select! {
            sent = sent => sent,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match sent {
            Ok(receipt) => readings.sent(reading, receipt),
            Err(refused) => {
                readings.report.undelivered += 1;
                print_error(number, &refused);
                break;
            }
        }
    }
    readings
}

/// Prints the error of the first sensor only, because all sensors get the same error.
fn print_error(number: usize, error: &Error) {
    if number == 0 {
        eprintln!("the producer rejects readings: {error}");
    }
}
