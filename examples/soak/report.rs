//! What is printed while it runs, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::account::{Counts, Missing};
use crate::faults::{Faults, Hits, Outcomes};
use crate::memory::{Growth, MIB, most_resident, resident};
use crate::tasks::Shared;

/// Seconds between two lines.
const LINE: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Watches the run.
pub struct Reporter {
    account: Arc<Shared>,
    outcomes: Arc<Outcomes>,
    faults: Arc<Faults>,
    began: Instant,
    growth: Growth,
    hits: Hits,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    counts: Counts,
    missing: Missing,
    unknown: u64,
    account_bytes: u64,
    most_resident: Option<u64>,
    growth: Option<u64>,
    took: Duration,
}

impl Reporter {
    pub fn new(account: Arc<Shared>, outcomes: Arc<Outcomes>, faults: Arc<Faults>) -> Self {
        let (growth, hits) = (Growth::default(), Hits::default());
        Self { account, outcomes, faults, began: Instant::now(), growth, hits }
    }

    /// Looks at memory every second, and tells everything every ten. Never ends.
    pub async fn run(&mut self) {
        let mut second = interval(Duration::from_secs(1));
        second.tick().await;
        for count in 1_u64.. {
            second.tick().await;
            self.sample();
            if count.is_multiple_of(LINE) {
                self.tell();
            }
        }
    }

    fn sample(&mut self) {
        let account = self.account.with(|account| account.bytes());
        if let Some(resident) = resident() {
            let in_first_minute = self.began.elapsed() < MINUTE;
            self.growth.sample(in_first_minute, resident.saturating_sub(account));
        }
    }

    fn tell(&mut self) {
        let (counts, missing) = self.account.with(|account| (account.counts(), account.look()));
        let hits = self.faults.hits();
        let in_flight = self.outcomes.in_flight();
        println!(
            "{:>4} s: {} accepted, {} delivered, {} duplicated ({} may be, {} must not), {} lost; {} in flight, \
             {} waiting; {} MiB resident, {} at most; faults: {}",
            self.began.elapsed().as_secs(),
            counts.accepted,
            counts.delivered,
            counts.duplicated,
            self.outcomes.unknown(),
            counts.unexplained,
            missing.lost,
            in_flight,
            missing.without_end.saturating_sub(in_flight),
            mib(resident()),
            mib(most_resident()),
            hits.since(self.hits),
        );
        self.hits = hits;
    }

    /// To be asked when everything was read.
    pub fn verdict(mut self) -> Verdict {
        self.sample();
        let (counts, missing, account_bytes) = self.account.with(|account| {
            // What is missing now stays so.
            account.look();
            (account.counts(), account.look(), account.bytes())
        });
        Verdict {
            counts,
            missing,
            unknown: self.outcomes.unknown(),
            account_bytes,
            most_resident: most_resident(),
            growth: self.growth.bytes(),
            took: self.began.elapsed(),
        }
    }
}

impl Verdict {
    pub fn print(&self) {
        let Self { counts, missing, unknown, took, .. } = self;
        println!(
            "in {:.1} s: {} accepted, {} delivered, {} handed back, {} without an outcome, {} lost, {} damaged; \
             {} duplicated, {unknown} times the outcome was unknown, {} duplicates without that",
            took.as_secs_f64(),
            counts.accepted,
            counts.delivered,
            counts.handed_back,
            missing.without_end,
            missing.lost,
            counts.damaged,
            counts.duplicated,
            counts.unexplained,
        );
        println!(
            "{} MiB resident at most, {} of them for the account; {} MiB more after the first minute than in it",
            mib(self.most_resident),
            mib(Some(self.account_bytes)),
            mib(self.growth),
        );
    }

    /// Every record was delivered, is in the stream, and is there twice only where that can be.
    pub fn is_complete(&self) -> bool {
        let Self { counts, missing, .. } = self;
        counts.accepted > 0
            && counts.accepted == counts.delivered
            && *missing == Missing::default()
            && counts.damaged == 0
            && counts.unexplained == 0
    }

    /// The memory stayed in its bounds, as far as this system tells.
    pub fn is_bounded(&self, max_rss_mib: u64, max_growth_mib: u64) -> bool {
        let allowed = max_rss_mib * MIB + self.account_bytes;
        self.most_resident.is_none_or(|most| most <= allowed)
            && self.growth.is_none_or(|growth| growth <= max_growth_mib * MIB)
    }
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("unknown".to_owned(), |bytes| format!("{:.1}", bytes as f64 / MIB as f64))
}
