//! What hand-written producers do with more care: one request at a time, and what failed of it goes into the
//! next one after a time that doubles with each attempt. Nothing else is sent before all of it has arrived.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Answer, Baseline, Item, REQUEST_ENTRIES, failed};

/// Before the second attempt.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Records that it holds before the source waits.
const BUFFER: usize = 10_000;

#[derive(Default)]
pub struct RequeueWithBackoff {
    queue: VecDeque<Item>,
    /// What is left of a request.
    rest: Vec<Item>,
    attempts: u32,
    not_before: Option<Instant>,
    in_flight: usize,
}

impl Baseline for RequeueWithBackoff {
    const IN_FLIGHT: usize = 1;

    fn has_room(&self) -> bool {
        self.held() + self.in_flight < BUFFER
    }

    fn take(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn cut(&mut self, now: Instant) -> Option<Vec<Item>> {
        if self.held() == 0 || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if self.rest.is_empty() {
            self.rest.extend(self.queue.drain(..self.queue.len().min(REQUEST_ENTRIES)));
        }
        self.in_flight = self.rest.len();
        Some(std::mem::take(&mut self.rest))
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    fn answered(&mut self, items: Vec<Item>, answer: Answer, now: Instant) {
        self.in_flight = 0;
        (self.rest, _) = failed(items, answer);
        if self.rest.is_empty() {
            (self.attempts, self.not_before) = (0, None);
            return;
        }
        let wait = FIRST * 2_u32.pow(self.attempts.min(10));
        self.not_before = Some(now + wait.min(LONGEST));
        self.attempts += 1;
    }

    fn held(&self) -> usize {
        self.queue.len() + self.rest.len()
    }

    fn into_held(self) -> Vec<Item> {
        self.rest.into_iter().chain(self.queue).collect()
    }
}
