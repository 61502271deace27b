//! State machine that accepts records, builds requests from them, and settles the responses.
//!
//! [`Pipeline`] performs no I/O, reads no clock, and is not async. The caller passes in the time and the responses, and
//! receives requests, settlements, and the next wakeup as return values.
//!
//! ```text
//! accept ──▶ wants_to_send? ──next_request──▶ (the caller sends it) ──settle──▶ delivered
//!                  ▲                                                    │
//!                  └───────────── requeued, in order ◀──────────────────┴────▶ failed
//! ```
//!
//! At any time, a record is in exactly one place: the backlog, a request in flight, an aggregate that awaits
//! verification, or the settlement. The outcome of a settled record is reported to its receipt, the dead-letter
//! handler, or the owner of the sink.

mod aggregate;
mod aggregation;
mod backlog;
mod backoff;
mod buffered;
mod classifier;
#[cfg_attr(not(feature = "spool"), allow(dead_code, reason = "only a spool acknowledges records"))]
mod departures;
mod entry;
mod flush;
mod health;
mod in_flight;
mod ledger;
mod linger;
mod ordering;
mod retry;
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nothing is measured"))]
mod samples;
mod schedule;
mod settlement;
mod settling;
#[cfg(test)]
mod tests;
mod topology;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower::BoxError;

pub use aggregation::{AggregateKey, Aggregation};
pub(crate) use backlog::LaneId;
pub(crate) use buffered::{Admission, FAILED, ShareId, UNROUTED, share_of_lane};
#[cfg(feature = "spool")]
pub(crate) use departures::Departures;
pub(crate) use flush::FlushReason;
pub(crate) use health::{OutageKind, Report, Stage};
pub(crate) use in_flight::RequestId;
pub(crate) use ledger::{BufferChange, Ledger, Size};
pub use linger::Linger;
pub use ordering::RecordOrdering;
#[cfg(feature = "metrics")]
pub use samples::MetricsGranularity;
#[cfg(feature = "metrics")]
pub(crate) use samples::ShardSample;
pub(crate) use topology::Prerequisites;

