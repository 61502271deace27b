use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower::BoxError;

use super::backlog::{Backlog, EntryOutcome};
use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::health::{Effect, Failure, Health, Origin};
use super::in_flight::{InFlightRequest, RequestKind};
use super::ledger::Ledger;
use super::retry::halve_request;
use super::settlement::Settlement;
use super::topology::{PlacementCheck, Topology};
use crate::record::{AttemptError, FailureReason};
use crate::service::{EntryClass, EntryError, ErrorClass, Placement, PutRecordsResponse, TIMEOUT};
use crate::settings::Settings;
use crate::shard::ShardMap;
use crate::status::RequestSummary;

/// Settles the outcome of a request: the parts of the pipeline that it changes, at one moment.
#[derive(Debug)]
pub(super) struct Settling<'a> {
    pub(super) settings: &'a Settings,
    pub(super) rng: &'a mut Rng,
    pub(super) backlog: &'a mut Backlog,
    pub(super) topology: &'a mut Topology,
    pub(super) health: &'a mut Health,
    pub(super) settlement: &'a mut Settlement,
    pub(super) ledger: &'a mut Ledger,
    /// The number of the next request.
    pub(super) next: u64,
    /// Whether no other request is in flight.
    pub(super) is_idle: bool,
    pub(super) now: Instant,
}

/// What is left of an entry that failed.
enum FailedEntry {
    Retry(Vec<QueuedEntry>),
    /// Its record may be the cause.
    UnknownCause(Vec<QueuedEntry>),
}

