//! Decides when an outage, or lasting throttling, is reported in the log.
//!
//! Failures that are less than [`QUIET`] apart belong to one episode, so a flapping endpoint is one outage.
//! An episode of failed requests is reported from the second failure in a row on, and an episode of throttled or
//! failed entries once it has lasted for a minute. A single failure is not reported: a stale connection that is
//! replaced at once is no outage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::record::{AttemptError, FailureReason};

/// An episode ends after this time without a failure, counted from the first success after the last one.
const QUIET: Duration = Duration::from_secs(10);

/// The time between two lines about an episode, and the longest time that an episode stays unreported.
const MINUTE: Duration = Duration::from_secs(60);

/// The time after a failure without a success after which requests count as failing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) trouble: Trouble,
    pub(crate) stage: Stage,
    /// From the first failure until now; at the end, until the first success after the last failure.
    pub(crate) duration: Duration,
    /// The number of requests or entries that were answered or failed since the first failure.
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) throttled: u64,
    /// The latest error.
    pub(crate) error: Arc<AttemptError>,
}

/// The kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Requests fail.
    Failing,
    /// The service refuses every request until something outside changes.
    Refused,
    /// Entries are throttled, or fail.
    SentBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Begins,
    Lasts,
    Ends,
}

/// A series of failures with less than [`QUIET`] between them.
#[derive(Debug)]
struct Episode {
    began: Instant,
    /// The time of the first failure after the latest success.
    failing_since: Instant,
    /// The time of the first success after the latest failure.
    works_since: Option<Instant>,
    reported_at: Option<Instant>,
    /// Whether the next line is due at once.
    urgent: bool,
    /// The time after which an episode without a success is first reported.
    patience: Duration,
    total: u64,
    failed: u64,
    throttled: u64,
    error: Arc<AttemptError>,
}

impl Episode {
    fn new(error: Arc<AttemptError>, patience: Duration, now: Instant) -> Self {
        Self {
            began: now,
            failing_since: now,
            works_since: None,
            reported_at: None,
            urgent: false,
            patience,
            total: 0,
            failed: 0,
            throttled: 0,
            error,
        }
    }

    /// Returns the episode that a failure belongs to, a new one if there is none.
    fn of_failure<'a>(
        open: &'a mut Option<Self>,
        error: &Arc<AttemptError>,
        patience: Duration,
        now: Instant,
    ) -> &'a mut Self {
        open.take_if(|episode| {
            episode.reported_at.is_none() && episode.ends_at().is_some_and(|end| end <= now)
        });
        let episode = open.get_or_insert_with(|| Self::new(error.clone(), patience, now));
        if episode.works_since.take().is_some() {
            episode.failing_since = now;
        }
        episode.error = error.clone();
        episode
    }

    fn succeed(&mut self, now: Instant) {
        self.works_since.get_or_insert(now);
    }

    fn ends_at(&self) -> Option<Instant> {
        self.works_since.map(|since| since + QUIET)
    }

    /// When the next line is due, if there is no success before. While requests succeed, a line waits for
    /// the next failure, or for the end.
    fn line_is_due_at(&self) -> Option<Instant> {
        if self.urgent {
            return Some(self.failing_since);
        }
        let patience = self.failing_since + self.patience;
        let due_at = match self.reported_at {
            Some(reported_at) => reported_at + MINUTE,
            None => patience.min(self.began + MINUTE),
        };
        Some(due_at).filter(|_| self.works_since.is_none())
    }

    /// The time of the next report. While no record is waiting no request is made, so an episode that has not
    /// ended has nothing to report.
    fn wakeup(&self, is_idle: bool) -> Option<Instant> {
        match self.ends_at() {
            Some(end) => Some(end).filter(|_| self.reported_at.is_some()),
            None => self.line_is_due_at().filter(|_| !is_idle),
        }
    }

    fn report(&self, trouble: Trouble, stage: Stage, until: Instant) -> Report {
        Report {
            trouble,
            stage,
            duration: until.saturating_duration_since(self.began),
            total: self.total,
            failed: self.failed,
            throttled: self.throttled,
            error: self.error.clone(),
        }
    }

    /// Takes the report that is due.
    fn take_report(&mut self, trouble: Trouble, now: Instant, is_idle: bool) -> Option<Report> {
        let is_due = self.line_is_due_at().is_some_and(|due_at| due_at <= now);
        if !is_due || (is_idle && !self.urgent) {
            return None;
        }
        self.urgent = false;
        let stage = match self.reported_at.replace(now) {
            None => Stage::Begins,
            Some(_) => Stage::Lasts,
        };
        Some(self.report(trouble, stage, now))
    }
}

