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
//! Each record is at every moment in exactly one of: the lane, a group of suspects, a flight, the failed
//! ones; or it was delivered or taken out.

mod backoff;
mod failed;
mod hand_back;
mod lane;
mod linger;
mod outcome;
mod pending;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use tower::BoxError;

pub use linger::Linger;
pub(crate) use outcome::unless_it_panics;
pub(crate) use settings::Settings;

use self::backoff::Backoff;
use self::failed::Failed;
use self::lane::Lane;
use self::pending::Pending;
use crate::error::{NotAccepted, NotAcceptedReason};
use crate::record::{AttemptError, DeadLetter, Reason, Record, Untold};
use crate::service::PutRecordsRequest;
use crate::stream::StreamId;
use crate::summary::{RequestSummary, Totals};

#[derive(Debug)]
pub(crate) struct Pipeline {
    settings: Settings,
    stream: StreamId,
    rng: Rng,
    /// What waits. A single lane as long as the shards are not known.
    lane: Lane,
    /// Groups out of requests that were refused as invalid, each sent alone to find the culprit.
    suspects: VecDeque<Vec<Pending>>,
    flights: BTreeMap<RequestId, Flight>,
    failed: Failed,
    /// What the receipts of delivered records have not been told.
    delivered: VecDeque<Untold>,
    /// After failures of whole requests; while a series lasts, one request at a time probes.
    backoff: Backoff,
    /// What began the series.
    outage: Option<Arc<AttemptError>>,
    /// Refusals for credentials in a row.
    credential_failures: u32,
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
}

/// Names a request between [`Pipeline::cut`] and [`Pipeline::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(u64);

/// A request that was cut and is not settled.
#[derive(Debug)]
struct Flight {
    records: Vec<Pending>,
    bytes: usize,
    cut_at: Instant,
    suspects: bool,
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

/// Why a request is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutReason {
    /// It is one half of a request that was refused as invalid.
    Suspect,
    /// It has no room for another record.
    Full,
    /// A flush wants it, and nothing is in flight.
    Idle,
    /// Its oldest record waited for the whole linger.
    Linger,
    /// The buffer takes no more.
    BackPressure,
    /// The sink closes.
    Close,
}

impl Pipeline {
    pub(crate) fn new(stream: StreamId, settings: Settings) -> Self {
        let backoff = Backoff::new(settings.backoff_base, settings.backoff_ceiling);
        Self {
            rng: settings.seed.map_or_else(Rng::new, Rng::with_seed),
            stream,
            lane: Lane::new(backoff.clone()),
            suspects: VecDeque::new(),
            flights: BTreeMap::new(),
            failed: Failed::default(),
            delivered: VecDeque::new(),
            backoff,
            outage: None,
            credential_failures: 0,
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

    /// Whether the buffer is full of records that sending can clear away. Failed ones that are kept
    /// are no reason for small requests, unless nothing else goes on.
    fn presses(&self) -> bool {
        self.leaves_out_the_wanted()
            || !self.has_room_for(self.unsettled_records, self.unsettled_bytes)
            || (!self.has_room() && self.flights.is_empty())
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
        self.lane.push(Pending::new(record, self.next_seq, now, &mut self.rng));
        self.next_seq += 1;
    }

    /// Wants everything accepted so far sent, without waiting for full requests.
    pub(crate) fn flush(&mut self) {
        self.flush_before = self.next_seq;
    }

    fn leaves_out_the_wanted(&self) -> bool {
        self.wanted.is_some_and(|bytes| {
            self.held_records() >= self.settings.buffer_records
                || self.held_bytes().saturating_add(bytes) > self.settings.buffer_bytes
        })
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

    /// Gives up the waiting records whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Some(deadline) = self.settings.deadline else { return };
        let expired = |pending: &Pending| pending.accepted_at + deadline <= now;
        while let Some(pending) = self.lane.pop_if(expired) {
            self.fail_for_deadline(pending);
        }
        for group in std::mem::take(&mut self.suspects) {
            let (expired, group): (Vec<_>, Vec<_>) = group.into_iter().partition(expired);
            expired.into_iter().for_each(|pending| self.fail_for_deadline(pending));
            if !group.is_empty() {
                self.suspects.push_back(group);
            }
        }
    }

    /// Says whether a request is to be cut now, and why.
    pub(crate) fn due(&self, now: Instant) -> Option<CutReason> {
        if !self.may_send() || self.backoff.is_waiting(now) {
            return None;
        }
        // Suspects belong to the lane as well: where it is throttled, so are they.
        if self.lane.backoff.is_waiting(now) {
            return None;
        }
        if !self.suspects.is_empty() {
            return Some(CutReason::Suspect);
        }
        let oldest = self.lane.front()?;
        if self.lane.fills_request(&self.settings.limits) {
            Some(CutReason::Full)
        } else if self.closing {
            Some(CutReason::Close)
        } else if self.presses() {
            Some(CutReason::BackPressure)
        } else if oldest.accepted_at + self.settings.linger.ceiling() <= now {
            Some(CutReason::Linger)
        } else if self.flights.is_empty() && self.wanted_when_idle(oldest) {
            Some(CutReason::Idle)
        } else {
            None
        }
    }

    /// Whether there is a slot for another request.
    fn may_send(&self) -> bool {
        let slots = if self.backoff.failures() > 0 { 1 } else { self.settings.max_in_flight };
        self.flights.len() < slots && !matches!(self.fatal, Fatal::Unreported(..))
    }

    fn wanted_when_idle(&self, oldest: &Pending) -> bool {
        matches!(self.settings.linger, Linger::SelfClocked(_)) && oldest.seq < self.flush_before
    }

    /// Cuts a request if one is [due](Self::due). The caller sends it and brings back what came of it.
    pub(crate) fn cut(
        &mut self,
        now: Instant,
    ) -> Option<(RequestId, PutRecordsRequest, CutReason)> {
        let reason = self.due(now)?;
        let mut records = match reason {
            CutReason::Suspect => self.suspects.pop_front()?,
            _ => self.lane.take_request(&self.settings.limits),
        };
        records.iter_mut().for_each(|pending| pending.attempts += 1);
        let entries: Vec<_> = records.iter().map(Pending::entry).collect();
        let request = PutRecordsRequest::new(self.stream.clone(), entries);
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.totals.requests += 1;
        let bytes = request.bytes();
        let suspects = reason == CutReason::Suspect;
        self.flights.insert(id, Flight { records, bytes, cut_at: now, suspects });
        Some((id, request, reason))
    }

    /// The next time at which something changes by itself, if nothing else happens before: a back-off
    /// or a linger ends, a deadline passes. Always later than `now`.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let deadline = self.settings.deadline.and_then(|deadline| {
            self.waiting_groups().map(|oldest| oldest.accepted_at + deadline).min()
        });
        [self.send_wakeup(now), deadline].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// When a request will become due that is not yet.
    fn send_wakeup(&self, now: Instant) -> Option<Instant> {
        if !self.may_send() || self.waiting_groups().next().is_none() {
            return None;
        }
        if let Some(until) = self.backoff.until(now).max(self.lane.backoff.until(now)) {
            return Some(until);
        }
        let oldest = self.lane.front()?;
        Some(oldest.accepted_at + self.settings.linger.ceiling())
    }

