//! Repeated shard listings, and aggregation until a listing completes.

use super::aggregation::payloads;
use super::verify::{HALF, halves, keys_of, map, per_shard, placed, shard};
use super::*;
use crate::service::Entry;
use crate::shard::hash_of;

/// Creates a pipeline with two aggregates of two records. Each aggregate is sent in a separate request.
fn in_pairs(keys: [&'static str; 4]) -> Harness {
    let mut settings = per_shard();
    settings.aggregate_records = 2;
    settings.limits = settings.limits.with_request_entries(1);
    let mut harness = Harness::new(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&keys);
    harness
}

#[test]
fn recreated_stream_reuses_shard_ids() {
    let mut harness = Harness::with_shards(&[shard("s0", 0, u128::MAX)], &["a", "b"]);
    let (id, _) = harness.close_and_send();
    let recreated = [shard("s0", 0, HALF - 1), shard("s1", HALF, u128::MAX)];
    harness.pipeline.apply_list(map(&recreated), harness.now);
    harness.settle(id, vec![placed("s0")]);
    assert_eq!(
        harness.pipeline.ledger().totals().delivered,
        0,
        "b is not in s0 of the latest list"
    );
    assert_eq!(payloads(&harness.next().1), [vec!["a"], vec!["b"]]);
}

#[test]
fn missing_stream_error_stops_prediction() {
    let mut harness = Harness::with_shards(&[shard("s0", 0, u128::MAX)], &["a", "b"]);
    let (id, request) = harness.close_and_send();
    assert_eq!(request.entries().len(), 1);
    harness.fail(id, "ResourceNotFoundException");
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    assert_eq!(payloads(&harness.next().1), [vec!["a"], vec!["b"]]);
    harness.until_listing();
}

#[test]
fn new_list_regroups_rejected_aggregates() {
    for by_entry in [false, true] {
        let mut harness = Harness::with_shards(&[shard("s0", 0, u128::MAX)], &["a", "b", "h", "d"]);
        let (id, _) = harness.close_and_send();
        harness.pipeline.apply_list(map(&halves()), harness.now);
        if by_entry {
            harness.settle(id, vec![failed("InvalidArgumentException")]);
        } else {
            harness.fail(id, "ValidationException");
        }
        let mut sent = Vec::new();
        while !harness.pipeline.is_settled() {
            let (id, request) = harness.next();
            sent.extend(payloads(&request));
            let places = request.entries().iter().map(|entry| {
                let hash = hash_of(entry.partition_key().unwrap()).get();
                placed(if hash < HALF { "lower" } else { "upper" })
            });
            harness.settle(id, places.collect());
        }
        let safe = |keys: &Vec<String>| {
            keys.iter().all(|key| (hash_of(key).get() < HALF) == (hash_of(&keys[0]).get() < HALF))
        };
        assert!(sent.iter().all(safe), "{sent:?}");
    }
    // A new list regroups the entries of a bisected request as well.
    let mut settings = per_shard();
    settings.aggregate_records = 2;
    let mut harness = Harness::new(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&[shard("s0", 0, u128::MAX)]), harness.now);
    harness.accept_keys(&["a", "b", "h", "d"]);
    let (id, request) = harness.close_and_send();
    assert_eq!(request.entries().len(), 2);
    harness.fail(id, "ValidationException");
    harness.pipeline.apply_list(map(&halves()), harness.now);
    assert_eq!(payloads(&harness.next().1), [vec!["a", "h"], vec!["b", "d"]]);
}

#[test]
fn partial_aggregate_is_verified() {
    // The partial aggregate is half of a rejected aggregate, or an aggregate with an expired member.
    for expired in [false, true] {
        let mut settings = per_shard();
        settings.deadline = Some(Duration::from_secs(10));
        let mut harness = Harness::new(settings);
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(&halves()), harness.now);
        harness.accept_key("c");
        harness.now += Duration::from_secs(5);
        harness.accept_keys(&["h", "a", "c"]);
        let (id, _) = harness.close_and_send();
        if expired {
            harness.now += Duration::from_secs(5);
            harness.settle(id, vec![failed("InternalFailure")]);
            harness.pipeline.advance(harness.now);
            assert_eq!(harness.pipeline.take_failed().len(), 1);
        } else {
            harness.settle(id, vec![failed("InvalidArgumentException")]);
        }
        let (id, request) = harness.next();
        harness.settle(id, request.entries().iter().map(|_| placed("upper")).collect());
        assert_eq!(harness.pipeline.ledger().totals().delivered, 0, "{:?}", payloads(&request));
    }
}

