//! What becomes of the records of requests that fail.

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
    assert_eq!(std::iter::from_fn(|| bench.cut_reason()).count(), 3, "back to full speed");
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
fn progress_keeps_the_waits_of_a_throttled_lane_short() {
    let mut bench = Bench::new(settings());
    bench.accept(0..500);
    for _ in 0..50 {
        let (id, request) = bench.cut();
        let mut results: Vec<_> = request.entries().iter().map(|_| failed(THROTTLE)).collect();
        results[0] = delivered();
        bench.settle(id, results);
        let now = bench.now;
        bench.pipeline.flush();
        assert!(bench.sleep() <= Duration::from_millis(100), "{now:?}");
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

#[test]
fn credentials_get_a_few_tries_before_they_are_fatal() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1);
    bench.pipeline.flush();
    for attempt in 1..=6 {
        let (id, _) = bench.cut();
        bench.fail(id, "ExpiredTokenException");
        assert_eq!(bench.pipeline.take_fatal().is_some(), attempt == 6, "attempt {attempt}");
        bench.sleep();
    }
}

#[test]
fn only_refusals_in_a_row_make_credentials_fatal() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2000);
    let flights: Vec<_> = (0..4).map(|_| bench.cut()).collect();
    for (id, _) in flights {
        bench.fail(id, "ExpiredTokenException");
    }
    for attempt in 0..4 {
        bench.sleep();
        let (id, _) = bench.cut();
        bench.fail(id, "ExpiredTokenException");
        assert!(bench.pipeline.take_fatal().is_none(), "four at once are one, and {attempt}");
    }
    for other in ["KMSThrottlingException", "delivered"].iter().cycle().take(20) {
        bench.sleep();
        let (id, request) = bench.cut();
        match *other {
            "delivered" => bench.settle(id, request.entries().iter().map(|_| failed("")).collect()),
            code => bench.fail(id, code),
        }
        bench.sleep();
        let (id, _) = bench.cut();
        bench.fail(id, "ExpiredTokenException");
        assert!(bench.pipeline.take_fatal().is_none());
    }
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
fn an_incomplete_result_may_be_a_written_record() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed("IncompleteResult"), failed("InternalFailure")]);
    let taken = bench.pipeline.take_undelivered();
    assert_eq!((taken[0].may_be_written(), taken[1].may_be_written()), (true, false));
}

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
    let (id, _) = bench.cut();
    bench.fail(id, "ValidationException");
    bench.sleep();
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed(THROTTLE), failed(THROTTLE)]);
    assert_eq!(bench.cut_reason(), None);
    bench.sleep();
    assert_eq!(bench.cut_reason(), Some((CutReason::Suspect, 2)));
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
fn attempts_are_limited_when_asked() {
    let mut bench = Bench::new(Settings { max_attempts: Some(2), ..settings() });
    bench.accept(0..2);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.fail(id, "InternalFailure");
    bench.sleep();
    let (id, _) = bench.cut();
    bench.settle(id, vec![delivered(), failed(THROTTLE)]);
    assert!(bench.pipeline.is_settled());
    let [given_up] = &bench.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert_eq!(text(given_up.record()), "1");
    assert!(given_up.may_be_written(), "the first attempt's outcome is unknown");
    let shown = given_up.reason().to_string();
    assert_eq!(shown, format!("not delivered in 2 attempts, the last one: {THROTTLE}: a message"));
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
fn a_deadline_gives_waiting_records_up_and_wakes_for_it() {
    let deadline = Duration::from_millis(50);
    let linger = Linger::Fill(Duration::from_secs(10));
    let mut bench = Bench::new(Settings { deadline: Some(deadline), linger, ..settings() });
    bench.accept(0..1);
    bench.now += Duration::from_millis(20);
    bench.accept(1..2);
    assert_eq!(bench.sleep(), Duration::from_millis(30));
    bench.pipeline.expire(bench.now);
    assert_eq!(bench.pipeline.waiting(), 1);
    let [given_up] = &bench.pipeline.take_failed()[..] else { panic!("one record failed") };
    assert_eq!(text(given_up.record()), "0");
    assert_eq!(given_up.reason().to_string(), "not delivered within 50ms");
}

#[test]
fn what_arrives_after_its_deadline_is_still_delivered() {
    let deadline = Some(Duration::from_millis(50));
    let mut bench = Bench::new(Settings { deadline, ..settings() });
    bench.accept(0..2);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.now += Duration::from_secs(1);
    bench.pipeline.expire(bench.now);
    bench.settle(id, vec![delivered(), failed("InternalFailure")]);
    bench.pipeline.expire(bench.now);
    assert_eq!(bench.pipeline.totals().delivered, 1);
    assert_eq!(bench.pipeline.totals().failed, 1);
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
fn a_rejected_entry_fails_alone() {
    let mut bench = Bench::new(settings());
    bench.accept(0..2);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed("InvalidArgumentException"), delivered()]);
    assert_eq!((bench.pipeline.totals().delivered, bench.pipeline.failed()), (1, 1));
    assert!(bench.pipeline.is_settled());
}

