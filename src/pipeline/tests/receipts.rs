//! Receipt outcomes, attempt histories, and the oldest unsettled record.

use futures::FutureExt;

use super::*;
use crate::record::Receipt;

impl Harness {
    fn accept_tracked(&mut self, data: &'static str) -> Receipt {
        let (record, receipt) = Record::from(("k", data)).tracked();
        self.pipeline.accept(record, self.now).unwrap();
        receipt
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

fn outcome(receipt: Receipt) -> Result<Delivery, Undelivered> {
    receipt.now_or_never().expect("the receipt is open")
}

fn millis(duration: Duration) -> u128 {
    duration.as_millis()
}

#[test]
fn delivery_returns_shard_attempts_and_times() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2);
    let receipt = harness.accept_tracked("tracked");
    harness.wait(5);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.wait(20);
    harness.settle(id, vec![delivered(), delivered(), failed(THROTTLE)]);
    let waited = millis(harness.sleep());
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["tracked"]);
    harness.wait(30);
    harness.settle(id, vec![Ok(Placement::new("shardId-000000000007", "495"))]);
    harness.pipeline.settlement_mut().notify();
    let delivery = outcome(receipt).unwrap();
    assert_eq!((delivery.shard_id(), delivery.sequence_number()), ("shardId-000000000007", "495"));
    assert_eq!(delivery.attempts(), 2);
    assert_eq!(millis(delivery.time_in_flight()), 50, "both attempts are counted");
    assert_eq!(millis(delivery.time_in_buffer()), 5 + waited);
}

#[test]
fn tracked_failure_skips_dead_letter_handler() {
    let (sender, letters) = std::sync::mpsc::channel();
    let handler =
        SharedHandler::new(move |undelivered: Undelivered| sender.send(undelivered).unwrap());
    let mut harness = Harness::new(settings());
    let receipt = harness.accept_tracked("tracked");
    harness.accept(0..1);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.wait(10);
    harness.fail(id, "InternalFailure");
    harness.sleep();
    let (id, _) = harness.send();
    harness.wait(10);
    let refused = || failed("InvalidArgumentException");
    harness.settle(id, vec![refused(), refused()]);
    harness.pipeline.offer_failed(Some(&handler));
    let undelivered = outcome(receipt).unwrap_err();
    assert_eq!(text(undelivered.record()), "tracked");
    assert!(matches!(undelivered.reason(), FailureReason::Rejected(_)));
    assert_eq!((undelivered.attempts(), undelivered.may_have_been_written()), (2, true));
    let history = undelivered.history();
    let codes: Vec<_> = history.iter().map(|attempt| attempt.error().code()).collect();
    assert_eq!(codes, ["InternalFailure", "InvalidArgumentException"]);
    assert_eq!(millis(history[0].since_accepted()), 10);
    assert!(history[1].since_accepted() >= Duration::from_millis(20));
    let letters: Vec<_> = letters.try_iter().collect();
    assert_eq!(letters.len(), 1);
    assert_eq!(text(letters[0].record()), "0");
    assert_eq!(letters[0].last_error().unwrap().code(), "InvalidArgumentException");
    assert_eq!(harness.pipeline.ledger().buffered().records, 0);
}

#[test]
fn dropped_receipt_keeps_failed_record() {
    let mut harness = Harness::new(settings());
    drop(harness.accept_tracked("tracked"));
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.settle(id, vec![failed("InvalidArgumentException")]);
    harness.pipeline.offer_failed(None);
    assert!(harness.pipeline.settlement().last_failure().is_some());
    let kept = harness.pipeline.take_failed();
    assert_eq!(text(kept[0].record()), "tracked");
    assert_eq!(kept[0].history().len(), 1);
}

#[test]
fn withdrawn_record_completes_receipt() {
    let mut harness = Harness::new(settings());
    let receipt = harness.accept_tracked("tracked");
    harness.pipeline.close();
    harness.send();
    let taken = harness.pipeline.take_undelivered();
    assert_eq!(text(taken[0].record()), "tracked");
    let undelivered = outcome(receipt).unwrap_err();
    assert_eq!(undelivered.reason(), &FailureReason::Withdrawn { last: None });
    assert!(undelivered.may_have_been_written());
}

