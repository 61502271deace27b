use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::account::{Counts, Missing};
use crate::faults::{Faults, Hits, Outcomes};
use crate::memory::{Growth, MIB, peak_resident, resident};
use crate::senders::SharedAccount;

const SECONDS_PER_LINE: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

pub struct Reporter {
    account: Arc<SharedAccount>,
    outcomes: Arc<Outcomes>,
    faults: Arc<Faults>,
    started_at: Instant,
    growth: Growth,
    hits: Hits,
}

#[derive(Debug)]
pub struct Verdict {
    counts: Counts,
    missing: Missing,
    unknown_outcomes: u64,
    account_bytes: u64,
    peak_resident: Option<u64>,
    growth: Option<u64>,
    elapsed: Duration,
}

impl Reporter {
    pub fn new(account: Arc<SharedAccount>, outcomes: Arc<Outcomes>, faults: Arc<Faults>) -> Self {
        Self {
            account,
            outcomes,
            faults,
            started_at: Instant::now(),
            growth: Growth::default(),
            hits: Hits::default(),
        }
    }

    /// Samples memory use every second and prints a line every ten seconds. Never completes.
    pub async fn run(&mut self) {
        let mut second = interval(Duration::from_secs(1));
        second.tick().await;
        for count in 1_u64.. {
            second.tick().await;
            self.sample();
            if count.is_multiple_of(SECONDS_PER_LINE) {
                self.print_progress();
            }
        }
    }

    fn sample(&mut self) {
        let account = self.account.with(|account| account.bytes());
        if let Some(resident) = resident() {
            let in_first_minute = self.started_at.elapsed() < MINUTE;
            self.growth.sample(in_first_minute, resident.saturating_sub(account));
        }
    }

    fn print_progress(&mut self) {
        let (counts, missing) =
            self.account.with(|account| (account.counts(), account.check_missing()));
        let hits = self.faults.hits();
        let in_flight = self.outcomes.in_flight();
        println!(
            "{:>4} s: {} accepted, {} delivered, {} duplicated ({} unknown outcomes, {} unexplained), {} lost; \
             {} in flight, {} queued; {} MiB resident, peak {} MiB; faults: {}",
            self.started_at.elapsed().as_secs(),
            counts.accepted,
            counts.delivered,
            counts.duplicated,
            self.outcomes.unknown(),
            counts.unexplained,
            missing.lost,
            in_flight,
            missing.pending.saturating_sub(in_flight),
            mib(resident()),
            mib(peak_resident()),
            hits.since(self.hits),
        );
        self.hits = hits;
    }

    /// Returns the result of the run. Must be called after the stream has been read to its end.
    pub fn verdict(mut self) -> Verdict {
        self.sample();
        let (counts, missing, account_bytes) = self.account.with(|account| {
            // A missing record counts as lost only at the second check.
            account.check_missing();
            (account.counts(), account.check_missing(), account.bytes())
        });
        Verdict {
            counts,
            missing,
            unknown_outcomes: self.outcomes.unknown(),
            account_bytes,
            peak_resident: peak_resident(),
            growth: self.growth.bytes(),
            elapsed: self.started_at.elapsed(),
        }
    }
}

impl Verdict {
    pub fn print(&self) {
        let Self { counts, missing, unknown_outcomes, elapsed, .. } = self;
        println!(
            "in {:.1} s: {} accepted, {} delivered, {} returned, {} without outcome, {} lost, {} damaged; \
             {} duplicated, {unknown_outcomes} unknown outcomes, {} unexplained duplicates",
            elapsed.as_secs_f64(),
            counts.accepted,
            counts.delivered,
            counts.returned,
            missing.pending,
            missing.lost,
            counts.damaged,
            counts.duplicated,
            counts.unexplained,
        );
        println!(
            "peak {} MiB resident, including {} MiB for the account; growth after the first minute {} MiB",
            mib(self.peak_resident),
            mib(Some(self.account_bytes)),
            mib(self.growth),
        );
    }

    /// Returns `true` if every record was delivered and found, and all duplicates are explained.
    pub fn is_complete(&self) -> bool {
        let Self { counts, missing, .. } = self;
        counts.accepted > 0
            && counts.accepted == counts.delivered
            && *missing == Missing::default()
            && counts.damaged == 0
            && counts.unexplained == 0
    }

    /// Returns `true` if memory use did not exceed the limits or cannot be measured on this system.
    pub fn is_within_limits(&self, max_rss_mib: u64, max_growth_mib: u64) -> bool {
        let allowed = max_rss_mib * MIB + self.account_bytes;
        self.peak_resident.is_none_or(|peak| peak <= allowed)
            && self.growth.is_none_or(|growth| growth <= max_growth_mib * MIB)
    }
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("unknown".to_owned(), |bytes| format!("{:.1}", bytes as f64 / MIB as f64))
}
