use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower::BoxError;

use super::backlog::{Backlog, EntryOutcome};
use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::health::{Effect, Failure, Health, Origin};
use super::in_flight::{Completion, InFlightRequest, RequestKind};
use super::ledger::Ledger;
use super::retry::halve_request;
use super::settlement::Settlement;
use super::topology::{PlacementCheck, Topology, Verification};
use crate::record::{AttemptError, FailureReason};
use crate::service::{EntryClass, EntryError, ErrorClass, Placement, PutRecordsResponse, TIMEOUT};
use crate::settings::Settings;
use crate::shard::ShardMap;
use crate::status::RequestSummary;

/// Borrows the parts of the pipeline that change when a request is settled.
#[derive(Debug)]
pub(super) struct Settling<'a> {
    pub(super) settings: &'a Settings,
    pub(super) rng: &'a mut Rng,
    pub(super) backlog: &'a mut Backlog,
    pub(super) topology: &'a mut Topology,
    pub(super) health: &'a mut Health,
    pub(super) settlement: &'a mut Settlement,
    pub(super) ledger: &'a mut Ledger,
    pub(super) next: u64,
    /// Set to `true` if no other request is in flight.
    pub(super) is_idle: bool,
    pub(super) now: Instant,
}

/// Entries to retry after an entry has failed.
enum FailedEntry {
    Retry(Vec<QueuedEntry>),
    /// Entries whose failure may have been caused by one of their records.
    UnknownCause(Vec<QueuedEntry>),
}

