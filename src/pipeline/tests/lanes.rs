//! Shard lanes: learned shards, and the rate limit and backoff of each shard.

use std::collections::BTreeMap;

use super::model_stream::hash_of_entry;
use super::verify::{HALF, halves, map, placed, shard};
use super::*;
use crate::record::HashKey;
use crate::service::Entry;

/// Partition keys that hash to the lower and to the upper half of the hash ring.
const LOWER: &str = "a";
const UPPER: &str = "b";

/// Returns settings with the default quota.
fn with_quota() -> Settings {
    Settings { limits: Limits::default(), ..settings() }
}

/// Returns the shard of an entry in a stream of two shards.
fn half(entry: &Entry) -> &'static str {
    if hash_of_entry(entry).get() < HALF { "lower" } else { "upper" }
}

impl Harness {
    /// Creates a pipeline that has learned two shards.
    fn with_halves(settings: Settings) -> Self {
        let mut harness = Self::new(settings);
        harness.accept_key(LOWER);
        harness.accept_key(UPPER);
        harness.pipeline.flush();
        harness.answer(half, |_| true);
        // Fills the token buckets.
        harness.now += Duration::from_secs(1);
        harness
    }

    /// Sends a request and settles it. Each shard either delivers or throttles its entries. Returns the number of
    /// entries per shard.
    fn answer(
        &mut self,
        shard: impl Fn(&Entry) -> &'static str,
        delivers: impl Fn(&'static str) -> bool,
    ) -> BTreeMap<&'static str, usize> {
        let (id, request) = self.send();
        let mut sent = BTreeMap::new();
        let answer = |entry| {
            let shard = shard(entry);
            *sent.entry(shard).or_default() += 1;
            if delivers(shard) { placed(shard) } else { failed(THROTTLE) }
        };
        let results = request.entries().iter().map(answer).collect();
        self.settle(id, results);
        sent
    }

    fn backs_off_until(&mut self, record: &BufferedRecord) -> Instant {
        let lane = self.pipeline.topology.lane_of_record(record);
        self.pipeline.backlog.lanes().backs_off_until(lane, self.now).unwrap()
    }

    fn accept_many(&mut self, key: &'static str, records: usize) {
        for _ in 0..records {
            self.accept_key(key);
        }
    }

    /// Sends requests for `seconds`. Each response arrives after a round trip. Returns the number of entries and of
    /// requests.
    fn run(&mut self, seconds: u64, shard: impl Fn(&Entry) -> &'static str) -> (usize, usize) {
        let end = self.now + Duration::from_secs(seconds);
        let mut in_flight: Vec<(Instant, RequestId, PutRecordsRequest)> = Vec::new();
        let (mut entries, mut requests) = (0, 0);
        while self.now < end {
            while let Some((id, request, _)) = self.pipeline.next_request(self.now) {
                entries += request.entries().len();
                requests += 1;
                in_flight.push((self.now + ROUND_TRIP, id, request));
            }
            let answered = in_flight.first().map(|(at, ..)| *at);
            let wakeup = self.pipeline.wakeup(self.now);
            self.now = [answered, wakeup]
                .into_iter()
                .flatten()
                .min()
                .expect("a response or a wakeup is due");
            if answered == Some(self.now) {
                let (_, id, request) = in_flight.remove(0);
                let results = request.entries().iter().map(|entry| placed(shard(entry)));
                self.settle(id, results.collect());
            }
        }
        (entries, requests)
    }
}

#[test]
fn throttled_shard_does_not_block_others() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_many(LOWER, 100);
    harness.accept_many(UPPER, 100);
    harness.pipeline.close();
    let sent = harness.answer(half, |shard| shard == "upper");
    assert_eq!(sent, BTreeMap::from([("lower", 100), ("upper", 100)]));
    assert_eq!(harness.pipeline.queued(), 100);
    let probe = harness.answer(half, |_| false);
    assert_eq!(probe.keys().collect::<Vec<_>>(), [&"lower"]);
    assert!(probe["lower"] < 10, "{probe:?}");
    assert_eq!(harness.send_reason(), None, "the lower shard backs off");
}

