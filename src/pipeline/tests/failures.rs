//! Records that fail permanently, dead letters, and withdrawn records.

use super::*;
use crate::record::DeadLetterHandler;

#[test]
fn incomplete_result_may_have_been_written() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("IncompleteResult"), failed("InternalFailure")]);
    let taken = harness.pipeline.take_undelivered();
    assert_eq!((taken[0].may_have_been_written(), taken[1].may_have_been_written()), (true, false));
}

#[test]
fn record_fails_after_max_attempts() {
    let mut harness = Harness::new(Settings { max_attempts: Some(2), ..settings() });
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.fail(id, "InternalFailure");
    harness.sleep();
    let (id, _) = harness.send();
    harness.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert!(harness.pipeline.is_settled());
    let [exhausted] = &harness.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert_eq!(text(exhausted.record()), "1");
    assert!(exhausted.may_have_been_written(), "the outcome of the first attempt is unknown");
    let shown = exhausted.reason().to_string();
    assert_eq!(shown, format!("not delivered in 2 attempts, the last one: {THROTTLE}: a message"));
}

#[test]
fn queued_record_expires_at_deadline() {
    let deadline = Duration::from_millis(50);
    let linger = Linger::Fixed(Duration::from_secs(10));
    let mut harness = Harness::new(Settings { deadline: Some(deadline), linger, ..settings() });
    harness.accept(0..1);
    harness.now += Duration::from_millis(20);
    harness.accept(1..2);
    assert_eq!(harness.sleep(), Duration::from_millis(30));
    harness.pipeline.advance(harness.now);
    assert_eq!(harness.pipeline.queued(), 1);
    let [expired] = &harness.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert_eq!(text(expired.record()), "0");
    assert_eq!(expired.reason().to_string(), "not delivered within 50ms");
}

#[test]
fn delivery_after_deadline_counts() {
    let deadline = Some(Duration::from_millis(50));
    let mut harness = Harness::new(Settings { deadline, ..settings() });
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.now += Duration::from_secs(1);
    harness.pipeline.advance(harness.now);
    harness.settle(id, vec![delivered(), failed("InternalFailure")]);
    harness.pipeline.advance(harness.now);
    assert_eq!(harness.pipeline.ledger().totals().delivered, 1);
    assert_eq!(harness.pipeline.ledger().totals().failed, 1);
}

#[test]
fn rejected_entry_fails_alone() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("InvalidArgumentException"), delivered()]);
    assert_eq!(
        (harness.pipeline.ledger().totals().delivered, harness.pipeline.ledger().failed().records),
        (1, 1)
    );
    assert!(harness.pipeline.is_settled());
}

#[test]
fn failed_record_causes_backpressure() {
    let mut harness = Harness::new(Settings { buffer_records: Some(1), ..settings() });
    harness.accept(0..1);
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    harness.pipeline.offer_failed(None);
    assert!(harness.pipeline.settlement_mut().take_unreported_failure().is_some());
    harness.pipeline.offer_failed(None);
    assert!(
        harness.pipeline.settlement_mut().take_unreported_failure().is_none(),
        "the failure is reported twice"
    );
    assert!(!harness.pipeline.has_capacity());
    assert!(harness.pipeline.blocked_by_failed().is_some());
    assert_eq!(harness.pipeline.take_failed().len(), 1);
    assert!(harness.pipeline.has_capacity() && harness.pipeline.blocked_by_failed().is_none());
}

#[test]
fn dead_letter_handler_can_return_record() {
    struct EvenOnly(std::sync::mpsc::Sender<String>);
    impl DeadLetterHandler for EvenOnly {
        fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
            let text = text(undelivered.record());
            if text.parse::<usize>().unwrap().is_multiple_of(2) {
                self.0.send(text).unwrap();
                return None;
            }
            Some(undelivered)
        }
    }
    let (sender, taken) = std::sync::mpsc::channel();
    let handler = SharedHandler::new(EvenOnly(sender));
    let mut harness = Harness::new(settings());
    harness.accept(0..4);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, (0..4).map(|_| failed("InvalidArgumentException")).collect());
    harness.pipeline.offer_failed(Some(&handler));
    assert!(harness.pipeline.settlement_mut().take_unreported_failure().is_some());
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), ["0", "2"]);
    assert_eq!(harness.undelivered(), ["1", "3"]);
    assert_eq!(harness.pipeline.ledger().buffered().records, 2);
}