impl Settling<'_> {
    pub(super) fn completion(&self, request: u64) -> Completion {
        Completion { request, next: self.next, now: self.now }
    }

    pub(super) fn settle_response(
        &mut self,
        number: u64,
        request: InFlightRequest,
        response: PutRecordsResponse,
    ) {
        let InFlightRequest { entries, records, bytes, sent_at, kind, .. } = request;
        let sent = entries.len();
        let delivered = response.delivered();
        let errors = if delivered == sent { Vec::new() } else { response.errors() };
        let took = self.now.saturating_duration_since(sent_at);
        let delivered_before = self.ledger.totals().delivered;
        self.topology.check_response(number, &entries, response.results(), self.now);
        let mut retries = Vec::new();
        let mut failed = Vec::new();
        debug_assert_eq!(sent, response.results().len(), "a response has one result per entry");
        for (mut entry, result) in entries.into_iter().zip(response.into_results()) {
            entry.record_flight(sent_at, self.now);
            match result {
                Ok(placement) => retries.extend(self.settle_written(number, entry, placement)),
                Err(error) => match self.settle_failed(entry, error, kind) {
                    FailedEntry::Retry(left) => retries.extend(left),
                    FailedEntry::UnknownCause(left) => failed.extend(left),
                },
            }
        }
        let delivered_records = (self.ledger.totals().delivered - delivered_before) as usize;
        self.ledger.set_last_request(RequestSummary {
            records,
            entries: sent,
            bytes,
            delivered: delivered_records,
            errors,
        });
        let is_outage = match kind {
            RequestKind::Isolated => {
                delivered == 0 && !self.backlog.has_outcomes() && !failed.is_empty()
            }
            RequestKind::Lanes | RequestKind::Bisected => self.backlog.all_failed(),
        };
        if is_outage {
            retries.extend(self.settle_outage(number, kind, failed, took));
        } else {
            retries.extend(self.settle_success(kind, sent, failed, took));
            if delivered == 0 && !retries.is_empty() && !self.backlog.has_outcomes() {
                // Parts of rejected aggregates are retried without a backoff. The wait limits their rate.
                self.health.wait_without_failure(self.now, self.rng);
            }
            let completion = self.completion(number);
            let samples = self.ledger.samples_mut().filter(|samples| samples.records_shards());
            let topology = &*self.topology;
            let shard_id = |lane| topology.shard_of(lane);
            self.backlog.apply_outcomes(completion, self.rng, samples, shard_id);
        }
        self.requeue(retries);
        self.learn(number, delivered);
    }

    fn learn(&mut self, number: u64, delivered: usize) {
        let completion = self.completion(number);
        let (opened, reroutes) = self.topology.apply_observations(completion, delivered, self.rng);
        self.backlog.open_lanes(opened, self.next, self.now);
        if reroutes {
            self.backlog.reroute(self.topology);
        }
    }

    /// Settles a response in which all entries failed and none was throttled. Returns the entries to retry.
    fn settle_outage(
        &mut self,
        number: u64,
        kind: RequestKind,
        failed: Vec<QueuedEntry>,
        took: Duration,
    ) -> Vec<QueuedEntry> {
        self.health.on_response();
        if kind == RequestKind::Isolated {
            self.requeue_isolated(failed, took, number);
            return Vec::new();
        }
        self.backlog.clear_outcomes();
        let error = failed.first().and_then(|entry| entry.oldest().last_error.clone());
        let completion = self.completion(number);
        self.health.on_failed_entries(error, completion, self.rng);
        self.retry_request(failed, kind)
    }

    /// Settles a response in which an entry was delivered or throttled. Returns the entries to retry.
    fn settle_success(
        &mut self,
        kind: RequestKind,
        sent: usize,
        failed: Vec<QueuedEntry>,
        took: Duration,
    ) -> Vec<QueuedEntry> {
        self.record_success(took);
        self.health.clear_failing();
        self.health.outages.response(sent, self.now);
        self.health.on_latency(took);
        let limit = self.settings.limits.request_entries();
        if kind == RequestKind::Isolated {
            self.refund(&failed);
            let failed = self.route(failed);
            self.ledger.count_requeued(&failed);
            self.backlog.isolated_mut().succeed(sent, failed, took, self.health.timeout(), limit);
            return Vec::new();
        }
        self.health.on_entries(sent, took, limit);
        self.retry_entries(failed)
    }

    /// Records a successful request. After an outage, retries isolated records and failed listings immediately.
    pub(super) fn record_success(&mut self, took: Duration) {
        if self.health.on_success(took) {
            self.backlog.isolated_mut().retry_now();
            self.topology.retry_listing();
        }
    }

    #[inline]
    fn settle_written(
        &mut self,
        number: u64,
        mut entry: QueuedEntry,
        placement: Placement,
    ) -> Vec<QueuedEntry> {
        let verification = self.verify(number, &mut entry, &placement);
        if verification.check != PlacementCheck::Placed {
            return self.settle_unplaced(verification, entry, placement);
        }
        self.settlement.deliver(&mut entry, placement, self.ledger, self.now);
        self.backlog.release_next(entry.route.order, Vec::new(), self.topology)
    }

    fn verify(
        &mut self,
        number: u64,
        entry: &mut QueuedEntry,
        placement: &Placement,
    ) -> Verification {
        let shard_id = placement.shard_id();
        let lane = self.topology.observe(entry, shard_id);
        self.backlog.record_outcome(lane, entry.size(), EntryOutcome::Delivered);
        let completion = self.completion(number);
        self.topology.verify(entry, shard_id, completion, self.health.is_failing(), self.rng)
    }

    fn settle_unplaced(
        &mut self,
        verification: Verification,
        entry: QueuedEntry,
        placement: Placement,
    ) -> Vec<QueuedEntry> {
        if verification.check == PlacementCheck::Misplaced {
            let order = entry.route.order;
            let left = self.retry_misplaced(entry, &placement);
            return self.backlog.release_next(order, left, self.topology);
        }
        if entry.predicted().is_some() {
            // Later records are blocked, because the aggregate can still be retried and they must not overtake it.
            self.backlog.require_repartition();
        }
        self.topology.await_verification(entry, placement, verification);
        Vec::new()
    }

    /// Settles the aggregates that can be verified now. `outdated` is a shard list that was already outdated when it
    /// arrived.
    pub(super) fn settle_unverified(&mut self, outdated: Option<&ShardMap>) {
        let mut retries = Vec::new();
        for (unverified, check) in self.topology.reverify(outdated, self.health.is_failing()) {
            let order = unverified.entry.route.order;
            let left = if check == PlacementCheck::Misplaced {
                self.retry_misplaced(unverified.entry, &unverified.placement)
            } else {
                let mut entry = unverified.entry;
                self.settlement.deliver(&mut entry, unverified.placement, self.ledger, self.now);
                Vec::new()
            };
            retries.extend(self.backlog.release_next(order, left, self.topology));
        }
        self.requeue(retries);
    }

    /// Settles a misplaced aggregate, which consumers discard. Returns the entries to retry.
    fn retry_misplaced(
        &mut self,
        mut entry: QueuedEntry,
        placement: &Placement,
    ) -> Vec<QueuedEntry> {
        let shard_id = placement.shard_id();
        let error = Arc::new(AttemptError {
            code: "Misplaced".to_owned(),
            message: format!(
                "aggregate was written to {shard_id}, which does not own all of its records"
            ),
        });
        self.ledger.count_misplaced();
        for record in entry.members_mut() {
            record.count_misplaced();
        }
        entry.set_outcome_unknown();
        entry.record_error(&error, self.now);
        self.topology.record_misplaced(&entry, self.now, self.rng);
        let is_sent_alone = |record: &BufferedRecord| self.topology.is_sent_alone(record);
        if entry.predicted().is_some() || !entry.members().iter().any(is_sent_alone) {
            return self.retry_or_fail(entry, &error);
        }
        // Consumers accept a plain record from any shard.
        let singles = entry.into_singles(self.backlog.packing());
        singles.into_iter().flat_map(|single| self.retry_or_fail(single, &error)).collect()
    }

    fn settle_failed(
        &mut self,
        mut entry: QueuedEntry,
        error: EntryError,
        kind: RequestKind,
    ) -> FailedEntry {
        let order = entry.route.order;
        let (class, error) = self.health.classify_entry(error);
        entry.record_error(&error, self.now);
        let is_throttled = class == EntryClass::Throttled;
        // The failure of an isolated record is attributed to the record and not to its shard.
        let counts = kind != RequestKind::Isolated || is_throttled;
        if counts && class != EntryClass::Rejected {
            let outcome = if is_throttled { EntryOutcome::Throttled } else { EntryOutcome::Failed };
            let lane = self.topology.outcome_lane(&entry);
            self.backlog.record_outcome(lane, entry.size(), outcome);
            self.health.outages.entry_failed(is_throttled, &error);
        }
        match class {
            EntryClass::Rejected => {
                let halves = self.halve_rejected(entry, &error).into_iter().flatten().collect();
                FailedEntry::Retry(self.backlog.release_next(order, halves, self.topology))
            }
            EntryClass::Throttled => {
                self.ledger.count_throttled();
                entry.redraw_key(self.rng);
                for record in entry.members_mut() {
                    record.reset_failures();
                }
                FailedEntry::Retry(self.retry_in_order(entry, &error))
            }
            EntryClass::OutcomeUnknown => {
                entry.set_outcome_unknown();
                FailedEntry::UnknownCause(self.retry_in_order(entry, &error))
            }
            EntryClass::Transient => FailedEntry::UnknownCause(self.retry_in_order(entry, &error)),
        }
    }

    pub(super) fn settle_failure(
        &mut self,
        number: u64,
        request: InFlightRequest,
        source: BoxError,
    ) {
        let (class, error) = self.health.classify(&source);
        self.ledger.set_last_request(request.failed_summary(&error));
        if class == ErrorClass::Invalid {
            return self.bisect(request, &error);
        }
        let InFlightRequest { entries, sent_at, kind, timeout_factor, .. } = request;
        let took = self.now.saturating_duration_since(sent_at);
        // The cause can be a single record, or the size of the request.
        let has_unknown_cause = matches!(class, ErrorClass::OutcomeUnknown | ErrorClass::Blocked);
        if error.code() == TIMEOUT {
            let is_repeated = entries.iter().any(QueuedEntry::has_failed);
            self.health.on_timeout(took, timeout_factor, is_repeated);
        }
        // If the stream has accepted other records, the failure is attributed to the isolated record and not to the
        // stream. Otherwise, a record that is blocked by a firewall, for example, would stop a producer that has
        // nothing else to send.
        let is_cause = kind == RequestKind::Isolated
            && has_unknown_cause
            && self.ledger.totals().delivered > 0;
        if !is_cause {
            let origin = Origin::Request { entries: entries.len() };
            let error = error.clone();
            self.on_failure(Failure { class, source, error, request: number, origin });
        }
        // Failures that concern the whole stream, and requests that a layer did not send, do not count as attempts.
        let is_attempt =
            !matches!(class, ErrorClass::NotSent | ErrorClass::Credentials | ErrorClass::Fatal);
        let mut retries = Vec::new();
        for mut entry in entries {
            entry.record_flight(sent_at, self.now);
            entry.record_error(&error, self.now);
            if has_unknown_cause {
                entry.set_outcome_unknown();
            }
            if class == ErrorClass::Throttled {
                entry.redraw_key(self.rng);
            }
            // A bisected request has taken no tokens, because the original request had already taken them.
            if class == ErrorClass::NotSent && kind != RequestKind::Bisected {
                self.refund(std::slice::from_ref(&entry));
            }
            if is_attempt {
                retries.extend(self.retry_in_order(entry, &error));
            } else {
                entry.revoke_attempt();
                retries.push(entry);
            }
        }
        match kind {
            RequestKind::Isolated if has_unknown_cause => {
                self.requeue_isolated(retries, took, number);
            }
            RequestKind::Isolated => {
                let retries = self.route(retries);
                self.ledger.count_requeued(&retries);
                self.backlog.isolated_mut().push_front(retries);
            }
            RequestKind::Lanes | RequestKind::Bisected => {
                if has_unknown_cause {
                    retries = self.retry_request(retries, kind);
                }
                match kind {
                    RequestKind::Bisected => self.queue_part(retries),
                    _ => self.requeue(retries),
                }
            }
        }
    }

    pub(super) fn on_failure(&mut self, failure: Failure) {
        match self.health.on_failure(failure, self.next, self.now, self.rng) {
            Effect::None => {}
            Effect::ForgetShards => {
                self.topology.forget_shards(self.now, self.rng);
                self.backlog.reroute(self.topology);
            }
        }
    }

    fn bisect(&mut self, request: InFlightRequest, error: &Arc<AttemptError>) {
        self.record_success(self.now.saturating_duration_since(request.sent_at));
        self.health.outages.succeeded(self.now);
        // The wait limits the request rate if every request is rejected.
        self.health.wait_without_failure(self.now, self.rng);
        let mut entries = request.entries;
        for entry in &mut entries {
            entry.record_flight(request.sent_at, self.now);
            entry.record_error(error, self.now);
        }
        let halves = match <[QueuedEntry; 1]>::try_from(entries) {
            Ok([only]) => {
                let order = only.route.order;
                let [first, second] = self.halve_rejected(only, error);
                if order.is_some() {
                    // The second half is queued until the first one is settled.
                    let halves = first.into_iter().chain(second).collect();
                    [self.backlog.release_next(order, halves, self.topology), Vec::new()]
                } else {
                    [first, second]
                }
            }
            Err(entries) => halve_request(entries).map(without_attempt),
        };
        for half in halves.into_iter().rev() {
            self.queue_part(half);
        }
    }

    /// Halves a rejected aggregate to find the invalid record. If the entry is a single record, the record fails.
    fn halve_rejected(
        &mut self,
        entry: QueuedEntry,
        error: &Arc<AttemptError>,
    ) -> [Vec<QueuedEntry>; 2] {
        match entry.halve(self.backlog.packing()) {
            ControlFlow::Continue(halves) => halves.map(without_attempt),
            ControlFlow::Break(poison) => {
                self.settlement.fail(poison, FailureReason::Rejected(error.clone()), self.ledger);
                [Vec::new(), Vec::new()]
            }
        }
    }
}

/// Revokes the latest attempt of entries that failed because of another record.
fn without_attempt(mut entries: Vec<QueuedEntry>) -> Vec<QueuedEntry> {
    for entry in &mut entries {
        entry.revoke_attempt();
    }
    entries
}
