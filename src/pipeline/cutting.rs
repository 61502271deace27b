//! When a request is cut, and from what.

use std::time::Instant;

use super::linger::Linger;
use super::pending::Pending;
use super::unit::Unit;
use super::{Fatal, Flight, Pipeline, RequestId};
use crate::service::PutRecordsRequest;

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
        let oldest = self.oldest_waiting()?;
        if self.lane.fills_request(&self.settings.limits) {
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

    /// Whether there is a slot for another request.
    fn may_send(&self) -> bool {
        let slots = if self.backoff.failures() > 0 { 1 } else { self.settings.max_in_flight };
        self.flights.len() < slots
            && !self.is_on_hold()
            && !matches!(self.fatal, Fatal::Unreported(..))
    }

    /// The oldest record that is not a suspect.
    fn oldest_waiting(&self) -> Option<&Pending> {
        match (self.lane.front(), self.packer.oldest()) {
            (Some(sealed), Some(open)) if open.seq < sealed.seq => Some(open),
            (sealed, open) => sealed.or(open),
        }
    }

    /// Whether a flush wants something that need not wait for more to come.
    fn wanted_when_idle(&self) -> bool {
        let candidate = match self.settings.linger {
            Linger::SelfClocked(_) => self.oldest_waiting(),
            Linger::Fill(_) if self.settings.packing.is_on() => self.lane.front(),
            Linger::Fill(_) => None,
        };
        candidate.is_some_and(|oldest| oldest.seq < self.flush_before)
    }

    /// Cuts a request if one is [due](Self::due). The caller sends it and brings back what came of it.
    pub(crate) fn cut(
        &mut self,
        now: Instant,
    ) -> Option<(RequestId, PutRecordsRequest, CutReason)> {
        let reason = self.due(now)?;
        let mut units = match reason {
            CutReason::Suspect => self.suspects.pop_front()?,
            reason => {
                self.seal_what_goes(reason, now);
                self.lane.take_request(&self.settings.limits)
            }
        };
        for pending in units.iter_mut().flat_map(Unit::members_mut) {
            pending.attempts += 1;
        }
        let records = units.iter().map(Unit::len).sum();
        let entries: Vec<_> = units.iter_mut().map(Unit::entry).collect();
        let request = PutRecordsRequest::new(self.stream.clone(), entries);
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.totals.requests += 1;
        let bytes = request.bytes();
        let suspects = reason == CutReason::Suspect;
        self.flights.insert(id, Flight { units, records, bytes, cut_at: now, suspects });
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
        for _ in 0..self.settings.limits.request_entries() {
            let Some(unit) = self.packer.take_oldest_if(overdue) else { break };
            self.lane.insert(unit);
        }
        let goes = |oldest: &Pending| match reason {
            CutReason::Full | CutReason::Suspect => false,
            CutReason::Idle => matches!(linger, Linger::SelfClocked(_)),
            CutReason::Linger => oldest.accepted_at + linger.ceiling() / 2 <= now,
            CutReason::BackPressure | CutReason::Close => true,
        };
        while !self.lane.fills_request(&self.settings.limits) {
            let Some(unit) = self.packer.take_oldest_if(goes) else { break };
            self.lane.insert(unit);
        }
    }

    /// The next time at which something changes by itself, if nothing else happens before: a back-off
    /// or a linger ends, a deadline passes. Always later than `now`.
    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let deadline = self.settings.deadline.and_then(|deadline| {
            self.waiting_groups().map(|oldest| oldest.accepted_at + deadline).min()
        });
        let description = self.backoff.until(now).filter(|_| self.awaited.description);
        let lookups = [description, self.shards.wakeup(now)];
        let wakeups = [self.send_wakeup(now), deadline].into_iter().chain(lookups);
        wakeups.flatten().filter(|at| *at > now).min()
    }

    /// When a request will become due that is not yet.
    fn send_wakeup(&self, now: Instant) -> Option<Instant> {
        if !self.may_send() || self.waiting_groups().next().is_none() {
            return None;
        }
        if let Some(until) = self.backoff.until(now).max(self.lane.backoff.until(now)) {
            return Some(until);
        }
        Some(self.oldest_waiting()?.accepted_at + self.settings.linger.ceiling())
    }
}