#[test]
fn take_undelivered_returns_all_in_order() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1200);
    let (first, _) = harness.send();
    let (second, request) = harness.send();
    let mut results: Vec<_> = request.entries().iter().map(|_| delivered()).collect();
    results[0] = failed("InvalidArgumentException");
    results[1] = failed(THROTTLE);
    harness.settle(second, results);
    let mut expected = numbers(0..502);
    expected.extend(numbers(1000..1200));
    assert_eq!(harness.undelivered(), expected);

    let taken = harness.pipeline.take_undelivered();
    assert_eq!(taken.iter().map(|taken| text(taken.record())).collect::<Vec<_>>(), expected);
    assert!(taken[..500].iter().all(Undelivered::may_have_been_written), "records in flight");
    assert!(!taken[501].may_have_been_written(), "a throttled record is not written");
    assert_eq!(
        (harness.pipeline.ledger().buffered().records, harness.pipeline.ledger().buffered().bytes),
        (0, 0)
    );
    let totals = *harness.pipeline.ledger().totals();
    assert_eq!((totals.delivered, totals.failed, totals.withdrawn), (498, 1, 701));

    harness.settle(first, (0..500).map(|_| delivered()).collect());
    assert_eq!(*harness.pipeline.ledger().totals(), totals, "a late response changed the totals");
}

#[test]
fn dead_letter_handler_panic_loses_one_record() {
    let handler = SharedHandler::new(|_: Undelivered| panic!("expected by the test"));
    let mut harness = Harness::new(settings());
    harness.accept(0..3);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, (0..3).map(|_| failed("InvalidArgumentException")).collect());
    let offer = std::panic::AssertUnwindSafe(|| harness.pipeline.offer_failed(Some(&handler)));
    assert!(std::panic::catch_unwind(offer).is_err());
    assert_eq!(harness.undelivered(), ["1", "2"]);
    assert_eq!(
        (harness.pipeline.ledger().buffered().records, harness.pipeline.ledger().buffered().bytes),
        (2, 4)
    );
}

#[test]
fn error_display_panic_keeps_records() {
    #[derive(Debug)]
    struct Panics;
    impl std::error::Error for Panics {}
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("expected by the test")
        }
    }
    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.pipeline.settle(id, Err(Panics.into()), harness.now);
    assert_eq!((harness.undelivered(), harness.pipeline.in_flight()), (numbers(0..2), 0));
}

#[test]
fn handler_panic_keeps_earlier_report() {
    struct KeepsOne(usize);
    impl DeadLetterHandler for KeepsOne {
        fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
            self.0 += 1;
            assert!(self.0 == 1, "expected by the test");
            Some(undelivered)
        }
    }
    let handler = SharedHandler::new(KeepsOne(0));
    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, (0..2).map(|_| failed("InvalidArgumentException")).collect());
    let offer = std::panic::AssertUnwindSafe(|| harness.pipeline.offer_failed(Some(&handler)));
    assert!(std::panic::catch_unwind(offer).is_err());
    assert!(harness.pipeline.settlement_mut().take_unreported_failure().is_some());
    assert!(
        harness.pipeline.settlement_mut().take_unreported_failure().is_none(),
        "the failure is reported twice"
    );
}

#[test]
fn taken_failure_is_not_reported() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    harness.pipeline.offer_failed(None);
    assert_eq!(harness.pipeline.take_failed().len(), 1);
    assert!(harness.pipeline.settlement_mut().take_unreported_failure().is_none());
}

