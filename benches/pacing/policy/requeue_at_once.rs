//! What most hand-written producers do, in Python for one: one request at a time, and what failed goes
//! into the next one at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::baseline::{Answer, Baseline, Item, REQUEST_ENTRIES, failed, put_back};

/// Between the attempts for a request that failed as a whole. The SDKs' retries wait about so long. It is what
/// decides the figure `requests_in_outage`: one request for each pause and round trip.
const BETWEEN_RETRIES: Duration = Duration::from_millis(50);

/// The queue has no bound.
#[derive(Default)]
pub struct RequeueAtOnce {
    queue: VecDeque<Item>,
    not_before: Option<Instant>,
}

impl Baseline for RequeueAtOnce {
    const IN_FLIGHT: usize = 1;

    fn take(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    fn cut(&mut self, now: Instant) -> Option<Vec<Item>> {
        if self.queue.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        Some(self.queue.drain(..self.queue.len().min(REQUEST_ENTRIES)).collect())
    }

    fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    fn answered(&mut self, items: Vec<Item>, answer: Answer, now: Instant) {
        self.not_before = answer.is_err().then(|| now + BETWEEN_RETRIES);
        let (items, _) = failed(items, answer);
        put_back(&mut self.queue, items);
    }

    fn held(&self) -> usize {
        self.queue.len()
    }

    fn into_held(self) -> Vec<Item> {
        self.queue.into()
    }
}
