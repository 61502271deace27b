//! Decides how failed entries are retried: as they are, in smaller requests, or isolated.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::in_flight::RequestKind;
use super::settling::Settling;
use crate::record::{AttemptError, FailureReason};

/// An entry that failed so often in a row, while others of its requests were delivered, is isolated. Failures that hit
/// one entry in ten at random come to that once in 100,000 times.
const ENTRY_RETRIES: u8 = 4;

impl Settling<'_> {
    /// Takes the entries of a request that has failed as a whole, and returns what is retried. If it was not for the
    /// first time, the next request has half of the entries. Of a single entry, an aggregate is halved and a record
    /// isolated.
    pub(super) fn retry_request(
        &mut self,
        mut entries: Vec<QueuedEntry>,
        kind: RequestKind,
    ) -> Vec<QueuedEntry> {
        let is_repeated = entries.iter().any(QueuedEntry::has_failed);
        for entry in &mut entries {
            entry.count_failure();
        }
        if !is_repeated {
            return entries;
        }
        match <[QueuedEntry; 1]>::try_from(entries) {
            Ok([only]) => {
                self.health.on_repeated_failure(1);
                let mut retries = self.halve_or_isolate(only);
                if kind == RequestKind::Bisected && retries.len() > 1 {
                    // A request may be limited to one entry.
                    let later = retries.split_off(1);
                    for entry in later.into_iter().rev() {
                        self.queue_part(vec![entry]);
                    }
                }
                retries
            }
            Err(entries) if kind == RequestKind::Bisected => {
                let [first, second] = halve_request(entries);
                self.queue_part(second);
                first
            }
            Err(entries) => {
                self.health.on_repeated_failure(entries.len());
                entries
            }
        }
    }

    /// Takes the entries that failed while others of their request were delivered, and returns what is retried.
    pub(super) fn retry_entries(&mut self, entries: Vec<QueuedEntry>) -> Vec<QueuedEntry> {
        let mut retries = Vec::new();
        for mut entry in entries {
            entry.count_failure();
            if entry.members().iter().all(|member| member.failures() > ENTRY_RETRIES) {
                retries.extend(self.halve_or_isolate(entry));
            } else {
                retries.push(entry);
            }
        }
        retries
    }

    /// Halves an aggregate that failed repeatedly while nothing else did. The first half takes its place in the order.
    /// A single record is isolated.
    fn halve_or_isolate(&mut self, entry: QueuedEntry) -> Vec<QueuedEntry> {
        let order = entry.route.order;
        match entry.halve(self.backlog.packing()) {
            ControlFlow::Continue(halves) => {
                let halves = halves.into_iter().flatten().collect();
                self.backlog.release_next(order, halves, self.topology)
            }
            ControlFlow::Break(record) => {
                let mut entry = QueuedEntry::single(record).close(self.backlog.packing());
                entry.route.order = order;
                self.ledger.count_requeued(std::slice::from_ref(&entry));
                self.backlog.isolate(entry, self.health, self.topology);
                Vec::new()
            }
        }
    }

    /// Queues isolated records again whose request has failed as a whole.
    pub(super) fn requeue_isolated(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        number: u64,
    ) {
        self.refund(&entries);
        let entries = self.route(entries);
        self.ledger.count_requeued(&entries);
        // If nothing else is held, only the log says why the sink is not settled. Before the first delivery the failure
        // is reported like that of any request.
        let is_alone = self.is_idle && !self.backlog.has_unisolated();
        let error = entries.first().and_then(|entry| entry.oldest().last_error.clone());
        if let Some(error) = error.filter(|_| is_alone && self.ledger.totals().delivered > 0) {
            self.health.outages.request_failed(&error, true, self.now);
        }
        self.backlog.isolated_mut().fail(entries, took, number, self.next, self.now, self.rng);
    }

    /// Refunds the tokens of entries. Retries of a record that is never stored must not use up those of others.
    pub(super) fn refund(&mut self, entries: &[QueuedEntry]) {
        for entry in entries {
            let lane = self.topology.current_lane(entry);
            self.backlog.refund(lane, entry.size(), self.now);
        }
    }

    /// Routes isolated entries again: their lanes may have been closed, or their keys drawn again.
    pub(super) fn route(&mut self, mut entries: Vec<QueuedEntry>) -> Vec<QueuedEntry> {
        for entry in &mut entries {
            self.topology.route(entry);
        }
        entries
    }

    pub(super) fn retry_in_order(
        &mut self,
        entry: QueuedEntry,
        error: &Arc<AttemptError>,
    ) -> Vec<QueuedEntry> {
        let order = entry.route.order;
        let left = self.retry_or_fail(entry, error);
        self.backlog.release_next(order, left, self.topology)
    }

    /// Fails the records whose last attempt this was, and returns the others.
    pub(super) fn retry_or_fail(
        &mut self,
        entry: QueuedEntry,
        error: &Arc<AttemptError>,
    ) -> Vec<QueuedEntry> {
        let Some(max_attempts) = self.settings.max_attempts else { return vec![entry] };
        let is_exhausted = |record: &BufferedRecord| record.attempts >= max_attempts;
        let (left, exhausted) = entry.without(self.backlog.packing(), is_exhausted);
        for record in exhausted {
            let (attempts, last) = (record.attempts, error.clone());
            let reason = FailureReason::AttemptsExhausted { attempts, last };
            self.settlement.fail(record, reason, self.ledger);
        }
        left
    }

    pub(super) fn requeue(&mut self, entries: Vec<QueuedEntry>) {
        self.ledger.count_requeued(&entries);
        self.backlog.push_front(entries, self.topology);
    }

    /// Queues a part of a refused request, which is sent alone.
    pub(super) fn queue_part(&mut self, part: Vec<QueuedEntry>) {
        self.ledger.count_requeued(&part);
        self.backlog.bisect(part, self.topology);
    }
}

pub(super) fn halve_request(mut entries: Vec<QueuedEntry>) -> [Vec<QueuedEntry>; 2] {
    let second = entries.split_off(entries.len() / 2);
    [entries, second]
}
