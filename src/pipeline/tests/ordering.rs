//! Ordering of records with the same key, across failures, retries, and reshards.

use super::aggregation::{aggregating, payloads};
use super::verify::{HALF, halves, map, per_shard, placed, shard};
use super::*;

fn ordered(settings: Settings) -> Settings {
    Settings { ordering: RecordOrdering::PerKey, ..settings }
}

fn sent(request: &PutRecordsRequest) -> Vec<String> {
    payloads(request).concat()
}

impl Harness {
    fn ordered(keys_and_data: &[(&'static str, &'static str)]) -> Self {
        let mut harness = Self::new(ordered(settings()));
        harness.push_all(keys_and_data.iter().copied());
        harness.pipeline.close();
        harness
    }

    /// Returns `true` if all records are settled and the pipeline has dropped the state of their keys.
    fn is_drained(&self) -> bool {
        self.pipeline.is_settled() && self.pipeline.backlog.has_no_state()
    }
}

#[test]
fn key_has_one_record_in_flight() {
    let mut harness =
        Harness::ordered(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")]);
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["1", "2", "4"]);
    assert_eq!(harness.send_reason(), None);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 3));
    harness.deliver(id, &request);
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["3", "5"]);
    harness.deliver(id, &request);
    assert!(harness.is_drained());
}

#[test]
fn keyless_records_are_not_ordered() {
    let mut harness = Harness::new(ordered(settings()));
    for _ in 0..3 {
        harness.push("data");
    }
    let managed = || Record::from("data").with_partition_key(PartitionKey::ServiceManaged);
    for _ in 0..3 {
        harness.push(managed());
    }
    harness.pipeline.close();
    assert_eq!(harness.send().1.entries().len(), 6);
}

#[test]
fn failed_record_precedes_later_records() {
    for code in [THROTTLE, "InternalFailure", "NeverHeardOf", "IncompleteResult"] {
        let mut harness = Harness::ordered(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]);
        let (id, _) = harness.send();
        harness.settle(id, vec![failed(code), delivered()]);
        let mut requests = Vec::new();
        while !harness.pipeline.is_settled() {
            match harness.pipeline.next_request(harness.now) {
                Some((id, request, _)) => {
                    requests.extend(texts(&request));
                    harness.deliver(id, &request);
                }
                None => drop(harness.sleep()),
            }
        }
        let place = |data| requests.iter().position(|sent| sent == data);
        assert!(place("1") < place("3"), "{code}: {requests:?}");
        assert_eq!(requests.len(), 3, "{code}");
        assert!(harness.is_drained());
    }
}

#[test]
fn unknown_outcome_resends_same_records() {
    let mut harness = Harness::ordered(&[("a", "1"), ("b", "2"), ("a", "3")]);
    let (id, _) = harness.send();
    harness.fail(id, "InternalFailure");
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["1", "2"]);
    harness.deliver(id, &request);
    assert_eq!(texts(&harness.send().1), ["3"]);
}

#[test]
fn failed_record_releases_its_key() {
    // The service rejects the entry.
    let mut harness = Harness::ordered(&[("a", "1"), ("a", "2")]);
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    assert_eq!(texts(&harness.send().1), ["2"]);
    // The service rejects the request.
    let mut harness = Harness::ordered(&[("a", "1"), ("a", "2")]);
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    harness.sleep();
    assert_eq!(texts(&harness.send().1), ["2"]);
    // The attempts of the record are exhausted.
    let settings = Settings { max_attempts: Some(1), ..ordered(settings()) };
    let mut harness = Harness::new(settings);
    harness.push_all([("a", "1"), ("a", "2")]);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed(THROTTLE)]);
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["2"]);
    harness.fail(id, "InternalFailure");
    assert!(harness.is_drained());
    assert_eq!(harness.pipeline.take_failed().len(), 2);
}

