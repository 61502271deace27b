//! Aggregates of several keys that are predicted to belong to one shard, and verification of the predictions.

use super::aggregation::{members, payloads};
use super::model_stream::{Stream, hash_of_entry};
use super::*;
use crate::aggregate;
use crate::record::HashKey;
use crate::shard::{HashRange, Shard, ShardMap, hash_of};

pub(super) const HALF: u128 = 1 << 127;

pub(super) fn per_shard() -> Settings {
    Settings {
        aggregation: Aggregation::PerShard,
        linger: Linger::Fixed(Duration::from_millis(100)),
        ..settings()
    }
}

pub(super) fn shard(id: &str, start: u128, end: u128) -> Shard {
    Shard::new(id, HashRange::new(HashKey::new(start), HashKey::new(end)).unwrap())
}

pub(super) fn map(shards: &[Shard]) -> Option<ShardMap> {
    Some(ShardMap::new(shards.to_vec()).unwrap())
}

pub(super) fn halves() -> [Shard; 2] {
    [shard("lower", 0, HALF - 1), shard("upper", HALF, u128::MAX)]
}

pub(super) fn placed(id: &str) -> Result<Placement, EntryError> {
    Ok(Placement::new(id, "1"))
}

/// Returns the partition keys of the members.
pub(super) fn keys_of(entry: &crate::service::Entry) -> Vec<String> {
    let keys = members(entry).into_iter().map(|one| one.partition_key().cloned());
    keys.map(|key| key.map(|key| key.to_string()).unwrap_or_default()).collect()
}

impl Harness {
    /// Creates a pipeline with listed shards and a record for each key. The payload of a record is its key.
    pub(super) fn with_shards(shards: &[Shard], keys: &[&'static str]) -> Self {
        let mut harness = Self::new(per_shard());
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(shards), harness.now);
        harness.accept_keys(keys);
        harness
    }

    pub(super) fn accept_key(&mut self, key: &'static str) {
        self.pipeline.accept(Record::from((key, key)), self.now).unwrap();
    }

    pub(super) fn accept_keys(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.accept_key(key);
        }
    }

    /// Accepts a record even if the pipeline is closing.
    pub(super) fn admit_key(&mut self, key: &'static str) {
        self.pipeline.admit(Record::from((key, key)), Admission::default(), self.now);
    }

    pub(super) fn admit_keys(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.admit_key(key);
        }
    }

    pub(super) fn close_and_send(&mut self) -> (RequestId, PutRecordsRequest) {
        self.pipeline.close();
        self.send()
    }

    /// Advances the clock until a request is due, and sends the request.
    pub(super) fn next(&mut self) -> (RequestId, PutRecordsRequest) {
        while !self.pipeline.wants_to_send(self.now) {
            self.sleep();
        }
        self.send()
    }

    /// Advances the clock until a listing is due, and begins the listing.
    pub(super) fn until_listing(&mut self) {
        while !self.begin_listing() {
            self.sleep();
        }
    }

    pub(super) fn fail_listings(&mut self, calls: usize) {
        for _ in 0..calls {
            self.until_listing();
            self.pipeline.apply_list(None, self.now);
        }
    }
}

#[test]
fn test_keys_hash_to_their_halves() {
    let lower = |key: &&str| hash_of(key).get() < HALF;
    assert!(["a", "h", "c"].iter().all(lower));
    assert!(!["b", "d", "e"].iter().any(lower));
}

#[test]
fn records_of_one_shard_share_aggregate() {
    let mut harness = Harness::with_shards(&halves(), &["a", "b", "h", "d"]);
    let low = Record::from(("b", "placed")).with_explicit_hash_key(0_u128);
    harness.pipeline.accept(low, harness.now).unwrap();
    let (id, request) = harness.close_and_send();
    // The record with an explicit hash key has its own aggregate, because AWS's Python library would apply the hash key
    // to members without one.
    assert_eq!(payloads(&request), [vec!["a", "h"], vec!["b", "d"], vec!["placed"]]);
    harness.settle(id, vec![placed("lower"), placed("upper"), placed("lower")]);
    assert!(harness.pipeline.is_settled());
    assert!(!harness.begin_listing(), "shards are listed once");
}

