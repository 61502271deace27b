//! Answers that name shards which partition keys rule out: the stream may have been switched to AUTO.

use super::packing::packed;
use super::placing::{HALF, halves, map, per_shard, placed, shard};
use super::*;
use crate::stream::StreamMode;

fn per_key() -> Settings {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    Settings { packing, lists_shards: true, ..per_shard() }
}

fn still_by_key() -> Option<StreamDescription> {
    Some(StreamDescription::default())
}

impl Bench {
    /// A pipeline whose stream can be described, and was.
    fn described(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.pipeline.hold(Awaited { description: true, shards: false });
        bench.pipeline.described(still_by_key(), bench.now);
        bench
    }

    /// One that knows its shards as well, and has sent an aggregate of "a", which belongs into the lower
    /// half, and one of "b", which belongs into the upper one.
    fn sent(settings: Settings) -> (Self, RequestId) {
        let mut bench = Self::described(settings);
        assert!(bench.lists());
        bench.pipeline.listed(map(&halves()), bench.now);
        ["a", "b", "a", "b"].into_iter().for_each(|key| bench.keyed(key));
        let (id, request) = bench.closing();
        assert_eq!(packed(&request), [["a", "a"], ["b", "b"]]);
        (bench, id)
    }

    fn is_asking(&self) -> bool {
        self.pipeline.may_describe(self.now)
    }

    fn refuse_auto(&mut self) {
        self.pipeline.refuse_distribution("AUTO".into(), self.now);
        assert!(self.pipeline.take_fatal().is_some());
    }
}

#[test]
fn contradiction_holds_aggregates_until_described() {
    for settings in [per_key(), per_shard()] {
        let (mut bench, id) = Bench::sent(settings);
        assert!(!bench.is_asking());
        bench.settle(id, vec![placed("upper"), placed("upper")]);
        assert!(bench.is_asking());
        assert_eq!(bench.pipeline.totals().delivered, 2, "the list proves the place of b");
        assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (0, 2));
        assert_eq!(bench.undelivered(), ["a", "a"]);
        assert!(!bench.pipeline.is_settled());
        bench.pipeline.described(still_by_key(), bench.now);
        assert!(!bench.is_asking());
        assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (2, 0));
        assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.totals().misplaced), (2, 1));
    }
}

#[test]
fn auto_requeues_unverified_aggregates() {
    for settings in [per_key(), per_shard()] {
        let (mut bench, first) = Bench::sent(settings);
        ["a", "b", "a", "b"].into_iter().for_each(|key| bench.late(key));
        let (second, _) = bench.cut();
        bench.settle(first, vec![placed("upper"), placed("upper")]);
        bench.refuse_auto();
        assert!(bench.pipeline.is_on_hold());
        assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (2, 4));
        // A later answer counts only if the list proves the shard.
        bench.settle(second, vec![placed("new"), placed("upper")]);
        assert_eq!(bench.pipeline.totals().delivered, 4);
        assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (4, 0));
        assert!(bench.pipeline.due(bench.now).is_none());
        let taken = bench.pipeline.take_undelivered();
        assert_eq!(taken.len(), 4);
        assert!(taken.iter().all(Undelivered::may_be_written));
    }
}

#[test]
fn sink_resumes_once_described_by_key() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.settle(id, vec![placed("upper"), placed("upper")]);
    bench.refuse_auto();
    while !bench.is_asking() {
        bench.sleep();
    }
    bench.pipeline.described(still_by_key(), bench.now);
    let (id, request) = bench.next();
    assert_eq!(packed(&request), [["a", "a"]]);
    bench.settle(id, vec![placed("lower")]);
    assert!(bench.pipeline.is_settled());
}

#[test]
fn denied_description_defers_to_list() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.settle(id, vec![placed("upper"), placed("upper")]);
    bench.pipeline.not_described_again(false, bench.now);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (2, 0));
}

#[test]
fn five_failed_descriptions_release_aggregates() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.settle(id, vec![placed("upper"), placed("upper")]);
    for call in 1..=5 {
        while !bench.is_asking() {
            bench.sleep();
        }
        assert_eq!(bench.pipeline.in_flight(), 2, "{call}");
        bench.pipeline.not_described_again(true, bench.now);
    }
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (2, 0));
}

#[test]
fn per_key_aggregate_waits_for_unlisted_shard() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.settle(id, vec![placed("lower"), placed("new-upper")]);
    assert!(!bench.is_asking(), "a reshard explains it");
    assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.in_flight()), (2, 2));
    bench.until_listing();
    let listed = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    bench.pipeline.listed(map(&listed), bench.now);
    assert!(bench.pipeline.is_settled());
    assert_eq!(bench.pipeline.totals().misplaced, 0);
}