#[test]
fn blocked_record_expires_at_deadline() {
    let deadline = Duration::from_secs(1);
    let settings = Settings { deadline: Some(deadline), ..ordered(settings()) };
    let mut harness = Harness::new(settings);
    harness.push_all([("a", "1"), ("a", "2"), ("b", "3")]);
    harness.pipeline.close();
    let (id, request) = harness.send();
    assert_eq!(harness.sleep(), deadline);
    harness.pipeline.advance(harness.now);
    assert_eq!(harness.pipeline.take_failed().len(), 1, "the blocked record has expired");
    harness.deliver(id, &request);
    assert!(harness.is_drained());
    // An expired record releases the next record of its key.
    let settings = Settings { deadline: Some(deadline), ..ordered(super::settings()) };
    let mut harness = Harness::new(settings);
    harness.push(("a", "1"));
    harness.now += deadline / 2;
    harness.push(("a", "2"));
    harness.now += deadline / 2;
    harness.pipeline.advance(harness.now);
    harness.pipeline.close();
    assert_eq!(texts(&harness.send().1), ["2"]);
}

#[test]
fn busy_key_fills_its_next_aggregate() {
    let mut harness = Harness::new(ordered(aggregating(Aggregation::PerKey)));
    for data in ["1", "2"] {
        harness.push(("a", data));
    }
    harness.now += Duration::from_millis(100);
    let (first, request) = harness.send();
    assert_eq!(payloads(&request), [["1", "2"]]);
    for data in ["3", "4", "5"] {
        harness.push(("a", data));
        harness.now += Duration::from_millis(100);
        assert_eq!(harness.send_reason(), None, "an aggregate of the key is in flight");
    }
    harness.push(("b", "6"));
    harness.now += Duration::from_millis(100);
    let (other, request) = harness.send();
    assert_eq!(payloads(&request), [["6"]], "another key is not blocked");
    harness.settle(other, vec![delivered()]);
    harness.settle(first, vec![failed(THROTTLE)]);
    harness.push(("a", "7"));
    harness.sleep();
    let (first, request) = harness.send();
    assert_eq!(payloads(&request), [["1", "2"]], "the failed aggregate is unchanged");
    harness.settle(first, vec![delivered()]);
    assert_eq!(payloads(&harness.send().1), [["3", "4", "5", "7"]]);
}

#[test]
fn full_aggregates_of_key_are_sequential() {
    let mut settings = ordered(aggregating(Aggregation::PerKey));
    settings.aggregate_records = 2;
    let mut harness = Harness::new(settings);
    for data in ["1", "2", "3", "4", "5"] {
        harness.push(("a", data));
    }
    harness.pipeline.close();
    for expected in [vec!["1", "2"], vec!["3", "4"], vec!["5"]] {
        let (id, request) = harness.send();
        assert_eq!(payloads(&request), [expected]);
        assert_eq!(harness.send_reason(), None);
        harness.settle(id, vec![delivered()]);
    }
    assert!(harness.is_drained());
}

#[test]
fn rejected_halves_are_sequential() {
    for by_entry in [false, true] {
        let mut harness = Harness::new(ordered(aggregating(Aggregation::PerKey)));
        for data in ["1", "2", "bad", "4", "5"] {
            harness.push(("a", data));
        }
        harness.pipeline.close();
        let mut delivered_in_order = Vec::new();
        while !harness.pipeline.is_settled() {
            let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
                harness.sleep();
                continue;
            };
            assert_eq!(request.entries().len(), 1, "the halves were sent together");
            let data = sent(&request);
            match (data.iter().any(|data| data == "bad"), by_entry) {
                (true, true) => harness.settle(id, vec![failed("InvalidArgumentException")]),
                (true, false) => harness.fail(id, "ValidationException"),
                (false, _) => {
                    delivered_in_order.extend(data);
                    harness.settle(id, vec![delivered()]);
                }
            }
        }
        assert_eq!(delivered_in_order, ["1", "2", "4", "5"]);
        assert_eq!(harness.pipeline.take_failed().len(), 1);
        assert!(harness.is_drained());
    }
}

