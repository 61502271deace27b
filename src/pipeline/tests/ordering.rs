//! The order of records with the same key, through everything that can happen to them.

use super::packing::{packed, packing};
use super::placing::{HALF, halves, map, per_shard, placed, shard};
use super::*;

fn ordered(settings: Settings) -> Settings {
    Settings { ordering: Ordering::PerKey, ..settings }
}

/// Payloads of all entries.
fn sent(request: &PutRecordsRequest) -> Vec<String> {
    packed(request).concat()
}

impl Bench {
    fn ordered(keys_and_data: &[(&'static str, &'static str)]) -> Self {
        let mut bench = Self::new(ordered(settings()));
        keys_and_data.iter().for_each(|record| bench.send(*record));
        bench.pipeline.close();
        bench
    }

    /// Nothing of any key is under way or waits.
    fn is_free(&self) -> bool {
        self.pipeline.is_settled() && self.pipeline.strands.is_empty()
    }
}

#[test]
fn a_key_has_one_record_under_way_and_a_request_many_keys() {
    let mut bench = Bench::ordered(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")]);
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["1", "2", "4"]);
    assert_eq!(bench.cut_reason(), None);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (2, 3));
    bench.deliver(id, &request);
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["3", "5"]);
    bench.deliver(id, &request);
    assert!(bench.is_free());
}

#[test]
fn records_without_a_key_do_not_wait_for_each_other() {
    let mut bench = Bench::new(ordered(settings()));
    (0..3).for_each(|_| bench.send("data"));
    let managed = || Record::from("data").with_partition_key(PartitionKey::ServiceManaged);
    (0..3).for_each(|_| bench.send(managed()));
    bench.pipeline.close();
    assert_eq!(bench.cut().1.entries().len(), 6);
}

#[test]
fn what_failed_goes_before_what_was_accepted_later() {
    for code in [THROTTLE, "InternalFailure", "NeverHeardOf", "IncompleteResult"] {
        let mut bench = Bench::ordered(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]);
        let (id, _) = bench.cut();
        bench.settle(id, vec![failed(code), delivered()]);
        let mut requests = Vec::new();
        while !bench.pipeline.is_settled() {
            match bench.pipeline.cut(bench.now) {
                Some((id, request, _)) => {
                    requests.extend(texts(&request));
                    bench.deliver(id, &request);
                }
                None => drop(bench.sleep()),
            }
        }
        let place = |data| requests.iter().position(|sent| sent == data);
        assert!(place("1") < place("3"), "{code}: {requests:?}");
        assert_eq!(requests.len(), 3, "{code}");
        assert!(bench.is_free());
    }
}

#[test]
fn of_a_request_with_an_unknown_outcome_the_same_records_go_again() {
    let mut bench = Bench::ordered(&[("a", "1"), ("b", "2"), ("a", "3")]);
    let (id, _) = bench.cut();
    bench.fail(id, "InternalFailure");
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["1", "2"]);
    bench.deliver(id, &request);
    assert_eq!(texts(&bench.cut().1), ["3"]);
}

#[test]
fn a_record_that_fails_for_good_lets_the_next_go() {
    // Rejected.
    let mut bench = Bench::ordered(&[("a", "1"), ("a", "2")]);
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed("InvalidArgumentException")]);
    assert_eq!(texts(&bench.cut().1), ["2"]);
    // In a request that was refused.
    let mut bench = Bench::ordered(&[("a", "1"), ("a", "2")]);
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    bench.sleep();
    assert_eq!(texts(&bench.cut().1), ["2"]);
    // Out of attempts.
    let settings = Settings { max_attempts: Some(1), ..ordered(settings()) };
    let mut bench = Bench::new(settings);
    [("a", "1"), ("a", "2")].into_iter().for_each(|record| bench.send(record));
    bench.pipeline.close();
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed(THROTTLE)]);
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["2"]);
    bench.fail(id, "InternalFailure");
    assert!(bench.is_free());
    assert_eq!(bench.pipeline.take_failed().len(), 2);
}

