//! When a request is cut, and what it holds.

use super::*;
use crate::ErrorKind;

#[test]
fn a_full_request_is_cut_without_a_flush() {
    let mut harness = Harness::new(settings());
    harness.accept(0..499);
    assert_eq!(harness.send_reason(), None);
    harness.accept(499..501);
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 500)));
    assert_eq!(harness.send_reason(), None);
}

#[test]
fn a_request_is_cut_at_the_byte_limit() {
    let mut harness = Harness::new(settings());
    for _ in 0..6 {
        let record = Record::from(("k", vec![0; 1024 * 1024 - 1]));
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 5)));
}

#[test]
fn a_flush_cuts_at_once_only_when_nothing_is_in_flight() {
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
fn what_came_after_the_flush_is_not_wanted_by_it() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    let (id, request) = harness.send();
    harness.accept(1..2);
    harness.deliver(id, &request);
    assert_eq!(harness.send_reason(), None, "nobody asked for record 1 yet");
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), Some((FlushReason::Idle, 1)));
}

#[test]
fn linger_is_a_ceiling_behind_requests_in_flight() {
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
fn linger_fill_waits_even_when_idle() {
    let linger = Linger::Fixed(Duration::from_millis(30));
    let mut harness = Harness::new(Settings { linger, ..settings() });
    harness.accept(0..2);
    harness.pipeline.flush();
    assert_eq!(harness.send_reason(), None);
    assert_eq!(harness.sleep(), Duration::from_millis(30));
    assert_eq!(harness.send_reason(), Some((FlushReason::Linger, 2)));
}

#[test]
fn closing_and_a_full_buffer_cut_at_once() {
    let mut harness = Harness::new(Settings { buffer_records: Some(3), ..settings() });
    harness.accept(0..3);
    assert!(!harness.pipeline.has_room());
    assert_eq!(harness.send_reason(), Some((FlushReason::BackPressure, 3)));

    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.close();
    assert_eq!(harness.send_reason(), Some((FlushReason::Close, 2)));
    let mut harness = Harness::new(settings());
    harness.accept(0..501);
    harness.send();
    harness.pipeline.close();
    assert_eq!(harness.send_reason(), Some((FlushReason::Close, 1)), "with another in flight");
    let refused = harness.pipeline.accept(Record::from("late"), harness.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(refused.into_record().unwrap().data(), "late");
}

#[test]
fn no_more_requests_in_flight_than_allowed() {
    let mut harness = Harness::new(Settings { max_in_flight: 2, ..settings() });
    harness.accept(0..1500);
    let (first, request) = harness.send();
    harness.send();
    assert_eq!(harness.send_reason(), None);
    assert_eq!(harness.pipeline.wakeup(harness.now), None, "only an answer helps");
    harness.deliver(first, &request);
    assert_eq!(harness.send_reason(), Some((FlushReason::Full, 500)));
}

#[test]
fn the_bounds_count_what_is_in_flight_and_requeued() {
    let mut harness = Harness::new(Settings { buffer_bytes: 20, ..settings() });
    let record = || Record::from(("k", vec![0; 9]));
    harness.pipeline.accept(record(), harness.now).unwrap();
    harness.pipeline.accept(record(), harness.now).unwrap();
    assert!(!harness.pipeline.has_room());
    let (id, request) = harness.send();
    assert!(!harness.pipeline.has_room(), "in flight");
    harness.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert!(harness.pipeline.has_room(), "one of two left");
    assert_eq!(
        (harness.pipeline.ledger().held().records, harness.pipeline.ledger().held().bytes),
        (1, 10)
    );
    harness.pipeline.accept(record(), harness.now).unwrap();
    let refused = harness.pipeline.accept(record(), harness.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    drop(request);
}
