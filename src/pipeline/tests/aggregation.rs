//! Record aggregation, and how aggregates are sent, retried, and settled.

use bytes::Bytes;
use futures::FutureExt;

use super::model_stream::hash_of_member;
use super::*;
use crate::aggregate::{self, Member};
use crate::limits::Limits;
use crate::record::{HashKey, PartitionKey};
use crate::service::Entry;

pub(super) fn aggregating(aggregation: Aggregation) -> Settings {
    Settings { aggregation, linger: Linger::Fixed(Duration::from_millis(100)), ..settings() }
}

pub(super) fn members(entry: &Entry) -> Vec<Member> {
    aggregate::deaggregate(entry.data()).collect()
}

fn entry_payloads(entry: &Entry) -> Vec<String> {
    members(entry).iter().map(|one| String::from_utf8(one.data().to_vec()).unwrap()).collect()
}

/// Returns the payloads of each entry.
pub(super) fn payloads(request: &PutRecordsRequest) -> Vec<Vec<String>> {
    request.entries().iter().map(entry_payloads).collect()
}

impl Harness {
    pub(super) fn push(&mut self, record: impl Into<Record>) {
        self.pipeline.accept(record.into(), self.now).unwrap();
    }

    pub(super) fn push_all<R: Into<Record>>(&mut self, records: impl IntoIterator<Item = R>) {
        for record in records {
            self.push(record);
        }
    }

    /// Closes the pipeline and returns its next request.
    pub(super) fn closing_request(&mut self) -> PutRecordsRequest {
        self.pipeline.close();
        self.send().1
    }
}

#[test]
fn equal_keys_share_aggregate() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    harness.push(("a", "1"));
    harness.push(("b", "2"));
    harness.push(("a", "3"));
    harness.push(Record::from(("a", "4")).with_explicit_hash_key(7_u128));
    harness.push(Record::from(("a", "5")).with_explicit_hash_key(7_u128));
    harness.push(Record::from("6").with_partition_key(PartitionKey::ServiceManaged));
    harness.push(Record::from("7").with_partition_key(PartitionKey::ServiceManaged));
    let request = harness.closing_request();
    let expected: [&[&str]; 5] = [&["1", "3"], &["2"], &["4", "5"], &["6"], &["7"]];
    assert_eq!(payloads(&request), expected);
    let [together, alone, placed, managed, _] = request.entries() else { panic!("five entries") };
    assert_eq!(together.partition_key().unwrap().as_str(), "a");
    assert_eq!(alone.data(), "2", "a single record is sent plain");
    assert_eq!(alone.partition_key().unwrap().as_str(), "b");
    assert_eq!(placed.explicit_hash_key(), Some(HashKey::new(7)));
    assert!(members(placed).iter().all(|one| one.explicit_hash_key() == Some(HashKey::new(7))));
    assert_eq!(managed.partition_key(), None);
}

#[test]
fn keyless_records_share_random_key() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    harness.accept(0..1);
    harness.push_all(["1", "2", "3"]);
    let request = harness.closing_request();
    assert_eq!(payloads(&request), [vec!["0"], vec!["1", "2", "3"]]);
    let entry = &request.entries()[1];
    let key = entry.partition_key().unwrap();
    assert_eq!(key.len(), 8);
    assert!(members(entry).iter().all(|one| one.partition_key() == Some(key)));
}

#[test]
fn kpl_key_uses_hash_of_first_member() {
    let aggregate_key = AggregateKey::Kpl;
    let mut harness = Harness::new(Settings { aggregate_key, ..aggregating(Aggregation::PerKey) });
    harness.push(("b", "1"));
    harness.push(("b", "2"));
    harness.push(("c", "3"));
    let request = harness.closing_request();
    let entry = &request.entries()[0];
    assert_eq!(entry.partition_key().unwrap().as_str(), "a");
    assert_eq!(entry.explicit_hash_key().unwrap(), crate::shard::hash_of("b"));
    assert_eq!(hash_of_member(&members(entry)[0]), entry.explicit_hash_key().unwrap());
    assert_eq!(
        request.entries()[1].partition_key().unwrap().as_str(),
        "c",
        "a single record is sent plain"
    );
}

