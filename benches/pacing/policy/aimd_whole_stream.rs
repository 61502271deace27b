//! A textbook AIMD on one rate for the whole stream: additive increase, multiplicative decrease, whichever
//! shard throttles. It is of the kind that Flink and Vector use, and copies neither. Flink's
//! `AIMDScalingStrategy` adapts how many messages are in flight, and its Kinesis sink takes 0.99 of them after
//! a throttle; Vector adapts how many requests are in flight; here the rate is adapted and halved.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Answer, Baseline, Item, REQUEST_ENTRIES, failed, put_back};

/// Records a second, to begin with.
const START: f64 = 1_000.0;
/// By so many a second each request without a throttle raises the rate.
const INCREASE: f64 = 10.0;
const DECREASE: f64 = 0.5;
const LOWEST: f64 = 10.0;
/// Records that it holds before the source waits.
const BUFFER: usize = 10_000;
/// Requests wait for the tokens of so many seconds, so as to be full.
const QUANTUM: f64 = 0.05;

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
        Self { queue, in_flight: 0, rate: START, tokens: 0.0, at: Instant::now() }
    }

    /// As many as there are, or as one waits for.
    fn wanted(&self) -> f64 {
        let most = (self.rate * QUANTUM).clamp(1.0, REQUEST_ENTRIES as f64);
        most.min(self.queue.len() as f64)
    }
}

impl Baseline for AimdWholeStream {
    const IN_FLIGHT: usize = 4;

    fn has_room(&self) -> bool {
        self.queue.len() + self.in_flight < BUFFER
    }

    fn take(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn cut(&mut self, now: Instant) -> Option<Vec<Item>> {
        let most = (2.0 * QUANTUM * self.rate).max(1.0);
        let since = now.duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + self.rate * since).min(most);
        self.at = now;
        // Less than a thousandth of a token is what the clock rounds off.
        if self.queue.is_empty() || self.tokens + 1e-3 < self.wanted() {
            return None;
        }
        let entries = (self.tokens + 1e-3) as usize;
        let entries = entries.min(self.queue.len()).min(REQUEST_ENTRIES);
        self.tokens -= entries as f64;
        self.in_flight += entries;
        Some(self.queue.drain(..entries).collect())
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        let missing = (self.wanted() - self.tokens).max(0.0);
        let wait = Duration::from_secs_f64(missing / self.rate);
        (!self.queue.is_empty()).then(|| now + wait.max(Duration::from_millis(1)))
    }

    fn answered(&mut self, items: Vec<Item>, answer: Answer, _: Instant) {
        self.in_flight -= items.len();
        let is_error = answer.is_err();
        let (items, throttled) = failed(items, answer);
        match is_error || throttled {
            true => self.rate = (self.rate * DECREASE).max(LOWEST),
            false => self.rate += INCREASE,
        }
        put_back(&mut self.queue, items);
    }

    fn held(&self) -> usize {
        self.queue.len()
    }

    fn into_held(self) -> Vec<Item> {
        self.queue.into()
    }
}