#[test]
fn history_contains_fatal_errors_and_bisections() {
    let mut harness = Harness::new(settings());
    let receipt = harness.accept_tracked("tracked");
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "AccessDeniedException");
    let refusal =
        harness.pipeline.health().fatal_error().expect("the stream refuses requests").clone();
    assert_eq!(refusal.code(), "AccessDeniedException");
    harness.pipeline.health_mut().take_fatal().unwrap();
    assert_eq!(
        harness.pipeline.health().fatal_error(),
        Some(&refusal),
        "the refusal ends with its report"
    );
    harness.sleep();
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    assert_eq!(harness.pipeline.health().fatal_error(), None, "the service processed the request");
    harness.pipeline.offer_failed(None);
    let undelivered = outcome(receipt).unwrap_err();
    let history = undelivered.history();
    let codes: Vec<_> = history.iter().map(|attempt| attempt.error().code()).collect();
    assert_eq!(codes, ["AccessDeniedException", "ValidationException"]);
}

#[test]
fn fail_refused_fails_all_records() {
    let mut harness = Harness::new(settings());
    let receipt = harness.accept_tracked("tracked");
    harness.accept(0..2);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "ResourceNotFoundException");
    let refusal = harness.pipeline.health().fatal_error().unwrap().clone();
    harness.pipeline.fail_unsettled(&refusal);
    harness.pipeline.offer_failed(None);
    assert_eq!(outcome(receipt).unwrap_err().reason(), &FailureReason::Refused(refusal.clone()));
    let kept = harness.pipeline.take_failed();
    assert_eq!(kept.iter().map(|one| text(one.record())).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(kept[0].last_error(), Some(&*refusal));
    assert!(harness.pipeline.is_settled() && harness.pipeline.health().fatal_error().is_none());
    let totals = harness.pipeline.ledger().totals();
    assert_eq!((totals.accepted, totals.failed), (3, 3));
}

#[test]
fn oldest_unsettled_includes_all_states() {
    let mut harness = Harness::new(settings());
    assert_eq!(harness.pipeline.oldest_unsettled(), 0);
    harness.accept(0..4);
    harness.pipeline.flush();
    let (first, request) = harness.send();
    harness.accept(4..6);
    assert_eq!(
        (harness.pipeline.oldest_unsettled(), harness.pipeline.ledger().next_seq()),
        (0, 6),
        "request in flight"
    );
    harness.fail(first, "ValidationException");
    assert_eq!(harness.pipeline.oldest_unsettled(), 0, "bisected request");
    harness.sleep();
    let (half, request_of_half) = harness.send();
    assert_eq!(request_of_half.entries().len(), request.entries().len() / 2);
    harness.deliver(half, &request_of_half);
    assert_eq!(harness.pipeline.oldest_unsettled(), 2);
    let (half, request_of_half) = harness.send();
    harness.deliver(half, &request_of_half);
    assert_eq!(harness.pipeline.oldest_unsettled(), 4, "queued record");
}

#[test]
fn failed_attempts_count_as_time_in_flight() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    let receipt = harness.accept_tracked("tracked");
    harness.pipeline.close();
    for code in ["InternalFailure", "ValidationException"] {
        let (id, _) = harness.send();
        harness.wait(10);
        harness.fail(id, code);
        harness.sleep();
    }
    let (other, request) = harness.send();
    harness.deliver(other, &request);
    let (id, request) = harness.send();
    assert_eq!(texts(&request), ["tracked"]);
    harness.wait(10);
    harness.deliver(id, &request);
    harness.pipeline.settlement_mut().notify();
    let delivery = outcome(receipt).unwrap();
    assert_eq!(millis(delivery.time_in_flight()), 30);
    assert_eq!(delivery.attempts(), 2, "a rejection of two records is no attempt");
}
