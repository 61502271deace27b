use std::time::{Duration, Instant};

/// The longest time for which driving is skipped. Also the longest time between two records of a burst.
const INTERVAL: Duration = Duration::from_micros(100);

/// Limits how often `poll_ready` drives the sink during a burst of records.
///
/// Driving costs as much as accepting a record, reading the clock a tenth of that. It can be skipped after a
/// record of a burst if the sink had nothing left to do when it was last driven, at most [`INTERVAL`] ago, and
/// no wakeup was due since. It is skipped only once per record, because a caller that polls again without a
/// record, or after a flush, expects progress.
#[derive(Debug, Default)]
pub(super) struct DriveSkip {
    /// When the latest record arrived.
    latest_record: Option<Instant>,
    /// Before this time only new records give the sink something to do. `None` if it may have something to do.
    idle_until: Option<Instant>,
    may_skip: bool,
}

impl DriveSkip {
    /// Starts to drive the sink.
    pub(super) fn begin(&mut self) {
        self.may_skip = false;
        self.idle_until = None;
    }

    /// Ends driving the sink, with nothing left to do before `wakeup`.
    pub(super) fn finish(&mut self, wakeup: Option<Instant>, now: Instant) {
        self.idle_until = wakeup.into_iter().chain([now + INTERVAL]).min();
    }

    /// Notes the arrival of a record.
    pub(super) fn record_arrived(&mut self, now: Instant) {
        let previous = self.latest_record.replace(now);
        let is_burst = previous.is_some_and(|previous| now < previous + INTERVAL);
        self.may_skip = is_burst && self.idle_until.is_some_and(|until| now < until);
    }

    /// Returns whether driving can be skipped, once.
    pub(super) fn take_skip(&mut self) -> bool {
        std::mem::take(&mut self.may_skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// A throttle whose sink was driven at the returned time, after a record.
    fn driven(wakeup: Option<Duration>) -> (DriveSkip, Instant) {
        let (mut throttle, now) = (DriveSkip::default(), Instant::now());
        throttle.record_arrived(now);
        throttle.begin();
        throttle.finish(wakeup.map(|wait| now + wait), now);
        (throttle, now)
    }

    #[test]
    fn drive_skip_applies_once_per_record() {
        let (mut throttle, now) = driven(None);
        for n in 1..100 {
            throttle.record_arrived(now + n * MICROSECOND);
            assert!(throttle.take_skip(), "{n} µs after driving");
            assert!(!throttle.take_skip(), "no record since");
        }
    }

    #[test]
    fn drive_skip_ends_after_the_interval() {
        let (mut throttle, now) = driven(None);
        throttle.record_arrived(now + 99 * MICROSECOND);
        assert!(throttle.take_skip());
        throttle.record_arrived(now + INTERVAL);
        assert!(!throttle.take_skip());
    }

    #[test]
    fn drive_skip_needs_a_burst() {
        let (mut throttle, now) = driven(None);
        let later = now + 10 * INTERVAL;
        throttle.begin();
        throttle.finish(None, later);
        throttle.record_arrived(later + MICROSECOND);
        assert!(!throttle.take_skip());
    }

    #[test]
    fn drive_skip_ends_at_the_wakeup() {
        let (mut throttle, now) = driven(Some(10 * MICROSECOND));
        throttle.record_arrived(now + 9 * MICROSECOND);
        assert!(throttle.take_skip());
        throttle.record_arrived(now + 10 * MICROSECOND);
        assert!(!throttle.take_skip());
    }

    #[test]
    fn drive_skip_waits_for_a_finished_drive() {
        let (mut throttle, now) = driven(None);
        throttle.record_arrived(now + MICROSECOND);
        throttle.begin();
        assert!(!throttle.take_skip());
        throttle.record_arrived(now + 2 * MICROSECOND);
        assert!(!throttle.take_skip(), "driving has not finished");
    }

    #[test]
    fn drive_skip_needs_a_record() {
        assert!(!DriveSkip::default().take_skip());
    }
}