#[test]
fn shard_backoff_does_not_stop_others() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_many(LOWER, 100);
    harness.pipeline.flush();
    for _ in 0..2 {
        harness.answer(half, |_| false);
    }
    harness.accept_many(UPPER, 50);
    harness.pipeline.flush();
    assert_eq!(harness.answer(half, |_| true), BTreeMap::from([("upper", 50)]));
    harness.sleep();
    assert_eq!(harness.answer(half, |_| true).keys().next(), Some(&"lower"));
}

#[test]
fn shard_gets_its_quota_in_full_requests() {
    let mut harness = Harness::with_halves(with_quota());
    for _ in 0..5_000 {
        harness.accept_key(LOWER);
        harness.accept_key(UPPER);
    }
    let (entries, requests) = harness.run(3, half);
    assert!((5_900..=6_000 + 2 * 250).contains(&entries), "{entries} entries");
    let each = entries / requests;
    assert!(each >= 50, "{each} entries per request in {requests} requests");
}

#[test]
fn busy_shard_leaves_request_capacity_to_others() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_many(LOWER, 5_000);
    harness.accept_many(UPPER, 100);
    let mut upper = 0;
    for _ in 0..2 {
        upper += harness.answer(half, |_| true).get("upper").copied().unwrap_or_default();
        harness.sleep();
    }
    assert_eq!(upper, 100, "records of the upper shard are left over");
}

#[test]
fn request_skips_paused_lanes() {
    const SHARDS: u128 = 10_000;
    let limits = Limits::default().with_shard_records(1);
    let settings = Settings { limits, buffer_records: Some(30_000), ..settings() };
    let mut harness = Harness::listing(settings);
    let width = u128::MAX / SHARDS;
    let range = |n| (width * n, if n + 1 == SHARDS { u128::MAX } else { width * (n + 1) - 1 });
    let shards = (0..SHARDS).map(|n| (n, range(n)));
    let shards: Vec<_> =
        shards.map(|(n, (start, end))| shard(&format!("s{n}"), start, end)).collect();
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&shards), harness.now);
    // Each shard accepts one record immediately and another one after a second.
    for n in (0..SHARDS).chain(0..SHARDS) {
        let record = Record::from("data").with_explicit_hash_key(width * n);
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    harness.pipeline.flush();
    while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
        let shard = |entry: &Entry| format!("s{}", hash_of_entry(entry).get() / width);
        let results = request.entries().iter().map(|entry| placed(&shard(entry)));
        harness.settle(id, results.collect());
    }
    assert_eq!(harness.pipeline.queued(), SHARDS as usize);
    harness.pipeline.backlog.lanes().check();
    let managed = Record::from("data").with_partition_key(PartitionKey::ServiceManaged);
    harness.pipeline.accept(managed, harness.now).unwrap();
    harness.pipeline.flush();
    harness.pipeline.backlog.lanes().take_visits();
    let (_, request) = harness.send();
    assert_eq!(request.entries().len(), 1);
    assert_eq!(harness.pipeline.backlog.lanes().take_visits(), 1, "a paused lane was visited");
}

#[test]
fn request_merges_lanes_in_acceptance_order() {
    let mut harness = Harness::with_halves(settings());
    let keys = [LOWER, UPPER, UPPER, LOWER, UPPER, LOWER];
    for (number, key) in keys.into_iter().enumerate() {
        harness.pipeline.accept(Record::from((key, number.to_string())), harness.now).unwrap();
    }
    harness.pipeline.close();
    let (_, request) = harness.send();
    assert_eq!(texts(&request), numbers(0..6));
}

