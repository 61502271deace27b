#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Waker;

use foldhash::quality::RandomState;
use tokio::sync::oneshot;

use super::entry::{Activity, Entry, Nanos, StreamProducer};
use super::settings::{RouterSettings, WhenFull};
use super::status::add_totals;
use super::waiters::{Caller, Waiter, Waiters};
use crate::status::Totals;
use crate::stream::StreamId;

/// Number of entries that [`Streams::sweep`] examines before it returns, so that it does not block senders for long.
const SWEEP_ENTRIES: usize = 256;

/// The idle timeout is checked at least this many times per timeout.
const SWEEPS_PER_TIMEOUT: u64 = 8;

/// Maximum time between two sweeps, so that idle streams release unused memory even with a long idle timeout.
const MAX_SWEEP_INTERVAL: Nanos = 60 * 1_000_000_000;

/// Table of open streams. It has no clock and does no I/O, and it calls no code that could use the router.
///
/// Times are arguments, and never decrease. Effects outside of the table are collected in [`Effects`].
#[derive(Debug)]
pub(super) struct Streams<T> {
    open: HashMap<StreamId, Row<T>, RandomState>,
    /// Streams by their last use. A key is refreshed only when it is read, so it can be too early.
    by_use: BTreeMap<Key, StreamId>,
    waiters: Waiters<T>,
    max_streams: usize,
    when_full: WhenFull,
    idle_timeout: Nanos,
    next_id: u64,
    /// Time until which no idle stream is searched for, because the last search found none.
    next_search_at: Nanos,
    is_closed: bool,
    /// `false` once nothing calls [`serve`](Streams::serve), so that callers cannot wait.
    is_served: bool,
    opened: u64,
    /// Totals of the closed streams.
    closed_totals: Totals,
}

#[derive(Debug)]
struct Row<T> {
    entry: Arc<Entry<T>>,
    key: Key,
    /// Time at which the stream was first seen idle since its last use.
    idle_since: Option<Nanos>,
}

/// Time of a use, and the id of the entry.
pub(super) type Key = (Nanos, u64);

/// Reason why a stream was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    /// The maximum number of streams is open, and none of them can be closed.
    Full,
    /// The runtime was shut down, so that no stream will be closed.
    Abandoned,
}

/// Signal that the maximum number of open streams is no longer exceeded.
pub(super) type OverflowEnd = oneshot::Receiver<()>;

/// Effects of a change of the table. They can run code of the user, so the caller applies them after it has unlocked the
/// table.
#[derive(Debug)]
pub(super) struct Effects<T> {
    /// Entries that were removed. Dropping them closes their producers.
    closed: Vec<Arc<Entry<T>>>,
    served: Vec<(Caller<T>, Arc<Entry<T>>)>,
    signals: Vec<oneshot::Sender<()>>,
    /// Drivers of producers that are to release unused memory.
    resting: Vec<Waker>,
}

impl<T> Default for Effects<T> {
    fn default() -> Self {
        Self { closed: Vec::new(), served: Vec::new(), signals: Vec::new(), resting: Vec::new() }
    }
}

impl<T> Effects<T> {
    pub(super) fn apply(self) {
        let Self { closed, served, signals, resting } = self;
        for (caller, entry) in served {
            // The caller may have been dropped.
            let _ = caller.send(entry);
        }
        for signal in signals {
            let _ = signal.send(());
        }
        for driver in resting {
            driver.wake();
        }
        drop(closed);
    }
}