#[test]
fn deadlines_pass_for_those_that_wait_behind_others_too() {
    let deadline = Duration::from_secs(1);
    let settings = Settings { deadline: Some(deadline), ..ordered(settings()) };
    let mut bench = Bench::new(settings);
    [("a", "1"), ("a", "2"), ("b", "3")].into_iter().for_each(|record| bench.send(record));
    bench.pipeline.close();
    let (id, request) = bench.cut();
    assert_eq!(bench.sleep(), deadline);
    bench.pipeline.expire(bench.now);
    assert_eq!(bench.pipeline.take_failed().len(), 1, "the one that waits for the other");
    bench.deliver(id, &request);
    assert!(bench.is_free());
    // One that waits to be sent again lets the next of its key go.
    let settings = Settings { deadline: Some(deadline), ..ordered(super::settings()) };
    let mut bench = Bench::new(settings);
    bench.send(("a", "1"));
    bench.now += deadline / 2;
    bench.send(("a", "2"));
    bench.now += deadline / 2;
    bench.pipeline.expire(bench.now);
    bench.pipeline.close();
    assert_eq!(texts(&bench.cut().1), ["2"]);
}

#[test]
fn what_comes_while_a_key_is_under_way_gathers_in_its_next_aggregate() {
    let mut bench = Bench::new(ordered(packing(Aggregation::PerKey)));
    ["1", "2"].into_iter().for_each(|data| bench.send(("a", data)));
    bench.now += Duration::from_millis(100);
    let (first, request) = bench.cut();
    assert_eq!(packed(&request), [["1", "2"]]);
    for data in ["3", "4", "5"] {
        bench.send(("a", data));
        bench.now += Duration::from_millis(100);
        assert_eq!(bench.cut_reason(), None, "its linger is over, and its turn has not come");
    }
    bench.send(("b", "6"));
    bench.now += Duration::from_millis(100);
    let (other, request) = bench.cut();
    assert_eq!(packed(&request), [["6"]], "another key does not wait for it");
    bench.settle(other, vec![delivered()]);
    bench.settle(first, vec![failed(THROTTLE)]);
    bench.send(("a", "7"));
    bench.sleep();
    let (first, request) = bench.cut();
    assert_eq!(packed(&request), [["1", "2"]], "as it was");
    bench.settle(first, vec![delivered()]);
    assert_eq!(packed(&bench.cut().1), [["3", "4", "5", "7"]]);
}

#[test]
fn full_aggregates_of_a_key_go_one_after_the_other() {
    let mut settings = ordered(packing(Aggregation::PerKey));
    settings.packing.max_records = 2;
    let mut bench = Bench::new(settings);
    for data in ["1", "2", "3", "4", "5"] {
        bench.send(("a", data));
    }
    bench.pipeline.close();
    for expected in [vec!["1", "2"], vec!["3", "4"], vec!["5"]] {
        let (id, request) = bench.cut();
        assert_eq!(packed(&request), [expected]);
        assert_eq!(bench.cut_reason(), None);
        bench.settle(id, vec![delivered()]);
    }
    assert!(bench.is_free());
}

#[test]
fn the_halves_of_a_refused_aggregate_go_one_after_the_other() {
    for by_entry in [false, true] {
        let mut bench = Bench::new(ordered(packing(Aggregation::PerKey)));
        for data in ["1", "2", "bad", "4", "5"] {
            bench.send(("a", data));
        }
        bench.pipeline.close();
        let mut delivered_in_order = Vec::new();
        while !bench.pipeline.is_settled() {
            let Some((id, request, _)) = bench.pipeline.cut(bench.now) else {
                bench.sleep();
                continue;
            };
            assert_eq!(request.entries().len(), 1, "one at a time");
            let data = sent(&request);
            match (data.iter().any(|data| data == "bad"), by_entry) {
                (true, true) => bench.settle(id, vec![failed("InvalidArgumentException")]),
                (true, false) => bench.fail(id, "ValidationException"),
                (false, _) => {
                    delivered_in_order.extend(data);
                    bench.settle(id, vec![delivered()]);
                }
            }
        }
        assert_eq!(delivered_in_order, ["1", "2", "4", "5"]);
        assert_eq!(bench.pipeline.take_failed().len(), 1);
        assert!(bench.is_free());
    }
}

