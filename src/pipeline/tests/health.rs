//! Failures of whole requests: outages, credentials, and fatal errors.

use super::*;

#[test]
fn outage_sends_one_probe_at_a_time() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2000);
    let in_flight: Vec<_> = (0..4).map(|_| harness.send()).collect();
    for (id, _) in in_flight {
        harness.fail(id, "InternalFailure");
    }
    assert_eq!(harness.send_reason(), None, "the stream backs off");
    harness.sleep();
    let (id, request) = harness.send();
    assert_eq!(harness.send_reason(), None, "one probe at a time");
    harness.deliver(id, &request);
    let [(id, request), _] = [harness.send(), harness.send()];
    assert_eq!(harness.send_reason(), None, "the window has doubled to 2");
    harness.deliver(id, &request);
    assert_eq!(
        std::iter::from_fn(|| harness.send_reason()).count(),
        1,
        "the window has doubled, but one request is left"
    );
    harness.accept(2000..4000);
    assert_eq!(std::iter::from_fn(|| harness.send_reason()).count(), 2, "the window is restored");
}

#[test]
fn outage_probes_back_off() {
    let mut harness = Harness::new(settings());
    harness.accept(0..10);
    harness.pipeline.flush();
    let end = harness.now + Duration::from_secs(30);
    let mut requests = 0;
    while harness.now < end {
        let (id, _) = harness.send();
        requests += 1;
        harness.now += ROUND_TRIP;
        harness.fail(id, "InternalFailure");
        harness.sleep();
    }
    assert!((6..=40).contains(&requests), "{requests} requests in 30 s");
    assert_eq!(harness.undelivered(), numbers(0..10));
}

#[test]
fn wrong_length_response_settles_nothing() {
    for results in [0, 2, 4] {
        let mut harness = Harness::new(settings());
        harness.accept(0..3);
        harness.pipeline.flush();
        let (id, _) = harness.send();
        harness.settle(id, (0..results).map(|_| delivered()).collect());
        assert_eq!(harness.undelivered(), numbers(0..3));
        assert_eq!(harness.pipeline.ledger().totals().delivered, 0);
        assert_eq!(harness.pipeline.ledger().last_request().unwrap().errors[0].code, "WrongLength");
        assert!(harness.pipeline.take_undelivered().iter().all(Undelivered::may_have_been_written));
    }
}

#[test]
fn fatal_error_is_reported_once() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2000);
    let in_flight: Vec<_> = (0..4).map(|_| harness.send()).collect();
    for (id, _) in in_flight {
        harness.fail(id, "AccessDeniedException");
    }
    assert_eq!(harness.pipeline.wakeup(harness.now), None, "the fatal error was not taken");
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    assert!(
        harness.pipeline.health_mut().take_fatal().is_none(),
        "the error is reported once for four requests"
    );
    assert_eq!(harness.undelivered(), numbers(0..2000));
    // The next probe is rejected, so the error is reported again. The probe after that is accepted.
    harness.sleep();
    let (id, _) = harness.send();
    harness.fail(id, "AccessDeniedException");
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    harness.sleep();
    let (id, request) = harness.send();
    harness.deliver(id, &request);
    assert!(harness.pipeline.health_mut().take_fatal().is_none());
    assert_eq!(harness.pipeline.ledger().totals().delivered, 500);
}

#[test]
fn concurrent_success_keeps_fatal_error() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1000);
    let (denied, _) = harness.send();
    let (id, request) = harness.send();
    harness.fail(denied, "AccessDeniedException");
    harness.deliver(id, &request);
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
}

/// Sends one record to a service that rejects the credentials. Returns the time until the error became fatal, and the
/// number of requests sent by then.
fn refused_until_fatal(mut harness: Harness, code: &str) -> (Duration, u32) {
    harness.accept(0..1);
    harness.pipeline.flush();
    let mut first = None;
    let mut requests = 0;
    loop {
        let (id, _) = harness.send();
        requests += 1;
        harness.now += ROUND_TRIP;
        let first = *first.get_or_insert(harness.now);
        harness.fail(id, code);
        if harness.pipeline.health_mut().take_fatal().is_some() {
            assert_eq!(harness.undelivered(), ["0"], "the record is lost");
            return (harness.now - first, requests);
        }
        harness.sleep();
    }
}

#[test]
fn rejected_credentials_retry_for_five_minutes() {
    for seed in 0..20 {
        let harness = Harness::with(settings(), false, Arc::new(DefaultClassify), seed);
        let (after, requests) = refused_until_fatal(harness, "ExpiredTokenException");
        let bounds = Duration::from_secs(300)..Duration::from_secs(304);
        assert!(bounds.contains(&after), "seed {seed}: fatal after {after:?}");
        assert!((120..400).contains(&requests), "seed {seed}: {requests} requests");
    }
}

#[test]
fn zero_credentials_timeout_is_fatal_immediately() {
    let settings = Settings { credentials_timeout: Duration::ZERO, ..settings() };
    assert_eq!(
        refused_until_fatal(Harness::new(settings), "InvalidClientTokenId"),
        (Duration::ZERO, 1)
    );
}

#[test]
fn credentials_error_stays_fatal_until_success() {
    let mut harness = Harness::new(Settings { credentials_timeout: Duration::ZERO, ..settings() });
    harness.accept(0..1);
    harness.pipeline.flush();
    for _ in 0..3 {
        let (id, _) = harness.send();
        harness.fail(id, "ExpiredTokenException");
        assert!(harness.pipeline.health_mut().take_fatal().is_some(), "the error is not reported");
        harness.sleep();
    }
    let (id, request) = harness.send();
    harness.deliver(id, &request);
    assert!(harness.pipeline.health().fatal_error().is_none());
}

