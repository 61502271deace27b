use std::time::Instant;

use super::buffered::BufferedRecord;
use super::linger::Linger;

/// Reason for sending a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushReason {
    Bisected,
    Isolated,
    /// The sendable entries fill a request.
    Full,
    /// A flush was requested, and no request is in flight.
    Idle,
    /// The linger of the oldest record has ended.
    Linger,
    /// The buffer is full.
    Backpressure,
    Close,
}

#[cfg(feature = "metrics")]
impl FlushReason {
    pub(crate) const ALL: [Self; 7] = [
        Self::Bisected,
        Self::Isolated,
        Self::Full,
        Self::Idle,
        Self::Linger,
        Self::Backpressure,
        Self::Close,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Bisected => "bisected",
            Self::Isolated => "isolated",
            Self::Full => "full",
            Self::Idle => "idle",
            Self::Linger => "linger",
            Self::Backpressure => "backpressure",
            Self::Close => "close",
        }
    }
}

/// Decides when partial requests are sent.
#[derive(Debug)]
pub(super) struct Flush {
    linger: Linger,
    /// First sequence number not covered by the last flush. The flush applies to all lower sequence numbers.
    before: u64,
    is_closing: bool,
    /// Size of the largest record waiting for capacity.
    waiter_bytes: Option<usize>,
    waits_for_budget: bool,
}

/// Inputs of [`Flush::reason`].
#[derive(Debug)]
pub(super) struct FlushState<'a> {
    pub(super) oldest: &'a BufferedRecord,
    /// Oldest record that a flush of an idle sink would send.
    pub(super) oldest_flushable: Option<&'a BufferedRecord>,
    pub(super) fills_request: bool,
    pub(super) has_backpressure: bool,
    pub(super) is_idle: bool,
}

impl Flush {
    pub(super) fn new(linger: Linger) -> Self {
        Self { linger, before: 0, is_closing: false, waiter_bytes: None, waits_for_budget: false }
    }

    pub(super) fn request(&mut self, next_seq: u64) {
        self.before = next_seq;
    }

    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    #[cfg(test)]
    pub(super) fn reopen(&mut self) {
        self.is_closing = false;
    }

    pub(super) fn set_waiter(&mut self, bytes: Option<usize>) {
        self.waiter_bytes = bytes;
    }

    pub(super) fn waiter_bytes(&self) -> Option<usize> {
        self.waiter_bytes
    }

    pub(super) fn set_waits_for_budget(&mut self, waits: bool) {
        self.waits_for_budget = waits;
    }

    pub(super) fn waits_for_budget(&self) -> bool {
        self.waits_for_budget
    }

    pub(super) fn linger(&self) -> Linger {
        self.linger
    }

    pub(super) fn reason(&self, state: &FlushState<'_>, now: Instant) -> Option<FlushReason> {
        let is_flushed = |record: &BufferedRecord| record.seq < self.before;
        if state.fills_request {
            Some(FlushReason::Full)
        } else if self.is_closing {
            Some(FlushReason::Close)
        } else if state.has_backpressure {
            Some(FlushReason::Backpressure)
        } else if self.lingers_until(state.oldest) <= now {
            Some(FlushReason::Linger)
        } else if state.is_idle && state.oldest_flushable.is_some_and(is_flushed) {
            Some(FlushReason::Idle)
        } else {
            None
        }
    }

    pub(super) fn lingers_until(&self, record: &BufferedRecord) -> Instant {
        record.accepted_at + self.linger.ceiling()
    }

    /// Returns `true` if an open aggregate must be sent before full ones, so that keys with many records do not starve
    /// other keys.
    pub(super) fn is_overdue(&self, oldest: &BufferedRecord, now: Instant) -> bool {
        self.is_closing || self.lingers_until(oldest) <= now
    }

    /// Returns `true` if an open aggregate should be added to a request with this flush reason. When a linger ends, the
    /// request includes aggregates that have waited for half of theirs, so there are at most two requests per linger.
    pub(super) fn joins(&self, reason: FlushReason, oldest: &BufferedRecord, now: Instant) -> bool {
        match reason {
            FlushReason::Full | FlushReason::Bisected | FlushReason::Isolated => false,
            FlushReason::Idle => matches!(self.linger, Linger::Adaptive(_)),
            FlushReason::Linger => oldest.accepted_at + self.linger.ceiling() / 2 <= now,
            FlushReason::Backpressure | FlushReason::Close => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;

    use super::*;
    use crate::pipeline::Admission;
    use crate::record::Record;

    const LINGER: Duration = Duration::from_millis(100);

    fn record(seq: u64, accepted_at: Instant) -> BufferedRecord {
        BufferedRecord::new(
            Record::from("x"),
            seq,
            Admission::default(),
            accepted_at,
            &mut Rng::with_seed(0),
        )
    }

    fn state(oldest: &BufferedRecord) -> FlushState<'_> {
        FlushState {
            oldest,
            oldest_flushable: Some(oldest),
            fills_request: false,
            has_backpressure: false,
            is_idle: false,
        }
    }

    #[test]
    fn flush_sends_partial_batch_only_when_idle() {
        let now = Instant::now();
        let oldest = record(7, now);
        let mut flush = Flush::new(Linger::Adaptive(LINGER));
        let idle = || FlushState { is_idle: true, ..state(&oldest) };
        assert_eq!(flush.reason(&idle(), now), None, "no flush was requested");
        flush.request(7);
        assert_eq!(flush.reason(&idle(), now), None, "the record was accepted later");
        flush.request(8);
        assert_eq!(flush.reason(&idle(), now), Some(FlushReason::Idle));
        assert_eq!(flush.reason(&state(&oldest), now), None, "requests are in flight");
        let unflushable = FlushState { oldest_flushable: None, ..idle() };
        assert_eq!(flush.reason(&unflushable, now), None, "the aggregate is still open");
    }

    #[test]
    fn partial_batch_is_flushed_after_linger() {
        let now = Instant::now();
        let oldest = record(0, now);
        let flush = Flush::new(Linger::Fixed(LINGER));
        assert_eq!(flush.reason(&state(&oldest), now + LINGER - Duration::from_nanos(1)), None);
        assert_eq!(flush.reason(&state(&oldest), now + LINGER), Some(FlushReason::Linger));
    }

    #[test]
    fn full_request_precedes_close_and_backpressure() {
        let now = Instant::now();
        let oldest = record(0, now);
        let mut flush = Flush::new(Linger::Adaptive(LINGER));
        let backpressure = || FlushState { has_backpressure: true, ..state(&oldest) };
        assert_eq!(flush.reason(&backpressure(), now), Some(FlushReason::Backpressure));
        flush.close();
        assert_eq!(flush.reason(&backpressure(), now), Some(FlushReason::Close));
        let full = FlushState { fills_request: true, ..backpressure() };
        assert_eq!(flush.reason(&full, now), Some(FlushReason::Full));
    }

    #[test]
    fn linger_flush_includes_half_aged_aggregates() {
        let now = Instant::now();
        let oldest = record(0, now);
        let flush = Flush::new(Linger::Fixed(LINGER));
        let joins = |reason, waited| flush.joins(reason, &oldest, now + waited);
        assert!(!joins(FlushReason::Linger, LINGER / 2 - Duration::from_nanos(1)));
        assert!(joins(FlushReason::Linger, LINGER / 2));
        assert!(!joins(FlushReason::Full, LINGER) && !joins(FlushReason::Idle, LINGER));
        assert!(joins(FlushReason::Backpressure, Duration::ZERO));
    }
}
