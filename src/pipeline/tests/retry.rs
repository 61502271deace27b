//! Retries of failed entries and requests, in order and after a backoff.

use super::*;

#[test]
fn failed_entries_are_requeued_in_front() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1100);
    let (id, _) = harness.send();
    let fails = |n: usize| n.is_multiple_of(20);
    harness.settle(
        id,
        (0..500).map(|n| if fails(n) { failed(THROTTLE) } else { delivered() }).collect(),
    );
    harness.sleep();
    let (id, request) = harness.send();
    let mut expected: Vec<_> = (0..500).filter(|n| fails(*n)).map(|n| n.to_string()).collect();
    expected.extend(numbers(500..975));
    assert_eq!(texts(&request), expected);
    harness.deliver(id, &request);
    assert_eq!(harness.undelivered(), numbers(975..1100));
    let totals = harness.pipeline.ledger().totals();
    assert_eq!((totals.delivered, totals.requeued, totals.throttled), (975, 25, 25));
}

#[test]
fn failed_requests_are_requeued_in_order() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2000);
    let in_flight: Vec<_> = (0..4).map(|_| harness.send()).collect();
    for place in [2, 0, 3, 1] {
        harness.fail(in_flight[place].0, "InternalFailure");
    }
    assert_eq!(harness.undelivered(), numbers(0..2000));
    harness.sleep();
    let (_, request) = harness.send();
    assert_eq!(texts(&request), numbers(0..500));
}

#[test]
fn partial_success_keeps_backoff_short() {
    let mut harness = Harness::new(settings());
    harness.accept(0..500);
    for _ in 0..50 {
        let (id, request) = harness.send();
        let mut results: Vec<_> = request.entries().iter().map(|_| failed(THROTTLE)).collect();
        results[0] = delivered();
        harness.settle(id, results);
        harness.pipeline.flush();
        let answered_at = harness.now;
        while !harness.pipeline.wants_to_send(harness.now) {
            harness.sleep();
        }
        assert!(harness.now - answered_at <= Duration::from_millis(100));
    }
}

#[test]
fn throttled_entry_redraws_random_key() {
    let mut harness = Harness::new(settings());
    harness.pipeline.accept(Record::from("random"), harness.now).unwrap();
    harness.pipeline.accept(Record::from(("own", "explicit")), harness.now).unwrap();
    harness.pipeline.close();
    let keys = |request: &PutRecordsRequest| -> Vec<String> {
        request.entries().iter().map(|entry| entry.partition_key().unwrap().to_string()).collect()
    };
    let (id, request) = harness.send();
    let first = keys(&request);
    harness.settle(id, vec![failed("InternalFailure"), failed("InternalFailure")]);
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(keys(&request), first, "only a throttle redraws a key");
    harness.settle(id, vec![failed(THROTTLE), failed(THROTTLE)]);
    harness.sleep();
    let (_, request) = harness.send();
    assert_ne!(keys(&request)[0], first[0]);
    assert_eq!(keys(&request)[1], "own");
    assert_eq!(harness.pipeline.ledger().buffered().bytes, request.bytes());
}

#[test]
fn full_buffer_requeues_repeatedly_in_order() {
    let records = 100_000;
    let buffer_records = Some(records);
    let mut harness = Harness::new(Settings { buffer_records, max_in_flight: 200, ..settings() });
    harness.accept(0..records);
    for _ in 0..5 {
        let requests =
            std::iter::from_fn(|| harness.pipeline.next_request(harness.now)).map(|(id, ..)| id);
        let in_flight: Vec<_> = requests.collect();
        // Each request is requeued behind the earlier requests, which is the worst case for the time to requeue.
        for id in in_flight {
            harness.settle(id, (0..500).map(|_| failed(THROTTLE)).collect());
        }
        harness.sleep();
    }
    assert_eq!(harness.undelivered(), numbers(0..records));
}

#[test]
fn last_request_returns_summary() {
    let mut harness = Harness::new(settings());
    assert!(harness.pipeline.ledger().last_request().is_none());
    harness.accept(0..500);
    let (id, request) = harness.send();
    let results = (0..500).map(|n| if n < 25 { failed(THROTTLE) } else { delivered() });
    harness.settle(id, results.collect());
    let last = harness.pipeline.ledger().last_request().unwrap();
    assert_eq!((last.records, last.delivered, last.bytes), (500, 475, request.bytes()));
    assert_eq!(last.errors.len(), 1);
    assert_eq!((last.errors[0].code.as_str(), last.errors[0].count), (THROTTLE, 25));
}
