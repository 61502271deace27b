use super::*;

const QUOTA: Quota = Quota { records: 1_000.0, bytes: 1_048_576.0 };
const ROUND_TRIP: Duration = Duration::from_millis(20);

struct Harness {
    limiter: RateLimiter,
    now: Instant,
    rng: Rng,
    next: u64,
    /// Set to `true` if the service shuffles the results of a request.
    shuffles: bool,
}

impl Harness {
    fn new(share: f64) -> Self {
        let now = Instant::now();
        let limiter = RateLimiter::of_shard(QUOTA, share, 0, now);
        Self { limiter, now, rng: Rng::with_seed(7), next: 0, shuffles: false }
    }

    fn share(&self) -> f64 {
        self.limiter.controller.as_ref().unwrap().share()
    }

    /// Sends requests for `seconds`, answered after a round trip. Returns the accepted and the throttled entries.
    fn run(
        &mut self,
        bytes: usize,
        seconds: f64,
        mut admits: impl FnMut(Instant) -> bool,
    ) -> (u32, u32) {
        let end = self.now + Duration::from_secs_f64(seconds);
        let (mut accepted, mut throttled) = (0, 0);
        while self.now < end {
            self.limiter.refill(self.now);
            let mut results = Vec::new();
            while results.len() < 500 && self.limiter.has_tokens(bytes) {
                self.limiter.take(bytes);
                results.push(admits(self.now));
            }
            if self.shuffles {
                self.rng.shuffle(&mut results);
            }
            let mut outcome = ShardOutcome { request: self.next, ..ShardOutcome::default() };
            for is_accepted in results {
                if is_accepted {
                    outcome.accept(QUOTA.cost(bytes));
                } else {
                    outcome.throttle(QUOTA.cost(bytes));
                }
            }
            self.next += 1;
            (accepted, throttled) = (accepted + outcome.accepted(), throttled + outcome.throttled);
            self.now += ROUND_TRIP;
            self.limiter.refill(self.now);
            self.limiter.on_outcome(outcome, true, self.next, self.now, &mut self.rng);
            let ready = if self.limiter.has_tokens(bytes) {
                self.now
            } else {
                self.limiter.ready_at(bytes, 500, 500 * bytes).unwrap()
            };
            self.now = ready.max(self.now).max(self.limiter.retry_at().unwrap_or(self.now));
        }
        (accepted, throttled)
    }
}

/// Returns a token bucket with the capacity of one second.
fn token_bucket(rate: f64, since: Instant) -> impl FnMut(Instant) -> bool {
    let mut tokens = rate;
    let mut at = since;
    move |now| {
        tokens = (tokens + (now - at).as_secs_f64() * rate).min(rate);
        at = now;
        let admits = tokens >= 1.0;
        tokens -= f64::from(u8::from(admits));
        admits
    }
}

#[test]
fn quota_bounds_rate_after_first_burst() {
    let mut harness = Harness::new(1.0);
    let (first, _) = harness.run(100, 0.001, |_| true);
    assert_eq!(first, 40, "the first batch");
    let (sent, _) = harness.run(100, 10.0, |_| true);
    assert!((9_900..=10_100).contains(&sent), "{sent}");
    // The byte quota limits entries of 50 KiB.
    let mut harness = Harness::new(1.0);
    harness.run(51_200, 1.0, |_| true);
    let (sent, _) = harness.run(51_200, 10.0, |_| true);
    assert!((195..=206).contains(&sent), "{sent}");
}

#[test]
fn large_entry_leaves_a_deficit() {
    for (share, bytes, waits) in
        [(1.0, 10 << 20, 9.75), (0.01, 1 << 20, 5.0), (0.3, 10 << 20, 9.75)]
    {
        let mut harness = Harness::new(share);
        harness.limiter.take(bytes);
        assert!(!harness.limiter.has_tokens(1));
        let wait = harness.limiter.ready_at(1, 1, 1).unwrap() - harness.now;
        assert!((wait.as_secs_f64() - waits).abs() < 0.1, "{share}: {wait:?}");
    }
}

