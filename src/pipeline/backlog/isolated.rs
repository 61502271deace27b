use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::health::RequestSize;

/// The records for which a request failed repeatedly that had nothing else in it. Each is one entry.
///
/// They are retried apart from all others: one request at a time, with a backoff of their own. The first request has
/// one record, since any of them may be the cause. Requests double with each response, so records that were isolated by
/// an outage are sent soon after it. A record that fails alone moves behind the others.
#[derive(Debug)]
pub(in crate::pipeline) struct Isolated {
    queue: VecDeque<QueuedEntry>,
    backoff: Backoff,
    size: RequestSize,
    is_in_flight: bool,
}

impl Isolated {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { queue: VecDeque::new(), backoff, size: RequestSize::one(), is_in_flight: false }
    }

    /// Whether none is queued and none is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_in_flight
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.queue.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut QueuedEntry> {
        self.queue.iter_mut()
    }

    pub(super) fn records(&self) -> usize {
        self.queue.iter().map(QueuedEntry::len).sum()
    }

    /// The oldest queued record.
    pub(super) fn oldest(&self) -> Option<&BufferedRecord> {
        self.queue.iter().map(QueuedEntry::oldest).min_by_key(|record| record.seq)
    }

    /// The next entry to be sent.
    pub(super) fn front(&self) -> Option<&QueuedEntry> {
        self.queue.front()
    }

    /// Queues an entry behind the others. The first one waits as long as `stream`: an outage must not begin again
    /// with short waits.
    pub(super) fn push(&mut self, entry: QueuedEntry, stream: &Backoff) {
        if self.is_empty() {
            self.backoff = stream.clone();
        }
        self.queue.push_back(entry);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        std::mem::take(&mut self.queue).into_iter()
    }

    /// Queues entries again that were drained.
    pub(super) fn extend(&mut self, entries: Vec<QueuedEntry>) {
        self.queue.extend(entries);
    }

    /// Queues entries again in front: nothing new is known of them.
    pub(in crate::pipeline) fn push_front(&mut self, entries: Vec<QueuedEntry>) {
        for entry in entries.into_iter().rev() {
            self.queue.push_front(entry);
        }
    }

    /// The end of the backoff.
    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now)
    }

    /// Removes the entries of the next request, at most `max` in `max_bytes`, as long as `takes` is true.
    pub(super) fn next_batch(
        &mut self,
        max: usize,
        max_bytes: usize,
        mut takes: impl FnMut(&QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let max = self.size.max().min(max);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max
            && let Some(next) = self.queue.front()
            && (taken.is_empty() || bytes + next.size() <= max_bytes)
            && takes(next)
            && let Some(entry) = self.queue.pop_front()
        {
            bytes += entry.size();
            taken.push(entry);
        }
        self.is_in_flight = true;
        taken.sort_unstable_by_key(QueuedEntry::seq);
        taken
    }

    /// Records the end of the request in flight.
    pub(in crate::pipeline) fn land(&mut self) {
        self.is_in_flight = false;
    }

    /// Resets the size of requests and the backoff, once no entries are left.
    pub(super) fn reset_if_empty(&mut self) {
        if self.is_empty() {
            self.size = RequestSize::one();
            self.backoff.reset();
        }
    }

    /// Ends the backoff: the stream takes requests again, so the records may have been isolated by an outage.
    pub(in crate::pipeline) fn retry_now(&mut self) {
        self.backoff.reset();
    }

    /// Queues the entries of a request that has failed as a whole after `took`.
    pub(in crate::pipeline) fn fail(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        request: u64,
        next: u64,
        now: Instant,
        rng: &mut Rng,
    ) {
        self.backoff.fail(request, next, now, rng);
        // A request that fails slowly must not take a slot from the others most of the time.
        self.backoff.wait_at_least(now + took);
        if entries.len() > 1 {
            self.size.fail(entries.len());
            self.push_front(entries);
        } else {
            // It is retried after all others.
            self.size = RequestSize::one();
            self.queue.extend(entries);
        }
    }

    /// Records the response to a request with `sent` entries, and queues those that have failed once more.
    pub(in crate::pipeline) fn succeed(
        &mut self,
        sent: usize,
        failed: Vec<QueuedEntry>,
        took: Duration,
        timeout: Option<Duration>,
        limit: usize,
    ) {
        self.backoff.reset();
        self.size.succeed(sent, took, timeout, limit);
        self.queue.extend(failed);
    }
}
