//! What comes back from a request is sent again: in order, in full requests, after a wait.

use super::*;

#[test]
fn partial_failures_return_to_the_front_in_order_and_requests_stay_full() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1100);
    let (id, _) = bench.cut();
    let fails = |n: usize| n.is_multiple_of(20);
    bench.settle(
        id,
        (0..500).map(|n| if fails(n) { failed(THROTTLE) } else { delivered() }).collect(),
    );
    bench.sleep();
    let (id, request) = bench.cut();
    let mut expected: Vec<_> = (0..500).filter(|n| fails(*n)).map(|n| n.to_string()).collect();
    expected.extend(numbers(500..975));
    assert_eq!(texts(&request), expected);
    bench.deliver(id, &request);
    assert_eq!(bench.undelivered(), numbers(975..1100));
    let totals = bench.pipeline.totals();
    assert_eq!((totals.delivered, totals.requeued, totals.throttled), (975, 25, 25));
}

#[test]
fn requests_that_fail_out_of_order_are_requeued_in_order() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2000);
    let flights: Vec<_> = (0..4).map(|_| bench.cut()).collect();
    for place in [2, 0, 3, 1] {
        bench.fail(flights[place].0, "InternalFailure");
    }
    assert_eq!(bench.undelivered(), numbers(0..2000));
    bench.sleep();
    let (_, request) = bench.cut();
    assert_eq!(texts(&request), numbers(0..500));
}

#[test]
fn progress_keeps_the_waits_of_a_throttled_lane_short() {
    let mut bench = Bench::new(settings());
    bench.accept(0..500);
    for _ in 0..50 {
        let (id, request) = bench.cut();
        let mut results: Vec<_> = request.entries().iter().map(|_| failed(THROTTLE)).collect();
        results[0] = delivered();
        bench.settle(id, results);
        bench.pipeline.flush();
        let answered_at = bench.now;
        while bench.pipeline.due(bench.now).is_none() {
            bench.sleep();
        }
        assert!(bench.now - answered_at <= Duration::from_millis(100));
    }
}

#[test]
fn a_throttled_random_key_is_drawn_again_and_others_are_kept() {
    let mut bench = Bench::new(settings());
    bench.pipeline.accept(Record::from("random"), bench.now).unwrap();
    bench.pipeline.accept(Record::from(("own", "explicit")), bench.now).unwrap();
    bench.pipeline.close();
    let keys = |request: &PutRecordsRequest| -> Vec<String> {
        request.entries().iter().map(|entry| entry.partition_key().unwrap().to_string()).collect()
    };
    let (id, request) = bench.cut();
    let first = keys(&request);
    bench.settle(id, vec![failed("InternalFailure"), failed("InternalFailure")]);
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(keys(&request), first, "nothing says that the shard is busy");
    bench.settle(id, vec![failed(THROTTLE), failed(THROTTLE)]);
    bench.sleep();
    let (_, request) = bench.cut();
    assert_ne!(keys(&request)[0], first[0]);
    assert_eq!(keys(&request)[1], "own");
    assert_eq!(bench.pipeline.held_bytes(), request.bytes());
}

#[test]
fn a_hundred_thousand_records_can_be_requeued_over_and_over() {
    let buffer_records = 100_000;
    let mut bench = Bench::new(Settings { buffer_records, max_in_flight: 200, ..settings() });
    bench.accept(0..buffer_records);
    for _ in 0..5 {
        let cuts = std::iter::from_fn(|| bench.pipeline.cut(bench.now)).map(|(id, ..)| id);
        let flights: Vec<_> = cuts.collect();
        // Oldest first is the hard order: each group goes behind those that came back before it.
        for id in flights {
            bench.settle(id, (0..500).map(|_| failed(THROTTLE)).collect());
        }
        bench.sleep();
    }
    assert_eq!(bench.undelivered(), numbers(0..buffer_records));
}

#[test]
fn the_last_request_can_be_read() {
    let mut bench = Bench::new(settings());
    assert!(bench.pipeline.last_request().is_none());
    bench.accept(0..500);
    let (id, request) = bench.cut();
    let results = (0..500).map(|n| if n < 25 { failed(THROTTLE) } else { delivered() });
    bench.settle(id, results.collect());
    let last = bench.pipeline.last_request().unwrap();
    assert_eq!((last.records, last.delivered, last.bytes), (500, 475, request.bytes()));
    assert_eq!(last.errors.len(), 1);
    assert_eq!((last.errors[0].code.as_str(), last.errors[0].count), (THROTTLE, 25));
}
