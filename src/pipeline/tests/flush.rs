//! Flush reasons of requests, and buffer limits.

use super::*;
use crate::ErrorKind;

#[test]
fn full_request_is_sent_without_flush() {
    let mut harness = Harness::new(settings());
    harness.accept(0..499);
    assert_eq!(harness.send_reason(), None);
    harness.accept(499..501);
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 500)));
    assert_eq!(harness.send_reason(), None);
}

#[test]
fn request_is_sent_at_byte_limit() {
    let mut harness = Harness::new(settings());
    for _ in 0..6 {
        let record = Record::from(("k", vec![0; 1024 * 1024 - 1]));
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 5)));
}

#[test]
fn flush_waits_for_request_in_flight() {
    let mut harness = Harness::new(settings());
    harness.accept(0..3);
    harness.pipeline.flush();
    let (first, request) = harness.send();
    harness.accept(3..5);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), None);
    harness.deliver(first, &request);
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 2)));
}

#[test]
fn flush_excludes_later_records() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    let (id, request) = harness.send();
    harness.accept(1..2);
    harness.deliver(id, &request);
    assert_eq!(harness.send_reason(), None, "record 1 came after the flush");
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 1)));
}

#[test]
fn linger_bounds_wait_for_request_in_flight() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    harness.send();
    harness.accept(1..2);
    harness.pipeline.flush();
    assert_eq!(harness.sleep(), Duration::from_millis(100));
    assert_eq!(harness.send_reason(), Some((FlushReason::Linger, 1)));
}

#[test]
fn fixed_linger_waits_when_idle() {
    let linger = Linger::Fixed(Duration::from_millis(30));
    let mut harness = Harness::new(Settings { linger, ..settings() });
    harness.accept(0..2);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), None);
    assert_eq!(harness.sleep(), Duration::from_millis(30));
    assert_eq!(harness.send_reason(), Some((FlushReason::Linger, 2)));
}

#[test]
fn close_and_backpressure_flush_immediately() {
    let mut harness = Harness::new(Settings { buffer_records: Some(3), ..settings() });
    harness.accept(0..3);
    assert!(!harness.pipeline.has_capacity());
    assert_eq!(harness.send_reason(), Some((FlushReason::Backpressure, 3)));

    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.close();
    assert_eq!(harness.send_reason(), Some((FlushReason::Close, 2)));
    let mut harness = Harness::new(settings());
    harness.accept(0..501);
    harness.send();
    harness.pipeline.close();
    assert_eq!(
        harness.send_reason(),
        Some((FlushReason::Close, 1)),
        "another request is in flight"
    );
    let refused = harness.pipeline.accept(Record::from("late"), harness.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(refused.into_record().unwrap().data(), "late");
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut harness = Harness::new(Settings { max_in_flight: 2, ..settings() });
    harness.accept(0..1500);
    let (first, request) = harness.send();
    harness.send();
    assert_eq!(harness.send_reason(), None);
    assert_eq!(harness.pipeline.wakeup(harness.now), None, "there is nothing to wake up for");
    harness.deliver(first, &request);
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 500)));
}

#[test]
fn buffer_counts_in_flight_and_requeued() {
    let mut harness = Harness::new(Settings { buffer_bytes: 20, ..settings() });
    let record = || Record::from(("k", vec![0; 9]));
    harness.pipeline.accept(record(), harness.now).unwrap();
    harness.pipeline.accept(record(), harness.now).unwrap();
    assert!(!harness.pipeline.has_capacity());
    let (id, request) = harness.send();
    assert!(!harness.pipeline.has_capacity(), "records in flight are not counted");
    harness.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert!(harness.pipeline.has_capacity(), "a delivered record is still counted");
    assert_eq!(
        (harness.pipeline.ledger().buffered().records, harness.pipeline.ledger().buffered().bytes),
        (1, 10)
    );
    harness.pipeline.accept(record(), harness.now).unwrap();
    let refused = harness.pipeline.accept(record(), harness.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    drop(request);
}
