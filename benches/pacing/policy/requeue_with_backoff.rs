//! Sends one request at a time. Failed records are sent again after exponential backoff, before any other records.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Baseline, Item, REQUEST_ENTRIES, Response, failed};

const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const BUFFER: usize = 10_000;

#[derive(Default)]
pub struct RequeueWithBackoff {
    queue: VecDeque<Item>,
    failed: Vec<Item>,
    attempts: u32,
    not_before: Option<Instant>,
    in_flight: usize,
}

impl Baseline for RequeueWithBackoff {
    const IN_FLIGHT: usize = 1;

    fn has_capacity(&self) -> bool {
        self.buffered() + self.in_flight < BUFFER
    }

    fn push(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn next_request(&mut self, now: Instant) -> Option<Vec<Item>> {
        if self.buffered() == 0 || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if self.failed.is_empty() {
            self.failed.extend(self.queue.drain(..self.queue.len().min(REQUEST_ENTRIES)));
        }
        self.in_flight = self.failed.len();
        Some(std::mem::take(&mut self.failed))
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    fn on_response(&mut self, items: Vec<Item>, response: Response, now: Instant) {
        self.in_flight = 0;
        (self.failed, _) = failed(items, response);
        if self.failed.is_empty() {
            self.attempts = 0;
            self.not_before = None;
            return;
        }
        let wait = MIN_BACKOFF * 2_u32.pow(self.attempts.min(10));
        self.not_before = Some(now + wait.min(MAX_BACKOFF));
        self.attempts += 1;
    }

    fn buffered(&self) -> usize {
        self.queue.len() + self.failed.len()
    }

    fn into_buffered(self) -> Vec<Item> {
        self.failed.into_iter().chain(self.queue).collect()
    }
}