#[test]
fn classifier_panic_keeps_records() {
    struct Panics;
    impl Classify for Panics {
        fn classify_error(&self, _: &(dyn std::error::Error + 'static)) -> ErrorClass {
            panic!("expected by the test")
        }
        fn classify_entry(&self, _: &EntryError) -> EntryClass {
            panic!("expected by the test")
        }
    }
    for entries in [true, false] {
        let mut harness = Harness::with(settings(), false, Arc::new(Panics), 7);
        harness.accept(0..2);
        harness.pipeline.flush();
        let (id, _) = harness.send();
        if entries {
            harness.settle(id, vec![delivered(), failed(THROTTLE)]);
        } else {
            harness.fail(id, "InternalFailure");
        }
        assert_eq!(harness.pipeline.in_flight(), 0, "the request is still in flight");
        harness.sleep();
        let (id, request) = harness.send();
        harness.deliver(id, &request);
        assert_eq!(
            (
                harness.pipeline.ledger().totals().delivered,
                harness.pipeline.ledger().buffered().records
            ),
            (2, 0)
        );
    }
}

#[test]
fn kept_failures_do_not_shrink_requests() {
    let mut harness = Harness::new(Settings { buffer_records: Some(10), ..settings() });
    harness.accept(0..9);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.settle(id, (0..9).map(|_| failed("InvalidArgumentException")).collect());
    harness.accept(9..10);
    let (id, request) = harness.send();
    assert_eq!(harness.pipeline.take_failed().len(), 9);
    harness.accept(10..18);
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    assert!(harness.pipeline.has_capacity());
    harness.accept(18..19);
    assert!(!harness.pipeline.has_capacity(), "nine queued records and a failed one");
    assert_eq!(
        harness.send_reason(),
        Some((FlushReason::Backpressure, 9)),
        "no request is in flight"
    );
    drop(request);

    let mut harness = Harness::new(Settings { buffer_records: Some(10), ..settings() });
    harness.accept(0..8);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.accept(8..9);
    harness.settle(id, (0..8).map(|_| failed("InvalidArgumentException")).collect());
    harness.pipeline.flush();
    harness.send();
    harness.accept(9..10);
    assert!(!harness.pipeline.has_capacity());
    assert_eq!(harness.send_reason(), None, "failed records do not count as backpressure");
}

#[test]
fn take_failed_returns_records_in_order() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1000);
    let (first, _) = harness.send();
    let (second, _) = harness.send();
    for (id, bad) in [(second, 3), (first, 7)] {
        let result = |n| if n == bad { failed("InvalidArgumentException") } else { delivered() };
        harness.settle(id, (0..500).map(result).collect());
    }
    let taken = harness.pipeline.take_failed();
    assert_eq!(taken.iter().map(|one| text(one.record())).collect::<Vec<_>>(), ["7", "503"]);
}

#[test]
fn withdrawn_record_keeps_last_error() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.fail(id, "AccessDeniedException");
    let taken = harness.pipeline.take_undelivered();
    assert_eq!(taken[0].last_error().unwrap().to_string(), "AccessDeniedException: a message");
}

#[test]
fn failed_record_keeps_last_error() {
    let deadline = Some(Duration::from_secs(1));
    let mut harness = Harness::new(Settings { max_attempts: Some(2), deadline, ..settings() });
    harness.accept(0..4);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    let first = ["InvalidArgumentException", THROTTLE, "InternalFailure"].map(failed);
    harness.settle(id, first.into_iter().chain([delivered()]).collect());
    harness.sleep();
    let (id, _) = harness.send();
    harness.now += Duration::from_secs(1);
    harness.settle(id, vec![failed("InternalFailure"), failed(THROTTLE)]);
    harness.accept(4..5);
    harness.pipeline.flush();
    harness.sleep();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("NeverHeardOf")]);
    harness.now += Duration::from_secs(1);
    harness.pipeline.advance(harness.now);
    let taken = harness.pipeline.take_failed();
    let last = taken.iter().map(|one| (text(one.record()), one.last_error().unwrap().code()));
    let expected = [
        ("0", "InvalidArgumentException"),
        ("1", "InternalFailure"),
        ("2", THROTTLE),
        ("4", "NeverHeardOf"),
    ];
    assert_eq!(last.collect::<Vec<_>>(), expected.map(|(n, code)| (n.to_owned(), code)));
}
