use std::time::{Duration, Instant};

/// What one shard takes, and so the most that is sent to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    /// Kinesis records a second.
    pub(crate) records: f64,
    /// Bytes a second, partition keys included.
    pub(crate) bytes: f64,
}

/// The rate at which entries go to one shard: a share of its quota, found by additive increase and
/// multiplicative decrease, so that producers that share a stream divide it among themselves without
/// talking to each other.
///
/// Entries are paid for with tokens, in records and in bytes, that come in with time. An entry that costs
/// more than is ever kept goes when all of that is there, and leaves the debt to those after it.
///
/// Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
/// Computer Networks", 1989.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    quota: Quota,
    /// Of the quota. None as long as nothing bounds it: nobody knows what quota applies, and nothing was
    /// throttled.
    share: Option<f64>,
    /// The highest share.
    bound: f64,
    records: f64,
    bytes: f64,
    /// The tokens are those of this time.
    at: Option<Instant>,
    /// What was taken lately, as a share of the quota. Counted while nothing bounds it.
    usage: f64,
    /// When the latest answer came.
    answered_at: Option<Instant>,
    throttles: u32,
    /// Requests with a lower number were cut before the latest decrease.
    known_before: u64,
}

/// What a throttle leaves of the share.
const DECREASE: f64 = 0.7;

/// By so much the share grows in a second in which it was used up. Of shards that are not known, nobody
/// knows how many there are: their share grows by a part of itself, and until the second throttle doubles.
const INCREASE: f64 = 0.015;
const INCREASE_UNKNOWN: f64 = 0.1;
const INCREASE_AT_FIRST: f64 = 1.0;

/// An answer is credited with the growth of so many seconds at most: what lies further back is silence.
const LONGEST_CREDIT: f64 = 1.0;

/// No throttle brings the share below this.
const LOWEST: f64 = 0.005;

/// For a burst the tokens of a second are kept, but no more than the whole quota brings in in so many
/// seconds. The service keeps a second's, so that what arrives a little earlier than it was meant to is not
/// throttled.
const BURST: f64 = 0.25;

/// No entry is followed by a longer wait than so many seconds, or than it takes at the whole quota: how
/// busy a shard is must be tried now and then.
const LONGEST_DEBT: f64 = 5.0;

/// Those who wait for tokens wait until so many have come as the whole quota brings in in so many seconds,
/// so that requests are full; but no longer than for the second of these times.
const QUANTUM: f64 = 0.05;
const LONGEST_QUANTUM: f64 = 0.1;

impl Pace {
    /// The pace of a shard, at a share of its quota of 0 to 1. What was sent before, in requests with
    /// numbers below `next`, says nothing about it.
    pub(crate) fn of_shard(quota: Quota, share: f64, next: u64, now: Instant) -> Self {
        let share = share.clamp(lowest(quota), 1.0);
        let (records, bytes) = (most_kept(quota.records, share), most_kept(quota.bytes, share));
        Self {
            quota,
            share: Some(share),
            bound: 1.0,
            records,
            bytes,
            at: Some(now),
            usage: 0.0,
            answered_at: None,
            throttles: 0,
            known_before: next,
        }
    }

    /// The pace where no shard is known: none, until something is throttled.
    pub(crate) fn unknown(quota: Quota) -> Self {
        Self {
            quota,
            share: None,
            bound: f64::INFINITY,
            records: 0.0,
            bytes: 0.0,
            at: None,
            usage: 0.0,
            answered_at: None,
            throttles: 0,
            known_before: 0,
        }
    }

    /// Its share of the quota, at most 1. That of a shard whose place it is in.
    pub(crate) fn share(&self) -> f64 {
        self.share.map_or(1.0, |share| share.min(1.0))
    }

    /// Records a second that come in, if anything bounds them.
    pub(crate) fn records(&self) -> Option<f64> {
        self.share.map(|share| share * self.quota.records)
    }

    /// Whether an entry of so many bytes may go. Once true, it stays so until something is
    /// [taken](Self::take).
    #[inline]
    pub(crate) fn may_take(&self, bytes: usize) -> bool {
        let Some(share) = self.share else { return true };
        let affords = |tokens: f64, cost: usize, quota: f64| {
            tokens >= cost as f64 || tokens >= self.price(cost, quota, share)
        };
        affords(self.records, 1, self.quota.records) && affords(self.bytes, bytes, self.quota.bytes)
    }

    /// The tokens that must be there for an entry. Rounding must not make them unreachable.
    fn price(&self, cost: usize, quota: f64, share: f64) -> f64 {
        (cost as f64).min(most_kept(quota, share)) - 1e-6
    }