#[test]
fn split_shard_children_have_own_quotas() {
    let quarter = |entry: &Entry| match hash_of_entry(entry).get() >> 126 {
        0 => "lower left",
        1 => "lower right",
        _ => "upper",
    };
    let mut harness = Harness::with_halves(with_quota());
    let spread = |number: usize| HashKey::new(u128::from(number as u64 % 1_000) << 117);
    for number in 0..9_000 {
        let record = Record::from(("k", number.to_string()));
        let record = record.with_explicit_hash_key(spread(number));
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    let (before, _) = harness.run(2, half);
    assert!((1_900..=2_600).contains(&before), "{before} entries for the lower shard");
    let (after, _) = harness.run(2, quarter);
    assert!((3_700..=4_800).contains(&after), "{after} entries for the two children");
    harness.pipeline.backlog.lanes().check();
}

#[test]
fn contradicting_responses_stop_learning() {
    let mut harness = Harness::new(with_quota());
    // The stream distributes the records to its shards in turn, regardless of the partition keys.
    let turn = std::cell::Cell::new(0);
    let by_turns = |_: &Entry| {
        turn.set(turn.get() + 1);
        ["s0", "s1", "s2", "s3"][turn.get() % 4]
    };
    for number in 0..60 {
        for entry in 0..20 {
            let record = Record::from((format!("k{number}-{entry}"), "data"));
            harness.pipeline.accept(record, harness.now).unwrap();
        }
        harness.pipeline.flush();
        harness.answer(by_turns, |_| true);
        harness.now += ROUND_TRIP;
    }
    assert_eq!(harness.pipeline.topology.known_shards(), 0, "the shards are not trusted");
    // The pipeline tries to learn the shards again later.
    harness.now += Duration::from_secs(60);
    for _ in 0..2 {
        harness.accept_key(LOWER);
        harness.accept_key(UPPER);
        harness.pipeline.flush();
        harness.answer(half, |_| true);
    }
    assert_eq!(harness.pipeline.topology.known_shards(), 2);
}

#[test]
fn learned_shards_are_bounded() {
    let mut harness = Harness::new(with_quota());
    harness.pipeline.topology.learned_mut().max_shards = 100;
    let mut most = 0;
    for number in 0..200 {
        for entry in 0..20 {
            let record = Record::from((format!("k{number}-{entry}"), "data"));
            harness.pipeline.accept(record, harness.now).unwrap();
        }
        harness.pipeline.flush();
        let (id, _) = harness.send();
        let another = |entry| placed(&format!("s{number}-{entry}"));
        harness.settle(id, (0..20).map(another).collect());
        harness.now += ROUND_TRIP;
        most = most.max(harness.pipeline.topology.known_shards());
    }
    assert!(most <= 100, "{most} learned shards");
    assert_eq!(harness.pipeline.topology.known_shards(), 0, "the shards are not trusted");
}

#[test]
fn overlong_shard_id_is_not_learned() {
    let mut harness = Harness::new(with_quota());
    for (length, learned) in [(129, 0), (100_000, 0), (128, 1)] {
        harness.pipeline.accept(Record::from((format!("k{length}"), "data")), harness.now).unwrap();
        harness.pipeline.flush();
        let (id, _) = harness.send();
        harness.settle(id, vec![placed(&"s".repeat(length))]);
        harness.now += ROUND_TRIP;
        assert_eq!(harness.pipeline.topology.known_shards(), learned, "id of {length} bytes");
    }
}

#[test]
fn auto_stream_learns_no_shards() {
    let mut harness = Harness::with_halves(with_quota());
    assert_eq!(harness.pipeline.topology.known_shards(), 2);
    let by_service = StreamDescription::default().with_distribution(Distribution::Auto);
    harness.pipeline.apply_description(Some(by_service), harness.now);
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    harness.answer(half, |_| true);
    assert_eq!(harness.pipeline.topology.known_shards(), 0);
}

#[test]
fn service_managed_record_ignores_shard_backoff() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_many(LOWER, 100);
    harness.pipeline.flush();
    for _ in 0..2 {
        harness.answer(half, |_| false);
    }
    let managed = Record::from("data").with_partition_key(PartitionKey::ServiceManaged);
    harness.pipeline.accept(managed, harness.now).unwrap();
    harness.pipeline.flush();
    let (id, request) = harness.send();
    assert_eq!(request.entries().len(), 1);
    harness.settle(id, vec![placed("lower")]);
}

