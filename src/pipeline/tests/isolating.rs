//! Requests that fail again and again get smaller, down to the record that is at fault.

use super::*;
use crate::service::PutRecordsErrorKind;

/// Answers each request by `answer` until nothing has been settled for `quiet`.
fn run(
    bench: &mut Bench,
    quiet: Duration,
    mut answer: impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError>,
) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut settled_at = bench.now;
    while !bench.pipeline.is_settled() && bench.now < settled_at + quiet {
        let Some((id, request, _)) = bench.pipeline.cut(bench.now) else {
            bench.sleep();
            continue;
        };
        sizes.push(request.entries().len());
        bench.now += ROUND_TRIP;
        let before = bench.pipeline.totals().delivered;
        bench.pipeline.settle(id, answer(&request), bench.now);
        if bench.pipeline.totals().delivered > before {
            settled_at = bench.now;
        }
    }
    sizes
}

fn holds(request: &PutRecordsRequest, poison: &str) -> bool {
    request.entries().iter().any(|entry| has(entry.data(), poison))
}

fn has(data: &[u8], poison: &str) -> bool {
    data.windows(poison.len()).any(|window| window == poison.as_bytes())
}

fn all_delivered(request: &PutRecordsRequest) -> PutRecordsResponse {
    PutRecordsResponse::new(request.entries().iter().map(|_| delivered()).collect())
}

/// Fails requests that hold `poison`.
fn poisoned_requests(
    poison: &'static str,
    error: impl Fn() -> BoxError,
) -> impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
    move |request| if holds(request, poison) { Err(error()) } else { Ok(all_delivered(request)) }
}