    /// Pays for an entry.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) {
        let Some(share) = self.share else {
            self.usage += self.part_of_quota(bytes);
            return;
        };
        let left = |tokens: f64, taken: f64, quota: f64| match taken - tokens {
            debt if debt > 0.0 => -debt.min((LONGEST_DEBT * quota * share).max(debt * share)),
            rest => -rest,
        };
        self.records = left(self.records, 1.0, self.quota.records);
        self.bytes = left(self.bytes, bytes as f64, self.quota.bytes);
    }

    /// Takes back what was paid for an entry that was not sent after all.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let Some(share) = self.share else {
            self.usage = (self.usage - self.part_of_quota(bytes)).max(0.0);
            return;
        };
        let Quota { records: each, bytes: size } = self.quota;
        self.records = (self.records + 1.0).min(most_kept(each, share));
        self.bytes = (self.bytes + bytes as f64).min(most_kept(size, share));
    }

    fn part_of_quota(&self, bytes: usize) -> f64 {
        (1.0 / self.quota.records).max(bytes as f64 / self.quota.bytes)
    }

    /// Brings the tokens in that have come.
    pub(crate) fn refill(&mut self, now: Instant) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = self.at.max(Some(now));
        let seconds = since.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let Some(share) = self.share else {
            self.usage *= (-seconds).exp();
            return;
        };
        let quota = self.quota;
        let more = |tokens: f64, quota: f64| {
            (tokens + quota * share * seconds).min(most_kept(quota, share))
        };
        self.records = more(self.records, quota.records);
        self.bytes = more(self.bytes, quota.bytes);
    }

    /// Takes an answer. If it brings no throttle, and more would have been sent if it might, the share
    /// grows by the time since the answer before: what is not answered teaches nothing.
    pub(crate) fn answered(&mut self, grows: bool, now: Instant) {
        let since = self.answered_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.answered_at = Some(now);
        let Some(share) = self.share.filter(|_| grows) else { return };
        let seconds = since.as_secs_f64().min(LONGEST_CREDIT);
        let growth = match (self.bound.is_finite(), self.throttles) {
            (true, _) => INCREASE,
            (false, 1) => INCREASE_AT_FIRST * share,
            (false, _) => INCREASE_UNKNOWN * share,
        };
        self.share = Some((share + growth * seconds).min(self.bound));
    }

    /// When there will be tokens for an entry of so many bytes, and for as much as one waits for of what
    /// comes with it.
    pub(crate) fn ready_at(&self, entry: usize, records: usize, bytes: usize) -> Option<Instant> {
        let share = self.share?;
        let wait = |tokens: f64, price: f64, wanted: usize, quota: f64| {
            let quantum = (quota * QUANTUM).min(quota * share * LONGEST_QUANTUM);
            let wanted = (wanted as f64).min(quantum).max(price);
            (wanted - tokens) / (quota * share)
        };
        let Quota { records: each, bytes: size } = self.quota;
        let records = wait(self.records, self.price(1, each, share), records, each);
        let bytes = wait(self.bytes, self.price(entry, size, share), bytes, size);
        // A little later than exactly, for what is rounded off.
        let wait = Duration::from_secs_f64(records.max(bytes).max(0.0)) + Duration::from_micros(1);
        Some(self.at? + wait)
    }

    /// Takes a throttle of the request with the number `request`, of those below `next`. Requests that
    /// were in flight at the latest decrease say nothing new; the answer is false for them.
    pub(crate) fn throttled(&mut self, request: u64, next: u64) -> bool {
        if request < self.known_before {
            return false;
        }
        self.known_before = next;
        self.throttles = self.throttles.saturating_add(1);
        self.records = self.records.min(0.0);
        self.bytes = self.bytes.min(0.0);
        // A stream has at least one shard.
        let share = self.share.unwrap_or(self.usage.max(1.0));
        self.share = Some((share * DECREASE).max(lowest(self.quota)));
        true
    }
}

/// The lowest share. Even so a record goes within [`LONGEST_DEBT`].
fn lowest(quota: Quota) -> f64 {
    LOWEST.max(1.0 / (LONGEST_DEBT * quota.records)).min(1.0)
}