#[test]
fn contradiction_requests_another_listing() {
    let mut harness = Harness::listing(with_quota());
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    assert!(harness.begin_listing(), "a listing is due at once");
    harness.pipeline.apply_list(map(&halves()), harness.now);
    assert_eq!(harness.pipeline.topology.known_shards(), 2);
    harness.settle(id, vec![placed("lower")]);
    assert!(!harness.begin_listing(), "the list was confirmed");
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    harness.answer(|_| "child", |_| true);
    assert!(harness.pipeline.topology.needs_listing());
    harness.sleep();
    assert!(harness.begin_listing());
    assert!(!harness.begin_listing(), "one listing at a time");
    harness.pipeline.apply_list(None, harness.now);
    assert_eq!(
        harness.pipeline.topology.known_shards(),
        2,
        "a failed listing keeps the learned shards"
    );
}

#[test]
fn large_stream_is_listed_again_after_reshard() {
    let mut harness = Harness::listing(with_quota());
    harness.pipeline.topology.learned_mut().max_shards = 1;
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.settle(id, vec![placed("lower")]);
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    harness.answer(|_| "child", |_| true);
    assert_eq!(harness.pipeline.topology.known_shards(), 2, "listed shards are not bounded");
    assert!(harness.pipeline.topology.needs_listing());
}

#[test]
fn border_keys_match_listed_shards() {
    // The borders of even shards share their upper 64 bits. The last shard has a single hash key.
    let width = u128::MAX / 5;
    let starts = [0, width + 1, 2 * width + 1, 3 * width + 1, 4 * width + 1, u128::MAX];
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
    let shards = starts.iter().zip(ends).enumerate();
    let shards: Vec<_> =
        shards.map(|(n, (&start, end))| shard(&format!("s{n}"), start, end)).collect();
    let id_of = |entry: &Entry| {
        let found = shards.iter().find(|shard| shard.range().contains(hash_of_entry(entry)));
        found.map(|shard| shard.id().to_owned()).unwrap()
    };
    let mut harness = Harness::listing(with_quota());
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&shards), harness.now);
    let around = |start: u128| [start.wrapping_sub(1), start, start.wrapping_add(1)];
    for hash_key in starts.into_iter().flat_map(around) {
        let record = Record::from(("k", "data")).with_explicit_hash_key(hash_key);
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    harness.pipeline.close();
    let (id, request) = harness.send();
    assert_eq!(request.entries().len(), 18);
    harness.settle(id, request.entries().iter().map(|entry| placed(&id_of(entry))).collect());
    assert_eq!(harness.pipeline.topology.known_shards(), 6);
    assert!(!harness.pipeline.topology.needs_listing(), "the list was right");
    for (n, hash_key) in starts.into_iter().enumerate() {
        for (hash_key, contains) in [(hash_key, true), (hash_key.wrapping_sub(1), false)] {
            let record = Record::from("data").with_explicit_hash_key(hash_key);
            let record = BufferedRecord::new(
                record,
                0,
                Admission::default(),
                harness.now,
                &mut Rng::with_seed(0),
            );
            let is_elsewhere = harness.pipeline.topology.is_elsewhere(&record, &format!("s{n}"));
            assert_eq!(is_elsewhere, !contains, "{hash_key} in s{n}");
        }
    }
}

