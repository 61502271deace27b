use super::*;
use crate::service::{DefaultClassify, PutRecordsError};

struct Harness {
    health: Health,
    rng: Rng,
    now: Instant,
    next: u64,
}

impl Harness {
    fn new() -> Self {
        let settings = Settings { max_in_flight: 8, ..Settings::default() };
        Self {
            health: Health::new(&settings, Arc::new(DefaultClassify)),
            rng: Rng::with_seed(1),
            now: Instant::now(),
            next: 0,
        }
    }

    fn send(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn fail(&mut self, request: u64, class: ErrorClass, code: &str) -> Effect {
        let error = AttemptError { code: code.to_owned(), message: String::new() };
        let source = PutRecordsError::service(Some(code), None, Some(400)).into();
        let origin = Origin::Request { entries: 1 };
        let failure = Failure { class, source, error: Arc::new(error), request, origin };
        self.health.on_failure(failure, self.next, self.now, &mut self.rng)
    }

    fn fail_next(&mut self, class: ErrorClass) {
        let request = self.send();
        assert_eq!(self.fail(request, class, "Failed"), Effect::None);
    }

    fn slots(&self) -> usize {
        (0..).take_while(|in_flight| self.health.has_slot(*in_flight)).count()
    }
}

#[test]
fn window_shrinks_on_failure_then_doubles() {
    let mut harness = Harness::new();
    assert_eq!(harness.slots(), 8);
    harness.fail_next(ErrorClass::OutcomeUnknown);
    assert_eq!(harness.slots(), 1);
    for expected in [2, 4, 8, 8] {
        harness.health.on_success(Duration::from_millis(20));
        assert_eq!(harness.slots(), expected);
    }
}

#[test]
fn window_grows_slowly_near_the_timeout() {
    let mut harness = Harness::new();
    harness.health.on_timeout(Duration::from_secs(10), 1, false);
    harness.fail_next(ErrorClass::OutcomeUnknown);
    harness.health.on_success(Duration::from_secs(3));
    assert_eq!(harness.slots(), 2);
    harness.health.on_success(Duration::from_secs(4));
    assert_eq!(harness.slots(), 3);
    harness.health.on_success(Duration::from_secs(8));
    assert_eq!(harness.slots(), 3, "one more would time out");
}

#[test]
fn success_resets_backoff() {
    let mut harness = Harness::new();
    assert!(!harness.health.on_success(Duration::ZERO), "nothing has failed");
    harness.fail_next(ErrorClass::OutcomeUnknown);
    assert!(harness.health.is_failing() && harness.health.retry_at(harness.now).is_some());
    assert!(harness.health.on_success(Duration::ZERO));
    assert!(!harness.health.is_failing() && harness.health.retry_at(harness.now).is_none());
}

#[test]
fn failures_in_flight_together_count_once() {
    let mut harness = Harness::new();
    let requests = [harness.send(), harness.send(), harness.send()];
    for request in requests {
        let _ = harness.fail(request, ErrorClass::OutcomeUnknown, "Failed");
    }
    assert_eq!(harness.health.backoff().failures(), 1);
    harness.fail_next(ErrorClass::OutcomeUnknown);
    assert_eq!(harness.health.backoff().failures(), 2);
}

#[test]
fn fatal_error_is_taken_once() {
    let mut harness = Harness::new();
    let late = harness.send();
    harness.fail_next(ErrorClass::Fatal);
    assert!(harness.health.is_stopped() && harness.health.unreported_fatal().is_some());
    assert!(harness.health.take_fatal().is_some());
    assert!(!harness.health.is_stopped() && harness.health.take_fatal().is_none());
    assert!(harness.health.fatal_error().is_some(), "it is still the reason");
    let _ = harness.fail(late, ErrorClass::Fatal, "Failed");
    assert!(!harness.health.is_stopped(), "a request in flight is ignored");
    harness.fail_next(ErrorClass::Fatal);
    assert!(harness.health.is_stopped(), "a later one does");
}

#[test]
fn response_clears_reported_fatal_error() {
    let mut harness = Harness::new();
    harness.fail_next(ErrorClass::Fatal);
    harness.health.on_response();
    assert!(harness.health.is_stopped(), "its error was not taken");
    harness.health.take_fatal();
    harness.health.on_response();
    assert!(harness.health.fatal_error().is_none());
}

#[test]
fn credentials_errors_are_fatal_after_timeout() {
    let mut harness = Harness::new();
    for _ in 0..30 {
        harness.fail_next(ErrorClass::Credentials);
        assert!(!harness.health.is_stopped());
        harness.now += Duration::from_secs(10);
    }
    harness.fail_next(ErrorClass::Credentials);
    assert!(harness.health.is_stopped());
}

#[test]
fn throttle_resets_credentials_timeout() {
    let mut harness = Harness::new();
    for _ in 0..60 {
        harness.fail_next(ErrorClass::Credentials);
        harness.fail_next(ErrorClass::Throttled);
        harness.now += Duration::from_secs(10);
    }
    assert!(!harness.health.is_stopped());
}

#[test]
fn missing_stream_returns_forget_shards() {
    let mut harness = Harness::new();
    let request = harness.send();
    assert_eq!(harness.fail(request, ErrorClass::Fatal, NO_STREAM), Effect::ForgetShards);
}