#[test]
fn full_aggregate_is_sent_when_idle() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_records = 10;
    let mut harness = Harness::new(settings);
    harness.accept(0..4);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), None, "the aggregate is filling");
    harness.accept(4..13);
    harness.pipeline.flush();
    let (id, request, reason) = harness.pipeline.next_request(harness.now).unwrap();
    assert_eq!((reason, request.entries().len()), (FlushReason::Idle, 1));
    assert_eq!(members(&request.entries()[0]).len(), 10);
    harness.accept(13..20);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), None, "a request is in flight");
    harness.deliver(id, &request);
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 1)));
    assert_eq!(harness.pipeline.queued(), 0);
}

#[test]
fn linger_flush_takes_entries_past_half_linger() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    for key in ["old", "middle", "young"] {
        harness.push((key, "1"));
        harness.now += Duration::from_millis(33);
    }
    assert_eq!(harness.sleep(), Duration::from_millis(1));
    let (_, request, reason) = harness.pipeline.next_request(harness.now).unwrap();
    assert_eq!(reason, FlushReason::Linger);
    let keys: Vec<_> =
        request.entries().iter().map(|e| e.partition_key().unwrap().as_str()).collect();
    assert_eq!(keys, ["old", "middle"]);
    assert_eq!(harness.sleep(), Duration::from_millis(66));
    assert_eq!(harness.send_reason(), Some((FlushReason::Linger, 1)));
}

#[test]
fn busy_keys_do_not_starve_slow_key() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_records = 2;
    settings.limits = Limits::default().with_request_entries(3);
    settings.max_in_flight = 1;
    let mut harness = Harness::new(settings);
    harness.push(("slow", "slow"));
    for millis in (0..=100).step_by(20) {
        for _ in 0..8 {
            harness.push(("busy", "busy"));
        }
        let (id, request, reason) = harness.pipeline.next_request(harness.now).unwrap();
        assert_eq!(reason, FlushReason::Full);
        let first = entry_payloads(&request.entries()[0]).remove(0);
        assert_eq!(first, if millis < 100 { "busy" } else { "slow" });
        harness.deliver(id, &request);
        harness.now += Duration::from_millis(20);
    }
}

#[test]
fn backpressure_sends_open_aggregate() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.buffer_records = Some(5);
    let mut harness = Harness::new(settings.clone());
    harness.accept(0..5);
    assert_eq!(harness.send_reason(), Some((FlushReason::Backpressure, 1)));
    settings.linger = Linger::Adaptive(Duration::from_millis(100));
    let mut harness = Harness::new(settings);
    harness.accept(0..3);
    assert_eq!(harness.send_reason(), None);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 1)));
}

#[test]
fn throttled_aggregate_is_resent_unchanged() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    harness.accept(0..5);
    harness.pipeline.close();
    let (id, request) = harness.send();
    harness.settle(id, vec![failed(THROTTLE)]);
    assert_eq!(harness.pipeline.ledger().totals().throttled, 1);
    assert_eq!(harness.pipeline.ledger().totals().requeued, 5);
    assert_eq!(harness.undelivered(), numbers(0..5));
    harness.sleep();
    let (id, again) = harness.send();
    let (first, second) = (&request.entries()[0], &again.entries()[0]);
    assert_eq!(first.data().as_ptr(), second.data().as_ptr(), "the aggregate is not encoded again");
    harness.deliver(id, &again);
    assert!(harness.pipeline.is_settled());
    assert_eq!(harness.pipeline.ledger().totals().entries, 1);
    assert_eq!(harness.pipeline.ledger().totals().entry_bytes, second.size() as u64);
}

#[test]
fn throttled_aggregate_redraws_random_key() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    harness.push_all(["1", "2"]);
    harness.pipeline.close();
    let (id, request) = harness.send();
    harness.settle(id, vec![failed(THROTTLE)]);
    harness.sleep();
    let (_, again) = harness.send();
    let (first, second) = (&request.entries()[0], &again.entries()[0]);
    assert_ne!(first.partition_key(), second.partition_key());
    assert_eq!(first.size(), second.size());
    assert_eq!(entry_payloads(second), ["1", "2"]);
    assert!(members(second).iter().all(|one| one.partition_key() == second.partition_key()));
}

