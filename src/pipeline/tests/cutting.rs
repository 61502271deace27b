//! When a request is cut, and what it holds.

use super::*;

#[test]
fn a_full_request_is_cut_without_a_flush() {
    let mut bench = Bench::new(settings());
    bench.accept(0..499);
    assert_eq!(bench.cut_reason(), None);
    bench.accept(499..501);
    assert_eq!(bench.cut_reason(), Some((CutReason::Full, 500)));
    assert_eq!(bench.cut_reason(), None);
}

#[test]
fn a_request_is_cut_at_the_byte_limit() {
    let mut bench = Bench::new(settings());
    for _ in 0..6 {
        let record = Record::from(("k", vec![0; 1024 * 1024 - 1]));
        bench.pipeline.accept(record, bench.now).unwrap();
    }
    assert_eq!(bench.cut_reason(), Some((CutReason::Full, 5)));
}

#[test]
fn a_flush_cuts_at_once_only_when_nothing_is_in_flight() {
    let mut bench = Bench::new(settings());
    bench.accept(0..3);
    bench.pipeline.flush();
    let (first, request) = bench.cut();
    bench.accept(3..5);
    bench.pipeline.flush();
    assert_eq!(bench.cut_reason(), None);
    bench.deliver(first, &request);
    assert_eq!(bench.cut_reason(), Some((CutReason::Idle, 2)));
}

#[test]
fn what_came_after_the_flush_is_not_wanted_by_it() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1);
    bench.pipeline.flush();
    let (id, request) = bench.cut();
    bench.accept(1..2);
    bench.deliver(id, &request);
    assert_eq!(bench.cut_reason(), None, "nobody asked for record 1 yet");
    bench.pipeline.flush();
    assert_eq!(bench.cut_reason(), Some((CutReason::Idle, 1)));
}

#[test]
fn linger_is_a_ceiling_behind_requests_in_flight() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1);
    bench.pipeline.flush();
    bench.cut();
    bench.accept(1..2);
    bench.pipeline.flush();
    assert_eq!(bench.sleep(), Duration::from_millis(100));
    assert_eq!(bench.cut_reason(), Some((CutReason::Linger, 1)));
}

#[test]
fn linger_fill_waits_even_when_idle() {
    let linger = Linger::Fill(Duration::from_millis(30));
    let mut bench = Bench::new(Settings { linger, ..settings() });
    bench.accept(0..2);
    bench.pipeline.flush();
    assert_eq!(bench.cut_reason(), None);
    assert_eq!(bench.sleep(), Duration::from_millis(30));
    assert_eq!(bench.cut_reason(), Some((CutReason::Linger, 2)));
}

#[test]
fn closing_and_a_full_buffer_cut_at_once() {
    let mut bench = Bench::new(Settings { buffer_records: 3, ..settings() });
    bench.accept(0..3);
    assert!(!bench.pipeline.has_room());
    assert_eq!(bench.cut_reason(), Some((CutReason::BackPressure, 3)));

    let mut bench = Bench::new(settings());
    bench.accept(0..2);
    bench.pipeline.close();
    assert_eq!(bench.cut_reason(), Some((CutReason::Close, 2)));
    let mut bench = Bench::new(settings());
    bench.accept(0..501);
    bench.cut();
    bench.pipeline.close();
    assert_eq!(bench.cut_reason(), Some((CutReason::Close, 1)), "with another in flight");
    let refused = bench.pipeline.accept(Record::from("late"), bench.now).unwrap_err();
    assert_eq!(*refused.reason(), NotAcceptedReason::Closed);
    assert_eq!(refused.into_record().data(), "late");
}

#[test]
fn no_more_requests_in_flight_than_allowed() {
    let mut bench = Bench::new(Settings { max_in_flight: 2, ..settings() });
    bench.accept(0..1500);
    let (first, request) = bench.cut();
    bench.cut();
    assert_eq!(bench.cut_reason(), None);
    assert_eq!(bench.pipeline.wakeup(bench.now), None, "only an answer helps");
    bench.deliver(first, &request);
    assert_eq!(bench.cut_reason(), Some((CutReason::Full, 500)));
}

#[test]
fn the_bounds_count_what_is_in_flight_and_requeued() {
    let mut bench = Bench::new(Settings { buffer_bytes: 20, ..settings() });
    let record = || Record::from(("k", vec![0; 9]));
    bench.pipeline.accept(record(), bench.now).unwrap();
    bench.pipeline.accept(record(), bench.now).unwrap();
    assert!(!bench.pipeline.has_room());
    let (id, request) = bench.cut();
    assert!(!bench.pipeline.has_room(), "in flight");
    bench.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert!(bench.pipeline.has_room(), "one of two left");
    assert_eq!((bench.pipeline.held_records(), bench.pipeline.held_bytes()), (1, 10));
    bench.pipeline.accept(record(), bench.now).unwrap();
    let refused = bench.pipeline.accept(record(), bench.now).unwrap_err();
    assert_eq!(*refused.reason(), NotAcceptedReason::Full);
    drop(request);
}
