use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::pipeline::UNROUTED;
use crate::producer::capacity::Permit;
use crate::producer::channel::Channel;
use crate::record::{FailureReason, Record};
use crate::sink::Core;
use crate::spool::SpoolMode;
use crate::spool::worker::{
    Accepted, FlushReply, Outgoing, OutgoingRecord, Runs, Spilled, SpoolHandle,
};
use crate::stream::StreamId;

/// Maximum number of items that the driver takes from the spool per poll.
const MAX_TAKEN: usize = 1_024;

type PermitFuture = Pin<Box<dyn Future<Output = Option<Permit>> + Send + Sync>>;

/// Spool of a producer, as its driver uses it.
pub(in crate::producer) struct Intake {
    handle: Arc<SpoolHandle>,
    /// Written records that are not in the pipeline yet.
    incoming: VecDeque<Outgoing>,
    /// Permit for the next record, while the buffer or the budget has no capacity for it.
    permit: Option<PermitFuture>,
    runs: Runs,
    /// Records that have left the pipeline while it was not known yet whether they were spilled.
    early: Vec<Range<u64>>,
    is_spilling: bool,
    /// Set to `true` while the last records are spilled. No more records are taken.
    is_leaving: bool,
    /// Set to `true` once the other records were left in the spool.
    has_left: bool,
}

/// Next item for the pipeline.
pub(in crate::producer) enum Next {
    Record { seq: u64, record: Record, accepted_at: Instant, permit: Permit },
    Flush(FlushReply),
}

impl Intake {
    pub(in crate::producer) fn new(sink: &Core) -> Option<Box<Self>> {
        Some(Box::new(Self {
            handle: sink.spool()?.clone(),
            incoming: VecDeque::new(),
            permit: None,
            runs: Runs::default(),
            early: Vec::new(),
            is_spilling: false,
            is_leaving: false,
            has_left: false,
        }))
    }

    /// Takes records that were written, if there is none left, and registers the waker. Returns `true` if there may be more.
    pub(in crate::producer) fn take(&mut self, waker: &Waker) -> bool {
        let takes = !self.is_leaving && !self.has_left && self.incoming.is_empty();
        let max = if takes { MAX_TAKEN } else { 0 };
        self.handle.take(max, waker, &mut self.incoming);
        takes && self.incoming.len() == MAX_TAKEN
    }