#[test]
fn held_aggregate_keeps_its_key_waiting() {
    let (mut bench, id) = Bench::sent(Settings { ordering: Ordering::PerKey, ..per_key() });
    bench.settle(id, vec![placed("lower"), placed("new-upper")]);
    ["a", "b", "b"].into_iter().for_each(|key| bench.late(key));
    assert_eq!(packed(&bench.cut().1), [["a"]]);
    assert_eq!(bench.cut_reason(), None);
    bench.fail_listings(5);
    assert_eq!(packed(&bench.next().1), [["b", "b"]]);
}

#[test]
fn five_failed_listings_release_per_key_aggregates() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.settle(id, vec![placed("lower"), placed("new-upper")]);
    bench.fail_listings(4);
    assert_eq!(bench.pipeline.in_flight(), 2);
    bench.fail_listings(1);
    assert!(bench.pipeline.is_settled());
    assert_eq!(bench.pipeline.totals().delivered, 4);
}

#[test]
fn provisioned_stream_waits_for_one_listing() {
    let (mut bench, id) = Bench::sent(per_key());
    let provisioned = StreamDescription::default().with_mode(StreamMode::Provisioned);
    bench.pipeline.described(Some(provisioned), bench.now);
    bench.settle(id, vec![placed("lower"), placed("new-upper")]);
    bench.fail_listings(1);
    assert_eq!(bench.pipeline.totals().delivered, 4);
}

#[test]
fn failing_stream_holds_aggregates_until_listed() {
    let (mut bench, id) = Bench::sent(per_key());
    bench.late("a");
    let (other, _) = bench.cut();
    bench.settle(id, vec![placed("lower"), placed("new-upper")]);
    bench.fail(other, "ExpiredTokenException");
    bench.fail_listings(10);
    assert_eq!(bench.pipeline.in_flight(), 2);
    let (id, _) = bench.next();
    bench.settle(id, vec![placed("lower")]);
    assert!(bench.lists(), "the service answers again");
    let listed = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    bench.pipeline.listed(map(&listed), bench.now);
    assert!(bench.pipeline.is_settled());
    assert_eq!(bench.pipeline.totals().misplaced, 0);
}

/// Neither a list that never comes nor a description that hangs holds a record beyond its deadline.
#[test]
fn held_aggregate_expires_at_its_deadline() {
    for ordering in [Ordering::Unordered, Ordering::PerKey] {
        for answers in [["lower", "new-upper"], ["upper", "upper"]] {
            let deadline = Some(Duration::from_secs(30));
            let (mut bench, id) = Bench::sent(Settings { ordering, deadline, ..per_key() });
            let began = bench.now;
            bench.late("a");
            bench.settle(id, answers.map(placed).to_vec());
            assert_eq!(bench.pipeline.in_flight(), 2);
            while !bench.pipeline.is_settled() {
                bench.sleep();
                bench.pipeline.expire(bench.now);
                if bench.lists() {
                    bench.pipeline.listed(None, bench.now);
                }
                if let Some((id, _, _)) = bench.pipeline.cut(bench.now) {
                    bench.fail(id, "InternalFailure");
                }
            }
            assert_eq!(bench.now - began, Duration::from_secs(30), "{answers:?}");
            let failed = bench.pipeline.take_failed();
            assert_eq!(failed.len(), 3);
            let written = failed.iter().filter(|one| one.may_be_written()).count();
            assert!(written >= 2, "the two of the aggregate");
            assert!(bench.pipeline.strands.is_empty());
        }
    }
}

/// Without a listing, what lies in an unlisted shard is sent again if the list rules out the shard of another
/// aggregate, whether that was known before or after.
#[test]
fn contradiction_taints_unlisted_shards() {
    for answers in [[["new", "lower"], ["lower", "upper"]], [["upper", "new"], ["lower", "upper"]]]
    {
        let (mut bench, first) = Bench::sent(per_key());
        ["a", "b", "a", "b"].into_iter().for_each(|key| bench.late(key));
        let (second, _) = bench.cut();
        for (id, [a, b]) in [first, second].into_iter().zip(answers) {
            bench.settle(id, vec![placed(a), placed(b)]);
        }
        bench.pipeline.described(still_by_key(), bench.now);
        bench.fail_listings(1);
        assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (4, 0));
        assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.totals().misplaced), (4, 2));
    }
}

#[test]
fn contradiction_taints_aggregates_held_before() {
    let (mut bench, first) = Bench::sent(per_key());
    ["a", "b", "a", "b"].into_iter().for_each(|key| bench.late(key));
    let (second, _) = bench.cut();
    bench.settle(first, vec![placed("new"), placed("upper")]);
    bench.settle(second, vec![placed("upper"), placed("upper")]);
    bench.pipeline.described(still_by_key(), bench.now);
    bench.fail_listings(1);
    assert_eq!((bench.pipeline.waiting(), bench.pipeline.in_flight()), (4, 0));
}