impl<T: StreamProducer> Streams<T> {
    pub(super) fn new(settings: &RouterSettings) -> Self {
        Self {
            open: HashMap::default(),
            by_use: BTreeMap::new(),
            waiters: Waiters::default(),
            max_streams: settings.max_streams,
            when_full: settings.when_full,
            idle_timeout: Nanos::try_from(settings.idle_timeout.as_nanos()).unwrap_or(Nanos::MAX),
            next_id: 0,
            next_search_at: 0,
            is_closed: false,
            is_served: true,
            opened: 0,
            closed_totals: Totals::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_streams
    }

    pub(super) fn when_full(&self) -> WhenFull {
        self.when_full
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the number of streams that were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Returns the totals of the streams that were closed.
    pub(super) fn closed_totals(&self) -> &Totals {
        &self.closed_totals
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry<T>>> {
        self.open.values().map(|row| &row.entry)
    }

    /// Returns the entry of an open stream. Returns `None` if the stream is to be opened again.
    pub(super) fn get(&self, stream: &str, now: Nanos) -> Option<&Arc<Entry<T>>> {
        let entry = &self.open.get(stream)?.entry;
        let is_current = !self.is_closed && !entry.can_reopen(now, self.idle_timeout);
        is_current.then_some(entry)
    }

    /// Returns the entry of an open stream for a query, which is not a use of the stream.
    pub(super) fn peek(&self, stream: &str) -> Option<&Arc<Entry<T>>> {
        self.open.get(stream).map(|row| &row.entry)
    }

    /// Returns the entry of a stream, and opens the stream if necessary.
    ///
    /// With [`WhenFull::Evict`], the least recently used idle stream is closed if the maximum number of streams is open.
    pub(super) fn open(
        &mut self,
        stream: &StreamId,
        now: Nanos,
        effects: &mut Effects<T>,
    ) -> Result<Arc<Entry<T>>, Refusal> {
        if let Some(entry) = self.reopen(stream, now, effects)? {
            return Ok(entry);
        }
        // A caller that does not wait must not overtake those that wait.
        let has_room =
            self.waiters.front().is_none() && self.make_room(now, self.max_streams, effects);
        if has_room { Ok(self.insert(stream, now, effects)) } else { Err(Refusal::Full) }
    }

    /// Opens a stream like [`open`](Self::open), but exceeds the maximum if no stream is idle. If the maximum is exceeded,
    /// the receiver completes when it no longer is.
    pub(super) fn open_beyond(
        &mut self,
        stream: &StreamId,
        now: Nanos,
        effects: &mut Effects<T>,
    ) -> Result<(Arc<Entry<T>>, Option<OverflowEnd>), Refusal> {
        match self.open(stream, now, effects) {
            Err(Refusal::Full) if self.when_full == WhenFull::Evict => {
                let entry = self.insert(stream, now, effects);
                let overflow = self.open.len() > self.max_streams && self.is_served;
                Ok((entry, overflow.then(|| self.waiters.push_overflow())))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Enqueues a caller that waits until a stream can be opened.
    pub(super) fn wait(
        &mut self,
        stream: &StreamId,
    ) -> Result<oneshot::Receiver<Arc<Entry<T>>>, Refusal> {
        if self.when_full == WhenFull::Reject {
            return Err(Refusal::Full);
        }
        if self.is_served { Ok(self.waiters.push(stream)) } else { Err(Refusal::Abandoned) }
    }

    /// Returns the entry of a stream if it is open. Replaces it if its producer has ended.
    fn reopen(
        &mut self,
        stream: &StreamId,
        now: Nanos,
        effects: &mut Effects<T>,
    ) -> Result<Option<Arc<Entry<T>>>, Refusal> {
        if self.is_closed {
            return Err(Refusal::Closed);
        }
        let Some(row) = self.open.get(stream) else { return Ok(None) };
        let entry = row.entry.clone();
        entry.touch(now);
        if !entry.can_reopen(now, self.idle_timeout) {
            return Ok(Some(entry));
        }
        self.remove(&entry, effects);
        Ok(Some(self.insert(stream, now, effects)))
    }

    fn insert(&mut self, stream: &StreamId, now: Nanos, effects: &mut Effects<T>) -> Arc<Entry<T>> {
        let id = self.next_id;
        self.next_id += 1;
        self.opened += 1;
        let key = (now, id);
        let entry = Arc::new(Entry::new(stream.clone(), id, now));
        let row = Row { entry: entry.clone(), key, idle_since: None };
        self.open.insert(stream.clone(), row);
        self.by_use.insert(key, stream.clone());
        for caller in self.waiters.take(stream) {
            effects.served.push((caller, entry.clone()));
        }
        entry
    }

    /// Removes an entry unless it was removed before.
    pub(super) fn remove(&mut self, entry: &Arc<Entry<T>>, effects: &mut Effects<T>) {
        let is_same = |row: &Row<T>| row.entry.id() == entry.id();
        if !self.open.get(entry.stream()).is_some_and(is_same) {
            return;
        }
        let Some(row) = self.open.remove(entry.stream()) else { return };
        self.by_use.remove(&row.key);
        if let Some(producer) = row.entry.get() {
            add_totals(&mut self.closed_totals, &producer.totals());
        }
        effects.closed.push(row.entry);
    }

    /// Closes idle streams until fewer than `max` are open. Returns `false` if there are not enough.
    fn make_room(&mut self, now: Nanos, max: usize, effects: &mut Effects<T>) -> bool {
        while self.open.len() >= max {
            let evicts = self.when_full == WhenFull::Evict;
            if !evicts || !self.evict(now, effects) {
                return false;
            }
        }
        true
    }

    /// Closes the least recently used idle stream.
    fn evict(&mut self, now: Nanos, effects: &mut Effects<T>) -> bool {
        if now < self.next_search_at {
            return false;
        }
        let mut in_use = Vec::new();
        let mut evicted = None;
        while evicted.is_none()
            && let Some((key, stream)) = self.by_use.pop_first()
        {
            let Some(row) = self.open.get_mut(&stream) else { continue };
            let used = row.entry.last_used();
            if used > key.0 {
                row.key = (used, key.1);
                self.by_use.insert(row.key, stream);
            } else if is_closable(row, now, self.idle_timeout) {
                evicted = Some(row.entry.clone());
            } else {
                // Counts as a use, so that the next search examines the other streams first.
                row.entry.touch(now);
                row.key = (now, key.1);
                in_use.push((row.key, stream));
            }
        }
        self.by_use.extend(in_use);
        match &evicted {
            Some(entry) => self.remove(entry, effects),
            // A search takes up to 0.1 us per stream. With many streams, the pause limits its share of the time.
            None => self.next_search_at = now + 1_000 * (self.open.len() as Nanos & !63),
        }
        evicted.is_some()
    }

    /// Closes idle streams for waiting callers, and opens the streams of these callers.
    pub(super) fn serve(&mut self, now: Nanos, effects: &mut Effects<T>) {
        while let Some(waiter) = self.waiters.front() {
            let max = match waiter {
                Waiter::Open(_) => self.max_streams,
                Waiter::Overflow(_) => self.max_streams + 1,
            };
            if !self.make_room(now, max, effects) {
                return;
            }
            match self.waiters.pop() {
                Some(Waiter::Open(stream)) => drop(self.insert(&stream, now, effects)),
                Some(Waiter::Overflow(signal)) => effects.signals.push(signal),
                None => return,
            }
        }
        // A sink that has exceeded the maximum may have been dropped before it was served.
        self.make_room(now, self.max_streams + 1, effects);
    }

    /// Returns `true` if [`serve`](Self::serve) must be called again.
    pub(super) fn must_serve(&self) -> bool {
        !self.waiters.is_empty() || self.open.len() > self.max_streams
    }

    /// Returns the time before which [`serve`](Self::serve) has no effect.
    pub(super) fn next_search_at(&self) -> Nanos {
        self.next_search_at
    }

    /// Returns the time between two sweeps.
    pub(super) fn sweep_interval(&self) -> Nanos {
        (self.idle_timeout / SWEEPS_PER_TIMEOUT).min(MAX_SWEEP_INTERVAL)
    }

    /// Examines some streams. Closes those that have been idle for the idle timeout, and asks those that have been idle
    /// since the last sweep to release unused memory. Returns the key at which the caller must continue, or `None` if all
    /// streams were examined.
    pub(super) fn sweep(&mut self, from: Key, now: Nanos, effects: &mut Effects<T>) -> Option<Key> {
        let mut next = from;
        for _ in 0..SWEEP_ENTRIES {
            let (&key, stream) = self.by_use.range(next..).next()?;
            next = (key.0, key.1 + 1);
            let Some(row) = self.open.get_mut(stream) else { continue };
            if examine(row, now, self.idle_timeout) {
                let entry = row.entry.clone();
                self.remove(&entry, effects);
            } else if let Some(producer) = row.entry.get() {
                effects.resting.extend(producer.request_rest());
            }
        }
        Some(next)
    }

    /// Closes the table: no stream is opened from now on. Waiting callers receive an error when the result is dropped.
    pub(super) fn close(&mut self) -> Waiters<T> {
        self.is_closed = true;
        self.abandon()
    }

    /// Prevents callers from waiting. Those that are waiting receive an error when the result is dropped.
    pub(super) fn abandon(&mut self) -> Waiters<T> {
        self.is_served = false;
        std::mem::take(&mut self.waiters)
    }
}

/// Returns `true` if no call is in progress. The caller has exclusive access to the table, so no call can begin.
fn is_unused<T>(row: &mut Row<T>) -> bool {
    // `get_mut` also makes the effects of ended calls visible.
    Arc::get_mut(&mut row.entry).is_some()
}

/// Returns `true` if a stream can be closed without losing records or interrupting calls.
fn is_closable<T: StreamProducer>(row: &mut Row<T>, now: Nanos, pause: Nanos) -> bool {
    let is_unused = is_unused(row);
    match row.entry.activity() {
        // A stopped stream is then opened again before its pause has ended, so that it keeps no other stream closed.
        Activity::Idle | Activity::Stopped { is_empty: true } => is_unused,
        _ => row.entry.can_reopen(now, pause),
    }
}

/// Notes whether a stream is idle. Returns `true` if its timeout has expired.
fn examine<T: StreamProducer>(row: &mut Row<T>, now: Nanos, timeout: Nanos) -> bool {
    let is_unused = is_unused(row);
    match row.entry.activity() {
        Activity::Closed { .. } | Activity::Stopped { .. } => row.entry.can_reopen(now, timeout),
        Activity::Idle if is_unused => {
            let used = row.entry.last_used();
            let since = *row.idle_since.insert(match row.idle_since {
                Some(since) if since >= used => since,
                _ => now,
            });
            now - since >= timeout
        }
        Activity::Idle | Activity::InUse => {
            row.idle_since = None;
            false
        }
    }
}
