use std::time::{Duration, Instant};

use crate::spool::Sync;

/// Time after which acknowledgements are written, and after which a failed operation is repeated.
const TICK: Duration = Duration::from_millis(100);

/// Times at which the thread of a spool has something to do without a request.
#[derive(Debug)]
pub(super) struct Timers {
    sync: Sync,
    acknowledgements: Option<Instant>,
    sync_at: Option<Instant>,
    retry: Option<Instant>,
    load: Option<Instant>,
}

impl Timers {
    pub(super) fn new(sync: Sync) -> Self {
        Self { sync, acknowledgements: None, sync_at: None, retry: None, load: None }
    }

    /// Notes that records were written at `now`.
    pub(super) fn wrote_records(&mut self, now: Instant) {
        if let Sync::Interval(interval) = self.sync {
            self.sync_at.get_or_insert(now + interval);
        }
    }

    /// Notes that records were acknowledged at `now`.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        let tick = match self.sync {
            Sync::Interval(interval) => interval.min(TICK),
            Sync::Always | Sync::Never => TICK,
        };
        self.acknowledgements.get_or_insert(now + tick);
    }

    /// Notes that acknowledgements were written at `now`, which must be synced as well.
    pub(super) fn wrote_acknowledgements(&mut self, now: Instant) {
        match self.sync {
            Sync::Always => self.sync_at = Some(now),
            Sync::Interval(_) => self.wrote_records(now),
            Sync::Never => {}
        }
    }

    pub(super) fn has_acknowledgements(&self) -> bool {
        self.acknowledgements.is_some()
    }

    pub(super) fn take_acknowledgements(&mut self, now: Instant) -> bool {
        self.acknowledgements.take_if(|at| *at <= now).is_some()
    }

    pub(super) fn take_sync(&mut self, now: Instant) -> bool {
        self.sync_at.take_if(|at| *at <= now).is_some()
    }

    /// Notes that everything was synced.
    pub(super) fn synced(&mut self) {
        self.sync_at = None;
    }

    /// Repeats a sync that has failed.
    pub(super) fn retry_sync(&mut self, now: Instant) {
        self.sync_at = Some(now + TICK);
    }

    /// Repeats a write that has failed.
    pub(super) fn retry_write(&mut self, now: Instant) {
        self.retry = Some(now + TICK);
    }

    /// Returns `true` if a write must wait because an earlier one has failed.
    pub(super) fn delays_write(&self, now: Instant) -> bool {
        self.retry.is_some_and(|at| now < at)
    }

    pub(super) fn write_now(&mut self) {
        self.retry = None;
    }

    /// Repeats a read that has failed.
    pub(super) fn retry_load(&mut self, now: Instant) {
        self.load = Some(now + TICK);
    }

    /// Returns `true` if a read must wait because an earlier one has failed.
    pub(super) fn delays_load(&self, now: Instant) -> bool {
        self.load.is_some_and(|at| now < at)
    }

    /// Returns the next time at which there is something to do. A write or a read is repeated only if one is wanted.
    pub(super) fn next(&self, writes: bool, loads: bool) -> Option<Instant> {
        let retry = self.retry.filter(|_| writes);
        let load = self.load.filter(|_| loads);
        [self.acknowledgements, self.sync_at, retry, load].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_follows_interval_of_oldest_record() {
        let (now, interval) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::new(Sync::Interval(interval));
        assert_eq!(timers.next(true, true), None);
        timers.wrote_records(now);
        timers.wrote_records(now + TICK);
        assert_eq!(timers.next(true, true), Some(now + interval));
        assert!(!timers.take_sync(now + TICK));
        assert!(timers.take_sync(now + interval));
        assert_eq!(timers.next(true, true), None, "nothing to do, so the thread sleeps");
    }

    #[test]
    fn acknowledgements_are_written_within_tick() {
        let now = Instant::now();
        for (sync, wait, syncs) in [
            (Sync::Always, TICK, true),
            (Sync::Never, TICK, false),
            (Sync::Interval(TICK / 4), TICK / 4, true),
            (Sync::Interval(TICK * 9), TICK, true),
        ] {
            let mut timers = Timers::new(sync);
            timers.acknowledged(now);
            assert_eq!(timers.next(false, false), Some(now + wait), "{sync:?}");
            assert!(timers.take_acknowledgements(now + wait));
            timers.wrote_acknowledgements(now + wait);
            assert_eq!(timers.next(false, false).is_some(), syncs, "{sync:?}");
        }
    }

    #[test]
    fn write_is_repeated_after_tick() {
        let now = Instant::now();
        let mut timers = Timers::new(Sync::Never);
        timers.retry_write(now);
        assert!(timers.delays_write(now) && !timers.delays_write(now + TICK));
        assert_eq!((timers.next(true, true), timers.next(false, false)), (Some(now + TICK), None));
        timers.write_now();
        assert!(!timers.delays_write(now));
    }
}