#[test]
fn misplacement_counts_as_attempt() {
    let mut settings = per_shard();
    settings.max_attempts = Some(1);
    let mut harness = Harness::new(settings.clone());
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("upper")]);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.take_failed().len()), (0, 2));

    settings.max_attempts = Some(2);
    let mut harness = Harness::new(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    let (record, receipt) = Record::from(("a", "a")).tracked();
    harness.pipeline.accept(record, harness.now).unwrap();
    harness.accept_key("h");
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("upper")]);
    assert_eq!(harness.pipeline.ledger().totals().misplaced, 1);
    let (id, request) = harness.next();
    harness.settle(id, request.entries().iter().map(|_| failed("InternalFailure")).collect());
    harness.pipeline.offer_failed(None);
    assert!(harness.pipeline.is_settled());
    let undelivered = futures::FutureExt::now_or_never(receipt).unwrap().unwrap_err();
    assert!(undelivered.may_have_been_written());
    let codes: Vec<_> = undelivered.history().iter().map(|one| one.error().code()).collect();
    assert_eq!(codes, ["Misplaced", "InternalFailure"]);
}

#[test]
fn listing_started_early_does_not_verify() {
    let mut harness = in_pairs(["b", "d", "a", "h"]);
    let (first, _) = harness.close_and_send();
    let (second, _) = harness.send();
    harness.settle(first, vec![placed("new-upper")]);
    harness.until_listing();
    let early = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    // Both shards are merged during the listing, and the second aggregate was written to the merged shard.
    harness.settle(second, vec![placed("merged")]);
    assert!(!harness.pipeline.topology().listing_is_due(harness.now), "one listing at a time");
    harness.pipeline.apply_list(map(&early), harness.now);
    assert_eq!(
        (harness.pipeline.queued(), harness.pipeline.in_flight()),
        (0, 2),
        "the second aggregate was requeued"
    );
    assert_eq!(
        harness.pipeline.ledger().totals().delivered,
        2,
        "the list names the shard of the first aggregate"
    );
    harness.until_listing();
    harness.pipeline.apply_list(map(&[shard("merged", 0, u128::MAX)]), harness.now);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().requeued, 0);
}

#[test]
fn second_reshard_requests_another_listing() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    // Neither the predicted nor the listed shard exists any more.
    harness.pipeline.apply_list(map(&[shard("one", 0, u128::MAX)]), harness.now);
    harness.settle(id, vec![placed("two")]);
    harness.until_listing();
    harness.pipeline.apply_list(map(&[shard("two", 0, u128::MAX)]), harness.now);
    assert!(harness.pipeline.is_settled());
}

#[test]
fn delivery_in_predicted_shard_stays_valid() {
    let mut harness = in_pairs(["a", "h", "c", "a"]);
    let (first, _) = harness.close_and_send();
    let (second, _) = harness.send();
    harness.settle(first, vec![placed("new")]);
    harness.settle(second, vec![placed("lower")]);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 2);
}

#[test]
fn unpredicted_known_shard_requests_listing() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("upper")]);
    harness.until_listing();
}

#[test]
fn failed_second_listing_stops_prediction() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    harness.until_listing();
    harness.pipeline.apply_list(None, harness.now);
    harness.admit_keys(&["b", "d"]);
    let mut sent = payloads(&harness.next().1);
    sent.sort();
    assert_eq!(sent, [vec!["a"], vec!["b"], vec!["d"], vec!["h"]]);
}

#[test]
fn merge_keeps_throttled_aggregate() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, request) = harness.close_and_send();
    harness.pipeline.apply_list(map(&[shard("merged", 0, u128::MAX)]), harness.now);
    harness.settle(id, vec![failed(THROTTLE)]);
    let (id, again) = harness.next();
    let at = |request: &PutRecordsRequest| request.entries()[0].data().as_ptr();
    assert_eq!(at(&request), at(&again));
    harness.settle(id, vec![placed("merged")]);
    assert!(harness.pipeline.is_settled(), "the prediction was updated");
}