/// Fails entries that hold `poison`.
fn poisoned_entries(
    poison: &'static str,
) -> impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
    move |request| {
        let result = |data: &[u8]| match has(data, poison) {
            true => failed("InternalFailure"),
            false => delivered(),
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

fn keyed(bench: &mut Bench, key: &str, data: &str) {
    let record = Record::from((key.to_owned(), data.to_owned()));
    bench.pipeline.accept(record, bench.now).unwrap();
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn repeated_failure_halves_the_request() {
    let mut bench = Bench::new(settings());
    bench.accept(0..500);
    bench.pipeline.flush();
    let sizes = run(&mut bench, Duration::from_secs(10), |_| Err(service_error("InternalFailure")));
    let halves = [500, 500, 250, 125, 62, 31, 15, 7, 3, 1];
    assert_eq!(sizes[..10], halves);
    assert!(sizes[10..].iter().all(|size| *size == 1), "{sizes:?}");
    assert_eq!(bench.undelivered(), numbers(0..500));
}

#[test]
fn request_size_recovers_after_an_outage() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2_000);
    bench.pipeline.flush();
    let outage_ends = bench.now + Duration::from_secs(300);
    while bench.now < outage_ends {
        let Some((id, _, _)) = bench.pipeline.cut(bench.now) else {
            bench.sleep();
            continue;
        };
        bench.now += ROUND_TRIP;
        bench.fail(id, "InternalFailure");
    }
    let isolated = bench.pipeline.isolated.records();
    assert!((50..500).contains(&isolated), "one in a probe: {isolated}");
    let began = bench.now;
    let sizes = run(&mut bench, LONG, |request| Ok(all_delivered(request)));
    assert!(bench.pipeline.is_settled());
    assert!(sizes.len() < 40 && bench.now - began < Duration::from_secs(5), "{sizes:?}");
}

#[test]
fn poisoned_record_is_isolated_and_never_failed() {
    for error in [|| service_error("InternalFailure"), || codeless(403), timed_out] {
        for poison in ["17", "666", "1999"] {
            let mut bench = Bench::new(settings());
            bench.accept(0..2_000);
            bench.pipeline.close();
            let deliver = poisoned_requests(poison, error);
            // Those that contain the text as well.
            let others = (0..2_000).filter(|n| !n.to_string().contains(poison)).count() as u64;
            // Each of several in a row takes a probe.
            run(&mut bench, Duration::from_secs(600), deliver);
            assert_eq!(bench.pipeline.totals().delivered, others, "{poison}");
            assert_eq!(bench.pipeline.totals().failed, 0);
            run(&mut bench, LONG, |request| Ok(all_delivered(request)));
            assert!(bench.pipeline.is_settled());
        }
    }
}

#[test]
fn isolated_record_does_not_delay_others() {
    let mut bench = Bench::new(settings());
    keyed(&mut bench, "p", "poison");
    for n in 0..4 {
        bench.accept(n..n + 1);
        bench.pipeline.flush();
        run(&mut bench, LONG, poisoned_requests("poison", || service_error("InternalFailure")));
    }
    assert_eq!(bench.pipeline.isolated.records(), 1);
    // It is in flight and hangs: the others have all other slots.
    while bench.cut_reason() != Some((CutReason::Isolated, 1)) {
        bench.sleep();
    }
    bench.accept(4..4_004);
    let slots = std::iter::from_fn(|| bench.cut_reason()).count();
    assert_eq!(slots, 3);
}

#[test]
fn isolated_record_is_retried_beside_full_requests() {
    let mut bench = Bench::new(Settings { max_in_flight: 1, ..settings() });
    keyed(&mut bench, "p", "poison");
    let end = bench.now + Duration::from_secs(60);
    let (mut next, mut retries) = (0, 0);
    while bench.now < end {
        while bench.pipeline.waiting() < 1_000 {
            bench.accept(next..next + 1);
            next += 1;
        }
        let (id, request) = match bench.pipeline.cut(bench.now) {
            Some((id, request, _)) => (id, request),
            None => {
                bench.sleep();
                continue;
            }
        };
        bench.now += ROUND_TRIP;
        if holds(&request, "poison") {
            retries += 1;
            bench.fail(id, "InternalFailure");
        } else {
            bench.deliver(id, &request);
        }
    }
    assert!((20..200).contains(&retries), "{retries} in a minute");
    let delivered = bench.pipeline.totals().delivered;
    assert!(delivered > 60 * 50 * 500 / 2, "{delivered}");
}

#[test]
fn isolated_record_uses_no_tokens_of_others() {
    let limits = Limits::default().with_shard_records(10);
    let backoff = Duration::from_millis(1);
    let settings =
        Settings { limits, backoff_base: backoff, backoff_ceiling: backoff, ..settings() };
    let mut bench = Bench::new(settings);
    bench.accept(0..1);
    bench.pipeline.flush();
    run(&mut bench, LONG, |request| Ok(all_delivered(request)));
    keyed(&mut bench, "p", "poison");
    bench.accept(1..300);
    bench.pipeline.close();
    let began = bench.now;
    run(&mut bench, LONG, poisoned_requests("poison", || service_error("InternalFailure")));
    assert_eq!(bench.pipeline.totals().delivered, 300);
    let took = bench.now - began - LONG;
    assert!(took < Duration::from_secs(60), "ten a second are 30 s: {took:?}");
}

#[test]
fn aggregate_with_poisoned_member_is_halved() {
    for aggregation in [Aggregation::PerKey, Aggregation::Off] {
        let packing = Packing { aggregation, ..Packing::default() };
        let mut bench = Bench::new(Settings { packing, ..settings() });
        for n in 0..500 {
            let data = if n == 333 { "poison".to_owned() } else { n.to_string() };
            keyed(&mut bench, &format!("k{}", n % 5), &data);
        }
        bench.pipeline.close();
        run(&mut bench, LONG, poisoned_entries("poison"));
        assert_eq!(bench.pipeline.totals().delivered, 499, "{aggregation:?}");
        assert_eq!(bench.undelivered(), ["poison"]);
        assert_eq!(bench.pipeline.isolated.records(), 1);
    }
}

#[test]
fn halves_of_failed_aggregate_keep_their_order() {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let settings = Settings { packing, ordering: Ordering::PerKey, ..settings() };
    let mut bench = Bench::new(settings);
    (0..100).for_each(|n| keyed(&mut bench, "k", &format!("{n:03}")));
    bench.pipeline.flush();
    let mut read = Vec::new();
    let mut is_poisoned = true;
    for _ in 0..2 {
        run(&mut bench, LONG, |request| {
            let is_refused = is_poisoned && holds(request, "060");
            if is_refused {
                return Err(service_error("InternalFailure"));
            }
            for entry in request.entries() {
                let members = crate::aggregate::deaggregate(entry.data());
                read.extend(members.map(|one| String::from_utf8(one.data().to_vec()).unwrap()));
            }
            Ok(all_delivered(request))
        });
        // All others of the key wait for it.
        let waiting = if is_poisoned { 40 } else { 0 };
        assert_eq!(bench.pipeline.waiting(), waiting);
        is_poisoned = false;
    }
    let expected: Vec<_> = (0..100).map(|n| format!("{n:03}")).collect();
    assert_eq!(read, expected);
}

#[test]
fn suspects_with_poisoned_record_are_halved() {
    let mut bench = Bench::new(settings());
    bench.accept(0..64);
    keyed(&mut bench, "p", "poison");
    keyed(&mut bench, "i", "invalid");
    bench.pipeline.close();
    run(&mut bench, LONG, |request| match (holds(request, "invalid"), holds(request, "poison")) {
        (true, _) => Err(service_error("ValidationException")),
        (_, true) => Err(service_error("InternalFailure")),
        _ => Ok(all_delivered(request)),
    });
    assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.failed()), (64, 1));
    assert_eq!(bench.pipeline.isolated.records(), 1);
}