impl Settling<'_> {
    /// Settles the response to the request with the number `number`, which has a result for each entry.
    pub(super) fn settle_response(
        &mut self,
        number: u64,
        request: InFlightRequest,
        response: PutRecordsResponse,
    ) {
        let InFlightRequest { entries, records, bytes, sent_at, kind, .. } = request;
        let (sent, delivered) = (entries.len(), response.delivered());
        let errors = if delivered == sent { Vec::new() } else { response.errors() };
        let took = self.now.saturating_duration_since(sent_at);
        let delivered_before = self.ledger.totals().delivered;
        self.topology.check_response(number, &entries, response.results(), self.now);
        let (mut retries, mut failed) = (Vec::new(), Vec::new());
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
                // Parts of rejected aggregates only. A short wait bounds the rate.
                self.health.wait_without_failure(self.now, self.rng);
            }
            let samples = self.ledger.samples_mut().filter(|samples| samples.wants_shards());
            let (next, now, topology) = (self.next, self.now, &*self.topology);
            let shard_id = |lane| topology.shard_of(lane);
            self.backlog.apply_outcomes(number, next, now, self.rng, samples, shard_id);
        }
        self.requeue(retries);
        self.learn(number, delivered);
    }

    /// Applies what a response has shown about the shards.
    fn learn(&mut self, number: u64, delivered: usize) {
        let (next, now) = (self.next, self.now);
        let (opened, reroutes) =
            self.topology.apply_observations(number, next, delivered, now, self.rng);
        self.backlog.open_lanes(opened, next, now);
        if reroutes {
            self.backlog.reroute(self.topology);
        }
    }

    /// Settles a response in which no entry was delivered, and none was throttled: the stream is failing. Returns what
    /// is retried.
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
        // The stream is failing, and no single shard.
        self.backlog.clear_outcomes();
        let error = failed.first().and_then(|entry| entry.oldest().last_error.clone());
        self.health.on_failed_entries(number, error, self.next, self.now, self.rng);
        self.retry_request(failed, kind)
    }

    /// Settles a response in which something was delivered or throttled. Returns what is retried.
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

    /// Records a success: the stream takes requests.
    pub(super) fn record_success(&mut self, took: Duration) {
        if self.health.on_success(took) {
            self.backlog.isolated_mut().retry_now();
            self.topology.retry_listing();
        }
    }

    /// Settles an entry that the service has written. Returns what is retried.
    #[inline]
    fn settle_written(
        &mut self,
        number: u64,
        mut entry: QueuedEntry,
        placement: Placement,
    ) -> Vec<QueuedEntry> {
        match self.check_written(number, &mut entry, &placement) {
            PlacementCheck::Placed => {
                self.settlement.deliver(&mut entry, placement, self.ledger, self.now);
                self.backlog.release_next(entry.route.order, Vec::new(), self.topology)
            }
            check => self.settle_unverified(check, number, entry, placement),
        }
    }

    fn check_written(
        &mut self,
        number: u64,
        entry: &mut QueuedEntry,
        placement: &Placement,
    ) -> PlacementCheck {
        let shard_id = placement.shard_id();
        let lane = self.topology.observe(entry, shard_id);
        self.backlog.record_outcome(lane, entry.size(), EntryOutcome::Delivered);
        let (is_failing, now) = (self.health.is_failing(), self.now);
        self.topology.verify(number, entry, shard_id, is_failing, now, self.rng)
    }

    /// Settles a written aggregate that is misplaced, or whose shard is not known. Returns what is retried.
    fn settle_unverified(
        &mut self,
        check: PlacementCheck,
        number: u64,
        entry: QueuedEntry,
        placement: Placement,
    ) -> Vec<QueuedEntry> {
        if check == PlacementCheck::Misplaced {
            let order = entry.route.order;
            let left = self.retry_misplaced(entry, &placement);
            return self.backlog.release_next(order, left, self.topology);
        }
        if entry.predicted().is_some() {
            // Later records of its keys wait, since it may have to be sent again.
            self.backlog.require_repartition();
        }
        self.topology.hold(number, entry, placement, self.now);
        Vec::new()
    }

    /// Settles the held aggregates that can be decided, by the latest list of shards or by an `outdated` one.
    pub(super) fn settle_held(&mut self, outdated: Option<&ShardMap>) {
        let mut retries = Vec::new();
        for (held, check) in self.topology.verify_held(outdated, self.health.is_failing()) {
            let order = held.entry.route.order;
            let left = if check == PlacementCheck::Misplaced {
                self.retry_misplaced(held.entry, &held.placement)
            } else {
                let mut entry = held.entry;
                self.settlement.deliver(&mut entry, held.placement, self.ledger, self.now);
                Vec::new()
            };
            retries.extend(self.backlog.release_next(order, left, self.topology));
        }
        self.requeue(retries);
    }

    /// Settles an aggregate that is in the stream, but in a shard where consumers discard it. Returns what is retried.
    fn retry_misplaced(
        &mut self,
        mut entry: QueuedEntry,
        placement: &Placement,
    ) -> Vec<QueuedEntry> {
        let shard_id = placement.shard_id();
        let error = Arc::new(AttemptError {
            code: "Misplaced".to_owned(),
            message: format!(
                "its aggregate was written to {shard_id}, where not all of its records belong"
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
        // Consumers read a plain record in any shard.
        let singles = entry.into_singles(self.backlog.packing());
        singles.into_iter().flat_map(|single| self.retry_or_fail(single, &error)).collect()
    }

    /// Settles an entry that has failed.
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
        // That an isolated record fails says nothing about the others of its shard.
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

    /// Settles a request that has failed as a whole.
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
        // One of the records may be the cause, or their number.
        let has_unknown_cause = matches!(class, ErrorClass::OutcomeUnknown | ErrorClass::Blocked);
        if error.code() == TIMEOUT {
            let is_repeated = entries.iter().any(QueuedEntry::has_failed);
            self.health.on_timeout(took, timeout_factor, is_repeated);
        }
        // On a stream that has taken other records, an isolated record is the cause itself: a record that a firewall
        // blocks must not stop a producer that has nothing else to send.
        let is_cause = kind == RequestKind::Isolated
            && has_unknown_cause
            && self.ledger.totals().delivered > 0;
        if !is_cause {
            let origin = Origin::Request { entries: entries.len() };
            let error = error.clone();
            self.on_failure(Failure { class, source, error, request: number, origin });
        }
        // Failures of the whole stream, or of a layer, do not count as attempts.
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
            // The tokens of a bisected request were taken with the one that was refused.
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

    /// Records a failure that was not caused by one of the records.
    pub(super) fn on_failure(&mut self, failure: Failure) {
        match self.health.on_failure(failure, self.next, self.now, self.rng) {
            Effect::None => {}
            Effect::ForgetShards => {
                self.topology.forget_shards(self.now, self.rng);
                self.backlog.reroute(self.topology);
            }
        }
    }

    /// Bisects a request that was refused as invalid. A single record fails.
    fn bisect(&mut self, request: InFlightRequest, error: &Arc<AttemptError>) {
        self.record_success(self.now.saturating_duration_since(request.sent_at));
        self.health.outages.succeeded(self.now);
        // A short wait bounds the rate where everything is refused.
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
                    // The second half waits until the first one is settled.
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

    /// Halves an aggregate that was rejected, since one of its records is enough for that. A single record fails.
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

/// Another record may be the cause, so it is no attempt of these.
fn without_attempt(mut entries: Vec<QueuedEntry>) -> Vec<QueuedEntry> {
    for entry in &mut entries {
        entry.revoke_attempt();
    }
    entries
}
