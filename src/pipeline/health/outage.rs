//! Decides when outages and persistent throttling are logged.
//!
//! Failures less than [`QUIET_PERIOD`] apart belong to the same episode, so that a flapping endpoint is reported as one
//! outage. Failed requests are reported after the second consecutive failure, because a single failure is often caused
//! by a stale connection that is replaced immediately. Throttled or failed entries are reported after a minute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::record::{AttemptError, FailureReason};

/// Time without a failure after which an episode ends, measured from the first success after the latest failure.
const QUIET_PERIOD: Duration = Duration::from_secs(10);

/// Interval between reports of an episode, and maximum time before the first report.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Time after which requests are reported as failing if none has succeeded since the failure.
const FAILING_AFTER: Duration = Duration::from_secs(5);

/// Report of an outage for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) kind: OutageKind,
    pub(crate) stage: Stage,
    /// Time from the first failure until now, or until the first success after the latest failure.
    pub(crate) duration: Duration,
    /// Number of requests or entries since the first failure.
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) throttled: u64,
    pub(crate) error: Arc<AttemptError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutageKind {
    RequestsFailing,
    /// The service rejects all requests until the cause of the error is fixed.
    Fatal,
    EntriesFailing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Begins,
    Lasts,
    Ends,
}

/// Series of failures less than [`QUIET_PERIOD`] apart.
#[derive(Debug)]
struct Episode {
    started_at: Instant,
    failing_since: Instant,
    succeeding_since: Option<Instant>,
    reported_at: Option<Instant>,
    is_urgent: bool,
    /// Time from a failure to the first report if no request or entry succeeds.
    report_after: Duration,
    total: u64,
    failed: u64,
    throttled: u64,
    error: Arc<AttemptError>,
}

impl Episode {
    fn new(error: Arc<AttemptError>, report_after: Duration, now: Instant) -> Self {
        Self {
            started_at: now,
            failing_since: now,
            succeeding_since: None,
            reported_at: None,
            is_urgent: false,
            report_after,
            total: 0,
            failed: 0,
            throttled: 0,
            error,
        }
    }

    fn of_failure<'a>(
        open: &'a mut Option<Box<Self>>,
        error: &Arc<AttemptError>,
        report_after: Duration,
        now: Instant,
    ) -> &'a mut Self {
        open.take_if(|episode| {
            episode.reported_at.is_none() && episode.ends_at().is_some_and(|end| end <= now)
        });
        let episode =
            open.get_or_insert_with(|| Box::new(Self::new(error.clone(), report_after, now)));
        if episode.succeeding_since.take().is_some() {
            episode.failing_since = now;
        }
        episode.error = error.clone();
        episode
    }

    fn succeed(&mut self, now: Instant) {
        self.succeeding_since.get_or_insert(now);
    }

    fn ends_at(&self) -> Option<Instant> {
        self.succeeding_since.map(|since| since + QUIET_PERIOD)
    }

    /// Returns the time of the next report. While requests succeed, only an urgent report is due, because all others
    /// wait for the next failure or the end of the episode.
    fn report_is_due_at(&self) -> Option<Instant> {
        if self.is_urgent {
            return Some(self.failing_since);
        }
        let report_after = self.failing_since + self.report_after;
        let due_at = match self.reported_at {
            Some(reported_at) => reported_at + REPORT_INTERVAL,
            None => report_after.min(self.started_at + REPORT_INTERVAL),
        };
        Some(due_at).filter(|_| self.succeeding_since.is_none())
    }

    /// Returns the time at which a report can become due. If the sink is idle, it sends no requests, so only the end of
    /// the episode is reported.
    fn wakeup(&self, is_idle: bool) -> Option<Instant> {
        match self.ends_at() {
            Some(end) => Some(end).filter(|_| self.reported_at.is_some()),
            None => self.report_is_due_at().filter(|_| !is_idle),
        }
    }

    fn report(&self, kind: OutageKind, stage: Stage, until: Instant) -> Report {
        Report {
            kind,
            stage,
            duration: until.saturating_duration_since(self.started_at),
            total: self.total,
            failed: self.failed,
            throttled: self.throttled,
            error: self.error.clone(),
        }
    }

    fn take_report(&mut self, kind: OutageKind, now: Instant, is_idle: bool) -> Option<Report> {
        let is_due = self.report_is_due_at().is_some_and(|due_at| due_at <= now);
        if !is_due || (is_idle && !self.is_urgent) {
            return None;
        }
        self.is_urgent = false;
        let stage = match self.reported_at.replace(now) {
            None => Stage::Begins,
            Some(_) => Stage::Lasts,
        };
        Some(self.report(kind, stage, now))
    }
}