#[test]
fn suspected_aggregate_is_halved_within_the_limits() {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let limits = settings().limits.with_request_entries(1);
    let mut bench = Bench::new(Settings { packing, limits, ..settings() });
    (0..8).for_each(|n| keyed(&mut bench, "k", if n == 5 { "poison" } else { "x" }));
    bench.pipeline.close();
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    let sizes = run(&mut bench, LONG, poisoned_requests("poison", timed_out));
    assert!(sizes.iter().all(|size| *size == 1), "{sizes:?}");
    assert_eq!(bench.pipeline.totals().delivered, 7);
}

/// What waits for the isolated record, in the packer, is no better probe of a failing stream.
#[test]
fn later_record_of_its_key_does_not_delay_isolated_record() {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let linger = Linger::SelfClocked(Duration::ZERO);
    let mut bench =
        Bench::new(Settings { packing, ordering: Ordering::PerKey, linger, ..settings() });
    keyed(&mut bench, "k", "first");
    while bench.pipeline.isolated.records() == 0 {
        let (id, _) = bench.next();
        bench.fail(id, "InternalFailure");
    }
    keyed(&mut bench, "k", "second");
    let sizes = run(&mut bench, LONG, |request| Ok(all_delivered(request)));
    assert_eq!((sizes, bench.pipeline.is_settled()), (vec![1, 1], true));
}

#[test]
fn isolated_record_expires_at_its_deadline() {
    let deadline = Some(Duration::from_secs(20));
    let mut bench = Bench::new(Settings { deadline, ..settings() });
    keyed(&mut bench, "p", "poison");
    bench.accept(0..10);
    bench.pipeline.flush();
    let began = bench.now;
    run(&mut bench, Duration::from_secs(10), poisoned_requests("poison", timed_out));
    while bench.pipeline.failed() == 0 {
        match bench.pipeline.cut(bench.now) {
            Some((id, ..)) => bench.pipeline.settle(id, Err(timed_out()), bench.now),
            None => drop(bench.sleep()),
        }
        bench.pipeline.expire(bench.now);
    }
    assert!(bench.now - began < Duration::from_secs(21));
    assert!(bench.pipeline.is_settled());
}

#[test]
fn isolated_record_is_taken_back_in_its_place() {
    let mut bench = Bench::new(settings());
    bench.accept(0..3);
    keyed(&mut bench, "p", "poison");
    bench.pipeline.flush();
    run(&mut bench, LONG, poisoned_requests("poison", || codeless(403)));
    bench.accept(4..6);
    let taken = bench.pipeline.take_undelivered();
    let texts: Vec<_> = taken.iter().map(|one| text(one.record())).collect();
    assert_eq!(texts, ["poison", "4", "5"]);
    assert!(bench.pipeline.is_settled() && bench.pipeline.wakeup(bench.now).is_none());
}

#[test]
fn blocked_requests_are_fatal_after_timeout() {
    let mut bench = Bench::new(settings());
    bench.accept(0..100);
    bench.pipeline.flush();
    let began = bench.now;
    loop {
        match bench.pipeline.cut(bench.now) {
            Some((id, ..)) => bench.pipeline.settle(id, Err(codeless(403)), bench.now),
            None => drop(bench.sleep()),
        }
        if bench.pipeline.take_fatal().is_some() {
            break;
        }
    }
    let after = bench.now - began;
    assert!((300..310).contains(&after.as_secs()), "{after:?}");
    assert_eq!(bench.undelivered(), numbers(0..100));
}

#[test]
fn blocked_record_is_retried_while_others_succeed() {
    let mut bench = Bench::new(settings());
    bench.accept(0..10);
    keyed(&mut bench, "p", "poison");
    bench.pipeline.flush();
    let quiet = Duration::from_secs(3_600);
    run(&mut bench, quiet, poisoned_requests("poison", || codeless(403)));
    assert!(bench.pipeline.take_fatal().is_none());
    assert_eq!(bench.pipeline.totals().delivered, 10);
}