#[test]
fn missing_stream_error_forgets_shards() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_key(LOWER);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.fail(id, "ResourceNotFoundException");
    assert_eq!(harness.pipeline.topology.known_shards(), 0);
    assert_eq!(harness.undelivered(), ["a"]);
}

#[test]
fn bisected_entries_wait_for_own_shard() {
    let mut harness = Harness::with_halves(with_quota());
    harness.accept_keys(&[UPPER, LOWER]);
    harness.pipeline.flush();
    let (refused, _) = harness.send();
    harness.accept_key(UPPER);
    harness.pipeline.close();
    let upper = Record::from("data").with_explicit_hash_key(u128::MAX);
    let upper =
        BufferedRecord::new(upper, 0, Admission::default(), harness.now, &mut Rng::with_seed(0));
    harness.answer(half, |_| false);
    let paused = loop {
        harness.answer(half, |_| false);
        assert_eq!(harness.send_reason(), None, "the upper shard backs off");
        let until = harness.backs_off_until(&upper);
        if until - harness.now > Duration::from_millis(200) {
            break until - harness.now;
        }
        harness.sleep();
    };
    harness.fail(refused, "ValidationException");
    harness.now += Duration::from_millis(100);
    let (_, request, reason) =
        harness.pipeline.next_request(harness.now).expect("the lower shard is free");
    assert_eq!((reason, half(&request.entries()[0])), (FlushReason::Bisected, "lower"));
    assert_eq!(harness.send_reason(), None, "the upper shard backs off");
    harness.now += paused;
    assert_eq!(harness.send_reason(), Some((FlushReason::Bisected, 1)));
}

#[test]
fn reshards_leave_no_lanes() {
    let mut harness = Harness::new(with_quota());
    for generation in 0..3_000_u32 {
        harness.accept_key(LOWER);
        harness.accept_key(UPPER);
        harness.pipeline.flush();
        let (id, _) = harness.send();
        let results = (0..2).map(|n| Ok(Placement::new(format!("s{}", generation * 2 + n), "1")));
        harness.settle(id, results.collect());
        // Confirms the shard between two contradictions, because many consecutive contradictions stop learning.
        harness.accept_key(LOWER);
        harness.pipeline.flush();
        let (id, _) = harness.send();
        harness.settle(id, vec![Ok(Placement::new(format!("s{}", generation * 2), "1"))]);
    }
    assert_eq!(harness.pipeline.topology.known_shards(), 2);
    assert!(
        harness.pipeline.backlog.lanes().len() <= 6,
        "{}",
        harness.pipeline.backlog.lanes().len()
    );
}

#[test]
fn requeued_records_are_hashed() {
    let mut harness = Harness::new(with_quota());
    harness.accept_many(LOWER, 5);
    harness.accept_many(UPPER, 5);
    harness.pipeline.flush();
    let [refused, failing] = [0, 1].map(|_| {
        for _ in 0..10 {
            harness.pipeline.accept("x".into(), harness.now).unwrap();
        }
        harness.pipeline.close();
        let (id, _) = harness.send();
        harness.pipeline.flush.reopen();
        id
    });
    // The pipeline has learned two shards, so the lane of a record depends on its hash.
    harness.pipeline.admit(Record::from((LOWER, "data")), Admission::default(), harness.now);
    harness.pipeline.admit(Record::from((UPPER, "data")), Admission::default(), harness.now);
    harness.pipeline.close();
    harness.answer(half, |_| true);
    harness.pipeline.flush.reopen();
    harness.fail(failing, "ThrottlingException");
    assert_eq!(harness.pipeline.backlog.lanes().records(), 10);
    assert!(harness.pipeline.backlog.lanes().iter().all(|entry| entry.oldest().is_hashed()));
    harness.fail(refused, "ValidationException");
    let bisected = || harness.pipeline.backlog.bisected();
    assert_eq!(bisected().count(), 20);
    assert!(bisected().all(|entry| entry.oldest().is_hashed()));
}
