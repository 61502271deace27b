//! Responses with shards that do not match the partition keys, as on a stream that was switched to AUTO.

use super::aggregation::payloads;
use super::verify::{HALF, halves, map, per_shard, placed, shard};
use super::*;
use crate::stream::StreamMode;

fn per_key() -> Settings {
    Settings { aggregation: Aggregation::PerKey, ..per_shard() }
}

fn still_by_key() -> Option<StreamDescription> {
    Some(StreamDescription::default())
}

impl Harness {
    /// Creates a pipeline with a described stream. The pipeline can list shards if it aggregates.
    fn described(settings: Settings) -> Self {
        if settings.is_aggregating() {
            return Self::described_and_listing(settings);
        }
        Self::new(settings).describe()
    }

    fn described_and_listing(settings: Settings) -> Self {
        Self::listing(settings).describe()
    }

    fn describe(mut self) -> Self {
        let harness = &mut self;
        harness.pipeline.topology_mut().require(Prerequisites { description: true, shards: false });
        harness.pipeline.apply_description(still_by_key(), harness.now);
        self
    }

    /// Creates a pipeline with a described stream and listed shards. It has sent an aggregate of "a", which belongs to
    /// the lower shard, and an aggregate of "b", which belongs to the upper shard.
    fn sent(settings: Settings) -> (Self, RequestId) {
        let mut harness = Self::described(settings);
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(&halves()), harness.now);
        harness.accept_keys(&["a", "b", "a", "b"]);
        let (id, request) = harness.close_and_send();
        assert_eq!(payloads(&request), [["a", "a"], ["b", "b"]]);
        (harness, id)
    }

    fn description_is_due(&self) -> bool {
        self.pipeline.description_is_due(self.now)
    }

    fn refuse_auto(&mut self) {
        self.pipeline.reject_stream("AUTO".into(), self.now);
        assert!(self.pipeline.health_mut().take_fatal().is_some());
    }
}

#[test]
fn contradiction_waits_for_description() {
    for settings in [per_key(), per_shard()] {
        let (mut harness, id) = Harness::sent(settings);
        assert!(!harness.description_is_due());
        harness.settle(id, vec![placed("upper"), placed("upper")]);
        assert!(harness.description_is_due());
        assert_eq!(
            harness.pipeline.ledger().totals().delivered,
            2,
            "the list confirms the shard of b"
        );
        assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (0, 2));
        assert_eq!(harness.undelivered(), ["a", "a"]);
        assert!(!harness.pipeline.is_settled());
        harness.pipeline.apply_description(still_by_key(), harness.now);
        assert!(!harness.description_is_due());
        assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 0));
        assert_eq!(
            (
                harness.pipeline.ledger().totals().delivered,
                harness.pipeline.ledger().totals().misplaced
            ),
            (2, 1)
        );
    }
}

#[test]
fn switch_to_auto_requeues_aggregates() {
    for settings in [per_key(), per_shard()] {
        let (mut harness, first) = Harness::sent(settings);
        harness.admit_keys(&["a", "b", "a", "b"]);
        let (second, _) = harness.send();
        harness.settle(first, vec![placed("upper"), placed("upper")]);
        harness.refuse_auto();
        assert!(!harness.pipeline.topology().is_ready());
        assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 4));
        // After the switch, a delivery counts only if the list confirms the shard.
        harness.settle(second, vec![placed("new"), placed("upper")]);
        assert_eq!(harness.pipeline.ledger().totals().delivered, 4);
        assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (4, 0));
        assert!(!harness.pipeline.wants_to_send(harness.now));
        let taken = harness.pipeline.take_undelivered();
        assert_eq!(taken.len(), 4);
        assert!(taken.iter().all(Undelivered::may_have_been_written));
    }
}

#[test]
fn sink_resumes_once_described_by_key() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.settle(id, vec![placed("upper"), placed("upper")]);
    harness.refuse_auto();
    while !harness.description_is_due() {
        harness.sleep();
    }
    harness.pipeline.apply_description(still_by_key(), harness.now);
    let (id, request) = harness.next();
    assert_eq!(payloads(&request), [["a", "a"]]);
    harness.settle(id, vec![placed("lower")]);
    assert!(harness.pipeline.is_settled());
}

#[test]
fn denied_description_requeues_aggregate() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.settle(id, vec![placed("upper"), placed("upper")]);
    harness.pipeline.fail_description(false, harness.now);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 0));
}

#[test]
fn failed_descriptions_requeue_aggregates() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.settle(id, vec![placed("upper"), placed("upper")]);
    for call in 1..=5 {
        while !harness.description_is_due() {
            harness.sleep();
        }
        assert_eq!(harness.pipeline.in_flight(), 2, "{call}");
        harness.pipeline.fail_description(true, harness.now);
    }
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (2, 0));
}

