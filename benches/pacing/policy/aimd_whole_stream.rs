//! Applies additive increase and multiplicative decrease (AIMD) to a single rate for the whole stream. Flink and Vector
//! work similarly, but limit the messages or requests in flight instead of the rate. Flink's Kinesis sink decreases its
//! limit by 1 %.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Baseline, Item, REQUEST_ENTRIES, Response, failed, requeue};

/// Initial rate, in records per second.
const INITIAL_RATE: f64 = 1_000.0;
const INCREASE: f64 = 10.0;
const DECREASE: f64 = 0.5;
const MIN_RATE: f64 = 10.0;
const BUFFER: usize = 10_000;
/// Duration whose tokens a request waits for, so that requests are not small.
const BATCH_SECONDS: f64 = 0.05;

pub struct AimdWholeStream {
    queue: VecDeque<Item>,
    in_flight: usize,
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl AimdWholeStream {
    pub fn new() -> Self {
        let queue = VecDeque::new();
        Self { queue, in_flight: 0, rate: INITIAL_RATE, tokens: 0.0, at: Instant::now() }
    }

    fn batch_entries(&self) -> f64 {
        let max = (self.rate * BATCH_SECONDS).clamp(1.0, REQUEST_ENTRIES as f64);
        max.min(self.queue.len() as f64)
    }
}

impl Baseline for AimdWholeStream {
    const IN_FLIGHT: usize = 4;

    fn has_capacity(&self) -> bool {
        self.queue.len() + self.in_flight < BUFFER
    }

    fn push(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn next_request(&mut self, now: Instant) -> Option<Vec<Item>> {
        let max = (2.0 * BATCH_SECONDS * self.rate).max(1.0);
        let since = now.duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + self.rate * since).min(max);
        self.at = now;
        // The clock rounds times, which loses less than a thousandth of a token. The tolerance covers the loss.
        if self.queue.is_empty() || self.tokens + 1e-3 < self.batch_entries() {
            return None;
        }
        let entries = (self.tokens + 1e-3) as usize;
        let entries = entries.min(self.queue.len()).min(REQUEST_ENTRIES);
        self.tokens -= entries as f64;
        self.in_flight += entries;
        Some(self.queue.drain(..entries).collect())
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        let missing = (self.batch_entries() - self.tokens).max(0.0);
        let wait = Duration::from_secs_f64(missing / self.rate);
        (!self.queue.is_empty()).then(|| now + wait.max(Duration::from_millis(1)))
    }

    fn on_response(&mut self, items: Vec<Item>, response: Response, _: Instant) {
        self.in_flight -= items.len();
        let is_error = response.is_err();
        let (items, throttled) = failed(items, response);
        if is_error || throttled {
            self.rate = (self.rate * DECREASE).max(MIN_RATE);
        } else {
            self.rate += INCREASE;
        }
        requeue(&mut self.queue, items);
    }

    fn buffered(&self) -> usize {
        self.queue.len()
    }

    fn into_buffered(self) -> Vec<Item> {
        self.queue.into()
    }
}