#[test]
fn payloads_share_memory_of_aggregate() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    let payload = Bytes::from(vec![b'x'; 1_000]);
    let at = payload.as_ptr();
    harness.push(("k", payload));
    harness.push(("k", "2"));
    assert_eq!(harness.pipeline.undelivered()[0].data().as_ptr(), at);
    let request = harness.closing_request();
    let written = request.entries()[0].data().as_ptr_range();
    for record in harness.pipeline.undelivered() {
        assert!(written.contains(&record.data().as_ptr()), "the payload is not in the aggregate");
    }
    let taken = harness.pipeline.take_undelivered();
    assert_eq!(taken[0].record(), &Record::from(("k", vec![b'x'; 1_000])));
    assert_eq!(taken[1].record(), &Record::from(("k", "2")));
}

#[test]
fn bisection_of_rejected_aggregate_backs_off() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    harness.accept(0..500);
    harness.pipeline.close();
    let begun = harness.now;
    let mut requests = 0;
    while !harness.pipeline.is_settled() {
        let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
            harness.sleep();
            continue;
        };
        requests += 1;
        let refused = || failed("InvalidArgumentException");
        harness.settle(id, request.entries().iter().map(|_| refused()).collect());
    }
    assert_eq!(harness.pipeline.take_failed().len(), 500);
    // Each request contains both halves of every previously rejected aggregate.
    assert!(requests <= 11, "{requests}");
    assert!(harness.now - begun > Duration::from_millis(250), "{:?}", harness.now - begun);
}

#[test]
fn record_above_target_skips_linger() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_bytes = 100;
    let mut harness = Harness::new(settings);
    harness.push(("k", vec![b'x'; 150]));
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 1)));
}

#[test]
fn request_summary_counts_records_and_entries() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    for key in ["a", "a", "a", "b", "b"] {
        harness.push((key, "data"));
    }
    harness.pipeline.close();
    let (id, request) = harness.send();
    harness.settle(id, vec![delivered(), failed(THROTTLE)]);
    let summary = harness.pipeline.ledger().last_request().unwrap();
    assert_eq!((summary.records, summary.entries, summary.delivered), (5, 2, 3));
    assert_eq!(summary.bytes, request.bytes());
    assert_eq!(summary.errors[0].count, 1, "errors are counted per entry");
    harness.now += Duration::from_secs(1);
    let (id, _) = harness.send();
    harness.fail(id, "InternalFailure");
    let summary = harness.pipeline.ledger().last_request().unwrap();
    assert_eq!((summary.records, summary.entries, summary.delivered), (2, 1, 0));
    assert_eq!(summary.errors[0].count, 1);
}

#[test]
fn bisected_entries_stay_ordered_on_expiry() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.deadline = Some(Duration::from_secs(10));
    let mut harness = Harness::new(settings);
    harness.push(("a", "0"));
    harness.now += Duration::from_secs(1);
    harness.push(("b", "1"));
    let flushed = harness.pipeline.ledger().next_seq();
    for key in ["a", "c", "d", "e", "f"] {
        harness.push((key, "later"));
    }
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    assert_eq!(harness.pipeline.ledger().totals().requeued, 7);
    harness.now += Duration::from_secs(9);
    harness.pipeline.advance(harness.now);
    assert_eq!(harness.pipeline.ledger().failed().records, 1);
    assert!(harness.pipeline.oldest_unsettled() < flushed, "the flush does not wait for record 1");
    harness.now += Duration::from_secs(1);
    harness.pipeline.advance(harness.now);
    assert!(harness.pipeline.oldest_unsettled() >= flushed, "record 1 has not expired");
}

#[test]
fn failed_record_releases_aggregate_memory() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.max_attempts = Some(1);
    let mut harness = Harness::new(settings);
    harness.accept(0..100);
    harness.pipeline.close();
    let (id, request) = harness.send();
    let aggregate = request.entries()[0].data().as_ptr_range();
    harness.fail(id, "InternalFailure");
    for failed in harness.pipeline.take_failed() {
        assert!(!aggregate.contains(&failed.record().data().as_ptr()));
    }
}