#[test]
fn wrong_list_backs_off_listing() {
    let mut harness = Harness::with_shards(&halves(), &[]);
    let begun = harness.now;
    for _ in 0..30 {
        harness.admit_keys(&["a", "h"]);
        harness.pipeline.close();
        while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            harness.settle(id, request.entries().iter().map(|_| placed("elsewhere")).collect());
        }
        harness.until_listing();
        harness.pipeline.apply_list(map(&halves()), harness.now);
    }
    assert!(harness.now - begun > Duration::from_secs(25), "{:?}", harness.now - begun);
}

#[test]
fn partly_wrong_list_backs_off_listing() {
    let mut harness = Harness::with_shards(&halves(), &[]);
    harness.pipeline.close();
    let begun = harness.now;
    let mut listings = 0;
    while harness.now - begun < Duration::from_secs(50) {
        harness.admit_keys(&["a", "h", "b", "d"]);
        while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            let place = |entry: &Entry| {
                let hash = hash_of(entry.partition_key().unwrap()).get();
                placed(if hash < HALF { "elsewhere" } else { "upper" })
            };
            harness.settle(id, request.entries().iter().map(place).collect());
        }
        if harness.begin_listing() {
            listings += 1;
            harness.pipeline.apply_list(map(&halves()), harness.now);
        }
        harness.now += ROUND_TRIP;
    }
    assert!((2..10).contains(&listings), "{listings}");
}

#[test]
fn correct_predictions_reset_listing_backoff() {
    let mut harness = Harness::with_shards(&halves(), &[]);
    let mut waits = Vec::new();
    for round in 0..12 {
        for shard in ["lower", "elsewhere"] {
            harness.accept_keys(&["a", "h"]);
            harness.pipeline.flush();
            harness.now += Duration::from_millis(100);
            let (id, request) = harness.next();
            harness.settle(id, request.entries().iter().map(|_| placed(shard)).collect());
        }
        let begun = harness.now;
        harness.until_listing();
        waits.push(harness.now - begun);
        harness.pipeline.apply_list(map(&halves()), harness.now);
        while harness.pipeline.queued() > 0 {
            let (id, request) = harness.next();
            harness.settle(id, request.entries().iter().map(|_| placed("lower")).collect());
        }
        harness.now += Duration::from_secs(if round < 8 { 1 } else { 61 });
    }
    assert!(waits[..9].iter().any(|wait| *wait > Duration::from_secs(1)), "{waits:?}");
    assert!(waits[9..].iter().all(|wait| *wait <= Duration::from_millis(100)), "{waits:?}");
}

#[test]
fn outdated_listing_predicts_nothing() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    harness.until_listing();
    harness.admit_keys(&["b", "d"]);
    let (id, _) = harness.send();
    harness.settle(id, vec![placed("new-upper")]);
    harness.admit_keys(&["e", "b"]);
    harness.pipeline.apply_list(map(&halves()), harness.now);
    assert_eq!(payloads(&harness.next().1), [vec!["e"], vec!["b"]]);
    harness.until_listing();
}

#[test]
fn listing_of_missing_stream_is_ignored() {
    for known in [true, false] {
        let mut harness = Harness::new(per_shard());
        assert!(harness.begin_listing());
        if known {
            harness.pipeline.apply_list(map(&halves()), harness.now);
            harness.accept_keys(&["a", "h"]);
            let (id, _) = harness.close_and_send();
            harness.settle(id, vec![placed("new")]);
            harness.until_listing();
        }
        harness.pipeline.fail_service(service_error("ResourceNotFoundException"), harness.now);
        assert!(harness.pipeline.health_mut().take_fatal().is_some());
        harness.pipeline.apply_list(map(&halves()), harness.now);
        harness.admit_keys(&["c", "h"]);
        harness.pipeline.close();
        assert!(payloads(&harness.next().1).iter().all(|members| members.len() == 1));
        harness.until_listing();
    }
}

