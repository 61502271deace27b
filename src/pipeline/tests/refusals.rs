//! Failures of whole requests: outages, and errors of the whole stream.

use super::*;

#[test]
fn while_whole_requests_fail_one_at_a_time_probes() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2000);
    let flights: Vec<_> = (0..4).map(|_| bench.cut()).collect();
    for (id, _) in flights {
        bench.fail(id, "InternalFailure");
    }
    assert_eq!(bench.cut_reason(), None, "backing off");
    bench.sleep();
    let (id, request) = bench.cut();
    assert_eq!(bench.cut_reason(), None, "one probe");
    bench.deliver(id, &request);
    let [(id, request), _] = [bench.cut(), bench.cut()];
    assert_eq!(bench.cut_reason(), None, "twice as many");
    bench.deliver(id, &request);
    assert_eq!(std::iter::from_fn(|| bench.cut_reason()).count(), 1, "nothing is left");
    bench.accept(2000..4000);
    assert_eq!(std::iter::from_fn(|| bench.cut_reason()).count(), 2, "back to full speed");
}

#[test]
fn an_outage_is_probed_ever_more_rarely() {
    let mut bench = Bench::new(settings());
    bench.accept(0..10);
    bench.pipeline.flush();
    let end = bench.now + Duration::from_secs(30);
    let mut requests = 0;
    while bench.now < end {
        let (id, _) = bench.cut();
        requests += 1;
        bench.now += ROUND_TRIP;
        bench.fail(id, "InternalFailure");
        bench.sleep();
    }
    assert!((6..=40).contains(&requests), "{requests} requests in 30 s");
    assert_eq!(bench.undelivered(), numbers(0..10));
}

#[test]
fn a_response_of_the_wrong_length_settles_nothing() {
    for results in [0, 2, 4] {
        let mut bench = Bench::new(settings());
        bench.accept(0..3);
        bench.pipeline.flush();
        let (id, _) = bench.cut();
        bench.settle(id, (0..results).map(|_| delivered()).collect());
        assert_eq!(bench.undelivered(), numbers(0..3));
        assert_eq!(bench.pipeline.totals().delivered, 0);
        assert_eq!(bench.pipeline.last_request().unwrap().errors[0].code, "WrongLength");
        assert!(bench.pipeline.take_undelivered().iter().all(Undelivered::may_be_written));
    }
}

#[test]
fn a_fatal_error_is_told_once_and_keeps_everything() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2000);
    let flights: Vec<_> = (0..4).map(|_| bench.cut()).collect();
    for (id, _) in flights {
        bench.fail(id, "AccessDeniedException");
    }
    assert_eq!(bench.pipeline.wakeup(bench.now), None, "nothing moves until it was told");
    assert!(bench.pipeline.take_fatal().is_some());
    assert!(bench.pipeline.take_fatal().is_none(), "four requests, one error");
    assert_eq!(bench.undelivered(), numbers(0..2000));
    // The next try: refused again, told again; then let through.
    bench.sleep();
    let (id, _) = bench.cut();
    bench.fail(id, "AccessDeniedException");
    assert!(bench.pipeline.take_fatal().is_some());
    bench.sleep();
    let (id, request) = bench.cut();
    bench.deliver(id, &request);
    assert!(bench.pipeline.take_fatal().is_none());
    assert_eq!(bench.pipeline.totals().delivered, 500);
}

#[test]
fn a_success_beside_it_does_not_hide_a_fatal_error() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1000);
    let (denied, _) = bench.cut();
    let (id, request) = bench.cut();
    bench.fail(denied, "AccessDeniedException");
    bench.deliver(id, &request);
    assert!(bench.pipeline.take_fatal().is_some());
}

/// Sends one record while the service refuses the credentials. Returns how long it took until the error
/// became fatal, and how many requests were sent.
fn refused_until_fatal(settings: Settings, code: &str) -> (Duration, u32) {
    let mut bench = Bench::new(settings);
    bench.accept(0..1);
    bench.pipeline.flush();
    let (mut first, mut requests) = (None, 0);
    loop {
        let (id, _) = bench.cut();
        requests += 1;
        bench.now += ROUND_TRIP;
        let first = *first.get_or_insert(bench.now);
        bench.fail(id, code);
        if bench.pipeline.take_fatal().is_some() {
            assert_eq!(bench.undelivered(), ["0"], "a fatal error keeps the record");
            return (bench.now - first, requests);
        }
        bench.sleep();
    }
}

#[test]
fn refused_credentials_retry_for_five_minutes() {
    for seed in 0..20 {
        let settings = Settings { seed: Some(seed), ..settings() };
        let (after, requests) = refused_until_fatal(settings, "ExpiredTokenException");
        let bounds = Duration::from_secs(300)..Duration::from_secs(304);
        assert!(bounds.contains(&after), "seed {seed}: fatal after {after:?}");
        assert!((120..400).contains(&requests), "seed {seed}: {requests} requests");
    }
}

#[test]
fn credentials_timeout_of_zero_is_fatal_at_once() {
    let settings = Settings { credentials_timeout: Duration::ZERO, ..settings() };
    assert_eq!(refused_until_fatal(settings, "InvalidClientTokenId"), (Duration::ZERO, 1));
}