#[test]
fn rejected_aggregate_fails_only_bad_record() {
    for rejects_entry in [true, false] {
        let mut harness = Harness::new(aggregating(Aggregation::PerKey));
        harness.accept(0..20);
        harness.pipeline.close();
        let mut requests = 0;
        while !harness.pipeline.is_settled() {
            let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
                harness.sleep();
                continue;
            };
            requests += 1;
            let bad = |entry: &Entry| entry_payloads(entry).contains(&"13".to_owned());
            let result = |entry| {
                if bad(entry) { failed("InvalidArgumentException") } else { delivered() }
            };
            if rejects_entry || !request.entries().iter().any(bad) {
                harness.settle(id, request.entries().iter().map(result).collect());
            } else {
                harness.fail(id, "ValidationException");
            }
        }
        let failed = harness.pipeline.take_failed();
        assert_eq!(failed.iter().map(|one| text(one.record())).collect::<Vec<_>>(), ["13"]);
        assert_eq!(failed[0].attempts(), 1, "a rejection of several records is no attempt");
        assert_eq!(harness.pipeline.ledger().totals().delivered, 19);
        assert!(requests < 12, "{requests}");
    }
}

#[test]
fn deadline_and_attempts_apply_per_record() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.deadline = Some(Duration::from_millis(50));
    let mut harness = Harness::new(settings);
    harness.accept(0..3);
    harness.now += Duration::from_millis(30);
    harness.accept(3..5);
    harness.now += Duration::from_millis(20);
    harness.pipeline.advance(harness.now);
    let failed = harness.pipeline.take_failed();
    assert_eq!(failed.iter().map(|one| text(one.record())).collect::<Vec<_>>(), numbers(0..3));
    harness.pipeline.close();
    let (id, request) = harness.send();
    assert_eq!(payloads(&request), [numbers(3..5)]);
    harness.settle(id, vec![self::failed("InternalFailure")]);
    harness.now += Duration::from_millis(30);
    harness.pipeline.advance(harness.now);
    assert!(harness.pipeline.is_settled(), "a closed aggregate has not expired");
    assert_eq!(harness.pipeline.take_failed().len(), 2);

    let mut settings = aggregating(Aggregation::PerKey);
    settings.max_attempts = Some(2);
    let mut harness = Harness::new(settings);
    harness.accept(0..3);
    harness.pipeline.close();
    for _ in 0..2 {
        let (id, _) = harness.send();
        harness.settle(id, vec![self::failed("InternalFailure")]);
        harness.now += Duration::from_secs(1);
    }
    assert_eq!(harness.pipeline.take_failed().len(), 3);
    assert!(harness.pipeline.is_settled());
}

#[test]
fn receipt_returns_sub_sequence_number() {
    let mut harness = Harness::new(aggregating(Aggregation::PerKey));
    let mut receipts = Vec::new();
    for key in ["a", "a", "b", "a"] {
        let (record, receipt) = Record::from((key, "data")).tracked();
        harness.push(record);
        receipts.push(receipt);
    }
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.settle(id, vec![Ok(Placement::new("s", "7")), Ok(Placement::new("s", "8"))]);
    harness.pipeline.settlement_mut().notify();
    let numbers: Vec<_> = receipts
        .into_iter()
        .map(|receipt| {
            let delivery = receipt.now_or_never().unwrap().unwrap();
            (delivery.sequence_number().to_owned(), delivery.sub_sequence_number())
        })
        .collect();
    let at = |number: &str, index| (number.to_owned(), index);
    assert_eq!(numbers, [at("7", Some(0)), at("7", Some(1)), at("8", None), at("7", Some(2))]);
}

const MAGIC: &[u8] = b"\xf3\x89\x9a\xc2";

/// Returns a payload that starts with the magic number of aggregates but is not an aggregate.
fn aggregate_like(bytes: usize) -> Vec<u8> {
    [MAGIC, &vec![b'x'; bytes - MAGIC.len()]].concat()
}

