//! Decides how failed entries are retried: unchanged, in smaller requests, or isolated.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::in_flight::RequestKind;
use super::settling::Settling;
use crate::record::{AttemptError, FailureReason};

/// Number of times that an entry is retried before it is isolated, if other entries of its requests are delivered. If
/// one in ten entries fails at random, only one entry in 100,000 is isolated.
const ENTRY_RETRIES: u8 = 4;

impl Settling<'_> {
    /// Returns the entries to retry after a request has failed as a whole. If any entry has failed before, the next
    /// requests contain half as many. A single aggregate is halved, and a single record is isolated.
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
                    // Each half becomes a separate part, because requests can be limited to one entry.
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

    /// Returns the entries to retry after some entries of a request have failed.
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

    /// Halves an aggregate or isolates a record. With ordering, the second half waits behind the returned first one.
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

    pub(super) fn requeue_isolated(
        &mut self,
        entries: Vec<QueuedEntry>,
        took: Duration,
        number: u64,
    ) {
        self.refund(&entries);
        let entries = self.route(entries);
        self.ledger.count_requeued(&entries);
        // If only isolated records are left, no other request shows why the sink is not settled, so the failure is
        // reported here. Before the first delivery, it was already reported like any failed request.
        let is_alone = self.is_idle && !self.backlog.has_unisolated();
        let error = entries.first().and_then(|entry| entry.oldest().last_error.clone());
        if let Some(error) = error.filter(|_| is_alone && self.ledger.totals().delivered > 0) {
            self.health.outages.request_failed(&error, true, self.now);
        }
        let completion = self.completion(number);
        self.backlog.isolated_mut().fail(entries, took, completion, self.rng);
    }

    /// Refunds the tokens of the entries, so that endless retries of one record do not delay others.
    pub(super) fn refund(&mut self, entries: &[QueuedEntry]) {
        for entry in entries {
            let lane = self.topology.current_lane(entry);
            self.backlog.refund(lane, entry.size(), self.now);
        }
    }

    /// Reroutes isolated entries, because their lanes may have been closed or their keys redrawn.
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

    /// Fails the records that have no attempts left, and returns the others.
    pub(super) fn retry_or_fail(
        &mut self,
        entry: QueuedEntry,
        error: &Arc<AttemptError>,
    ) -> Vec<QueuedEntry> {
        let Some(max_attempts) = self.settings.max_attempts else { return vec![entry] };
        let is_exhausted = |record: &BufferedRecord| record.attempts >= max_attempts;
        let (left, exhausted) = entry.without(self.backlog.packing(), is_exhausted);
        for record in exhausted {
            let reason =
                FailureReason::AttemptsExhausted { attempts: record.attempts, last: error.clone() };
            self.settlement.fail(record, reason, self.ledger);
        }
        left
    }

    pub(super) fn requeue(&mut self, entries: Vec<QueuedEntry>) {
        self.ledger.count_requeued(&entries);
        self.backlog.push_front(entries, self.topology);
    }

    pub(super) fn queue_part(&mut self, part: Vec<QueuedEntry>) {
        self.ledger.count_requeued(&part);
        self.backlog.bisect(part, self.topology);
    }
}

pub(super) fn halve_request(mut entries: Vec<QueuedEntry>) -> [Vec<QueuedEntry>; 2] {
    let second = entries.split_off(entries.len() / 2);
    [entries, second]
}
