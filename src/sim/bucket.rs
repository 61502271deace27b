use std::time::Duration;

use tokio::time::Instant;

/// What a shard takes per second, and how much of it may come at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) records_per_s: u32,
    pub(super) bytes_per_s: u32,
    pub(super) burst: Duration,
    /// Bytes that may come at once, where they are not those of the burst.
    pub(super) byte_burst: Option<usize>,
}

/// A shard's two buckets: an entry must find room in both, and takes from neither if it does not.
#[derive(Debug)]
pub(super) struct Buckets {
    records: Bucket,
    bytes: Bucket,
}

impl Buckets {
    /// Full ones.
    pub(super) fn new(quota: Quota, load: f64, now: Instant) -> Self {
        let bucket = |per_s| Bucket::new(per_s, quota.burst, load, now);
        let mut bytes = bucket(quota.bytes_per_s);
        if let Some(burst) = quota.byte_burst {
            bytes.capacity = cost(burst as u128);
            bytes.level = bytes.capacity;
        }
        Self { records: bucket(quota.records_per_s), bytes }
    }

    pub(super) fn set_load(&mut self, load: f64, now: Instant) {
        self.records.set_load(load, now);
        self.bytes.set_load(load, now);
    }

    /// Whether one more entry of so many bytes passes.
    pub(super) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = bytes as u128;
        self.records.refill(now);
        self.bytes.refill(now);
        let passes = self.records.has(1) && self.bytes.has(bytes);
        if passes {
            self.records.take(1);
            self.bytes.take(bytes);
        }
        passes
    }
}

/// Counts in 10^-18 of a token, so that a rate in 10^-9 tokens a second fills it exactly, nanosecond by
/// nanosecond: a test can tell to the entry what passes.
#[derive(Debug)]
struct Bucket {
    per_s: u32,
    /// 10^-9 tokens a second that are left over by the other producers.
    rate: i128,
    capacity: i128,
    /// Below zero after an entry that was larger than the bucket.
    level: i128,
    filled_at: Instant,
}

const NANO: i128 = 1_000_000_000;
const TOKEN: i128 = NANO * NANO;

impl Bucket {
    fn new(per_s: u32, burst: Duration, load: f64, now: Instant) -> Self {
        let capacity = i128::from(per_s) * NANO * nanos(burst);
        Self { per_s, rate: rate(per_s, load), capacity, level: capacity, filled_at: now }
    }

    fn set_load(&mut self, load: f64, now: Instant) {
        self.refill(now);
        self.rate = rate(self.per_s, load);
    }

    fn refill(&mut self, now: Instant) {
        let gained = self.rate * nanos(now.saturating_duration_since(self.filled_at));
        self.level = self.capacity.min(self.level + gained);
        self.filled_at = now;
    }

    /// What is larger than the bucket would never find room: it passes when the bucket is full.
    fn has(&self, tokens: u128) -> bool {
        self.level >= self.capacity.min(cost(tokens))
    }

    fn take(&mut self, tokens: u128) {
        self.level -= cost(tokens);
    }
}

fn cost(tokens: u128) -> i128 {
    tokens as i128 * TOKEN
}

fn nanos(time: Duration) -> i128 {
    time.as_nanos() as i128
}

/// The others are served first: what they leave fills the bucket.
fn rate(per_s: u32, load: f64) -> i128 {
    (f64::from(per_s) * (1.0 - load) * NANO as f64).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_s: u32, burst: Duration, load: f64) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket::new(per_s, burst, load, now), now)
    }

    /// How many tokens can be taken one by one.
    fn drain(bucket: &mut Bucket, now: Instant) -> usize {
        bucket.refill(now);
        let taken = std::iter::from_fn(|| bucket.has(1).then(|| bucket.take(1)));
        taken.count()
    }

    #[test]
    fn it_starts_full_and_refills_to_the_token() {
        let (mut bucket, start) = bucket(1_000, Duration::from_secs(1), 0.0);
        assert_eq!(drain(&mut bucket, start), 1_000);
        assert_eq!(drain(&mut bucket, start + Duration::from_nanos(999_999)), 0);
        assert_eq!(drain(&mut bucket, start + Duration::from_millis(1)), 1);
        assert_eq!(drain(&mut bucket, start + Duration::from_millis(250)), 249);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(60)), 1_000, "no more than full");
    }

    #[test]
    fn the_load_of_others_slows_the_refill_and_may_stop_it() {
        let (mut bucket, start) = bucket(1_000, Duration::from_secs(1), 0.7);
        assert_eq!(drain(&mut bucket, start), 1_000);
        let later = start + Duration::from_secs(1);
        assert_eq!(drain(&mut bucket, later), 300);
        bucket.set_load(1.0, later);
        assert_eq!(drain(&mut bucket, later + Duration::from_secs(9)), 0);
        bucket.set_load(0.0, later + Duration::from_secs(9));
        assert_eq!(drain(&mut bucket, later + Duration::from_millis(9_100)), 100);
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_a_full_one_and_leaves_a_debt() {
        let (mut bucket, start) = bucket(10, Duration::from_secs(1), 0.0);
        assert!(bucket.has(25));
        bucket.take(25);
        let has = |bucket: &mut Bucket, ms| {
            bucket.refill(start + Duration::from_millis(ms));
            bucket.has(1)
        };
        assert_eq!([1_500, 1_599, 1_600].map(|ms| has(&mut bucket, ms)), [false, false, true]);
        assert!(!bucket.has(25));
    }
}
