//! The core: what is accepted, when a request is cut from it, and what becomes of its records.
//!
//! A state machine without I/O, clock or async. Time and responses come in as arguments; requests, the
//! next wake-up and what failed go out as values. The order of calls is the caller's:
//!
//! ```text
//! accept ──▶ due? ──cut──▶ request ──▶ (the caller sends it) ──settle──▶ delivered
//!              ▲                                                  │
//!              └────────────── requeued, in order ◀───────────────┴────▶ failed
//! ```
//!
//! Each record is at every moment in exactly one of: an open aggregate, what waits behind another of its
//! key, a lane, a group of suspects, the isolated ones, a flight, the unverified ones, the failed ones; or it
//! was delivered or taken out.

mod account;
mod aggregation;
mod backoff;
mod cutting;
mod deadline;
mod failed;
mod grace;
mod hand_back;
mod isolated;
mod lanes;
mod learning;
mod linger;
mod order;
mod ordered;
mod outage;
mod outcome;
mod packer;
mod pending;
mod placing;
mod request_size;
mod routing;
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nobody measures"))]
mod samples;
mod settings;
mod shards;
mod split;
#[cfg(test)]
mod tests;
mod timeout_factor;
mod unit;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower::BoxError;

pub(crate) use aggregation::Packing;
pub use aggregation::{AggregateKey, Aggregation};
#[cfg(feature = "metrics")]
pub(crate) use cutting::CutReason;
pub use linger::Linger;
pub use order::Ordering;
pub(crate) use outage::{Report, Stage, Trouble};
pub(crate) use outcome::unless_it_panics;
#[cfg(feature = "metrics")]
pub use samples::MetricsGranularity;
#[cfg(feature = "metrics")]
pub(crate) use samples::ShardSample;
pub(crate) use settings::Settings;

use self::backoff::Backoff;
use self::failed::Failed;
use self::grace::GracePeriod;
use self::isolated::Isolated;
use self::lanes::Lanes;
use self::learning::Learning;
use self::order::Strands;
use self::outage::Outages;
use self::packer::Packer;
use self::pending::Pending;
use self::placing::Unverified;
use self::request_size::RequestSize;
use self::routing::Routing;
use self::samples::Samples;
use self::shards::Shards;
use self::timeout_factor::TimeoutFactor;
use self::unit::Unit;
use self::work::Work;
use crate::error::{NotAccepted, NotAcceptedReason};
use crate::record::{AttemptError, DeadLetter, Reason, Record, Untold};
use crate::service::ErrorClass;
use crate::shard::HashMemo;
use crate::stream::{Distribution, StreamDescription, StreamId};
use crate::summary::{RequestSummary, Totals};

#[derive(Debug)]
pub(crate) struct Pipeline {
    settings: Settings,
    stream: StreamId,
    rng: Rng,
    /// Aggregates that are not full.
    packer: Packer,
    /// What waits behind others of its key.
    strands: Strands,
    /// What waits to be sent.
    lanes: Lanes,
    learning: Learning,
    /// Of partition keys.
    hashes: HashMemo,
    /// What waits has to be packed anew, in order, once nothing is in flight.
    rebuilds: bool,
    /// Groups out of requests that were refused as invalid, each sent alone to find the culprit.
    suspects: VecDeque<Vec<Unit>>,
    /// Records that failed alone, behind all others.
    isolated: Isolated,
    flights: BTreeMap<RequestId, Flight>,
    shards: Shards,
    routing: Routing,
    /// Aggregates that were delivered to a shard that is not known.
    unverified: Vec<Unverified>,
    awaited: Awaited,
    failed: Failed,
    /// What the receipts of delivered records have not been told.
    delivered: VecDeque<Untold>,
    /// After failures of whole requests; while a series lasts, one request at a time probes.
    backoff: Backoff,
    /// Requests that may be in flight: one after a failure, then twice as many with each success.
    slots: usize,
    /// The most entries of the next request.
    size: RequestSize,
    timeout_factor: TimeoutFactor,
    /// The outages to report in the log.
    outages: Outages,
    /// The time until a series of credentials failures is fatal.
    credentials: GracePeriod,
    /// The time until a series of answers that are not the service's is fatal.
    blocked: GracePeriod,
    fatal: Fatal,
    /// Records accepted and not settled.
    unsettled_records: usize,
    unsettled_bytes: usize,
    next_seq: u64,
    next_request: u64,
    /// Records before this place are wanted out by a flush.
    flush_before: u64,
    closing: bool,
    /// Bytes for which someone waits who cannot give them to [`accept`](Self::accept).
    wanted: Option<usize>,
    totals: Totals,
    last_request: Option<RequestSummary>,
    work: Work,
    /// None if nobody measures.
    samples: Option<Box<Samples>>,
}