#[test]
fn aggregate_like_payload_is_wrapped() {
    let whole =
        aggregate::encode(&[Member::new("k", "1"), Member::new("k", "2")]).unwrap().to_vec();
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        for payload in [MAGIC.to_vec(), aggregate_like(100), whole.clone()] {
            let mut harness = Harness::new(aggregating(aggregation));
            // A failed listing disables verification.
            if harness.begin_listing() {
                harness.pipeline.apply_list(None, harness.now);
            }
            let (record, receipt) = Record::from(("k", payload.clone())).tracked();
            harness.push(record);
            harness.push(Record::from(payload.clone()));
            let placed = Record::from(("j", payload.clone())).with_explicit_hash_key(7_u128);
            harness.push(placed);
            harness.pipeline.close();
            let (id, request) = harness.send();
            assert_eq!(request.entries().len(), 3);
            for entry in request.entries() {
                let [member] = &members(entry)[..] else { panic!("an aggregate of one") };
                assert_eq!(*member.data(), payload);
                assert_eq!(member.sub_sequence_number(), Some(0));
                assert_eq!(member.partition_key(), entry.partition_key());
                assert_eq!(member.explicit_hash_key(), entry.explicit_hash_key());
            }
            harness.deliver(id, &request);
            harness.pipeline.settlement_mut().notify();
            let delivery = receipt.now_or_never().unwrap().unwrap();
            assert_eq!(delivery.sub_sequence_number(), Some(0));
        }
    }
    let mut harness = Harness::new(settings());
    harness.push(("k", aggregate_like(100)));
    let request = harness.closing_request();
    assert_eq!(
        request.entries()[0].data(),
        &aggregate_like(100),
        "the payload was wrapped without aggregation"
    );
}

#[test]
fn aggregate_like_payload_is_wrapped_on_retry() {
    let deadline = Some(Duration::from_secs(3_600));
    let mut harness = Harness::new(Settings { deadline, ..aggregating(Aggregation::PerKey) });
    harness.push(("k", "1"));
    harness.push(("k", aggregate_like(100)));
    harness.push(("k", "3"));
    harness.pipeline.close();
    let (id, request) = harness.send();
    assert_eq!(members(&request.entries()[0]).len(), 3);
    // The halves are the first record and an aggregate of the other two.
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(request.entries().len(), 2);
    harness.settle(id, vec![delivered(), failed("InvalidArgumentException")]);
    harness.sleep();
    let (id, request) = harness.send();
    let [bisected, _] = request.entries() else { panic!("two halves") };
    assert_eq!(*members(bisected)[0].data(), aggregate_like(100));
    assert_eq!(members(bisected)[0].sub_sequence_number(), Some(0));
    harness.settle(id, vec![failed(THROTTLE), delivered()]);
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(members(&request.entries()[0])[0].sub_sequence_number(), Some(0), "resent");
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    let [rejected] = &harness.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert!(matches!(rejected.reason(), FailureReason::Rejected(_)));
    assert_eq!(rejected.record().data(), &aggregate_like(100));
    assert!(harness.pipeline.is_settled());
}

#[test]
fn large_aggregate_like_payload_is_sent_plain() {
    let limits = without_quota(Limits::default()).with_record_bytes(1_000);
    let size = |entry: &Entry| entry.data().len() + 1;
    let mut sizes = Vec::new();
    for bytes in 900..1_000 {
        let mut harness = Harness::new(Settings { limits, ..aggregating(Aggregation::PerKey) });
        harness.push(("k", aggregate_like(bytes)));
        let request = harness.closing_request();
        let entry = &request.entries()[0];
        assert!(size(entry) <= 1_000, "{bytes}");
        let is_plain = entry.data() == &aggregate_like(bytes);
        assert!(is_plain || members(entry)[0].sub_sequence_number() == Some(0));
        sizes.push((bytes, is_plain));
    }
    let first_plain = sizes.iter().position(|(_, is_plain)| *is_plain).unwrap();
    assert!(sizes[first_plain..].iter().all(|(_, is_plain)| *is_plain));
    assert_eq!(sizes[first_plain].0, 969, "20 bytes, 3 for the key, 8 for the record, 1 outside");
}