    /// The oldest record of each queue.
    fn waiting_groups(&self) -> impl Iterator<Item = &Pending> {
        self.lane.front().into_iter().chain(self.suspects.iter().filter_map(|group| group.first()))
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

    /// Why whole requests fail, since the first of them failed and until one succeeds.
    pub(crate) fn outage(&self) -> Option<&AttemptError> {
        self.outage.as_deref()
    }

    /// Tells the receipts of the records that were delivered since the last call.
    pub(crate) fn tell_delivered(&mut self) {
        self.delivered.clear();
    }

    /// Gives the records that failed since the last call to their receipts, and those that have none to
    /// `handler`.
    pub(crate) fn offer_failed(&mut self, handler: Option<&mut Box<dyn DeadLetter>>) {
        self.failed.offer(handler);
    }

    /// Why the latest of the kept failed records failed, if the owner has not been told.
    pub(crate) fn untold(&self) -> Option<&Reason> {
        self.failed.untold()
    }

    /// The same, when the owner is told.
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

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether every accepted record was delivered, has failed or was taken back.
    pub(crate) fn is_settled(&self) -> bool {
        self.lane.is_empty() && self.suspects.is_empty() && self.flights.is_empty()
    }

    /// The next record's place in the order of acceptance.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The place of the oldest record that is not settled; [`next_seq`](Self::next_seq) if all are.
    pub(crate) fn oldest_unsettled(&self) -> u64 {
        let flights = self.flights.values().filter_map(|flight| flight.records.first());
        let oldest = self.waiting_groups().chain(flights).map(|pending| pending.seq).min();
        oldest.unwrap_or(self.next_seq)
    }

    /// Records that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.lane.len() + self.suspects.iter().map(Vec::len).sum::<usize>()
    }

    /// Records in requests that are not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.values().map(|flight| flight.records.len()).sum()
    }

    /// Records that failed for good and are kept.
    pub(crate) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Bytes of those.
    pub(crate) fn failed_bytes(&self) -> usize {
        self.failed.bytes()
    }

    /// Everything that counts towards the bounds: not settled, or failed and kept.
    pub(crate) fn held_records(&self) -> usize {
        self.unsettled_records + self.failed.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.unsettled_bytes + self.failed.bytes()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn last_request(&self) -> Option<&RequestSummary> {
        self.last_request.as_ref()
    }

    /// Everything held, in the order of acceptance.
    pub(crate) fn undelivered(&self) -> Vec<&Record> {
        let unsettled = self.lane.iter().chain(self.suspects.iter().flatten());
        let unsettled = unsettled.chain(self.flights.values().flat_map(|flight| &flight.records));
        let unsettled = unsettled.map(|pending| (pending.seq, pending.record()));
        let failed = self.failed.iter().map(|(seq, undelivered)| (*seq, undelivered.record()));
        let mut held: Vec<_> = unsettled.chain(failed).collect();
        held.sort_unstable_by_key(|(seq, _)| *seq);
        held.into_iter().map(|(_, record)| record).collect()
    }
}
