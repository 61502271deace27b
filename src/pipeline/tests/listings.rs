//! When the shards are listed again, and what holds meanwhile.

use super::packing::packed;
use super::placing::{HALF, halves, keys_of, map, per_shard, placed, shard};
use super::*;
use crate::service::Entry;
use crate::shard::hash_of;

/// Two aggregates of two, each for a request of its own.
fn in_pairs(keys: [&'static str; 4]) -> Bench {
    let mut settings = per_shard();
    settings.packing.max_records = 2;
    settings.limits = settings.limits.with_request_entries(1);
    let mut bench = Bench::new(settings);
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    keys.into_iter().for_each(|key| bench.keyed(key));
    bench
}

#[test]
fn a_stream_that_was_made_anew_has_old_ids_for_other_ranges() {
    let mut bench = Bench::knowing(&[shard("s0", 0, u128::MAX)], &["a", "b"]);
    let (id, _) = bench.closing();
    let anew = [shard("s0", 0, HALF - 1), shard("s1", HALF, u128::MAX)];
    bench.pipeline.listed(map(&anew), bench.now);
    bench.settle(id, vec![placed("s0")]);
    assert_eq!(bench.pipeline.totals().delivered, 0, "the newest list says that b is not in s0");
    assert_eq!(packed(&bench.next().1), [vec!["a"], vec!["b"]]);
}

#[test]
fn of_a_stream_that_is_gone_no_shard_is_known() {
    let mut bench = Bench::knowing(&[shard("s0", 0, u128::MAX)], &["a", "b"]);
    let (id, request) = bench.closing();
    assert_eq!(request.entries().len(), 1);
    bench.fail(id, "ResourceNotFoundException");
    assert!(bench.pipeline.take_fatal().is_some());
    assert_eq!(packed(&bench.next().1), [vec!["a"], vec!["b"]]);
    bench.until_listing();
}

#[test]
fn what_was_refused_is_not_sent_against_a_newer_list() {
    for by_entry in [false, true] {
        let mut bench = Bench::knowing(&[shard("s0", 0, u128::MAX)], &["a", "b", "h", "d"]);
        let (id, _) = bench.closing();
        bench.pipeline.listed(map(&halves()), bench.now);
        match by_entry {
            true => bench.settle(id, vec![failed("InvalidArgumentException")]),
            false => bench.fail(id, "ValidationException"),
        }
        let mut sent = Vec::new();
        while !bench.pipeline.is_settled() {
            let (id, request) = bench.next();
            sent.extend(packed(&request));
            let places = request.entries().iter().map(|entry| {
                let hash = hash_of(entry.partition_key().unwrap()).get();
                placed(if hash < HALF { "lower" } else { "upper" })
            });
            bench.settle(id, places.collect());
        }
        let safe = |keys: &Vec<String>| {
            keys.iter().all(|key| (hash_of(key).get() < HALF) == (hash_of(&keys[0]).get() < HALF))
        };
        assert!(sent.iter().all(safe), "{sent:?}");
    }
    // Those that were suspects already, too.
    let mut settings = per_shard();
    settings.packing.max_records = 2;
    let mut bench = Bench::new(settings);
    assert!(bench.lists());
    bench.pipeline.listed(map(&[shard("s0", 0, u128::MAX)]), bench.now);
    ["a", "b", "h", "d"].into_iter().for_each(|key| bench.keyed(key));
    let (id, request) = bench.closing();
    assert_eq!(request.entries().len(), 2);
    bench.fail(id, "ValidationException");
    bench.pipeline.listed(map(&halves()), bench.now);
    assert_eq!(packed(&bench.next().1), [vec!["a", "h"], vec!["b", "d"]]);
}

#[test]
fn a_part_of_an_aggregate_is_judged_like_the_whole() {
    // A half of a refused one, and the rest of one that lost a member to its deadline.
    for expired in [false, true] {
        let mut settings = per_shard();
        settings.deadline = Some(Duration::from_secs(10));
        let mut bench = Bench::new(settings);
        assert!(bench.lists());
        bench.pipeline.listed(map(&halves()), bench.now);
        bench.keyed("c");
        bench.now += Duration::from_secs(5);
        ["h", "a", "c"].into_iter().for_each(|key| bench.keyed(key));
        let (id, _) = bench.closing();
        match expired {
            true => {
                bench.now += Duration::from_secs(5);
                bench.settle(id, vec![failed("InternalFailure")]);
                bench.pipeline.expire(bench.now);
                assert_eq!(bench.pipeline.take_failed().len(), 1);
            }
            false => bench.settle(id, vec![failed("InvalidArgumentException")]),
        }
        let (id, request) = bench.next();
        bench.settle(id, request.entries().iter().map(|_| placed("upper")).collect());
        assert_eq!(bench.pipeline.totals().delivered, 0, "{:?}", packed(&request));
    }
}

#[test]
fn landing_in_the_wrong_shard_is_an_attempt_and_is_told() {
    let mut settings = per_shard();
    settings.max_attempts = Some(1);
    let mut bench = Bench::new(settings.clone());
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    ["a", "h"].into_iter().for_each(|key| bench.keyed(key));
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("upper")]);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.take_failed().len()), (0, 2));

    settings.max_attempts = Some(2);
    let mut bench = Bench::new(settings);
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    let (record, receipt) = Record::from(("a", "a")).tracked();
    bench.pipeline.accept(record, bench.now).unwrap();
    bench.keyed("h");
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("upper")]);
    assert_eq!(bench.pipeline.totals().misplaced, 1);
    let (id, request) = bench.next();
    bench.settle(id, request.entries().iter().map(|_| failed("InternalFailure")).collect());
    bench.pipeline.offer_failed(None);
    assert!(bench.pipeline.is_settled());
    let undelivered = futures::FutureExt::now_or_never(receipt).unwrap().unwrap_err();
    assert!(undelivered.may_be_written());
    let codes: Vec<_> = undelivered.history().iter().map(|one| one.error().code()).collect();
    assert_eq!(codes, ["Misplaced", "InternalFailure"]);
}