#[test]
fn repeated_timeouts_raise_the_timeout_factor() {
    let mut bench = Bench::new(settings());
    bench.accept(0..100);
    bench.pipeline.flush();
    let mut factors = Vec::new();
    for _ in 0..4 {
        let (id, request) = bench.cut();
        factors.push(request.timeout_factor());
        bench.now += Duration::from_secs(10) * request.timeout_factor();
        bench.pipeline.settle(id, Err(timed_out()), bench.now);
        bench.sleep();
    }
    assert_eq!(factors, [1, 1, 2, 4]);
    let (id, request) = bench.cut();
    bench.now += ROUND_TRIP;
    bench.deliver(id, &request);
    bench.accept(100..101);
    assert_eq!(bench.cut().1.timeout_factor(), 1, "a fast answer");
}

#[test]
#[cfg(target_pointer_width = "64")]
fn pending_record_takes_128_bytes() {
    assert_eq!(size_of::<Pending>(), 128);
}

#[test]
fn answer_to_isolated_records_ends_a_refusal() {
    let mut bench = Bench::new(settings());
    bench.accept(0..10);
    keyed(&mut bench, "p", "poison");
    bench.pipeline.flush();
    run(&mut bench, LONG, poisoned_entries("poison"));
    assert_eq!(bench.pipeline.isolated.records(), 1);
    let next = |bench: &mut Bench, answer: Result<PutRecordsResponse, BoxError>| {
        let id = loop {
            match bench.pipeline.cut(bench.now) {
                Some((id, ..)) => break id,
                None => drop(bench.sleep()),
            }
        };
        bench.pipeline.settle(id, answer, bench.now);
    };
    next(&mut bench, Err(service_error("AccessDeniedException")));
    assert!(bench.pipeline.take_fatal().is_some());
    assert!(bench.pipeline.refusal().is_some());
    next(&mut bench, Ok(PutRecordsResponse::new(vec![failed("InternalFailure")])));
    assert!(bench.pipeline.refusal().is_none(), "the service looked into the request");
}

#[test]
fn isolated_record_alone_is_reported_once_a_minute() {
    for poisoned in [
        |_: &PutRecordsRequest| Err(service_error("InternalFailure")),
        |_: &PutRecordsRequest| Ok(PutRecordsResponse::new(vec![failed("InternalFailure")])),
    ] {
        let mut bench = Bench::new(settings());
        keyed(&mut bench, "p", "poison");
        let mut reports = Vec::new();
        for minute in 0..10 {
            // Others succeed at first, which ends what was reported of the record until then.
            if minute < 3 {
                bench.accept(0..1);
            }
            bench.pipeline.flush();
            let end = bench.now + LONG;
            while bench.now < end {
                while bench.pipeline.take_report(bench.now).is_some() {
                    reports.push(minute);
                }
                match bench.pipeline.cut(bench.now) {
                    Some((id, request, _)) => {
                        let answer = match holds(&request, "poison") && request.entries().len() == 1
                        {
                            true => poisoned(&request),
                            false if holds(&request, "poison") => {
                                Err(service_error("InternalFailure"))
                            }
                            false => Ok(all_delivered(&request)),
                        };
                        bench.pipeline.settle(id, answer, bench.now);
                    }
                    None => drop(bench.sleep()),
                }
            }
        }
        assert_eq!((bench.pipeline.isolated.records(), bench.pipeline.totals().delivered), (1, 3));
        let last: Vec<_> = reports.iter().filter(|minute| **minute > 4).collect();
        assert!((4..=6).contains(&last.len()), "{reports:?}");
    }
}

#[test]
fn slots_come_back_after_one_timeout() {
    let mut bench = Bench::new(settings());
    bench.accept(0..10);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.now += Duration::from_secs(1);
    bench.pipeline.settle(id, Err(timed_out()), bench.now);
    for n in 0..20 {
        bench.accept(10 + n..11 + n);
        bench.pipeline.flush();
        let (id, request) = loop {
            match bench.pipeline.cut(bench.now) {
                Some((id, request, _)) => break (id, request),
                None => drop(bench.sleep()),
            }
        };
        // More than a quarter of the timeout: with one request at a time that is no slow link.
        bench.now += Duration::from_millis(300);
        bench.deliver(id, &request);
    }
    assert_eq!(bench.pipeline.slots, 4);
}
