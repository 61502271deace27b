use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::pipeline::backoff::Backoff;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::health::RequestSize;
use crate::pipeline::in_flight::Completion;
use crate::settings::BackoffSettings;

/// Records that have failed repeatedly, each as a separate entry. They are sent one request at a time, with a separate
/// backoff. The first request contains one record, because any record can be a poison record. Each response raises this
/// number, so that records isolated in an outage are delivered soon after it. A record that fails alone is queued last.
#[derive(Debug)]
pub(in crate::pipeline) struct Isolated {
    /// `None` while no record is isolated.
    state: Option<Box<State>>,
    settings: BackoffSettings,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<QueuedEntry>,
    backoff: Backoff,
    size: RequestSize,
    is_in_flight: bool,
}

impl State {
    fn new(backoff: Backoff) -> Self {
        Self { queue: VecDeque::new(), backoff, size: RequestSize::one(), is_in_flight: false }
    }
}

impl Isolated {
    pub(super) fn new(settings: BackoffSettings) -> Self {
        Self { state: None, settings }
    }

    fn state(&mut self) -> &mut State {
        let BackoffSettings { base, ceiling } = self.settings;
        self.state.get_or_insert_with(|| Box::new(State::new(Backoff::new(base, ceiling))))
    }

    /// Returns `true` if no record is queued and no request with isolated records is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.state.as_ref().is_none_or(|state| state.queue.is_empty() && !state.is_in_flight)
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_in_flight)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.state.iter().flat_map(|state| &state.queue)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut QueuedEntry> {
        self.state.iter_mut().flat_map(|state| &mut state.queue)
    }

    pub(super) fn records(&self) -> usize {
        self.iter().map(QueuedEntry::len).sum()
    }

    pub(super) fn oldest(&self) -> Option<&BufferedRecord> {
        self.iter().map(QueuedEntry::oldest).min_by_key(|record| record.seq)
    }

    pub(super) fn front(&self) -> Option<&QueuedEntry> {
        self.state.as_ref()?.queue.front()
    }

    /// Queues an entry. The first entry inherits the backoff of the stream, because the outage may continue.
    pub(super) fn push(&mut self, entry: QueuedEntry, stream: &Backoff) {
        let is_first = self.is_empty();
        let state = self.state();
        if is_first {
            state.backoff = stream.clone();
        }
        state.queue.push_back(entry);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        let state = self.state.as_mut();
        state.map(|state| std::mem::take(&mut state.queue)).unwrap_or_default().into_iter()
    }

    pub(super) fn extend(&mut self, entries: Vec<QueuedEntry>) {
        if !entries.is_empty() {
            self.state().queue.extend(entries);
        }
    }

    /// Requeues entries in front of all others, because the failure is not attributed to any of them.
    pub(in crate::pipeline) fn push_front(&mut self, entries: Vec<QueuedEntry>) {
        for entry in entries.into_iter().rev() {
            self.state().queue.push_front(entry);
        }
    }

    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.state.as_ref()?.backoff.until(now)
    }

    /// Removes the entries of the next request, up to the first one for which `takes` returns `false`.
    pub(super) fn next_batch(
        &mut self,
        max: usize,
        max_bytes: usize,
        mut takes: impl FnMut(&QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let state = self.state();
        let max = state.size.max().min(max);
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < max
            && let Some(next) = state.queue.front()
            && (taken.is_empty() || bytes + next.size() <= max_bytes)
            && takes(next)
            && let Some(entry) = state.queue.pop_front()
        {
            bytes += entry.size();
            taken.push(entry);
        }
        state.is_in_flight = true;
        taken.sort_unstable_by_key(QueuedEntry::seq);
        taken
    }

    pub(in crate::pipeline) fn set_idle(&mut self) {
        if let Some(state) = &mut self.state {
            state.is_in_flight = false;
        }
    }

    pub(super) fn reset_if_empty(&mut self) {
        if self.is_empty() {
            self.state = None;
        }
    }

    /// Ends the backoff, because the stream accepts requests again.
    pub(in crate::pipeline) fn retry_now(&mut self) {
        if let Some(state) = &mut self.state {
            state.backoff.reset();
        }
    }

    pub(in crate::pipeline) fn fail(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        completion: Completion,
        rng: &mut Rng,
    ) {
        let Completion { request, next, now } = completion;
        let state = self.state();
        state.backoff.fail(request, next, now, rng);
        // Wait at least as long as the request took, so that slow failures do not keep a slot occupied.
        state.backoff.wait_at_least(now + took);
        if entries.len() > 1 {
            state.size.fail(entries.len());
            self.push_front(entries);
        } else {
            state.size = RequestSize::one();
            state.queue.extend(entries);
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
        let state = self.state();
        state.backoff.reset();
        state.size.succeed(sent, took, timeout, limit);
        state.queue.extend(failed);
    }
}
