//! The table of streams.

use std::collections::BTreeMap;
use std::time::Duration;

use kinesis_sink::Router;
use kinesis_sink::budget::Budget;
use kinesis_sink::status::Condition;

use super::server::{Requests, Server};
use super::tally::{Outcomes, Tally};
use super::{MISSING, THROTTLED};

/// Streams with a row in the table. The other streams share one row.
const ROWS: [&str; 6] = [THROTTLED, MISSING, "tenant-03", "tenant-04", "tenant-05", "tenant-06"];

const HEADER: &str = "\
stream      condition     sent   full  rejected  undelivered  delivered  requests  throttled  buffered     p99";

/// Status of the router during the load.
#[derive(Debug, Default)]
pub struct Report {
    conditions: BTreeMap<String, &'static str>,
    /// Maximum number of buffered records of each stream.
    buffered: BTreeMap<String, usize>,
    oldest: BTreeMap<String, Duration>,
    max_buffered: usize,
    max_open_streams: usize,
}

impl Report {
    pub fn observe(&mut self, router: &Router, budget: &Budget) {
        for status in router.stream_statuses() {
            let stream = status.stream.name().to_owned();
            let buffered = self.buffered.entry(stream.clone()).or_default();
            *buffered = (*buffered).max(status.buffered().records);
            let oldest = self.oldest.entry(stream.clone()).or_default();
            *oldest = (*oldest).max(status.oldest_age.unwrap_or_default());
            self.conditions.insert(stream, name(&status.condition));
        }
        let status = router.status();
        self.max_buffered = self.max_buffered.max(budget.buffered().records);
        self.max_open_streams = self.max_open_streams.max(status.open_streams);
    }

    pub fn print(&self, router: &Router, budget: &Budget, tally: &Tally, server: &Server) {
        println!("{HEADER}");
        let (mut others, mut requests_of_others) = (Outcomes::default(), Requests::default());
        let (mut count, mut buffered) = (0, 0);
        let outcomes = tally.outcomes();
        for (stream, outcomes) in &outcomes {
            let requests = server.requests(stream);
            let max = self.buffered.get(stream).copied().unwrap_or_default();
            if ROWS.contains(&stream.as_str()) {
                let condition = self.conditions.get(stream).copied().unwrap_or("closed");
                print_row(stream, condition, outcomes, requests, max);
                continue;
            }
            count += 1;
            others.add(outcomes);
            requests_of_others.count += requests.count;
            requests_of_others.throttled += requests.throttled;
            buffered = buffered.max(max);
        }
        print_row(&format!("{count} others"), "", &others, requests_of_others, buffered);

        let status = router.status();
        let oldest = self.oldest.get(THROTTLED).copied().unwrap_or_default();
        println!("oldest record of {THROTTLED} while it was throttled: {oldest:.1?}");
        println!(
            "at most {} of {} records buffered, and {} of {} streams open; streams opened {} times",
            self.max_buffered,
            budget.settings().buffer_records,
            self.max_open_streams,
            status.max_streams,
            status.opened,
        );
        let reason = outcomes.get(MISSING).and_then(|outcomes| outcomes.reason.as_deref());
        println!("{MISSING}: {}", reason.unwrap_or("no record was undelivered"));
    }
}

fn print_row(
    stream: &str,
    condition: &str,
    outcomes: &Outcomes,
    requests: Requests,
    buffered: usize,
) {
    let Outcomes { sent, full, rejected, undelivered, kept, .. } = outcomes;
    let Requests { count, throttled } = requests;
    let delivered = kept.len();
    let p99 = outcomes.p99().map(|time| format!("{time:.0?}")).unwrap_or_default();
    println!(
        "{stream:<12}{condition:<11}{sent:>7}{full:>7}{rejected:>10}{undelivered:>13}\
         {delivered:>11}{count:>10}{throttled:>11}{buffered:>10}{p99:>8}",
    );
}

fn name(condition: &Condition) -> &'static str {
    match condition {
        Condition::Working => "working",
        Condition::Failing { .. } => "failing",
        Condition::Stopped { .. } => "stopped",
        _ => "other",
    }
}
