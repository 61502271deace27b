use std::time::{Duration, Instant};

/// Maximum time between two drives during a burst, and between two records of a burst.
const INTERVAL: Duration = Duration::from_micros(100);

/// Decides whether `poll_ready` can skip driving the sink, which costs about as much as accepting a record. A drive is
/// skipped if the last one was at most [`INTERVAL`] ago and left the sink idle, and if no wakeup is due. At most one
/// drive per record is skipped, because a caller that polls again without a new record, or after a flush, expects
/// progress.
#[derive(Debug, Default)]
pub(super) struct DriveSkip {
    latest_record: Option<Instant>,
    /// Time until which the sink stays idle unless records arrive. `None` if the sink might not be idle.
    idle_until: Option<Instant>,
    may_skip: bool,
}

impl DriveSkip {
    pub(super) fn begin(&mut self) {
        self.may_skip = false;
        self.idle_until = None;
    }

    pub(super) fn finish(&mut self, wakeup: Option<Instant>, now: Instant) {
        self.idle_until = wakeup.into_iter().chain([now + INTERVAL]).min();
    }

    pub(super) fn record_arrived(&mut self, now: Instant) {
        let previous = self.latest_record.replace(now);
        let is_burst = previous.is_some_and(|previous| now < previous + INTERVAL);
        self.may_skip = is_burst && self.idle_until.is_some_and(|until| now < until);
    }

    /// Returns `true` if driving can be skipped, at most once per record.
    pub(super) fn take_skip(&mut self) -> bool {
        std::mem::take(&mut self.may_skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Returns the state after a record and a drive, and the time of both.
    fn driven(wakeup: Option<Duration>) -> (DriveSkip, Instant) {
        let (mut skip, now) = (DriveSkip::default(), Instant::now());
        skip.record_arrived(now);
        skip.begin();
        skip.finish(wakeup.map(|wait| now + wait), now);
        (skip, now)
    }

    #[test]
    fn drive_skip_applies_once_per_record() {
        let (mut skip, now) = driven(None);
        for n in 1..100 {
            skip.record_arrived(now + n * MICROSECOND);
            assert!(skip.take_skip(), "{n} µs after driving");
            assert!(!skip.take_skip(), "no record since");
        }
    }

    #[test]
    fn drive_skip_ends_after_interval() {
        let (mut skip, now) = driven(None);
        skip.record_arrived(now + 99 * MICROSECOND);
        assert!(skip.take_skip());
        skip.record_arrived(now + INTERVAL);
        assert!(!skip.take_skip());
    }

    #[test]
    fn drive_skip_requires_burst() {
        let (mut skip, now) = driven(None);
        let later = now + 10 * INTERVAL;
        skip.begin();
        skip.finish(None, later);
        skip.record_arrived(later + MICROSECOND);
        assert!(!skip.take_skip());
    }

    #[test]
    fn drive_skip_ends_at_wakeup() {
        let (mut skip, now) = driven(Some(10 * MICROSECOND));
        skip.record_arrived(now + 9 * MICROSECOND);
        assert!(skip.take_skip());
        skip.record_arrived(now + 10 * MICROSECOND);
        assert!(!skip.take_skip());
    }

    #[test]
    fn drive_skip_requires_finished_drive() {
        let (mut skip, now) = driven(None);
        skip.record_arrived(now + MICROSECOND);
        skip.begin();
        assert!(!skip.take_skip());
        skip.record_arrived(now + 2 * MICROSECOND);
        assert!(!skip.take_skip(), "driving has not finished");
    }

    #[test]
    fn drive_skip_requires_record() {
        assert!(!DriveSkip::default().take_skip());
    }
}