#[test]
fn rejected_halves_precede_later_records() {
    for by_entry in [false, true] {
        let mut settings = ordered(aggregating(Aggregation::PerKey));
        settings.aggregate_records = 4;
        let mut harness = Harness::new(settings);
        for data in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            harness.push(("a", data));
        }
        harness.pipeline.close();
        // The first aggregate and its second half are rejected, while two other aggregates of the key are queued.
        let mut read = Vec::new();
        let mut rejections = 0;
        while !harness.pipeline.is_settled() {
            let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
                harness.sleep();
                continue;
            };
            let data = sent(&request);
            if data.len() > 1 && data.contains(&"4".to_owned()) {
                rejections += 1;
                if by_entry {
                    harness.settle(id, vec![failed("InvalidArgumentException")]);
                } else {
                    harness.fail(id, "ValidationException");
                }
            } else {
                read.extend(data);
                harness.settle(id, vec![delivered()]);
            }
        }
        assert_eq!((read, rejections), (numbers(1..10), 2), "by entry: {by_entry}");
        assert!(harness.is_drained());
    }
}

#[test]
fn invalid_list_requeues_unverified_aggregates() {
    let mut settings = ordered(per_shard());
    settings.limits = settings.limits.with_request_entries(1);
    let mut harness = Harness::new(settings);
    let shards = [
        shard("lower", 0, HALF - 1),
        shard("upper", HALF, u128::MAX - 1),
        shard("last", u128::MAX, u128::MAX),
    ];
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&shards), harness.now);
    harness.accept_keys(&["a", "h", "b", "d"]);
    let (lower, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [["a", "h"]]);
    harness.settle(lower, vec![placed("last")]);
    harness.until_listing();
    harness.pipeline.apply_list(map(&shards), harness.now);
    let (lower, request) = harness.next();
    assert_eq!(payloads(&request), [["a", "h"]], "the list is used a second time");
    let (upper, request) = harness.next();
    assert_eq!(payloads(&request), [["b", "d"]]);
    // The upper aggregate waits for a list that contains its shard.
    harness.settle(upper, vec![placed("unknown")]);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (0, 4));
    harness.settle(lower, vec![placed("last")]);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 2));
    // The list has not changed, so it is invalid after two wrong predictions. The upper aggregate cannot be verified.
    harness.until_listing();
    harness.pipeline.apply_list(map(&shards), harness.now);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (4, 0));
    let since = harness.now;
    while !harness.pipeline.is_settled() {
        let (id, request) = harness.next();
        let is_lower = ["a", "h"].contains(&sent(&request)[0].as_str());
        harness.settle(id, vec![placed(if is_lower { "lower" } else { "upper" })]);
    }
    assert!(harness.now - since < Duration::from_secs(1));
    assert_eq!(harness.pipeline.ledger().totals().delivered, 4);
}

#[test]
fn reshard_waits_for_requests_in_flight() {
    let mut harness = Harness::new(ordered(per_shard()));
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&[shard("s0", 0, u128::MAX)]), harness.now);
    let keyed = |harness: &mut Harness, data: [&'static str; 2]| {
        harness.push(("a", data[0]));
        harness.push(("b", data[1]));
    };
    keyed(&mut harness, ["a1", "b1"]);
    harness.now += Duration::from_millis(100);
    let (id, request) = harness.send();
    assert_eq!(payloads(&request), [["a1", "b1"]]);
    keyed(&mut harness, ["a2", "b2"]);
    harness.pipeline.apply_list(map(&halves()), harness.now);
    keyed(&mut harness, ["a3", "b3"]);
    harness.pipeline.close();
    assert_eq!(harness.send_reason(), None, "a request is in flight");
    harness.settle(id, vec![failed(THROTTLE)]);
    assert_eq!(payloads(&harness.send().1), [["a1", "a2", "a3"], ["b1", "b2", "b3"]]);
}

