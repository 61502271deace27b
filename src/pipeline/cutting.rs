//! When a request is cut, and from what.

use std::time::Instant;

use super::linger::Linger;
use super::order::Ordering;
use super::pending::Pending;
use super::unit::Unit;
use super::{Fatal, Flight, FlightKind, Pipeline, RequestId};
use crate::limits::Limits;
use crate::service::PutRecordsRequest;

/// Why a request is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutReason {
    /// It is one half of a request that was refused as invalid.
    Split,
    /// Its records failed alone, and are retried behind all others.
    Isolated,
    /// What may be sent fills it, as far as paces allow.
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

#[cfg(feature = "metrics")]
impl CutReason {
    pub(crate) const ALL: [Self; 7] = [
        Self::Split,
        Self::Isolated,
        Self::Full,
        Self::Idle,
        Self::Linger,
        Self::BackPressure,
        Self::Close,
    ];

    /// For metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Isolated => "isolated",
            Self::Full => "full",
            Self::Idle => "idle",
            Self::Linger => "linger",
            Self::BackPressure => "back_pressure",
            Self::Close => "close",
        }
    }
}

impl Pipeline {
    /// Whether the buffer is full of records that sending can clear away. Failed ones that are kept
    /// are no reason for small requests, unless nothing else goes on.
    fn presses(&self) -> bool {
        self.leaves_out_the_wanted()
            || !self.has_room_for(self.unsettled_records, self.unsettled_bytes)
            || (!self.has_room() && self.flights.is_empty())
    }

    fn leaves_out_the_wanted(&self) -> bool {
        self.wanted.is_some_and(|bytes| {
            self.held_records() >= self.settings.buffer_records
                || self.held_bytes().saturating_add(bytes) > self.settings.buffer_bytes
        })
    }

    /// Says whether a request is to be cut now, and why. Aggregates may be closed for it, but not many at once: see
    /// [`is_unfinished`](Self::is_unfinished).
    pub(crate) fn due(&mut self, now: Instant) -> Option<CutReason> {
        self.work.begin_step();
        self.due_now(now)
    }