#[test]
fn per_key_aggregate_waits_for_listing_of_shard() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.settle(id, vec![placed("lower"), placed("new-upper")]);
    assert!(!harness.description_is_due(), "a reshard explains the new shard");
    assert_eq!(
        (harness.pipeline.ledger().totals().delivered, harness.pipeline.in_flight()),
        (2, 2)
    );
    harness.until_listing();
    let listed = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    harness.pipeline.apply_list(map(&listed), harness.now);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().misplaced, 0);
}

#[test]
fn unverified_aggregate_blocks_its_key() {
    let (mut harness, id) =
        Harness::sent(Settings { ordering: RecordOrdering::PerKey, ..per_key() });
    harness.settle(id, vec![placed("lower"), placed("new-upper")]);
    harness.admit_keys(&["a", "b", "b"]);
    assert_eq!(payloads(&harness.send().1), [["a"]]);
    assert_eq!(harness.send_reason(), None);
    harness.fail_listings(5);
    assert_eq!(payloads(&harness.next().1), [["b", "b"]]);
}

#[test]
fn failed_listings_release_per_key_aggregates() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.settle(id, vec![placed("lower"), placed("new-upper")]);
    harness.fail_listings(4);
    assert_eq!(harness.pipeline.in_flight(), 2);
    harness.fail_listings(1);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().delivered, 4);
}

#[test]
fn provisioned_stream_waits_for_one_listing() {
    let (mut harness, id) = Harness::sent(per_key());
    let provisioned = StreamDescription::default().with_mode(StreamMode::Provisioned);
    harness.pipeline.apply_description(Some(provisioned), harness.now);
    harness.settle(id, vec![placed("lower"), placed("new-upper")]);
    harness.fail_listings(1);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 4);
}

#[test]
fn outage_keeps_aggregates_until_listed() {
    let (mut harness, id) = Harness::sent(per_key());
    harness.admit_key("a");
    let (other, _) = harness.send();
    harness.settle(id, vec![placed("lower"), placed("new-upper")]);
    harness.fail(other, "ExpiredTokenException");
    harness.fail_listings(10);
    assert_eq!(harness.pipeline.in_flight(), 2);
    let (id, _) = harness.next();
    harness.settle(id, vec![placed("lower")]);
    assert!(harness.begin_listing(), "the outage is over");
    let listed = [halves()[0].clone(), shard("new-upper", HALF, u128::MAX)];
    harness.pipeline.apply_list(map(&listed), harness.now);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().misplaced, 0);
}

/// Deadlines also apply while an aggregate waits for a listing or a description.
#[test]
fn unverified_aggregate_expires_at_deadline() {
    for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
        for answers in [["lower", "new-upper"], ["upper", "upper"]] {
            let deadline = Some(Duration::from_secs(30));
            let (mut harness, id) = Harness::sent(Settings { ordering, deadline, ..per_key() });
            let started_at = harness.now;
            harness.admit_key("a");
            harness.settle(id, answers.map(placed).to_vec());
            assert_eq!(harness.pipeline.in_flight(), 2);
            while !harness.pipeline.is_settled() {
                harness.sleep();
                harness.pipeline.advance(harness.now);
                if harness.begin_listing() {
                    harness.pipeline.apply_list(None, harness.now);
                }
                if let Some((id, _, _)) = harness.pipeline.next_request(harness.now) {
                    harness.fail(id, "InternalFailure");
                }
            }
            assert_eq!(harness.now - started_at, Duration::from_secs(30), "{answers:?}");
            let failed = harness.pipeline.take_failed();
            assert_eq!(failed.len(), 3);
            let written = failed.iter().filter(|one| one.may_have_been_written()).count();
            assert!(written >= 2, "both members may have been written");
            assert!(harness.pipeline.backlog.has_no_state());
        }
    }
}

/// If a response contradicts the list, aggregates in unlisted shards are requeued when the next listing fails. This
/// applies to aggregates sent before and after the contradiction.
#[test]
fn contradiction_requeues_unlisted_aggregates() {
    for answers in [[["new", "lower"], ["lower", "upper"]], [["upper", "new"], ["lower", "upper"]]]
    {
        let (mut harness, first) = Harness::sent(per_key());
        harness.admit_keys(&["a", "b", "a", "b"]);
        let (second, _) = harness.send();
        for (id, [a, b]) in [first, second].into_iter().zip(answers) {
            harness.settle(id, vec![placed(a), placed(b)]);
        }
        harness.pipeline.apply_description(still_by_key(), harness.now);
        harness.fail_listings(1);
        assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (4, 0));
        assert_eq!(
            (
                harness.pipeline.ledger().totals().delivered,
                harness.pipeline.ledger().totals().misplaced
            ),
            (4, 2)
        );
    }
}

#[test]
fn contradiction_requeues_earlier_aggregates() {
    let (mut harness, first) = Harness::sent(per_key());
    harness.admit_keys(&["a", "b", "a", "b"]);
    let (second, _) = harness.send();
    harness.settle(first, vec![placed("new"), placed("upper")]);
    harness.settle(second, vec![placed("upper"), placed("upper")]);
    harness.pipeline.apply_description(still_by_key(), harness.now);
    harness.fail_listings(1);
    assert_eq!((harness.pipeline.queued(), harness.pipeline.in_flight()), (4, 0));
}

