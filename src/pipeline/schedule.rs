use std::time::Instant;

use super::backlog::Backlog;
use super::flush::{Flush, FlushReason, FlushState};
use super::health::Health;
use super::in_flight::InFlight;
use super::ledger::Ledger;
use super::linger::Linger;
use super::topology::Topology;
use crate::limits::Limits;
use crate::settings::Settings;

/// Borrows the parts of the pipeline that determine when the next request is sent.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    pub(super) settings: &'a Settings,
    pub(super) backlog: &'a Backlog,
    pub(super) in_flight: &'a InFlight,
    pub(super) topology: &'a Topology,
    pub(super) health: &'a Health,
    pub(super) ledger: &'a Ledger,
    pub(super) flush: &'a Flush,
}

impl Schedule<'_> {
    pub(super) fn flush_reason(&self, now: Instant) -> Option<FlushReason> {
        if self.next_isolated_at(now).is_some_and(|at| at <= now) {
            return Some(FlushReason::Isolated);
        }
        if !self.may_send(now) {
            return None;
        }
        if self.backlog.has_bisected(now) {
            return Some(FlushReason::Bisected);
        }
        self.lane_flush_reason(now)
    }

    pub(super) fn lane_flush_reason(&self, now: Instant) -> Option<FlushReason> {
        let oldest_flushable = match self.flush.linger() {
            Linger::Auto(_) | Linger::Adaptive(_) => self.backlog.oldest_sendable(),
            Linger::Fixed(_) if self.settings.is_aggregating() => self.backlog.oldest_closed(),
            Linger::Fixed(_) => None,
        };
        let state = FlushState {
            oldest: self.backlog.oldest_sendable()?,
            oldest_flushable,
            fills_request: self.backlog.fills_request(&self.request_limits()),
            has_backpressure: self.has_backpressure(),
            is_idle: self.in_flight.is_empty(),
        };
        self.flush.reason(&state, now)
    }

    pub(super) fn may_resume_lane(&self, now: Instant) -> bool {
        self.backlog.has_resumable_lane(now) && self.may_send(now)
    }

    /// Returns `true` if a request may be sent. Requests with isolated records have [separate
    /// conditions](Self::next_isolated_at).
    pub(super) fn may_send(&self, now: Instant) -> bool {
        self.has_slot() && self.health.retry_at(now).is_none()
    }

    pub(super) fn has_full_request(&self) -> bool {
        self.backlog.fills_request(&self.request_limits()) && self.has_slot()
    }

    /// Returns the limits of the next request. The number of isolated records per request is limited separately.
    pub(super) fn limits(&self, reason: FlushReason) -> Limits {
        match reason {
            FlushReason::Isolated => self.settings.limits,
            _ => self.request_limits(),
        }
    }

    fn request_limits(&self) -> Limits {
        let limits = self.settings.limits;
        limits.with_request_entries(limits.request_entries().min(self.health.max_entries()))
    }

    /// Returns `true` if the buffer or a shared budget is full, or cannot accept the waiting record. Failed records alone do not make the
    /// buffer full as long as a request is in flight.
    fn has_backpressure(&self) -> bool {
        let buffered = self.ledger.buffered();
        let settings = self.settings;
        let blocks_waiter = self.flush.waiter_bytes().is_some_and(|bytes| {
            buffered.records >= settings.effective_buffer_records()
                || buffered.bytes.saturating_add(bytes) > settings.buffer_bytes
        });
        blocks_waiter
            || self.flush.waits_for_budget()
            || !settings.has_capacity(self.ledger.unsettled())
            || (!settings.has_capacity(buffered) && self.in_flight.is_empty())
    }

    /// Returns `true` if the limits permit another request in flight. Does not check the backoff.
    fn has_slot(&self) -> bool {
        let isolated = usize::from(self.backlog.has_isolated_in_flight());
        self.health.has_slot(self.in_flight.len() - isolated)
            && self.in_flight.len() < self.settings.max_in_flight
            && !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.backlog.is_repartition_due() || !self.topology.is_ready() || self.health.is_stopped()
    }

    pub(super) fn next_isolated_at(&self, now: Instant) -> Option<Instant> {
        if self.is_stopped() || self.in_flight.len() >= self.settings.max_in_flight {
            return None;
        }
        self.backlog.next_isolated_at(self.health, self.in_flight.is_empty(), now)
    }

    pub(super) fn wakeup(&self, now: Instant) -> Option<Instant> {
        let retry_at = self.health.retry_at(now);
        let has_quiet_log = self.health.outages.is_quiet() || self.is_settled();
        let wakeups = [
            self.send_wakeup(now),
            self.next_isolated_at(now),
            self.next_deadline(),
            self.topology.wakeup(now),
            retry_at.filter(|_| self.topology.awaits_description()),
            self.health.outages.wakeup(now, has_quiet_log),
        ];
        wakeups.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn send_wakeup(&self, now: Instant) -> Option<Instant> {
        if !self.has_slot() || !self.backlog.has_unisolated() {
            return None;
        }
        let retry_at = self.health.retry_at(now);
        retry_at.or_else(|| self.backlog.wakeup(self.flush, now))
    }

    /// Returns the next deadline of a record. An unverified aggregate fails as a whole, at the deadline of its latest
    /// record.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.settings.deadline?;
        let queued = self.backlog.heads().map(|record| record.accepted_at);
        let unverified = self.topology.unverified().iter().filter_map(|aggregate| {
            aggregate.entry.members().iter().map(|member| member.accepted_at).max()
        });
        queued.chain(unverified).min().map(|accepted_at| accepted_at + deadline)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.backlog.is_empty()
            && self.in_flight.is_empty()
            && self.topology.unverified().is_empty()
    }
}