    /// Whether the latest [`due`](Self::due) or [`cut`](Self::cut) has closed as many aggregates as one call may,
    /// and is to be called again, possibly after other tasks.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.work.is_unfinished()
    }

    /// Takes how much work was done since the latest call, in units of a task's budget.
    pub(crate) fn take_work(&mut self) -> usize {
        self.work.take()
    }

    fn due_now(&mut self, now: Instant) -> Option<CutReason> {
        let isolated = |pipeline: &Self| {
            pipeline.isolated_at(now).is_some_and(|at| at <= now).then_some(CutReason::Isolated)
        };
        // What else seemed to wait may turn out to wait for an isolated record of its key.
        isolated(self).or_else(|| self.unisolated_due(now)).or_else(|| isolated(self))
    }

    fn unisolated_due(&mut self, now: Instant) -> Option<CutReason> {
        if !self.may_send() || self.backoff.is_waiting(now) {
            return None;
        }
        self.lanes.wake(now);
        if self.next_suspects(now).is_some() {
            return Some(CutReason::Split);
        }
        // Where open aggregates ask for it alone, their lanes may be paused.
        while self.lanes.front_sendable().is_none() {
            let reason = self.reason(now)?;
            let waiting = self.packer.records();
            self.seal_what_goes(reason, now);
            self.lanes.wake(now);
            if self.packer.records() == waiting || self.work.is_unfinished() {
                return None;
            }
        }
        self.reason(now)
    }

    /// The first suspects that may go. They wait with their lane while it backs off; its pace has been
    /// paid for with the request that was refused.
    fn next_suspects(&self, now: Instant) -> Option<usize> {
        self.suspects.iter().position(|group| self.wait_of(group, now).is_none())
    }

    fn wait_of(&self, suspects: &[Unit], now: Instant) -> Option<Instant> {
        let waits = suspects.iter().map(|unit| self.lanes.backs_off_until(unit.oldest(), now));
        waits.max().flatten()
    }

    /// What asks for a request, of what may be sent and of what is still filling.
    pub(super) fn reason(&self, now: Instant) -> Option<CutReason> {
        let oldest = self.oldest_waiting()?;
        if self.lanes.fills_request(&self.request_limits()) {
            Some(CutReason::Full)
        } else if self.closing {
            Some(CutReason::Close)
        } else if self.presses() {
            Some(CutReason::BackPressure)
        } else if oldest.accepted_at + self.settings.linger.ceiling() <= now {
            Some(CutReason::Linger)
        } else if self.flights.is_empty() && self.wanted_when_idle() {
            Some(CutReason::Idle)
        } else {
            None
        }
    }

    /// Whether there is a slot for another request, isolated records aside.
    fn may_send(&self) -> bool {
        let slots = if self.backoff.failures() > 0 { 1 } else { self.slots };
        let isolated = usize::from(self.isolated.is_in_flight());
        self.flights.len() - isolated < slots
            && self.flights.len() < self.settings.max_in_flight
            && !self.is_stopped()
    }

    /// Whether no request may be sent, whatever it carries.
    pub(super) fn is_stopped(&self) -> bool {
        self.rebuilds || self.is_on_hold() || matches!(self.fatal, Fatal::Unreported(..))
    }

    /// The limits of the next request.
    fn request_limits(&self) -> Limits {
        let limits = self.settings.limits;
        limits.with_request_entries(limits.request_entries().min(self.size.most()))
    }

    /// Whether a full request may be sent.
    pub(crate) fn may_send_full(&self) -> bool {
        self.lanes.fills_request(&self.request_limits()) && self.may_send()
    }

    /// The oldest record that may be sent, suspects aside.
    pub(super) fn oldest_waiting(&self) -> Option<&Pending> {
        match (self.lanes.front_sendable(), self.packer.oldest_free()) {
            (Some(sealed), Some(open)) if open.seq < sealed.seq => Some(open),
            (sealed, open) => sealed.or(open),
        }
    }

    /// Whether a flush wants something that need not wait for more to come.
    fn wanted_when_idle(&self) -> bool {
        let candidate = match self.settings.linger {
            Linger::SelfClocked(_) => self.oldest_waiting(),
            Linger::Fill(_) if self.settings.packing.is_on() => self.lanes.front_sendable(),
            Linger::Fill(_) => None,
        };
        candidate.is_some_and(|oldest| oldest.seq < self.flush_before)
    }

    /// Cuts a request if one is [due](Self::due), and there are tokens for what is closed for it. The caller
    /// sends it and brings back what came of it.
    pub(crate) fn cut(
        &mut self,
        now: Instant,
    ) -> Option<(RequestId, PutRecordsRequest, CutReason)> {
        self.work.begin_step();
        let (reason, mut units) = loop {
            let reason = self.due_now(now)?;
            if reason == CutReason::Split {
                break (reason, self.suspects.remove(self.next_suspects(now)?)?);
            }
            if reason == CutReason::Isolated {
                break (reason, self.take_isolated(now));
            }
            self.seal_what_goes(reason, now);
            if self.work.is_unfinished() {
                return None;
            }
            self.lanes.wake(now);
            let units = self.lanes.take_request(&self.request_limits(), now);
            // What was closed last may be too much for its lane, and stand before what could go.
            if !units.is_empty() {
                break (reason, units);
            }
        };
        if let Some(samples) = &mut self.samples {
            samples.note_cut(reason, &units, now);
        }
        for pending in units.iter_mut().flat_map(Unit::members_mut) {
            pending.attempts += 1;
        }
        let records = units.iter().map(Unit::len).sum();
        self.work.moved(records);
        // What was sealed for another reason than a request is not encoded yet.
        self.work.encoded(units.iter_mut().map(Unit::encode).sum());
        let entries: Vec<_> = units.iter_mut().map(Unit::entry).collect();
        let timeout_factor = self.timeout_factor.get();
        let request = PutRecordsRequest::new(self.stream.clone(), entries)
            .with_timeout_factor(timeout_factor);
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.totals.requests += 1;
        let bytes = request.bytes();
        let kind = match reason {
            CutReason::Split => FlightKind::Suspects,
            CutReason::Isolated => FlightKind::Isolated,
            _ => FlightKind::Lanes,
        };
        let flight = Flight { units, records, bytes, cut_at: now, kind, timeout_factor };
        self.flights.insert(id, flight);
        Some((id, request, reason))
    }

    /// Closes as many aggregates as fit into the request that is cut, the oldest first.
    ///
    /// Those that have waited for the whole linger go before younger ones that are full: where some keys
    /// fill request after request, the others must not wait for ever.
    ///
    /// A request that goes because its oldest record has waited for the whole linger takes those along
    /// that have waited for half of it. So there are at most two such requests in a linger, and no
    /// aggregate goes that has only just begun to fill.
    fn seal_what_goes(&mut self, reason: CutReason, now: Instant) {
        let (linger, closing) = (self.settings.linger, self.closing);
        let overdue = |oldest: &Pending| closing || oldest.accepted_at + linger.ceiling() <= now;
        for _ in 0..self.request_limits().request_entries() {
            if !self.work.may_go_on() {
                return;
            }
            let Some(unit) = self.take_oldest_open_if(overdue) else { break };
            self.send_encoded(unit);
        }
        let goes = |oldest: &Pending| match reason {
            CutReason::Full | CutReason::Split | CutReason::Isolated => false,
            CutReason::Idle => matches!(linger, Linger::SelfClocked(_)),
            CutReason::Linger => oldest.accepted_at + linger.ceiling() / 2 <= now,
            CutReason::BackPressure | CutReason::Close => true,
        };
        while !self.lanes.holds_request(&self.request_limits()) {
            if !self.work.may_go_on() {
                return;
            }
            let Some(unit) = self.take_oldest_open_if(goes) else { break };
            self.send_encoded(unit);
        }
    }

    fn take_oldest_open_if(&mut self, condition: impl Fn(&Pending) -> bool) -> Option<Unit> {
        let Self { packer, strands, settings, .. } = self;
        let ordered = settings.ordering == Ordering::PerKey;
        packer.take_oldest_if(condition, |strand| ordered && strands.is_busy(strand))
    }

    /// The next time at which something changes by itself, if nothing else happens before: a back-off
    /// or a linger ends, a deadline passes, or a report is due. Always later than `now`.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let description = self.backoff.until(now).filter(|_| self.awaited.description);
        let lookups = [description, self.routing.wakeup(now), self.shards.wakeup(now)];
        let others = lookups.into_iter().chain([self.report_wakeup(now)]);
        let sends = [self.send_wakeup(now), self.isolated_at(now)];
        let wakeups = sends.into_iter().chain([self.next_deadline()]).chain(others);
        wakeups.flatten().filter(|at| *at > now).min()
    }

    /// When a request will become due that is not yet.
    fn send_wakeup(&self, now: Instant) -> Option<Instant> {
        if !self.may_send() || self.unisolated_groups().next().is_none() {
            return None;
        }
        if let Some(until) = self.backoff.until(now) {
            return Some(until);
        }
        let linger = self.settings.linger.ceiling();
        let overdue = self.oldest_waiting().map(|oldest| oldest.accepted_at + linger);
        let suspects = self.suspects.iter().filter_map(|group| self.wait_of(group, now)).min();
        let wakeups = [overdue, self.lanes.wakeup(), suspects].into_iter().flatten();
        wakeups.filter(|at| *at > now).min()
    }
}
