//! A request that is refused as invalid is split to find the culprit.

use super::*;

#[test]
fn a_deadline_passes_for_suspects_too() {
    let deadline = Some(Duration::from_secs(1));
    let mut bench = Bench::new(Settings { deadline, ..settings() });
    bench.accept(0..4);
    bench.pipeline.close();
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    bench.now += Duration::from_secs(1);
    bench.pipeline.expire(bench.now);
    assert_eq!((bench.pipeline.failed(), bench.pipeline.waiting()), (4, 0));
}

#[test]
fn suspects_wait_where_the_lane_is_throttled() {
    let mut bench = Bench::new(settings());
    bench.accept(0..4);
    bench.pipeline.close();
    for _ in 0..2 {
        let (id, request) = bench.next();
        bench.settle(id, request.entries().iter().map(|_| failed(THROTTLE)).collect());
    }
    let (id, _) = bench.next();
    bench.fail(id, "ValidationException");
    let (id, _) = bench.next();
    bench.settle(id, vec![failed(THROTTLE), failed(THROTTLE)]);
    assert_eq!(bench.cut_reason(), None);
    while bench.pipeline.due(bench.now).is_none() {
        bench.sleep();
    }
    assert_eq!(bench.cut_reason(), Some((CutReason::Split, 2)));
}

/// Sends until all is settled, to a service that refuses any request with a bad record in it.
fn run_against_bad_records(records: usize, bad: &[&str]) -> (Bench, usize) {
    let mut bench = Bench::new(settings());
    bench.accept(0..records);
    bench.pipeline.close();
    let mut requests = 0;
    while !bench.pipeline.is_settled() {
        let Some((id, request, _)) = bench.pipeline.cut(bench.now) else {
            bench.sleep();
            continue;
        };
        requests += 1;
        if texts(&request).iter().any(|text| bad.contains(&text.as_str())) {
            bench.fail(id, "ValidationException");
        } else {
            bench.deliver(id, &request);
        }
    }
    (bench, requests)
}

#[test]
fn an_invalid_request_is_split_until_the_culprit_is_found() {
    let (mut bench, requests) = run_against_bad_records(700, &["333"]);
    assert_eq!(bench.pipeline.totals().delivered, 699);
    let failed = bench.pipeline.take_failed();
    let [culprit] = &failed[..] else { panic!("one record failed") };
    assert_eq!(text(culprit.record()), "333");
    assert!(
        matches!(culprit.reason(), Reason::Rejected(error) if error.code() == "ValidationException")
    );
    assert!(requests <= 2 * 9 + 2, "{requests} requests for one culprit among 500");

    let (bench, _) = run_against_bad_records(500, &["0", "250", "251", "499"]);
    assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.failed()), (496, 4));
}

#[test]
fn suspects_survive_other_failures() {
    let mut bench = Bench::new(settings());
    bench.accept(0..4);
    bench.pipeline.close();
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["0", "1"]);
    bench.fail(id, "InternalFailure");
    assert_eq!(bench.undelivered(), numbers(0..4));
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["0", "1"], "still alone");
    bench.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert_eq!(bench.undelivered(), ["1", "2", "3"]);
}

#[test]
fn a_service_that_refuses_everything_is_not_hammered() {
    let mut bench = Bench::new(settings());
    bench.accept(0..500);
    let began = bench.now;
    let mut requests = 0;
    while !bench.pipeline.is_settled() {
        bench.pipeline.close();
        if let Some((id, _, _)) = bench.pipeline.cut(bench.now) {
            requests += 1;
            bench.fail(id, "ValidationException");
        } else {
            bench.sleep();
        }
    }
    let per_second = requests as f64 / (bench.now - began).as_secs_f64();
    assert!(per_second < 25.0, "{requests} requests, {per_second} a second");
    assert_eq!(bench.pipeline.failed(), 500);
}

#[test]
fn being_suspected_uses_no_attempts_up() {
    let mut bench = Bench::new(Settings { max_attempts: Some(2), ..settings() });
    bench.accept(0..4);
    bench.pipeline.close();
    for _ in 0..2 {
        let (id, request) = bench.cut();
        assert!(request.entries().len() > 1);
        bench.fail(id, "ValidationException");
        bench.sleep();
    }
    let (id, request) = bench.cut();
    assert_eq!(texts(&request), ["0"]);
    bench.settle(id, vec![failed(THROTTLE)]);
    assert_eq!(bench.pipeline.failed(), 0, "this was its first attempt");
}

#[test]
fn splitting_after_an_outage_is_not_slower_than_without_one() {
    let mut bench = Bench::new(settings());
    bench.accept(0..500);
    for _ in 0..10 {
        let (id, _) = bench.cut();
        bench.fail(id, "InternalFailure");
        bench.sleep();
    }
    assert!(bench.pipeline.take_report(bench.now).is_some(), "the outage is reported");
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    assert!(bench.pipeline.take_last_report().is_some(), "the service answers again");
    assert!(bench.sleep() <= Duration::from_millis(100));
}
