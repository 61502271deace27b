//! A task that makes random calls on a router that it shares with other tasks.

use std::sync::Arc;

use fastrand::Rng;
use futures::{FutureExt, SinkExt};
use kinesis_sink::budget::Budget;
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::record::Key;
use kinesis_sink::router::RouterSink;
use kinesis_sink::{Delivery, Error, ErrorKind, Producer, Record, Router};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use super::check::check_bounds;
use super::ledger::{SharedLedger, Status};
use super::scenario::Scenario;
use super::sender::{Handle, Patience, Way};
use super::{ms, rarely};

/// Number of keys of a worker in each stream.
const KEYS: u64 = 3;

/// Number of a record and the response of the service.
type Response = (usize, Result<Delivery, Error>);

pub struct Worker {
    id: usize,
    router: Router,
    sink: RouterSink,
    producer: Option<(usize, Producer, ProducerSink)>,
    /// Calls of the service. Each is polled by a task, because a future that waits for capacity delays later calls while
    /// it is not polled.
    responses: JoinSet<Response>,
    budget: Budget,
    scenario: Arc<Scenario>,
    ledger: SharedLedger,
    rng: Rng,
}

impl Worker {
    pub fn new(
        id: usize,
        router: &Router,
        budget: &Budget,
        scenario: &Arc<Scenario>,
        ledger: &SharedLedger,
    ) -> Self {
        ledger.lock().sinks += 1;
        Self {
            id,
            router: router.clone(),
            sink: router.sink(),
            producer: None,
            responses: JoinSet::new(),
            budget: budget.clone(),
            scenario: scenario.clone(),
            ledger: ledger.clone(),
            rng: Rng::with_seed(
                scenario.seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
        }
    }

    /// Makes random calls until the time `end` or until the router was closed.
    pub async fn run(mut self, end: Instant) {
        while Instant::now() < end && !self.router.is_closed() {
            self.act().await;
            self.check_bounds();
            self.note_responses();
            let max_pause = self.scenario.max_pause.as_millis() as u64;
            sleep(ms(self.rng.u64(1..=max_pause))).await;
        }
        self.replace_producer(None);
        self.drop_sink();
    }

    fn check_bounds(&self) {
        check_bounds(&self.scenario, &self.router, &self.budget, &self.ledger);
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..30 => self.send_burst().await,
            30..45 => self.feed_burst().await,
            45..50 => self.flush_sink().await,
            50..54 => self.replace_sink().await,
            54..66 => self.use_producer().await,
            66..68 => self.close_producer().await,
            68..76 => self.call_service().await,
            76..81 => self.take_failed().await,
            81..84 => self.flush().await,
            84..87 => self.send_invalid().await,
            87..90 => self.drop_receipts(),
            90..92 => drop(format!("{:?} {:?}", self.router, self.router.stream_statuses())),
            92..94 => self.router = self.router.clone(),
            _ => {
                let timeout = self.scenario.router.idle_timeout.mul_f64(2.0 * self.rng.f64());
                sleep(timeout).await;
            }
        }
    }

    /// Draws a stream. A task prefers one of them.
    fn stream(&mut self) -> usize {
        let streams = self.scenario.streams.len();
        if self.rng.bool() { self.id % streams } else { self.rng.usize(..streams) }
    }

    /// Creates a record. Only records of calls that are made one after another have the keys of the worker.
    fn offer(&mut self, stream: usize, in_order: bool) -> (usize, Record) {
        let bytes = self.rng.usize(8..=self.scenario.max_record_bytes);
        let key = self.rng.u64(..=KEYS);
        let key = match (in_order, key) {
            (_, KEYS) => None,
            (true, key) => Some(Key::from(format!("worker-{}-{key}", self.id))),
            (false, key) => Some(Key::from(format!("calls-{}-{key}", self.id))),
        };
        self.ledger.lock().offer(stream, bytes, key, in_order)
    }

    async fn send_burst(&mut self) {
        let stream = self.stream();
        let id = self.scenario.streams[stream].id();
        self.send_through(&Handle::Router(self.router.clone(), id), stream).await;
    }