/// The most tokens that are kept: enough for one record.
fn most_kept(quota: f64, share: f64) -> f64 {
    (quota * share).min(quota * BURST).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { records: 1_000.0, bytes: 1_048_576.0 };

    /// A pace, and what it lets through in each second while there is always more.
    struct Bench {
        pace: Pace,
        now: Instant,
    }

    impl Bench {
        fn new(share: f64) -> Self {
            let now = Instant::now();
            Self { pace: Pace::of_shard(QUOTA, share, 0, now), now }
        }

        /// Entries of so many bytes that go in so many seconds.
        fn sent(&mut self, bytes: usize, seconds: u64) -> u32 {
            let end = self.now + Duration::from_secs(seconds);
            let mut sent = 0;
            loop {
                self.pace.refill(self.now);
                self.pace.answered(true, self.now);
                while self.pace.may_take(bytes) {
                    self.pace.take(bytes);
                    sent += 1;
                }
                let ready = self.pace.ready_at(bytes, 500, 500 * bytes).unwrap();
                assert!(ready > self.now);
                if ready > end {
                    self.now = end;
                    return sent;
                }
                self.now = ready;
            }
        }
    }

    #[test]
    fn no_more_goes_than_the_quota_after_the_first_burst() {
        let mut bench = Bench::new(1.0);
        assert_eq!(bench.sent(100, 0), 250, "a quarter of a second's");
        let sent = bench.sent(100, 10);
        assert!((9_900..=10_000).contains(&sent), "{sent}");
        // 50 KiB: the bytes are what counts.
        let mut bench = Bench::new(1.0);
        bench.sent(51_200, 1);
        let sent = bench.sent(51_200, 10);
        assert!((200..=206).contains(&sent), "{sent}");
    }

    #[test]
    fn a_large_entry_goes_and_leaves_its_debt() {
        for (share, bytes, waits) in
            [(1.0, 10 << 20, 9.75), (0.01, 1 << 20, 5.0), (0.3, 10 << 20, 9.75)]
        {
            let mut bench = Bench::new(share);
            bench.pace.take(bytes);
            assert!(!bench.pace.may_take(1));
            let wait = bench.pace.ready_at(1, 1, 1).unwrap() - bench.now;
            assert!((wait.as_secs_f64() - waits).abs() < 0.1, "{share}: {wait:?}");
        }
    }

    #[test]
    fn what_was_not_sent_is_not_paid_for() {
        let mut bench = Bench::new(1.0);
        bench.pace.take(1 << 20);
        bench.pace.give_back(1 << 20);
        assert_eq!((bench.pace.records, bench.pace.bytes), (250.0, 262_144.0));
        let mut unbounded = Pace::unknown(QUOTA);
        unbounded.take(1 << 20);
        unbounded.give_back(1 << 20);
        assert_eq!(unbounded.usage, 0.0);
    }

    #[test]
    fn a_throttle_takes_a_part_of_the_share_and_time_gives_it_back() {
        let mut bench = Bench::new(1.0);
        bench.sent(100, 1);
        assert!(bench.pace.throttled(7, 9));
        assert!(!bench.pace.throttled(8, 12), "it was in flight at that time");
        assert_eq!(bench.pace.share(), 0.7);
        let sent = bench.sent(100, 1);
        assert!((680..=740).contains(&sent), "{sent}");
        bench.sent(100, 20);
        assert!((bench.pace.share() - 1.0).abs() < 0.02, "{}", bench.pace.share());
        bench.sent(100, 60);
        assert_eq!(bench.pace.share(), 1.0, "never more than the quota");
    }

    #[test]
    fn a_share_that_is_not_used_does_not_grow() {
        let mut bench = Bench::new(0.5);
        bench.pace.answered(true, bench.now);
        bench.now += Duration::from_secs(60);
        bench.pace.refill(bench.now);
        bench.pace.answered(false, bench.now);
        assert_eq!(bench.pace.share(), 0.5);
        assert_eq!(bench.sent(100, 0), 250, "nor does the burst");
        // An hour's silence counts for a second.
        bench.now += Duration::from_secs(3600);
        bench.pace.answered(true, bench.now);
        assert_eq!(bench.pace.share(), 0.515);
    }

    #[test]
    fn throttles_without_end_leave_a_trickle() {
        let mut bench = Bench::new(1.0);
        for request in 0..1_000 {
            bench.pace.throttled(request, request + 1);
        }
        let sent = bench.sent(100, 1);
        assert!((5..30).contains(&sent), "{sent}");
    }

    #[test]
    fn where_no_shard_is_known_nothing_is_held_back_until_something_is_throttled() {
        let mut pace = Pace::unknown(QUOTA);
        let mut now = Instant::now();
        for _ in 0..100 {
            pace.refill(now);
            (0..50).for_each(|_| pace.take(1_000));
            assert!(pace.may_take(1_000) && pace.ready_at(1_000, 500, 500_000).is_none());
            now += Duration::from_millis(10);
        }
        assert!(pace.throttled(0, 1));
        assert!(!pace.may_take(1_000));
        // Of some 3,160 records of 1,000 B that were counted, at 5,000 a second.
        let share = pace.share.unwrap();
        assert!((2.0..3.5).contains(&share), "{share}");
        let mut idle = Pace::unknown(QUOTA);
        assert!(idle.throttled(0, 1));
        assert_eq!(idle.share, Some(0.7), "a stream has at least one shard");
    }
}
