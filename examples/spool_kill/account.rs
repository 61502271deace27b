//! Accounts for every record: accepted by a child, written by the server, and found in the stream.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

/// Interval at which a spool writes acknowledgements.
pub const ACK_INTERVAL: Duration = Duration::from_millis(100);

/// A child process, counted from 0.
pub type Life = u32;

#[derive(Debug, Default)]
pub struct Account {
    accepted: HashSet<u64>,
    /// Writes of each record.
    writes: HashMap<u64, Vec<Write>>,
    kills: BTreeMap<Life, Instant>,
    found: HashMap<u64, u64>,
    /// Number of the last record of each key that was found for the first time.
    last_of_key: HashMap<String, u64>,
    damaged: u64,
    wrong_key: u64,
    out_of_order: u64,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    life: Life,
    /// When the response was sent. `None` if the connection ended before.
    responded_at: Option<Instant>,
}

/// Result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Number of records whose acceptance was reported.
    pub accepted: u64,
    /// Number of accepted records in the stream.
    pub delivered: u64,
    pub lost: u64,
    /// Number of copies in the stream in addition to the first one of each record.
    pub duplicated: u64,
    /// Records that were in the stream twice although neither a kill nor its time explains it.
    pub unexplained: u64,
    /// Records in the stream whose acceptance was not reported before the kill.
    pub unreported: u64,
    /// Largest number of records that were duplicated because of one kill.
    pub most_by_one_kill: u64,
    /// Longest time from the response for a record that was duplicated to the kill.
    pub longest: Duration,
    pub damaged: u64,
    pub wrong_key: u64,
    pub out_of_order: u64,
    /// Records whose copies in the stream are not as many as the server wrote.
    pub miscounted: u64,
}

impl Account {
    pub fn accepted(&mut self, number: u64) {
        self.accepted.insert(number);
    }

    pub fn written(&mut self, number: u64, life: Life, responded_at: Option<Instant>) {
        self.writes.entry(number).or_default().push(Write { life, responded_at });
    }

    pub fn killed(&mut self, life: Life, at: Instant) {
        self.kills.insert(life, at);
    }

    /// Counts a record of the stream. Must be called in the order of each shard.
    ///
    /// `number` is `None` if the data is damaged, and `key` is the ordering key, if order is verified.
    pub fn found(&mut self, number: Option<u64>, key_matches: bool, key: Option<&str>) {
        let Some(number) = number else {
            self.damaged += 1;
            return;
        };
        self.wrong_key += u64::from(!key_matches);
        let copies = self.found.entry(number).or_default();
        *copies += 1;
        let (1, Some(key)) = (*copies, key) else { return };
        let last = self.last_of_key.insert(key.to_owned(), number);
        self.out_of_order += u64::from(last.is_some_and(|last| last > number));
    }

    /// Compares everything. A duplicate is explained by a kill at most `ACK_INTERVAL` and `slack` after its response.
    pub fn verdict(&self, slack: Duration) -> Verdict {
        let is_found = |number: &&u64| self.found.contains_key(number);
        let delivered = self.accepted.iter().filter(is_found).count() as u64;
        let mut verdict = Verdict {
            accepted: self.accepted.len() as u64,
            delivered,
            lost: self.accepted.len() as u64 - delivered,
            duplicated: self.found.values().map(|copies| copies - 1).sum(),
            unreported: self.found.keys().filter(|number| !self.accepted.contains(number)).count()
                as u64,
            damaged: self.damaged,
            wrong_key: self.wrong_key,
            out_of_order: self.out_of_order,
            ..Verdict::default()
        };
        let mut by_kill: HashMap<Life, u64> = HashMap::new();
        for (number, writes) in &self.writes {
            let found = self.found.get(number).copied().unwrap_or_default();
            verdict.miscounted += u64::from(found != writes.len() as u64);
            let mut writes = writes.clone();
            // The last request of a killed child can be processed after the requests of its successor.
            writes.sort_by_key(|write| write.life);
            for pair in writes.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                let before_kill = (first.life < second.life)
                    .then(|| self.time_before_kill(first))
                    .flatten()
                    .filter(|time| *time <= ACK_INTERVAL + slack);
                match before_kill {
                    Some(time) => {
                        verdict.longest = verdict.longest.max(time);
                        *by_kill.entry(first.life).or_default() += 1;
                    }
                    None => verdict.unexplained += 1,
                }
            }
        }
        verdict.miscounted +=
            self.found.keys().filter(|number| !self.writes.contains_key(number)).count() as u64;
        verdict.most_by_one_kill = by_kill.into_values().max().unwrap_or_default();
        verdict
    }

    /// Returns the time from the response to the kill, which is zero if the child did not receive the response. Returns
    /// `None` if the child was not killed.
    fn time_before_kill(&self, write: Write) -> Option<Duration> {
        let killed_at = *self.kills.get(&write.life)?;
        Some(
            write.responded_at.map_or(Duration::ZERO, |at| killed_at.saturating_duration_since(at)),
        )
    }
}

impl Verdict {
    /// Returns `true` if nothing is lost, damaged, out of order, or duplicated without a cause.
    pub fn holds(&self) -> bool {
        let Self { lost, unexplained, damaged, wrong_key, out_of_order, miscounted, .. } = *self;
        self.accepted > 0
            && [lost, unexplained, damaged, wrong_key, out_of_order, miscounted] == [0; 6]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, delivered, lost, duplicated, .. } = self;
        writeln!(
            f,
            "{accepted} accepted, {delivered} delivered, {lost} lost, {duplicated} duplicated"
        )?;
        writeln!(
            f,
            "at most {} duplicated by one kill, with a response at most {} ms before it; {} without such a kill",
            self.most_by_one_kill,
            self.longest.as_millis(),
            self.unexplained,
        )?;
        write!(
            f,
            "{} delivered whose acceptance was not reported; {} damaged, {} with another key, {} out of order, {} \
             miscounted",
            self.unreported, self.damaged, self.wrong_key, self.out_of_order, self.miscounted,
        )
    }
}
