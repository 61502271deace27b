//! Randomized test in virtual time, which checks that the permits of a producer always match the buffered records.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use fastrand::Rng;
use futures::future::{BoxFuture, FutureExt, poll_fn};
use futures::{Sink, poll};
use tokio::time::sleep;
use tower::{BoxError, Service};

use super::*;
use crate::Producer;
use crate::producer::ProducerSink;
use crate::record::{DeadLetterHandler, Record};
use crate::service::{
    EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};

const SEEDS: u64 = 300;
const STEPS: usize = 120;
const BUFFER_BYTES: usize = 1_000;

struct Harness<S> {
    driver: Driver<S>,
    producer: Producer,
    reserving: ProducerSink,
    callers: Vec<BoxFuture<'static, ()>>,
    rng: Rng,
    compared: usize,
}

/// Returns a service that randomly delivers, throttles, rejects or fails entries, or fails the whole request.
fn service(
    rng: &mut Rng,
) -> impl Service<
    PutRecordsRequest,
    Response = PutRecordsResponse,
    Error = BoxError,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    let mut rng = rng.fork();
    tower::service_fn(move |request: PutRecordsRequest| {
        let mut rng = rng.fork();
        async move {
            sleep(Duration::from_millis(rng.u64(0..20))).await;
            let code = match rng.u32(0..20) {
                0 => "AccessDeniedException",
                1 => "InternalFailure",
                2 => "SerializationException",
                _ => {
                    let results = request.entries().iter().map(|_| entry(&mut rng));
                    return Ok(PutRecordsResponse::new(results.collect()));
                }
            };
            Err(PutRecordsError::service(Some(code), Some("a message"), Some(400)).into())
        }
    })
}

fn entry(rng: &mut Rng) -> Result<Placement, EntryError> {
    let code = match rng.u32(0..8) {
        0 => "ProvisionedThroughputExceededException",
        1 => "InternalFailure",
        2 => "InvalidArgumentException",
        _ => return Ok(Placement::new("shardId-000000000000", "1")),
    };
    Err(EntryError::new(code, "a message"))
}

struct Handler(Rng);

impl DeadLetterHandler for Handler {
    fn put(&mut self, mut undelivered: Undelivered) -> Option<Undelivered> {
        match self.0.u32(0..4) {
            0 => return None,
            1 => {}
            _ => undelivered.record = record(&mut self.0),
        }
        Some(undelivered)
    }
}

/// Draws a random record. It can be larger than half of the buffer, or larger than the whole buffer.
fn record(rng: &mut Rng) -> Record {
    let max = [20, 300, BUFFER_BYTES, 2 * BUFFER_BYTES][rng.usize(0..4)];
    let data = vec![b'x'; rng.usize(1..max)];
    if rng.bool() { Record::from(("k", data)) } else { Record::from(data) }
}

impl<S> Harness<S>
where
    S: PutRecordsService,
{
    async fn step(&mut self) {
        let producer = self.producer.clone();
        match self.rng.u32(0..12) {
            0 | 1 => drop(producer.try_send(record(&mut self.rng))),
            2 | 3 => {
                let record = record(&mut self.rng);
                self.callers.push(async move { drop(producer.send(record).await) }.boxed());
            }
            4 => self.callers.push(async move { drop(producer.take_failed().await) }.boxed()),
            5 => self.callers.push(async move { drop(producer.flush().await) }.boxed()),
            6 => {
                let ready = poll_fn(|cx| Pin::new(&mut self.reserving).poll_ready(cx));
                if matches!(poll!(ready), Poll::Ready(Ok(()))) && self.rng.bool() {
                    let record = record(&mut self.rng);
                    drop(Pin::new(&mut self.reserving).start_send(record));
                }
            }
            7 => self.reserving = producer.sink(),
            8 => {
                self.callers.clear();
                self.reserving = producer.sink();
            }
            9 if !self.callers.is_empty() => {
                let caller = self.rng.usize(0..self.callers.len());
                drop(self.callers.swap_remove(caller));
            }
            _ => sleep(Duration::from_millis(self.rng.u64(0..30))).await,
        }
        self.poll_callers().await;
    }

    async fn poll_callers(&mut self) {
        let mut waiting = Vec::new();
        for mut caller in self.callers.drain(..) {
            if poll!(&mut caller).is_pending() {
                waiting.push(caller);
            }
        }
        self.callers = waiting;
    }

    async fn poll_driver(&mut self) {
        tokio::task::yield_now().await;
        assert!(poll!(&mut self.driver).is_pending());
        if let Some(occupied) = self.driver.channel.capacity.committed() {
            assert_eq!(occupied, self.buffered());
            self.compared += 1;
        }
        self.poll_callers().await;
    }

    fn buffered(&self) -> Size {
        let queue = self.driver.channel.queue();
        let mut buffered = self.driver.sink.core.buffered();
        buffered += queued(self.driver.inbox.iter().chain(&queue.commands));
        buffered += queue.collected;
        buffered
    }

    /// Drops all reservations and waiting callers, settles every record, and checks that all permits were returned.
    async fn settle(&mut self) {
        self.callers.clear();
        self.reserving = self.producer.sink();
        while self.buffered() != Size::default() {
            let producer = self.producer.clone();
            self.callers.push(async move { drop(producer.take_failed().await) }.boxed());
            self.poll_driver().await;
            sleep(Duration::from_millis(10)).await;
        }
        self.callers.clear();
        assert_eq!(
            self.driver.channel.capacity.committed(),
            Some(Size::default()),
            "charges were lost"
        );
    }
}

/// Runs random operations. Returns how many times the permits were compared with the buffered records.
async fn check(seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    let mut sink = KinesisSink::builder("example")
        .configure(|settings| {
            settings.seed = Some(seed);
            settings.buffer_records = Some(6);
            settings.buffer_bytes = BUFFER_BYTES;
            settings.max_attempts = Some(3);
            settings.backoff.base = Duration::from_millis(1);
            settings.backoff.ceiling = Duration::from_millis(20);
            settings.fatal_policy = FatalPolicy::Retry;
        })
        .with_dead_letter_handler(Handler(rng.fork()))
        .build_with(service(&mut rng))
        .unwrap();
    for _ in 0..rng.usize(0..10) {
        let ready = poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx));
        if matches!(poll!(ready), Poll::Ready(Ok(()))) {
            Pin::new(&mut sink).start_send(record(&mut rng)).unwrap();
        }
        sleep(Duration::from_millis(rng.u64(0..10))).await;
    }
    let (producer, driver) = sink.into_producer();
    let reserving = producer.sink();
    let mut harness =
        Harness { driver, producer, reserving, callers: Vec::new(), rng, compared: 0 };
    for _ in 0..STEPS {
        harness.step().await;
        harness.poll_driver().await;
    }
    harness.settle().await;
    harness.compared
}

#[tokio::test(start_paused = true)]
async fn permits_match_buffered_records() {
    let seed = std::env::var("PERMITS_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut compared = 0;
    for seed in seed.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        match AssertUnwindSafe(check(seed)).catch_unwind().await {
            Ok(times) => compared += times,
            Err(_) => panic!("replay: PERMITS_SEED={seed} cargo test --lib permits_match_buffered"),
        }
    }
    assert!(seed.is_some() || compared > 30 * SEEDS as usize, "compared {compared} times");
}
