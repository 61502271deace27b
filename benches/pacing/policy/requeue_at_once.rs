//! Sends one request at a time. The next request contains the failed records again, without backoff.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Baseline, Item, REQUEST_ENTRIES, Response, failed, requeue};

/// Pause after a request that failed as a whole, similar to that of the SDKs. It affects `requests_in_outage`.
const RETRY_DELAY: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct RequeueAtOnce {
    queue: VecDeque<Item>,
    not_before: Option<Instant>,
}

impl Baseline for RequeueAtOnce {
    const IN_FLIGHT: usize = 1;

    fn push(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn next_request(&mut self, now: Instant) -> Option<Vec<Item>> {
        if self.queue.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        Some(self.queue.drain(..self.queue.len().min(REQUEST_ENTRIES)).collect())
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    fn on_response(&mut self, items: Vec<Item>, response: Response, now: Instant) {
        self.not_before = response.is_err().then(|| now + RETRY_DELAY);
        let (items, _) = failed(items, response);
        requeue(&mut self.queue, items);
    }

    fn buffered(&self) -> usize {
        self.queue.len()
    }

    fn into_buffered(self) -> Vec<Item> {
        self.queue.into()
    }
}