#[test]
fn refused_halves_precede_later_records() {
    for by_entry in [false, true] {
        let mut settings = ordered(packing(Aggregation::PerKey));
        settings.packing.max_records = 4;
        let mut bench = Bench::new(settings);
        for data in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            bench.send(("a", data));
        }
        bench.pipeline.close();
        // The first aggregate is refused, its second half, too, while two others of its key wait.
        let mut read = Vec::new();
        let mut refusals = 0;
        while !bench.pipeline.is_settled() {
            let Some((id, request, _)) = bench.pipeline.cut(bench.now) else {
                bench.sleep();
                continue;
            };
            let data = sent(&request);
            if data.len() > 1 && data.contains(&"4".to_owned()) {
                refusals += 1;
                match by_entry {
                    true => bench.settle(id, vec![failed("InvalidArgumentException")]),
                    false => bench.fail(id, "ValidationException"),
                }
            } else {
                read.extend(data);
                bench.settle(id, vec![delivered()]);
            }
        }
        assert_eq!((read, refusals), (numbers(1..10), 2), "by entry: {by_entry}");
        assert!(bench.is_free());
    }
}

#[test]
fn distrusted_list_requeues_unverified() {
    let mut settings = ordered(per_shard());
    settings.limits = settings.limits.with_request_entries(1);
    let mut bench = Bench::new(settings);
    let shards = [
        shard("lower", 0, HALF - 1),
        shard("upper", HALF, u128::MAX - 1),
        shard("last", u128::MAX, u128::MAX),
    ];
    assert!(bench.lists());
    bench.pipeline.listed(map(&shards), bench.now);
    ["a", "h", "b", "d"].into_iter().for_each(|key| bench.keyed(key));
    let (lower, request) = bench.closing();
    assert_eq!(packed(&request), [["a", "h"]]);
    bench.settle(lower, vec![placed("last")]);
    bench.until_listing();
    bench.pipeline.listed(map(&shards), bench.now);
    let (lower, request) = bench.next();
    assert_eq!(packed(&request), [["a", "h"]], "once more by the list");
    let (upper, request) = bench.next();
    assert_eq!(packed(&request), [["b", "d"]]);
    // This one waits for a list that has the shard.
    bench.settle(upper, vec![placed("unknown")]);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (0, 4));
    // From now on no list is believed for a minute, so no list can answer for it.
    bench.settle(lower, vec![placed("last")]);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (4, 0));
    let since = bench.now;
    while !bench.pipeline.is_settled() {
        let (id, request) = bench.next();
        let is_lower = ["a", "h"].contains(&sent(&request)[0].as_str());
        bench.settle(id, vec![placed(if is_lower { "lower" } else { "upper" })]);
    }
    assert!(bench.now - since < Duration::from_secs(1));
    assert_eq!(bench.pipeline.totals().delivered, 4);
}

#[test]
fn after_a_reshard_what_is_in_flight_is_settled_before_anything_later_goes() {
    let mut bench = Bench::new(ordered(per_shard()));
    assert!(bench.lists());
    bench.pipeline.listed(map(&[shard("s0", 0, u128::MAX)]), bench.now);
    let keyed = |bench: &mut Bench, data: [&'static str; 2]| {
        bench.send(("a", data[0]));
        bench.send(("b", data[1]));
    };
    keyed(&mut bench, ["a1", "b1"]);
    bench.now += Duration::from_millis(100);
    let (id, request) = bench.cut();
    assert_eq!(packed(&request), [["a1", "b1"]]);
    keyed(&mut bench, ["a2", "b2"]);
    bench.pipeline.listed(map(&halves()), bench.now);
    keyed(&mut bench, ["a3", "b3"]);
    bench.pipeline.close();
    assert_eq!(bench.cut_reason(), None, "what comes back goes first");
    bench.settle(id, vec![failed(THROTTLE)]);
    assert_eq!(packed(&bench.cut().1), [["a1", "a2", "a3"], ["b1", "b2", "b3"]]);
}

#[test]
fn a_list_that_is_always_wrong_is_not_believed_for_a_minute() {
    let mut bench = Bench::new(ordered(per_shard()));
    assert!(bench.lists());
    bench.pipeline.listed(map(&[shard("s0", 0, u128::MAX)]), bench.now);
    for data in ["1", "2"] {
        ["a", "b"].into_iter().for_each(|key| bench.send((key, data)));
    }
    bench.pipeline.close();
    // The stream has two shards, whatever the list says.
    let mut aggregates = 0;
    let begun = bench.now;
    while !bench.pipeline.is_settled() && aggregates < 10 {
        if bench.lists() {
            bench.pipeline.listed(map(&[shard("lower", 0, HALF - 1)]), bench.now);
        }
        let Some((id, request, _)) = bench.pipeline.cut(bench.now) else {
            bench.sleep();
            continue;
        };
        aggregates += request.entries().len();
        let misled = request.entries().iter().map(|_| placed("lower"));
        bench.settle(id, misled.collect());
    }
    assert!(bench.pipeline.is_settled(), "{aggregates} aggregates");
    assert!(bench.now - begun < Duration::from_secs(60), "what goes by its own key needs no list");
    assert!(bench.is_free());
}

