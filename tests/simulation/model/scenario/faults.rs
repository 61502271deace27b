use fastrand::Rng;
use kinesis_sink::sim::Faults;

use super::super::records::POISON;
use super::{ms, one_of};

#[derive(Debug, Default)]
pub struct FaultPlan {
    pub stream: Faults,
    /// The part of `stream` that affects poison records.
    pub poison: Faults,
    pub late_writes: bool,
    pub invalid: bool,
    pub fatal: bool,
    /// Fraction of responses that are corrupted.
    pub corrupted: f64,
    /// Fraction of requests whose connection is reset after the entries were written.
    pub connection_resets: f64,
    /// Fraction of responses with a missing or an additional result.
    pub wrong_lengths: f64,
    /// Fraction of requests for which the service panics.
    pub panics: f64,
    /// Fraction of lookups that are faulty.
    pub lookups: f64,
    /// Fraction of `poll_ready` calls that fail.
    pub unready: f64,
}

const RETRYABLE: [(&str, u16); 12] = [
    ("InternalFailure", 500),
    ("InternalFailureException", 500),
    ("ServiceUnavailable", 503),
    ("RequestTimeout", 408),
    ("ProvisionedThroughputExceededException", 400),
    ("LimitExceededException", 400),
    ("KMSThrottlingException", 400),
    ("ThrottlingException", 400),
    ("Unheard", 429),
    ("Unheard", 500),
    ("ExpiredTokenException", 400),
    ("InvalidSignatureException", 403),
];
const FATAL: [(&str, u16); 8] = [
    ("AccessDeniedException", 400),
    ("ResourceNotFoundException", 400),
    ("KMSAccessDeniedException", 400),
    ("KMSDisabledException", 400),
    ("KMSInvalidStateException", 400),
    ("KMSNotFoundException", 400),
    ("KMSOptInRequired", 400),
    ("Unheard", 404),
];
/// Code and HTTP status of each error caused by the content of a request.
const INVALID: [(&str, u16); 4] = [
    ("ValidationException", 400),
    ("InvalidArgumentException", 400),
    ("SerializationException", 400),
    ("Unheard", 413),
];

impl FaultPlan {
    pub fn failed_entries(rng: &mut Rng) -> Self {
        let faults = Faults::default().with_internal_failures(0.4 * rng.f64());
        Self { stream: faults, ..Self::default() }
    }

    pub fn with_poison(mut self, rng: &mut Rng) -> Self {
        let whole = one_of(
            rng,
            &[Some((Some("InternalFailure"), 500)), Some((None, 403)), Some((None, 503)), None],
        );
        let poison = |faults: Faults| match whole {
            Some((code, status)) => faults.with_poisoned_requests(&POISON[..], code, status),
            None => faults.with_poisoned_entries(&POISON[..]),
        };
        self.stream = poison(self.stream);
        self.poison = poison(Faults::default());
        self
    }

    /// Draws each fault independently. One in six plans has no faults at all.
    pub fn new(rng: &mut Rng) -> Self {
        let calm = super::rarely(rng, 6);
        let some = |rng: &mut Rng, times: u32, max: f64| {
            let share = max * rng.f64();
            if super::rarely(rng, times) && !calm { share } else { 0.0 }
        };
        let mut faults = Faults::default()
            .with_internal_failures(some(rng, 2, 0.3))
            .with_throttles(throttles(rng, calm));
        for _ in 0..2 {
            let (code, status) = one_of(rng, &RETRYABLE);
            faults = faults.with_request_errors(some(rng, 2, 0.15), code, status);
        }
        faults = faults.with_lost_requests(some(rng, 3, 0.1));
        faults = faults.with_lost_answers(some(rng, 3, 0.1));
        let late = some(rng, 8, 0.1);
        faults = faults.with_late_writes(late, ms(rng.u64(100..=4_000)));
        let fatal = some(rng, 6, 0.1);
        let invalid = some(rng, 6, 0.1);
        let (code, status) = one_of(rng, &FATAL);
        faults = faults.with_request_errors(fatal, code, status);
        let (code, status) = one_of(rng, &INVALID);
        faults = faults.with_request_errors(invalid, code, status);
        Self {
            stream: faults,
            poison: Faults::default(),
            late_writes: late > 0.0,
            invalid: invalid > 0.0,
            fatal: fatal > 0.0,
            corrupted: some(rng, 3, 0.4),
            connection_resets: some(rng, 4, 0.2),
            wrong_lengths: some(rng, 5, 0.2),
            panics: some(rng, 6, 0.1),
            unready: some(rng, 8, 0.1),
            lookups: some(rng, 3, 0.8),
        }
    }
}

fn throttles(rng: &mut Rng, calm: bool) -> f64 {
    let share = 0.5 * 5_000.0_f64.powf(-rng.f64());
    if super::rarely(rng, 3) && !calm { share } else { 0.0 }
}