/// An aggregate-like payload is always wrapped, so the fallback to plain records does not apply.
#[test]
fn unlisted_shard_is_accepted_after_three_copies() {
    for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
        let mut harness = Harness::described(Settings { ordering, ..per_key() });
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(&halves()), harness.now);
        harness.push(("b", b"\xf3\x89\x9a\xc2".to_vec()));
        harness.pipeline.close();
        let mut copies = 0;
        while !harness.pipeline.is_settled() {
            let (id, _) = harness.next();
            harness.settle(id, vec![placed("new")]);
            copies += 1;
            assert!(copies <= 3);
            harness.until_listing();
            harness.pipeline.apply_list(map(&halves()), harness.now);
        }
        assert_eq!((copies, harness.pipeline.ledger().totals().delivered), (3, 1));
    }
}

#[test]
fn twice_misplaced_record_is_sent_alone() {
    for settings in [per_key(), Settings { ordering: RecordOrdering::PerKey, ..per_key() }] {
        // The stream cannot be described.
        let mut harness = Harness::listing(settings);
        assert!(harness.begin_listing());
        harness.pipeline.apply_list(map(&halves()), harness.now);
        harness.accept_keys(&["a", "a"]);
        harness.pipeline.close();
        for _ in 0..2 {
            let (id, request) = harness.next();
            assert_eq!(payloads(&request), [["a", "a"]]);
            harness.settle(id, vec![placed("upper")]);
        }
        while !harness.pipeline.is_settled() {
            let (id, request) = harness.next();
            assert!(payloads(&request).iter().all(|members| members.len() == 1));
            harness.settle(id, request.entries().iter().map(|_| placed("upper")).collect());
        }
        assert_eq!(harness.pipeline.ledger().totals().delivered, 2);
        assert!(harness.pipeline.backlog.has_no_state());
    }
}

#[test]
fn repeated_contradictions_back_off() {
    let settings = Settings { ordering: RecordOrdering::PerKey, ..settings() };
    let mut harness = Harness::described_and_listing(settings);
    assert!(harness.begin_listing());
    harness.pipeline.apply_list(map(&halves()), harness.now);
    harness.pipeline.close();
    let begun = harness.now;
    let mut descriptions = 0;
    while harness.now - begun < Duration::from_secs(600) {
        harness.admit_key("a");
        let (id, _) = harness.send();
        harness.settle(id, vec![placed("upper")]);
        if harness.description_is_due() {
            descriptions += 1;
            harness.pipeline.apply_description(still_by_key(), harness.now);
        }
        harness.now += ROUND_TRIP;
    }
    assert!((10..60).contains(&descriptions), "{descriptions}");
}

/// Creates an ordered pipeline that learns its shards from responses.
fn learning(mode: StreamMode) -> Harness {
    let mut harness =
        Harness::described(Settings { ordering: RecordOrdering::PerKey, ..settings() });
    harness.pipeline.topology_mut().require(Prerequisites { description: true, shards: false });
    let description = StreamDescription::default().with_mode(mode);
    harness.pipeline.apply_description(Some(description), harness.now);
    harness.pipeline.close();
    harness
}

impl Harness {
    /// Sends one request per key. Each request contains one record.
    fn each<const N: usize>(&mut self, keys: [&'static str; N]) -> [RequestId; N] {
        keys.map(|key| {
            self.admit_key(key);
            self.send().0
        })
    }

    fn placed(&mut self, key: &'static str, shard: &str) {
        let [id] = self.each([key]);
        self.settle(id, vec![placed(shard)]);
    }
}

#[test]
fn retired_shard_requests_description() {
    for mode in [StreamMode::OnDemand, StreamMode::Provisioned] {
        let mut harness = learning(mode);
        for (key, shard) in [("a", "lower"), ("b", "upper"), ("h", "lower")] {
            harness.placed(key, shard);
        }
        harness.placed("a", "upper");
        assert!(!harness.description_is_due(), "a merge explains the response");
        harness.placed("h", "lower");
        assert!(harness.description_is_due(), "the shard is closed since the merge");
    }
}

#[test]
fn late_response_requests_no_description() {
    let mut harness = learning(StreamMode::OnDemand);
    harness.placed("a", "lower");
    harness.placed("b", "upper");
    // Both shards are merged while requests are in flight, and the responses arrive out of order.
    let [first, second, third] = harness.each(["h", "c", "d"]);
    harness.settle(second, vec![placed("merged")]);
    harness.settle(third, vec![placed("merged")]);
    harness.settle(first, vec![placed("lower")]);
    harness.placed("a", "merged");
    harness.placed("b", "merged");
    harness.placed("h", "merged");
    assert!(!harness.description_is_due());
}
