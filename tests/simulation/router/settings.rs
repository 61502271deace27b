//! Random settings of a stream.

use fastrand::Rng;
use kinesis_sink::settings::{FatalPolicy, Linger};
use kinesis_sink::{Aggregation, RecordOrdering, Settings};

use super::{ms, one_of, rarely};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetters {
    None,
    TakesAll,
    DeclinesThird,
}

impl DeadLetters {
    pub fn draw(rng: &mut Rng) -> Self {
        one_of(rng, &[Self::None, Self::None, Self::TakesAll, Self::DeclinesThird])
    }
}

/// Draws the settings of a stream. A `patient` stream retries its records without limits.
pub fn draw(rng: &mut Rng, is_patient: bool) -> Settings {
    use Aggregation::{Off, PerKey, PerShard};
    let mut settings = Settings::default();
    settings.seed = Some(rng.u64(..));
    settings.aggregation = one_of(rng, &[Off, Off, Off, PerKey, PerShard]);
    settings.ordering = one_of(
        rng,
        &[RecordOrdering::Unordered, RecordOrdering::Unordered, RecordOrdering::PerKey],
    );
    settings.fatal_policy = one_of(rng, &[FatalPolicy::Stop, FatalPolicy::Retry]);
    settings.max_in_flight = rng.usize(1..=4);
    settings.linger = match rng.u8(..3) {
        0 => Linger::Fixed(ms(rng.u64(..=200))),
        _ => Linger::default(),
    };
    settings.buffer_records = rng.bool().then(|| rng.usize(1..=200));
    if rarely(rng, 4) {
        settings.buffer_bytes = rng.usize(1_000..=20_000);
    }
    settings.backoff.base = ms(rng.u64(10..=100));
    settings.backoff.ceiling = settings.backoff.base * rng.u32(1..=10);
    settings.credentials_timeout = ms(rng.u64(..=5_000));
    settings.request_timeout = ms(1_000);
    settings.max_request_timeout = ms(4_000);
    if !is_patient {
        settings.max_attempts = rarely(rng, 4).then(|| rng.u32(1..=6));
        settings.deadline = rarely(rng, 4).then(|| ms(rng.u64(500..=10_000)));
    }
    settings
}