#[test]
fn failed_records_that_nobody_takes_clog_the_buffer_and_say_so() {
    let mut bench = Bench::new(Settings { buffer_records: 1, ..settings() });
    bench.accept(0..1);
    let (id, _) = bench.cut();
    bench.settle(id, vec![failed("InvalidArgumentException")]);
    assert!(bench.pipeline.offer_failed(None).is_some());
    assert!(bench.pipeline.offer_failed(None).is_none(), "told once");
    assert!(!bench.pipeline.has_room());
    assert!(bench.pipeline.clogged().is_some());
    assert_eq!(bench.pipeline.take_failed().len(), 1);
    assert!(bench.pipeline.has_room() && bench.pipeline.clogged().is_none());
}

#[test]
fn a_dead_letter_handler_takes_what_it_wants() {
    struct EvenOnly(std::sync::mpsc::Sender<String>);
    impl DeadLetter for EvenOnly {
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
    let mut handler: Box<dyn DeadLetter> = Box::new(EvenOnly(sender));
    let mut bench = Bench::new(settings());
    bench.accept(0..4);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.settle(id, (0..4).map(|_| failed("InvalidArgumentException")).collect());
    assert!(bench.pipeline.offer_failed(Some(&mut handler)).is_some());
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), ["0", "2"]);
    assert_eq!(bench.undelivered(), ["1", "3"]);
    assert_eq!(bench.pipeline.held_records(), 2);
}

#[test]
fn everything_can_be_taken_back_in_order_whatever_state_it_is_in() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1200);
    let (first, _) = bench.cut();
    let (second, request) = bench.cut();
    let mut results: Vec<_> = request.entries().iter().map(|_| delivered()).collect();
    results[0] = failed("InvalidArgumentException");
    results[1] = failed(THROTTLE);
    bench.settle(second, results);
    let mut expected = numbers(0..502);
    expected.extend(numbers(1000..1200));
    assert_eq!(bench.undelivered(), expected);

    let taken = bench.pipeline.take_undelivered();
    assert_eq!(taken.iter().map(|taken| text(taken.record())).collect::<Vec<_>>(), expected);
    assert!(taken[..500].iter().all(Undelivered::may_be_written), "in flight");
    assert!(!taken[501].may_be_written(), "throttled, so not written");
    assert_eq!((bench.pipeline.held_records(), bench.pipeline.held_bytes()), (0, 0));
    let totals = *bench.pipeline.totals();
    assert_eq!((totals.delivered, totals.failed, totals.taken_back), (498, 1, 701));

    bench.settle(first, (0..500).map(|_| delivered()).collect());
    assert_eq!(*bench.pipeline.totals(), totals, "an answer that comes later changes nothing");
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