#[test]
fn missing_stream_error_splits_aggregates() {
    let mut settings = per_shard();
    settings.aggregate_records = 2;
    settings.limits = settings.limits.with_request_entries(1);
    settings.max_in_flight = 1;
    let mut harness = Harness::new(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h", "b", "d"]);
    let (id, _) = harness.close_and_send();
    harness.fail(id, "ResourceNotFoundException");
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    for key in ["a", "h", "b", "d"] {
        let (id, request) = harness.next();
        assert_eq!(payloads(&request), [vec![key]]);
        harness.settle(id, vec![placed("new")]);
    }
}

#[test]
fn unverified_aggregate_speeds_up_listing() {
    // The listing succeeds after failures that have raised the listing backoff to a minute.
    let mut harness = Harness::new(per_shard());
    for _ in 0..15 {
        harness.until_listing();
        harness.pipeline.apply_list(None, harness.now);
    }
    harness.until_listing();
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "h"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    let begun = harness.now;
    harness.until_listing();
    assert!(harness.now - begun <= Duration::from_millis(100), "{:?}", harness.now - begun);
    // After a failed listing, aggregates in unknown shards are requeued immediately.
    harness.admit_keys(&["b", "d"]);
    let (id, _) = harness.send();
    harness.pipeline.apply_list(None, harness.now);
    harness.settle(id, vec![placed("new-upper")]);
    assert_eq!(harness.pipeline.in_flight(), 0);
    assert_eq!(harness.pipeline.queued(), 4);
}

#[test]
fn old_response_does_not_invalidate_new_shard() {
    let mut harness = Harness::with_shards(&[shard("lower", 0, u128::MAX)], &["a", "b"]);
    let (id, _) = harness.close_and_send();
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.settle(id, vec![placed("upper")]);
    assert!(!harness.pipeline.topology().listing_is_due(harness.now + Duration::from_secs(60)));
    harness.admit_keys(&["h", "c"]);
    assert!(payloads(&harness.next().1).contains(&vec!["a".to_owned(), "h".into(), "c".into()]));
}

#[test]
fn aggregates_do_not_mix_kinds_of_keys() {
    let mut harness = Harness::with_shards(&halves(), &["a", "h"]);
    let managed = Record::from("managed").with_partition_key(PartitionKey::ServiceManaged);
    harness.push(managed.clone().with_explicit_hash_key(1_u128));
    harness.push(managed);
    harness.push("keyless");
    harness.push("keyless-2");
    harness.push(Record::from("placed").with_explicit_hash_key(2_u128));
    harness.push(Record::from("placed-2").with_explicit_hash_key(3_u128));
    let (_, request) = harness.close_and_send();
    let expected: [&[&str]; 5] = [
        &["a", "h"],
        &["managed"],
        &["managed"],
        &["keyless", "keyless-2"],
        &["placed", "placed-2"],
    ];
    assert_eq!(payloads(&request), expected);
    let keys = keys_of(&request.entries()[3]);
    assert_eq!(keys[0], keys[1], "keyless records have different keys");
    let keys = keys_of(&request.entries()[4]);
    assert_ne!(keys[0], keys[1], "records with hash keys share a key");
}

#[test]
fn unavailable_listing_aggregates_per_key() {
    let mut harness = Harness::with_shards(&[shard("s0", 0, u128::MAX)], &["a", "b"]);
    harness.pipeline.listing_unavailable(harness.now);
    let (id, request) = harness.close_and_send();
    assert_eq!(payloads(&request), [vec!["a"], vec!["b"]]);
    // The pipeline neither verifies the shards against the former list nor lists them again.
    harness.settle(id, vec![placed("s0"), placed("s9")]);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 2);
    assert!(!harness.pipeline.topology.needs_listing());
}

#[test]
fn unavailable_listing_requeues_aggregates() {
    for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
        let mut harness = Harness::new(Settings { ordering, ..per_shard() });
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(&[shard("s0", 0, u128::MAX)]), harness.now);
        harness.accept_keys(&["a", "b"]);
        let (id, request) = harness.close_and_send();
        assert_eq!(payloads(&request), [vec!["a", "b"]]);
        harness.settle(id, vec![placed("s9")]);
        assert_eq!(
            harness.pipeline.ledger().totals().delivered,
            0,
            "{ordering:?}: no list names the shard"
        );
        harness.pipeline.listing_unavailable(harness.now);
        let (id, request) = harness.next();
        assert_eq!(payloads(&request), [vec!["a"], vec!["b"]], "{ordering:?}");
        harness.settle(id, vec![placed("s9"), placed("s9")]);
        assert!(harness.pipeline.is_settled(), "{ordering:?}");
        assert!(!harness.pipeline.topology.needs_listing(), "{ordering:?}");
    }
}

#[test]
fn unavailable_listing_settles_aggregates() {
    let settings = Settings { aggregation: Aggregation::PerKey, ..settings() };
    let mut harness = Harness::listing(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.accept_keys(&["a", "a"]);
    let (id, _) = harness.close_and_send();
    harness.settle(id, vec![placed("new")]);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 0, "no list names the shard");
    harness.pipeline.listing_unavailable(harness.now);
    assert!(harness.pipeline.is_settled());
}