#[test]
fn wrong_list_causes_aggregation_per_key() {
    let mut harness = Harness::new(ordered(per_shard()));
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&[shard("s0", 0, u128::MAX)]), harness.now);
    for data in ["1", "2"] {
        for key in ["a", "b"] {
            harness.push((key, data));
        }
    }
    harness.pipeline.close();
    // The list is always wrong: the stream has two shards.
    let mut aggregates = 0;
    let begun = harness.now;
    while !harness.pipeline.is_settled() && aggregates < 10 {
        if harness.begin_listing() {
            harness.pipeline.apply_list(map(&[shard("lower", 0, HALF - 1)]), harness.now);
        }
        let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
            harness.sleep();
            continue;
        };
        aggregates += request.entries().len();
        let results = request.entries().iter().map(|_| placed("lower"));
        harness.settle(id, results.collect());
    }
    assert!(harness.pipeline.is_settled(), "{aggregates} aggregates");
    assert!(harness.now - begun < Duration::from_secs(60), "aggregates per key do not need a list");
    assert!(harness.is_drained());
}

/// Records whose aggregates were misplaced twice are sent in the same aggregate as later records of their key.
#[test]
fn twice_misplaced_records_keep_key_order() {
    let mut harness = Harness::new(ordered(per_shard()));
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h", "a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    harness.fail_listings(1);
    let (id, request) = harness.send();
    assert_eq!(payloads(&request), [["a", "a"], ["h", "h"]]);
    harness.settle(id, vec![placed("new"), placed("new")]);
    harness.until_listing();
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.admit_key("a");
    let (_, request) = harness.send();
    assert_eq!(payloads(&request), [["a", "h", "a", "h", "a"]]);
}

#[test]
fn invalid_list_accepts_unlisted_shard() {
    let mut harness = Harness::new(ordered(per_shard()));
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.pipeline.topology.invalidate_list();
    harness.accept_keys(&["a", "a"]);
    let (id, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [["a", "a"]]);
    harness.settle(id, vec![placed("new")]);
    assert!(harness.pipeline.is_settled());
}

#[test]
fn withdrawn_records_release_their_keys() {
    let mut harness = Harness::new(ordered(settings()));
    harness.push_all([("a", "1"), ("a", "2"), ("b", "3")]);
    harness.pipeline.flush();
    let (id, request) = harness.send();
    let taken = harness.pipeline.take_undelivered();
    let taken: Vec<_> = taken.iter().map(|one| text(one.record())).collect();
    assert_eq!(taken, ["1", "2", "3"]);
    harness.deliver(id, &request);
    harness.push(("a", "4"));
    harness.pipeline.flush();
    assert_eq!(texts(&harness.send().1), ["4"]);
}

#[test]
fn mixed_hash_keys_keep_order_in_shard() {
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        let mut harness = Harness::new(ordered(aggregating(aggregation)));
        if harness.begin_listing() {
            let all = shard("shardId-000000000000", 0, u128::MAX);
            harness.pipeline.apply_list(map(&[all]), harness.now);
        }
        for n in 0..9_usize {
            let record = Record::from(("k", n.to_string()));
            harness.push(if n % 3 < 2 { record.with_explicit_hash_key(5_u128) } else { record });
        }
        harness.pipeline.close();
        let mut read = Vec::new();
        while !harness.pipeline.is_settled() {
            let (id, request) = harness.send();
            read.extend(sent(&request));
            harness.deliver(id, &request);
        }
        assert_eq!(read, numbers(0..9), "{aggregation:?}");
    }
}

#[test]
fn busy_key_leaves_no_state() {
    let mut settings = ordered(aggregating(Aggregation::PerKey));
    settings.aggregate_records = 4;
    settings.linger = Linger::Adaptive(Duration::ZERO);
    let mut harness = Harness::new(settings);
    let four = |harness: &mut Harness| {
        for _ in 0..2 {
            harness.push(("k", "data"));
        }
        harness.pipeline.flush();
        assert_eq!(harness.send_reason(), None, "the key has a request in flight");
        for _ in 0..2 {
            harness.push(("k", "data"));
        }
    };
    for _ in 0..4 {
        harness.push(("k", "data"));
    }
    let mut in_flight = harness.send();
    for _ in 0..1_000 {
        four(&mut harness);
        harness.deliver(in_flight.0, &in_flight.1);
        in_flight = harness.send();
    }
    harness.deliver(in_flight.0, &in_flight.1);
    assert!(harness.is_drained());
}