#[test]
fn a_dead_letter_handler_that_panics_loses_at_most_the_record_in_its_hands() {
    let mut handler: Box<dyn DeadLetter> = Box::new(|_: Undelivered| panic!("on purpose"));
    let mut bench = Bench::new(settings());
    bench.accept(0..3);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.settle(id, (0..3).map(|_| failed("InvalidArgumentException")).collect());
    let offer = std::panic::AssertUnwindSafe(|| bench.pipeline.offer_failed(Some(&mut handler)));
    assert!(std::panic::catch_unwind(offer).is_err());
    assert_eq!(bench.undelivered(), ["1", "2"]);
    assert_eq!((bench.pipeline.held_records(), bench.pipeline.held_bytes()), (2, 4));
}

#[test]
fn a_classifier_that_panics_loses_nothing() {
    struct Panics;
    impl Classify for Panics {
        fn classify_error(&self, _: &(dyn std::error::Error + 'static)) -> ErrorClass {
            panic!("on purpose")
        }
        fn classify_entry(&self, _: &EntryError) -> EntryClass {
            panic!("on purpose")
        }
    }
    for entries in [true, false] {
        let mut bench = Bench::new(Settings { classify: Arc::new(Panics), ..settings() });
        bench.accept(0..2);
        bench.pipeline.flush();
        let (id, _) = bench.cut();
        let settle = std::panic::AssertUnwindSafe(|| match entries {
            true => bench.settle(id, vec![delivered(), failed(THROTTLE)]),
            false => bench.fail(id, "InternalFailure"),
        });
        assert!(std::panic::catch_unwind(settle).is_err());
        assert_eq!(bench.undelivered(), ["0", "1"]);
    }
}

#[test]
fn kept_failures_do_not_make_requests_small() {
    let mut bench = Bench::new(Settings { buffer_records: 10, ..settings() });
    bench.accept(0..9);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.settle(id, (0..9).map(|_| failed("InvalidArgumentException")).collect());
    bench.accept(9..10);
    let (id, request) = bench.cut();
    assert_eq!(bench.pipeline.take_failed().len(), 9);
    bench.accept(10..18);
    bench.settle(id, vec![failed("InvalidArgumentException")]);
    assert!(bench.pipeline.has_room());
    bench.accept(18..19);
    assert!(!bench.pipeline.has_room(), "nine records and a failed one");
    assert_eq!(bench.cut_reason(), Some((CutReason::BackPressure, 9)), "nothing is in flight");
    drop(request);

    let mut bench = Bench::new(Settings { buffer_records: 10, ..settings() });
    bench.accept(0..8);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.accept(8..9);
    bench.settle(id, (0..8).map(|_| failed("InvalidArgumentException")).collect());
    bench.pipeline.flush();
    bench.cut();
    bench.accept(9..10);
    assert!(!bench.pipeline.has_room());
    assert_eq!(bench.cut_reason(), None, "the failed ones fill the buffer, not those to send");
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
fn failed_records_are_taken_in_the_order_of_acceptance() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1000);
    let (first, _) = bench.cut();
    let (second, _) = bench.cut();
    for (id, bad) in [(second, 3), (first, 7)] {
        let result = |n| if n == bad { failed("InvalidArgumentException") } else { delivered() };
        bench.settle(id, (0..500).map(result).collect());
    }
    let taken = bench.pipeline.take_failed();
    assert_eq!(taken.iter().map(|one| text(one.record())).collect::<Vec<_>>(), ["7", "503"]);
}

#[test]
fn a_record_taken_back_tells_how_its_last_attempt_failed() {
    let mut bench = Bench::new(settings());
    bench.accept(0..1);
    bench.pipeline.flush();
    let (id, _) = bench.cut();
    bench.fail(id, "AccessDeniedException");
    let taken = bench.pipeline.take_undelivered();
    assert_eq!(taken[0].last_error().unwrap().to_string(), "AccessDeniedException: a message");
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