#[test]
fn unknown_shards_aggregate_per_key() {
    let mut harness = Harness::new(per_shard());
    assert!(harness.begin_listing());
    assert!(!harness.begin_listing(), "one listing at a time");
    harness.accept_keys(&["a", "h", "a"]);
    let mut unlisted = Harness::new(per_shard());
    unlisted.accept_keys(&["a", "h", "a"]);
    assert_eq!(payloads(&unlisted.close_and_send().1), [vec!["a", "a"], vec!["h"]]);
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_key("c");
    assert_eq!(
        payloads(&harness.close_and_send().1),
        [vec!["a", "h", "a", "c"]],
        "queued records are regrouped"
    );
}

#[test]
fn records_in_gap_aggregate_per_key() {
    let [lower, _] = halves();
    let mut harness = Harness::with_shards(&[lower], &["a", "b", "h", "d", "b"]);
    assert_eq!(payloads(&harness.close_and_send().1), [vec!["a", "h"], vec!["b", "b"], vec!["d"]]);
}

#[test]
fn merge_does_not_resend_aggregate() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("merged")]);
    assert!(!harness.pipeline.is_settled(), "the shard is unknown");
    assert_eq!((harness.pipeline.in_flight(), harness.pipeline.queued()), (2, 0));
    assert_eq!(harness.undelivered(), ["a", "h"]);
    assert_eq!(harness.pipeline.oldest_unsettled(), 0);
    harness.until_listing();
    harness.pipeline.apply_list(map(&[shard("merged", 0, u128::MAX)]), harness.now);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().delivered, 2);
}

#[test]
fn unverified_aggregate_releases_response() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    let answer = bytes::Bytes::from(vec![b'1'; 50_000]);
    harness.settle(id, vec![Ok(Placement::from_response("merged", answer.slice(..56)))]);
    assert_eq!(harness.pipeline.in_flight(), 2);
    assert!(answer.is_unique());
}

#[test]
fn misplaced_aggregate_is_resent_whole() {
    // Tests each misplaced member with each order of the members.
    let orders = [["a", "h", "c"], ["a", "c", "h"], ["c", "h", "a"], ["h", "a", "c"]];
    let cases = orders.iter().flat_map(|order| [(order, "left"), (order, "right")]);
    for (keys, found_in) in cases {
        let mut harness = Harness::with_shards(&halves(), keys);
        let (id, _) = harness.close_and_send();
        harness.settle(id, vec![placed(found_in)]);
        harness.until_listing();
        let left = shard("left", 0, hash_of("h").get());
        let right = shard("right", hash_of("h").get() + 1, HALF - 1);
        harness.pipeline.apply_list(map(&[left.clone(), right, halves()[1].clone()]), harness.now);
        assert_eq!(harness.pipeline.ledger().totals().delivered, 0, "{keys:?} in {found_in}");
        assert_eq!(harness.pipeline.ledger().totals().requeued, 3);
        let (id, request) = harness.send();
        let mut records = payloads(&request).concat();
        records.sort_unstable();
        assert_eq!(records, ["a", "c", "h"], "the whole aggregate is resent");
        let shard_of = |entry| {
            placed(if left.range().contains(hash_of_entry(entry)) { "left" } else { "right" })
        };
        harness.settle(id, request.entries().iter().map(shard_of).collect());
        assert!(harness.pipeline.is_settled());
        assert_eq!(harness.pipeline.ledger().totals().delivered, 3);
    }
}

#[test]
fn misplaced_records_may_have_been_written() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("upper")]);
    assert_eq!(harness.pipeline.queued(), 2, "a known shard needs no listing");
    let taken = harness.pipeline.take_undelivered();
    assert!(taken.iter().all(Undelivered::may_have_been_written));
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("unknown")]);
    let taken = harness.pipeline.take_undelivered();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(Undelivered::may_have_been_written));
}

