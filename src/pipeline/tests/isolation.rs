//! Isolation of a poison record. Each request that contains the poison record fails.

use super::*;
use crate::service::PutRecordsErrorKind;

/// Responds to each request with `answer`, until all records are settled or no record has been delivered for `quiet`.
/// Returns the number of entries in each request.
fn run(
    harness: &mut Harness,
    quiet: Duration,
    mut answer: impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError>,
) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut settled_at = harness.now;
    while !harness.pipeline.is_settled() && harness.now < settled_at + quiet {
        let Some((id, request, _)) = harness.pipeline.next_request(harness.now) else {
            harness.sleep();
            continue;
        };
        sizes.push(request.entries().len());
        harness.now += ROUND_TRIP;
        let before = harness.pipeline.ledger().totals().delivered;
        harness.pipeline.settle(id, answer(&request), harness.now);
        if harness.pipeline.ledger().totals().delivered > before {
            settled_at = harness.now;
        }
    }
    sizes
}

fn contains(request: &PutRecordsRequest, poison: &str) -> bool {
    request.entries().iter().any(|entry| contains_bytes(entry.data(), poison))
}

fn contains_bytes(data: &[u8], poison: &str) -> bool {
    data.windows(poison.len()).any(|window| window == poison.as_bytes())
}

fn all_delivered(request: &PutRecordsRequest) -> PutRecordsResponse {
    PutRecordsResponse::new(request.entries().iter().map(|_| delivered()).collect())
}

/// Fails the requests that contain `poison`.
fn poisoned_requests(
    poison: &'static str,
    error: impl Fn() -> BoxError,
) -> impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
    move |request| if contains(request, poison) { Err(error()) } else { Ok(all_delivered(request)) }
}

/// Fails the entries that contain `poison`.
fn poisoned_entries(
    poison: &'static str,
) -> impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
    move |request| {
        let result = |data: &[u8]| {
            if contains_bytes(data, poison) { failed("InternalFailure") } else { delivered() }
        };
        let results = request.entries().iter().map(|entry| result(entry.data()));
        Ok(PutRecordsResponse::new(results.collect()))
    }
}

fn codeless(status: u16) -> BoxError {
    PutRecordsError::service(None, None, Some(status)).into()
}

fn timed_out() -> BoxError {
    PutRecordsError::new(PutRecordsErrorKind::Timeout, None).into()
}