/// Names a request between [`Pipeline::cut`] and [`Pipeline::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(u64);

/// A request that was cut and is not settled.
#[derive(Debug)]
struct Flight {
    units: Vec<Unit>,
    records: usize,
    bytes: usize,
    cut_at: Instant,
    kind: FlightKind,
    timeout_factor: u32,
}

/// Where the entries of a request were taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlightKind {
    Lanes,
    /// Half of a request that was refused as invalid.
    Suspects,
    Isolated,
}

/// What must be known of the stream before anything is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Awaited {
    /// Its description.
    pub(crate) description: bool,
    /// The first answer about its shards.
    pub(crate) shards: bool,
}

/// Whether the service refuses everything.
#[derive(Debug, Default)]
enum Fatal {
    #[default]
    No,
    /// The caller has not been told. Nothing is sent until it has.
    Unreported(BoxError, Arc<AttemptError>),
    /// It has; the requests in flight at that time say nothing new.
    Reported(Arc<AttemptError>),
}

impl Pipeline {
    pub(crate) fn new(stream: StreamId, mut settings: Settings) -> Self {
        settings.packing = settings.packing.within(&settings.limits);
        let backoff = Backoff::new(settings.backoff_base, settings.backoff_ceiling);
        Self {
            rng: settings.seed.map_or_else(Rng::new, Rng::with_seed),
            stream,
            packer: Packer::new(settings.ordering == Ordering::PerKey),
            strands: Strands::default(),
            lanes: Lanes::new(settings.limits.quota(), backoff.clone()),
            learning: Learning::default(),
            hashes: HashMemo::default(),
            rebuilds: false,
            shards: Shards::new(&settings),
            routing: Routing::new(&settings),
            unverified: Vec::new(),
            awaited: Awaited::default(),
            suspects: VecDeque::new(),
            isolated: Isolated::new(backoff.clone()),
            flights: BTreeMap::new(),
            failed: Failed::default(),
            delivered: VecDeque::new(),
            backoff,
            slots: settings.max_in_flight,
            outages: Outages::default(),
            size: RequestSize::default(),
            timeout_factor: TimeoutFactor::new(),
            credentials: GracePeriod::new(settings.credentials_timeout),
            blocked: GracePeriod::new(settings.credentials_timeout),
            fatal: Fatal::No,
            unsettled_records: 0,
            unsettled_bytes: 0,
            next_seq: 0,
            next_request: 0,
            flush_before: 0,
            closing: false,
            wanted: None,
            totals: Totals::default(),
            last_request: None,
            work: Work::default(),
            samples: Samples::new(settings.metrics),
            settings,
        }
    }