#[test]
fn failed_listing_resends_per_key() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h", "a"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("unknown")]);
    harness.until_listing();
    harness.pipeline.apply_list(None, harness.now);
    let (id, request) = harness.send();
    assert_eq!(payloads(&request), [vec!["a", "a"], vec!["h"]]);
    harness.settle(id, vec![placed("unknown"), placed("unknown")]);
    harness.fail_listings(4);
    assert!(harness.pipeline.is_settled(), "equal keys are in one shard");
}

#[test]
fn contradiction_stops_prediction_for_shard() {
    let mut settings = per_shard();
    settings.max_in_flight = 1;
    settings.aggregate_records = 2;
    settings.limits = settings.limits.with_request_entries(1);
    let mut harness = Harness::new(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h", "a", "h", "b", "d"]);
    let (id, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [vec!["a", "h"]]);
    harness.settle(id, vec![placed("new")]);
    assert_eq!(payloads(&harness.send().1), [vec!["a"]], "the full aggregate was not split");
}

#[test]
fn contradiction_keeps_other_predictions() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    harness.admit_keys(&["a", "h", "b", "d"]);
    assert_eq!(payloads(&harness.send().1), [vec!["a"], vec!["h"], vec!["b", "d"]]);
}

#[test]
fn wrong_list_adds_two_requests() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    harness.pipeline.close();
    let mut requests = 0;
    while !harness.pipeline.is_settled() {
        if harness.begin_listing() {
            harness.pipeline.apply_list(map(&halves()), harness.now);
        } else if let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            requests += 1;
            assert!(requests < 10, "{requests} requests");
            let elsewhere = |_| placed("elsewhere");
            harness.settle(id, request.entries().iter().map(elsewhere).collect());
        } else {
            harness.sleep();
        }
    }
    assert_eq!(requests, 3);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 2);
}

#[test]
fn split_regroups_throttled_aggregate() {
    for is_split in [false, true] {
        let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
        let (id, request) = harness.close_and_send();
        // The response to another request reveals the reshard.
        harness.pipeline.admit(Record::from(("b", "b")), Admission::default(), harness.now);
        harness.pipeline.admit(Record::from(("d", "d")), Admission::default(), harness.now);
        let (other, _) = harness.send();
        harness.settle(other, vec![placed("new-upper")]);
        harness.until_listing();
        let [lower, _] = halves();
        let upper = shard("new-upper", HALF, u128::MAX);
        let cut = hash_of("a").min(hash_of("h")).get();
        let shards = if is_split {
            vec![shard("l1", 0, cut), shard("l2", cut + 1, HALF - 1), upper]
        } else {
            vec![lower, upper]
        };
        harness.pipeline.apply_list(map(&shards), harness.now);
        harness.settle(id, vec![failed(THROTTLE)]);
        harness.sleep();
        let (_, again) = harness.send();
        let same = request.entries()[0].data().as_ptr() == again.entries()[0].data().as_ptr();
        assert_eq!((again.entries().len(), same), if is_split { (2, false) } else { (1, true) });
    }
}

#[test]
fn failed_listings_back_off() {
    let mut harness = Harness::new(per_shard());
    let mut longest = Duration::ZERO;
    let mut waited = Duration::ZERO;
    for _ in 0..40 {
        let before = harness.now;
        harness.until_listing();
        longest = longest.max(harness.now - before);
        waited += harness.now - before;
        harness.pipeline.apply_list(None, harness.now);
    }
    assert!(longest <= Duration::from_secs(60), "{longest:?}");
    assert!(waited > Duration::from_secs(300), "{waited:?} for 40 calls");
    // A successful listing resets the backoff.
    harness.until_listing();
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("lower")]);
    harness.admit_keys(&["a", "h"]);
    let (id, _) = harness.send();
    harness.settle(id, vec![placed("new")]);
    let before = harness.now;
    harness.until_listing();
    assert!(harness.now - before <= Duration::from_millis(100));
}