/// The entries of a response that were sent back.
#[derive(Debug, Default)]
struct SentBack {
    throttled: u64,
    failed: u64,
    error: Option<Arc<AttemptError>>,
}

/// The records that failed for good and are kept.
#[derive(Debug, Default)]
struct Lost {
    unreported: u64,
    /// The latest reason.
    reason: Option<FailureReason>,
    reported_at: Option<Instant>,
}

impl Lost {
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let due_at = self.reported_at.map_or(now, |reported_at| reported_at + MINUTE);
        (self.unreported > 0).then_some(due_at)
    }
}

/// The current episodes.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Outages {
    requests: Option<Episode>,
    /// Whether the service refuses every request in the current episode.
    refused: bool,
    /// The number of failures in a row, without those of requests that were in flight together.
    in_a_row: u32,
    entries: Option<Episode>,
    /// The entries that the response being settled sent back.
    sent_back: SentBack,
    lost: Lost,
}

impl Outages {
    /// Notes a request that failed as a whole. The failure of one that was in flight when an earlier
    /// failure became known is not `news`: it is only counted.
    pub(in crate::pipeline) fn request_failed(
        &mut self,
        error: &Arc<AttemptError>,
        news: bool,
        now: Instant,
    ) {
        if news {
            self.in_a_row += 1;
            let episode = Episode::of_failure(&mut self.requests, error, PATIENCE, now);
            episode.urgent |= episode.reported_at.is_none() && self.in_a_row >= 2;
        }
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.failed += 1;
        }
    }

    /// Notes the failure of a lookup that must be answered before anything is sent. A few of these are no outage,
    /// since the sink then continues without the answer.
    pub(in crate::pipeline) fn lookup_failed(&mut self, error: &Arc<AttemptError>, now: Instant) {
        let episode = Episode::of_failure(&mut self.requests, error, PATIENCE, now);
        episode.total += 1;
        episode.failed += 1;
    }

    /// Notes that the service refuses every request. The failure that shows this was noted before.
    pub(in crate::pipeline) fn refused(&mut self, error: &Arc<AttemptError>, now: Instant) {
        if self.requests.is_none() {
            self.request_failed(error, true, now);
        }
        if let Some(episode) = &mut self.requests {
            episode.urgent |= !self.refused;
            self.refused = true;
        }
    }

    /// Notes a request of `entries` entries that was throttled as a whole. This neither begins nor ends an outage.
    pub(in crate::pipeline) fn request_throttled(
        &mut self,
        entries: usize,
        error: &Arc<AttemptError>,
        now: Instant,
    ) {
        self.in_a_row = 0;
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.failed += 1;
            episode.error = error.clone();
        }
        let throttled = entries as u64;
        self.sent_back = SentBack { throttled, failed: 0, error: Some(error.clone()) };
        self.settle_entries(entries, now);
    }

    /// Notes an entry of the response that is being settled.
    pub(in crate::pipeline) fn entry_failed(&mut self, throttled: bool, error: &Arc<AttemptError>) {
        self.sent_back.throttled += u64::from(throttled);
        self.sent_back.failed += u64::from(!throttled);
        self.sent_back.error = Some(error.clone());
    }

    /// Notes a response of `entries` entries, of which those that failed were noted before.
    pub(in crate::pipeline) fn response(&mut self, entries: usize, now: Instant) {
        self.succeeded(now);
        self.settle_entries(entries, now);
    }

    /// Notes a response in which every entry failed: an outage that is reported entry by entry.
    pub(in crate::pipeline) fn response_of_failures(&mut self, news: bool, now: Instant) {
        if let Some(error) = std::mem::take(&mut self.sent_back).error {
            self.request_failed(&error, news, now);
        }
    }

    fn settle_entries(&mut self, entries: usize, now: Instant) {
        let SentBack { throttled, failed, error } = std::mem::take(&mut self.sent_back);
        if let Some(error) = error {
            let episode = Episode::of_failure(&mut self.entries, &error, MINUTE, now);
            episode.throttled += throttled;
            episode.failed += failed;
        } else if let Some(episode) = &mut self.entries {
            episode.succeed(now);
        }
        if let Some(episode) = &mut self.entries {
            episode.total += entries as u64;
        }
    }

    /// Notes that the service has answered a request.
    pub(in crate::pipeline) fn succeeded(&mut self, now: Instant) {
        self.in_a_row = 0;
        if let Some(episode) = &mut self.requests {
            episode.total += 1;
            episode.succeed(now);
        }
    }

    /// Notes records that failed for good and that are kept.
    pub(in crate::pipeline) fn lost(&mut self, records: usize, reason: &FailureReason) {
        self.lost.unreported += records as u64;
        self.lost.reason = Some(reason.clone());
    }

    /// Takes the number of records that failed for good since the latest such report and are kept, with the latest
    /// reason. Returns this at most once a minute.
    pub(in crate::pipeline) fn take_lost(&mut self, now: Instant) -> Option<(u64, FailureReason)> {
        self.lost.due_at(now).filter(|due_at| *due_at <= now)?;
        self.lost.reported_at = Some(now);
        let records = std::mem::take(&mut self.lost.unreported);
        self.lost.reason.take().map(|reason| (records, reason))
    }

    /// Whether there is no episode.
    pub(in crate::pipeline) fn is_quiet(&self) -> bool {
        self.requests.is_none() && self.entries.is_none()
    }

    fn trouble(&self) -> Trouble {
        if self.refused { Trouble::Refused } else { Trouble::Failing }
    }

    /// Takes the next report that is due. `is_idle` means that no record is queued or in flight.
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
        let trouble = self.trouble();
        let report = |open: &mut Option<Episode>, trouble| {
            open.as_mut().and_then(|episode| episode.take_report(trouble, now, is_idle))
        };
        report(&mut self.requests, trouble).or_else(|| report(&mut self.entries, Trouble::SentBack))
    }

    /// Removes the episodes that have ended. Returns the final report of one whose beginning was reported.
    fn take_ended(&mut self, ends: impl Fn(&Episode) -> bool) -> Option<Report> {
        let trouble = self.trouble();
        let report = |episode: Episode, trouble| {
            let until = episode.works_since.filter(|_| episode.reported_at.is_some())?;
            Some(episode.report(trouble, Stage::Ends, until))
        };
        if let Some(episode) = self.requests.take_if(|episode| ends(episode)) {
            self.refused = false;
            if let Some(ended) = report(episode, trouble) {
                return Some(ended);
            }
        }
        self.entries
            .take_if(|episode| ends(episode))
            .and_then(|episode| report(episode, Trouble::SentBack))
    }

    /// Takes the final report of an outage after which nothing has failed, without waiting for [`QUIET`].
    pub(in crate::pipeline) fn take_last_report(&mut self) -> Option<Report> {
        self.take_ended(|episode| episode.works_since.is_some())
    }

    /// The time of the next report.
    pub(in crate::pipeline) fn wakeup(&self, now: Instant, is_idle: bool) -> Option<Instant> {
        let episodes = self.requests.iter().chain(&self.entries);
        let reports = episodes.filter_map(|episode| episode.wakeup(is_idle));
        reports.chain(self.lost.due_at(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outages with a clock.
    struct Harness {
        outages: Outages,
        began: Instant,
        now: Instant,
    }

    impl Harness {
        fn new() -> Self {
            let now = Instant::now();
            Self { outages: Outages::default(), began: now, now }
        }

        /// Lets seconds pass, and says when which stages were reported meanwhile.
        fn pass(&mut self, seconds: f64) -> Vec<(u64, Trouble, Stage)> {
            let until = self.now + Duration::from_secs_f64(seconds);
            let mut reports = Vec::new();
            loop {
                while let Some(report) = self.outages.take_report(self.now, false) {
                    let at = (self.now - self.began).as_secs();
                    reports.push((at, report.trouble, report.stage));
                }
                match self.outages.wakeup(self.now, false) {
                    Some(at) if at <= until => {
                        assert!(at > self.now, "it is due and was not reported");
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

        /// A response of 10 entries.
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

    use Stage::{Begins, Ends, Lasts};
    use Trouble::{Failing, Refused, SentBack as Throttling};

    #[test]
    fn single_failures_are_no_outage() {
        let mut bench = Harness::new();
        for _ in 0..100 {
            bench.fail();
            assert_eq!(bench.pass(0.1), []);
            bench.succeed();
            assert_eq!(bench.outages.wakeup(bench.now, true), None, "no timer for what is over");
            assert_eq!(bench.pass(11.0), []);
        }
    }

    #[test]
    fn second_failure_in_a_row_begins_an_outage() {
        let mut bench = Harness::new();
        bench.fail();
        assert_eq!(bench.pass(0.1), []);
        bench.fail();
        assert_eq!(
            bench.pass(150.0),
            [(0, Failing, Begins), (60, Failing, Lasts), (120, Failing, Lasts)]
        );
        bench.succeed();
        assert_eq!(bench.pass(9.9), []);
        assert_eq!(bench.pass(0.2), [(160, Failing, Ends)]);
        assert_eq!(bench.outages.wakeup(bench.now, false), None);
    }

    #[test]
    fn failure_begins_outage_after_5_s() {
        let mut bench = Harness::new();
        bench.fail();
        assert_eq!(bench.outages.wakeup(bench.now, true), None, "nothing is waiting");
        assert_eq!(bench.pass(6.0), [(5, Failing, Begins)]);
    }

    #[test]
    fn alternating_failures_begin_outage_in_a_minute() {
        let mut bench = Harness::new();
        let mut reports = Vec::new();
        for _ in 0..100 {
            bench.fail();
            reports.extend(bench.pass(0.5));
            bench.succeed();
            reports.extend(bench.pass(0.5));
        }
        assert_eq!(reports, [(60, Failing, Begins)]);
        assert_eq!(bench.pass(60.0), [(109, Failing, Ends)]);
    }

    #[test]
    fn failing_lookups_begin_outage_after_5_s() {
        let mut bench = Harness::new();
        for second in 0..5 {
            bench.outages.lookup_failed(&error(), bench.now);
            assert_eq!(
                bench.pass(1.0),
                if second == 4 { vec![(5, Failing, Begins)] } else { vec![] }
            );
        }
    }

    #[test]
    fn failures_in_flight_together_count_once() {
        let mut bench = Harness::new();
        bench.fail();
        for _ in 0..7 {
            bench.outages.request_failed(&error(), false, bench.now);
        }
        bench.succeed();
        bench.outages.request_failed(&error(), false, bench.now);
        assert_eq!(bench.pass(60.0), []);
    }

    #[test]
    fn refusal_is_reported_at_once_and_once() {
        let mut bench = Harness::new();
        for _ in 0..10 {
            bench.fail();
            bench.outages.refused(&error(), bench.now);
            bench.outages.request_failed(&error(), false, bench.now);
            let reports = bench.pass(1.0);
            assert!(reports.is_empty() || reports == [(0, Refused, Begins)], "{reports:?}");
        }
        bench.succeed();
        assert_eq!(bench.pass(20.0), [(20, Refused, Ends)]);
    }

    #[test]
    fn throttling_is_reported_after_a_minute() {
        let mut bench = Harness::new();
        let mut reports = Vec::new();
        for second in 0..190 {
            bench.throttle(if second < 180 && second % 2 == 0 { 5 } else { 0 });
            reports.extend(bench.pass(1.0));
        }
        assert_eq!(
            reports,
            [(60, Throttling, Begins), (120, Throttling, Lasts), (189, Throttling, Ends)]
        );
        for _ in 0..50 {
            bench.throttle(5);
            assert_eq!(bench.pass(1.0), []);
        }
    }

    #[test]
    fn end_counts_what_failed() {
        let mut bench = Harness::new();
        for _ in 0..3 {
            bench.fail();
            bench.pass(2.0);
        }
        bench.succeed();
        bench.pass(1.0);
        bench.succeed();
        bench.now += QUIET;
        let report = bench.outages.take_report(bench.now, true).unwrap();
        assert_eq!((report.failed, report.total, report.duration.as_secs()), (3, 5, 6));
    }

    #[test]
    fn lost_records_are_counted_once_a_minute() {
        let (mut outages, began) = (Outages::default(), Instant::now());
        let mut reported = Vec::new();
        for second in 0..150 {
            outages.lost(2, &FailureReason::Withdrawn { last: None });
            let now = began + Duration::from_secs(second);
            reported.extend(outages.take_lost(now).map(|(records, _)| (second, records)));
        }
        assert_eq!(reported, [(0, 2), (60, 120), (120, 120)]);
        assert_eq!(outages.wakeup(began, true), Some(began + Duration::from_secs(180)));
    }
}