fn keyed(harness: &mut Harness, key: &str, data: &str) {
    let record = Record::from((key.to_owned(), data.to_owned()));
    harness.pipeline.accept(record, harness.now).unwrap();
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn repeated_failure_halves_request() {
    let mut harness = Harness::new(settings());
    harness.accept(0..500);
    harness.pipeline.flush();
    let sizes =
        run(&mut harness, Duration::from_secs(10), |_| Err(service_error("InternalFailure")));
    let halves = [500, 500, 250, 125, 62, 31, 15, 7, 3, 1];
    assert_eq!(sizes[..10], halves);
    assert!(sizes[10..].iter().all(|size| *size == 1), "{sizes:?}");
    assert_eq!(harness.undelivered(), numbers(0..500));
}

#[test]
fn request_size_recovers_after_outage() {
    let mut harness = Harness::new(settings());
    harness.accept(0..2_000);
    harness.pipeline.flush();
    let outage_ends = harness.now + Duration::from_secs(300);
    while harness.now < outage_ends {
        let Some((id, _, _)) = harness.pipeline.next_request(harness.now) else {
            harness.sleep();
            continue;
        };
        harness.now += ROUND_TRIP;
        harness.fail(id, "InternalFailure");
    }
    let isolated = harness.pipeline.backlog.isolated_records();
    assert!((50..500).contains(&isolated), "a probe isolates one record: {isolated}");
    let started_at = harness.now;
    let sizes = run(&mut harness, LONG, |request| Ok(all_delivered(request)));
    assert!(harness.pipeline.is_settled());
    assert!(sizes.len() < 40 && harness.now - started_at < Duration::from_secs(5), "{sizes:?}");
}

#[test]
fn poison_record_is_isolated_and_never_failed() {
    for error in [|| service_error("InternalFailure"), || codeless(403), timed_out] {
        for poison in ["17", "666", "1999"] {
            let mut harness = Harness::new(settings());
            harness.accept(0..2_000);
            harness.pipeline.close();
            let deliver = poisoned_requests(poison, error);
            // The text `poison` occurs in several numbers, so there are several poison records.
            let others = (0..2_000).filter(|n| !n.to_string().contains(poison)).count() as u64;
            // Each poison record requires a probe, so deliveries can be far apart.
            run(&mut harness, Duration::from_secs(600), deliver);
            assert_eq!(harness.pipeline.ledger().totals().delivered, others, "{poison}");
            assert_eq!(harness.pipeline.ledger().totals().failed, 0);
            run(&mut harness, LONG, |request| Ok(all_delivered(request)));
            assert!(harness.pipeline.is_settled());
        }
    }
}

#[test]
fn isolated_record_does_not_delay_others() {
    let mut harness = Harness::new(settings());
    keyed(&mut harness, "p", "poison");
    for n in 0..4 {
        harness.accept(n..n + 1);
        harness.pipeline.flush();
        run(&mut harness, LONG, poisoned_requests("poison", || service_error("InternalFailure")));
    }
    assert_eq!(harness.pipeline.backlog.isolated_records(), 1);
    // While the isolated record is in flight, other records use the remaining three slots.
    while harness.send_reason() != Some((FlushReason::Isolated, 1)) {
        harness.sleep();
    }
    harness.accept(4..4_004);
    let slots = std::iter::from_fn(|| harness.send_reason()).count();
    assert_eq!(slots, 3);
}

#[test]
fn isolated_record_is_retried_without_blocking() {
    let mut harness = Harness::new(Settings { max_in_flight: 1, ..settings() });
    keyed(&mut harness, "p", "poison");
    let end = harness.now + Duration::from_secs(60);
    let mut next = 0;
    let mut retries = 0;
    while harness.now < end {
        while harness.pipeline.queued() < 1_000 {
            harness.accept(next..next + 1);
            next += 1;
        }
        let (id, request) = match harness.pipeline.next_request(harness.now) {
            Some((id, request, _)) => (id, request),
            None => {
                harness.sleep();
                continue;
            }
        };
        harness.now += ROUND_TRIP;
        if contains(&request, "poison") {
            retries += 1;
            harness.fail(id, "InternalFailure");
        } else {
            harness.deliver(id, &request);
        }
    }
    assert!((20..200).contains(&retries), "{retries} retries in a minute");
    let delivered = harness.pipeline.ledger().totals().delivered;
    assert!(delivered > 60 * 50 * 500 / 2, "{delivered}");
}

#[test]
fn isolated_record_uses_no_tokens_of_others() {
    let limits = Limits::default().with_shard_records(10);
    let backoff = Duration::from_millis(1);
    let backoff = BackoffSettings { base: backoff, ceiling: backoff };
    let settings = Settings { limits, backoff, ..settings() };
    let mut harness = Harness::new(settings);
    harness.accept(0..1);
    harness.pipeline.flush();
    run(&mut harness, LONG, |request| Ok(all_delivered(request)));
    keyed(&mut harness, "p", "poison");
    harness.accept(1..300);
    harness.pipeline.close();
    let started_at = harness.now;
    run(&mut harness, LONG, poisoned_requests("poison", || service_error("InternalFailure")));
    assert_eq!(harness.pipeline.ledger().totals().delivered, 300);
    let took = harness.now - started_at - LONG;
    assert!(took < Duration::from_secs(60), "ten records per second take 30 s: {took:?}");
}

#[test]
fn aggregate_with_poison_record_is_halved() {
    for aggregation in [Aggregation::PerKey, Aggregation::Off] {
        let mut harness = Harness::new(Settings { aggregation, ..settings() });
        for n in 0..500 {
            let data = if n == 333 { "poison".to_owned() } else { n.to_string() };
            keyed(&mut harness, &format!("k{}", n % 5), &data);
        }
        harness.pipeline.close();
        run(&mut harness, LONG, poisoned_entries("poison"));
        assert_eq!(harness.pipeline.ledger().totals().delivered, 499, "{aggregation:?}");
        assert_eq!(harness.undelivered(), ["poison"]);
        assert_eq!(harness.pipeline.backlog.isolated_records(), 1);
    }
}

#[test]
fn halves_of_failed_aggregate_keep_order() {
    let settings = Settings {
        aggregation: Aggregation::PerKey,
        ordering: RecordOrdering::PerKey,
        ..settings()
    };
    let mut harness = Harness::new(settings);
    for n in 0..100 {
        keyed(&mut harness, "k", &format!("{n:03}"));
    }
    harness.pipeline.flush();
    let mut read = Vec::new();
    let mut is_poisoned = true;
    for _ in 0..2 {
        run(&mut harness, LONG, |request| {
            let is_refused = is_poisoned && contains(request, "060");
            if is_refused {
                return Err(service_error("InternalFailure"));
            }
            for entry in request.entries() {
                let members = crate::aggregate::deaggregate(entry.data());
                read.extend(members.map(|one| String::from_utf8(one.data().to_vec()).unwrap()));
            }
            Ok(all_delivered(request))
        });
        // The later records of the key wait for the poison record.
        let waiting = if is_poisoned { 40 } else { 0 };
        assert_eq!(harness.pipeline.queued(), waiting);
        is_poisoned = false;
    }
    let expected: Vec<_> = (0..100).map(|n| format!("{n:03}")).collect();
    assert_eq!(read, expected);
}

#[test]
fn bisected_request_with_poison_is_halved() {
    let mut harness = Harness::new(settings());
    harness.accept(0..64);
    keyed(&mut harness, "p", "poison");
    keyed(&mut harness, "i", "invalid");
    harness.pipeline.close();
    run(&mut harness, LONG, |request| {
        match (contains(request, "invalid"), contains(request, "poison")) {
            (true, _) => Err(service_error("ValidationException")),
            (_, true) => Err(service_error("InternalFailure")),
            _ => Ok(all_delivered(request)),
        }
    });
    assert_eq!(
        (harness.pipeline.ledger().totals().delivered, harness.pipeline.ledger().failed().records),
        (64, 1)
    );
    assert_eq!(harness.pipeline.backlog.isolated_records(), 1);
}

#[test]
fn bisected_aggregate_is_halved_within_limits() {
    let limits = settings().limits.with_request_entries(1);
    let mut harness =
        Harness::new(Settings { aggregation: Aggregation::PerKey, limits, ..settings() });
    for n in 0..8 {
        keyed(&mut harness, "k", if n == 5 { "poison" } else { "x" });
    }
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.fail(id, "ValidationException");
    let sizes = run(&mut harness, LONG, poisoned_requests("poison", timed_out));
    assert!(sizes.iter().all(|size| *size == 1), "{sizes:?}");
    assert_eq!(harness.pipeline.ledger().totals().delivered, 7);
}

/// The probe contains the isolated record, not the later record with the same key that waits in the aggregator.
#[test]
fn isolated_record_precedes_open_aggregate() {
    let linger = Linger::Adaptive(Duration::ZERO);
    let mut harness = Harness::new(Settings {
        aggregation: Aggregation::PerKey,
        ordering: RecordOrdering::PerKey,
        linger,
        ..settings()
    });
    keyed(&mut harness, "k", "first");
    while harness.pipeline.backlog.isolated_records() == 0 {
        let (id, _) = harness.next();
        harness.fail(id, "InternalFailure");
    }
    keyed(&mut harness, "k", "second");
    let sizes = run(&mut harness, LONG, |request| Ok(all_delivered(request)));
    assert_eq!((sizes, harness.pipeline.is_settled()), (vec![1, 1], true));
}

#[test]
fn isolated_record_expires_at_deadline() {
    let deadline = Some(Duration::from_secs(20));
    let mut harness = Harness::new(Settings { deadline, ..settings() });
    keyed(&mut harness, "p", "poison");
    harness.accept(0..10);
    harness.pipeline.flush();
    let started_at = harness.now;
    run(&mut harness, Duration::from_secs(10), poisoned_requests("poison", timed_out));
    while harness.pipeline.ledger().failed().records == 0 {
        match harness.pipeline.next_request(harness.now) {
            Some((id, ..)) => harness.pipeline.settle(id, Err(timed_out()), harness.now),
            None => drop(harness.sleep()),
        }
        harness.pipeline.advance(harness.now);
    }
    assert!(harness.now - started_at < Duration::from_secs(21));
    assert!(harness.pipeline.is_settled());
}

#[test]
fn isolated_record_is_withdrawn_in_order() {
    let mut harness = Harness::new(settings());
    harness.accept(0..3);
    keyed(&mut harness, "p", "poison");
    harness.pipeline.flush();
    run(&mut harness, LONG, poisoned_requests("poison", || codeless(403)));
    harness.accept(4..6);
    let taken = harness.pipeline.take_undelivered();
    let texts: Vec<_> = taken.iter().map(|one| text(one.record())).collect();
    assert_eq!(texts, ["poison", "4", "5"]);
    assert!(harness.pipeline.is_settled() && harness.pipeline.wakeup(harness.now).is_none());
}

#[test]
fn blocked_requests_are_fatal_after_timeout() {
    let mut harness = Harness::new(settings());
    harness.accept(0..100);
    harness.pipeline.flush();
    let started_at = harness.now;
    loop {
        match harness.pipeline.next_request(harness.now) {
            Some((id, ..)) => harness.pipeline.settle(id, Err(codeless(403)), harness.now),
            None => drop(harness.sleep()),
        }
        if harness.pipeline.health_mut().take_fatal().is_some() {
            break;
        }
    }
    let after = harness.now - started_at;
    assert!((300..310).contains(&after.as_secs()), "{after:?}");
    assert_eq!(harness.undelivered(), numbers(0..100));
}

#[test]
fn blocked_record_does_not_stop_others() {
    let mut harness = Harness::new(settings());
    harness.accept(0..10);
    keyed(&mut harness, "p", "poison");
    harness.pipeline.flush();
    let quiet = Duration::from_secs(3_600);
    run(&mut harness, quiet, poisoned_requests("poison", || codeless(403)));
    assert!(harness.pipeline.health_mut().take_fatal().is_none());
    assert_eq!(harness.pipeline.ledger().totals().delivered, 10);
}

#[test]
fn repeated_timeouts_raise_the_timeout_factor() {
    let mut harness = Harness::new(settings());
    harness.accept(0..100);
    harness.pipeline.flush();
    let mut factors = Vec::new();
    for _ in 0..4 {
        let (id, request) = harness.send();
        factors.push(request.timeout_factor());
        harness.now += Duration::from_secs(10) * request.timeout_factor();
        harness.pipeline.settle(id, Err(timed_out()), harness.now);
        harness.sleep();
    }
    assert_eq!(factors, [1, 1, 2, 4]);
    let (id, request) = harness.send();
    harness.now += ROUND_TRIP;
    harness.deliver(id, &request);
    harness.accept(100..101);
    assert_eq!(harness.send().1.timeout_factor(), 1, "a fast response has not reset the factor");
}

#[test]
#[cfg(target_pointer_width = "64")]
fn buffered_record_takes_128_bytes() {
    assert_eq!(size_of::<BufferedRecord>(), 128);
}

#[test]
fn response_to_isolated_record_clears_error() {
    let mut harness = Harness::new(settings());
    harness.accept(0..10);
    keyed(&mut harness, "p", "poison");
    harness.pipeline.flush();
    run(&mut harness, LONG, poisoned_entries("poison"));
    assert_eq!(harness.pipeline.backlog.isolated_records(), 1);
    let next = |harness: &mut Harness, answer: Result<PutRecordsResponse, BoxError>| {
        let id = loop {
            match harness.pipeline.next_request(harness.now) {
                Some((id, ..)) => break id,
                None => drop(harness.sleep()),
            }
        };
        harness.pipeline.settle(id, answer, harness.now);
    };
    next(&mut harness, Err(service_error("AccessDeniedException")));
    assert!(harness.pipeline.health_mut().take_fatal().is_some());
    assert!(harness.pipeline.health().fatal_error().is_some());
    next(&mut harness, Ok(PutRecordsResponse::new(vec![failed("InternalFailure")])));
    assert!(harness.pipeline.health().fatal_error().is_none(), "the service processed the request");
}

#[test]
fn isolated_record_is_reported_once_a_minute() {
    for poisoned in [
        |_: &PutRecordsRequest| Err(service_error("InternalFailure")),
        |_: &PutRecordsRequest| Ok(PutRecordsResponse::new(vec![failed("InternalFailure")])),
    ] {
        let mut harness = Harness::new(settings());
        keyed(&mut harness, "p", "poison");
        let mut reports = Vec::new();
        for minute in 0..10 {
            // Other records succeed in the first minutes, which ends the reported outage.
            if minute < 3 {
                harness.accept(0..1);
            }
            harness.pipeline.flush();
            let end = harness.now + LONG;
            while harness.now < end {
                while harness.pipeline.take_report(harness.now).is_some() {
                    reports.push(minute);
                }
                match harness.pipeline.next_request(harness.now) {
                    Some((id, request, _)) => {
                        let answer = if !contains(&request, "poison") {
                            Ok(all_delivered(&request))
                        } else if request.entries().len() == 1 {
                            poisoned(&request)
                        } else {
                            Err(service_error("InternalFailure"))
                        };
                        harness.pipeline.settle(id, answer, harness.now);
                    }
                    None => drop(harness.sleep()),
                }
            }
        }
        assert_eq!(
            (
                harness.pipeline.backlog.isolated_records(),
                harness.pipeline.ledger().totals().delivered
            ),
            (1, 3)
        );
        let last: Vec<_> = reports.iter().filter(|minute| **minute > 4).collect();
        assert!((4..=6).contains(&last.len()), "{reports:?}");
    }
}

#[test]
fn in_flight_window_recovers_after_timeout() {
    let mut harness = Harness::new(settings());
    harness.accept(0..10);
    harness.pipeline.flush();
    let (id, _) = harness.send();
    harness.now += Duration::from_secs(1);
    harness.pipeline.settle(id, Err(timed_out()), harness.now);
    for n in 0..20 {
        harness.accept(10 + n..11 + n);
        harness.pipeline.flush();
        let (id, request) = loop {
            match harness.pipeline.next_request(harness.now) {
                Some((id, request, _)) => break (id, request),
                None => drop(harness.sleep()),
            }
        };
        // This round trip takes more than a quarter of the timeout. It does not indicate a slow link, because only one
        // request is in flight.
        harness.now += Duration::from_millis(300);
        harness.deliver(id, &request);
    }
    assert_eq!(harness.pipeline.health.window(), 4);
}