#[test]
fn model_stream_discards_misplaced_aggregate() {
    let mut stream = Stream::new(2);
    let across = [aggregate::Member::new("a", "1"), aggregate::Member::new("b", "2")];
    let within = [aggregate::Member::new("a", "3"), aggregate::Member::new("h", "4")];
    for members in [&across, &within] {
        let data = aggregate::encode(members).unwrap();
        stream.write(&crate::service::Entry::new(data, Some("a".into()), None));
    }
    assert_eq!(stream.readable.iter().copied().collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn invalid_list_checks_per_key_aggregates() {
    let mut harness = Harness::with_shards(&halves(), &[]);
    harness.pipeline.topology.invalidate_list();
    for key in ["a", "a"] {
        harness.accept_key(key);
    }
    let (id, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [["a", "a"]]);
    harness.settle(id, vec![placed("upper")]);
    assert_eq!(
        harness.pipeline.ledger().totals().misplaced,
        1,
        "the key belongs to the lower shard"
    );
    let (id, _) = harness.next();
    harness.settle(id, vec![placed("lower")]);
    assert!(harness.pipeline.is_settled());
}

#[test]
fn fallback_ends_when_list_changes() {
    let mut harness = Harness::with_shards(&halves(), &[]);
    harness.pipeline.topology.invalidate_list();
    harness.pipeline.apply_list(map(&halves()), harness.now);
    for key in ["a", "b"] {
        harness.accept_key(key);
    }
    let (id, request) = harness.close_and_send();
    assert_eq!(payloads(&request).len(), 2, "an unchanged list is disbelieved");
    harness.deliver(id, &request);
    harness.pipeline.flush.reopen();
    harness.pipeline.apply_list(map(&[shard("one", 0, u128::MAX)]), harness.now);
    for key in ["a", "b"] {
        harness.accept_key(key);
    }
    let (_, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [["a", "b"]]);
}

#[test]
fn invalid_list_is_replaced_after_minute() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    harness.pipeline.close();
    while !harness.pipeline.is_settled() {
        if harness.begin_listing() {
            harness.pipeline.apply_list(map(&halves()), harness.now);
        } else if let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            let elsewhere = |_| placed("elsewhere");
            harness.settle(id, request.entries().iter().map(elsewhere).collect());
        } else {
            harness.sleep();
        }
    }
    if harness.pipeline.topology.needs_listing() {
        harness.until_listing();
        harness.pipeline.apply_list(map(&halves()), harness.now);
    }
    assert!(harness.pipeline.topology_mut().take_fallback());
    assert!(!harness.begin_listing(), "the shards were listed recently");
    harness.now += Duration::from_secs(60);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&[shard("elsewhere", 0, u128::MAX)]), harness.now);
    harness.pipeline.flush.reopen();
    for key in ["a", "h"] {
        harness.accept_key(key);
    }
    let (_, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [["a", "h"]], "the new list is trusted");
}

/// After two consecutive reshards, a list that has misplaced a record twice is outdated rather than wrong.
#[test]
fn outdated_list_is_not_invalid() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    harness.pipeline.close();
    for _ in 0..2 {
        let (id, request) = harness.next();
        assert_eq!(payloads(&request), [["a", "h"]]);
        harness.settle(id, vec![placed("child")]);
        harness.until_listing();
        if harness.pipeline.ledger().totals().misplaced == 0 {
            harness.pipeline.apply_list(map(&halves()), harness.now);
        }
    }
    let merged = [shard("merged", 0, u128::MAX)];
    harness.pipeline.apply_list(map(&merged), harness.now);
    assert!(!harness.pipeline.topology_mut().take_fallback());
    let (id, request) = harness.next();
    assert_eq!(payloads(&request), [["a", "h"]], "the new list is used");
    harness.settle(id, vec![placed("merged")]);
    assert!(harness.pipeline.is_settled());
}
