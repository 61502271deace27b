use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::health::RequestSize;
use crate::pipeline::in_flight::Completion;

/// Records that have failed repeatedly, each as a separate entry. They are sent one request at a time, with a separate
/// backoff. The first request contains one record, because any record can be a poison record. Each response raises this
/// number, so that records isolated in an outage are delivered soon after it. A record that fails alone is queued last.
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

    /// Returns `true` if no record is queued and no request with isolated records is in flight.
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

    pub(super) fn oldest(&self) -> Option<&BufferedRecord> {
        self.queue.iter().map(QueuedEntry::oldest).min_by_key(|record| record.seq)
    }

    pub(super) fn front(&self) -> Option<&QueuedEntry> {
        self.queue.front()
    }

    /// Queues an entry. The first entry inherits the backoff of the stream, because the outage may continue.
    pub(super) fn push(&mut self, entry: QueuedEntry, stream: &Backoff) {
        if self.is_empty() {
            self.backoff = stream.clone();
        }
        self.queue.push_back(entry);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        std::mem::take(&mut self.queue).into_iter()
    }

    pub(super) fn extend(&mut self, entries: Vec<QueuedEntry>) {
        self.queue.extend(entries);
    }

    /// Requeues entries in front of all others, because the failure is not attributed to any of them.
    pub(in crate::pipeline) fn push_front(&mut self, entries: Vec<QueuedEntry>) {
        for entry in entries.into_iter().rev() {
            self.queue.push_front(entry);
        }
    }

    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now)
    }

    /// Removes the entries of the next request, up to the first one for which `takes` returns `false`.
    pub(super) fn next_batch(
        &mut self,
        max: usize,
        max_bytes: usize,
        mut takes: impl FnMut(&QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let max = self.size.max().min(max);
        let mut taken = Vec::new();
        let mut bytes = 0;
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

    pub(in crate::pipeline) fn set_idle(&mut self) {
        self.is_in_flight = false;
    }

    pub(super) fn reset_if_empty(&mut self) {
        if self.is_empty() {
            self.size = RequestSize::one();
            self.backoff.reset();
        }
    }

    /// Ends the backoff, because the stream accepts requests again.
    pub(in crate::pipeline) fn retry_now(&mut self) {
        self.backoff.reset();
    }

    pub(in crate::pipeline) fn fail(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        completion: Completion,
        rng: &mut Rng,
    ) {
        let Completion { request, next, now } = completion;
        self.backoff.fail(request, next, now, rng);
        // Wait at least as long as the request took, so that slow failures do not keep a slot occupied.
        self.backoff.wait_at_least(now + took);
        if entries.len() > 1 {
            self.size.fail(entries.len());
            self.push_front(entries);
        } else {
            self.size = RequestSize::one();
            self.queue.extend(entries);
        }
    }

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