    /// Sends records until a call fails or is dropped. Returns `false` if the producer has ended.
    async fn send_through(&mut self, handle: &Handle, stream: usize) -> bool {
        for _ in 0..self.rng.u64(1..=self.scenario.max_burst) {
            let (number, record) = self.offer(stream, true);
            let (way, patience) = (Way::draw(&mut self.rng), Patience::draw(&mut self.rng));
            self.ledger.lock().streams[stream].waiting += 1;
            let sent = patience.wait(handle.call(way, record)).await;
            let mut ledger = self.ledger.lock();
            ledger.streams[stream].waiting -= 1;
            match sent {
                Some(Ok(receipt)) => ledger.accept(number, handle.name(), receipt),
                Some(Err(error)) => {
                    ledger.refuse(number, &error);
                    return !is_end(&error);
                }
                None => {
                    ledger.coverage.count("a dropped future", 1);
                    return true;
                }
            }
        }
        true
    }

    async fn feed_burst(&mut self) {
        for _ in 0..self.rng.u64(1..=self.scenario.max_burst) {
            let stream = self.stream();
            let (number, record) = self.offer(stream, true);
            let id = self.scenario.streams[stream].id();
            let patience = Patience::draw(&mut self.rng);
            let fed = patience.wait(self.sink.feed((id, record))).await;
            if !self.note_fed(number, fed, "a record through a sink") {
                return;
            }
            self.check_bounds();
        }
    }

    /// Returns `false` if the record was not accepted.
    fn note_fed(
        &mut self,
        number: usize,
        fed: Option<Result<(), Error>>,
        through: &'static str,
    ) -> bool {
        let mut ledger = self.ledger.lock();
        match &fed {
            Some(Ok(())) => {
                ledger.accept(number, through, None);
            }
            // An error of `poll_ready` drops the record.
            Some(Err(error)) if error.record().is_some() => ledger.refuse(number, error),
            Some(Err(_)) => {}
            None => ledger.coverage.count("a dropped future", 1),
        }
        matches!(fed, Some(Ok(())))
    }

    async fn flush_sink(&mut self) {
        let patience = Patience::draw(&mut self.rng);
        // Failed records are reported until they are taken.
        let _ = patience.wait(self.sink.flush()).await;
    }

    async fn replace_sink(&mut self) {
        if self.rng.bool() {
            let patience = Patience::draw(&mut self.rng);
            if let Some(Ok(())) = patience.wait(self.sink.close()).await {
                self.ledger.lock().coverage.count("a closed sink", 1);
            }
        }
        self.drop_sink();
        self.ledger.lock().sinks += 1;
        self.sink = self.router.sink();
    }

    fn drop_sink(&mut self) {
        let mut ledger = self.ledger.lock();
        ledger.sinks -= 1;
        ledger.dropped_sinks += 1;
        ledger.coverage.count("a dropped sink", 1);
    }

    fn replace_producer(&mut self, producer: Option<(usize, Producer, ProducerSink)>) {
        let is_open = [self.producer.is_some(), producer.is_some()].map(usize::from);
        // Must precede the change, so that the bounds allow for the new sink.
        self.ledger.lock().producer_sinks += is_open[1];
        self.producer = producer;
        self.ledger.lock().producer_sinks -= is_open[0];
    }

    async fn use_producer(&mut self) {
        if self.producer.is_none() || rarely(&mut self.rng, 4) {
            let stream = self.stream();
            let opened = self.router.producer(&self.scenario.streams[stream].name);
            let sink = |producer: Producer| (stream, producer.clone(), producer.sink());
            self.replace_producer(opened.ok().map(sink));
        }
        let Some((stream, producer, _)) = &self.producer else { return };
        let (stream, producer) = (*stream, producer.clone());
        if self.rng.bool() {
            let is_open = self.send_through(&Handle::Producer(producer), stream).await;
            if !is_open {
                self.replace_producer(None);
            }
            return;
        }
        let (number, record) = self.offer(stream, true);
        let patience = Patience::draw(&mut self.rng);
        let Some((_, _, sink)) = &mut self.producer else { return };
        let fed = patience.wait(sink.feed(record)).await;
        if !self.note_fed(number, fed, "a record through the sink of a producer") {
            // A sink that waits or is ready keeps capacity, which others would wait for.
            self.replace_producer(None);
        }
    }