#[test]
fn refund_restores_tokens() {
    let mut harness = Harness::new(1.0);
    let before = (harness.limiter.record_tokens, harness.limiter.byte_tokens);
    harness.limiter.take(20_000);
    harness.limiter.refund(20_000);
    assert_eq!((harness.limiter.record_tokens, harness.limiter.byte_tokens), before);
    let mut unbounded = RateLimiter::unknown(QUOTA);
    unbounded.take(1 << 20);
    unbounded.refund(1 << 20);
    assert_eq!(unbounded.usage, 0.0);
}

#[test]
fn random_throttling_does_not_lower_rate() {
    for (p, least) in [(0.001, 0.98), (0.01, 0.97), (0.1, 0.93), (0.3, 0.8)] {
        let mut harness = Harness::new(1.0);
        let mut rng = Rng::with_seed(3);
        let mut bucket = token_bucket(1_000.0, harness.now);
        harness.run(100, 5.0, |now| rng.f64() >= p && bucket(now));
        let (accepted, _) = harness.run(100, 30.0, |now| rng.f64() >= p && bucket(now));
        let goodput = f64::from(accepted) / 30_000.0;
        assert!(goodput >= least, "{p}: {goodput}");
    }
}

#[test]
fn rate_adapts_to_smaller_and_larger_quota() {
    let mut harness = Harness::new(1.0);
    let mut bucket = token_bucket(400.0, harness.now);
    harness.run(100, 10.0, &mut bucket);
    let (accepted, throttled) = harness.run(100, 30.0, &mut bucket);
    assert!(accepted > 11_600, "{accepted}");
    assert!(throttled < accepted / 20, "{throttled} of {accepted}");
    harness.run(100, 10.0, |_| true);
    let (accepted, _) = harness.run(100, 5.0, |_| true);
    assert!(accepted > 4_750, "{accepted}");
}

#[test]
fn shuffled_throttling_lowers_rate() {
    let mut harness = Harness { shuffles: true, ..Harness::new(1.0) };
    let mut bucket = token_bucket(1_000.0, harness.now);
    harness.run(100, 20.0, &mut bucket);
    let mut bucket = token_bucket(500.0, harness.now);
    harness.run(100, 5.0, &mut bucket);
    let (accepted, throttled) = harness.run(100, 40.0, &mut bucket);
    assert!(accepted > 19_000, "{accepted}");
    assert!(throttled < accepted / 30, "{throttled} of {accepted}");
}

#[test]
fn rate_returns_after_outage() {
    for (p, outage) in [(0.1, 10.0), (1.0, 10.0), (1.0, 180.0)] {
        let mut harness = Harness::new(1.0);
        let mut rng = Rng::with_seed(5);
        harness.run(100, 10.0, |_| true);
        let (_, throttled) = harness.run(100, outage, |_| rng.f64() >= p);
        // While no entries are accepted, the limiter sends only a few probes per second.
        assert!(p < 1.0 || f64::from(throttled) < 100.0 * outage, "{throttled}");
        harness.run(100, 5.0, |_| true);
        let (accepted, _) = harness.run(100, 5.0, |_| true);
        assert!(accepted > 4_750, "{p}: {accepted}");
    }
}

#[test]
fn unused_rate_does_not_grow() {
    let mut harness = Harness::new(0.5);
    let mut outcome = ShardOutcome::default();
    outcome.accept(QUOTA.cost(100));
    for hours in 1..4 {
        harness.now += Duration::from_secs(3_600);
        harness.limiter.on_outcome(outcome, false, 1, harness.now, &mut harness.rng);
        assert_eq!(harness.share(), 0.5, "{hours}");
    }
    harness.now += Duration::from_secs(3_600);
    harness.limiter.on_outcome(outcome, true, 1, harness.now, &mut harness.rng);
    assert!(harness.share() < 0.55, "an idle hour counts as a second: {}", harness.share());
}

#[test]
fn idle_hour_does_not_count_as_outage() {
    let mut harness = Harness::new(1.0);
    harness.run(100, 10.0, |_| true);
    harness.now += Duration::from_secs(3_600);
    let mut bucket = token_bucket(500.0, harness.now);
    let (accepted, throttled) = harness.run(100, 10.0, &mut bucket);
    assert!(accepted > 4_900, "{accepted}");
    assert!(throttled < 500, "{throttled}");
}

