use std::time::Instant;

use super::Backlog;
use crate::limits::Limits;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::pipeline::flush::{Flush, FlushReason};
use crate::pipeline::health::Health;
use crate::pipeline::topology::Topology;
use crate::pipeline::work::Work;

/// Parameters of the next request.
#[derive(Debug)]
pub(in crate::pipeline) struct BatchParams<'a> {
    pub(in crate::pipeline) reason: FlushReason,
    pub(in crate::pipeline) flush: &'a Flush,
    pub(in crate::pipeline) limits: Limits,
    pub(in crate::pipeline) now: Instant,
}

impl Backlog {
    pub(in crate::pipeline) fn has_resumable_lane(&self, now: Instant) -> bool {
        self.lanes.wakeup().is_some_and(|until| until <= now)
    }

    pub(in crate::pipeline) fn resume_lanes(&mut self, now: Instant) {
        self.lanes.resume(now);
    }

    pub(in crate::pipeline) fn wakeup(&self, flush: &Flush, now: Instant) -> Option<Instant> {
        let lingers = self.oldest_sendable().map(|oldest| flush.lingers_until(oldest));
        let wakeups = [lingers, self.lanes.wakeup(), self.bisection.wakeup(&self.lanes, now)];
        wakeups.into_iter().flatten().filter(|at| *at > now).min()
    }

    pub(in crate::pipeline) fn has_bisected(&self, now: Instant) -> bool {
        self.bisection.is_ready(&self.lanes, now)
    }

    /// Returns the time at which the next isolated record can be sent. Returns `None` if no record is isolated, or if
    /// the record has to wait for another event, such as a response.
    pub(in crate::pipeline) fn next_isolated_at(
        &self,
        health: &Health,
        is_idle: bool,
        now: Instant,
    ) -> Option<Instant> {
        let next = self.isolated.front()?;
        // While the stream fails, others are better probes, because an isolated record can itself cause a failure.
        let has_better_probe = health.is_failing()
            && (!is_idle || self.oldest_sendable().is_some() || !self.bisection.is_empty());
        if self.isolated.is_in_flight() || has_better_probe {
            return None;
        }
        let stream = health.retry_at(now).filter(|_| health.is_failing());
        let lane = self.lanes.sends_at(next.route.lane, next.size(), now);
        let waits = [stream, self.isolated.backs_off_until(now), lane];
        Some(waits.into_iter().flatten().fold(now, Instant::max))
    }

    pub(in crate::pipeline) fn has_isolated_in_flight(&self) -> bool {
        self.isolated.is_in_flight()
    }

    /// Removes and returns the entries of the next request, oldest first. Closes aggregates to fill it. Returns no
    /// entries if the closed entries are blocked, or if the call is [unfinished](Work::is_unfinished).
    pub(in crate::pipeline) fn next_batch(
        &mut self,
        params: &BatchParams<'_>,
        topology: &mut Topology,
        work: &mut Work,
    ) -> Vec<QueuedEntry> {
        let BatchParams { limits, now, .. } = params;
        match params.reason {
            FlushReason::Bisected => self.bisection.pop(&self.lanes, *now).unwrap_or_default(),
            FlushReason::Isolated => self.next_isolated(limits, *now),
            _ => {
                self.close_aggregates(params, topology, work);
                // Closing an entry can have paused its lane until a time that has already passed.
                self.lanes.resume(*now);
                if work.is_unfinished() {
                    return Vec::new();
                }
                self.lanes.next_batch(limits, *now)
            }
        }
    }

    fn next_isolated(&mut self, limits: &Limits, now: Instant) -> Vec<QueuedEntry> {
        let Self { isolated, lanes, .. } = self;
        isolated.next_batch(limits.request_entries(), limits.request_bytes(), |next| {
            let (lane, bytes) = (next.route.lane, next.size());
            let may_be_sent = lanes.sends_at(lane, bytes, now).is_none();
            if may_be_sent {
                lanes.charge(lane, bytes, now);
            }
            may_be_sent
        })
    }

    fn close_aggregates(
        &mut self,
        params: &BatchParams<'_>,
        topology: &mut Topology,
        work: &mut Work,
    ) {
        let BatchParams { reason, flush, limits, now } = params;
        for _ in 0..limits.request_entries() {
            if !work.try_continue() {
                return;
            }
            let is_overdue = |oldest: &BufferedRecord| flush.is_overdue(oldest, *now);
            let Some(entry) = self.pop_aggregate_if(is_overdue) else { break };
            self.release_encoded(entry, topology, work);
        }
        while !self.lanes.would_fill_request(limits) {
            if !work.try_continue() {
                return;
            }
            let joins = |oldest: &BufferedRecord| flush.joins(*reason, oldest, *now);
            let Some(entry) = self.pop_aggregate_if(joins) else { break };
            self.release_encoded(entry, topology, work);
        }
    }

    fn pop_aggregate_if(
        &mut self,
        condition: impl Fn(&BufferedRecord) -> bool,
    ) -> Option<QueuedEntry> {
        let Self { aggregator, key_order, .. } = self;
        let is_busy = |key: &_| key_order.as_ref().is_some_and(|order| order.is_busy(key));
        aggregator.as_mut()?.pop_oldest_if(condition, is_busy)
    }

    pub(in crate::pipeline) fn open_aggregates(&self) -> usize {
        self.aggregator.as_ref().map_or(0, |aggregator| aggregator.ready_len())
    }
}