    async fn close_producer(&mut self) {
        let Some((_, producer, _)) = self.producer.take() else { return };
        self.ledger.lock().producer_sinks -= 1;
        let deadline = ms(self.rng.u64(..=2_000));
        let patience = Patience::draw(&mut self.rng);
        let closed = if self.rng.bool() {
            patience.wait(producer.close()).await
        } else {
            patience.wait(producer.close_within(deadline)).await
        };
        let mut ledger = self.ledger.lock();
        ledger.coverage.count("a closed producer", 1);
        if let Some(Err(error)) = closed {
            ledger.note_all_returned(error.undelivered());
        }
    }

    async fn call_service(&mut self) {
        let Ok(router) = self.router.ready().await else { return };
        let mut router = router.clone();
        for _ in 0..self.rng.u64(1..=3) {
            let stream = self.stream();
            let (number, record) = self.offer(stream, false);
            let mut ledger = self.ledger.lock();
            ledger.records[number].status = Status::Unknown;
            ledger.coverage.count("a call of the service", 1);
            drop(ledger);
            let response = router.call((self.scenario.streams[stream].id(), record));
            self.responses.spawn(response.map(move |response| (number, response)));
        }
        if rarely(&mut self.rng, 10) {
            // The records are sent if they were accepted before.
            self.responses.abort_all();
        }
    }

    fn note_responses(&mut self) {
        while let Some(joined) = self.responses.try_join_next() {
            // An error means that the call was aborted.
            let Ok((number, response)) = joined else { continue };
            let mut ledger = self.ledger.lock();
            match response {
                Ok(delivery) => {
                    ledger.accept(number, "a record through the service", None);
                    ledger.records[number].delivery = Some(delivery);
                }
                Err(error) if error.undelivered().is_empty() => ledger.refuse(number, &error),
                Err(error) => {
                    ledger.accept(number, "a record through the service", None);
                    ledger.note_all_returned(error.undelivered());
                }
            }
        }
    }

    async fn take_failed(&mut self) {
        let patience = Patience::draw(&mut self.rng);
        // If the call is dropped before it completes, no records are taken.
        if let Some(failed) = patience.wait(self.router.take_failed()).await {
            let mut ledger = self.ledger.lock();
            ledger.coverage.count("records taken", failed.len());
            ledger.note_all_returned(&failed);
        }
    }

    async fn flush(&mut self) {
        let open = self.ledger.lock().open_receipts();
        let patience = Patience::draw(&mut self.rng);
        if let Some(Ok(())) = patience.wait(self.router.flush()).await {
            self.ledger.lock().check_flushed(&open);
        }
    }

    async fn send_invalid(&mut self) {
        let invalid = || Record::from("").with_partition_key("");
        let stream = self.stream();
        let name = &self.scenario.streams[stream].name;
        let patience = Patience::draw(&mut self.rng);
        let refused = if self.rng.bool() {
            Some(self.router.try_send_to("not a stream", invalid()))
        } else {
            patience.wait(self.router.send_to(name, invalid())).await
        };
        let mut ledger = self.ledger.lock();
        match refused {
            None => {}
            Some(Err(error)) if error.record() == Some(&invalid()) => {
                let event = match error.kind() {
                    ErrorKind::Build => "an invalid stream",
                    _ => "an invalid record",
                };
                ledger.coverage.count(event, 1);
            }
            other => ledger.violation(|| format!("an invalid record results in {other:?}")),
        }
    }

    fn drop_receipts(&mut self) {
        let mut ledger = self.ledger.lock();
        for _ in 0..self.rng.u8(..5) {
            let created = ledger.records.len();
            if created > 0 {
                ledger.drop_receipt(self.rng.usize(..created));
            }
        }
    }
}

fn is_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stopped | ErrorKind::Abandoned | ErrorKind::Closed)
}