/// Aggregates of a key were misplaced twice, and the list is believed: their records must not part from those of
/// the same key that come later.
#[test]
fn records_misplaced_by_key_stay_in_one_strand() {
    let mut bench = Bench::new(ordered(per_shard()));
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    ["a", "h", "a", "h"].into_iter().for_each(|key| bench.keyed(key));
    let (id, _) = bench.closing();
    bench.settle(id, vec![placed("new")]);
    bench.fail_listings(1);
    let (id, request) = bench.cut();
    assert_eq!(packed(&request), [["a", "a"], ["h", "h"]]);
    bench.settle(id, vec![placed("new"), placed("new")]);
    bench.until_listing();
    bench.pipeline.listed(map(&halves()), bench.now);
    bench.late("a");
    let (_, request) = bench.cut();
    assert_eq!(packed(&request), [["a", "h", "a", "h", "a"]]);
}

#[test]
fn while_the_list_is_not_believed_unlisted_shards_take_aggregates_of_a_key() {
    let mut bench = Bench::new(ordered(per_shard()));
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    bench.pipeline.shards.mistrust(bench.now);
    ["a", "a"].into_iter().for_each(|key| bench.keyed(key));
    let (id, request) = bench.closing();
    assert_eq!(packed(&request), [["a", "a"]]);
    bench.settle(id, vec![placed("new")]);
    assert!(bench.pipeline.is_settled());
}

#[test]
fn what_is_taken_back_holds_nobody_up() {
    let mut bench = Bench::new(ordered(settings()));
    [("a", "1"), ("a", "2"), ("b", "3")].into_iter().for_each(|record| bench.send(record));
    bench.pipeline.flush();
    let (id, request) = bench.cut();
    let taken = bench.pipeline.take_undelivered();
    let taken: Vec<_> = taken.iter().map(|one| text(one.record())).collect();
    assert_eq!(taken, ["1", "2", "3"]);
    bench.deliver(id, &request);
    bench.send(("a", "4"));
    bench.pipeline.flush();
    assert_eq!(texts(&bench.cut().1), ["4"]);
}

#[test]
fn a_key_with_and_without_hash_keys_keeps_its_order_in_a_shard() {
    for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
        let mut bench = Bench::new(ordered(packing(aggregation)));
        if bench.lists() {
            let all = shard("shardId-000000000000", 0, u128::MAX);
            bench.pipeline.listed(map(&[all]), bench.now);
        }
        for n in 0..9_usize {
            let record = Record::from(("k", n.to_string()));
            bench.send(if n % 3 < 2 { record.with_explicit_hash_key(5_u128) } else { record });
        }
        bench.pipeline.close();
        let mut read = Vec::new();
        while !bench.pipeline.is_settled() {
            let (id, request) = bench.cut();
            read.extend(sent(&request));
            bench.deliver(id, &request);
        }
        assert_eq!(read, numbers(0..9), "{aggregation:?}");
    }
}

#[test]
fn a_key_that_is_always_under_way_leaves_nothing_behind() {
    let mut settings = ordered(packing(Aggregation::PerKey));
    settings.packing.max_records = 4;
    settings.linger = Linger::SelfClocked(Duration::ZERO);
    let mut bench = Bench::new(settings);
    let four = |bench: &mut Bench| {
        (0..2).for_each(|_| bench.send(("k", "data")));
        bench.pipeline.flush();
        assert_eq!(bench.cut_reason(), None, "held");
        (0..2).for_each(|_| bench.send(("k", "data")));
    };
    (0..4).for_each(|_| bench.send(("k", "data")));
    let mut under_way = bench.cut();
    for _ in 0..1_000 {
        four(&mut bench);
        bench.deliver(under_way.0, &under_way.1);
        under_way = bench.cut();
    }
    bench.deliver(under_way.0, &under_way.1);
    assert!(bench.is_free() && bench.pipeline.packer.keeps_nothing());
}