/// A payload like an aggregate is never sent plain, so it cannot be sent alone in the end like other records.
#[test]
fn record_in_shard_no_list_names_counts_after_three_copies() {
    for ordering in [Ordering::Unordered, Ordering::PerKey] {
        let mut bench = Bench::described(Settings { ordering, ..per_key() });
        assert!(bench.lists());
        bench.pipeline.listed(map(&halves()), bench.now);
        bench.send(("b", b"\xf3\x89\x9a\xc2".to_vec()));
        bench.pipeline.close();
        let mut copies = 0;
        while !bench.pipeline.is_settled() {
            let (id, _) = bench.next();
            bench.settle(id, vec![placed("new")]);
            copies += 1;
            assert!(copies <= 3);
            bench.until_listing();
            bench.pipeline.listed(map(&halves()), bench.now);
        }
        assert_eq!((copies, bench.pipeline.totals().delivered), (3, 1));
    }
}

#[test]
fn twice_misplaced_record_is_sent_alone() {
    for settings in [per_key(), Settings { ordering: Ordering::PerKey, ..per_key() }] {
        // Without a describer.
        let mut bench = Bench::new(settings);
        assert!(bench.lists());
        bench.pipeline.listed(map(&halves()), bench.now);
        ["a", "a"].into_iter().for_each(|key| bench.keyed(key));
        bench.pipeline.close();
        for _ in 0..2 {
            let (id, request) = bench.next();
            assert_eq!(packed(&request), [["a", "a"]]);
            bench.settle(id, vec![placed("upper")]);
        }
        while !bench.pipeline.is_settled() {
            let (id, request) = bench.next();
            assert!(packed(&request).iter().all(|members| members.len() == 1));
            bench.settle(id, request.entries().iter().map(|_| placed("upper")).collect());
        }
        assert_eq!(bench.pipeline.totals().delivered, 2);
        assert!(bench.pipeline.strands.is_empty());
    }
}

#[test]
fn repeated_contradictions_back_off() {
    let mut bench = Bench::described(Settings { ordering: Ordering::PerKey, ..settings() });
    bench.pipeline.shards =
        Shards::new(&Settings { lists_shards: true, ordering: Ordering::PerKey, ..settings() });
    assert!(bench.lists());
    bench.pipeline.listed(map(&halves()), bench.now);
    bench.pipeline.close();
    let (mut asked, begun) = (0, bench.now);
    while bench.now - begun < Duration::from_secs(600) {
        bench.late("a");
        let (id, _) = bench.cut();
        bench.settle(id, vec![placed("upper")]);
        if bench.is_asking() {
            asked += 1;
            bench.pipeline.described(still_by_key(), bench.now);
        }
        bench.now += ROUND_TRIP;
    }
    assert!((10..60).contains(&asked), "{asked}");
}

/// An ordered pipeline that learns its shards from the answers.
fn learning(mode: StreamMode) -> Bench {
    let mut bench = Bench::described(Settings { ordering: Ordering::PerKey, ..settings() });
    bench.pipeline.hold(Awaited { description: true, shards: false });
    let description = StreamDescription::default().with_mode(mode);
    bench.pipeline.described(Some(description), bench.now);
    bench.pipeline.close();
    bench
}

impl Bench {
    /// Sends a record of each of these keys, in one request each.
    fn each<const N: usize>(&mut self, keys: [&'static str; N]) -> [RequestId; N] {
        keys.map(|key| {
            self.late(key);
            self.cut().0
        })
    }

    fn placed(&mut self, key: &'static str, shard: &str) {
        let [id] = self.each([key]);
        self.settle(id, vec![placed(shard)]);
    }
}

#[test]
fn retired_shard_in_answer_requests_description() {
    for mode in [StreamMode::OnDemand, StreamMode::Provisioned] {
        let mut bench = learning(mode);
        for (key, shard) in [("a", "lower"), ("b", "upper"), ("h", "lower")] {
            bench.placed(key, shard);
        }
        bench.placed("a", "upper");
        assert!(!bench.is_asking(), "a merge explains it");
        bench.placed("h", "lower");
        assert!(bench.is_asking(), "that is closed since the merge");
    }
}

#[test]
fn late_answer_of_closed_shard_raises_no_doubt() {
    let mut bench = learning(StreamMode::OnDemand);
    bench.placed("a", "lower");
    bench.placed("b", "upper");
    // Both are merged while requests are in flight, whose answers come in another order.
    let [first, second, third] = bench.each(["h", "c", "d"]);
    bench.settle(second, vec![placed("merged")]);
    bench.settle(third, vec![placed("merged")]);
    bench.settle(first, vec![placed("lower")]);
    bench.placed("a", "merged");
    bench.placed("b", "merged");
    bench.placed("h", "merged");
    assert!(!bench.is_asking());
}