#[test]
fn a_listing_that_began_before_the_reshard_does_not_judge_it() {
    let mut bench = in_pairs(["b", "d", "a", "h"]);
    let (first, _) = bench.closing();
    let (second, _) = bench.cut();
    bench.settle(first, vec![placed("new-upper")]);
    bench.until_listing();
    let early = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    // Meanwhile both are merged, and the second one lies in what came of it.
    bench.settle(second, vec![placed("merged")]);
    assert!(!bench.pipeline.listing_is_due(bench.now), "one call at a time");
    bench.pipeline.listed(map(&early), bench.now);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (0, 2), "not sent again");
    assert_eq!(bench.pipeline.totals().delivered, 2, "what it knows of the first one holds");
    bench.until_listing();
    bench.pipeline.listed(map(&[shard("merged", 0, u128::MAX)]), bench.now);
    assert!(bench.pipeline.is_settled());
    assert_eq!(bench.pipeline.totals().requeued, 0);
}

#[test]
fn after_two_reshards_somebody_still_asks_where_an_aggregate_lies() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let (id, _) = bench.closing();
    // The prediction is gone from the list already, and what was listed is gone as well.
    bench.pipeline.listed(map(&[shard("one", 0, u128::MAX)]), bench.now);
    bench.settle(id, vec![placed("two")]);
    bench.until_listing();
    bench.pipeline.listed(map(&[shard("two", 0, u128::MAX)]), bench.now);
    assert!(bench.pipeline.is_settled());
}

#[test]
fn an_answer_as_predicted_holds_though_the_shard_was_forgotten_since() {
    let mut bench = in_pairs(["a", "h", "c", "a"]);
    let (first, _) = bench.closing();
    let (second, _) = bench.cut();
    bench.settle(first, vec![placed("new")]);
    bench.settle(second, vec![placed("lower")]);
    assert_eq!(bench.pipeline.totals().delivered, 2);
}

#[test]
fn a_known_shard_that_was_not_predicted_makes_the_list_doubtful_too() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("upper")]);
    bench.until_listing();
}

#[test]
fn a_later_listing_that_fails_leaves_nothing_predicted() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("new")]);
    bench.until_listing();
    bench.pipeline.listed(None, bench.now);
    ["b", "d"].into_iter().for_each(|key| bench.late(key));
    let mut sent = packed(&bench.next().1);
    sent.sort();
    assert_eq!(sent, [vec!["a"], vec!["b"], vec!["d"], vec!["h"]]);
}

