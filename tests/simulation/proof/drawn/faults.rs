//! What goes wrong with requests.

use fastrand::Rng;
use kinesis_sink::sim::Faults;

use super::super::records::POISON;
use super::{ms, one_of};

#[derive(Debug, Default)]
pub struct Trouble {
    /// Of the stream.
    pub faults: Faults,
    /// Those of poisoned records alone.
    pub poison: Faults,
    pub late_writes: bool,
    /// Requests are refused for what they contain.
    pub invalid: bool,
    /// Requests are refused until something outside changes.
    pub fatal: bool,
    /// The share of answers that are damaged on their way.
    pub damaged: f64,
    /// The share of requests whose connection breaks after they were written.
    pub broken: f64,
    /// The share of answers that have a result too few or too many.
    pub miscounted: f64,
    /// The share of requests at which the service panics.
    pub panics: f64,
    /// The share of questions about the stream that go wrong.
    pub lookups: f64,
    /// How often the service is asked whether it is ready, and fails.
    pub unready: f64,
}

/// One code of each kind that the service has, with its status.
const PASSING: [(&str, u16); 12] = [
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
const INVALID: [(&str, u16); 4] = [
    ("ValidationException", 400),
    ("InvalidArgumentException", 400),
    ("SerializationException", 400),
    ("Unheard", 413),
];

impl Trouble {
    /// Nothing but entries that fail.
    pub fn of_entries(rng: &mut Rng) -> Self {
        let faults = Faults::default().with_internal_failures(0.4 * rng.f64());
        Self { faults, ..Self::default() }
    }

    /// Records that contain [`POISON`] are never taken: their whole request fails, or their entry.
    pub fn with_poison(mut self, rng: &mut Rng) -> Self {
        let whole = one_of(
            rng,
            &[Some((Some("InternalFailure"), 500)), Some((None, 403)), Some((None, 503)), None],
        );
        let poison = |faults: Faults| match whole {
            Some((code, status)) => faults.with_poisoned_requests(&POISON[..], code, status),
            None => faults.with_poisoned_entries(&POISON[..]),
        };
        self.faults = poison(self.faults);
        self.poison = poison(Faults::default());
        self
    }

    /// Each of them is there or not; now and then there are none at all.
    pub fn new(rng: &mut Rng) -> Self {
        let calm = super::rarely(rng, 6);
        let some = |rng: &mut Rng, times: u32, most: f64| {
            let share = most * rng.f64();
            if super::rarely(rng, times) && !calm { share } else { 0.0 }
        };
        let mut faults = Faults::default()
            .with_internal_failures(some(rng, 2, 0.3))
            .with_throttles(throttles(rng, calm));
        for _ in 0..2 {
            let (code, status) = one_of(rng, &PASSING);
            faults = faults.with_request_errors(some(rng, 2, 0.15), code, status);
        }
        faults = faults.with_lost_requests(some(rng, 3, 0.1));
        faults = faults.with_lost_answers(some(rng, 3, 0.1));
        let late = some(rng, 8, 0.1);
        faults = faults.with_late_writes(late, ms(rng.u64(100..=4_000)));
        let (fatal, invalid) = (some(rng, 6, 0.1), some(rng, 6, 0.1));
        let (code, status) = one_of(rng, &FATAL);
        faults = faults.with_request_errors(fatal, code, status);
        let (code, status) = one_of(rng, &INVALID);
        faults = faults.with_request_errors(invalid, code, status);
        Self {
            faults,
            poison: Faults::default(),
            late_writes: late > 0.0,
            invalid: invalid > 0.0,
            fatal: fatal > 0.0,
            damaged: some(rng, 3, 0.4),
            broken: some(rng, 4, 0.2),
            miscounted: some(rng, 5, 0.2),
            panics: some(rng, 6, 0.1),
            unready: some(rng, 8, 0.1),
            lookups: some(rng, 3, 0.8),
        }
    }
}

/// Draws a probability: 1 in 10,000 to 1 in 2, or 0.
fn throttles(rng: &mut Rng, calm: bool) -> f64 {
    let share = 0.5 * 5_000.0_f64.powf(-rng.f64());
    if super::rarely(rng, 3) && !calm { share } else { 0.0 }
}