#[test]
fn accepted_credentials_restart_timeout() {
    let timeout = Duration::from_secs(60);
    let mut harness = Harness::new(Settings { credentials_timeout: timeout, ..settings() });
    harness.accept(0..2000);
    harness.pipeline.flush();
    let others = ["KMSThrottlingException", "delivered", "ValidationException"];
    for other in others.iter().cycle().take(12) {
        let refused_until = harness.now + Duration::from_secs(50);
        while harness.now < refused_until {
            let (id, _) = harness.send();
            harness.fail(id, "ExpiredTokenException");
            assert!(harness.pipeline.health_mut().take_fatal().is_none(), "after {other}");
            harness.sleep();
        }
        let (id, request) = harness.send();
        match *other {
            "delivered" => {
                harness.settle(id, request.entries().iter().map(|_| failed("")).collect())
            }
            code => harness.fail(id, code),
        }
        harness.sleep();
    }
}

#[test]
fn http_5xx_does_not_extend_credentials_timeout() {
    let timeout = Duration::from_secs(60);
    let mut harness = Harness::new(Settings { credentials_timeout: timeout, ..settings() });
    harness.accept(0..1);
    harness.pipeline.flush();
    let start = harness.now;
    for code in ["ExpiredTokenException", "InternalFailure"].iter().cycle() {
        let (id, _) = harness.send();
        harness.fail(id, code);
        if harness.pipeline.health_mut().take_fatal().is_some() {
            break;
        }
        harness.sleep();
    }
    let after = harness.now - start;
    assert!((60..70).contains(&after.as_secs()), "HTTP 5xx has extended the timeout: {after:?}");
}

#[test]
fn simultaneous_failures_count_once() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1000);
    let (first, _) = harness.send();
    let (second, _) = harness.send();
    harness.fail(first, "AccessDeniedException");
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    harness.fail(second, "AccessDeniedException");
    assert!(
        harness.pipeline.health_mut().take_fatal().is_none(),
        "both requests were sent before the failure"
    );
    assert_eq!(harness.pipeline.health.backoff().failures(), 1);
}

#[test]
fn take_undelivered_clears_fatal_error() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.fail(id, "AccessDeniedException");
    assert_eq!(harness.pipeline.take_undelivered().len(), 1);
    assert!(
        harness.pipeline.health_mut().take_fatal().is_none(),
        "the fatal error is kept without its record"
    );
}

#[test]
fn throttled_request_redraws_random_keys() {
    let mut harness = Harness::new(settings());
    harness.pipeline.accept(Record::from("random"), harness.now).unwrap();
    harness.pipeline.close();
    let key = |request: &PutRecordsRequest| request.entries()[0].partition_key().cloned();
    let (id, request) = harness.send();
    let first = key(&request);
    harness.fail(id, THROTTLE);
    harness.sleep();
    assert_ne!(key(&harness.send().1), first);
}

#[test]
fn stream_errors_do_not_count_as_attempts() {
    let mut harness = Harness::new(Settings { max_attempts: Some(1), ..settings() });
    harness.accept(0..1);
    harness.pipeline.flush();
    for _ in 0..3 {
        let (id, _) = harness.send();
        harness.fail(id, "ResourceNotFoundException");
        assert!(harness.pipeline.health_mut().take_fatal().is_some());
        harness.sleep();
        let (id, _) = harness.send();
        let shed = tower::load_shed::error::Overloaded::new();
        harness.pipeline.settle(id, Err(shed.into()), harness.now);
        harness.sleep();
        let (id, _) = harness.send();
        harness.fail(id, "ExpiredTokenException");
        harness.sleep();
    }
    assert_eq!(harness.undelivered(), ["0"]);
    let (id, _) = harness.send();
    harness.settle(id, vec![failed(THROTTLE)]);
    let [exhausted] = &harness.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert!(matches!(exhausted.reason(), FailureReason::AttemptsExhausted { attempts: 1, .. }));
}

#[test]
fn failure_sent_before_success_is_no_outage() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1500);
    let (first, _) = harness.send();
    let (second, request) = harness.send();
    let (third, _) = harness.send();
    harness.fail(first, "InternalFailure");
    harness.deliver(second, &request);
    harness.fail(third, "InternalFailure");
    assert_eq!(harness.pipeline.take_report(harness.now + Duration::from_secs(60)), None);
}

#[test]
fn fatal_error_is_reported_during_backoff() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1000);
    let (first, _) = harness.send();
    let (second, _) = harness.send();
    harness.fail(first, "KMSThrottlingException");
    harness.fail(second, "AccessDeniedException");
    assert!(
        harness.pipeline.health_mut().take_fatal().is_some(),
        "the fatal error is not reported"
    );
}

#[test]
fn success_ends_stream_backoff() {
    let mut harness = Harness::new(settings());
    harness.accept(0..1500);
    let (first, _) = harness.send();
    let (second, request) = harness.send();
    harness.fail(first, "InternalFailure");
    assert_eq!(harness.send_reason(), None);
    harness.deliver(second, &request);
    assert_eq!(
        harness.send_reason(),
        Some((FlushReason::Full, 500)),
        "a success has not ended the backoff"
    );
}