#[test]
fn a_merge_leaves_a_failed_aggregate_as_it_is() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let (id, request) = bench.closing();
    bench.pipeline.listed(map(&[shard("merged", 0, u128::MAX)]), bench.now);
    bench.settle(id, vec![failed(THROTTLE)]);
    let (id, again) = bench.next();
    let at = |request: &PutRecordsRequest| request.entries()[0].data().as_ptr();
    assert_eq!(at(&request), at(&again));
    bench.settle(id, vec![placed("merged")]);
    assert!(bench.pipeline.is_settled(), "it is predicted anew");
}

#[test]
fn a_list_that_is_always_wrong_is_asked_for_less_and_less_often() {
    let mut bench = Bench::knowing(&halves(), &[]);
    let begun = bench.now;
    for _ in 0..30 {
        ["a", "h"].into_iter().for_each(|key| bench.late(key));
        bench.pipeline.close();
        while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            bench.settle(id, request.entries().iter().map(|_| placed("elsewhere")).collect());
        }
        bench.until_listing();
        bench.pipeline.listed(map(&halves()), bench.now);
    }
    assert!(bench.now - begun > Duration::from_secs(25), "{:?}", bench.now - begun);
}

#[test]
fn a_list_that_is_wrong_about_one_shard_only_is_asked_for_as_seldom() {
    let mut bench = Bench::knowing(&halves(), &[]);
    bench.pipeline.close();
    let (mut listings, begun) = (0, bench.now);
    while bench.now - begun < Duration::from_secs(50) {
        ["a", "h", "b", "d"].into_iter().for_each(|key| bench.late(key));
        while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            let place = |entry: &Entry| {
                let hash = hash_of(entry.partition_key().unwrap()).get();
                placed(if hash < HALF { "elsewhere" } else { "upper" })
            };
            bench.settle(id, request.entries().iter().map(place).collect());
        }
        if bench.lists() {
            listings += 1;
            bench.pipeline.listed(map(&halves()), bench.now);
        }
        bench.now += ROUND_TRIP;
    }
    assert!((5..50).contains(&listings), "{listings}");
}

#[test]
fn predictions_that_held_for_a_minute_are_trusted_as_before() {
    let mut bench = Bench::knowing(&halves(), &[]);
    let mut waits = Vec::new();
    for round in 0..12 {
        for shard in ["lower", "elsewhere"] {
            ["a", "h"].iter().for_each(|key| bench.keyed(key));
            bench.pipeline.flush();
            bench.now += Duration::from_millis(100);
            let (id, request) = bench.next();
            bench.settle(id, request.entries().iter().map(|_| placed(shard)).collect());
        }
        let begun = bench.now;
        bench.until_listing();
        waits.push(bench.now - begun);
        bench.pipeline.listed(map(&halves()), bench.now);
        while bench.pipeline.waiting() > 0 {
            let (id, request) = bench.next();
            bench.settle(id, request.entries().iter().map(|_| placed("lower")).collect());
        }
        bench.now += Duration::from_secs(if round < 8 { 1 } else { 61 });
    }
    assert!(waits[..9].iter().any(|wait| *wait > Duration::from_secs(1)), "{waits:?}");
    assert!(waits[9..].iter().all(|wait| *wait <= Duration::from_millis(100)), "{waits:?}");
}

#[test]
fn a_listing_that_began_before_a_contradiction_predicts_nothing() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("new")]);
    bench.until_listing();
    ["b", "d"].into_iter().for_each(|key| bench.late(key));
    let (id, _) = bench.cut();
    bench.settle(id, vec![placed("new-upper")]);
    ["e", "b"].into_iter().for_each(|key| bench.late(key));
    bench.pipeline.listed(map(&halves()), bench.now);
    assert_eq!(packed(&bench.next().1), [vec!["e"], vec!["b"]]);
    bench.until_listing();
}