    /// Whether another record may come. The bounds count everything held; the one record that crosses
    /// them is still taken.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(self.held_records(), self.held_bytes())
    }

    fn has_room_for(&self, records: usize, bytes: usize) -> bool {
        records < self.settings.buffer_records && bytes < self.settings.buffer_bytes
    }

    /// Takes a record, or hands it back with the reason.
    pub(crate) fn accept(&mut self, record: Record, now: Instant) -> Result<(), NotAccepted> {
        if let Err(error) = self.settings.limits.check(&record) {
            return Err(NotAccepted::new(record, error));
        }
        if self.closing {
            return Err(NotAccepted::new(record, NotAcceptedReason::Closed));
        }
        if !self.has_room() {
            return Err(NotAccepted::new(record, NotAcceptedReason::Full));
        }
        self.admit(record, now);
        Ok(())
    }

    /// Takes a record that others have checked, against the limits and the bounds.
    pub(crate) fn admit(&mut self, record: Record, now: Instant) {
        self.unsettled_records += 1;
        self.unsettled_bytes += record.size();
        self.totals.accepted += 1;
        let mut pending = Pending::new(record, self.next_seq, now, &mut self.rng);
        self.next_seq += 1;
        self.find_place(&mut pending);
        self.avoid_busy_shards(&mut pending);
        if !self.settings.packing.is_on() {
            return self.send(Unit::Single(pending));
        }
        for unit in self.pack(pending).into_iter().flatten() {
            // Now, since a request of many is too much to encode at once.
            self.send_encoded(unit);
        }
    }

    /// Looks for the record's place on the hash ring if anything depends on it.
    fn find_place(&mut self, pending: &mut Pending) {
        if self.lanes.tell_apart() || self.shards.tell_apart() {
            pending.find_place(&mut self.hashes);
        }
    }

    /// The same for what comes back: it may have been sent before a second shard was known, or have a key
    /// that was drawn again. Its lane is asked for more than once.
    fn find_places(&mut self, units: &mut [Unit]) {
        if self.lanes.tell_apart() {
            units.iter_mut().for_each(|unit| unit.find_place(&mut self.hashes));
        }
    }

    /// Of two places on the ring a record without a key takes the one where less waits, if it would have
    /// to wait.
    ///
    /// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    fn avoid_busy_shards(&mut self, pending: &mut Pending) {
        if !self.lanes.tell_apart() || !self.lanes.is_paused(pending) {
            return;
        }
        let queued = self.lanes.queued(pending);
        pending.redraw_key_if(&mut self.rng, |moved| self.lanes.queued(moved) < queued);
    }

    /// Takes a record in that was accepted after all that wait, or after all of its group.
    fn enqueue(&mut self, pending: Pending) {
        if !self.settings.packing.is_on() {
            return self.send(Unit::Single(pending));
        }
        for unit in self.pack(pending).into_iter().flatten() {
            self.send(unit);
        }
    }

    /// Puts a record into its aggregate, or makes it one entry. Returns what is to be sent by now, in order.
    fn pack(&mut self, pending: Pending) -> [Option<Unit>; 3] {
        let alone = |pending| Some(Unit::Single(pending));
        let ordered = self.is_ordered();
        let Some((group, shard)) = self.shards.group(&pending) else {
            return [alone(pending), None, None];
        };
        let earlier = if ordered { self.packer.take_other(&group) } else { None };
        if shard.is_none() && self.shards.goes_alone(&pending) {
            return [earlier, self.packer.take(&group), alone(pending)];
        }
        let [first, second] = self.packer.add(pending, group, shard, &self.settings.packing);
        [earlier, first, second]
    }

    /// Puts records back to those that they may share an aggregate with, in the order of acceptance.
    fn repack(&mut self, mut records: Vec<Pending>) {
        let mut open = Vec::new();
        for pending in &records {
            let group = self.shards.group(pending).map(|(group, _)| group);
            let unit = group.and_then(|group| self.packer.take(&group));
            open.extend(unit.into_iter().flat_map(Unit::into_members));
        }
        records.extend(open);
        self.enqueue_all(records);
    }

    fn enqueue_all(&mut self, mut records: Vec<Pending>) {
        records.sort_unstable_by_key(|pending| pending.seq);
        records.into_iter().for_each(|pending| self.enqueue(pending));
    }

    /// Wants everything accepted so far sent, without waiting for full requests.
    pub(crate) fn flush(&mut self) {
        self.flush_before = self.next_seq;
    }

    /// Says for how many bytes someone waits, if someone does: while they do not fit, partial requests
    /// go at once.
    pub(crate) fn want_room(&mut self, bytes: Option<usize>) {
        self.wanted = bytes;
    }

    /// Takes no more records, and sends what is there at once.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// Sends nothing until the stream was [described](Self::described), its shards [listed](Self::listed).
    pub(crate) fn hold(&mut self, awaited: Awaited) {
        self.awaited = awaited;
        self.routing.set_describable(awaited.description);
    }

    pub(crate) fn is_on_hold(&self) -> bool {
        self.awaited.description || self.awaited.shards
    }

    /// Whether the stream may be asked for its description now.
    pub(crate) fn may_describe(&self, now: Instant) -> bool {
        let is_awaited = self.awaited.description
            && !self.backoff.is_waiting(now)
            && !matches!(self.fatal, Fatal::Unreported(..));
        is_awaited || self.routing.is_description_due(now)
    }

    /// Whether the sink aggregates or keeps an order, both of which rely on partition keys.
    pub(crate) fn relies_on_keys(&self) -> bool {
        self.routing.is_relied_on()
    }

    /// Whether answers contradict the description of the stream, so that it has to be described again, past any
    /// cache.
    pub(crate) fn is_routing_doubted(&self) -> bool {
        self.routing.is_doubted()
    }

    /// Whether the latest description says that the service distributes the records itself.
    pub(crate) fn is_distributed_by_service(&self) -> bool {
        self.routing.is_by_service()
    }

    /// Refuses a stream that distributes records itself. Nothing is sent before a description says otherwise.
    /// Records that were written where consumers may discard them are requeued.
    pub(crate) fn refuse_distribution(&mut self, error: BoxError, now: Instant) {
        self.routing.distributed();
        self.awaited.description = true;
        self.verify(None, now);
        self.refuse_as(ErrorClass::Fatal, error, now);
    }

    /// Notes that the stream could not be described again. If another call cannot help, the list of shards decides
    /// which aggregates were delivered.
    pub(crate) fn not_described_again(&mut self, may_pass: bool, now: Instant) {
        let retries = self.routing.may_retry(now, &mut self.rng);
        if !(may_pass && retries) {
            self.dispel_doubt(now);
        }
    }

    fn dispel_doubt(&mut self, now: Instant) {
        self.routing.dispel(now, &mut self.rng);
        self.lanes.forget_retired();
        self.verify(None, now);
        self.rebuild();
    }

    /// Takes the stream's description, or goes on without.
    pub(crate) fn described(&mut self, description: Option<StreamDescription>, now: Instant) {
        let was_doubted = self.routing.is_doubted();
        if let Some(description) = &description {
            self.routing.described(description);
        }
        if was_doubted {
            return self.dispel_doubt(now);
        }
        self.awaited.description = false;
        self.answered(Duration::ZERO);
        let Some(description) = description else { return };
        self.outages.succeeded(now);
        if description.distribution() == Distribution::ByService {
            self.learning.stop();
            self.lanes.forget_shards(&mut self.hashes);
        }
        let Settings { limits, packing, .. } = &mut self.settings;
        *limits = limits.for_stream(description.max_record_bytes());
        *packing = packing.clone().within(limits);
        // What came before may be packed for another limit.
        if packing.is_on() {
            self.pack_anew();
        }
    }

    /// Packs anew what waits.
    fn pack_anew(&mut self) {
        if self.is_ordered() {
            self.rebuilds = true;
            return self.rebuild();
        }
        let waiting = self.lanes.take_all().into_iter().flat_map(Unit::into_members);
        let waiting = waiting.chain(self.packer.take_all()).collect();
        self.enqueue_all(waiting);
    }

    /// The error that stops everything, once. Afterwards requests are cut again.
    pub(crate) fn take_fatal(&mut self) -> Option<BoxError> {
        match std::mem::take(&mut self.fatal) {
            Fatal::Unreported(error, noted) => {
                self.fatal = Fatal::Reported(noted);
                Some(error)
            }
            other => {
                self.fatal = other;
                None
            }
        }
    }

    /// Why the service refuses everything, from the first refusal until it looks into a request again.
    pub(crate) fn refusal(&self) -> Option<&Arc<AttemptError>> {
        match &self.fatal {
            Fatal::Unreported(_, noted) | Fatal::Reported(noted) => Some(noted),
            Fatal::No => None,
        }
    }

    /// The same, as long as the caller has not been told.
    pub(crate) fn untold_refusal(&self) -> Option<&Arc<AttemptError>> {
        self.refusal().filter(|_| matches!(self.fatal, Fatal::Unreported(..)))
    }

    /// Tells the receipts of the records that were delivered since the last call.
    pub(crate) fn tell_delivered(&mut self) {
        self.delivered.clear();
    }

    /// Gives the records that failed since the last call to their receipts, and those that have none to
    /// `handler`.
    pub(crate) fn offer_failed(&mut self, handler: Option<&mut Box<dyn DeadLetter>>) {
        let kept = self.failed.offer(handler);
        if let Some(reason) = self.failed.last_reason().filter(|_| kept > 0)
            // The producer logs its own end, with the number of these records.
            && !matches!(reason, Reason::Refused(_))
        {
            self.outages.lost(kept, reason);
        }
    }

    /// Takes the reason why the latest of the kept failed records failed, so that the owner is notified once.
    pub(crate) fn take_untold(&mut self) -> Option<Reason> {
        self.failed.take_untold()
    }

    /// Why the latest of the kept failed records failed.
    pub(crate) fn last_failure(&self) -> Option<&Reason> {
        self.failed.last_reason()
    }

    /// Why there will be no room until someone takes the failed records: nothing else is held.
    pub(crate) fn clogged(&self) -> Option<&Reason> {
        let clogged = self.is_settled() && !self.has_room();
        self.last_failure().filter(|_| clogged)
    }
}