#[test]
fn refused_credentials_stay_fatal_until_accepted() {
    let mut bench = Bench::new(Settings { credentials_timeout: Duration::ZERO, ..settings() });
    bench.accept(0..1);
    bench.pipeline.flush();
    for _ in 0..3 {
        let (id, _) = bench.cut();
        bench.fail(id, "ExpiredTokenException");
        assert!(bench.pipeline.take_fatal().is_some(), "each attempt says so");
        bench.sleep();
    }
    let (id, request) = bench.cut();
    bench.deliver(id, &request);
    assert!(bench.pipeline.refusal().is_none());
}

#[test]
fn accepted_credentials_restart_their_timeout() {
    let timeout = Duration::from_secs(60);
    let mut bench = Bench::new(Settings { credentials_timeout: timeout, ..settings() });
    bench.accept(0..2000);
    bench.pipeline.flush();
    let others = ["KMSThrottlingException", "delivered", "ValidationException"];
    for other in others.iter().cycle().take(12) {
        let refused_until = bench.now + Duration::from_secs(50);
        while bench.now < refused_until {
            let (id, _) = bench.cut();
            bench.fail(id, "ExpiredTokenException");
            assert!(bench.pipeline.take_fatal().is_none(), "after {other}");
            bench.sleep();
        }
        let (id, request) = bench.cut();
        match *other {
            "delivered" => bench.settle(id, request.entries().iter().map(|_| failed("")).collect()),
            code => bench.fail(id, code),
        }
        bench.sleep();
    }
}

#[test]
fn unanswered_requests_keep_credentials_timeout() {
    let timeout = Duration::from_secs(60);
    let mut bench = Bench::new(Settings { credentials_timeout: timeout, ..settings() });
    bench.accept(0..1);
    bench.pipeline.flush();
    let start = bench.now;
    for code in ["ExpiredTokenException", "InternalFailure"].iter().cycle() {
        let (id, _) = bench.cut();
        bench.fail(id, code);
        if bench.pipeline.take_fatal().is_some() {
            break;
        }
        bench.sleep();
    }
    let after = bench.now - start;
    assert!((60..70).contains(&after.as_secs()), "an HTTP 5xx proves nothing: {after:?}");
}

#[test]
fn a_failure_counts_once_also_when_a_request_is_cut_in_the_same_instant() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1000);
    let (first, _) = bench.cut();
    let (second, _) = bench.cut();
    bench.fail(first, "AccessDeniedException");
    assert!(bench.pipeline.take_fatal().is_some());
    bench.fail(second, "AccessDeniedException");
    assert!(bench.pipeline.take_fatal().is_none(), "both were cut before it was known");
    assert_eq!(bench.pipeline.backoff.failures(), 1);
}

#[test]
fn taking_everything_back_takes_the_fatal_error_with_it() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.fail(id, "AccessDeniedException");
    assert_eq!(bench.pipeline.take_undelivered().len(), 1);
    assert!(bench.pipeline.take_fatal().is_none(), "it was about a record that is gone");
}

#[test]
fn a_throttled_request_draws_new_random_keys() {
    let mut bench = Bench::new(settings());
    bench.pipeline.accept(Record::from("random"), bench.now).unwrap();
    bench.pipeline.close();
    let key = |request: &PutRecordsRequest| request.entries()[0].partition_key().cloned();
    let (id, request) = bench.cut();
    let first = key(&request);
    bench.fail(id, THROTTLE);
    bench.sleep();
    assert_ne!(key(&bench.cut().1), first);
}

#[test]
fn errors_of_the_whole_stream_use_no_attempts_up() {
    let mut bench = Bench::new(Settings { max_attempts: Some(1), ..settings() });
    bench.accept(0..1);
    bench.pipeline.flush();
    for _ in 0..3 {
        let (id, _) = bench.cut();
        bench.fail(id, "ResourceNotFoundException");
        assert!(bench.pipeline.take_fatal().is_some());
        bench.sleep();
        let (id, _) = bench.cut();
        let shed = tower::load_shed::error::Overloaded::new();
        bench.pipeline.settle(id, Err(shed.into()), bench.now);
        bench.sleep();
        let (id, _) = bench.cut();
        bench.fail(id, "ExpiredTokenException");
        bench.sleep();
    }
    assert_eq!(bench.undelivered(), ["0"]);
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed(THROTTLE)]);
    let [given_up] = &bench.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert!(matches!(given_up.reason(), Reason::AttemptsExhausted { attempts: 1, .. }));
}

#[test]
fn a_failure_from_before_a_success_is_no_outage() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1500);
    let (first, _) = bench.cut();
    let (second, request) = bench.cut();
    let (third, _) = bench.cut();
    bench.fail(first, "InternalFailure");
    bench.deliver(second, &request);
    bench.fail(third, "InternalFailure");
    assert_eq!(bench.pipeline.take_report(bench.now + Duration::from_secs(60)), None);
}

#[test]
fn a_fatal_error_is_told_also_behind_another_failure() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1000);
    let (first, _) = bench.cut();
    let (second, _) = bench.cut();
    bench.fail(first, "KMSThrottlingException");
    bench.fail(second, "AccessDeniedException");
    assert!(bench.pipeline.take_fatal().is_some(), "at once, not after the next try");
}

#[test]
fn progress_ends_the_wait_for_the_stream() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1500);
    let (first, _) = bench.cut();
    let (second, request) = bench.cut();
    bench.fail(first, "InternalFailure");
    assert_eq!(bench.cut_reason(), None);
    bench.deliver(second, &request);
    assert_eq!(bench.cut_reason(), Some((CutReason::Full, 500)), "the service works");
}