#[test]
fn a_listing_of_a_stream_that_is_gone_counts_for_nothing() {
    for known in [true, false] {
        let mut bench = Bench::new(per_shard());
        assert!(bench.lists());
        if known {
            bench.pipeline.listed(map(&halves()), bench.now);
            ["a", "h"].iter().for_each(|key| bench.keyed(key));
            let (id, _) = bench.closing();
            bench.settle(id, vec![placed("new")]);
            bench.until_listing();
        }
        bench.pipeline.refuse(service_error("ResourceNotFoundException"), bench.now);
        assert!(bench.pipeline.take_fatal().is_some());
        bench.pipeline.listed(map(&halves()), bench.now);
        ["c", "h"].into_iter().for_each(|key| bench.late(key));
        bench.pipeline.close();
        assert!(packed(&bench.next().1).iter().all(|members| members.len() == 1));
        bench.until_listing();
    }
}

#[test]
fn what_waits_is_parted_too_when_the_stream_is_gone() {
    let mut settings = per_shard();
    settings.packing.max_records = 2;
    settings.limits = settings.limits.with_request_entries(1);
    settings.max_in_flight = 1;
    let mut bench = Bench::new(settings);
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    ["a", "h", "b", "d"].into_iter().for_each(|key| bench.keyed(key));
    let (id, _) = bench.closing();
    bench.fail(id, "ResourceNotFoundException");
    assert!(bench.pipeline.take_fatal().is_some());
    for key in ["a", "h", "b", "d"] {
        let (id, request) = bench.next();
        assert_eq!(packed(&request), [vec![key]]);
        bench.settle(id, vec![placed("anew")]);
    }
}

#[test]
fn nobody_waits_for_long_to_hear_where_an_aggregate_lies() {
    // Listing has failed for so long that it is tried once a minute; then it works again.
    let mut bench = Bench::new(per_shard());
    for _ in 0..15 {
        bench.until_listing();
        bench.pipeline.listed(None, bench.now);
    }
    bench.until_listing();
    bench.pipeline.listed(map(&halves()), bench.now);
    ["a", "h"].iter().for_each(|key| bench.keyed(key));
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("new")]);
    let begun = bench.now;
    bench.until_listing();
    assert!(bench.now - begun <= Duration::from_millis(100), "{:?}", bench.now - begun);
    // While it fails, what lies nowhere known is sent again without waiting.
    ["b", "d"].into_iter().for_each(|key| bench.late(key));
    let (id, _) = bench.cut();
    bench.pipeline.listed(None, bench.now);
    bench.settle(id, vec![placed("new-upper")]);
    assert_eq!(bench.pipeline.in_flight(), 0);
    assert_eq!(bench.pipeline.waiting(), 4);
}

#[test]
fn an_old_answer_says_nothing_of_a_new_shard_with_the_same_id() {
    let mut bench = Bench::knowing(&[shard("lower", 0, u128::MAX)], &["a", "b"]);
    let (id, _) = bench.closing();
    bench.pipeline.listed(map(&halves()), bench.now);
    bench.settle(id, vec![placed("upper")]);
    assert!(!bench.pipeline.listing_is_due(bench.now + Duration::from_secs(60)));
    ["h", "c"].into_iter().for_each(|key| bench.late(key));
    assert!(packed(&bench.next().1).contains(&vec!["a".to_owned(), "h".into(), "c".into()]));
}

#[test]
fn records_of_all_kinds_find_their_own() {
    let mut bench = Bench::knowing(&halves(), &["a", "h"]);
    let managed = Record::from("managed").with_partition_key(PartitionKey::ServiceManaged);
    bench.send(managed.clone().with_explicit_hash_key(1_u128));
    bench.send(managed);
    bench.send("keyless");
    bench.send("keyless, too");
    bench.send(Record::from("placed").with_explicit_hash_key(2_u128));
    bench.send(Record::from("placed, too").with_explicit_hash_key(3_u128));
    let (_, request) = bench.closing();
    let expected: [&[&str]; 5] = [
        &["a", "h"],
        &["managed"],
        &["managed"],
        &["keyless", "keyless, too"],
        &["placed", "placed, too"],
    ];
    assert_eq!(packed(&request), expected);
    let keys = keys_of(&request.entries()[3]);
    assert_eq!(keys[0], keys[1], "one random key for both");
    let keys = keys_of(&request.entries()[4]);
    assert_ne!(keys[0], keys[1], "their hash keys place them, so they need no common key");
}