#[test]
fn share_stays_finite_for_unknown_shards() {
    let mut limiter = RateLimiter::unknown(QUOTA);
    let mut now = Instant::now();
    let mut rng = Rng::with_seed(1);
    let mut throttled = ShardOutcome::default();
    throttled.throttle(QUOTA.cost(100));
    limiter.on_outcome(throttled, true, 1, now, &mut rng);
    for request in 1..100_000 {
        limiter.refill(now);
        let mut outcome = ShardOutcome { request, ..ShardOutcome::default() };
        while outcome.entries < 200 && limiter.has_tokens(100) {
            limiter.take(100);
            outcome.accept(QUOTA.cost(100));
        }
        // Every third response arrives at the same time as the previous response.
        now += if request % 3 == 0 { Duration::ZERO } else { ROUND_TRIP };
        limiter.on_outcome(outcome, true, request + 1, now, &mut rng);
    }
    let share = limiter.controller.unwrap().share();
    // 200 entries per round trip are 10 times the quota of a shard.
    assert!((5.0..100.0).contains(&share), "{share}");
}

#[test]
fn extreme_quotas_keep_tokens_reachable() {
    for records in [1.0, 1e9] {
        for bytes in [1.0, 1e12] {
            for entry in [1, 10 << 20] {
                let quota = Quota { records, bytes };
                let mut now = Instant::now();
                let mut rng = Rng::with_seed(1);
                let mut limiter = RateLimiter::of_shard(quota, 0.0, 0, now);
                for request in 0..200 {
                    limiter.refill(now);
                    let mut outcome = ShardOutcome { request, ..ShardOutcome::default() };
                    if limiter.has_tokens(entry) {
                        limiter.take(entry);
                        match request % 2 {
                            0 => outcome.throttle(quota.cost(entry)),
                            _ => outcome.accept(quota.cost(entry)),
                        }
                    }
                    limiter.on_outcome(outcome, true, request + 1, now, &mut rng);
                    let share = limiter.share();
                    assert!((0.0..=1.0).contains(&share), "{quota:?}: {share}");
                    let ready = limiter.ready_at(entry, 500, entry).unwrap();
                    assert!(ready - now < Duration::from_secs(86_400 * 365), "{quota:?}");
                    now = ready;
                    limiter.refill(now);
                    assert!(limiter.has_tokens(entry), "{quota:?}, {entry} B");
                }
            }
        }
    }
}

#[test]
fn limiter_probes_while_all_are_throttled() {
    let mut harness = Harness::new(1.0);
    harness.run(100, 60.0, |_| false);
    let (_, throttled) = harness.run(100, 60.0, |_| false);
    assert!((30..1_000).contains(&throttled), "{throttled}");
}

#[test]
fn unknown_shards_are_unlimited_until_throttled() {
    let mut limiter = RateLimiter::unknown(QUOTA);
    let mut now = Instant::now();
    let mut rng = Rng::with_seed(1);
    let mut throttled = ShardOutcome::default();
    throttled.throttle(QUOTA.cost(1_000));
    for _ in 0..100 {
        limiter.refill(now);
        for _ in 0..50 {
            limiter.take(1_000);
        }
        assert!(limiter.has_tokens(1_000) && limiter.ready_at(1_000, 500, 500_000).is_none());
        now += Duration::from_millis(10);
    }
    limiter.on_outcome(throttled, true, 1, now, &mut rng);
    // At 5,000 records per second, the decaying usage is about 3,160 records of 1,000 B.
    let share = limiter.controller.as_ref().unwrap().share();
    assert!((2.0..3.5).contains(&share), "{share}");
    let mut idle = RateLimiter::unknown(QUOTA);
    idle.on_outcome(throttled, true, 1, now, &mut rng);
    let share = idle.controller.unwrap().share();
    assert!((0.4..=1.0).contains(&share), "a stream has at least one shard: {share}");
}
