//! Size limits of aggregates and requests.

use super::aggregation::{aggregating, members};
use super::*;
use crate::limits::{Limits, PAYLOAD_UNIT_BYTES};
use crate::service::Entry;

#[test]
fn aggregate_is_filled_to_target() {
    for (units, size, expected) in
        [(1, 1024, 24), (2, 1024, 49), (1, 9 * 1024, 2), (2, 9 * 1024, 5), (1, 10 * 1024, 2)]
    {
        let mut settings = aggregating(Aggregation::PerKey);
        settings.aggregate_bytes = units * PAYLOAD_UNIT_BYTES;
        let mut harness = Harness::new(settings);
        for _ in 0..120 {
            harness.push(("k", vec![b'x'; size]));
        }
        let request = harness.closing_request();
        let first = &request.entries()[0];
        assert_eq!(members(first).len(), expected, "{units} payload units, {size} bytes");
        let sizes: Vec<_> = request.entries().iter().map(Entry::size).collect();
        assert!(sizes.iter().all(|size| *size <= units * PAYLOAD_UNIT_BYTES), "{sizes:?}");
        let one_more = members(first)[0].data().len() + 9;
        assert!(sizes[0] + one_more > units * PAYLOAD_UNIT_BYTES, "the aggregate is not full");
    }
}

#[test]
fn aggregate_uses_last_byte_of_target() {
    // An aggregate takes 20 bytes of framing, 3 for the key in the key table, 1 for the key of the entry, and 6 per
    // member.
    for (target, entries) in [(55, 1), (54, 2)] {
        let mut settings = aggregating(Aggregation::PerKey);
        settings.aggregate_bytes = target;
        let mut harness = Harness::new(settings);
        harness.push(("k", vec![b'x'; 10]));
        harness.push(("k", vec![b'y'; 9]));
        let request = harness.closing_request();
        assert_eq!(request.entries().len(), entries, "{target}");
        assert_eq!(request.bytes(), if entries == 1 { 55 } else { 21 }, "{target}");
    }
}

#[test]
fn aggregate_is_bounded_by_record_bytes() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.limits = Limits::default().with_record_bytes(1_000);
    let mut harness = Harness::new(settings);
    for _ in 0..100 {
        harness.push(("k", vec![b'x'; 100]));
    }
    let request = harness.closing_request();
    assert!(request.entries().iter().all(|entry| entry.size() <= 1_000));
    assert_eq!(members(&request.entries()[0]).len(), 9);
}

#[test]
fn described_limit_bounds_earlier_records() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_bytes = 3 << 20;
    settings.limits = Limits::default().with_request_bytes(10 << 20).with_record_bytes(10 << 20);
    let mut harness = Harness::new(settings);
    harness.pipeline.topology_mut().require(Prerequisites { description: true, shards: false });
    // The records fill more than one aggregate, so the first aggregate is already closed.
    for _ in 0..50 {
        harness.push(("k", vec![b'x'; 100_000]));
    }
    harness.pipeline.close();
    assert_eq!(harness.send_reason(), None, "the description is required");
    harness.pipeline.apply_description(Some(StreamDescription::default()), harness.now);
    let (_, request) = harness.send();
    assert!(request.entries().iter().all(|entry| entry.size() <= 1 << 20));
    assert_eq!(members(&request.entries()[0]).len(), 10);
}

#[test]
fn record_above_target_is_sent_alone_in_order() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_bytes = 100;
    let mut harness = Harness::new(settings);
    harness.push(("k", "before"));
    harness.push(("k", vec![b'x'; 200]));
    harness.push(("k", "after"));
    let request = harness.closing_request();
    let sizes: Vec<_> = request.entries().iter().map(Entry::size).collect();
    assert_eq!(sizes, [7, 201, 6]);
}

#[test]
fn aggregate_is_bounded_by_records() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_records = 3;
    let mut harness = Harness::new(settings);
    harness.accept(0..8);
    let lengths: Vec<_> =
        harness.closing_request().entries().iter().map(|e| members(e).len()).collect();
    assert_eq!(lengths, [3, 3, 2]);
}

#[test]
fn aggregates_fill_request_to_limit() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_bytes = 1_000;
    settings.limits = Limits::default().with_request_bytes(5_000).with_record_bytes(1_000);
    let mut harness = Harness::new(settings);
    for _ in 0..100 {
        harness.push(("k", vec![b'x'; 100]));
    }
    let (_, request) = harness.send();
    assert_eq!(request.entries().len(), 5);
    assert!(request.bytes() <= 5_000);
}

#[test]
fn described_limit_keeps_request_bytes() {
    let limits = Limits::default().with_request_bytes(1 << 20);
    let mut harness = Harness::new(Settings { limits, ..settings() });
    let described = |bytes| Some(StreamDescription::default().with_max_record_bytes(bytes));
    harness.pipeline.apply_description(described(10 << 20), harness.now);
    for _ in 0..30 {
        harness.push(("k", vec![b'x'; 100_000]));
    }
    harness.push(("k", vec![b'x'; 3 << 20]));
    harness.pipeline.close();
    let (_, request) = harness.send();
    assert!(request.bytes() <= 1 << 20, "{}", request.bytes());
    let lengths =
        [harness.send().1, harness.send().1, harness.send().1].map(|one| one.entries().len());
    assert_eq!(lengths, [10, 10, 1], "the large record is sent alone");
    for (bytes, limit) in [(20 << 20, 10 << 20), (0, 1)] {
        let mut harness = Harness::new(settings());
        harness.pipeline.apply_description(described(bytes), harness.now);
        assert_eq!(harness.pipeline.settings().limits.record_bytes(), limit);
    }
}

#[test]
fn aggregate_is_bounded_by_request_bytes() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_bytes = 10_000_000;
    settings.limits = Limits::default().with_request_bytes(2 << 20);
    let mut harness = Harness::new(settings);
    harness.pipeline.apply_description(
        Some(StreamDescription::default().with_max_record_bytes(10 << 20)),
        harness.now,
    );
    for _ in 0..100 {
        harness.push(("k", vec![b'x'; 100_000]));
    }
    let request = harness.closing_request();
    assert!(request.bytes() <= 2 << 20, "{}", request.bytes());
}

#[test]
fn one_record_aggregates_skip_linger() {
    let mut settings = aggregating(Aggregation::PerKey);
    settings.aggregate_records = 1;
    let mut harness = Harness::new(settings);
    harness.accept(0..2);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 2)), "the records linger");
}