/// Failed entries of the response that is being settled.
#[derive(Debug, Default)]
struct EntryFailures {
    throttled: u64,
    failed: u64,
    error: Option<Arc<AttemptError>>,
}

/// Failed records that stay in the buffer until the owner takes them.
#[derive(Debug, Default)]
struct KeptFailures {
    unreported: u64,
    reason: Option<FailureReason>,
    reported_at: Option<Instant>,
}

impl KeptFailures {
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let due_at = self.reported_at.map_or(now, |reported_at| reported_at + REPORT_INTERVAL);
        (self.unreported > 0).then_some(due_at)
    }
}

/// Current episodes, and failures that have not been reported yet.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Outages {
    requests: Option<Box<Episode>>,
    is_fatal: bool,
    /// Number of consecutive failed requests. Failures of requests that were in flight at the same time count once.
    consecutive_failures: u32,
    entries: Option<Box<Episode>>,
    entry_failures: EntryFailures,
    kept: Option<Box<KeptFailures>>,
}

impl Outages {
    /// Records a failed request. `is_new` is `false` if the request was already in flight when an earlier request
    /// failed. Such a failure is counted, but does not begin an outage.
    pub(in crate::pipeline) fn request_failed(
        &mut self,
        error: &Arc<AttemptError>,
        is_new: bool,
        now: Instant,
    ) {
        if is_new {
            self.consecutive_failures += 1;
            let episode = Episode::of_failure(&mut self.requests, error, FAILING_AFTER, now);
            episode.is_urgent |= episode.reported_at.is_none() && self.consecutive_failures >= 2;
        }
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.failed += 1;
        }
    }

    /// Records a failed lookup. A few are not reported, because the sink continues without their results.
    pub(in crate::pipeline) fn lookup_failed(&mut self, error: &Arc<AttemptError>, now: Instant) {
        let episode = Episode::of_failure(&mut self.requests, error, FAILING_AFTER, now);
        episode.total += 1;
        episode.failed += 1;
    }

    /// Records a fatal error. The caller must record the failed request or lookup first.
    pub(in crate::pipeline) fn fatal(&mut self, error: &Arc<AttemptError>, now: Instant) {
        if self.requests.is_none() {
            self.request_failed(error, true, now);
        }
        if let Some(episode) = &mut self.requests {
            episode.is_urgent |= !self.is_fatal;
            self.is_fatal = true;
        }
    }

    /// Records a throttled request, which neither begins nor ends an outage.
    pub(in crate::pipeline) fn request_throttled(
        &mut self,
        entries: usize,
        error: &Arc<AttemptError>,
        now: Instant,
    ) {
        self.consecutive_failures = 0;
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.failed += 1;
            episode.error = error.clone();
        }
        let throttled = entries as u64;
        self.entry_failures = EntryFailures { throttled, failed: 0, error: Some(error.clone()) };
        self.settle_entries(entries, now);
    }

    pub(in crate::pipeline) fn entry_failed(&mut self, throttled: bool, error: &Arc<AttemptError>) {
        self.entry_failures.throttled += u64::from(throttled);
        self.entry_failures.failed += u64::from(!throttled);
        self.entry_failures.error = Some(error.clone());
    }

    /// Records a response. The caller must record the failed entries of the response first.
    pub(in crate::pipeline) fn response(&mut self, entries: usize, now: Instant) {
        self.succeeded(now);
        self.settle_entries(entries, now);
    }

    pub(in crate::pipeline) fn failed_response(&mut self, is_new: bool, now: Instant) {
        if let Some(error) = std::mem::take(&mut self.entry_failures).error {
            self.request_failed(&error, is_new, now);
        }
    }

    fn settle_entries(&mut self, entries: usize, now: Instant) {
        let EntryFailures { throttled, failed, error } = std::mem::take(&mut self.entry_failures);
        if let Some(error) = error {
            let episode = Episode::of_failure(&mut self.entries, &error, REPORT_INTERVAL, now);
            episode.throttled += throttled;
            episode.failed += failed;
        } else if let Some(episode) = &mut self.entries {
            episode.succeed(now);
        }
        if let Some(episode) = &mut self.entries {
            episode.total += entries as u64;
        }
    }

    pub(in crate::pipeline) fn succeeded(&mut self, now: Instant) {
        self.consecutive_failures = 0;
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.succeed(now);
        }
    }

    pub(in crate::pipeline) fn records_failed(&mut self, records: usize, reason: &FailureReason) {
        let kept = self.kept.get_or_insert_default();
        kept.unreported += records as u64;
        kept.reason = Some(reason.clone());
    }

    pub(in crate::pipeline) fn take_failed_records(
        &mut self,
        now: Instant,
    ) -> Option<(u64, FailureReason)> {
        let kept = self.kept.as_mut()?;
        kept.due_at(now).filter(|due_at| *due_at <= now)?;
        kept.reported_at = Some(now);
        let records = std::mem::take(&mut kept.unreported);
        kept.reason.take().map(|reason| (records, reason))
    }

    pub(in crate::pipeline) fn is_quiet(&self) -> bool {
        self.requests.is_none() && self.entries.is_none()
    }

    fn kind(&self) -> OutageKind {
        if self.is_fatal { OutageKind::Fatal } else { OutageKind::RequestsFailing }
    }

    /// Returns the next report that is due. `is_idle` is `true` if no record is queued or in flight.
    pub(in crate::pipeline) fn take_report(
        &mut self,
        now: Instant,
        is_idle: bool,
    ) -> Option<Report> {
        let ends = |episode: &Episode| episode.ends_at().is_some_and(|end| end <= now);
        let ended = self.take_ended(ends);
        if ended.is_some() {
            return ended;
        }
        let kind = self.kind();
        let report = |open: &mut Option<Box<Episode>>, kind| {
            open.as_mut().and_then(|episode| episode.take_report(kind, now, is_idle))
        };
        report(&mut self.requests, kind)
            .or_else(|| report(&mut self.entries, OutageKind::EntriesFailing))
    }

    /// Removes ended episodes. Returns the final report of an episode that has been reported before.
    fn take_ended(&mut self, ends: impl Fn(&Episode) -> bool) -> Option<Report> {
        let kind = self.kind();
        let report = |episode: Box<Episode>, kind| {
            let until = episode.succeeding_since.filter(|_| episode.reported_at.is_some())?;
            Some(episode.report(kind, Stage::Ends, until))
        };
        if let Some(episode) = self.requests.take_if(|episode| ends(episode)) {
            self.is_fatal = false;
            if let Some(ended) = report(episode, kind) {
                return Some(ended);
            }
        }
        self.entries
            .take_if(|episode| ends(episode))
            .and_then(|episode| report(episode, OutageKind::EntriesFailing))
    }

    /// Returns the final report of an outage that is over, without waiting for [`QUIET_PERIOD`].
    pub(in crate::pipeline) fn take_last_report(&mut self) -> Option<Report> {
        self.take_ended(|episode| episode.succeeding_since.is_some())
    }

    pub(in crate::pipeline) fn wakeup(&self, now: Instant, is_idle: bool) -> Option<Instant> {
        let episodes = self.requests.iter().chain(&self.entries);
        let reports = episodes.filter_map(|episode| episode.wakeup(is_idle));
        reports.chain(self.kept.as_ref().and_then(|kept| kept.due_at(now))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Harness {
        outages: Outages,
        started_at: Instant,
        now: Instant,
    }

    impl Harness {
        fn new() -> Self {
            let now = Instant::now();
            Self { outages: Outages::default(), started_at: now, now }
        }

        /// Advances the time. Returns the reports that became due, each with the time in seconds.
        fn pass(&mut self, seconds: f64) -> Vec<(u64, OutageKind, Stage)> {
            let until = self.now + Duration::from_secs_f64(seconds);
            let mut reports = Vec::new();
            loop {
                while let Some(report) = self.outages.take_report(self.now, false) {
                    let at = (self.now - self.started_at).as_secs();
                    reports.push((at, report.kind, report.stage));
                }
                match self.outages.wakeup(self.now, false) {
                    Some(at) if at <= until => {
                        assert!(at > self.now, "a due report is missing");
                        self.now = at;
                    }
                    _ => break,
                }
            }
            self.now = until;
            reports
        }

        fn fail(&mut self) {
            self.outages.request_failed(&error(), true, self.now);
        }

        fn succeed(&mut self) {
            self.outages.response(1, self.now);
        }

        fn throttle(&mut self, throttled: usize) {
            for _ in 0..throttled {
                self.outages.entry_failed(true, &error());
            }
            self.outages.response(10, self.now);
        }
    }

    fn error() -> Arc<AttemptError> {
        Arc::new(AttemptError { code: "InternalFailure".into(), message: "a message".into() })
    }

    use OutageKind::{EntriesFailing, Fatal, RequestsFailing};
    use Stage::{Begins, Ends, Lasts};

    #[test]
    fn single_failure_is_not_reported() {
        let mut harness = Harness::new();
        for _ in 0..100 {
            harness.fail();
            assert_eq!(harness.pass(0.1), []);
            harness.succeed();
            assert_eq!(harness.outages.wakeup(harness.now, true), None, "no timer after the end");
            assert_eq!(harness.pass(11.0), []);
        }
    }

    #[test]
    fn second_failure_begins_outage() {
        let mut harness = Harness::new();
        harness.fail();
        assert_eq!(harness.pass(0.1), []);
        harness.fail();
        assert_eq!(
            harness.pass(150.0),
            [
                (0, RequestsFailing, Begins),
                (60, RequestsFailing, Lasts),
                (120, RequestsFailing, Lasts)
            ]
        );
        harness.succeed();
        assert_eq!(harness.pass(9.9), []);
        assert_eq!(harness.pass(0.2), [(160, RequestsFailing, Ends)]);
        assert_eq!(harness.outages.wakeup(harness.now, false), None);
    }

    #[test]
    fn failure_begins_outage_after_5_s() {
        let mut harness = Harness::new();
        harness.fail();
        assert_eq!(harness.outages.wakeup(harness.now, true), None, "no record is buffered");
        assert_eq!(harness.pass(6.0), [(5, RequestsFailing, Begins)]);
    }

    #[test]
    fn flapping_begins_outage_after_1_min() {
        let mut harness = Harness::new();
        let mut reports = Vec::new();
        for _ in 0..100 {
            harness.fail();
            reports.extend(harness.pass(0.5));
            harness.succeed();
            reports.extend(harness.pass(0.5));
        }
        assert_eq!(reports, [(60, RequestsFailing, Begins)]);
        assert_eq!(harness.pass(60.0), [(109, RequestsFailing, Ends)]);
    }

    #[test]
    fn failing_lookups_begin_outage_after_5_s() {
        let mut harness = Harness::new();
        for second in 0..5 {
            harness.outages.lookup_failed(&error(), harness.now);
            assert_eq!(
                harness.pass(1.0),
                if second == 4 { vec![(5, RequestsFailing, Begins)] } else { vec![] }
            );
        }
    }

    #[test]
    fn failures_in_flight_together_count_once() {
        let mut harness = Harness::new();
        harness.fail();
        for _ in 0..7 {
            harness.outages.request_failed(&error(), false, harness.now);
        }
        harness.succeed();
        harness.outages.request_failed(&error(), false, harness.now);
        assert_eq!(harness.pass(60.0), []);
    }

    #[test]
    fn fatal_error_is_reported_once() {
        let mut harness = Harness::new();
        for _ in 0..10 {
            harness.fail();
            harness.outages.fatal(&error(), harness.now);
            harness.outages.request_failed(&error(), false, harness.now);
            let reports = harness.pass(1.0);
            assert!(reports.is_empty() || reports == [(0, Fatal, Begins)], "{reports:?}");
        }
        harness.succeed();
        assert_eq!(harness.pass(20.0), [(20, Fatal, Ends)]);
    }

    #[test]
    fn throttling_is_reported_after_1_min() {
        let mut harness = Harness::new();
        let mut reports = Vec::new();
        for second in 0..190 {
            harness.throttle(if second < 180 && second % 2 == 0 { 5 } else { 0 });
            reports.extend(harness.pass(1.0));
        }
        assert_eq!(
            reports,
            [
                (60, EntriesFailing, Begins),
                (120, EntriesFailing, Lasts),
                (189, EntriesFailing, Ends)
            ]
        );
        for _ in 0..50 {
            harness.throttle(5);
            assert_eq!(harness.pass(1.0), []);
        }
    }

    #[test]
    fn end_report_counts_failures() {
        let mut harness = Harness::new();
        for _ in 0..3 {
            harness.fail();
            harness.pass(2.0);
        }
        harness.succeed();
        harness.pass(1.0);
        harness.succeed();
        harness.now += QUIET_PERIOD;
        let report = harness.outages.take_report(harness.now, true).unwrap();
        assert_eq!((report.failed, report.total, report.duration.as_secs()), (3, 5, 6));
    }

    #[test]
    fn failed_records_are_reported_per_minute() {
        let mut outages = Outages::default();
        let started_at = Instant::now();
        let mut reported = Vec::new();
        for second in 0..150 {
            outages.records_failed(2, &FailureReason::Withdrawn { last: None });
            let now = started_at + Duration::from_secs(second);
            reported.extend(outages.take_failed_records(now).map(|(records, _)| (second, records)));
        }
        assert_eq!(reported, [(0, 2), (60, 120), (120, 120)]);
        assert_eq!(outages.wakeup(started_at, true), Some(started_at + Duration::from_secs(180)));
    }
}
