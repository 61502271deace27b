//! Bisection of invalid requests down to the bad record.

use super::*;

#[test]
fn bisected_records_expire_at_deadline() {
    let deadline = Some(Duration::from_secs(1));
    let mut harness = Harness::new(Settings { deadline, ..settings() });
    harness.accept(0..4);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    harness.now += Duration::from_secs(1);
    harness.pipeline.advance(harness.now);
    assert_eq!((harness.pipeline.ledger().failed().records, harness.pipeline.queued()), (4, 0));
}

#[test]
fn bisected_entries_wait_for_throttled_lane() {
    let mut harness = Harness::new(settings());
    harness.accept(0..4);
    harness.pipeline.close();
    for _ in 0..2 {
        let (id, request) = harness.next();
        harness.settle(id, request.entries().iter().map(|_| failed(THROTTLE)).collect());
    }
    let (id, _) = harness.next();
    harness.fail(id, "ValidationException");
    let (id, _) = harness.next();
    harness.settle(id, vec![failed(THROTTLE), failed(THROTTLE)]);
    assert_eq!(harness.send_reason(), None);
    while !harness.pipeline.wants_to_send(harness.now) {
        harness.sleep();
    }
    assert_eq!(harness.send_reason(), Some((FlushReason::Bisected, 2)));
}

/// Sends `records` records until all of them are settled. The service rejects each request that contains a bad record.
/// Returns the number of requests.
fn run_against_bad_records(records: usize, bad: &[&str]) -> (Harness, usize) {
    let mut harness = Harness::new(settings());
    harness.accept(0..records);
    harness.pipeline.close();
    let mut requests = 0;
    while !harness.pipeline.is_settled() {
        let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
            harness.sleep();
            continue;
        };
        requests += 1;
        if texts(&request).iter().any(|text| bad.contains(&text.as_str())) {
            harness.fail(id, "ValidationException");
        } else {
            harness.deliver(id, &request);
        }
    }
    (harness, requests)
}

#[test]
fn invalid_request_is_bisected_to_bad_record() {
    let (mut harness, requests) = run_against_bad_records(700, &["333"]);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 699);
    let failed = harness.pipeline.take_failed();
    let [bad] = &failed[..] else { panic!("one record failed") };
    assert_eq!(text(bad.record()), "333");
    assert!(
        matches!(bad.reason(), FailureReason::Rejected(error) if error.code() == "ValidationException")
    );
    assert!(requests <= 2 * 9 + 2, "{requests} requests for one bad record among 500");

    let (harness, _) = run_against_bad_records(500, &["0", "250", "251", "499"]);
    assert_eq!(
        (harness.pipeline.ledger().totals().delivered, harness.pipeline.ledger().failed().records),
        (496, 4)
    );
}

#[test]
fn bisected_entries_survive_other_failures() {
    let mut harness = Harness::new(settings());
    harness.accept(0..4);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["0", "1"]);
    harness.fail(id, "InternalFailure");
    assert_eq!(harness.undelivered(), numbers(0..4));
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["0", "1"], "the halves are not merged");
    harness.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert_eq!(harness.undelivered(), ["1", "2", "3"]);
}

#[test]
fn bisection_backs_off_if_all_are_invalid() {
    let mut harness = Harness::new(settings());
    harness.accept(0..500);
    let started_at = harness.now;
    let mut requests = 0;
    while !harness.pipeline.is_settled() {
        harness.pipeline.close();
        if let Some((id, _, _)) = harness.pipeline.next_request(harness.now) {
            requests += 1;
            harness.fail(id, "ValidationException");
        } else {
            harness.sleep();
        }
    }
    let per_second = requests as f64 / (harness.now - started_at).as_secs_f64();
    assert!(per_second < 25.0, "{requests} requests, {per_second} per second");
    assert_eq!(harness.pipeline.ledger().failed().records, 500);
}

#[test]
fn bisection_does_not_count_as_attempt() {
    let mut harness = Harness::new(Settings { max_attempts: Some(2), ..settings() });
    harness.accept(0..4);
    harness.pipeline.close();
    for _ in 0..2 {
        let (id, request) = harness.send();
        assert!(request.entries().len() > 1);
        harness.fail(id, "ValidationException");
        harness.sleep();
    }
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["0"]);
    harness.settle(id, vec![failed(THROTTLE)]);
    assert_eq!(
        harness.pipeline.ledger().failed().records,
        0,
        "a bisected request was counted as an attempt"
    );
}

#[test]
fn bisection_after_outage_has_short_backoff() {
    let mut harness = Harness::new(settings());
    harness.accept(0..500);
    for _ in 0..10 {
        let (id, _) = harness.send();
        harness.fail(id, "InternalFailure");
        harness.sleep();
    }
    assert!(harness.pipeline.take_report(harness.now).is_some(), "the outage is not reported");
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    assert!(
        harness.pipeline.health_mut().take_last_report().is_some(),
        "the end of the outage is not reported"
    );
    assert!(harness.sleep() <= Duration::from_millis(100));
}