    /// Polls for the next item. Waits until the buffer and the budget have capacity for it.
    pub(in crate::producer) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        channel: &Arc<Channel>,
    ) -> Poll<Option<Next>> {
        let permit = match self.incoming.front() {
            Some(Outgoing::Record(outgoing)) => {
                let size = outgoing.record.size();
                Some(ready!(self.poll_permit(cx, channel, size)))
            }
            Some(Outgoing::Flush(_)) | None => None,
        };
        Poll::Ready(match (self.incoming.pop_front(), permit) {
            (Some(Outgoing::Record(outgoing)), Some(permit)) => {
                let OutgoingRecord { seq, record, accepted } = outgoing;
                Some(Next::Record { seq, record, accepted_at: instant_of(accepted), permit })
            }
            (Some(Outgoing::Flush(reply)), _) => Some(Next::Flush(reply)),
            (Some(Outgoing::Record(_)) | None, _) => None,
        })
    }

    fn poll_permit(
        &mut self,
        cx: &mut Context<'_>,
        channel: &Arc<Channel>,
        size: usize,
    ) -> Poll<Permit> {
        loop {
            let waiting = match &mut self.permit {
                None => match channel.capacity.try_acquire_share(UNROUTED, size) {
                    Ok(permit) => return Poll::Ready(permit),
                    Err(_) => {
                        let channel = channel.clone();
                        let acquire =
                            async move { channel.capacity.acquire(UNROUTED, size, || ()).await };
                        self.permit.insert(Box::pin(acquire))
                    }
                },
                Some(waiting) => waiting,
            };
            match waiting.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(permit) => {
                    self.permit = None;
                    if let Some(permit) = permit {
                        return Poll::Ready(permit);
                    }
                }
            }
        }
    }

    /// Returns `true` if there is a record that does not wait for capacity.
    pub(in crate::producer) fn can_continue(&self) -> bool {
        !self.incoming.is_empty() && self.permit.is_none()
    }

    /// Returns the size of the record that waits for capacity, if one does.
    pub(in crate::producer) fn waiting_bytes(&self) -> Option<usize> {
        self.permit.as_ref()?;
        match self.incoming.front()? {
            Outgoing::Record(outgoing) => Some(outgoing.record.size()),
            Outgoing::Flush(_) => None,
        }
    }

    /// Returns `true` if no record of the spool is left to be passed to the pipeline.
    pub(in crate::producer) fn is_drained(&self) -> bool {
        self.has_left || (self.incoming.is_empty() && self.handle.is_drained())
    }

    /// Notes that a record of the spool was passed to the pipeline.
    pub(in crate::producer) fn admitted(&mut self, position: u64, seq: u64) {
        self.runs.push(position, seq);
    }

    /// Returns `true` if a record in the pipeline is in the spool.
    pub(in crate::producer) fn contains(&self, position: u64) -> bool {
        self.runs.get(position).is_some()
    }

    /// Returns the numbers in the spool of records that have left the pipeline.
    pub(in crate::producer) fn departed(&mut self, departures: Vec<Range<u64>>) -> Vec<Range<u64>> {
        let mut removed = self.collect_spilled();
        for range in departures {
            removed.extend(self.runs.remove(range.clone()));
            if self.is_spilling {
                self.early.push(range);
            }
        }
        removed
    }

    pub(in crate::producer) fn acknowledge(&mut self, departures: Vec<Range<u64>>) {
        if departures.is_empty() && !self.is_spilling {
            return;
        }
        let departed = self.departed(departures);
        if !departed.is_empty() {
            self.handle.acknowledge(departed);
        }
    }

    /// Returns `true` if the driver must spill the records in the buffer.
    pub(in crate::producer) fn wants_spill(&self) -> bool {
        !self.is_spilling && !self.has_left && self.handle.wants_spill()
    }

    pub(in crate::producer) fn is_overflow(&self) -> bool {
        self.handle.settings().mode() == SpoolMode::Overflow
    }

    /// Writes the records in the buffer that are not in the spool.
    pub(in crate::producer) fn spill(
        &mut self,
        buffered: Vec<(u64, Record, std::time::Instant)>,
        is_final: bool,
    ) {
        let records = buffered.into_iter().filter(|(position, ..)| !self.contains(*position));
        let spilled = |(pipeline_seq, record, accepted_at): (u64, Record, std::time::Instant)| {
            Spilled { pipeline_seq, record, accepted_at_ms: unix_millis_of(accepted_at) }
        };
        let records: Vec<_> = records.map(spilled).collect();
        self.is_spilling = true;
        self.is_leaving |= is_final;
        self.handle.spill(records, is_final);
    }

    fn is_spilling(&mut self) -> bool {
        let acknowledged = self.collect_spilled();
        if !acknowledged.is_empty() {
            self.handle.acknowledge(acknowledged);
        }
        self.is_spilling
    }

    /// Adds the spilled records to the map. Returns the numbers of those that have left the pipeline in the meantime.
    fn collect_spilled(&mut self) -> Vec<Range<u64>> {
        if !self.is_spilling {
            return Vec::new();
        }
        // Must precede `take_spilled`, so that no number is missed.
        self.is_spilling = self.handle.is_spilling();
        let mut spilled = Runs::default();
        for (position, seq) in self.handle.take_spilled() {
            spilled.push(position, seq);
        }
        let departed = self.early.iter().flat_map(|range| spilled.remove(range.clone())).collect();
        if !self.is_spilling {
            self.early = Vec::new();
        }
        self.runs.append(spilled);
        departed
    }

    /// Returns `true` if new records are written to the spool.
    pub(in crate::producer) fn diverts(&self) -> bool {
        self.handle.diverts()
    }

    /// Ends the diversion of new records if all earlier ones are in the pipeline. Returns `true` if it has ended.
    pub(in crate::producer) fn try_end_diversion(&mut self) -> bool {
        self.incoming.is_empty() && !self.is_spilling && self.handle.try_end_diversion()
    }

    /// Takes no more records, and completes the receipts of those that are not in the pipeline.
    pub(in crate::producer) fn leave(&mut self, stream: &StreamId) {
        self.has_left = true;
        self.permit = None;
        for outgoing in std::mem::take(&mut self.incoming) {
            let Outgoing::Record(OutgoingRecord { mut record, .. }) = outgoing else { continue };
            if let Some(tracker) = record.take_tracker() {
                tracker.fail(record, stream.clone(), FailureReason::Spooled { last: None });
            }
        }
        self.handle.end_driver();
    }

    /// Returns `true` if the last records were spilled, and the others can be [left](Self::leave).
    pub(in crate::producer) fn can_leave(&mut self) -> bool {
        self.is_leaving && !self.has_left && !self.is_spilling()
    }

    /// Takes the flushes that have not reached the pipeline.
    pub(in crate::producer) fn take_flushes(&mut self) -> Vec<FlushReply> {
        let mut flushes = Vec::new();
        for outgoing in std::mem::take(&mut self.incoming) {
            match outgoing {
                Outgoing::Flush(reply) => flushes.push(reply),
                record @ Outgoing::Record(_) => self.incoming.push_back(record),
            }
        }
        flushes.extend(self.handle.take_flushes());
        flushes
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("incoming", &self.incoming.len()).finish_non_exhaustive()
    }
}

/// Converts a time of the clock of deadlines into one of the system clock.
fn unix_millis_of(accepted_at: std::time::Instant) -> u64 {
    let age = Instant::now().into_std().saturating_duration_since(accepted_at);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.saturating_sub(age).as_millis()).unwrap_or(u64::MAX)
}

/// Converts a time of the system clock into one of the clock of deadlines.
fn instant_of(accepted: Accepted) -> Instant {
    match accepted {
        Accepted::At(accepted_at) => accepted_at,
        Accepted::AtMillis(millis) => {
            let accepted_at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let age = SystemTime::now().duration_since(accepted_at).unwrap_or_default();
            let now = Instant::now();
            now.checked_sub(age).unwrap_or(now)
        }
    }
}