use self::backlog::{Backlog, BatchParams, Repartition};
use self::buffered::BufferedRecord;
use self::entry::QueuedEntry;
use self::flush::Flush;
use self::health::{Failure, Health, Origin};
use self::in_flight::{InFlight, InFlightRequest, RequestKind};
use self::schedule::Schedule;
use self::settlement::Settlement;
use self::settling::Settling;
use self::topology::Topology;
use self::work::Work;
use crate::error::{Error, Rejection};
use crate::record::{AttemptError, FailureReason, Record, SharedHandler, Undelivered};
use crate::service::{
    Classify, ErrorClass, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use crate::settings::Settings;
use crate::shard::ShardMap;
use crate::stream::{Distribution, StreamDescription, StreamId};

#[derive(Debug)]
pub(crate) struct Pipeline {
    settings: Arc<Settings>,
    rng: Rng,
    backlog: Backlog,
    in_flight: InFlight,
    topology: Topology,
    health: Health,
    settlement: Settlement,
    ledger: Ledger,
    flush: Flush,
    work: Work,
}

impl Pipeline {
    /// Creates an empty pipeline. `lists_shards` is `true` if the shards of the stream can be listed.
    pub(crate) fn new(
        stream: StreamId,
        settings: Arc<Settings>,
        lists_shards: bool,
        classify: Arc<dyn Classify>,
    ) -> Self {
        Self {
            rng: settings.seed.map_or_else(Rng::new, Rng::with_seed),
            backlog: Backlog::new(&settings),
            in_flight: InFlight::new(stream.clone()),
            topology: Topology::new(&settings, lists_shards),
            health: Health::new(&settings, classify),
            settlement: Settlement::new(stream),
            ledger: Ledger::new(&settings),
            flush: Flush::new(settings.effective_linger()),
            work: Work::default(),
            settings,
        }
    }

    /// Returns `true` if the buffer accepts another record. That record can make the buffer exceed its size limit.
    pub(crate) fn has_capacity(&self) -> bool {
        self.settings.has_capacity(self.ledger.buffered())
    }

    pub(crate) fn accept(&mut self, record: Record, now: Instant) -> Result<(), Error> {
        if let Err(error) = self.settings.limits.check(&record) {
            return Err(Error::rejected(record, error));
        }
        if self.flush.is_closing() {
            return Err(Error::rejected(record, Rejection::Closed));
        }
        if !self.has_capacity() {
            return Err(Error::rejected(record, Rejection::Full));
        }
        self.admit(record, Admission::default(), now);
        Ok(())
    }

    /// Accepts a record without checks. The caller must have checked all limits.
    pub(crate) fn admit(&mut self, record: Record, admission: Admission, now: Instant) {
        let seq = self.ledger.count_accepted(record.size());
        let record = record.accepted(self.in_flight.stream());
        let record = BufferedRecord::new(record, seq, admission, now, &mut self.rng);
        self.backlog.push(record, &mut self.topology, &mut self.rng, &mut self.work);
    }

    /// Requests a flush of all accepted records. Even partial requests are sent as soon as the linger permits.
    pub(crate) fn flush(&mut self) {
        self.flush.request(self.ledger.next_seq());
    }

    /// Sets the size of the largest waiting record. Partial requests are sent until it fits into the buffer.
    pub(crate) fn set_waiter(&mut self, bytes: Option<usize>) {
        self.flush.set_waiter(bytes);
    }

    /// Sets whether a record waits for capacity of a shared budget. Partial requests are then sent without lingering.
    pub(crate) fn set_waits_for_budget(&mut self, waits: bool) {
        self.flush.set_waits_for_budget(waits);
    }

    pub(crate) fn close(&mut self) {
        self.flush.close();
    }

    /// Advances the time to `now`: fails the records whose deadline has passed, and resumes paused lanes.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.expire(now);
        // Lanes are resumed last, because expiring a record can pause its lane until a time in the past.
        self.resume_lanes(now);
    }

    /// Resumes paused lanes only if a request can be sent, because the rate limiter interprets pauses as demand.
    fn resume_lanes(&mut self, now: Instant) {
        if self.schedule().may_send(now) {
            self.backlog.resume_lanes(now);
        }
    }

    fn expire(&mut self, now: Instant) {
        let Some(deadline) = self.settings.deadline else { return };
        let is_expired = |record: &BufferedRecord| record.accepted_at + deadline <= now;
        let mut expired = self.backlog.expire(is_expired, &mut self.topology);
        for mut entry in self.topology.expire_unverified(is_expired) {
            entry.set_outcome_unknown();
            self.backlog.release_next(entry.route.order, Vec::new(), &mut self.topology);
            expired.extend(entry.into_members());
        }
        for mut record in expired {
            let last = record.last_error.take();
            let reason = FailureReason::DeadlineExceeded { deadline, last };
            self.settlement.fail(record, reason, &mut self.ledger);
        }
        self.repartition();
    }

    /// Returns `true` if [`next_request`](Self::next_request) should be called. The call can still return `None`.
    pub(crate) fn wants_to_send(&self, now: Instant) -> bool {
        let schedule = self.schedule();
        schedule.flush_reason(now).is_some() || schedule.may_resume_lane(now)
    }

    pub(crate) fn wants_to_send_full(&self) -> bool {
        self.schedule().has_full_request()
    }

    /// Returns the next time after `now` at which a timer fires, such as a linger, backoff, or deadline.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        self.schedule().wakeup(now)
    }

    fn schedule(&self) -> Schedule<'_> {
        Schedule {
            settings: &self.settings,
            backlog: &self.backlog,
            in_flight: &self.in_flight,
            topology: &self.topology,
            health: &self.health,
            ledger: &self.ledger,
            flush: &self.flush,
        }
    }

    /// Builds the next request and returns it with its flush reason. Returns `None` if no request should be sent now,
    /// or if the call stopped [early](Self::is_unfinished).
    pub(crate) fn next_request(
        &mut self,
        now: Instant,
    ) -> Option<(RequestId, PutRecordsRequest, FlushReason)> {
        self.work.begin_step();
        self.resume_lanes(now);
        let (reason, entries) = loop {
            let schedule = self.schedule();
            let reason = schedule.flush_reason(now)?;
            let limits = schedule.limits(reason);
            let open_before = self.backlog.open_aggregates();
            let Self { backlog, flush, topology, work, .. } = self;
            let params = BatchParams { reason, flush, limits, now };
            let entries = backlog.next_batch(&params, topology, work);
            if !entries.is_empty() {
                break (reason, entries);
            }
            // The closed aggregates are blocked. Try the next ones, unless this attempt has closed or blocked none.
            if work.is_unfinished() || backlog.open_aggregates() == open_before {
                return None;
            }
        };
        self.ledger.count_request(reason, &entries, now);
        let factor = self.health.timeout_factor();
        let mut request = InFlightRequest::new(entries, reason, factor, now);
        self.work.add_records(request.records);
        // Some aggregates have not been encoded yet, for example those that were repacked.
        self.work.add_bytes(request.entries.iter_mut().map(QueuedEntry::encode).sum());
        let (id, request) = self.in_flight.start(request);
        Some((id, request, reason))
    }

    /// Returns `true` if [`next_request`](Self::next_request) stopped because it reached its limit of encoded bytes per
    /// call. The caller should then call it again, possibly after yielding to other tasks.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.work.is_unfinished()
    }

    /// Returns the work done since the last call, in units of a task's cooperative budget.
    pub(crate) fn take_work(&mut self) -> usize {
        self.work.take()
    }

    /// Settles a request. Does nothing if the request has already been settled or its records have been withdrawn.
    pub(crate) fn settle(
        &mut self,
        id: RequestId,
        outcome: Result<PutRecordsResponse, BoxError>,
        now: Instant,
    ) {
        let Some(request) = self.in_flight.finish(id) else { return };
        self.work.add_records(request.records);
        if request.kind == RequestKind::Isolated {
            self.backlog.isolated_mut().set_idle();
        }
        let sent = request.entries.len();
        let outcome = outcome.and_then(|response| match response.results().len() {
            results if results == sent => Ok(response),
            results => Err(PutRecordsError::wrong_length(sent, results).into()),
        });
        let mut settling = self.settling(now);
        match outcome {
            Ok(response) => settling.settle_response(id.0, request, response),
            Err(error) => settling.settle_failure(id.0, request, error),
        }
        self.backlog.update_isolation(&self.topology);
        if self.topology.must_decide_without_list() {
            self.settling(now).settle_unverified(None);
        }
        self.repartition();
    }

    fn settling(&mut self, now: Instant) -> Settling<'_> {
        Settling {
            settings: &self.settings,
            rng: &mut self.rng,
            backlog: &mut self.backlog,
            topology: &mut self.topology,
            health: &mut self.health,
            settlement: &mut self.settlement,
            ledger: &mut self.ledger,
            next: self.in_flight.next_number(),
            is_idle: self.in_flight.is_empty(),
            now,
        }
    }

    /// Records an error of the service that occurred before a request was sent, while the service was becoming ready.
    pub(crate) fn fail_service(&mut self, source: BoxError, now: Instant) {
        let (class, error) = self.health.classify(&source);
        let origin = Origin::Request { entries: 0 };
        self.on_failure(class, source, error, origin, now);
    }

    /// Records the error of a lookup that must succeed before any request is sent.
    pub(crate) fn fail_lookup(&mut self, class: ErrorClass, source: BoxError, now: Instant) {
        let (_, error) = self.health.classify(&source);
        self.on_failure(class, source, error, Origin::Lookup, now);
    }

    fn on_failure(
        &mut self,
        class: ErrorClass,
        source: BoxError,
        error: Arc<AttemptError>,
        origin: Origin,
        now: Instant,
    ) {
        let request = self.in_flight.next_number();
        let failure = Failure { class, source, error, request, origin };
        self.settling(now).on_failure(failure);
        self.repartition();
    }

    /// Repacks the backlog if the predicted shards have changed. With ordering, this waits until only isolated records
    /// are in flight and none awaits verification, because retried records must precede later records of their key.
    fn repartition(&mut self) {
        if self.topology.take_change() {
            self.backlog.repartition(Repartition::Shards, &mut self.topology);
        }
        let is_blocked = self.in_flight.has_unisolated() || !self.topology.unverified().is_empty();
        if self.backlog.is_repartition_due() && !is_blocked {
            let isolated = self.in_flight.isolated_mut();
            self.backlog.repartition_in_order(isolated, &mut self.topology);
        }
    }

    pub(crate) fn description_is_due(&self, now: Instant) -> bool {
        let is_required = self.topology.awaits_description();
        (is_required && self.health.retry_at(now).is_none() && !self.health.is_stopped())
            || self.topology.routing().is_description_due(now)
    }

    pub(crate) fn apply_description(
        &mut self,
        description: Option<StreamDescription>,
        now: Instant,
    ) {
        if self.topology.apply_description(description.as_ref(), now, &mut self.rng) {
            self.settling(now).settle_unverified(None);
            return self.repartition();
        }
        self.settling(now).record_success(Duration::ZERO);
        let Some(description) = description else { return };
        self.health.clear_failing();
        self.health.outages.succeeded(now);
        if description.distribution() == Distribution::Auto {
            self.topology.stop_learning();
            self.backlog.reroute(&mut self.topology);
        }
        let limits = self.settings.limits.for_stream(description.max_record_bytes());
        if limits != self.settings.limits {
            Arc::make_mut(&mut self.settings).limits = limits;
        }
        self.backlog.update_packing(&self.settings);
        if self.settings.is_aggregating() {
            // The backlog can contain aggregates that were packed for another maximum record size.
            self.backlog.repartition(Repartition::Limits, &mut self.topology);
            self.repartition();
        }
    }

    /// Records a failed call to describe the stream. `may_pass` is `false` if a retry cannot succeed.
    pub(crate) fn fail_description(&mut self, may_pass: bool, now: Instant) {
        if self.topology.fail_description(may_pass, now, &mut self.rng) {
            self.settling(now).settle_unverified(None);
            self.repartition();
        }
    }

    /// Continues without a stream description, because the source of metadata does not provide one.
    pub(crate) fn description_unavailable(&mut self, now: Instant) {
        self.topology.stop_describing();
        self.apply_description(None, now);
    }

    /// Continues without shard lists, which the source does not provide. Records are then aggregated by key.
    pub(crate) fn listing_unavailable(&mut self, now: Instant) {
        self.topology.stop_listing();
        self.settling(now).settle_unverified(None);
        self.repartition();
    }

    /// Rejects a stream whose records are distributed by the service. The pipeline sends no requests until a
    /// description reports that records are distributed by partition key.
    pub(crate) fn reject_stream(&mut self, error: BoxError, now: Instant) {
        self.topology.reject_stream();
        self.settling(now).settle_unverified(None);
        self.fail_lookup(ErrorClass::Fatal, error, now);
    }

    /// Applies a shard list, or records a failed call if `list` is `None`.
    pub(crate) fn apply_list(&mut self, list: Option<ShardMap>, now: Instant) {
        let next = self.in_flight.next_number();
        let (opened, outdated) = self.topology.apply_list(list, next, now, &mut self.rng);
        self.backlog.open_lanes(opened, next, now);
        self.backlog.reroute(&mut self.topology);
        self.settling(now).settle_unverified(outdated.as_ref());
        self.repartition();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.schedule().is_settled()
    }

    /// Releases the memory that is not needed while no record is queued or in flight. Does nothing if there is one.
    pub(crate) fn rest(&mut self) {
        if self.is_settled() {
            self.backlog.rest();
            self.in_flight.rest();
            self.topology.rest();
            self.settlement.rest();
            self.ledger.rest();
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.backlog.records()
    }

    /// Returns the number of records in flight, including those that await verification.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight_size().records
    }

    pub(crate) fn in_flight_size(&self) -> Size {
        let mut size = self.in_flight.size();
        for aggregate in self.topology.unverified() {
            size += Size { records: aggregate.entry.len(), bytes: aggregate.entry.record_bytes() };
        }
        size
    }

    fn oldest(&self) -> Option<&BufferedRecord> {
        let unverified = self.topology.unverified().iter().map(|aggregate| &aggregate.entry);
        let sent = self.in_flight.first_entries().chain(unverified).map(QueuedEntry::oldest);
        self.backlog.heads().chain(sent).min_by_key(|record| record.seq)
    }

    /// Returns the sequence number of the oldest unsettled record, or of the next record if all are settled.
    pub(crate) fn oldest_unsettled(&self) -> u64 {
        self.oldest().map_or(self.ledger.next_seq(), |oldest| oldest.seq)
    }

    pub(crate) fn oldest_age(&self, now: Instant) -> Duration {
        self.oldest().map_or(Duration::ZERO, |oldest| oldest.age(now))
    }

    pub(crate) fn oldest_accepted_at(&self) -> Option<Instant> {
        self.oldest().map(|oldest| oldest.accepted_at)
    }

    /// Returns all buffered records in the order of acceptance.
    pub(crate) fn undelivered(&self) -> Vec<&Record> {
        let unverified = self.topology.unverified().iter().map(|aggregate| &aggregate.entry);
        let entries = self.backlog.iter().chain(self.in_flight.entries()).chain(unverified);
        let unsettled = entries.flat_map(QueuedEntry::members);
        let unsettled = unsettled.map(|record| (record.seq, record.record()));
        let failed = self.settlement.failed();
        let failed = failed.map(|(seq, undelivered)| (*seq, undelivered.record()));
        let mut buffered: Vec<_> = unsettled.chain(failed).collect();
        buffered.sort_unstable_by_key(|(seq, _)| *seq);
        buffered.into_iter().map(|(_, record)| record).collect()
    }

    pub(crate) fn stream(&self) -> &StreamId {
        self.in_flight.stream()
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn health_mut(&mut self) -> &mut Health {
        &mut self.health
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(crate) fn topology_mut(&mut self) -> &mut Topology {
        &mut self.topology
    }

    pub(crate) fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    pub(crate) fn settlement_mut(&mut self) -> &mut Settlement {
        &mut self.settlement
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.flush.is_closing()
    }

    /// Hands newly failed records to their receipts, or to `handler` if they have no receipt.
    pub(crate) fn offer_failed(&mut self, handler: Option<&SharedHandler>) {
        let kept = self.settlement.offer_failed(handler, &mut self.ledger);
        if let Some(reason) = self.settlement.last_failure().filter(|_| kept > 0)
            // A producer that stops logs the number of these records itself.
            && !matches!(reason, FailureReason::Refused(_))
        {
            self.health.outages.records_failed(kept, reason);
        }
    }

    /// Returns the latest failure reason if the buffer is full of failed records and contains no others.
    pub(crate) fn blocked_by_failed(&self) -> Option<&FailureReason> {
        self.settlement.last_failure().filter(|_| self.is_settled() && !self.has_capacity())
    }

    pub(crate) fn take_report(&mut self, now: Instant) -> Option<Report> {
        if self.health.outages.is_quiet() {
            return None;
        }
        let is_idle = self.is_settled();
        self.health.outages.take_report(now, is_idle)
    }

    /// Takes the failed records in the order of acceptance and completes their receipts.
    pub(crate) fn take_failed(&mut self) -> Vec<Undelivered> {
        complete_receipts(self.settlement.take_failed(&mut self.ledger))
    }

    /// Takes all records in the order of acceptance and completes their receipts. The failure reason of unsettled
    /// records is [`Withdrawn`](FailureReason::Withdrawn).
    pub(crate) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        // The fatal error applies only to records accepted before this call.
        self.health.reset_fatal();
        complete_receipts(self.withdraw(|last| FailureReason::Withdrawn { last }))
    }

    pub(crate) fn fail_unsettled(&mut self, error: &Arc<AttemptError>) {
        for record in self.drain() {
            self.settlement.fail(record, FailureReason::Refused(error.clone()), &mut self.ledger);
        }
        self.health.clear_fatal();
    }

    /// Withdraws the unsettled records. Completes the receipts of those that are in the spool, and returns their number.
    /// Also returns the others, in the order of acceptance, with the failure reason `reason`.
    #[cfg(feature = "spool")]
    pub(crate) fn leave_in_spool(
        &mut self,
        is_spooled: impl Fn(u64) -> bool,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
    ) -> (usize, Vec<Undelivered>) {
        let (spooled, others) =
            self.drain().into_iter().partition::<Vec<_>, _>(|record| is_spooled(record.seq));
        let count = spooled.len();
        let Self { settlement, ledger, .. } = self;
        let stays = |last| FailureReason::Spooled { last };
        drop(complete_receipts(settlement.withdraw_unsettled(spooled, stays, ledger)));
        (count, settlement.withdraw_unsettled(others, reason, ledger))
    }

    /// Accepts a record that can never be sent, which fails.
    #[cfg(feature = "spool")]
    pub(crate) fn admit_unsendable(
        &mut self,
        record: Record,
        admission: Admission,
        now: Instant,
        error: AttemptError,
    ) {
        let seq = self.ledger.count_accepted(record.size());
        let record = record.accepted(self.in_flight.stream());
        let record = BufferedRecord::new(record, seq, admission, now, &mut self.rng);
        let reason = FailureReason::Rejected(Arc::new(error));
        self.settlement.fail(record, reason, &mut self.ledger);
    }

    /// Returns copies of the unsettled records, in the order of acceptance, with their sequence numbers and the times at
    /// which they were accepted.
    #[cfg(feature = "spool")]
    pub(crate) fn unsettled_records(&self) -> Vec<(u64, Record, Instant)> {
        let unverified = self.topology.unverified().iter().map(|aggregate| &aggregate.entry);
        let entries = self.backlog.iter().chain(self.in_flight.entries()).chain(unverified);
        let members = entries.flat_map(QueuedEntry::members);
        let copy = |one: &BufferedRecord| (one.seq, one.record().clone(), one.accepted_at);
        let mut records: Vec<_> = members.map(copy).collect();
        records.sort_unstable_by_key(|(seq, ..)| *seq);
        records
    }

    /// Hands each record over to its receipt. Returns the records without a receipt in the order of acceptance.
    pub(crate) fn abandon(&mut self) -> Vec<Undelivered> {
        let taken = self.withdraw(|last| FailureReason::Abandoned { last }).into_iter();
        taken.filter_map(|undelivered| undelivered.hand_over().err()).collect()
    }

    fn withdraw(
        &mut self,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
    ) -> Vec<Undelivered> {
        let unsettled = self.drain();
        self.settlement.withdraw(unsettled, reason, &mut self.ledger)
    }

    fn drain(&mut self) -> Vec<BufferedRecord> {
        let unverified =
            self.topology.drain_unverified().into_iter().map(|aggregate| aggregate.entry);
        let sent = self.in_flight.drain().chain(unverified).map(|mut entry| {
            entry.set_outcome_unknown();
            entry
        });
        let entries = self.backlog.drain().into_iter().chain(sent);
        let mut records: Vec<_> = entries.flat_map(QueuedEntry::into_members).collect();
        records.sort_unstable_by_key(|record| record.seq);
        records
    }
}

fn complete_receipts(mut undelivered: Vec<Undelivered>) -> Vec<Undelivered> {
    for one in &mut undelivered {
        one.complete_receipt();
    }
    undelivered
}
